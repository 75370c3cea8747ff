"""A batch of listed fragments → each of them once, in order, received or missing; no I/O.

KVS answers a request for fragments with a body that may end early, hold error documents, omit
fragments, or return them twice or in another order; or it refuses the request. A `Retrieval`
decides what to request next and how to use each answer. Its caller carries out what `next` returns,
reports the result, and passes on what `deliveries` yields:

    Ask        → `receive` or `note` for each document, as long as `is_listening`; then `end`
    Wait       → lets time pass
    ListAgain  → `list_again`
    Done       → every fragment is delivered

Invariant: a fragment is in one state, and changes it only by FRAGMENT_TRANSITIONS; likewise the
question by QUESTION_TRANSITIONS.

Source: Kinesis Video Streams API reference (GetMediaForFragmentList).
"""

from collections import Counter, deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from call_archive.errors import ArchiveError, StreamFaultError
from call_archive.media.fragments import ElementId, Ending
from call_archive.media.likeness import MediaFragment
from call_archive.reasons import Code, Reason, Refusal, Service
from call_archive.recording.listing import (
    FetchedFragment,
    ListedFragment,
    MissingFragment,
    ReceivedFragment,
)

BATCH_FRAGMENTS = 250
BATCH_BYTES = 8 * 1_048_576
"""A batch may arrive in any order, so all of it has to fit into memory."""

MAX_HELD_BYTES = 2 * BATCH_BYTES
"""How many bytes of fragments may wait for their turn, including partial ones.

Sizes are listed by KVS, and a list that understates them must not fill the function's memory.
"""

RETRY_DELAYS_S = (0.2, 0.5, 1.0)
"""Delays before the second, third and fourth request for fragments that a batch lacks. An error
document for one fragment is often gone by then."""

MOST_THROTTLES = 30
"""How often the stream's quota may refuse a batch's requests before that is a failure."""

THROTTLED_S = (0.2, 1.5)
"""The wait after such a refusal: random, because another run reads the same stream."""

THROTTLED = Refusal(Service.KVS, "ClientLimitExceededException")
_INVALID = Refusal(Service.KVS, "InvalidArgumentException")


# ------------------------------------------------------------------------------ what to do next


class Ask(NamedTuple):
    """Request the media of these fragments, in this order."""

    numbers: tuple[int, ...]


class Wait(NamedTuple):
    """Wait a random number of seconds between the two."""

    least_s: float
    most_s: float


class ListAgain(NamedTuple):
    """List these fragments again: KVS may have deleted them since."""

    fragments: tuple[ListedFragment, ...]


class Done(NamedTuple):
    """Every fragment of the batch is delivered, or can be."""


type Step = Ask | Wait | ListAgain | Done


# ----------------------------------------------------------------------------- how an answer ends


class Ended(NamedTuple):
    """The body ended by itself, or was closed because the rest of it is not needed."""


class Broken(NamedTuple):
    """The call or its body broke off, or the body is not EBML: a retry may help."""

    failure: ArchiveError


class Refused(NamedTuple):
    """KVS refused the call: there is no body."""

    failure: StreamFaultError


type AnswerEnd = Ended | Broken | Refused


# ------------------------------------------------------------------------------------- the states


class FragmentState(StrEnum):
    """The state of a fragment of the batch."""

    WANTED = "wanted"
    """It has not arrived."""

    TURNED_AWAY = "turned away"
    """It arrived whole when there was no room for it: it is requested again."""

    PARTIAL = "partial"
    """Part of it arrived, or all of it: nothing shows which."""

    WHOLE = "whole"
    """It has arrived, and waits for its turn."""

    CUT_SHORT = "cut short"
    """Only part of it arrived, and that part waits for its turn."""

    MISSING = "missing"
    """It is given up with a reason, and waits for its turn."""

    DELIVERED = "delivered"
    """It is delivered."""


class FragmentEvent(StrEnum):
    """An event that changes a fragment's state."""

    CAME_WHOLE = "came whole"
    CAME_IN_PART = "came in part, perhaps"
    FOUND_NO_ROOM = "found no room"
    ASKED_FOR = "is asked for"
    LOST = "is given up, or gone"
    LOST_BUT_FOR_A_PART = "is given up, and a part of it is here"
    TURN_CAME = "its turn came"


