"""Kinesis Video Streams without HTTP: what is listed, what is sent, what is refused."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from local.behaviour import (
    CONNECT_DEFAULTS,
    UNLIMITED,
    Behaviour,
    BodyFault,
    CallFault,
    FragmentFault,
    decode_behaviour,
)
from local.call import Call
from local.clock import Clock
from local.connect import Connect
from local.faults import BrokenConnectionError, ServiceError
from local.kvs import KinesisVideo
from local.quotas import Pacer, RateLimit
from tests.unit.local_aws.matroska_reader import parse
from tests.unit.local_aws.samples import STREAM_ARN, MakeCall


@pytest.fixture
def kvs(clock: Clock, call: Call) -> KinesisVideo:
    """A stream with the call, which ended a minute ago; nothing is limited."""
    service = KinesisVideo(clock, UNLIMITED)
    service.add_stream(STREAM_ARN)
    service.put(STREAM_ARN, call.fragments)
    return service


def list_request(
    start_ms: float, end_ms: float, kind: str = "SERVER_TIMESTAMP", **more: object
) -> dict[str, Any]:
    bounds = {"StartTimestamp": start_ms / 1000, "EndTimestamp": end_ms / 1000}
    selector = {"FragmentSelectorType": kind, "TimestampRange": bounds}
    return {"StreamARN": STREAM_ARN, "FragmentSelector": selector, **more}


def listed(kvs: KinesisVideo, request: dict[str, Any]) -> list[int]:
    """All pages of a listing."""
    numbers = []
    while True:
        page = kvs.list_fragments(request)
        numbers += [int(entry["FragmentNumber"]) for entry in page["Fragments"]]
        if "NextToken" not in page:
            return numbers
        size = {key: request[key] for key in ("MaxResults",) if key in request}
        request = {"StreamARN": STREAM_ARN, "NextToken": page["NextToken"], **size}


def media(kvs: KinesisVideo, numbers: Iterable[int]) -> bytes:
    fragments = [str(number) for number in numbers]
    return b"".join(
        kvs.get_media_for_fragment_list({"StreamARN": STREAM_ARN, "Fragments": fragments})
    )


def drain(body: Iterable[bytes], received: bytearray) -> None:
    for write in body:
        received += write


def numbers_of(call: Call) -> list[int]:
    return [fragment.number for fragment in call.fragments]


def documents_of(call: Call) -> list[bytes]:
    return [fragment.document() for fragment in call.fragments]


class TestListFragments:
    @pytest.mark.parametrize("kind", ["SERVER_TIMESTAMP", "PRODUCER_TIMESTAMP"])
    def test_the_range_includes_both_ends_and_only_starts(
        self, kvs: KinesisVideo, call: Call, kind: str
    ) -> None:
        starts = [
            f.server_timestamp_ms if kind == "SERVER_TIMESTAMP" else f.producer_timestamp_ms
            for f in call.fragments
        ]

        exact = listed(kvs, list_request(starts[1], starts[3], kind))
        inside = listed(kvs, list_request(starts[1] + 1, starts[3] - 1, kind))

        assert sorted(exact) == numbers_of(call)[1:4]
        assert inside == numbers_of(call)[2:3]

    def test_there_is_no_order_even_across_pages(self, kvs: KinesisVideo, call: Call) -> None:
        request = list_request(call.start_timestamp_ms, call.stop_timestamp_ms, MaxResults=2)

        numbers = listed(kvs, request)

        assert numbers != sorted(numbers)
        assert sorted(numbers) == numbers_of(call)
        assert numbers == listed(kvs, request)

    def test_the_default_page_is_100(self, kvs: KinesisVideo, make_call: MakeCall) -> None:
        long = make_call(200, first_sequence=2001, start_ms=kvs._clock.now_ms() - 400_000)
        kvs.put(STREAM_ARN, long.fragments)

        page = kvs.list_fragments(list_request(long.start_timestamp_ms, long.stop_timestamp_ms))

        assert len(page["Fragments"]) == 100
        assert "NextToken" in page

    def test_a_fragment_is_listed_a_second_after_its_end(
        self, kvs: KinesisVideo, clock: Clock, call: Call
    ) -> None:
        request = list_request(call.start_timestamp_ms, call.stop_timestamp_ms)
        third = call.fragments[2]

        clock.set_ms(third.server_end_ms + 900)
        before = listed(kvs, request)
        clock.set_ms(third.server_end_ms + 1001)
        after = listed(kvs, request)

        assert sorted(before) == numbers_of(call)[:2]
        assert sorted(after) == numbers_of(call)[:3]

    def test_a_fragment_may_be_listed_later_than_others(
        self, kvs: KinesisVideo, clock: Clock, call: Call
    ) -> None:
        request = list_request(call.start_timestamp_ms, call.stop_timestamp_ms)
        first = call.fragments[0]
        late = replace(first, number=first.number + 1, listing_delay_ms=60_000)
        kvs.put(STREAM_ARN, (late,))

        clock.set_ms(late.server_end_ms + 59_999)
        before = listed(kvs, request)
        clock.set_ms(late.server_end_ms + 60_000)
        after = listed(kvs, request)

        assert sorted(before) == numbers_of(call)
        assert set(after) - set(before) == {late.number}

    def test_a_range_outside_retention_is_refused(
        self, kvs: KinesisVideo, clock: Clock, call: Call
    ) -> None:
        clock.advance_ms(25 * 3_600_000)

        with pytest.raises(ServiceError, match="is outside of the stream retention period") as at:
            listed(kvs, list_request(call.start_timestamp_ms, call.stop_timestamp_ms))

        assert (at.value.status, at.value.error_type) == (400, "InvalidArgumentException")

    def test_fragments_past_retention_are_gone(
        self, kvs: KinesisVideo, clock: Clock, call: Call
    ) -> None:
        clock.set_ms(call.fragments[3].server_timestamp_ms + 24 * 3_600_000)

        numbers = listed(kvs, list_request(call.start_timestamp_ms, clock.now_ms()))

        assert sorted(numbers) == numbers_of(call)[3:]
        with pytest.raises(ServiceError, match="Fragment numbers are invalid"):
            media(kvs, numbers_of(call)[:1])

    def test_without_retention_there_is_no_archive(self, kvs: KinesisVideo, call: Call) -> None:
        kvs.add_stream(STREAM_ARN, retention_hours=0)

        with pytest.raises(ServiceError, match="retention"):
            listed(kvs, list_request(call.start_timestamp_ms, call.stop_timestamp_ms))
        with pytest.raises(ServiceError, match="retention"):
            media(kvs, numbers_of(call))

    def test_an_empty_stream_has_an_empty_list(self, kvs: KinesisVideo, call: Call) -> None:
        kvs.reset()
        kvs.add_stream(STREAM_ARN)

        assert listed(kvs, list_request(call.start_timestamp_ms, call.stop_timestamp_ms)) == []

    def test_a_stream_may_be_named(self, kvs: KinesisVideo, call: Call) -> None:
        request = list_request(call.start_timestamp_ms, call.stop_timestamp_ms)
        del request["StreamARN"]

        assert kvs.list_fragments({**request, "StreamName": call.stream_name})["Fragments"]

    @pytest.mark.parametrize(
        ("request_", "error_type"),
        [
            ({}, "InvalidArgumentException"),
            ({"StreamARN": STREAM_ARN}, "InvalidArgumentException"),
            ({"StreamARN": STREAM_ARN, "NextToken": "bm9uc2Vuc2U="}, "InvalidArgumentException"),
            ({"StreamARN": STREAM_ARN + "1"}, "ResourceNotFoundException"),
            (list_request(2, 1), "InvalidArgumentException"),
            (list_request(1, 2e13, "LOCAL_TIMESTAMP"), "InvalidArgumentException"),
            (list_request(1, 2e12, MaxResults=1001), "InvalidArgumentException"),
            (list_request(1, 2e12, MaxResults=0), "InvalidArgumentException"),
        ],
    )
    def test_bad_requests(
        self, kvs: KinesisVideo, request_: dict[str, Any], error_type: str
    ) -> None:
        with pytest.raises(ServiceError) as refusal:
            kvs.list_fragments(request_)

        assert refusal.value.error_type == error_type
        assert refusal.value.status == (404 if "NotFound" in error_type else 400)

    def test_a_token_belongs_to_its_stream(self, kvs: KinesisVideo, call: Call) -> None:
        kvs.add_stream(STREAM_ARN + "9")
        page = kvs.list_fragments(
            list_request(call.start_timestamp_ms, call.stop_timestamp_ms, MaxResults=1)
        )

        with pytest.raises(ServiceError, match="another stream"):
            kvs.list_fragments({"StreamARN": STREAM_ARN + "9", "NextToken": page["NextToken"]})


class TestGetMediaForFragmentList:
    def test_the_body_is_the_documents_in_the_order_asked(
        self, kvs: KinesisVideo, call: Call
    ) -> None:
        backwards = numbers_of(call)[::-1]

        assert media(kvs, backwards) == b"".join(documents_of(call)[::-1])

    def test_other_orders(self, kvs: KinesisVideo, call: Call) -> None:
        backwards = numbers_of(call)[::-1]
        in_order = b"".join(documents_of(call))

        kvs.behaviour = replace(UNLIMITED, media_order="number")
        assert media(kvs, backwards) == in_order
        kvs.behaviour = replace(UNLIMITED, media_order="random")
        shuffled = media(kvs, backwards)
        assert shuffled != in_order
        assert len(shuffled) == len(in_order)

    @pytest.mark.parametrize("fragments", [[], None, ["1"] * 1001, ["x"]])
    def test_bad_lists(self, kvs: KinesisVideo, fragments: object) -> None:
        with pytest.raises(ServiceError) as refusal:
            kvs.get_media_for_fragment_list({"StreamARN": STREAM_ARN, "Fragments": fragments})

        assert refusal.value.error_type == "InvalidArgumentException"

    def test_one_unknown_number_refuses_the_whole_call(self, kvs: KinesisVideo, call: Call) -> None:
        with pytest.raises(ServiceError, match="Fragment numbers are invalid"):
            media(kvs, [*numbers_of(call), 12345])

    @pytest.mark.parametrize("write_bytes", [None, 1000, 1 << 20])
    def test_writes_have_the_size_asked_for(
        self, kvs: KinesisVideo, call: Call, write_bytes: int | None
    ) -> None:
        kvs.behaviour = replace(UNLIMITED, body_write_bytes=write_bytes)
        fragments = [str(number) for number in numbers_of(call)]

        writes = list(
            kvs.get_media_for_fragment_list({"StreamARN": STREAM_ARN, "Fragments": fragments})
        )

        assert b"".join(writes) == b"".join(documents_of(call))
        if write_bytes is None:
            assert writes == documents_of(call)
        else:
            assert all(len(write) == write_bytes for write in writes[:-1])

    def test_an_error_document_in_place_of_a_fragment_goes_away(
        self, kvs: KinesisVideo, call: Call
    ) -> None:
        numbers, documents = numbers_of(call), documents_of(call)
        fault = FragmentFault(numbers[1], "error", times=2)
        kvs.behaviour = replace(UNLIMITED, fragment_faults=(fault,), body_write_bytes=None)

        for _ in range(2):
            body = media(kvs, numbers[:3])
            error = body.removeprefix(documents[0]).removesuffix(documents[2])
            assert parse(error).tags == [
                ("AWS_KINESISVIDEO_ERROR_CODE", "FRAGMENT_NOT_FOUND"),
                ("AWS_KINESISVIDEO_ERROR_ID", "3000"),
            ]
        assert media(kvs, numbers[:3]) == b"".join(documents[:3])

    def test_an_error_document_may_be_the_last(self, kvs: KinesisVideo, call: Call) -> None:
        numbers, documents = numbers_of(call), documents_of(call)
        fault = FragmentFault(numbers[1], times=None, rest_follows=False)
        kvs.behaviour = replace(UNLIMITED, fragment_faults=(fault,))

        for _ in range(3):
            error = media(kvs, numbers).removeprefix(documents[0])
            assert parse(error).tag("AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE") == "3000"

    def test_left_out_and_sent_twice_and_uninvited(self, kvs: KinesisVideo, call: Call) -> None:
        numbers, documents = numbers_of(call), documents_of(call)
        faults = (FragmentFault(numbers[0], "left_out"), FragmentFault(numbers[1], "duplicated"))
        kvs.behaviour = replace(
            UNLIMITED, fragment_faults=faults, uninvited_fragments=(numbers[4],)
        )

        body = media(kvs, numbers[:3])

        assert body == b"".join([documents[1], documents[1], documents[2], documents[4]])

    def test_a_body_may_end_early_in_good_order(self, kvs: KinesisVideo, call: Call) -> None:
        kvs.behaviour = replace(UNLIMITED, body_faults=(BodyFault(40_000),))
        whole = b"".join(documents_of(call))

        assert media(kvs, numbers_of(call)) == whole[:40_000]
        assert media(kvs, numbers_of(call)) == whole

    def test_a_body_may_be_reset(self, kvs: KinesisVideo, call: Call) -> None:
        kvs.behaviour = replace(UNLIMITED, body_faults=(BodyFault(40_000, "reset"),))
        fragments = [str(number) for number in numbers_of(call)]
        body = iter(
            kvs.get_media_for_fragment_list({"StreamARN": STREAM_ARN, "Fragments": fragments})
        )
        received = bytearray()

        with pytest.raises(BrokenConnectionError):
            drain(body, received)

        assert bytes(received) == b"".join(documents_of(call))[:40_000]

    def test_the_sixth_session_is_refused_until_one_ends(
        self, kvs: KinesisVideo, call: Call
    ) -> None:
        kvs.behaviour = CONNECT_DEFAULTS
        request = {"StreamARN": STREAM_ARN, "Fragments": [str(call.start_fragment_number)]}
        bodies = [kvs.get_media_for_fragment_list(request) for _ in range(5)]

        with pytest.raises(ServiceError) as refusal:
            kvs.get_media_for_fragment_list(request)
        list(bodies[0])
        bodies[1].close()
        bodies[1].close()
        for _ in range(2):
            kvs.get_media_for_fragment_list(request)
        with pytest.raises(ServiceError):
            kvs.get_media_for_fragment_list(request)

        assert refusal.value.error_type == "ClientLimitExceededException"


class TestGetMedia:
    def session(self, kvs: KinesisVideo, kind: str, **more: object) -> list[int]:
        """Numbers of the fragments that a session sends until its limit."""
        numbers = []
        kvs.behaviour = replace(kvs.behaviour, get_media_limit_s=0.15, body_write_bytes=None)
        request = {"StreamARN": STREAM_ARN, "StartSelector": {"StartSelectorType": kind, **more}}
        for document in kvs.get_media(request):
            tags = parse(document)
            numbers.append(int(tags.tag("AWS_KINESISVIDEO_FRAGMENT_NUMBER") or -1))
            assert tags.tags[-1] == ("AWS_KINESISVIDEO_CONTINUATION_TOKEN", str(numbers[-1]))
            assert tags.tags[-2][0] == "AWS_KINESISVIDEO_MILLIS_BEHIND_NOW"
        return numbers

    def test_every_selector(self, kvs: KinesisVideo, clock: Clock, call: Call) -> None:
        numbers, third = numbers_of(call), call.fragments[2]
        number = str(third.number)
        server_s = (third.server_timestamp_ms + 500) / 1000
        producer_s = (third.producer_timestamp_ms + 500) / 1000

        assert self.session(kvs, "EARLIEST") == numbers
        assert self.session(kvs, "FRAGMENT_NUMBER", AfterFragmentNumber=number) == numbers[3:]
        assert self.session(kvs, "CONTINUATION_TOKEN", ContinuationToken=number) == numbers[3:]
        assert self.session(kvs, "SERVER_TIMESTAMP", StartTimestamp=server_s) == numbers[2:]
        assert self.session(kvs, "PRODUCER_TIMESTAMP", StartTimestamp=producer_s) == numbers[2:]
        assert self.session(kvs, "NOW") == []
        clock.set_ms(call.fragments[-1].server_end_ms - 100)
        assert self.session(kvs, "NOW") == numbers[-1:]

    def test_without_retention_the_last_five_minutes_are_there(
        self, kvs: KinesisVideo, clock: Clock, call: Call
    ) -> None:
        kvs.add_stream(STREAM_ARN, retention_hours=0)
        clock.set_ms(call.fragments[2].server_timestamp_ms + 300_000 - 500)

        assert self.session(kvs, "EARLIEST") == numbers_of(call)[2:]

    def test_it_waits_for_fragments_that_are_put_later(
        self, kvs: KinesisVideo, clock: Clock, make_call: MakeCall
    ) -> None:
        later = make_call(3, first_sequence=1001, start_ms=clock.now_ms() - 10_000)
        timer = threading.Timer(0.05, kvs.put, (STREAM_ARN, later.fragments))
        timer.start()

        numbers = self.session(kvs, "NOW")
        timer.join()

        assert numbers == numbers_of(later)

    def test_it_waits_for_the_end_of_a_fragment(
        self, kvs: KinesisVideo, clock: Clock, call: Call
    ) -> None:
        clock.set_ms(call.fragments[2].server_end_ms - 50)

        assert self.session(kvs, "EARLIEST") == numbers_of(call)[:3]

    def test_an_unknown_number_is_an_error_document(self, kvs: KinesisVideo) -> None:
        selector = {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": "7"}

        (document,) = kvs.get_media({"StreamARN": STREAM_ARN, "StartSelector": selector})

        assert parse(document).tag("AWS_KINESISVIDEO_ERROR_ID") == "4000"

    def test_an_error_ends_it(self, kvs: KinesisVideo, call: Call) -> None:
        fault = FragmentFault(
            numbers_of(call)[1], "error", "KMS_KEY_DISABLED", "4501", api="GetMedia"
        )
        kvs.behaviour = replace(UNLIMITED, fragment_faults=(fault,), body_write_bytes=None)
        selector = {"StartSelectorType": "EARLIEST"}

        documents = list(kvs.get_media({"StreamARN": STREAM_ARN, "StartSelector": selector}))

        assert len(documents) == 2
        assert parse(documents[1]).tag("AWS_KINESISVIDEO_ERROR_ID") == "4501"

    def test_it_ends_when_the_client_has_gone(self, kvs: KinesisVideo) -> None:
        selector = {"StartSelectorType": "NOW"}

        body = kvs.get_media({"StreamARN": STREAM_ARN, "StartSelector": selector}, lambda: True)

        assert list(body) == []

    def test_three_connections_and_five_calls_a_second(self, kvs: KinesisVideo) -> None:
        request = {"StreamARN": STREAM_ARN, "StartSelector": {"StartSelectorType": "NOW"}}
        kvs.behaviour = replace(UNLIMITED, get_media_connections=3)
        for _ in range(3):
            kvs.get_media(request)
        with pytest.raises(ServiceError) as connections:
            kvs.get_media(request)
        kvs.behaviour = replace(UNLIMITED, get_media_calls_per_s=5)
        for _ in range(5):
            kvs.get_media(request)
        with pytest.raises(ServiceError) as calls:
            kvs.get_media(request)

        assert connections.value.error_type == "ConnectionLimitExceededException"
        assert calls.value.error_type == "ClientLimitExceededException"

    @pytest.mark.parametrize(
        "selector",
        [
            {},
            {"StartSelectorType": "SOMEWHERE"},
            {"StartSelectorType": "FRAGMENT_NUMBER"},
            {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": "x"},
            {"StartSelectorType": "SERVER_TIMESTAMP"},
        ],
    )
    def test_bad_selectors(self, kvs: KinesisVideo, selector: dict[str, str]) -> None:
        with pytest.raises(ServiceError) as refusal:
            kvs.get_media({"StreamARN": STREAM_ARN, "StartSelector": selector})

        assert refusal.value.error_type == "InvalidArgumentException"


def test_get_data_endpoint_is_limited_by_stream_and_api(kvs: KinesisVideo) -> None:
    kvs.behaviour = CONNECT_DEFAULTS
    request = {"StreamARN": STREAM_ARN, "APIName": "LIST_FRAGMENTS"}
    for _ in range(5):
        assert kvs.get_data_endpoint(request, "http://x") == {"DataEndpoint": "http://x"}

    with pytest.raises(ServiceError) as refusal:
        kvs.get_data_endpoint(request, "http://x")
    kvs.get_data_endpoint({**request, "APIName": "GET_MEDIA"}, "http://x")

    assert refusal.value.error_type == "ClientLimitExceededException"


def test_a_call_fault_is_used_up(kvs: KinesisVideo) -> None:
    fault = CallFault("DescribeStream", "NotAuthorizedException", 401, "no", times=2)
    kvs.behaviour = replace(UNLIMITED, call_faults=(fault,))

    for _ in range(2):
        with pytest.raises(ServiceError, match="no"):
            kvs.describe_stream({"StreamARN": STREAM_ARN})

    assert kvs.describe_stream({"StreamARN": STREAM_ARN})["StreamInfo"]["Status"] == "ACTIVE"


def test_a_rate_is_counted_over_the_last_second() -> None:
    times = iter([0.0, 0.4, 0.9, 1.1, 1.2, 1.5])
    limit = RateLimit(lambda: next(times))

    assert [limit.admits("key", 2) for _ in range(6)] == [True, True, False, True, False, True]


def test_a_call_counts_with_what_it_costs() -> None:
    times = iter([0.0, 0.1, 0.2, 1.0, 1.05, 2.1, 2.2])
    limit = RateLimit(lambda: next(times))

    admitted = [limit.admits("key", 500, cost) for cost in (250, 250, 1, 250, 1, 1000, 1)]

    # The window slides; a call of more than the whole limit is admitted if it is alone.
    assert admitted == [True, True, False, True, False, True, False]


@pytest.mark.parametrize(
    ("take", "least_s"),
    [
        (lambda pacer: [pacer.take(5, 500) for _ in range(10)], 0.09),
        (lambda pacer: pacer.take(2_500_000, 25_000_000), 0.09),
    ],
    ids=["fragments", "bytes"],
)
def test_a_pacer_takes_its_time(take: Callable[[Pacer], object], least_s: float) -> None:
    begin = time.monotonic()

    take(Pacer())

    assert least_s <= time.monotonic() - begin < 3 * least_s


def test_recordings_are_filled_when_the_time_has_come(clock: Clock, call: Call) -> None:
    kvs = KinesisVideo(clock, replace(UNLIMITED, recordings_delay_ms=120_000))
    connect = Connect(clock, lambda: kvs.faults)
    connect.register(call)

    before = connect.describe_contact(call.instance_id, call.contact_id)
    clock.advance_ms(120_000)
    after = connect.describe_contact(call.instance_id, call.contact_id)

    assert before["Contact"]["Recordings"] == []
    assert after == call.describe_contact()


def test_a_behaviour_is_read_from_json() -> None:
    behaviour = decode_behaviour(
        {
            "listing_delay_ms": 0,
            "fragments_per_s": None,
            "uninvited_fragments": ["47"],
            "fragment_faults": [{"number": "12", "kind": "error", "times": None}],
            "body_faults": [{"after_bytes": 5, "kind": "reset"}],
            "call_faults": [{"api": "ListFragments"}],
        }
    )

    assert behaviour == Behaviour(
        listing_delay_ms=0,
        fragments_per_s=None,
        uninvited_fragments=(47,),
        fragment_faults=(FragmentFault(12, "error", times=None),),
        body_faults=(BodyFault(5, "reset"),),
        call_faults=(CallFault("ListFragments"),),
    )
    with pytest.raises(ValueError, match="Behaviour has no colour"):
        decode_behaviour({"colour": "green"})


def test_a_listed_length_ends_where_the_last_block_begins(kvs: KinesisVideo, call: Call) -> None:
    """As in published listings, which show 1796 ms for fragments that start 1856 ms apart."""
    page = kvs.list_fragments(list_request(call.start_timestamp_ms, call.stop_timestamp_ms))
    lengths = {
        int(entry["FragmentNumber"]): entry["FragmentLengthInMilliseconds"]
        for entry in page["Fragments"]
    }

    for fragment in call.fragments:
        ((_, blocks),) = parse(fragment.document()).clusters
        offsets = [offset for _, offset, _ in blocks]
        assert lengths[fragment.number] == max(offsets) - min(offsets)


def test_a_listing_may_say_nothing_of_lengths(kvs: KinesisVideo, call: Call) -> None:
    kvs.behaviour = replace(UNLIMITED, listed_lengths="zero")

    page = kvs.list_fragments(list_request(call.start_timestamp_ms, call.stop_timestamp_ms))

    assert {entry["FragmentLengthInMilliseconds"] for entry in page["Fragments"]} == {0}


@pytest.mark.parametrize(("kind", "last"), [("list", []), ("null", None), ("absent", "absent")])
def test_a_listing_may_end_in_an_empty_page(
    kvs: KinesisVideo, call: Call, kind: Any, last: object
) -> None:
    kvs.behaviour = replace(UNLIMITED, ends_in_empty_page=True, empty_page=kind)

    page = kvs.list_fragments(list_request(call.start_timestamp_ms, call.stop_timestamp_ms))
    end = kvs.list_fragments({"StreamARN": STREAM_ARN, "NextToken": page["NextToken"]})

    assert len(page["Fragments"]) == len(call.fragments)
    assert end.get("Fragments", "absent") == last
    assert "NextToken" not in end


def test_a_clock_stands_still_until_it_is_started() -> None:
    clock = Clock()
    clock.stop()
    clock.set_ms(5000)
    assert clock.now_ms() == 5000
    clock.advance_ms(500)
    assert clock.now_ms() == 5500
    clock.start()
    assert clock.now_ms() >= 5500
