"""What is asked of KVS, and what is made of its answers; bodies made by the local encoder."""

from collections.abc import Callable, Iterable
from functools import cache

import pytest

from call_archive.errors import MediaError, StreamFaultError
from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import decode_fragment
from call_archive.reasons import Code, Reason, Refusal, Service
from call_archive.recording.listing import ListedFragment, MissingFragment, ReceivedFragment
from call_archive.recording.retrieval import (
    BATCH_BYTES,
    BATCH_FRAGMENTS,
    FRAGMENT_TRANSITIONS,
    MOST_THROTTLES,
    QUESTION_TRANSITIONS,
    RETRY_DELAYS_S,
    THROTTLED,
    THROTTLED_S,
    Ask,
    Broken,
    Done,
    Ended,
    FragmentState,
    ListAgain,
    ListedSizes,
    QuestionState,
    Refused,
    Retrieval,
    Step,
    Wait,
    build_batches,
)
from local.call import Delivery, StoredFragment, simulate_call
from local.encoder import Layout
from local.pcm import synthetic_pcm
from tests.support.arns import INSTANCE_ARN, STREAM_ARN

TAGS_FIRST = Layout(contact_tags_before_cluster=True)
BLOCK_BYTES = 128
CLUSTER = bytes.fromhex("1F43B675")
HEAD_BYTES = 7
"""Of a SimpleBlock: ID, data size of two bytes, track, timecode, flags."""


@cache
def stored(
    count: int = 3, layout: Layout = TAGS_FIRST, without_tags: frozenset[int] = frozenset()
) -> tuple[StoredFragment, ...]:
    """Fragments of eight blocks, 64 ms, of one track."""
    call = simulate_call(
        synthetic_pcm(count * 0.064, 1)[:],
        None,
        contact_id="c-1",
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=1_767_258_000_000,
        delivery=Delivery(
            layout=layout, fragment_ms=64, block_bytes=BLOCK_BYTES, without_tags=without_tags
        ),
    )
    return call.fragments


def listed(
    fragments: Iterable[StoredFragment],
    size: Callable[[int], int] = lambda size: size,
    duration: Callable[[int], int] = lambda _: 56,
) -> list[ListedFragment]:
    return [
        ListedFragment(
            fragment.number,
            fragment.server_timestamp_ms,
            duration(fragment.duration_ms),
            size(fragment.size_bytes),
        )
        for fragment in fragments
    ]


def cut(document: bytes, blocks: int) -> bytes:
    """The document as a body leaves it that ends before its last blocks."""
    return document[: -blocks * (BLOCK_BYTES + HEAD_BYTES)]


class Drive:
    """A retrieval, driven by hand, and what it has delivered."""

    def __init__(
        self, batch: list[ListedFragment], sizes: ListedSizes | None = None, room: int = 1 << 24
    ) -> None:
        self.retrieval = Retrieval(batch, sizes, room)
        self.out: list[ReceivedFragment | MissingFragment] = []
        self.waits: list[Wait] = []

    def step(self) -> Step:
        """The next step that is no wait."""
        while isinstance(step := self.retrieval.next(), Wait):
            self.waits.append(step)
        self.out += self.retrieval.deliveries()
        return step

    def asks(self) -> list[int]:
        """The numbers that are asked for next."""
        step = self.step()
        assert isinstance(step, Ask), step
        return list(step.numbers)

    def answer(self, *body: bytes, how: Ended | Broken | None = None) -> None:
        """One body, and how it ends."""
        for fragment in read_fragments(body):
            self.retrieval.receive(decode_fragment(fragment))
            self.out += self.retrieval.deliveries()
            if not self.retrieval.is_listening:
                break
        self.retrieval.end(how or Ended())

    def answer_always(self, *body: bytes) -> None:
        """The same body to every question, until nothing more is asked."""
        while isinstance(self.step(), Ask):
            self.answer(*body)

    def is_done(self) -> bool:
        return isinstance(self.step(), Done)

    def documents(self) -> list[bytes]:
        return [
            delivery.media.fragment.document
            for delivery in self.out
            if isinstance(delivery, ReceivedFragment) and not delivery.is_cut_short
        ]

    def reasons(self) -> list[str]:
        return [
            delivery.reason.code if isinstance(delivery, MissingFragment) else "cut short"
            for delivery in self.out
            if isinstance(delivery, MissingFragment) or delivery.is_cut_short
        ]


