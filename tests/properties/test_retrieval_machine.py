"""Whatever KVS answers: every fragment once, in order, whole or named.

The model knows what was sent, byte for byte, and nothing of how the retrieval decides. Bodies are
made by the local encoder and cut anywhere.
"""

from collections import Counter
from functools import cache
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from call_archive.errors import MediaError, StreamFaultError
from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import decode_fragment
from call_archive.reasons import Code, Refusal, Service
from call_archive.recording.listing import ListedFragment, MissingFragment, ReceivedFragment
from call_archive.recording.retrieval import (
    Ask,
    Broken,
    Done,
    Ended,
    ListAgain,
    Refused,
    Retrieval,
    Step,
    Wait,
)
from local.call import Delivery, StoredFragment, simulate_call
from local.encoder import CONNECT, Layout, encode_error
from local.pcm import synthetic_pcm
from tests.support.arns import INSTANCE_ARN, STREAM_ARN
from tests.support.machines import explored

MOST = 5
LAYOUTS = {"tags last": CONNECT, "tags first": Layout(contact_tags_before_cluster=True)}
EBML_ID = b"\x1a\x45\xdf\xa3"
EBML_HEADER_BYTES = 40
"""So much of the next document shows that the one before is over."""

FINAL = ("NotAuthorizedException", "ResourceNotFoundException")
PASSING = ("ClientLimitExceededException", "InternalFailure", "ConnectionLimitExceededException")


@cache
def fragments(layout: Layout, *, bare: bool = False) -> tuple[StoredFragment, ...]:
    """Fragments of four blocks of one track; bare ones have no Tags element."""
    every = frozenset(range(MOST + 1))
    delivery = Delivery(
        layout=layout,
        fragment_ms=32,
        block_bytes=128,
        without_tags=every if bare else frozenset(),
    )
    return simulate_call(
        synthetic_pcm((MOST + 1) * 0.032, 1)[:],
        None,
        contact_id="c-1",
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=1_767_258_000_000,
        delivery=delivery,
    ).fragments


@cache
def document(layout: Layout, index: int, *, bare: bool = False) -> bytes:
    return fragments(layout, bare=bare)[index].document()


def refusal(code: str) -> StreamFaultError:
    """KVS's refusal of a call, or its error document."""
    final = code in FINAL or code == "InvalidArgumentException"
    return StreamFaultError(Refusal(Service.KVS, code), code, retryable=not final)


# What a body holds: a fragment by its place in the batch (the last place is a stranger's), the same
# without any tags, or an error document.
pieces = st.one_of(
    st.tuples(st.just("fragment"), st.integers(0, MOST)),
    st.tuples(st.just("fragment"), st.integers(0, MOST)),
    st.tuples(st.just("bare"), st.integers(0, MOST)),
    st.tuples(st.just("error"), st.sampled_from(("3000", "4000", "5000"))),
)


# How many bytes a body lacks at its end: of a fragment whose tags come first, whole blocks leave
# nothing to see.
BLOCK_BYTES = 128 + 7
lacks_any = st.one_of(
    st.just(0),
    st.integers(1, 4).map(lambda blocks: blocks * BLOCK_BYTES),
    st.integers(0, 1200),
)