FRAGMENT_TRANSITIONS = {
    FragmentState.WANTED: {
        FragmentEvent.ASKED_FOR: FragmentState.WANTED,
        FragmentEvent.CAME_WHOLE: FragmentState.WHOLE,
        FragmentEvent.CAME_IN_PART: FragmentState.PARTIAL,
        FragmentEvent.FOUND_NO_ROOM: FragmentState.TURNED_AWAY,
        FragmentEvent.LOST: FragmentState.MISSING,
    },
    FragmentState.TURNED_AWAY: {
        FragmentEvent.ASKED_FOR: FragmentState.WANTED,
        FragmentEvent.FOUND_NO_ROOM: FragmentState.TURNED_AWAY,
        FragmentEvent.CAME_WHOLE: FragmentState.WHOLE,
        FragmentEvent.CAME_IN_PART: FragmentState.PARTIAL,
    },
    FragmentState.PARTIAL: {
        FragmentEvent.ASKED_FOR: FragmentState.PARTIAL,
        FragmentEvent.CAME_WHOLE: FragmentState.WHOLE,
        FragmentEvent.CAME_IN_PART: FragmentState.PARTIAL,
        FragmentEvent.FOUND_NO_ROOM: FragmentState.TURNED_AWAY,
        FragmentEvent.LOST: FragmentState.MISSING,
        FragmentEvent.LOST_BUT_FOR_A_PART: FragmentState.CUT_SHORT,
    },
    FragmentState.WHOLE: {FragmentEvent.TURN_CAME: FragmentState.DELIVERED},
    FragmentState.CUT_SHORT: {FragmentEvent.TURN_CAME: FragmentState.DELIVERED},
    FragmentState.MISSING: {FragmentEvent.TURN_CAME: FragmentState.DELIVERED},
    FragmentState.DELIVERED: {},
}
"""Every allowed change of a fragment's state; any other change is a defect of this module."""


class QuestionState(StrEnum):
    """The state of the last request."""

    ASKED = "asked"
    """No answer yet, or an ordinary answer so far."""

    UNNUMBERED = "unnumbered"
    """A document of its answer does not name its fragment; a request for one leaves no other."""

    FULL = "full"
    """No more of its answer fits into memory, so the rest is not read."""

    ANSWERED = "answered"
    """Its answer has ended, in any way."""

    DIVIDED = "divided"
    """Its answer has ended, and its fragments are requested one by one."""

    THROTTLED = "throttled"
    """KVS refused it for the stream's quota: it is repeated."""

    INVALID = "invalid"
    """KVS calls one of its numbers invalid without saying which."""


class QuestionEvent(StrEnum):
    """An event that changes the question's state."""

    HEARD_NO_NUMBER = "a document does not say its number"
    FOUND_NO_ROOM = "a document does not fit into memory"
    ENDED = "the answer is over, or broke off"
    DENIED = "refused for good, by an endpoint that may be stale"
    THROTTLED = "refused for the quota"
    CALLED_INVALID = "refused for a number"
    LISTED_AGAIN = "its fragments were listed again"


QUESTION_TRANSITIONS = {
    QuestionState.ASKED: {
        QuestionEvent.HEARD_NO_NUMBER: QuestionState.UNNUMBERED,
        QuestionEvent.FOUND_NO_ROOM: QuestionState.FULL,
        QuestionEvent.ENDED: QuestionState.ANSWERED,
        QuestionEvent.DENIED: QuestionState.ANSWERED,
        QuestionEvent.THROTTLED: QuestionState.THROTTLED,
        QuestionEvent.CALLED_INVALID: QuestionState.INVALID,
    },
    QuestionState.UNNUMBERED: {
        QuestionEvent.HEARD_NO_NUMBER: QuestionState.UNNUMBERED,
        QuestionEvent.FOUND_NO_ROOM: QuestionState.FULL,
        QuestionEvent.ENDED: QuestionState.DIVIDED,
    },
    QuestionState.FULL: {
        QuestionEvent.HEARD_NO_NUMBER: QuestionState.FULL,
        QuestionEvent.FOUND_NO_ROOM: QuestionState.FULL,
        QuestionEvent.ENDED: QuestionState.DIVIDED,
    },
    QuestionState.ANSWERED: {},
    QuestionState.DIVIDED: {},
    QuestionState.THROTTLED: {},
    QuestionState.INVALID: {QuestionEvent.LISTED_AGAIN: QuestionState.INVALID},
}
"""Every allowed change of a question's state; a refusal has no body, so it comes first."""


