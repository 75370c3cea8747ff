"""The simulator, read back by ebmlite."""

from itertools import pairwise

import pytest

from local.call import Call, CallSource, Delivery, simulate_call, simulate_stream
from local.encoder import FROM_CUSTOMER, SDK_PRODUCER, TO_CUSTOMER, Layout
from local.pcm import synthetic_pcm
from tests.unit.local_aws.matroska_reader import ParsedDocument, parse
from tests.unit.local_aws.samples import CONTACT_ID, INSTANCE_ARN, START_MS, STREAM_ARN, MakeCall


def documents(call: Call) -> list[ParsedDocument]:
    return [parse(fragment.document()) for fragment in call.fragments]


def carried(call: Call, track_name: str) -> bytes:
    return b"".join(document.payload(track_name) for document in documents(call))


DELIVERIES = {
    "connect": Delivery(),
    "10 s fragments": Delivery(fragment_ms=10_000),
    "other producer": Delivery(layout=SDK_PRODUCER, clusters_per_fragment=3),
    "odd blocks": Delivery(block_bytes=1000),
    "swapped tracks": Delivery(swap_tracks_every=2),
    "short block": Delivery(short_blocks={1: 192}),
    "empty fragment": Delivery(without_cluster=frozenset({0, 2})),
    "relative clock": Delivery(producer_clock="relative"),
    "fine clock": Delivery(layout=Layout(timecode_scale=100_000)),
    "signed offsets": Delivery(timecode_lead_ms=100),
    "honest tracks": Delivery(honest_tracks=True),
    "much jitter": Delivery(server_jitter_ms=3000),
    "untagged": Delivery(
        untagged=frozenset({1}), without_tags=frozenset({2}), without_contact_id=frozenset({3})
    ),
}


@pytest.mark.parametrize("delivery", DELIVERIES.values(), ids=DELIVERIES.keys())
def test_pcm_is_carried_sample_for_sample(make_call: MakeCall, delivery: Delivery) -> None:
    call = make_call(5.1234, delivery)

    assert carried(call, FROM_CUSTOMER) == synthetic_pcm(5.1234, 1)[:]
    assert carried(call, TO_CUSTOMER) == synthetic_pcm(5.1234, 2)[:]


@pytest.mark.parametrize("delivery", DELIVERIES.values(), ids=DELIVERIES.keys())
def test_the_size_is_the_documents(make_call: MakeCall, delivery: Delivery) -> None:
    for fragment in make_call(5.1234, delivery).fragments:
        assert fragment.size_bytes == len(fragment.document())


@pytest.mark.parametrize("delivery", DELIVERIES.values(), ids=DELIVERIES.keys())
def test_numbers_and_server_times_grow(make_call: MakeCall, delivery: Delivery) -> None:
    fragments = make_call(5.1234, delivery).fragments

    for earlier, later in pairwise(fragments):
        assert earlier.number < later.number
        assert earlier.server_timestamp_ms < later.server_timestamp_ms


def test_a_fragment_is_15_alternating_blocks_of_64_ms_a_track(call: Call) -> None:
    timecode, blocks = parse(call.fragments[1].document()).clusters[0]

    assert [(track, offset) for track, offset, _ in blocks] == [
        (track, 64 * place) for place in range(15) for track in (1, 2)
    ]
    assert {len(payload) for _, _, payload in blocks} == {1024}
    assert timecode == call.fragments[1].producer_timestamp_ms == START_MS + 242 + 1000 + 960
    assert call.fragments[1].duration_ms == 960


def test_the_last_block_is_short(make_call: MakeCall) -> None:
    last = make_call(1.0).fragments[-1]

    blocks = parse(last.document()).clusters[0][1]

    assert [len(payload) for _, _, payload in blocks] == [640, 640]
    assert last.duration_ms == 40


def test_tracks_may_differ_in_length() -> None:
    call = simulate_call(
        b"\1\2" * 8000,
        b"\3\4" * 16000,
        contact_id=CONTACT_ID,
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=START_MS,
    )

    assert carried(call, FROM_CUSTOMER) == b"\1\2" * 8000
    assert carried(call, TO_CUSTOMER) == b"\3\4" * 16000


def test_one_track_with_a_legacy_name() -> None:
    call = simulate_call(
        b"\1\2" * 8000,
        None,
        contact_id=CONTACT_ID,
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=START_MS,
        delivery=Delivery(track_names=("Track_audio/L16", None)),
    )

    assert documents(call)[0].tracks == {1: "Track_audio/L16"}