class RetrievalMachine(RuleBasedStateMachine):
    """KVS, and everything that it may answer."""

    @initialize(
        count=st.integers(1, MOST),
        layout=st.sampled_from(sorted(LAYOUTS)),
        lies=st.lists(
            st.sampled_from(("exact", "exact", "zero", "more", "less")),
            min_size=MOST,
            max_size=MOST,
        ),
        has_room=st.booleans(),
        gets_better=st.booleans(),
    )
    def begin(
        self, count: int, layout: str, lies: list[str], *, has_room: bool, gets_better: bool
    ) -> None:
        self.layout = LAYOUTS[layout]
        self.truth = {
            fragment.number: document(self.layout, index)
            for index, fragment in enumerate(fragments(self.layout)[:count])
        }
        self.listed: dict[int, int] = {
            number: {"exact": size, "zero": 0, "more": size + 100, "less": size - 100}[lie]
            for (number, size), lie in zip(
                ((number, len(whole)) for number, whole in self.truth.items()), lies, strict=False
            )
        }
        batch = [ListedFragment(number, 1, 24, size) for number, size in self.listed.items()]
        self.has_room = has_room
        room = 1 << 20 if has_room else len(document(self.layout, 0)) * 3 // 2
        self.retrieval = Retrieval(batch, room_bytes=room)
        self.gets_better = gets_better
        self.delivered: list[int] = []
        self.ends: Counter[tuple[int, bytes]] = Counter()  # (number, last bytes of a body)
        self.last_cut: list[tuple[int, bytes]] = []
        self.stand_ins: set[tuple[int, bytes]] = set()  # bare documents, asked for alone
        self.proved: set[int] = set()
        self.gone: set[int] = set()
        self.told: set[str] = {Code.NOT_DELIVERED}
        self.denials = 0
        self.is_over = False
        self.steps = 0
        self.step: Step = Done()
        self.go_on()

    # ------------------------------------------------------------------------- what KVS may do

    @precondition(lambda self: self.asked)
    @rule(
        content=st.lists(pieces, max_size=MOST + 2),
        lacks=lacks_any,
        breaks=st.booleans(),
    )
    def answer(self, content: list[tuple[str, Any]], lacks: int, *, breaks: bool) -> None:
        """A body of anything, in any order, cut anywhere."""
        self.send([self.piece(kind, which) for kind, which in content], lacks)
        if breaks:
            self.end(Broken(StreamFaultError(Code.KVS_UNREACHABLE, "reset", retryable=True)))
        else:
            self.end(Ended())

    @precondition(lambda self: self.asked)
    @rule(order=st.randoms(use_true_random=False), lacks=lacks_any)
    def answer_what_was_asked(self, order: Any, lacks: int) -> None:
        """A body that means well, and may stop early."""
        numbers = list(self.asked)
        order.shuffle(numbers)
        self.send([(number, self.truth[number]) for number in numbers], lacks)
        self.end(Ended())

    @precondition(lambda self: self.asked and self.last_cut)
    @rule()
    def answer_as_before(self) -> None:
        """The same fragment ends the body in the same place again, if it is asked for."""
        number, come = self.last_cut[-1]
        whole = self.truth.get(number)
        if whole is not None and whole.startswith(come):
            self.send([(number, whole)], len(whole) - len(come))
        self.end(Ended())

    @precondition(lambda self: self.asked)
    @rule()
    def answer_garbage(self) -> None:
        self.end(Broken(MediaError(Code.NOT_EBML, "not an element ID")))

    @precondition(lambda self: self.asked)
    @rule(code=st.sampled_from(PASSING))
    def refuse_for_now(self, code: str) -> None:
        self.denials = 0
        self.end(Refused(refusal(code)))

    @precondition(lambda self: self.asked)
    @rule(code=st.sampled_from(FINAL))
    def refuse_for_good(self, code: str) -> None:
        self.denials += 1
        if self.denials == 1:
            self.end(Refused(refusal(code)), is_denial=True)
        else:
            with pytest.raises(StreamFaultError, match=code):
                self.retrieval.end(Refused(refusal(code)))
            self.step = Done()
            self.is_over = True

    @precondition(lambda self: self.asked)
    @rule()
    def call_a_number_invalid(self) -> None:
        if len(self.asked) == 1:
            self.gone.add(self.asked[0])
            self.told.add(Code.NOT_IN_STREAM)
        self.end(Refused(refusal("InvalidArgumentException")))

    @precondition(lambda self: isinstance(self.step, ListAgain))
    @rule(keeps=st.sets(st.integers(0, MOST)))
    def list_again(self, keeps: set[int]) -> None:
        assert isinstance(self.step, ListAgain)
        numbers = [fragment.number for fragment in self.step.fragments]
        kept = {number for at, number in enumerate(numbers) if at in keeps}
        self.gone |= set(numbers) - kept
        self.told.add(Code.GONE)
        self.retrieval.list_again(kept)
        self.go_on()

    @precondition(lambda self: isinstance(self.step, Done))
    @rule()
    def rest(self) -> None:
        assert self.is_over or isinstance(self.retrieval.next(), Done)

    # ---------------------------------------------------------------------------------- the model

    @property
    def asked(self) -> tuple[int, ...]:
        step = getattr(self, "step", None)
        return step.numbers if isinstance(step, Ask) and not self.is_over else ()

    def piece(self, kind: str, which: Any) -> tuple[int | None, bytes]:
        if kind == "error":
            self.told.add(f"KVS_{which}")
            return None, encode_error("AN_ERROR", which, "error", self.layout)
        whole = document(self.layout, which, bare=kind == "bare")
        if kind == "bare":
            number = self.asked[0] if len(self.asked) == 1 else None
            if number is not None:
                self.stand_ins.add((number, whole))
            return number, whole
        return fragments(self.layout)[which].number, whole

    def send(self, content: list[tuple[int | None, bytes]], lacks: int) -> None:
        """Sends documents, less the last bytes; notes what that proves."""
        body = b"".join(piece for _, piece in content)
        body = body[: max(0, len(body) - lacks)]
        at = 0
        for number, piece in content:
            come = body[at : at + len(piece)]
            at += len(piece)
            follows = len(body) - at
            if number is None or number in self.gone or not come:
                continue
            if come == piece and follows >= EBML_HEADER_BYTES:
                self.proved.add(number)
            elif follows < EBML_HEADER_BYTES:
                self.ends[number, come] += 1
                if 0 < follows < len(EBML_ID):
                    # Part of an ID shows nothing yet: it may be an element of this document.
                    self.ends[number, come + EBML_ID[:follows]] += 1
                self.last_cut.append((number, come))
                self.told.add(Code.FRAGMENT_CUT_SHORT)
                if come == piece and not follows and self.is_plain(number, piece):
                    self.proved.add(number)
        for read in read_fragments([body]):
            media = decode_fragment(read)
            if media.fault_code:
                self.retrieval.note(refusal(media.fault_code))
            else:
                self.retrieval.receive(media)
                self.take()
            if not self.retrieval.is_listening:
                break

    def lacks_tags_only(self, number: int, come: bytes) -> bool:
        """Whether all audio is there, and behind it the contact's id: other tags may lack."""
        whole = self.truth[number]
        behind_id = whole.index(b"c-1", whole.index(b"ContactId")) + 3
        return self.layout == CONNECT and whole.startswith(come) and len(come) >= behind_id

    def is_plain(self, number: int, piece: bytes) -> bool:
        """Whether a document at the end of a body shows by itself that it is whole."""
        if piece != self.truth.get(number):
            return False
        return self.layout == CONNECT or len(piece) == self.listed[number]

    def end(self, how: Ended | Broken | Refused, *, is_denial: bool = False) -> None:
        if not is_denial:
            self.denials = 0
        if not isinstance(how, Ended):
            self.told.add(how.failure.code)
        self.retrieval.end(how)
        self.go_on()

    def go_on(self) -> None:
        """Waits and takes what comes, until something has to be answered."""
        while isinstance(step := self.retrieval.next(), Wait):
            assert 0 < step.least_s <= step.most_s < 2
            self.take()
        self.take()
        self.step = step
        self.steps += 1
        assert self.steps < 3000, "it asks for ever"
        if isinstance(step, Ask):
            assert step.numbers
            assert len(set(step.numbers)) == len(step.numbers)
            assert set(step.numbers) <= set(self.truth) - set(self.delivered)
        if isinstance(step, Done):
            assert self.delivered == list(self.truth)

    def take(self) -> None:
        for delivery in self.retrieval.deliveries():
            number = (
                delivery.number if isinstance(delivery, MissingFragment) else delivery.media.number
            )
            assert number is not None
            assert number == list(self.truth)[len(self.delivered)], "out of order, or twice"
            self.delivered.append(number)
            if isinstance(delivery, MissingFragment):
                self.check_missing(delivery)
            else:
                self.check_received(number, delivery)

    def check_missing(self, missing: MissingFragment) -> None:
        assert missing.reason.code in self.told
        assert missing.may_improve == (missing.number not in self.gone)
        assert not (self.has_room and missing.number in self.proved)

    def check_received(self, number: int, received: ReceivedFragment) -> None:
        come = received.media.fragment.document
        if received.is_cut_short:
            assert self.ends[number, come]
            assert not (self.has_room and number in self.proved)
        elif (
            come != self.truth[number]
            and (number, come) not in self.stand_ins
            and not self.lacks_tags_only(number, come)
        ):
            # All that came of it, twice: not if listed sizes, which nothing contradicts, say no.
            assert self.ends[number, come] >= 2
            honest = all(self.listed[other] == len(self.truth[other]) for other in self.truth)
            assert not honest or any(who == number for who, _ in self.stand_ins)

    def teardown(self) -> None:
        """From here on KVS is as good as it can be, or says nothing; either way it ends."""
        if not hasattr(self, "step"):
            return
        while not isinstance(self.step, Done):
            if isinstance(self.step, ListAgain):
                self.list_again(set(range(MOST + 1)))
                continue
            before, wanted = len(self.delivered), self.asked
            if self.gets_better:
                self.send([(number, self.truth[number]) for number in wanted], 0)
            self.end(Ended())
            if self.gets_better and self.layout == CONNECT and wanted[0] == self.first(before):
                assert len(self.delivered) > before, "what comes whole in its turn is given"

    def first(self, delivered: int) -> int | None:
        return list(self.truth)[delivered] if delivered < len(self.truth) else None


TestRetrieval = explored(RetrievalMachine)
