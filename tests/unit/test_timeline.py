"""Spans on one clock: what is appended, filled, cut and believed."""

import random
import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pytest

from call_archive.media.pcm import Direction, FragmentAudio, Piece, Silence, Span
from call_archive.recording.timeline import Hole, Timeline

EPOCH_MS = 1_767_258_001_000
SERVER_MS = 1_767_258_000_000
HOUR_MS = 3_600_000
NS = 1_000_000
BYTES_PER_MS = 16
CUSTOMER, AGENT = Direction.FROM_CUSTOMER, Direction.TO_CUSTOMER


@dataclass
class Recorded:
    """What a timeline made of a call: PCM and silence of each track."""

    timeline: Timeline
    pcm: dict[Direction, bytes] = field(default_factory=dict)

    def take(self, pieces: dict[Direction, list[Piece]]) -> None:
        for direction, track in pieces.items():
            self.pcm[direction] = self.pcm.get(direction, b"") + b"".join(map(as_bytes, track))


def as_bytes(piece: Piece) -> bytes:
    return bytes(2 * piece.samples) if isinstance(piece, Silence) else piece


def noise(seed: int, length_ms: int) -> bytes:
    """Samples that no other seed has."""
    return random.Random(seed).randbytes(length_ms * BYTES_PER_MS)  # noqa: S311 - a fixture


def described(holes: Iterable[Hole]) -> list[tuple[int, int, Direction]]:
    """Where they begin and how long they are, in ms."""
    return [(hole.at_ms, hole.length_ms, hole.track) for hole in holes]


def silence(length_ms: int) -> bytes:
    return bytes(length_ms * BYTES_PER_MS)