class _Question:
    """One request: a list of fragment numbers."""

    __slots__ = ("numbers", "state")

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers
        self.state = QuestionState.ASKED

    def change(self, event: QuestionEvent) -> None:
        self.state = QUESTION_TRANSITIONS[self.state][event]


class _Slot:
    """One fragment of the batch: its listing, its state, and the bytes that have arrived."""

    __slots__ = ("delivery", "listed", "part", "state")

    def __init__(self, listed: ListedFragment) -> None:
        self.listed = listed
        self.state = FragmentState.WANTED
        self.part: MediaFragment | None = None
        self.delivery: FetchedFragment | None = None

    def change(self, event: FragmentEvent) -> None:
        self.state = FRAGMENT_TRANSITIONS[self.state][event]


# ----------------------------------------------------------------------------------- the decisions


def build_batches(listed: Iterable[ListedFragment]) -> Iterator[list[ListedFragment]]:
    """Splits listed fragments into batches that fit into memory."""
    batch: list[ListedFragment] = []
    batch_bytes = 0
    for fragment in listed:
        is_full = len(batch) == BATCH_FRAGMENTS or batch_bytes + fragment.size_bytes > BATCH_BYTES
        if batch and is_full:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(fragment)
        batch_bytes += fragment.size_bytes
    if batch:
        yield batch


class ListedSizes:
    """Whether FragmentSizeInBytes seems to be the length of a fragment's document.

    The listed size is used until a whole document of the stream has another length. It matters only
    for the last fragment of a body: nothing else shows that it is cut short.
    """

    __slots__ = ("are_exact",)

    def __init__(self) -> None:
        self.are_exact = True

    def compare(self, media: MediaFragment, listed: ListedFragment) -> None:
        """Takes a whole document."""
        if len(media.fragment.document) != listed.size_bytes:
            self.are_exact = False

    def rule_out(self, media: MediaFragment, listed: ListedFragment) -> bool:
        """Whether a document is too short to be whole."""
        return self.are_exact and len(media.fragment.document) < listed.size_bytes


