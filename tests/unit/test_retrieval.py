"""What is asked of KVS, and what is made of its answers; bodies made by the local encoder."""

from collections.abc import Callable, Iterable
from functools import cache

import pytest

from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import decode_fragment
from call_archive.reasons import Code
from call_archive.recording.listing import ListedFragment, MissingFragment, ReceivedFragment
from call_archive.recording.retrieval import (
    Ask,
    Broken,
    Done,
    Ended,
    ListedSizes,
    Retrieval,
    Step,
    Wait,
)
from local.call import Delivery, StoredFragment, simulate_call
from local.encoder import Layout
from local.pcm import synthetic_pcm

TAGS_FIRST = Layout(contact_tags_before_cluster=True)
BLOCK_BYTES = 128
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
        instance_arn="arn:aws:connect:eu-west-2:123456789012:instance/i-1",
        stream_arn="arn:aws:kinesisvideo:eu-west-2:123456789012:stream/s/1640168106910",
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
    if not sizes_are_listed:  # longer than before: only the same once more proves it
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
