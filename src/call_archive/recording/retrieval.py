"""A batch of listed fragments → each of them once, in order, received or missing; no I/O.

KVS answers a question for fragments by a body that may end early, hold error documents, leave
fragments out, or bring them twice and in another order; or it refuses the question. A `Retrieval`
decides what to ask for next and what to make of each answer. Its caller does what `next` says,
reports the result, and passes on what `deliveries` gives:

    Ask        → `receive` or `note` for each document, as long as `is_listening`; then `end`
    Wait       → lets time pass
    ListAgain  → `list_again`
    Done       → every fragment is delivered

Invariant: a fragment is in one state, and changes it by FRAGMENT_TRANSITIONS alone; so does the
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
    Delivery,
    ListedFragment,
    MissingFragment,
    ReceivedFragment,
)

BATCH_FRAGMENTS = 250
BATCH_BYTES = 8 * 1_048_576
"""A batch may arrive in any order, so all of it has to fit into memory."""

MAX_HELD_BYTES = 2 * BATCH_BYTES
"""What may be kept of fragments whose turn it is not, doubtful ones included.

Sizes are listed by KVS, and a list that understates them must not fill the function's memory.
"""

RETRY_DELAYS_S = (0.2, 0.5, 1.0)
"""Before the second, third and fourth try of what a batch left out; an error document for one
fragment is often gone by then."""

MOST_THROTTLES = 30
"""How often questions of a batch are refused for the stream's quota before that is a failure."""

THROTTLED_S = (0.2, 1.5)
"""How long to wait after such a refusal: at random, because another run reads the same stream."""

THROTTLED = Refusal(Service.KVS, "ClientLimitExceededException")
_INVALID = Refusal(Service.KVS, "InvalidArgumentException")


# ------------------------------------------------------------------------------ what to do next


class Ask(NamedTuple):
    """Ask for the media of these fragments, in this order."""

    numbers: tuple[int, ...]


class Wait(NamedTuple):
    """Let so many seconds pass, chosen at random between the two."""

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
    """The body ended by itself, or was left because nothing more of it is wanted."""


class Broken(NamedTuple):
    """The call or its body failed on the way, or the body is no EBML: a retry may help."""

    failure: ArchiveError


class Refused(NamedTuple):
    """KVS refused the call: there is no body."""

    failure: StreamFaultError


type AnswerEnd = Ended | Broken | Refused


# ------------------------------------------------------------------------------------- the states


class FragmentState(StrEnum):
    """Where a fragment of the batch is."""

    WANTED = "wanted"
    """It has not come."""

    TURNED_AWAY = "turned away"
    """It came whole when there was no room for it: it is asked for again."""

    DOUBTFUL = "doubtful"
    """A part of it came, or all of it: nothing shows which."""

    WHOLE = "whole"
    """It is here, and waits for its turn."""

    CUT_SHORT = "cut short"
    """A part of it is all that came, and waits for its turn."""

    MISSING = "missing"
    """It is given up, with a reason, and waits for its turn."""

    DELIVERED = "delivered"
    """Its turn came."""


class FragmentEvent(StrEnum):
    """What changes a fragment's state."""

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
        FragmentEvent.CAME_IN_PART: FragmentState.DOUBTFUL,
        FragmentEvent.FOUND_NO_ROOM: FragmentState.TURNED_AWAY,
        FragmentEvent.LOST: FragmentState.MISSING,
    },
    FragmentState.TURNED_AWAY: {
        FragmentEvent.ASKED_FOR: FragmentState.WANTED,
        FragmentEvent.FOUND_NO_ROOM: FragmentState.TURNED_AWAY,
        FragmentEvent.CAME_WHOLE: FragmentState.WHOLE,
        FragmentEvent.CAME_IN_PART: FragmentState.DOUBTFUL,
    },
    FragmentState.DOUBTFUL: {
        FragmentEvent.ASKED_FOR: FragmentState.DOUBTFUL,
        FragmentEvent.CAME_WHOLE: FragmentState.WHOLE,
        FragmentEvent.CAME_IN_PART: FragmentState.DOUBTFUL,
        FragmentEvent.FOUND_NO_ROOM: FragmentState.TURNED_AWAY,
        FragmentEvent.LOST: FragmentState.MISSING,
        FragmentEvent.LOST_BUT_FOR_A_PART: FragmentState.CUT_SHORT,
    },
    FragmentState.WHOLE: {FragmentEvent.TURN_CAME: FragmentState.DELIVERED},
    FragmentState.CUT_SHORT: {FragmentEvent.TURN_CAME: FragmentState.DELIVERED},
    FragmentState.MISSING: {FragmentEvent.TURN_CAME: FragmentState.DELIVERED},
    FragmentState.DELIVERED: {},
}
"""Every change that a fragment's state can make; another one is a defect of this module."""


