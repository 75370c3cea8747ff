"""KVS and S3 at their worst, through the deployed code: whole, or said to be incomplete."""

import time
from pathlib import Path
from typing import Literal

import pytest

from local.behaviour import BodyFault, CallFault, FragmentFault
from local.call import Delivery
from local.encoder import Layout
from local.pcm import synthetic_pcm
from tests.integration.journey import (
    GIVES_UP,
    RESOURCES,
    SETTLES,
    START_MS,
    Journey,
    call,
    caller,
    neighbours,
    silenced,
)

FRAGMENT_MS = 960
BLOCK_BYTES = 1031
"""A SimpleBlock of 1024 bytes of PCM with its head."""


def test_pages_in_random_order(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(page_limit=2, seed=99)
    assert mono.archive(one)
    assert mono.pcm() == caller()


@pytest.mark.parametrize("order", ["number", "random"])
def test_media_in_another_order_than_asked(mono: Journey, order: str) -> None:
    one = mono.place(call())
    mono.behave(media_order=order, seed=5)
    assert mono.archive(one)
    assert mono.pcm() == caller()


@pytest.mark.parametrize("body_write_bytes", [1, 7, 1031, None])
def test_body_in_writes_of_any_size(mono: Journey, body_write_bytes: int | None) -> None:
    one = mono.place(call(customer=caller(1), to_customer=caller(1)))
    mono.behave(body_write_bytes=body_write_bytes)
    assert mono.archive(one)
    assert mono.pcm() == caller(1)


@pytest.mark.parametrize("kind", ["exception", "error", "left_out"])
@pytest.mark.parametrize("rest_follows", [True, False])
def test_fault_of_one_fragment_is_gone_at_the_second_try(
    mono: Journey, kind: Literal["exception", "error", "left_out"], rest_follows: bool
) -> None:
    one = mono.place(call())
    fault = FragmentFault(one.fragments[2].number, kind=kind, times=1, rest_follows=rest_follows)
    mono.behave(fragment_faults=(fault,))
    assert mono.archive(one)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


def test_fragment_that_never_comes_is_named_and_silent(mono: Journey) -> None:
    one = mono.place(call())
    number = one.fragments[2].number
    mono.behave(fragment_faults=(FragmentFault(number, kind="error", times=None),))
    assert not mono.archive(one)
    assert mono.keys() == []
    assert not mono.archive(one, receives=SETTLES)
    assert mono.pcm() == silenced(caller(), 2 * FRAGMENT_MS, 3 * FRAGMENT_MS)
    manifest = mono.manifest()
    assert manifest["complete"] is False
    assert manifest["fragments"]["missing"] == [str(number)]
    assert manifest["reasons"] == ["KVS_3000: KVS sends an error document in place of a fragment"]


def test_partial_recording_is_replaced_by_the_complete_one(mono: Journey) -> None:
    one = mono.place(call())
    fault = FragmentFault(one.fragments[2].number, kind="left_out", times=None)
    mono.behave(fragment_faults=(fault,))
    assert not mono.archive(one, receives=SETTLES)
    assert mono.manifest()["complete"] is False
    mono.behave(fragment_faults=())
    assert mono.archive(one, receives=SETTLES + 1)
    assert mono.manifest()["complete"] is True
    assert mono.pcm() == caller()


def test_complete_recording_is_not_replaced_by_a_partial_one(mono: Journey) -> None:
    one = mono.place(call())
    assert mono.archive(one)
    before = mono.wav(), mono.manifest()
    fault = FragmentFault(one.fragments[2].number, kind="left_out", times=None)
    mono.behave(fragment_faults=(fault,))
    assert mono.archive(one, receives=SETTLES)
    assert (mono.wav(), mono.manifest()) == before


def test_job_that_stays_incomplete_ends_in_the_failed_jobs_queue(mono: Journey) -> None:
    one = mono.place(call())
    fault = FragmentFault(one.fragments[2].number, kind="left_out", times=None)
    mono.behave(fragment_faults=(fault,))
    assert mono.archive(one, receives=GIVES_UP)
    (failed,) = mono.failed_jobs()
    assert failed["code"] == "INCOMPLETE"
    assert failed["body"] == one.archive_job()
    assert "NOT_DELIVERED" in failed["reason"]


def test_duplicated_and_uninvited_fragments(mono: Journey) -> None:
    one = mono.place(call())
    stranger = neighbours(one)[0].fragments[-1].number
    duplicated = FragmentFault(one.fragments[1].number, kind="duplicated", times=None)
    mono.behave(fragment_faults=(duplicated,), uninvited_fragments=(stranger,))
    assert mono.archive(one)
    assert mono.pcm() == caller()


@pytest.mark.parametrize("kind", ["end", "reset"])
@pytest.mark.parametrize("after_bytes", [0, 3, 400, 31_000, 62_500, 150_000])
def test_body_that_stops_early_is_asked_for_again(
    mono: Journey, kind: Literal["end", "reset"], after_bytes: int
) -> None:
    one = mono.place(call())
    mono.behave(body_faults=(BodyFault(after_bytes, kind=kind, times=2),))
    assert mono.archive(one)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


def _cut_between_two_blocks(mono: Journey, layout: Layout) -> bytes:
    """A call of one fragment, of which KVS never gives more than four blocks; what was said."""
    said = caller(0.9)
    one = mono.place(call(Delivery(layout=layout), customer=said, to_customer=said))
    first_block = one.fragments[0].document().index(b"\xa3\x44\x04")
    mono.behave(body_faults=(BodyFault(first_block + 4 * BLOCK_BYTES, times=None),))
    assert not mono.archive(one)
    assert mono.keys() == []
    assert mono.archive(one, receives=GIVES_UP)
    return said


def test_fragment_cut_between_two_blocks_is_never_called_complete(mono: Journey) -> None:
    said = _cut_between_two_blocks(mono, Layout(contact_tags_before_cluster=True))
    assert mono.manifest()["complete"] is False
    assert mono.pcm() == said[:2048]
    assert [failed["code"] for failed in mono.failed_jobs()] == ["INCOMPLETE"]


def test_fragment_cut_before_its_contact_tags_is_not_taken(mono: Journey) -> None:
    _cut_between_two_blocks(mono, Layout())
    assert mono.keys() == []
    assert [failed["code"] for failed in mono.failed_jobs()] == ["NO_FRAGMENT_OF_CONTACT"]


def test_number_that_kvs_calls_invalid_is_isolated(mono: Journey) -> None:
    one = mono.place(call())
    gone = one.fragments[4].number
    mono.behave(unreadable_fragments=(gone,))
    assert mono.archive(one)
    assert mono.pcm() == silenced(caller(), 4 * FRAGMENT_MS, 5 * FRAGMENT_MS)
    manifest = mono.manifest()
    assert manifest["fragments"]["missing"] == [str(gone)]
    assert [failed["code"] for failed in mono.failed_jobs()] == ["INCOMPLETE"]


def test_tail_that_is_listed_late_is_waited_for(mono: Journey) -> None:
    one = mono.place(call())
    mono.aws.clock.set_ms(one.fragments[-1].server_end_ms + 200)
    assert not mono.archive(one)
    assert mono.keys() == []
    mono.aws.clock.advance_ms(2000)
    assert mono.archive(one, receives=2)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


def test_tail_that_is_never_listed_makes_a_partial_recording(mono: Journey) -> None:
    one = mono.place(call())
    mono.aws.clock.set_ms(one.fragments[-1].server_end_ms + 200)
    assert not mono.archive(one, receives=SETTLES)
    manifest = mono.manifest()
    assert manifest["complete"] is False
    assert manifest["fragments"]["missing"] == [str(one.stop_fragment_number)]
    assert mono.pcm() == caller()[: len(mono.pcm())]
    assert manifest["reasons"] == ["STOP_NOT_LISTED: KVS does not list the stop fragment"]


@pytest.mark.parametrize(
    "fault",
    [
        CallFault("ListFragments", "ClientLimitExceededException", 400, times=2),
        CallFault("ListFragments", "InternalFailure", 500, times=2),
        CallFault("GetDataEndpoint", "ClientLimitExceededException", 400, times=1),
        CallFault("GetMediaForFragmentList", "ClientLimitExceededException", 400, times=2),
        CallFault("GetMediaForFragmentList", "InternalFailure", 500, times=3),
    ],
    ids=lambda fault: f"{fault.api}-{fault.error_type}",
)
def test_throttling_and_server_errors_pass(mono: Journey, fault: CallFault) -> None:
    one = mono.place(call())
    mono.behave(call_faults=(fault,))
    done = [mono.archive(one, receives=receives) for receives in (1, 2, 3)]
    assert done[-1]
    assert mono.pcm() == caller()


def test_listing_of_more_pages_than_the_quota_of_a_second(mono: Journey) -> None:
    """A page that is refused is asked for again: a listing from the start would end there, too."""
    one = mono.place(call())
    mono.behave(page_limit=3, listed_fragments_per_s=6)
    assert mono.archive(one)
    assert mono.aws.refusals["ListFragments"] >= 1
    assert mono.pcm() == caller()


def test_media_is_asked_for_no_faster_than_the_quota(mono: Journey) -> None:
    """Eleven minutes: 688 fragments, of which 500 may be asked for in the first second."""
    customer, agent = synthetic_pcm(660, 1), synthetic_pcm(660, 2)
    assert mono.archive(mono.place(call(customer=customer, to_customer=agent)))
    assert mono.manifest()["fragments"]["accepted"] == 688
    assert "GetMediaForFragmentList" not in mono.aws.refusals
    assert mono.pcm() == customer[0 : len(customer)]


@pytest.mark.parametrize(
    ("error_type", "status"),
    [("NotAuthorizedException", 401), ("ResourceNotFoundException", 404)],
)
def test_refusal_that_nothing_mends_goes_to_the_failed_jobs_queue(
    mono: Journey, error_type: str, status: int
) -> None:
    one = mono.place(call())
    mono.behave(call_faults=(CallFault("ListFragments", error_type, status, times=None),))
    assert mono.archive(one)
    (failed,) = mono.failed_jobs()
    assert failed["code"] == f"KVS_{error_type}"
    assert failed["body"] == one.archive_job()


def test_stream_key_that_cannot_be_used_is_said(mono: Journey) -> None:
    one = mono.place(call())
    fault = FragmentFault(None, kind="exception", code="4500", detail="no access", times=None)
    mono.behave(fragment_faults=(fault,))
    assert mono.archive(one)
    assert [failed["code"] for failed in mono.failed_jobs()] == ["KVS_4500"]


def test_audio_outside_retention_is_said(mono: Journey) -> None:
    one = mono.place(call())
    mono.aws.clock.advance_ms(48 * 3_600_000)
    assert mono.archive(one)
    (failed,) = mono.failed_jobs()
    assert failed["code"] == "KVS_InvalidArgumentException"
    assert "retention" in failed["reason"]


def test_call_without_audio_is_never_an_empty_recording(mono: Journey) -> None:
    one = mono.place(call(Delivery(track_names=("SOMETHING_ELSE", "AND_ANOTHER"))))
    assert mono.archive(one)
    assert mono.keys() == []
    assert [failed["code"] for failed in mono.failed_jobs()] == ["NO_AUDIO"]


def test_malformed_messages_go_to_the_failed_jobs_queue(mono: Journey) -> None:
    assert mono.run({"kind": "ArchiveJob", "version": 2})
    assert mono.run({"something": "else"})
    good = call().archive_job()
    assert mono.run({**good, "contactId": "../../etc/passwd"})
    assert mono.run({**good, "streamArn": "arn:aws:kinesisvideo::eu-west-2:x"})
    assert mono.run({**good, "instanceArn": good["instanceArn"].replace("5f3b", "0000")})
    assert sorted(failed["code"] for failed in mono.failed_jobs()) == [
        "FOREIGN_INSTANCE",
        "MALFORMED_CONTACT_ID",
        "MALFORMED_STREAM_ARN",
        "UNKNOWN_JOB",
        "UNKNOWN_MESSAGE",
    ]


def test_missing_bucket_is_said_and_leaves_no_upload(mono: Journey) -> None:
    one = mono.place(call())
    mono.s3.delete_bucket(Bucket=RESOURCES.bucket)
    assert mono.archive(one)
    assert [failed["code"] for failed in mono.failed_jobs()] == ["S3_NoSuchBucket"]


def test_near_timeout_keeps_nothing_half_published(mono: Journey) -> None:
    one = mono.place(call())
    mono.function.timeout_s, before = 50, mono.function.timeout_s
    try:
        assert not mono.archive(one)
    finally:
        mono.function.timeout_s = before
    assert mono.keys() == []
    assert mono.uploads() == []
    assert mono.archive(one, receives=2)
    assert mono.pcm() == caller()


def test_job_of_another_start_is_another_recording(mono: Journey) -> None:
    first = mono.place(call())
    again = call(start_ms=START_MS + 60_000, first_sequence=9001)
    mono.aws.place(first, again)
    assert mono.archive(first)
    assert mono.archive(again)
    assert len(mono.keys()) == 4


@pytest.mark.parametrize("kind", ["exception", "error"])
def test_one_bad_fragment_does_not_keep_the_others_back(
    mono: Journey, kind: Literal["exception", "error"]
) -> None:
    one = mono.place(call())
    number = one.fragments[2].number
    fault = FragmentFault(number, kind=kind, times=None, rest_follows=False)
    mono.behave(fragment_faults=(fault,))
    assert not mono.archive(one, receives=SETTLES)
    assert mono.pcm() == silenced(caller(), 2 * FRAGMENT_MS, 3 * FRAGMENT_MS)
    assert mono.manifest()["fragments"]["missing"] == [str(number)]


def test_body_that_always_ends_after_40_kb_is_read_in_pieces(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(body_faults=(BodyFault(40_000, times=None),))
    assert mono.archive(one)
    assert mono.pcm() == caller()


def test_last_block_that_is_always_cut_off_is_noticed(mono: Journey) -> None:
    said = caller(0.96)
    delivery = Delivery(layout=Layout(contact_tags_before_cluster=True))
    one = mono.place(call(delivery, customer=said, to_customer=said))
    size = len(one.fragments[0].document())
    mono.behave(body_faults=(BodyFault(size - 2 * BLOCK_BYTES, times=None),))
    assert mono.archive(one, receives=GIVES_UP)
    assert mono.manifest()["complete"] is False


def test_failed_runs_leave_no_thread_and_no_connection(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(
        fragment_faults=(FragmentFault(one.fragments[2].number, kind="left_out", times=None),)
    )
    assert not mono.archive(one)
    threads = len(list(Path(f"/proc/{mono.function.process_id}/task").iterdir()))
    for _ in range(3):
        assert not mono.archive(one)
    after = len(list(Path(f"/proc/{mono.function.process_id}/task").iterdir()))
    assert after == threads


def test_media_endpoint_that_is_down_is_left_in_time(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(
        call_faults=(CallFault("GetMediaForFragmentList", "InternalFailure", 500, times=None),)
    )
    mono.function.timeout_s, before = 62, mono.function.timeout_s
    try:
        began_s = time.monotonic()
        assert not mono.archive(one)
        assert time.monotonic() - began_s < 40
    finally:
        mono.function.timeout_s = before