def audio(start_ms: int, **tracks: bytes) -> FragmentAudio:
    """A fragment of one span a track, `customer` or `agent`."""
    directions = {"customer": CUSTOMER, "agent": AGENT}
    longest = max(len(pcm) for pcm in tracks.values())
    return FragmentAudio(
        start_ms * NS,
        (start_ms + longest // BYTES_PER_MS) * NS,
        {directions[name]: [Span(start_ms * NS, pcm)] for name, pcm in tracks.items()},
    )


def record(
    fragments: Iterable[tuple[FragmentAudio, int | None]],
    tracks: Sequence[Direction] = (CUSTOMER,),
) -> Recorded:
    recorded = Recorded(Timeline(tracks))
    for fragment, server_ms in fragments:
        recorded.take(recorded.timeline.place(fragment, server_ms))
    recorded.take(recorded.timeline.finish())
    return recorded


def seconds(
    count: int, *, jump_at: int = 0, producer_jump_ms: int = 0, server_jump_ms: int = 0
) -> list[tuple[FragmentAudio, int]]:
    """Fragments of a second each; from `jump_at` on the clocks are ahead by so much."""
    return [
        (
            audio(
                EPOCH_MS + at * 1000 + (producer_jump_ms if at >= jump_at else 0),
                customer=noise(at, 1000),
            ),
            SERVER_MS + at * 1000 + (server_jump_ms if at >= jump_at else 0),
        )
        for at in range(count)
    ]


def all_of(count: int) -> bytes:
    return b"".join(noise(at, 1000) for at in range(count))


# ------------------------------------------------------------------------------- on a good clock


def test_contiguous_fragments_are_joined_untouched() -> None:
    recorded = record(seconds(30))
    assert recorded.pcm[CUSTOMER] == all_of(30)
    assert recorded.timeline.samples == 30 * 8000
    assert recorded.timeline.gaps == []
    assert recorded.timeline.overlaps == []
    assert recorded.timeline.clock_jumps == 0
    assert recorded.timeline.started_at_ms == EPOCH_MS


@pytest.mark.parametrize("jitter_ms", [-19, -1, 1, 19])
def test_less_than_20_ms_is_jitter(jitter_ms: int) -> None:
    recorded = record(seconds(3, jump_at=1, producer_jump_ms=jitter_ms))
    assert recorded.pcm[CUSTOMER] == all_of(3)
    assert recorded.timeline.gaps == recorded.timeline.overlaps == []


def test_jitter_does_not_add_up() -> None:
    late_by_19_ms_each = [
        (audio(EPOCH_MS + at * 1019, customer=noise(at, 1000)), None) for at in range(3)
    ]
    assert len(record(late_by_19_ms_each).pcm[CUSTOMER]) == (3000 + 38) * BYTES_PER_MS


def test_20_ms_later_is_a_gap() -> None:
    recorded = record(seconds(2, jump_at=1, producer_jump_ms=20))
    assert recorded.pcm[CUSTOMER] == noise(0, 1000) + silence(20) + noise(1, 1000)
    assert described(recorded.timeline.gaps) == [(1000, 20, CUSTOMER)]


def test_20_ms_earlier_is_an_overlap() -> None:
    recorded = record(seconds(2, jump_at=1, producer_jump_ms=-20))
    assert recorded.pcm[CUSTOMER] == noise(0, 1000) + noise(1, 1000)[20 * BYTES_PER_MS :]
    assert described(recorded.timeline.overlaps) == [(1000, 20, CUSTOMER)]


def test_a_lost_fragment_becomes_silence_of_its_length() -> None:
    fragments = seconds(5)
    del fragments[2]
    recorded = record(fragments)
    assert recorded.pcm[CUSTOMER] == all_of(2) + silence(1000) + noise(3, 1000) + noise(4, 1000)
    assert described(recorded.timeline.gaps) == [(2000, 1000, CUSTOMER)]


def test_half_a_fragment_again_is_cut() -> None:
    whole = noise(1, 2000)
    first, second = whole[: 1000 * BYTES_PER_MS], whole[500 * BYTES_PER_MS : 1500 * BYTES_PER_MS]
    recorded = record(
        [
            (audio(EPOCH_MS, customer=first), SERVER_MS),
            (audio(EPOCH_MS + 500, customer=second), SERVER_MS + 500),
        ]
    )
    assert recorded.pcm[CUSTOMER] == whole[: 1500 * BYTES_PER_MS]
    assert described(recorded.timeline.overlaps) == [(1000, 500, CUSTOMER)]


def test_a_short_block_on_the_64_ms_grid_leaves_52_ms() -> None:
    spans = [
        Span(EPOCH_MS * NS, noise(1, 64)),
        Span((EPOCH_MS + 64) * NS, noise(2, 12)),
        Span((EPOCH_MS + 128) * NS, noise(3, 64)),
    ]
    fragment = FragmentAudio(EPOCH_MS * NS, (EPOCH_MS + 192) * NS, {CUSTOMER: spans})
    recorded = record([(fragment, SERVER_MS)])
    assert recorded.pcm[CUSTOMER] == noise(1, 64) + noise(2, 12) + silence(52) + noise(3, 64)
    assert described(recorded.timeline.gaps) == [(76, 52, CUSTOMER)]


# ------------------------------------------------------------------------------------- repeats


def repeated(*places: int, jitter_ms: int = 0) -> list[tuple[FragmentAudio, int]]:
    """Seconds of a call in this order; the second one starts `jitter_ms` late."""
    return [
        (
            audio(
                EPOCH_MS + place * 1000 + (jitter_ms if place else 0), customer=noise(place, 1000)
            ),
            SERVER_MS + at * 1000,
        )
        for at, place in enumerate(places)
    ]


@pytest.mark.parametrize(
    "places",
    [(0, 1, 1, 2), (0, 0, 1, 2), (0, 1, 2, 2), (0, 1, 2, 1, 2), (0, 1, 2, 0, 1, 2)],
    ids=["once", "the_first", "the_last", "two", "everything"],
)
def test_repeated_fragments_are_cut(places: tuple[int, ...]) -> None:
    recorded = record(repeated(*places))
    assert recorded.pcm[CUSTOMER] == all_of(3)
    assert len(recorded.timeline.overlaps) == len(places) - 3
    assert recorded.timeline.clock_jumps == 0


@pytest.mark.parametrize("jitter_ms", [-5, 5, 19])
def test_a_repeated_fragment_that_was_appended_with_jitter_is_cut(jitter_ms: int) -> None:
    recorded = record(repeated(0, 1, 1, 2, jitter_ms=jitter_ms))
    assert recorded.pcm[CUSTOMER] == all_of(3)


def test_a_repeated_fragment_of_two_tracks_is_cut() -> None:
    fragments = [
        (
            audio(EPOCH_MS + at * 1000, customer=noise(at, 1000), agent=noise(at + 100, 1000)),
            SERVER_MS + at * 1000,
        )
        for at in (0, 1, 1, 2)
    ]
    recorded = record(fragments, (CUSTOMER, AGENT))
    assert recorded.pcm[CUSTOMER] == all_of(3)
    assert len(recorded.pcm[AGENT]) == len(recorded.pcm[CUSTOMER])


# ------------------------------------------------------------------------------- on a bad clock


@pytest.mark.parametrize("jump_ms", [23_000, HOUR_MS, 1000 * HOUR_MS])
def test_a_forward_jump_makes_no_silence_where_server_time_goes_on(jump_ms: int) -> None:
    recorded = record(seconds(30, jump_at=15, producer_jump_ms=jump_ms))
    assert recorded.pcm[CUSTOMER] == all_of(30)
    assert recorded.timeline.clock_jumps == 1
    assert recorded.timeline.gaps == []


@pytest.mark.parametrize("jump_ms", [-HOUR_MS, -100_000, -10_000, -1000])
def test_a_backward_jump_loses_no_audio(jump_ms: int) -> None:
    recorded = record(seconds(30, jump_at=15, producer_jump_ms=jump_ms))
    assert recorded.pcm[CUSTOMER] == all_of(30)
    assert recorded.timeline.clock_jumps == 1
    assert recorded.timeline.overlaps == []


def test_a_backward_jump_into_a_long_fragment_loses_no_audio() -> None:
    """The clock still shows more than at the last fragment's start, yet its time is taken."""
    recorded = record(
        [
            (audio(EPOCH_MS, customer=noise(1, 5000)), SERVER_MS),
            (audio(EPOCH_MS + 1000, customer=noise(2, 1000)), SERVER_MS + 5000),
        ]
    )
    assert recorded.pcm[CUSTOMER] == noise(1, 5000) + noise(2, 1000)


def test_a_backward_jump_onto_silence_loses_no_voice() -> None:
    """The first fragment after the jump is as silent as what lies there already."""
    fragments = seconds(30, jump_at=15, producer_jump_ms=-10_000)
    for at, start_ms in ((5, EPOCH_MS + 5000), (15, EPOCH_MS + 5000)):
        fragments[at] = (audio(start_ms, customer=silence(1000)), SERVER_MS + at * 1000)
    recorded = record(fragments)
    for at in {*range(30)} - {5, 15}:
        assert noise(at, 1000) in recorded.pcm[CUSTOMER], f"second {at} is lost"


def test_a_backward_jump_in_a_fragment_of_the_other_track_loses_no_voice() -> None:
    fragments = seconds(30, jump_at=15, producer_jump_ms=-10_000)
    start_ns = fragments[15][0].start_ns
    fragments[15] = (FragmentAudio(start_ns, start_ns + 1000 * NS, {}), SERVER_MS + 15_000)
    recorded = record(fragments)
    for at in {*range(30)} - {15}:
        assert noise(at, 1000) in recorded.pcm[CUSTOMER], f"second {at} is lost"


def test_two_jumps_that_cancel_each_other() -> None:
    fragments = seconds(10, jump_at=5, producer_jump_ms=HOUR_MS)[:8] + seconds(10)[8:]
    recorded = record(fragments)
    assert recorded.pcm[CUSTOMER] == all_of(10)
    assert recorded.timeline.clock_jumps == 2


def test_a_hole_that_server_time_confirms_is_silence() -> None:
    half_an_hour = HOUR_MS // 2
    recorded = record(
        seconds(20, jump_at=10, producer_jump_ms=half_an_hour, server_jump_ms=half_an_hour)
    )
    expected = all_of(10) + silence(half_an_hour) + all_of(20)[10 * 16_000 :]
    assert recorded.pcm[CUSTOMER] == expected
    assert described(recorded.timeline.gaps) == [(10_000, half_an_hour, CUSTOMER)]
    assert recorded.timeline.clock_jumps == 0


def test_a_jump_over_a_hole_leaves_the_hole() -> None:
    """The clock jumps an hour while ten seconds are really missing."""
    recorded = record(seconds(20, jump_at=10, producer_jump_ms=HOUR_MS, server_jump_ms=10_000))
    (gap,) = recorded.timeline.gaps
    assert gap.at_ms == 10_000
    assert 8000 <= gap.length_ms <= 12_000
    assert recorded.timeline.clock_jumps == 1


@pytest.mark.parametrize("jitter_ms", [25, 500, 1500])
def test_jitter_of_server_time_is_not_a_jump(jitter_ms: int) -> None:
    chance = random.Random(1)  # noqa: S311 - a fixture
    fragments = [
        (fragment, server_ms + chance.randint(-jitter_ms // 2, jitter_ms // 2))
        for fragment, server_ms in seconds(60)
    ]
    recorded = record(fragments)
    assert recorded.pcm[CUSTOMER] == all_of(60)
    assert recorded.timeline.clock_jumps == 0


@pytest.mark.parametrize("lag_ms", [-1000, 0, 40_000])
def test_any_constant_difference_of_the_clocks_is_fine(lag_ms: int) -> None:
    recorded = record([(fragment, EPOCH_MS + lag_ms + at) for at, (fragment, _) in _by_ms(40)])
    assert recorded.pcm[CUSTOMER] == all_of(40)
    assert recorded.timeline.clock_jumps == 0


def _by_ms(count: int) -> Iterable[tuple[int, tuple[FragmentAudio, int]]]:
    return ((at * 1000, fragment) for at, fragment in enumerate(seconds(count)))


def test_a_fragment_that_is_received_late_does_not_end_the_trust_in_the_clock() -> None:
    """Half a minute on its way; five seconds that are really missing later stay missing."""
    fragments = seconds(20, jump_at=15, producer_jump_ms=5000, server_jump_ms=5000)
    fragments[10] = (fragments[10][0], fragments[10][1] + 30_000)
    recorded = record(fragments)
    assert described(recorded.timeline.gaps) == [(15_000, 5000, CUSTOMER)]
    assert recorded.timeline.clock_jumps == 0


def test_a_fragment_without_server_timestamp_does_not_end_the_watch() -> None:
    fragments: list[tuple[FragmentAudio, int | None]] = [
        *seconds(30, jump_at=15, producer_jump_ms=HOUR_MS)
    ]
    fragments[7] = (fragments[7][0], None)
    recorded = record(fragments)
    assert recorded.pcm[CUSTOMER] == all_of(30)
    assert recorded.timeline.clock_jumps == 1


def test_no_server_timestamps_at_all() -> None:
    recorded = record([(fragment, None) for fragment, _ in seconds(20)])
    assert recorded.pcm[CUSTOMER] == all_of(20)
    assert recorded.timeline.started_at_ms == EPOCH_MS


def test_an_hour_is_not_believed_without_server_timestamps() -> None:
    jumping = seconds(20, jump_at=10, producer_jump_ms=HOUR_MS)
    recorded = record([(fragment, None) for fragment, _ in jumping])
    assert recorded.pcm[CUSTOMER] == all_of(20)
    assert recorded.timeline.clock_jumps == 1


def test_a_short_hole_is_believed_without_server_timestamps() -> None:
    holed = seconds(20, jump_at=10, producer_jump_ms=15_000)
    recorded = record([(fragment, None) for fragment, _ in holed])
    assert described(recorded.timeline.gaps) == [(10_000, 15_000, CUSTOMER)]


def test_a_relative_clock() -> None:
    recorded = record(
        (audio(at * 1000, customer=noise(at, 1000)), SERVER_MS + at * 1000) for at in range(20)
    )
    assert recorded.pcm[CUSTOMER] == all_of(20)
    assert recorded.timeline.started_at_ms == SERVER_MS
    assert recorded.timeline.clock_jumps == 0


@pytest.mark.parametrize("silent", [(), (0, 1, 2), (3, 4, 9)])
def test_a_relative_clock_that_restarts_in_each_fragment(silent: tuple[int, ...]) -> None:
    voices = [silence(1000) if at in silent else noise(at, 1000) for at in range(12)]
    recorded = record(
        (audio(0, customer=pcm), SERVER_MS + at * 1000) for at, pcm in enumerate(voices)
    )
    assert recorded.pcm[CUSTOMER] == b"".join(voices)
    assert recorded.timeline.overlaps == []


def test_a_clock_that_jumps_inside_a_fragment_loses_nothing() -> None:
    spans = [Span(EPOCH_MS * NS, noise(1, 64)), Span((EPOCH_MS + HOUR_MS) * NS, noise(2, 64))]
    fragment = FragmentAudio(EPOCH_MS * NS, (EPOCH_MS + HOUR_MS + 64) * NS, {CUSTOMER: spans})
    recorded = record([(fragment, SERVER_MS)])
    assert recorded.pcm[CUSTOMER] == noise(1, 64) + noise(2, 64)


@pytest.mark.parametrize("start_ms", [EPOCH_MS * 1000, 1 << 62])
def test_a_clock_of_the_far_future_is_not_the_time_of_the_call(start_ms: int) -> None:
    recorded = record([(audio(start_ms, customer=noise(1, 1000)), SERVER_MS)])
    assert recorded.timeline.started_at_ms == SERVER_MS
    assert recorded.pcm[CUSTOMER] == noise(1, 1000)


# ------------------------------------------------------------------------------------ two tracks


def test_a_track_that_starts_late_starts_with_silence() -> None:
    fragments = [
        (audio(EPOCH_MS, agent=noise(1, 1000)), SERVER_MS),
        (audio(EPOCH_MS + 1000, agent=noise(2, 1000), customer=noise(3, 1000)), SERVER_MS + 1000),
    ]
    recorded = record(fragments, (CUSTOMER, AGENT))
    assert recorded.pcm[CUSTOMER] == silence(1000) + noise(3, 1000)
    assert recorded.pcm[AGENT] == noise(1, 1000) + noise(2, 1000)
    assert described(recorded.timeline.gaps) == [(0, 1000, CUSTOMER)]


def test_a_late_customer_alone_starts_with_silence_too() -> None:
    nobody = FragmentAudio(EPOCH_MS * NS, (EPOCH_MS + 1000) * NS, {})
    recorded = record(
        [
            (nobody, SERVER_MS),
            (audio(EPOCH_MS + 1000, customer=noise(3, 1000)), SERVER_MS + 1000),
        ]
    )
    assert recorded.pcm[CUSTOMER] == silence(1000) + noise(3, 1000)
    assert recorded.timeline.started_at_ms == EPOCH_MS


@pytest.mark.parametrize("shorter_ms", [1, 19, 20, 900])
def test_uneven_tracks_end_together(shorter_ms: int) -> None:
    pcm = noise(2, 1000 - shorter_ms)
    fragment = audio(EPOCH_MS, customer=noise(1, 1000), agent=pcm)
    recorded = record([(fragment, SERVER_MS)], (CUSTOMER, AGENT))
    assert recorded.pcm[AGENT] == pcm + silence(shorter_ms)
    assert recorded.pcm[CUSTOMER] == noise(1, 1000)
    expected = [(1000 - shorter_ms, shorter_ms, AGENT)] if shorter_ms >= 20 else []
    assert described(recorded.timeline.gaps) == expected


def test_a_track_that_is_away_for_long_is_filled_before_the_end() -> None:
    """Else the mixer would have to hold the other track for hours."""
    timeline = Timeline((CUSTOMER, AGENT))
    behind_ms = 0
    filled_ms = 0.0
    for at in range(600):
        fragment = audio(EPOCH_MS + at * 1000, agent=noise(0, 1000))
        pieces = timeline.place(fragment, SERVER_MS + at * 1000)
        filled_ms += sum(len(as_bytes(piece)) for piece in pieces[CUSTOMER]) / BYTES_PER_MS
        behind_ms = max(behind_ms, round((at + 1) * 1000 - filled_ms))
    assert behind_ms <= 60_000
    returned = audio(EPOCH_MS + 600_000, agent=noise(0, 1000), customer=noise(1, 1000))
    pieces = timeline.place(returned, SERVER_MS + 600_000)
    assert pieces[CUSTOMER][-1] == noise(1, 1000)
    assert timeline.samples == 601 * 8000
    assert timeline.overlaps == []
    assert timeline.finish() == {CUSTOMER: [], AGENT: []}


def test_an_hour_of_silence_costs_no_memory() -> None:
    fragments = seconds(20, jump_at=10, producer_jump_ms=HOUR_MS, server_jump_ms=HOUR_MS)
    timeline = Timeline((CUSTOMER,))
    pieces = [
        piece
        for fragment, at_ms in fragments
        for piece in timeline.place(fragment, at_ms)[CUSTOMER]
    ]
    assert Silence(HOUR_MS * 8) in pieces
    assert sum(len(piece) for piece in pieces if isinstance(piece, bytes)) == 20 * 16_000


def test_an_hour_of_silence_costs_no_memory_when_the_clock_jumps_back_over_it() -> None:
    fragments = seconds(13, jump_at=10, producer_jump_ms=HOUR_MS, server_jump_ms=HOUR_MS)
    timeline = Timeline((CUSTOMER,))
    for fragment, at_ms in fragments:
        timeline.place(fragment, at_ms)
    returned = audio(EPOCH_MS + 11_000 + HOUR_MS, customer=noise(99, 1000))
    tracemalloc.start()
    try:
        timeline.place(returned, fragments[-1][1] + 1000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4_000_000
    assert timeline.clock_jumps == 1


def test_a_track_that_is_away_for_long_is_one_gap() -> None:
    fragments = [
        (audio(EPOCH_MS + at * 1000, agent=noise(0, 1000)), SERVER_MS + at * 1000)
        for at in range(200)
    ]
    recorded = record(fragments, (CUSTOMER, AGENT))
    assert described(recorded.timeline.gaps) == [(0, 200_000, CUSTOMER)]


def test_a_timeline_without_audio_has_no_beginning() -> None:
    timeline = Timeline((CUSTOMER, AGENT))
    assert timeline.started_at_ms is None
    assert timeline.finish() == {CUSTOMER: [], AGENT: []}
    assert timeline.samples == 0


def test_a_clock_that_creeps_ahead_makes_little_silence() -> None:
    fragments = [
        (audio(EPOCH_MS + 2000 * at, customer=noise(at, 1000)), SERVER_MS + 1000 * at)
        for at in range(60)
    ]
    recorded = record(fragments)
    assert recorded.timeline.samples // 8 - 60_000 < 5_000
    assert recorded.timeline.clock_jumps > 0