def documents(fragments: Iterable[StoredFragment]) -> list[bytes]:
    return [fragment.document() for fragment in fragments]


# ---------------------------------------------------------------------------------- a body's end


@pytest.mark.parametrize("length_ms", [0, 8, 56, 64])
@pytest.mark.parametrize("sizes_are_listed", [True, False])
@pytest.mark.parametrize("lost_blocks", [1, 4, 7])
def test_last_fragment_of_a_body_that_ends_between_two_blocks_is_asked_for_again(
    length_ms: int, sizes_are_listed: bool, lost_blocks: int
) -> None:
    """Whatever length is listed: it is not the audio's."""
    whole = documents(stored())
    size = (lambda size: size) if sizes_are_listed else (lambda _: 0)
    drive = Drive(listed(stored(), size, lambda _: length_ms))
    assert len(drive.asks()) == 3
    drive.answer(whole[0], whole[1], cut(whole[2], lost_blocks))
    assert drive.asks() == [stored()[2].number]
    drive.answer(whole[2])
    if not sizes_are_listed:  # longer than before: only the same again proves it
        assert drive.asks() == [stored()[2].number]
        drive.answer(whole[2])
    assert drive.is_done()
    assert drive.documents() == whole
    assert drive.reasons() == []


@pytest.mark.parametrize("length_ms", [0, 56, 64, 214, 10_000])
def test_fragment_of_as_many_bytes_as_listed_is_whole_at_first_sight(length_ms: int) -> None:
    whole = documents(stored())
    drive = Drive(listed(stored(), duration=lambda _: length_ms))
    drive.asks()
    drive.answer(*whole)
    assert drive.is_done()
    assert drive.documents() == whole


@pytest.mark.parametrize("excess", [-100, 100, 5000])
def test_the_same_from_two_bodies_is_whole_whatever_size_is_listed(excess: int) -> None:
    """The whole fragments before it show that listed sizes are no lengths of documents."""
    whole = documents(stored())
    drive = Drive(listed(stored(), lambda size: size + excess, lambda _: 214))
    drive.asks()
    drive.answer(*whole)
    assert drive.asks() == [stored()[2].number]
    drive.answer(whole[2])
    assert drive.is_done()
    assert drive.documents() == whole


def test_what_whole_fragments_show_of_listed_sizes_holds_for_the_next_batch() -> None:
    sizes, batch = ListedSizes(), listed(stored(), lambda size: size + 100)
    whole = documents(stored())
    first, second = Drive(batch[:2], sizes), Drive(batch[2:], sizes)
    first.asks()
    first.answer(whole[0], whole[1])
    for _ in range(2):
        second.asks()
        second.answer(whole[2])
    assert second.is_done()
    assert second.documents() == [whole[2]]


@pytest.mark.parametrize("lost_blocks", [1, 4])
def test_fragment_that_always_stays_smaller_than_listed_is_never_called_whole(
    lost_blocks: int,
) -> None:
    (one,) = stored(1)
    drive = Drive(listed([one]))
    drive.answer_always(cut(one.document(), lost_blocks))
    assert drive.documents() == []
    assert drive.reasons() == ["cut short"]


def test_tags_behind_the_audio_show_that_it_is_whole() -> None:
    fragments = stored(layout=Layout())
    drive = Drive(listed(fragments, lambda _: 0))
    drive.asks()
    drive.answer(*documents(fragments))
    assert drive.is_done()
    assert drive.documents() == documents(fragments)


def test_one_tag_behind_the_audio_is_enough_if_it_is_the_contacts() -> None:
    """The audio before it is whole; other tags may follow."""
    (one,) = stored(1, Layout())
    whole = one.document()
    behind = whole.index(b"c-1") + len(b"c-1")
    drive = Drive(listed([one], lambda _: 0))
    drive.asks()
    drive.answer(whole[:behind])
    assert drive.is_done()
    assert drive.documents() == [whole[:behind]]


