"""Media bodies at their worst: whole, or said to be incomplete."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from local.behaviour import CONNECT_DEFAULTS, BodyFault, FragmentFault
from local.call import Delivery
from local.encoder import Layout
from local.pcm import synthetic_pcm
from tests.integration.journey import (
    GIVES_UP,
    SETTLES,
    Journey,
    call,
    caller,
    neighbours,
    silenced,
)

FRAGMENT_MS = 960
BLOCK_BYTES = 1031
"""A SimpleBlock of 1024 bytes of PCM with its head."""


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


CODES = ("3000", "3002", "4000", "4503", "5000")
KEY_CODES = ("4500", "4501", "4502", "4504", "4505", "4506")


def in_band(kind: Any, code: str, number: int | None, times: int | None) -> FragmentFault:
    """An error document: the code is in another tag in each family."""
    if kind == "exception":
        return FragmentFault(number, kind, code=code, detail="an error", times=times)
    return FragmentFault(number, kind, code="AN_ERROR", detail=code, times=times)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("kind", ["exception", "error"])
@pytest.mark.parametrize("code", CODES)
def test_error_document_that_passes(mono: Journey, code: str, kind: Any, times: int) -> None:
    one = mono.place(call())
    mono.behave(fragment_faults=(in_band(kind, code, one.fragments[2].number, times),))
    assert mono.archive(one)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


@pytest.mark.parametrize("kind", ["exception", "error"])
@pytest.mark.parametrize("code", KEY_CODES)
def test_error_document_about_the_streams_key_is_said_at_once(
    mono: Journey, code: str, kind: Any
) -> None:
    one = mono.place(call())
    mono.behave(fragment_faults=(in_band(kind, code, None, None),))
    assert mono.archive(one)
    assert mono.keys() == []
    assert mono.failure_codes() == [f"KVS_{code}"]


def test_key_that_stays_unavailable_is_said(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(fragment_faults=(in_band("error", "4503", None, None),))
    assert not mono.archive(one)
    assert mono.archive(one, receives=GIVES_UP)
    assert mono.keys() == []
    (failed,) = mono.failed_jobs()
    assert "KVS_4503" in failed["reason"]


def test_body_that_stalls_is_left_at_the_read_timeout(impatient: Journey) -> None:
    one = impatient.place(call())
    impatient.behave(body_faults=(BodyFault(70_000, "stall"),))
    assert impatient.archive(one)
    assert impatient.pcm() == caller()


@pytest.mark.parametrize("element", ["1a45dfa3", "18538067", "1f43b675"])
@pytest.mark.parametrize("fragment", [0, 3])
def test_flipped_bit_in_the_framing_is_asked_for_again(
    mono: Journey, fragment: int, element: str
) -> None:
    one = mono.place(call())
    documents = [stored.document() for stored in one.fragments]
    at = documents[fragment].index(bytes.fromhex(element))
    mono.behave(
        media_order="number",
        body_faults=(BodyFault(sum(map(len, documents[:fragment])) + at, "flip"),),
    )
    assert mono.archive(one)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


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


@pytest.mark.parametrize("kind", ["end", "reset", "close", "garbage"])
@pytest.mark.parametrize("after_bytes", [0, 3, 400, 31_000, 62_500, 150_000])
def test_body_that_stops_early_is_asked_for_again(
    mono: Journey, kind: Any, after_bytes: int
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


@pytest.mark.parametrize("listed_lengths", ["blocks", "zero"])
def test_body_that_ends_once_between_two_blocks_loses_nothing(
    mono: Journey, listed_lengths: str
) -> None:
    one = mono.place(call(Delivery(layout=Layout(contact_tags_before_cluster=True))))
    size = sum(len(stored.document()) for stored in one.fragments)
    mono.behave(
        media_order="number",
        listed_lengths=listed_lengths,
        body_faults=(BodyFault(size - 2 * BLOCK_BYTES, times=1),),
    )
    assert mono.archive(one)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


def test_listed_length_that_exceeds_the_audio_misses_nothing(mono: Journey) -> None:
    one = call(Delivery(layout=Layout(contact_tags_before_cluster=True)))
    longer = [replace(stored, duration_ms=stored.duration_ms + 150) for stored in one.fragments]
    one = mono.place(replace(one, fragments=tuple(longer)))
    assert mono.archive(one)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


@pytest.mark.parametrize("one_each", [True, False])
@pytest.mark.parametrize("fragment", [0, 2])
def test_fragment_cut_between_its_contact_tags_and_its_audio_is_asked_for_again(
    mono: Journey, fragment: int, one_each: bool
) -> None:
    layout = Layout(contact_tags_before_cluster=True, one_tags_element_each=one_each)
    one = mono.place(call(Delivery(layout=layout)))
    documents = [stored.document() for stored in one.fragments]
    cluster = documents[fragment].index(bytes.fromhex("1f43b675"))
    cut = sum(map(len, documents[:fragment])) + cluster
    mono.behave(body_faults=(BodyFault(cut, times=1),))
    assert mono.archive(one)
    assert mono.pcm() == caller()


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


def test_listing_of_more_pages_than_the_quota_of_a_second(patient: Journey) -> None:
    """A page that is refused is asked for again: a listing from the start would end there, too."""
    one = patient.place(call())
    patient.behave(page_limit=3, listed_fragments_per_s=6)
    assert patient.archive(one)
    assert patient.aws.refusals["ListFragments"] >= 1
    assert patient.pcm() == caller()


def test_media_is_asked_for_no_faster_than_the_quota(patient: Journey) -> None:
    """Eleven minutes: 688 fragments, of which 500 may be asked for in the first second."""
    customer, agent = synthetic_pcm(660, 1), synthetic_pcm(660, 2)
    quota = CONNECT_DEFAULTS.fragments_per_s
    assert quota == 500
    patient.behave(fragments_per_s=quota)
    assert patient.archive(patient.place(call(customer=customer, to_customer=agent)))
    assert patient.manifest()["fragments"]["accepted"] == 688
    assert "GetMediaForFragmentList" not in patient.aws.refusals
    assert patient.pcm() == customer[0 : len(customer)]


def test_call_without_audio_is_never_an_empty_recording(mono: Journey) -> None:
    one = mono.place(call(Delivery(track_names=("SOMETHING_ELSE", "AND_ANOTHER"))))
    assert mono.archive(one)
    assert mono.keys() == []
    assert [failed["code"] for failed in mono.failed_jobs()] == ["NO_AUDIO"]


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