def test_start_and_stop_are_as_far_from_the_fragments_as_in_a_real_call(call: Call) -> None:
    first, last = call.fragments[0], call.fragments[-1]

    assert abs(first.server_timestamp_ms - call.start_timestamp_ms - 242) <= 25
    assert call.stop_timestamp_ms == last.server_end_ms + 60
    assert (call.start_fragment_number, call.stop_fragment_number) == (first.number, last.number)


def test_the_same_arguments_give_the_same_call(make_call: MakeCall) -> None:
    once, again = make_call(seed=3), make_call(seed=3)

    assert once.fragments == again.fragments
    assert [f.document() for f in once.fragments] == [f.document() for f in again.fragments]
    assert make_call(seed=4).fragments != once.fragments


def test_swapped_tracks_keep_their_names(make_call: MakeCall) -> None:
    call = make_call(5, Delivery(swap_tracks_every=2))

    assert [next(iter(document.tracks.values())) for document in documents(call)] == [
        FROM_CUSTOMER,
        FROM_CUSTOMER,
        TO_CUSTOMER,
        TO_CUSTOMER,
        FROM_CUSTOMER,
        FROM_CUSTOMER,
    ]


def test_tags_are_left_out_where_asked(make_call: MakeCall) -> None:
    call = make_call(
        5,
        Delivery(
            untagged=frozenset({1}), without_tags=frozenset({2}), without_contact_id=frozenset({3})
        ),
    )
    whole, untagged, bare, anonymous, *_ = documents(call)

    assert whole.tag("ContactId") == CONTACT_ID
    assert untagged.tag("ContactId") is None
    assert untagged.tag("AWS_KINESISVIDEO_FRAGMENT_NUMBER") == str(call.fragments[1].number)
    assert bare.tags == []
    assert anonymous.tag("ContactId") is None
    assert anonymous.tag("InstanceId") == INSTANCE_ARN.rpartition("/")[2]


def test_lost_fragments_take_their_audio_and_their_number_along(make_call: MakeCall) -> None:
    whole, holed = make_call(5), make_call(5, Delivery(lost=frozenset({2})))

    assert holed.fragments == whole.fragments[:2] + whole.fragments[3:]


def test_holes_move_both_clocks_and_jumps_only_the_producers(make_call: MakeCall) -> None:
    plain = make_call(5).fragments[2]
    holed = make_call(5, Delivery(holes_ms={2: 500})).fragments[2]
    jumped = make_call(5, Delivery(clock_jumps_ms={2: 500})).fragments[2]

    assert holed.producer_timestamp_ms == jumped.producer_timestamp_ms
    assert holed.producer_timestamp_ms == plain.producer_timestamp_ms + 500
    assert holed.server_timestamp_ms == plain.server_timestamp_ms + 500
    assert jumped.server_timestamp_ms == plain.server_timestamp_ms


def test_a_short_block_leaves_the_timecodes_on_the_grid(make_call: MakeCall) -> None:
    call = make_call(5, Delivery(short_blocks={1: 192}))

    blocks = parse(call.fragments[1].document()).clusters[0][1]

    assert [(offset, len(payload)) for track, offset, payload in blocks if track == 1][6:9] == [
        (384, 1024),
        (448, 192),
        (512, 1024),
    ]
    assert call.fragments[1].duration_ms == 960


def test_calls_follow_each_other_on_one_stream() -> None:
    calls = simulate_stream(
        [
            CallSource(contact_id=name, customer=synthetic_pcm(3, 1), agent=synthetic_pcm(3, 2))
            for name in ("a", "b", "c")
        ],
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=START_MS,
    )
    fragments = [fragment for call in calls for fragment in call.fragments]

    assert [call.contact_id for call in calls] == ["a", "b", "c"]
    assert [call.start_timestamp_ms for call in calls[1:]] == [
        call.stop_timestamp_ms for call in calls[:-1]
    ]
    assert sorted(fragments, key=lambda fragment: fragment.number) == fragments
    assert sorted(fragments, key=lambda fragment: fragment.server_timestamp_ms) == fragments


def test_a_call_of_12_hours_is_a_list_and_no_media(make_call: MakeCall) -> None:
    call = make_call(12 * 3600)
    last = parse(call.fragments[-1].document())

    assert len(call.fragments) == 45_000
    assert last.payload(FROM_CUSTOMER) == synthetic_pcm(12 * 3600, 1)[-15 * 1024 :]


def test_a_call_of_nothing_is_refused(make_call: MakeCall) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        make_call(0)
