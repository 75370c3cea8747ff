"""Every oddity of a real stream, through the deployed code: the recording is what was said.

The expected audio is the simulator's input, cut or silenced by the test itself.
"""

import pytest

from local.call import Delivery, simulate_call
from local.demo_call import INSTANCE_ARN, STREAM_ARN
from local.encoder import SDK_PRODUCER, Layout
from tests.integration.journey import (
    CONTACT_ID,
    START_MS,
    Journey,
    agent,
    call,
    caller,
    interleave,
    silenced,
)

FRAGMENT_MS = 960

FAITHFUL = {
    "as_connect_sends_it": Delivery(),
    "unknown_size_cluster_in_one_byte": Delivery(layout=Layout(cluster_size="unknown1")),
    "known_size_cluster": Delivery(layout=Layout(cluster_size="known")),
    "known_size_segment": Delivery(layout=Layout(segment_size_known=True, cluster_size="known")),
    "known_size_segment_unknown_cluster": Delivery(layout=Layout(segment_size_known=True)),
    "contact_tags_before_the_cluster": Delivery(layout=Layout(contact_tags_before_cluster=True)),
    "all_contact_tags_in_one_element": Delivery(layout=Layout(one_tags_element_each=False)),
    "server_side_tag_names": Delivery(layout=Layout(tag_names="SERVER_SIDE")),
    "void_everywhere": Delivery(layout=Layout(void_in_segment=True, void_in_cluster=True)),
    "crc_32_first": Delivery(layout=Layout(cluster_size="known", crc32=True)),
    "unregistered_elements": Delivery(
        layout=Layout(unregistered_in_segment=True, unregistered_in_cluster=True)
    ),
    "nul_padded_strings": Delivery(layout=Layout(nul_padding_bytes=5, tags_size_bytes=4)),
    "another_producers_layout": Delivery(layout=SDK_PRODUCER),
    "timestamp_scale_of_a_tenth": Delivery(layout=Layout(timecode_scale=100_000)),
    "several_clusters": Delivery(clusters_per_fragment=3),
    "negative_block_timecodes": Delivery(timecode_lead_ms=300),
    "swapped_track_numbers": Delivery(swap_tracks_every=1),
    "customer_has_track_two": Delivery(customer_track_first=False),
    "untagged_in_the_middle": Delivery(untagged=frozenset((3,))),
    "two_untagged_in_a_row": Delivery(untagged=frozenset((2, 3))),
    "untagged_tail": Delivery(untagged=frozenset((6,))),
    "without_contact_id": Delivery(without_contact_id=frozenset((1, 4))),
    "without_any_tags": Delivery(without_tags=frozenset((2, 5))),
    "without_cluster": Delivery(without_cluster=frozenset((3,))),
    "five_second_fragments": Delivery(fragment_ms=5000),
    "small_blocks": Delivery(block_bytes=320),
    "odd_block_size": Delivery(block_bytes=1000),
    "relative_clock": Delivery(producer_clock="relative"),
    "clock_jumps_ahead": Delivery(clock_jumps_ms={3: 3_600_000}),
    "clock_jumps_back": Delivery(clock_jumps_ms={3: -3_600_000}),
    "clock_jumps_back_a_little": Delivery(clock_jumps_ms={3: -5_000}),
    "producer_far_ahead": Delivery(server_lag_ms=-30_000),
    "producer_far_behind": Delivery(server_lag_ms=30_000),
}


@pytest.mark.parametrize("delivery", FAITHFUL.values(), ids=FAITHFUL)
def test_mono_recording_is_what_the_caller_said(mono: Journey, delivery: Delivery) -> None:
    one = mono.place(call(delivery))
    assert mono.archive(one)
    assert mono.pcm() == caller()
    manifest = mono.manifest()
    assert manifest["complete"] is True
    assert manifest["fragments"]["foreign"] == 0
    assert manifest["fragments"]["accepted"] == len(one.fragments)


@pytest.mark.parametrize("delivery", FAITHFUL.values(), ids=FAITHFUL)
def test_stereo_recording_is_what_both_said(stereo: Journey, delivery: Delivery) -> None:
    assert stereo.archive(stereo.place(call(delivery)))
    assert stereo.pcm() == interleave(caller(), agent())
    assert stereo.manifest()["complete"] is True


def test_ebml_magic_in_the_audio(mono: Journey) -> None:
    magic = bytes.fromhex("1A45DFA3") * 24_000
    assert mono.archive(mono.place(call(customer=magic)))
    assert mono.pcm() == magic


@pytest.mark.parametrize("name", ["Track_audio/L16", "", None])
def test_legacy_single_track_is_the_customers(mono: Journey, name: str | None) -> None:
    single = simulate_call(
        caller(),
        None,
        contact_id=CONTACT_ID,
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=START_MS,
        first_sequence=4001,
        delivery=Delivery(track_names=(name, None)),
    )
    assert mono.archive(mono.place(single))
    assert mono.pcm() == caller()