class QuestionState(StrEnum):
    """How the question that was asked last is getting on."""

    ASKED = "asked"
    """No answer, or an answer like any other so far."""

    UNNUMBERED = "unnumbered"
    """A document of its answer does not say which fragment it is; asked for alone, it can be no
    other."""

    FULL = "full"
    """No more of its answer fits into memory: the rest of it is not read."""

    ANSWERED = "answered"
    """Its answer is over, whatever it was."""

    DIVIDED = "divided"
    """Its answer is over, and its fragments are asked for one by one."""

    THROTTLED = "throttled"
    """KVS refused it for the stream's quota: it is asked once more."""

    INVALID = "invalid"
    """KVS calls one of its numbers invalid, and does not say which."""


class QuestionEvent(StrEnum):
    """What changes the question's state."""

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
"""Every change that a question's state can make; a refusal has no body, so it comes first."""


class _Question:
    """One list of numbers that KVS is asked for."""

    __slots__ = ("numbers", "state")

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers
        self.state = QuestionState.ASKED

    def change(self, event: QuestionEvent) -> None:
        self.state = QUESTION_TRANSITIONS[self.state][event]


class _Slot:
    """One fragment of the batch: as it was listed, its state, and what is here of it."""

    __slots__ = ("delivery", "listed", "part", "state")

    def __init__(self, listed: ListedFragment) -> None:
        self.listed = listed
        self.state = FragmentState.WANTED
        self.part: MediaFragment | None = None
        self.delivery: Delivery | None = None

    def change(self, event: FragmentEvent) -> None:
        self.state = FRAGMENT_TRANSITIONS[self.state][event]


# ----------------------------------------------------------------------------------- the decisions


