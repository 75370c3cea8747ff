"""2. What the cost depends on: size of blocks, length of fragments, length of the call."""

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
LENGTHS: Final = {"1 minute": MINUTE_S, "1 hour": HOUR_S, "12 hours": HALF_DAY_S}
HOUR: Final = "1 hour"
SHORT_TURNS: Final = 40
"""A minute takes a millisecond more than two seconds: both are the median of many."""

TURNS: Final = {"1 minute": SHORT_TURNS, "1 hour": 8}

_TEXT = """\
`python -m bench.convert --tracks customer` on bodies of other shapes. The length of the call: CPU \
seconds less those of a call of two seconds in the same round, for each hour of call more, and its \
ratio to the 1-hour call's. Start-up is the interpreter, the imports, and the first fragment of \
each shape, which ebmlite decodes in 2 to 3 ms; a fragment like one before takes 20 µs. In each \
round the two seconds and the minute take {short} turns and the hour {hour}, of which the median \
counts; what a minute costs is a millisecond."""


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
        title="2. Shape of the body",
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


def _per_hour(lengths: Rounds, name: str) -> list[float]:
    """CPU seconds an hour of call, by round, without the start-up."""
    hours = (LENGTHS[name] - START_S) / HOUR_S
    pairs = zip(lengths.samples[name], lengths.samples[START], strict=True)
    return [(sample.cpu_s - start.cpu_s) / hours for sample, start in pairs]


def _to_one_hour(lengths: Rounds, name: str) -> Spread:
    pairs = zip(_per_hour(lengths, name), _per_hour(lengths, HOUR), strict=True)
    return spread(cost / of for cost, of in pairs)


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
            spread(_per_hour(lengths, name)).show(3) if name in LENGTHS else "",
            _to_one_hour(lengths, name).show() if name in LENGTHS else "",
        )
        for name in lengths.samples
    ]
    return Table(("length of the call", "wall s", "CPU s", "CPU s an hour", "× 1 hour"), rows)


def _judge(shapes: Rounds, lengths: Rounds) -> list[Verdict]:
    def ratios(name: str) -> list[tuple[str, float]]:
        return [
            ("wall", shapes.ratio(name, REFERENCE, wall).median),
            ("CPU", shapes.ratio(name, REFERENCE, cpu).median),
        ]

    return [
        at_most("320-byte blocks ≤ 1.6 × 1,024-byte blocks", ratios(SMALL_BLOCKS), 1.6),
        at_most("5 s fragments ≤ 1.0 × 1 s fragments", ratios(LONG_FRAGMENTS), 1.0),
        _judge_linear(lengths),
    ]


def _judge_linear(lengths: Rounds) -> Verdict:
    ratios = {name: _to_one_hour(lengths, name).median for name in LENGTHS if name != HOUR}
    return Verdict(
        "CPU an hour the same within 10 %, 1 minute to 12 hours",
        ", ".join(f"{name} × {ratio:.2f}" for name, ratio in ratios.items()),
        all(abs(ratio - 1) <= 0.1 for ratio in ratios.values()),
    )
