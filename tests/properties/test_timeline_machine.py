"""The timeline as a machine: what is said, lost, said again, while its clock does what it likes.

The model knows only what was said, and when: not how the timeline decides.
"""

import random

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from call_archive.media.pcm import Direction, FragmentAudio, Piece, Silence, Span
from call_archive.recording.timeline import Timeline
from tests.support.machines import explored

CUSTOMER, AGENT = Direction
START_MS = 1_767_258_001_000
NS = 1_000_000
BYTES_PER_MS = 16
JITTER_MS = 20
TOLERANCE_MS = 2_000


def noise(seed: int, length_ms: int) -> bytes:
    """Samples that no other seed has."""
    return random.Random(seed).randbytes(length_ms * BYTES_PER_MS)  # noqa: S311 - a fixture


class Laying(RuleBasedStateMachine):
    """A call is said; both its clocks go their way."""

    def __init__(self) -> None:
        super().__init__()
        self.timeline = Timeline((CUSTOMER, AGENT))
        self.pcm = {CUSTOMER: bytearray(), AGENT: bytearray()}
        self.said: list[dict[Direction, bytes]] = []
        self.now_ms = 0
        self.clock_ms = 0
        self.forward_ms = 0
        self.last: FragmentAudio | None = None

    def place(self, fragment: FragmentAudio) -> None:
        self.take(self.timeline.place(fragment, START_MS - 1000 + self.now_ms))

    def take(self, pieces: dict[Direction, list[Piece]]) -> None:
        for direction, column in pieces.items():
            for piece in column:
                self.pcm[direction] += (
                    bytes(2 * piece.samples) if isinstance(piece, Silence) else piece
                )

    @initialize()
    def begin(self) -> None:
        self.say(500, {CUSTOMER, AGENT})

    @rule(
        length_ms=st.integers(40, 1200),
        who=st.sampled_from([{CUSTOMER}, {AGENT}, {CUSTOMER, AGENT}, {CUSTOMER, AGENT}]),
    )
    def say(self, length_ms: int, who: set[Direction]) -> None:
        seed = 2 * len(self.said)
        said = {
            direction: noise(seed + index, length_ms)
            for index, direction in enumerate(Direction)
            if direction in who
        }
        start_ns = (START_MS + self.now_ms + self.clock_ms) * NS
        spans = {direction: [Span(start_ns, pcm)] for direction, pcm in said.items()}
        self.said.append(said)
        self.last = FragmentAudio(start_ns, start_ns + length_ms * NS, spans)
        self.place(self.last)
        self.now_ms += length_ms

    @rule(step_ms=st.integers(-2000, 2000) | st.integers(-45, 45))
    def step_clock(self, step_ms: int) -> None:
        self.clock_ms += step_ms
        self.forward_ms += abs(step_ms)

    @rule(step_ms=st.sampled_from([-3_600_000, -60_000, 60_000, 3_600_000]))
    def jump_clock(self, step_ms: int) -> None:
        self.clock_ms += step_ms
        self.forward_ms += 2 * TOLERANCE_MS

    @rule(length_ms=st.integers(1, 3000))
    def lose(self, length_ms: int) -> None:
        self.now_ms += length_ms

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat(self) -> None:
        """The last fragment comes again, with its own time."""
        assert self.last is not None
        lengths = {direction: len(pcm) for direction, pcm in self.pcm.items()}
        self.place(self.last)
        assert {direction: len(pcm) for direction, pcm in self.pcm.items()} == lengths

    def teardown(self) -> None:
        self.take(self.timeline.finish())
        self.check_that_nothing_is_lost()
        self.check_that_both_move_together()
        self.check_the_length()

    def check_that_nothing_is_lost(self) -> None:
        """Everything is there once, whole and in order; the rest is silence, and named."""
        for direction, recorded in self.pcm.items():
            rest, place = bytes(recorded), 0
            silence = 0
            for said in self.said:
                if direction in said:
                    found = rest.find(said[direction], place)
                    assert found >= 0, "audio is lost"
                    assert not any(rest[place:found]), "audio is there twice"
                    silence += found - place
                    place = found + len(said[direction])
            assert not any(rest[place:]), "audio is there twice"
            silence += len(rest) - place
            named = sum(hole.samples for hole in self.timeline.gaps if hole.track is direction)
            assert 0 <= silence // 2 - named < JITTER_MS * 8, "silence is not named"

    def check_that_both_move_together(self) -> None:
        for said in self.said:
            if len(said) == 2:
                customer, agent = (self.pcm[who].find(said[who]) for who in (CUSTOMER, AGENT))
                assert abs(customer - agent) < 2 * JITTER_MS * BYTES_PER_MS

    def check_the_length(self) -> None:
        """No clock makes an hour of silence: only what was lost is, and a few seconds a jump."""
        assert {len(pcm) // 2 for pcm in self.pcm.values()} == {self.timeline.samples}
        most_ms = self.now_ms + self.forward_ms + JITTER_MS * len(self.said)
        assert self.timeline.samples // 8 <= most_ms


TestLaying = explored(Laying, stateful_step_count=25)


@given(
    st.lists(
        st.tuples(st.integers(100, 1000), st.integers(-60, 60), st.booleans()),
        min_size=1,
        max_size=25,
    )
)
def test_a_fragment_is_laid_at_its_time_or_where_the_last_one_ends(
    steps: list[tuple[int, int, bool]],
) -> None:
    """All that deviations and holes add up to, for one track and a clock that never jumps."""
    timeline = Timeline((CUSTOMER,))
    recorded = bytearray()
    expected_ms, now_ms, clock_ms = 0, 0, 0
    for seed, (length_ms, step_ms, is_lost) in enumerate([(500, 0, False), *steps]):
        clock_ms += step_ms
        if not is_lost:
            start_ns = (START_MS + now_ms + clock_ms) * NS
            span = Span(start_ns, noise(seed, length_ms))
            fragment = FragmentAudio(start_ns, start_ns + length_ms * NS, {CUSTOMER: [span]})
            for piece in timeline.place(fragment, START_MS + now_ms)[CUSTOMER]:
                recorded += bytes(2 * piece.samples) if isinstance(piece, Silence) else piece
            if now_ms + clock_ms - expected_ms >= JITTER_MS:
                expected_ms = now_ms + clock_ms
            assert recorded[expected_ms * BYTES_PER_MS :] == span.pcm
            expected_ms += length_ms
        now_ms += length_ms
    assert timeline.clock_jumps == 0