def build_batches(listed: Iterable[ListedFragment]) -> Iterator[list[ListedFragment]]:
    """Listed fragments in the lists that KVS is asked for: what fits into memory together."""
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
    """Whether FragmentSizeInBytes is the length of a fragment's document, as far as it shows.

    It is believed until a whole document of the stream has another length. That matters for the
    last fragment of a body alone: nothing else says that it is not all there.
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

    It asks until everything is there, or until four rounds of questions in a row have brought
    nothing more. What an answer ended at comes last in the next question, so that it cannot keep
    the others back.
    """

    def __init__(
        self,
        batch: Sequence[ListedFragment],
        sizes: ListedSizes | None = None,
        room_bytes: int = MAX_HELD_BYTES,
    ) -> None:
        """Wants every fragment of the batch.

        Args:
            batch: each fragment once, in the order in which they are delivered.
            sizes: what other batches of the stream have shown of listed sizes.
            room_bytes: how much may be kept of fragments whose turn it is not.
        """
        slots = [_Slot(listed) for listed in batch]
        self._order = deque(slots)
        self._wanted = {slot.listed.number: slot for slot in slots}
        self._room_bytes = room_bytes
        self._sizes = sizes or ListedSizes()
        self._question = _Question(())
        self._times: Counter[QuestionEvent] = Counter()
        self._failure: ArchiveError = StreamFaultError(
            Code.NOT_DELIVERED, "KVS leaves it out", retryable=True
        )
        self._steps = self._plan()

    def next(self) -> Step:
        """What to do next; the step before has to be finished."""
        return next(self._steps)

    @property
    def is_listening(self) -> bool:
        """Whether more of the answer is worth reading."""
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
            self._doubt(slot, media)

    def note(self, failure: StreamFaultError) -> None:
        """Takes an error document of the answer.

        Raises:
            StreamFaultError: the failure, if no retry can help.
        """
        if not failure.retryable:
            raise failure
        self._failure = failure

    def end(self, how: AnswerEnd) -> None:
        """Takes how the answer ended.

        Raises:
            StreamFaultError: KVS has refused twice. The first refusal may be a stale endpoint's.
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

    def deliveries(self) -> Iterator[Delivery]:
        """What is here and whose turn it is; has to be exhausted."""
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
        """Asks for everything that is wanted, in rounds, until four bring nothing more."""
        in_vain = 0
        while self._wanted and in_vain <= len(RETRY_DELAYS_S):
            if in_vain:
                yield Wait(RETRY_DELAYS_S[in_vain - 1], RETRY_DELAYS_S[in_vain - 1])
            before = len(self._wanted)
            yield from self._ask(list(self._wanted))
            in_vain = 0 if len(self._wanted) < before else in_vain + 1
            self._put_last()

    def _ask(self, numbers: list[int]) -> Iterator[Step]:
        """Asks for a list of numbers, and what its answer makes necessary."""
        questions, doubted = [numbers], set[int]()
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
                    # In their turn: the first one fits into memory whatever is held.
                    questions += [[slot.listed.number] for slot in reversed(self._order)]
                case _ if self._is_doubtful(numbers) and numbers[0] not in doubted:
                    # The last of its body: the same from another body proves it.
                    doubted.add(numbers[0])
                    questions.append(numbers)

    def _is_doubtful(self, numbers: list[int]) -> bool:
        """Whether one fragment was asked for, and is in doubt."""
        slot = self._wanted.get(numbers[0])
        return len(numbers) == 1 and slot is not None and slot.state is FragmentState.DOUBTFUL

    def _isolate(self, numbers: list[int]) -> Generator[Step, None, list[list[int]]]:
        """What to ask for in place of numbers one of which KVS calls invalid.

        If retention has ended meanwhile, all may be; listing them again costs one call, and
        halving two a number. What is listed and invalid all the same is isolated by halves.
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
        """Moves what the answer ended at to the end of the next question."""
        for number in self._wanted:
            self._wanted[number] = self._wanted.pop(number)
            return

    # ----------------------------------------------------------------------- what to make of things

    def _happen(self, event: QuestionEvent) -> None:
        self._question.change(event)
        self._times[event] += 1

    def _judge(self, how: Broken | Refused) -> QuestionEvent:
        """What a failure means for the question."""
        failure = how.failure
        if isinstance(how, Refused) and failure.code == _INVALID:
            return QuestionEvent.CALLED_INVALID
        self._failure = failure
        if failure.code == THROTTLED and self._times[QuestionEvent.THROTTLED] < MOST_THROTTLES:
            return QuestionEvent.THROTTLED
        if failure.retryable:
            return QuestionEvent.ENDED
        if self._times[QuestionEvent.DENIED]:
            raise failure
        return QuestionEvent.DENIED

    def _is_whole(self, media: MediaFragment, slot: _Slot) -> bool:
        """Whether the last fragment of a body is all there.

        If its sizes are unknown, contact tags behind its audio show it, or as many bytes as
        listed, or the same once more from another body: cut twice, it would not end in the same
        place. The listed length does not show it, because that is not the audio's.
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

    def _doubt(self, slot: _Slot, media: MediaFragment) -> None:
        """Asks again for what may be cut short; the longest of it is kept."""
        slot.change(FragmentEvent.CAME_IN_PART)
        more_bytes = len(media.fragment.document) - _part_bytes(slot)
        if more_bytes > 0:
            self._room_bytes -= more_bytes
            slot.part = media
        self._failure = StreamFaultError(
            Code.FRAGMENT_CUT_SHORT, "the body ends inside a fragment", retryable=True
        )

    def _turn_away(self, slot: _Slot) -> None:
        """Forgets a fragment for which there is no room; it is asked for in its turn."""
        slot.change(FragmentEvent.FOUND_NO_ROOM)
        self._drop_part(slot)
        self._question.change(QuestionEvent.FOUND_NO_ROOM)

    def _give_up(self) -> None:
        """Every try is over, but for what there was no room for: that comes when there is."""
        for number, slot in list(self._wanted.items()):
            if slot.state is not FragmentState.TURNED_AWAY:
                self._lose(number, self._failure.reason, may_improve=True)

    def _lose(self, number: int, reason: Reason, *, may_improve: bool) -> None:
        """Gives a fragment up: a part that proves whose it is is better than nothing."""
        slot = self._wanted[number]
        if slot.part is not None and slot.part.contact_ids:
            part = ReceivedFragment(slot.part, is_cut_short=True)
            self._hold(slot, FragmentEvent.LOST_BUT_FOR_A_PART, part)
        else:
            self._hold(slot, FragmentEvent.LOST, MissingFragment(number, reason, may_improve))

    def _hold(self, slot: _Slot, event: FragmentEvent, delivery: Delivery) -> None:
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
    """Whether its contact tags are there, and tags behind its audio."""
    elements = media.fragment.elements
    return (
        bool(media.contact_ids)
        and elements[-1].id == ElementId.TAGS
        and any(element.id == ElementId.CLUSTER for element in elements)
    )


def _part_bytes(slot: _Slot) -> int:
    return 0 if slot.part is None else len(slot.part.fragment.document)


def _size_bytes(delivery: Delivery) -> int:
    return 0 if isinstance(delivery, MissingFragment) else len(delivery.media.fragment.document)