def test_second_track_of_unknown_name_makes_a_stereo_recording_incomplete(
    stereo: Journey,
) -> None:
    delivery = Delivery(track_names=("AUDIO_FROM_CUSTOMER", "SOMETHING_ELSE"))
    assert stereo.archive(stereo.place(call(delivery)))
    assert stereo.pcm() == interleave(caller(), bytes(len(caller())))
    assert stereo.manifest()["reasons"] == [
        "UNKNOWN_TRACKS: a track's name does not tell whose voice it holds"
    ]


def test_tracks_of_different_length(stereo: Journey) -> None:
    short = agent()[:40_000]
    assert stereo.archive(stereo.place(call(to_customer=short)))
    assert stereo.pcm() == interleave(caller(), short + bytes(len(caller()) - len(short)))


def test_short_block_in_mid_track_leaves_silence_on_the_grid(mono: Journey) -> None:
    one = mono.place(call(Delivery(short_blocks={2: 192})))
    assert mono.archive(one)
    manifest = mono.manifest()
    assert [gap["lengthMs"] for gap in manifest["gaps"]] == [52]
    at = manifest["gaps"][0]["atMs"] * 16
    assert mono.pcm() == caller()[:at] + bytes(832) + caller()[at:]


def test_lost_fragment_is_silence_of_its_length(mono: Journey) -> None:
    assert mono.archive(mono.place(call(Delivery(lost=frozenset((2,))))))
    start_ms = 2 * FRAGMENT_MS
    assert mono.pcm() == silenced(caller(), start_ms, start_ms + FRAGMENT_MS)
    assert mono.manifest()["gaps"] == [
        {"atMs": start_ms, "lengthMs": FRAGMENT_MS, "track": "AUDIO_FROM_CUSTOMER"}
    ]


def test_hole_on_both_clocks_is_silence(mono: Journey) -> None:
    assert mono.archive(mono.place(call(Delivery(holes_ms={3: 60_000}))))
    at = 3 * FRAGMENT_MS * 16
    assert mono.pcm() == caller()[:at] + bytes(60_000 * 16) + caller()[at:]


def test_initial_contact_id_proves_ownership(mono: Journey) -> None:
    one = mono.place(call(contact_id=CONTACT_ID))
    job = {**one.archive_job(), "contactId": "later-contact", "initialContactId": CONTACT_ID}
    assert mono.run(job)
    assert mono.pcm() == caller()


def test_another_contacts_job_gets_nothing_of_this_call(mono: Journey) -> None:
    one = mono.place(call())
    assert mono.run({**one.archive_job(), "contactId": "stranger", "initialContactId": "stranger"})
    assert mono.keys() == []
    (failed,) = mono.failed_jobs()
    assert failed["code"] == "NO_FRAGMENT_OF_CONTACT"


def test_range_over_the_neighbours_takes_only_own_fragments(mono: Journey) -> None:
    one = mono.place(call())
    job = one.archive_job()
    job["startFragmentNumber"] = str(one.start_fragment_number - 2 * 2**92)
    del job["stopFragmentNumber"]
    job["stopTimestamp"] = one.stop_timestamp_ms + 20_000
    assert not mono.run(job)
    assert mono.run(job, receives=10)
    assert mono.pcm() == caller()
    manifest = mono.manifest()
    assert manifest["fragments"]["foreign"] > 0
    assert manifest["complete"] is False


def test_untagged_start_is_not_taken_for_granted(mono: Journey) -> None:
    assert mono.archive(mono.place(call(Delivery(untagged=frozenset((0,))))))
    assert mono.pcm() == caller()[FRAGMENT_MS * 16 :]
    manifest = mono.manifest()
    assert manifest["complete"] is False
    assert manifest["fragments"]["untagged"] == 1
    assert [failed["code"] for failed in mono.failed_jobs()] == ["INCOMPLETE"]


@pytest.mark.parametrize("known", ["timestamp", "nothing"])
def test_stop_without_fragment_number(mono: Journey, known: str) -> None:
    one = mono.place(call())
    job = one.archive_job(requested_at_ms=one.stop_timestamp_ms + 500)
    del job["stopFragmentNumber"]
    if known == "nothing":
        del job["stopTimestamp"]
    assert mono.run(job)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


def test_fragments_that_are_sent_again_are_heard_once(mono: Journey) -> None:
    first = call()
    again = call(
        customer=caller()[3000 * 16 :],
        to_customer=agent()[3000 * 16 :],
        start_ms=START_MS + 3000,
        first_sequence=5001,
    )
    mono.aws.place(first, again)
    job = {**first.archive_job(), "stopFragmentNumber": str(again.stop_fragment_number)}
    assert mono.run({**job, "stopTimestamp": again.stop_timestamp_ms})
    assert mono.pcm() == caller()
    manifest = mono.manifest()
    assert sum(overlap["lengthMs"] for overlap in manifest["overlaps"]) == 3000
    assert manifest["complete"] is True