def test_tags_before_the_audio_show_nothing() -> None:
    """A body that ends before the Cluster has all contact tags, and no audio yet."""
    (one,) = stored(1)
    whole = one.document()
    drive = Drive(listed([one], lambda _: 0))
    drive.asks()
    drive.answer(whole[: whole.index(CLUSTER)])
    for _ in range(2):
        assert drive.asks() == [one.number]
        drive.answer(whole)
    assert drive.is_done()
    assert drive.documents() == [whole]


def test_the_longest_part_is_kept_byte_by_byte() -> None:
    (one,) = stored(1)
    drive = Drive(listed([one], lambda _: 0))
    for end in (-12, -11, -13):
        drive.asks()
        drive.answer(one.document()[:end])
    drive.answer_always()
    (part,) = drive.out
    assert isinstance(part, ReceivedFragment)
    assert part.media.fragment.document == one.document()[:-11]


def test_fragment_cut_before_its_contact_tags_is_asked_for_again() -> None:
    (one,) = stored(1, Layout())
    whole = one.document()
    drive = Drive(listed([one]))
    drive.asks()
    drive.answer(whole[: whole.index(b"ContactId") - 20])
    drive.asks()
    drive.answer(whole)
    assert drive.is_done()
    assert drive.documents() == [whole]


def test_part_that_proves_nobodys_voice_is_not_given() -> None:
    (one,) = stored(1, Layout())
    whole = one.document()
    drive = Drive(listed([one]))
    drive.answer_always(whole[: whole.index(b"ContactId") - 20])
    assert drive.reasons() == [Code.FRAGMENT_CUT_SHORT]


def test_shorter_part_that_comes_twice_does_not_hide_a_longer_one() -> None:
    (one,) = stored(1)
    whole = one.document()
    drive = Drive(listed([one], lambda _: 0))
    drive.asks()
    drive.answer(cut(whole, 1))
    drive.answer_always(cut(whole, 3))
    (part,) = drive.out
    assert isinstance(part, ReceivedFragment)
    assert part.is_cut_short
    assert part.media.fragment.document == cut(whole, 1)


def test_body_that_ends_inside_a_block_is_never_a_whole_fragment() -> None:
    (one,) = stored(1)
    drive = Drive(listed([one], lambda _: 0))
    drive.answer_always(one.document()[:-10])
    assert drive.reasons() == ["cut short"]


# ------------------------------------------------------------------------------- what is asked next


def refused(code: str, *, retryable: bool = False) -> Refused:
    return Refused(StreamFaultError(Refusal(Service.KVS, code), code, retryable=retryable))


INVALID = refused("InvalidArgumentException")


def test_fragments_in_any_order_come_out_in_theirs() -> None:
    fragments = stored(layout=Layout())
    first, second, third = documents(fragments)
    drive = Drive(listed(fragments))
    drive.asks()
    drive.answer(third, first, third, second)
    assert drive.is_done()
    assert drive.documents() == [first, second, third]


def test_what_an_answer_ended_at_is_asked_for_last() -> None:
    numbers = [fragment.number for fragment in stored()]
    drive = Drive(listed(stored()))
    assert drive.asks() == numbers
    drive.answer()
    assert drive.asks() == [*numbers[1:], numbers[0]]


def test_four_answers_without_anything_new_are_enough() -> None:
    drive = Drive(listed(stored()))
    for _ in range(4):
        drive.asks()
        drive.answer()
    assert drive.is_done()
    assert drive.reasons() == [Code.NOT_DELIVERED] * 3
    assert [wait.least_s for wait in drive.waits] == list(RETRY_DELAYS_S)


def test_an_answer_with_anything_new_begins_the_count_again() -> None:
    whole = documents(stored(layout=Layout()))
    drive = Drive(listed(stored(layout=Layout())))
    for body in ((), (), (), (whole[1],), (), (), (), (whole[0],), (), (), (), (whole[2],)):
        drive.asks()
        drive.answer(*body)
    assert drive.is_done()
    assert drive.documents() == whole


def test_fragment_without_a_number_is_asked_for_alone() -> None:
    """Alone, it can be no other; it is of the time at which it was listed."""
    fragments = stored(without_tags=frozenset({1}))
    first, bare, third = documents(fragments)
    drive = Drive(listed(fragments))
    assert len(drive.asks()) == 3
    drive.answer(first, bare, third)
    assert drive.asks() == [fragments[1].number]
    drive.answer(bare, third)
    assert drive.is_done()
    received = drive.out[1]
    assert isinstance(received, ReceivedFragment)
    assert received.media.number == fragments[1].number
    assert received.media.server_timestamp_ms == fragments[1].server_timestamp_ms
    assert received.media.fragment.document == bare


