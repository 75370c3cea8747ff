"""What the cost depends on: size of blocks, length of fragments, length of the call."""

from pathlib import Path
from typing import Final

from bench.bodies import HALF_DAY_S, HOUR_S, MINUTE_S, BodySpec, make_body
from bench.conversion import build_convert_command
from bench.measure import WORK, Case, Launcher, Rounds, Spread, cpu, run_rounds, spread, wall
from bench.report import Section, Table, Verdict, at_most
from bench.verify import WAV_HEADER_BYTES, verify_mono

REFERENCE: Final = "1,024-byte blocks, 1 s fragments"
SMALL_BLOCKS: Final = "320-byte blocks"
LONG_FRAGMENTS: Final = "5 s fragments"
START: Final = "2 seconds (start-up)"
START_S: Final = 2
"""A whole fragment and a shorter one: the two shapes that every call has."""
MINUTE: Final = "1 minute"
HOUR: Final = "1 hour"
HALF_DAY: Final = "12 hours"
LENGTHS: Final = {MINUTE: MINUTE_S, HOUR: HOUR_S, HALF_DAY: HALF_DAY_S}
SHORT_TURNS: Final = 40
"""A minute takes a few milliseconds more than two seconds: both are the median of many."""

TURNS: Final = {MINUTE: SHORT_TURNS, HOUR: 8}
MOST_MS_OF_A_MINUTE: Final = 5
MOST_GROWTH: Final = 1.1

_TEXT = """\
`python -m bench.convert --tracks customer` on bodies of other shapes. The length of the call: CPU \
above start-up is CPU less that of a call of two seconds in the same round, in which the \
interpreter, the imports and the first fragment of each shape are. In each round the two seconds \
and the minute take {short} turns and the hour {hour}, of which the median counts."""


def measure_shape(launcher: Launcher, rounds: int) -> Section:
    """Measures both series; makes the 12-hour body and removes it."""
    shapes = run_rounds(
        launcher,
        [
            _build_case(REFERENCE, make_body(BodySpec(seconds=HOUR_S))),
            _build_case(
                SMALL_BLOCKS, make_body(BodySpec(seconds=HOUR_S, fragment_ms=1020, block_bytes=320))
            ),
            _build_case(LONG_FRAGMENTS, make_body(BodySpec(seconds=HOUR_S, fragment_ms=5000))),
        ],
        rounds,
    )
    lengths = _measure_lengths(launcher, rounds)
    _check_outputs()
    return Section(
        title="Shape of the body",
        text=_TEXT.format(short=SHORT_TURNS, hour=TURNS[HOUR]),
        tables=[_tabulate_shapes(shapes), _tabulate_lengths(lengths)],
        verdicts=_judge(shapes, lengths),
    )


def _measure_lengths(launcher: Launcher, rounds: int) -> Rounds:
    longest = BodySpec(seconds=HALF_DAY_S)
    cases = [_build_case(START, make_body(BodySpec(seconds=START_S)), SHORT_TURNS)]
    try:
        for name, seconds in LENGTHS.items():
            body = make_body(BodySpec(seconds=seconds))
            cases.append(_build_case(name, body, TURNS.get(name, 1)))
        return run_rounds(launcher, cases, rounds)
    finally:
        longest.path.unlink(missing_ok=True)


def _build_case(name: str, body: Path, turns: int = 1) -> Case:
    output = _output(name)
    output.parent.mkdir(parents=True, exist_ok=True)
    return Case(name=name, command=build_convert_command(body, output), output=output, turns=turns)


def _output(name: str) -> Path:
    return WORK / "out" / f"{name.replace(' ', '-')}.wav"


def _check_outputs() -> None:
    """Raises where a conversion was not exact; removes them all."""
    seconds_of = {
        REFERENCE: HOUR_S,
        SMALL_BLOCKS: HOUR_S,
        LONG_FRAGMENTS: HOUR_S,
        START: START_S,
    }
    for name, seconds in (seconds_of | LENGTHS).items():
        verdict = verify_mono(_output(name), seconds, header_bytes=WAV_HEADER_BYTES)
        if verdict != "exact":
            raise RuntimeError(f"{name}: {verdict}")
        _output(name).unlink()


def _above_start_s(lengths: Rounds, name: str) -> list[float]:
    """CPU seconds without those of a call of two seconds, by round."""
    pairs = zip(lengths.samples[name], lengths.samples[START], strict=True)
    return [sample.cpu_s - start.cpu_s for sample, start in pairs]


def _growth(lengths: Rounds) -> Spread:
    """How many times an hour's CPU an hour of twelve takes."""
    hours = LENGTHS[HALF_DAY] / LENGTHS[HOUR]
    pairs = zip(_above_start_s(lengths, HALF_DAY), _above_start_s(lengths, HOUR), strict=True)
    return spread(twelve / hours / one for twelve, one in pairs)


def _tabulate_shapes(shapes: Rounds) -> Table:
    rows = [
        (
            name,
            shapes.spread(name, wall).show(),
            shapes.spread(name, cpu).show(),
            shapes.ratio(name, REFERENCE, wall).show(),
            shapes.ratio(name, REFERENCE, cpu).show(),
        )
        for name in shapes.samples
    ]
    return Table(("1 hour", "wall s", "CPU s", "wall ×", "CPU ×"), rows)


def _tabulate_lengths(lengths: Rounds) -> Table:
    rows = [
        (
            name,
            lengths.spread(name, wall).show(3),
            lengths.spread(name, cpu).show(3),
            *(_show_above_start(lengths, name) if name in LENGTHS else ("", "")),
        )
        for name in lengths.samples
    ]
    columns = ("length of the call", "wall s", "CPU s", "above start-up, ms", "ms a minute of call")
    return Table(columns, rows)


def _show_above_start(lengths: Rounds, name: str) -> tuple[str, str]:
    above_ms = [1000 * above_s for above_s in _above_start_s(lengths, name)]
    minutes = LENGTHS[name] / MINUTE_S
    return spread(above_ms).show(1), spread(ms / minutes for ms in above_ms).show()


def _judge(shapes: Rounds, lengths: Rounds) -> list[Verdict]:
    def ratios(name: str) -> list[tuple[str, float]]:
        return [
            ("wall", shapes.ratio(name, REFERENCE, wall).median),
            ("CPU", shapes.ratio(name, REFERENCE, cpu).median),
        ]

    return [
        at_most("320-byte blocks ≤ 1.6 × 1,024-byte blocks", ratios(SMALL_BLOCKS), 1.6),
        at_most("5 s fragments ≤ 1.0 × 1 s fragments", ratios(LONG_FRAGMENTS), 1.0),
        at_most(
            f"a minute ≤ {MOST_MS_OF_A_MINUTE} ms of CPU above start-up",
            [("ms", 1000 * spread(_above_start_s(lengths, MINUTE)).median)],
            MOST_MS_OF_A_MINUTE,
        ),
        at_most(
            f"an hour of twelve ≤ {MOST_GROWTH} × an hour",
            [("CPU", _growth(lengths).median)],
            MOST_GROWTH,
        ),
    ]