class Retrieval:
    """The fragments of one batch on their way in.

    Requests repeat until every fragment has arrived, or until four rounds in a row have brought
    nothing more. The fragment at which an answer ended is last in the next request, so that it
    cannot block the others.
    """

    def __init__(
        self,
        batch: Sequence[ListedFragment],
        sizes: ListedSizes | None = None,
        room_bytes: int = MAX_HELD_BYTES,
    ) -> None:
        """Starts with every fragment of the batch to be requested.

        Args:
            batch: each fragment once, in the order in which they are delivered.
            sizes: the findings of other batches about listed sizes.
            room_bytes: how many bytes of fragments may wait for their turn.
        """
        slots = [_Slot(listed) for listed in batch]
        self._order = deque(slots)
        self._wanted = {slot.listed.number: slot for slot in slots}
        self._room_bytes = room_bytes
        self._sizes = sizes or ListedSizes()
        self._question = _Question(())
        self._times: Counter[QuestionEvent] = Counter()
        self._reason = Reason(Code.NOT_DELIVERED, "KVS leaves it out")
        self._steps = self._plan()

    def next(self) -> Step:
        """What to do next; the previous step must be finished."""
        return next(self._steps)

    @property
    def is_listening(self) -> bool:
        """Whether to read more of the answer."""
        return self._question.state is not QuestionState.FULL

    def receive(self, media: MediaFragment) -> None:
        """Takes a fragment of the answer."""
        asked = self._question.numbers
        number = media.number
        if number is None:
            if len(asked) == 1:
                number = asked[0]
            elif media.fragment.ending is not Ending.TRUNCATED:
                self._question.change(QuestionEvent.HEARD_NO_NUMBER)
        slot = None if number is None else self._wanted.get(number)
        if slot is None:
            return
        listed = slot.listed
        if media.number is None or media.server_timestamp_ms is None:
            media = media._replace(number=number, server_timestamp_ms=listed.server_timestamp_ms)
        more_bytes = len(media.fragment.document) - _part_bytes(slot)
        if more_bytes > self._room_bytes and slot is not self._order[0]:
            self._turn_away(slot)
        elif media.fragment.ending is Ending.WHOLE:
            self._sizes.compare(media, listed)
            self._hold(slot, FragmentEvent.CAME_WHOLE, ReceivedFragment(media))
        elif self._is_whole(media, slot):
            self._hold(slot, FragmentEvent.CAME_WHOLE, ReceivedFragment(media))
        else:
            self._receive_part(slot, media)

    def note(self, failure: StreamFaultError) -> None:
        """Takes an error document of the answer.

        Raises:
            StreamFaultError: the failure, if no retry can help.
        """
        if not failure.retryable:
            raise failure
        self._reason = failure.reason

    def end(self, how: AnswerEnd) -> None:
        """Takes how the answer ended.

        Raises:
            StreamFaultError: KVS has refused twice. The first time may be a stale endpoint.
        """
        event = QuestionEvent.ENDED if isinstance(how, Ended) else self._judge(how)
        if event is not QuestionEvent.DENIED:
            self._times[QuestionEvent.DENIED] = 0
        self._happen(event)

    def list_again(self, numbers: Collection[int]) -> None:
        """Takes the numbers of the question's fragments that KVS still lists."""
        for number in self._question.numbers:
            if number not in numbers:
                self._lose(
                    number,
                    Reason(Code.GONE, "KVS has deleted it since it was listed"),
                    may_improve=False,
                )

    def deliveries(self) -> Iterator[FetchedFragment]:
        """The fragments whose turn it is; the caller must exhaust the iterator."""
        order = self._order
        while order and (delivery := order[0].delivery) is not None:
            order.popleft().change(FragmentEvent.TURN_CAME)
            self._room_bytes += _size_bytes(delivery)
            yield delivery

    # --------------------------------------------------------------------- what is asked, and when

    def _plan(self) -> Generator[Step]:
        while self._wanted:
            yield from self._ask_until_in_vain()
            self._give_up()
        while True:
            yield Done()

    def _ask_until_in_vain(self) -> Iterator[Step]:
        """Requests every missing fragment, in rounds, until four rounds bring nothing more."""
        in_vain = 0
        while self._wanted and in_vain <= len(RETRY_DELAYS_S):
            if in_vain:
                yield Wait(RETRY_DELAYS_S[in_vain - 1], RETRY_DELAYS_S[in_vain - 1])
            before = len(self._wanted)
            yield from self._ask(list(self._wanted))
            in_vain = 0 if len(self._wanted) < before else in_vain + 1
            self._put_last()

    def _ask(self, numbers: list[int]) -> Iterator[Step]:
        """Requests a list of numbers, then makes the requests that its answer requires."""
        questions, repeated = [numbers], set[int]()
        while questions:
            numbers = [number for number in questions.pop() if number in self._wanted]
            if not numbers:
                continue
            self._question = _Question(numbers)
            for number in numbers:
                self._wanted[number].change(FragmentEvent.ASKED_FOR)
            yield Ask(tuple(numbers))
            match self._question.state:
                case QuestionState.THROTTLED:
                    yield Wait(*THROTTLED_S)
                    questions.append(numbers)
                case QuestionState.INVALID:
                    questions += yield from self._isolate(numbers)
                case QuestionState.DIVIDED if len(numbers) > 1:
                    # In order: the first one always fits into memory.
                    questions += [[slot.listed.number] for slot in reversed(self._order)]
                case _ if self._is_partial(numbers) and numbers[0] not in repeated:
                    # The last of its body: the same bytes from another body prove it whole.
                    repeated.add(numbers[0])
                    questions.append(numbers)

    def _is_partial(self, numbers: list[int]) -> bool:
        """Whether one fragment was requested alone, and may be cut short."""
        slot = self._wanted.get(numbers[0])
        return len(numbers) == 1 and slot is not None and slot.state is FragmentState.PARTIAL

    def _isolate(self, numbers: list[int]) -> Generator[Step, None, list[list[int]]]:
        """The requests that replace a request with a number that KVS calls invalid.

        If retention has ended meanwhile, all numbers may be invalid. Listing them again costs one
        call; halving costs two per number. A number that is listed and still invalid is isolated by
        halving.
        """
        if len(numbers) == 1:
            self._lose(
                numbers[0],
                Reason(Code.NOT_IN_STREAM, "KVS lists a fragment that it does not have"),
                may_improve=False,
            )
            return []
        if not self._times[QuestionEvent.LISTED_AGAIN]:
            self._happen(QuestionEvent.LISTED_AGAIN)
            yield ListAgain(tuple(self._wanted[number].listed for number in numbers))
            return [numbers]
        middle = len(numbers) // 2
        return [numbers[middle:], numbers[:middle]]

    def _put_last(self) -> None:
        """Moves the fragment at which the answer ended to the end of the next request."""
        for number in self._wanted:
            self._wanted[number] = self._wanted.pop(number)
            return

    # ----------------------------------------------------------------------- what to make of things

    def _happen(self, event: QuestionEvent) -> None:
        self._question.change(event)
        self._times[event] += 1

    def _judge(self, how: Broken | Refused) -> QuestionEvent:
        """The consequence of a failure for the question."""
        failure = how.failure
        if isinstance(how, Refused) and failure.code == _INVALID:
            return QuestionEvent.CALLED_INVALID
        self._reason = failure.reason
        if failure.code == THROTTLED and self._times[QuestionEvent.THROTTLED] < MOST_THROTTLES:
            return QuestionEvent.THROTTLED
        if failure.retryable:
            return QuestionEvent.ENDED
        if self._times[QuestionEvent.DENIED]:
            raise failure
        return QuestionEvent.DENIED

    def _is_whole(self, media: MediaFragment, slot: _Slot) -> bool:
        """Whether the last fragment of a body is complete.

        If its sizes are unknown, one of these shows it: contact tags behind its audio, as many
        bytes as listed, or the same bytes from another body, because two cuts would not end in the
        same place. The listed duration does not show it, because it is not the audio's.
        """
        document = media.fragment.document
        if media.fragment.ending is Ending.TRUNCATED:
            return False
        if len(document) == slot.listed.size_bytes or _ends_in_tags(media):
            return True
        return (
            slot.part is not None
            and slot.part.fragment.document == document
            and not self._sizes.rule_out(media, slot.listed)
        )

    def _receive_part(self, slot: _Slot, media: MediaFragment) -> None:
        """Requests a fragment again that may be cut short; keeps its longest version."""
        slot.change(FragmentEvent.CAME_IN_PART)
        more_bytes = len(media.fragment.document) - _part_bytes(slot)
        if more_bytes > 0:
            self._room_bytes -= more_bytes
            slot.part = media
        self._reason = Reason(Code.FRAGMENT_CUT_SHORT, "the body ends inside a fragment")

    def _turn_away(self, slot: _Slot) -> None:
        """Drops a fragment for which there is no room; it is requested when its turn comes."""
        slot.change(FragmentEvent.FOUND_NO_ROOM)
        self._drop_part(slot)
        self._question.change(QuestionEvent.FOUND_NO_ROOM)

    def _give_up(self) -> None:
        """Gives up the missing fragments, except those for which there was no room."""
        for number, slot in list(self._wanted.items()):
            if slot.state is not FragmentState.TURNED_AWAY:
                self._lose(number, self._reason, may_improve=True)

    def _lose(self, number: int, reason: Reason, *, may_improve: bool) -> None:
        """Gives a fragment up; a part that proves its contact is still delivered."""
        slot = self._wanted[number]
        if slot.part is not None and slot.part.contact_ids:
            part = ReceivedFragment(slot.part, is_cut_short=True)
            self._hold(slot, FragmentEvent.LOST_BUT_FOR_A_PART, part)
        else:
            self._hold(slot, FragmentEvent.LOST, MissingFragment(number, reason, may_improve))

    def _hold(self, slot: _Slot, event: FragmentEvent, delivery: FetchedFragment) -> None:
        slot.change(event)
        if slot.part is not None:
            self._drop_part(slot)
        slot.delivery = delivery
        del self._wanted[slot.listed.number]
        self._room_bytes -= _size_bytes(delivery)

    def _drop_part(self, slot: _Slot) -> None:
        self._room_bytes += _part_bytes(slot)
        slot.part = None


def _ends_in_tags(media: MediaFragment) -> bool:
    """Whether it has its contact tags, and tags behind its audio."""
    elements = media.fragment.elements
    return (
        bool(media.contact_ids)
        and elements[-1].id == ElementId.TAGS
        and any(element.id == ElementId.CLUSTER for element in elements)
    )


def _part_bytes(slot: _Slot) -> int:
    return 0 if slot.part is None else len(slot.part.fragment.document)


def _size_bytes(delivery: FetchedFragment) -> int:
    return 0 if isinstance(delivery, MissingFragment) else len(delivery.media.fragment.document)
