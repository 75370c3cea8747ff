"""Spans on one clock: what is appended, filled, cut and believed."""

import random
import tracemalloc
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from call_archive.errors import MediaError
from call_archive.limits import MAX_CALL_MS, MAX_HOLES, MAX_LISTED_DEVIATIONS
from call_archive.media.pcm import Direction, FragmentAudio, Piece, Silence, Span
from call_archive.reasons import Code
from call_archive.recording.timeline import Hole, Timeline, _in_order, _is_of_the_day
from call_archive_cli.rehearsal.script import read_voices

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


def deviations(recorded: Recorded) -> tuple[int, int, int, list[tuple[int, int]]]:
    """How many, their sum, the largest, and the first ones; in ms."""
    kept = recorded.timeline.clock_deviations
    return (
        kept.count,
        kept.samples // 8,
        kept.largest // 8,
        [(deviation.at_ms, deviation.length_ms) for deviation in kept.first],
    )


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
    """Fragments of a second each; from `jump_at` on the clocks are ahead by this much."""
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


def test_20_ms_earlier_is_a_deviation_and_nothing_is_cut() -> None:
    recorded = record(seconds(2, jump_at=1, producer_jump_ms=-20))
    assert recorded.pcm[CUSTOMER] == all_of(2)
    assert recorded.timeline.overlaps == []
    assert deviations(recorded) == (1, 20, 20, [(1000, 20)])


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
    """The first fragment after the jump is as silent as what is there already."""
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


# ------------------------------------------------------------------ a clock that steps or trembles


STEPS_MS = sorted({*range(-2000, 2001, 400), -961, -960, -959, -45, -30, -21, -20, -19, 19, 20, 21})
BOTH = (CUSTOMER, AGENT)