def test_one_number_that_is_invalid_is_isolated() -> None:
    fragments = stored(4, Layout())
    bad = fragments[2].number
    drive = Drive(listed(fragments))
    asked = []
    while not isinstance(step := drive.step(), Done):
        if isinstance(step, ListAgain):
            drive.retrieval.list_again({fragment.number for fragment in step.fragments})
            continue
        assert isinstance(step, Ask)
        asked.append([fragment.number for fragment in fragments if fragment.number in step.numbers])
        if bad in step.numbers:
            drive.retrieval.end(INVALID)
        else:
            drive.answer(*(f.document() for f in fragments if f.number in step.numbers))
    assert drive.reasons() == [Code.NOT_IN_STREAM]
    assert len(drive.documents()) == 3
    assert [len(numbers) for numbers in asked] == [4, 4, 2, 2, 1, 1]


def test_what_is_not_listed_any_more_is_gone() -> None:
    fragments = stored(layout=Layout())
    drive = Drive(listed(fragments))
    drive.asks()
    drive.retrieval.end(INVALID)
    step = drive.step()
    assert isinstance(step, ListAgain)
    drive.retrieval.list_again({fragments[2].number})
    assert drive.asks() == [fragments[2].number]
    drive.answer(fragments[2].document())
    assert drive.is_done()
    assert drive.reasons() == [Code.GONE] * 2
    assert all(not d.may_improve for d in drive.out if isinstance(d, MissingFragment))


def test_part_of_what_is_gone_is_given() -> None:
    one, two = stored(2)
    drive = Drive(listed([one, two], lambda _: 0))
    drive.asks()
    drive.answer(two.document(), cut(one.document(), 1))
    drive.asks()
    drive.retrieval.end(INVALID)
    assert drive.is_done()
    assert drive.reasons() == ["cut short"]


def test_first_refusal_may_be_a_stale_endpoints() -> None:
    drive = Drive(listed(stored()))
    numbers = drive.asks()
    drive.retrieval.end(refused("NotAuthorizedException"))
    assert sorted(drive.asks()) == sorted(numbers)
    with pytest.raises(StreamFaultError, match="NotAuthorized"):
        drive.retrieval.end(refused("NotAuthorizedException"))


@pytest.mark.parametrize("between", [Ended(), refused("InternalFailure", retryable=True)])
def test_refusals_that_do_not_follow_each_other_end_nothing(between: Ended | Refused) -> None:
    drive = Drive(listed(stored()))
    for how in (refused("NotAuthorizedException"), between, refused("NotAuthorizedException")):
        drive.asks()
        drive.retrieval.end(how)
    drive.asks()


@pytest.mark.parametrize("kind", [Refused, Broken])
def test_throttled_question_is_asked_again_and_counts_for_nothing(kind: type) -> None:
    fault = StreamFaultError(THROTTLED, "quota", retryable=True)
    drive = Drive(listed(stored()))
    numbers = drive.asks()
    for _ in range(MOST_THROTTLES):
        drive.retrieval.end(kind(fault))
        assert drive.asks() == numbers
        assert drive.waits.pop() == Wait(*THROTTLED_S)
    for _ in range(3):
        drive.retrieval.end(kind(fault))
        assert isinstance(drive.step(), Ask)
    drive.retrieval.end(kind(fault))
    assert drive.is_done()
    assert drive.reasons() == [THROTTLED] * 3


def test_body_that_is_no_ebml_is_asked_for_again() -> None:
    fragments = stored(layout=Layout())
    drive = Drive(listed(fragments))
    drive.asks()
    drive.answer(fragments[0].document(), how=Broken(MediaError(Code.NOT_EBML, "garbage")))
    assert len(drive.asks()) == 2
    for _ in range(4):
        drive.retrieval.end(Broken(MediaError(Code.NOT_EBML, "garbage")))
        drive.step()
    assert drive.reasons() == [Code.NOT_EBML] * 2


def test_error_document_that_no_retry_fixes_ends_it() -> None:
    drive = Drive(listed(stored()))
    drive.asks()
    key = StreamFaultError(Refusal(Service.KVS, "4500"), "key", retryable=False)
    with pytest.raises(StreamFaultError, match="key"):
        drive.retrieval.note(key)


def test_error_document_names_what_is_missing() -> None:
    drive = Drive(listed(stored()))
    for _ in range(4):
        drive.asks()
        drive.retrieval.note(StreamFaultError(Refusal(Service.KVS, "3000"), "x", retryable=True))
        drive.answer()
    assert drive.is_done()
    assert drive.reasons() == ["KVS_3000"] * 3


def test_a_fragment_that_is_left_out_says_so() -> None:
    (one,) = stored(1)
    drive = Drive(listed([one]))
    drive.answer_always()
    expected = Reason(Code.NOT_DELIVERED, "KVS leaves it out")
    assert drive.out == [MissingFragment(one.number, expected, may_improve=True)]


def test_a_fragment_that_is_cut_before_its_tags_says_so() -> None:
    (one,) = stored(1, Layout())
    drive = Drive(listed([one]))
    drive.answer_always(one.document()[: one.document().index(b"ContactId") - 20])
    expected = Reason(Code.FRAGMENT_CUT_SHORT, "the body ends inside a fragment")
    assert drive.out == [MissingFragment(one.number, expected, may_improve=True)]


@pytest.mark.parametrize("is_listed", [True, False])
def test_no_retry_brings_back_what_the_stream_does_not_have(is_listed: bool) -> None:
    one, two = stored(2, Layout())
    drive = Drive(listed([one, two]))
    drive.asks()
    drive.retrieval.end(INVALID)
    assert isinstance(drive.step(), ListAgain)
    drive.retrieval.list_again({two.number} | ({one.number} if is_listed else set()))
    while isinstance(step := drive.step(), Ask):
        if one.number in step.numbers:
            drive.retrieval.end(INVALID)
        else:
            drive.answer(two.document())
    expected = (
        Reason(Code.NOT_IN_STREAM, "KVS lists a fragment that it does not have")
        if is_listed
        else Reason(Code.GONE, "KVS has deleted it since it was listed")
    )
    assert drive.out[0] == MissingFragment(one.number, expected, may_improve=False)
    assert drive.documents() == [two.document()]
    assert drive.waits == []


def test_the_same_bytes_again_are_asked_for_at_once() -> None:
    """Only a fragment that did not come is waited for."""
    (one,) = stored(1)
    drive = Drive(listed([one], lambda _: 0))
    for _ in range(2):
        drive.asks()
        drive.answer(one.document())
    assert drive.is_done()
    assert drive.documents() == [one.document()]
    assert drive.waits == []


def test_a_fragment_that_does_not_come_is_waited_for() -> None:
    """However often it is asked for alone; a part of it is asked for twice before each wait."""
    (one,) = stored(1)
    waits = [Wait(delay_s, delay_s) for delay_s in RETRY_DELAYS_S]
    for body, asked in (((), 4), ((cut(one.document(), 1),), 8)):
        drive, asks = Drive(listed([one])), 0
        while isinstance(drive.step(), Ask):
            asks += 1
            drive.answer(*body)
        assert (asks, drive.waits) == (asked, waits)


def test_two_fragments_without_a_number_are_asked_for_alone_at_once() -> None:
    fragments = stored(2, Layout(), frozenset({0, 1}))
    first, second = documents(fragments)
    drive = Drive(listed(fragments))
    drive.asks()
    drive.answer(first, second)
    assert drive.asks() == [fragments[0].number]
    drive.answer(first)
    if (step := drive.step()) == Ask((fragments[0].number,)):
        drive.answer(first)
        step = drive.step()
    assert step == Ask((fragments[1].number,))
    assert drive.waits == []


@pytest.mark.parametrize("server_timestamp_ms", [None, 1_767_258_000_123])
def test_a_time_that_the_document_lacks_is_the_listed_one(server_timestamp_ms: int | None) -> None:
    """A document's own time is kept, though it may differ from the listed one."""
    (one,) = stored(1, Layout())
    (read,) = read_fragments([one.document()])
    media = decode_fragment(read)._replace(server_timestamp_ms=server_timestamp_ms)
    drive = Drive(listed([one]))
    drive.asks()
    drive.retrieval.receive(media)
    drive.retrieval.end(Ended())
    assert drive.is_done()
    (received,) = drive.out
    assert isinstance(received, ReceivedFragment)
    expected_ms = server_timestamp_ms or one.server_timestamp_ms
    assert received.media.server_timestamp_ms == expected_ms
    assert received.media.number == one.number