def speech(
    steps_ms: Mapping[int, float], lost: Collection[int] = (), fragment_ms: int = 960
) -> Iterator[tuple[FragmentAudio, int]]:
    """Two voices; at each of these fragments the producer's clock steps by this much."""
    customer, agent = read_voices()
    length = fragment_ms * BYTES_PER_MS
    step_ms = 0.0
    for at in range(min(len(customer), len(agent)) // length):
        step_ms += steps_ms.get(at, 0)
        if at not in lost:
            place = slice(at * length, (at + 1) * length)
            start_ns = round((EPOCH_MS + at * fragment_ms + step_ms) * NS)
            spans = {
                CUSTOMER: [Span(start_ns, customer[place])],
                AGENT: [Span(start_ns, agent[place])],
            }
            end_ns = start_ns + fragment_ms * NS
            yield FragmentAudio(start_ns, end_ns, spans), SERVER_MS + at * fragment_ms


def only(fragment: FragmentAudio, tracks: Sequence[Direction]) -> FragmentAudio:
    return fragment._replace(spans={track: fragment.spans[track] for track in tracks})


def core(pcm: bytes) -> bytes:
    """Without the digital silence at both ends, which may be cut."""
    samples = memoryview(pcm).cast("h")
    heard = [at for at, sample in enumerate(samples) if sample]
    return pcm[heard[0] * 2 : heard[-1] * 2 + 2] if heard else b""


@pytest.mark.parametrize("tracks", [(CUSTOMER,), (AGENT,), BOTH])
@pytest.mark.parametrize("lost", [(), (5,), (6,), (4,), (5, 6)])
def test_no_step_of_the_clock_loses_speech(tracks: tuple[Direction, ...], lost: list[int]) -> None:
    for step_ms in STEPS_MS:
        fragments = [(only(audio, tracks), at_ms) for audio, at_ms in speech({5: step_ms}, lost)]
        recorded = record(fragments, tracks)
        for track in tracks:
            place = 0
            for fragment, _ in fragments:
                spoken = core(fragment.spans[track][0].pcm)
                place = recorded.pcm[track].find(spoken, place)
                assert place >= 0, f"a fragment is lost at a step of {step_ms} ms"
                place += len(spoken)


@pytest.mark.parametrize("step_ms", [-30, -300, -900])
def test_a_step_back_by_less_than_a_fragment_is_a_deviation(step_ms: int) -> None:
    recorded = record(seconds(30, jump_at=15, producer_jump_ms=step_ms))
    assert recorded.pcm[CUSTOMER] == all_of(30)
    assert recorded.timeline.overlaps == recorded.timeline.gaps == []
    assert recorded.timeline.clock_jumps == 0
    assert deviations(recorded) == (1, -step_ms, -step_ms, [(15_000, -step_ms)])


def test_a_later_hole_takes_the_deviation_up() -> None:
    fragments = seconds(30, jump_at=15, producer_jump_ms=-300)
    del fragments[20]
    recorded = record(fragments)
    expected = all_of(20) + silence(700) + all_of(30)[21 * 16_000 :]
    assert recorded.pcm[CUSTOMER] == expected
    assert described(recorded.timeline.gaps) == [(20_000, 700, CUSTOMER)]


def test_a_smaller_hole_takes_up_what_it_can() -> None:
    fragments = seconds(30, jump_at=15, producer_jump_ms=-300)
    later = [
        (audio(part.start_ns // NS + 200, customer=part.spans[CUSTOMER][0].pcm), at_ms)
        for part, at_ms in fragments[20:]
    ]
    recorded = record([*fragments[:20], *later])
    assert recorded.pcm[CUSTOMER] == all_of(30)
    assert recorded.timeline.gaps == []


@pytest.mark.parametrize("step_ms", [-30, -500, -900])
def test_a_deviation_belongs_to_the_clock_so_both_tracks_move(step_ms: int) -> None:
    """The agent is silent, and not even sent, while the clock steps."""
    fragments = []
    for at in range(20):
        start_ms = EPOCH_MS + at * 1000 + (step_ms if at >= 8 else 0)
        voices = {"customer": noise(at, 1000)}
        if not 5 <= at < 12:
            voices["agent"] = noise(100 + at, 1000)
        fragments.append((audio(start_ms, **voices), SERVER_MS + at * 1000))
    recorded = record(fragments, BOTH)
    for at in (2, 13, 19):
        customer = recorded.pcm[CUSTOMER].find(noise(at, 1000))
        assert customer == recorded.pcm[AGENT].find(noise(100 + at, 1000)) == at * 16_000
    assert recorded.timeline.clock_deviations.count == 1


def test_silence_moves_with_the_voice_on_the_other_track() -> None:
    fragments = [
        (
            audio(
                EPOCH_MS + at * 1000 - (400 if at >= 5 else 0),
                customer=silence(1000),
                agent=noise(at, 1000),
            ),
            SERVER_MS + at * 1000,
        )
        for at in range(10)
    ]
    recorded = record(fragments, BOTH)
    assert recorded.pcm == {CUSTOMER: silence(10_000), AGENT: all_of(10)}
    assert recorded.timeline.overlaps == recorded.timeline.gaps == []


def test_silence_on_silence_is_cut() -> None:
    fragments = seconds(10, jump_at=5, producer_jump_ms=-400)
    for at in (4, 5):
        before, at_ms = fragments[at]
        fragments[at] = (audio(before.start_ns // NS, customer=silence(1000)), at_ms)
    recorded = record(fragments)
    assert recorded.pcm[CUSTOMER] == all_of(4) + silence(1600) + all_of(10)[6 * 16_000 :]
    assert described(recorded.timeline.overlaps) == [(5000, 400, CUSTOMER)]
    assert recorded.timeline.clock_deviations.count == 0


@pytest.mark.parametrize("jitter_ms", [25, 100])
def test_an_hour_of_jitter_fills_no_manifest_and_does_not_drift(jitter_ms: int) -> None:
    chance = random.Random(jitter_ms)  # noqa: S311 - a fixture
    pcm = [noise(at, 20) for at in range(7)]
    fragments = (
        (
            audio(
                EPOCH_MS + at * 1000 + chance.randint(-jitter_ms, jitter_ms),
                customer=pcm[at % 7] * 50,
                agent=pcm[(at + 3) % 7] * 50,
            ),
            SERVER_MS + at * 1000,
        )
        for at in range(3600)
    )
    timeline = Timeline(BOTH)
    for fragment, at_ms in fragments:
        timeline.place(fragment, at_ms)
    assert 0 <= timeline.samples // 8 - HOUR_MS <= 2 * jitter_ms
    assert len(timeline.gaps) < 20
    assert timeline.overlaps == []
    assert timeline.clock_jumps == 0
    assert timeline.clock_deviations.count > 500
    assert len(timeline.clock_deviations.first) == MAX_LISTED_DEVIATIONS
    assert timeline.clock_deviations.largest <= 2 * jitter_ms * 8


@pytest.mark.parametrize(("per_million", "holes"), [(-100, 0), (100, 2)])
def test_a_clock_that_drifts_loses_nothing(per_million: int, holes: int) -> None:
    fragments = [
        (
            audio(EPOCH_MS, customer=noise(at, 1000))._replace(
                start_ns=(start_ns := EPOCH_MS * NS + at * (1000 * NS + per_million * 1000)),
                end_ns=start_ns + 1000 * NS,
                spans={CUSTOMER: [Span(start_ns, noise(at, 1000))]},
            ),
            SERVER_MS + at * 1000,
        )
        for at in range(600)
    ]
    recorded = record(fragments)
    heard = recorded.pcm[CUSTOMER].replace(silence(20), b"")
    assert heard == all_of(600)
    assert len(recorded.pcm[CUSTOMER]) - len(heard) == holes * 20 * BYTES_PER_MS


def test_a_clock_that_stays_behind_by_more_than_two_seconds_has_jumped() -> None:
    fragments = [
        (audio(EPOCH_MS + 500 * at, customer=noise(at, 1000)), SERVER_MS + 1000 * at)
        for at in range(12)
    ]
    recorded = record(fragments)
    assert recorded.pcm[CUSTOMER] == all_of(12)
    assert recorded.timeline.clock_jumps == 2
    assert recorded.timeline.clock_deviations.largest == 500 * 8


def test_blocks_that_step_back_inside_a_fragment_are_kept() -> None:
    spans = [
        Span((EPOCH_MS + at_ms) * NS, noise(at, 64)) for at, at_ms in enumerate((0, 34, 98, 162))
    ]
    fragment = FragmentAudio(EPOCH_MS * NS, (EPOCH_MS + 226) * NS, {CUSTOMER: spans})
    recorded = record([(fragment, SERVER_MS)])
    assert recorded.pcm[CUSTOMER] == b"".join(noise(at, 64) for at in range(4))
    assert deviations(recorded) == (1, 30, 30, [(64, 30)])


def test_blocks_far_behind_inside_a_fragment_are_kept() -> None:
    spans = [Span(EPOCH_MS * NS, noise(1, 5000)), Span(EPOCH_MS * NS, noise(2, 64))]
    fragment = FragmentAudio(EPOCH_MS * NS, (EPOCH_MS + 5000) * NS, {CUSTOMER: spans})
    recorded = record([(fragment, SERVER_MS)])
    assert recorded.pcm[CUSTOMER] == noise(1, 5000) + noise(2, 64)
    assert recorded.timeline.clock_jumps == 1


# --------------------------------------------------------------------------- what counts as equal


def overlap(first: bytes, second: bytes, at_ms: int, epoch_ms: int = EPOCH_MS) -> Recorded:
    """Two fragments; the second one starts so long after the first."""
    return record(
        [
            (audio(epoch_ms, customer=first), SERVER_MS),
            (audio(epoch_ms + at_ms, customer=second), SERVER_MS + len(first) // BYTES_PER_MS),
        ]
    )


@pytest.mark.parametrize("aside_ms", [-19, -5, 0, 7, 19])
def test_a_repeat_is_cut_where_it_is_and_not_where_the_clock_says(aside_ms: int) -> None:
    whole = noise(1, 2000)
    first, second = whole[: 1000 * BYTES_PER_MS], whole[500 * BYTES_PER_MS :]
    recorded = overlap(first, second, 500 + aside_ms)
    assert recorded.pcm[CUSTOMER] == whole
    assert described(recorded.timeline.overlaps) == [(1000, 500, CUSTOMER)]


@pytest.mark.parametrize("aside_ms", [-100, -21, 21, 100])
def test_what_equals_another_time_is_kept(aside_ms: int) -> None:
    whole = noise(1, 2000)
    first, second = whole[: 1000 * BYTES_PER_MS], whole[500 * BYTES_PER_MS :]
    recorded = overlap(first, second, 500 + aside_ms)
    assert recorded.pcm[CUSTOMER] == first + second
    assert recorded.timeline.overlaps == []


def test_a_repeat_that_goes_on_in_another_way_is_cut_as_far_as_it_is_one() -> None:
    first = noise(1, 1000)
    second = first[500 * BYTES_PER_MS : 700 * BYTES_PER_MS] + noise(2, 800)
    recorded = overlap(first, second, 500)
    assert recorded.pcm[CUSTOMER] == first + noise(2, 800)
    assert described(recorded.timeline.overlaps) == [(1000, 200, CUSTOMER)]
    assert deviations(recorded) == (1, 300, 300, [(1000, 300)])


def test_25_equal_ms_in_audio_that_differs_are_no_repeat() -> None:
    first = noise(1, 1000)
    second = first[500 * BYTES_PER_MS : 525 * BYTES_PER_MS] + noise(2, 975)
    recorded = overlap(first, second, 500)
    assert recorded.pcm[CUSTOMER] == first + second
    assert recorded.timeline.overlaps == []


def test_a_repeat_is_found_after_the_clock_has_deviated() -> None:
    """The second second was laid when the clock was not behind yet."""
    fragments = seconds(6, jump_at=3, producer_jump_ms=-300)
    again = fragments[2]
    recorded = record([*fragments[:4], (again[0], SERVER_MS + 4000), *fragments[4:]])
    assert recorded.pcm[CUSTOMER] == all_of(6)
    assert described(recorded.timeline.overlaps) == [(4000, 1000, CUSTOMER)]


@pytest.mark.parametrize("at_ms", [700, 900, 975])
def test_a_quiet_line_is_equal_by_chance(at_ms: int) -> None:
    """Zeros with a stray sample, as between two sentences: they prove nothing."""
    click = (1).to_bytes(2, "little")
    quiet = silence(100) + click + silence(30) + click
    first = noise(1, 1000 - at_ms % 100) + quiet[: (at_ms % 100) * BYTES_PER_MS]
    second = quiet + noise(2, 900)
    recorded = overlap(first, second, at_ms)
    assert core(second) in recorded.pcm[CUSTOMER]


@pytest.mark.parametrize(
    ("level", "epoch_ms", "length_ms"),
    [(0, EPOCH_MS, 1600), (8, EPOCH_MS, 1600), (0, 0, 2000), (8, 0, 2000)],
)
def test_an_idle_line_need_not_be_zero(level: int, epoch_ms: int, length_ms: int) -> None:
    """A-law's silence is 8. By a relative clock, it is the next silence."""
    idle = level.to_bytes(2, "little") * 8000
    recorded = overlap(idle, idle, 600, epoch_ms)
    assert recorded.pcm[CUSTOMER] == level.to_bytes(2, "little") * (length_ms * 8)


def test_silence_before_a_voice_is_cut_as_far_as_there_is_silence() -> None:
    first, second = noise(1, 900) + silence(100), silence(200) + noise(2, 800)
    recorded = overlap(first, second, 920)
    assert recorded.pcm[CUSTOMER] == noise(1, 900) + silence(220) + noise(2, 800)


def test_silence_a_little_aside_is_cut() -> None:
    """10 ms of the overlap is a voice, by the clock; silence is found beside it."""
    first, second = noise(1, 900) + silence(100), silence(200)
    recorded = overlap(first, second, 890)
    assert recorded.pcm[CUSTOMER] == noise(1, 900) + silence(200)


def test_silence_on_a_voice_is_kept() -> None:
    recorded = overlap(noise(1, 1000), silence(500) + noise(2, 500), 800)
    assert recorded.pcm[CUSTOMER] == noise(1, 1000) + silence(500) + noise(2, 500)


def test_bytes_between_two_samples_are_no_repeat() -> None:
    whole = noise(1, 1000)
    second = whole[501 * BYTES_PER_MS + 1 :] + noise(2, 501) + b"\0"
    recorded = overlap(whole, second, 501)
    assert recorded.pcm[CUSTOMER] == whole + second


def test_a_few_equal_samples_before_the_track_remembers_are_no_repeat() -> None:
    fragments = seconds(30)
    again = (fragments[3][0], SERVER_MS + 30_000)
    recorded = record([*fragments, again])
    assert recorded.pcm[CUSTOMER] == all_of(30) + noise(3, 1000)
    assert recorded.timeline.clock_jumps == 1


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


# ------------------------------------------------------------------------------ limits, one by one


def spans_at(*starts_ms: int, length_ms: int = 64) -> FragmentAudio:
    """A fragment whose spans of noise begin at these times."""
    spans = [
        Span((EPOCH_MS + start_ms) * NS, noise(at, length_ms))
        for at, start_ms in enumerate(starts_ms)
    ]
    end_ms = EPOCH_MS + max(starts_ms) + length_ms
    return FragmentAudio(EPOCH_MS * NS, end_ms * NS, {CUSTOMER: spans})


@pytest.mark.parametrize(
    ("back_ms", "expected"), [(19, (0, 0, 0, [])), (20, (1, 20, 20, [(64, 20)]))]
)
def test_20_ms_back_inside_a_fragment_is_a_deviation(
    back_ms: int, expected: tuple[int, int, int, list[tuple[int, int]]]
) -> None:
    recorded = record([(spans_at(0, 64 - back_ms), SERVER_MS)])
    assert recorded.pcm[CUSTOMER] == noise(0, 64) + noise(1, 64)
    assert deviations(recorded) == expected


def test_a_fragment_spans_up_to_twenty_seconds() -> None:
    """A span behind that has a wrong time, and follows the one before it."""
    recorded = record([(spans_at(0, 20_000), SERVER_MS)])
    assert recorded.pcm[CUSTOMER] == noise(0, 64) + silence(20_000 - 64) + noise(1, 64)
    assert recorded.timeline.clock_jumps == 0
    recorded = record([(spans_at(0, 20_001, 40_000, 30_000), SERVER_MS)])
    assert recorded.pcm[CUSTOMER] == b"".join(noise(at, 64) for at in range(4))
    assert recorded.timeline.clock_jumps == 3
    assert recorded.timeline.gaps == []


def test_a_track_that_is_one_sample_shorter_gets_one_sample() -> None:
    whole = noise(1, 1000)
    recorded = record([(audio(EPOCH_MS, customer=whole, agent=whole[:-2]), SERVER_MS)], BOTH)
    assert recorded.pcm == {CUSTOMER: whole, AGENT: whole[:-2] + bytes(2)}
    assert recorded.timeline.gaps == []


def test_only_samples_that_came_are_audio() -> None:
    timeline = Timeline((CUSTOMER,))
    assert timeline.has_audio is False
    timeline.place(FragmentAudio(EPOCH_MS * NS, EPOCH_MS * NS, {}), SERVER_MS)
    assert timeline.has_audio is False
    timeline.place(audio(EPOCH_MS, customer=noise(1, 64)), SERVER_MS)
    assert timeline.has_audio is True


def test_the_first_sample_is_dated_in_whole_milliseconds() -> None:
    start_ns = EPOCH_MS * NS + NS - 1
    fragment = FragmentAudio(start_ns, start_ns + NS, {CUSTOMER: [Span(start_ns, noise(1, 1))]})
    assert record([(fragment, SERVER_MS)]).timeline.started_at_ms == EPOCH_MS


@pytest.mark.parametrize("more_samples", [0, 1])
def test_no_recording_is_longer_than_a_call_can_be(more_samples: int) -> None:
    last_ms = MAX_CALL_MS - 1000
    timeline = Timeline((CUSTOMER,))
    timeline.place(audio(EPOCH_MS, customer=noise(1, 1000)), SERVER_MS)
    last = audio(EPOCH_MS + last_ms, customer=noise(2, 1000) + bytes(2 * more_samples))
    if more_samples:
        with pytest.raises(MediaError, match=f"more than {MAX_CALL_MS} ms, longer than") as caught:
            timeline.place(last, SERVER_MS + last_ms)
        assert caught.value.code == Code.RECORDING_TOO_LONG
        assert not caught.value.retryable
    else:
        timeline.place(last, SERVER_MS + last_ms)
        assert timeline.samples == MAX_CALL_MS * 8


def test_every_hole_that_the_lists_have_no_place_for_is_counted() -> None:
    """Gaps and overlaps have a list each; a hole that goes on is one."""
    timeline = Timeline((CUSTOMER,))
    for number in range(MAX_HOLES):
        hole = Hole(CUSTOMER, 10 * number, 5)
        timeline._record(timeline.gaps, hole)
        timeline._record(timeline.overlaps, hole)
    assert timeline.unlisted_holes == 0
    last = Hole(CUSTOMER, 10 * MAX_HOLES - 5, 5)
    timeline._record(timeline.gaps, last)
    assert timeline.gaps[-1] == Hole(CUSTOMER, 10 * MAX_HOLES - 10, 10)
    for count in (1, 2, 3):
        timeline._record(timeline.gaps, Hole(AGENT, 10 * MAX_HOLES, 5))
        assert timeline.unlisted_holes == count
    timeline._record(timeline.overlaps, Hole(CUSTOMER, 10 * MAX_HOLES, 5))
    assert timeline.unlisted_holes == 4
    assert len(timeline.gaps) == len(timeline.overlaps) == MAX_HOLES


def test_a_track_that_is_a_minute_behind_is_filled_to_half_a_minute() -> None:
    timeline = Timeline((CUSTOMER, AGENT))
    filled = [
        timeline.place(audio(EPOCH_MS + at * 1000, agent=noise(0, 1000)), SERVER_MS + at * 1000)[
            CUSTOMER
        ]
        for at in range(92)
    ]
    expected: list[list[Piece]] = [[] for _ in filled]
    expected[60] = [Silence(31 * 8000)]
    expected[91] = [Silence(31 * 8000)]
    assert filled == expected


def test_a_track_alone_is_not_filled_ahead() -> None:
    """No other track has to wait for it."""
    timeline = Timeline((CUSTOMER,))
    for at in range(100):
        start_ns = (EPOCH_MS + at * 1000) * NS
        fragment = FragmentAudio(start_ns, start_ns + 1000 * NS, {})
        assert timeline.place(fragment, SERVER_MS + at * 1000) == {CUSTOMER: []}
    assert timeline.finish() == {CUSTOMER: []}


@pytest.mark.parametrize(
    ("customer_ms", "agent_ms", "expected"),
    [
        ((0,), (50,), [(CUSTOMER, 0), (AGENT, 50)]),
        ((50,), (0,), [(AGENT, 0), (CUSTOMER, 50)]),
        ((0, 100), (50, 150), [(CUSTOMER, 0), (AGENT, 50), (CUSTOMER, 100), (AGENT, 150)]),
        ((100, 0), (50, 150), [(AGENT, 50), (CUSTOMER, 100), (CUSTOMER, 0), (AGENT, 150)]),
        ((100, 0), (), [(CUSTOMER, 100), (CUSTOMER, 0)]),
    ],
)
def test_spans_of_both_tracks_come_by_time_and_those_of_one_in_their_order(
    customer_ms: Sequence[int],
    agent_ms: Sequence[int],
    expected: list[tuple[Direction, int]],
) -> None:
    spans = {
        track: [Span(start_ms * NS, b"") for start_ms in starts_ms]
        for track, starts_ms in ((CUSTOMER, customer_ms), (AGENT, agent_ms))
    }
    ordered = _in_order(FragmentAudio(0, 1, spans), BOTH)
    assert [(track, span.start_ns // NS) for track, span in ordered] == expected


@pytest.mark.parametrize(
    ("moment", "is_of_the_day"),
    [
        ("2014-12-31T23:59:59.999999Z", False),
        ("2015-01-01T00:00:00.000000Z", True),
        ("2100-01-01T00:00:00.000999Z", True),
        ("2100-01-01T00:00:00.001000Z", False),
    ],
)
def test_a_clock_of_this_century_counts_from_the_epoch(moment: str, is_of_the_day: bool) -> None:
    since = datetime.fromisoformat(moment) - datetime.fromisoformat("1970-01-01T00:00:00Z")
    assert _is_of_the_day(since // timedelta(microseconds=1) * 1000) is is_of_the_day