# ------------------------------------------------------------------------------------- the room


def test_what_does_not_fit_is_asked_for_in_its_turn() -> None:
    fragments = stored(4, Layout())
    whole = documents(fragments)
    drive = Drive(listed(fragments), room=len(whole[0]) * 3 // 2)
    assert len(drive.asks()) == 4
    drive.answer(*reversed(whole))
    asked: list[int] = []
    while isinstance(step := drive.step(), Ask):
        asked += step.numbers
        drive.answer(*(f.document() for f in fragments if f.number in step.numbers))
    assert asked == [fragment.number for fragment in fragments[:3]]
    assert drive.documents() == whole


def test_fragment_that_never_comes_does_not_keep_back_what_there_was_no_room_for() -> None:
    fragments = stored(5, Layout())
    whole = documents(fragments)
    drive = Drive(listed(fragments), room=len(whole[0]) * 3 // 2)
    while isinstance(step := drive.step(), Ask):
        drive.answer(*(f.document() for f in fragments[1:] if f.number in step.numbers))
    assert drive.documents() == whole[1:]
    assert drive.reasons() == [Code.NOT_DELIVERED]


def test_part_for_which_there_is_no_room_is_asked_for_in_its_turn() -> None:
    fragments = stored(3)
    whole = documents(fragments)
    drive = Drive(listed(fragments, lambda _: 0), room=len(whole[0]) * 5 // 4)
    drive.asks()
    drive.answer(cut(whole[1], 4))
    drive.asks()
    drive.answer(whole[2], whole[1])
    while isinstance(step := drive.step(), Ask):
        drive.answer(*(f.document() for f in fragments if f.number in step.numbers))
    assert drive.documents() == whole


def test_unnumbered_document_behind_one_that_does_not_fit_changes_nothing() -> None:
    fragments = stored(3, Layout())
    (bare, *_) = documents(stored(3, without_tags=frozenset({0, 1, 2})))
    whole = documents(fragments)
    drive = Drive(listed(fragments), room=len(whole[0]) // 2)
    drive.asks()
    for read in read_fragments([bare, whole[2], bare, whole[1]]):
        drive.retrieval.receive(decode_fragment(read))
    assert not drive.retrieval.is_listening
    drive.retrieval.end(Ended())
    while isinstance(step := drive.step(), Ask):
        assert len(step.numbers) == 1
        drive.answer(*(f.document() for f in fragments if f.number in step.numbers))
    assert drive.documents() == whole


# ------------------------------------------------------------------------------ batches and tables


@pytest.mark.parametrize(
    ("count", "size_bytes", "batches"),
    [
        (0, 1, []),
        (1, 10**9, [1]),
        (3, 10**9, [1, 1, 1]),
        (BATCH_FRAGMENTS, 0, [BATCH_FRAGMENTS]),
        (BATCH_FRAGMENTS + 1, 0, [BATCH_FRAGMENTS, 1]),
        (4, BATCH_BYTES // 3, [3, 1]),
        (4, BATCH_BYTES // 2, [2, 2]),
        (3, BATCH_BYTES // 2 + 1, [1, 1, 1]),
    ],
)
def test_batches_hold_what_fits_into_memory(
    count: int, size_bytes: int, batches: list[int]
) -> None:
    fragments = [ListedFragment(number, 0, 0, size_bytes) for number in range(count)]
    built = list(build_batches(fragments))
    assert [len(batch) for batch in built] == batches
    assert [fragment for batch in built for fragment in batch] == fragments


def test_every_state_has_its_transitions_and_can_be_reached() -> None:
    assert set(FRAGMENT_TRANSITIONS) == set(FragmentState)
    assert set(QUESTION_TRANSITIONS) == set(QuestionState)
    for first, table in (
        (FragmentState.WANTED, FRAGMENT_TRANSITIONS),
        (QuestionState.ASKED, QUESTION_TRANSITIONS),
    ):
        reached: set[str] = {first}
        for state, after in table.items():
            reached |= set(after.values()) if state in reached else set()
        assert reached == set(table)


def test_truncated_document_without_a_number_says_nothing() -> None:
    """Its number may be what was cut off."""
    numbers = [fragment.number for fragment in stored()]
    drive = Drive(listed(stored()))
    drive.asks()
    drive.answer(stored()[0].document()[:60])
    assert drive.asks() == [*numbers[1:], numbers[0]]


def test_fragments_without_a_number_are_each_asked_for_alone() -> None:
    fragments = stored(4, Layout(), frozenset({1, 2}))
    first, second, third, fourth = documents(fragments)
    drive = Drive(listed(fragments))
    drive.asks()
    drive.answer(first, second, third, fourth)
    assert drive.asks() == [fragments[1].number]
    drive.answer(second, fourth)
    assert drive.asks() == [fragments[2].number]
    drive.answer(third, fourth)
    assert drive.is_done()
    assert drive.documents() == [first, second, third, fourth]


@pytest.mark.parametrize(("spare_bytes", "asked"), [(0, 2), (-1, 1)])
@pytest.mark.parametrize("has_part", [False, True])
def test_room_is_exact(spare_bytes: int, asked: int, has_part: bool) -> None:
    """If a part is there, only the rest needs room. Without room each is asked for alone."""
    fragments = stored(3, Layout())
    third = fragments[2].document()
    drive = Drive(listed(fragments), room=len(third) + spare_bytes)
    drive.asks()
    if has_part:
        drive.answer(third[: len(third) * 4 // 5])
        drive.asks()
    drive.answer(third)
    assert sorted(drive.asks()) == [fragment.number for fragment in fragments[:asked]]


@pytest.mark.parametrize(("room_percent", "asked"), [(300, 2), (185, 2), (175, 1)])
def test_a_part_takes_the_room_of_its_bytes(room_percent: int, asked: int) -> None:
    """80 % of the third fragment is there; then all of the second comes."""
    fragments = stored(3, Layout())
    _, second, third = documents(fragments)
    drive = Drive(listed(fragments), room=len(third) * room_percent // 100)
    drive.asks()
    drive.answer(third[: len(third) * 4 // 5])
    drive.asks()
    drive.answer(second)
    wanted = [fragments[0].number, fragments[2].number]
    assert sorted(drive.asks()) == wanted[:asked]


def test_a_fragment_that_is_gone_takes_no_room() -> None:
    fragments = stored(3, Layout())
    numbers = [fragment.number for fragment in fragments]
    drive = Drive(listed(fragments), room=fragments[2].size_bytes)
    drive.asks()
    drive.retrieval.end(INVALID)
    assert isinstance(drive.step(), ListAgain)
    drive.retrieval.list_again({numbers[0], numbers[2]})
    drive.asks()
    drive.answer(fragments[2].document())
    assert drive.asks() == [numbers[0]]
    drive.answer(fragments[0].document())
    assert drive.is_done()
    assert [type(delivery) for delivery in drive.out] == [
        ReceivedFragment,
        MissingFragment,
        ReceivedFragment,
    ]


def test_all_room_is_there_again_when_a_turn_came() -> None:
    fragments = stored(4, Layout())
    first, second, third, fourth = documents(fragments)
    drive = Drive(listed(fragments), room=2 * len(first))
    drive.asks()
    drive.answer(first, fourth, third, second)
    assert drive.is_done()
    assert drive.documents() == [first, second, third, fourth]


def test_room_is_there_again_when_a_turn_came() -> None:
    fragments = stored(4, Layout())
    first, second, third, fourth = documents(fragments)
    drive = Drive(listed(fragments), room=len(first) * 3 // 2)
    drive.asks()
    drive.answer(second, first, fourth, third)
    assert drive.is_done()
    assert drive.documents() == [first, second, third, fourth]


def test_room_is_there_again_when_a_part_is_replaced() -> None:
    fragments = stored(3, Layout())
    first, second, third = documents(fragments)
    drive = Drive(listed(fragments), room=len(first) * 3 // 2)
    drive.asks()
    drive.answer(first[: len(first) * 4 // 5])
    drive.asks()
    drive.answer(first, third, second)
    assert drive.is_done()
    assert drive.documents() == [first, second, third]
