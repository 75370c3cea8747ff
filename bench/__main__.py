"""`python -m bench`: measures everything, or with `--quick` the main ratios; prints, may write."""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.archive_function import measure_archive_function
from bench.bodies import HALF_DAY_S, HOUR_S, MINUTE_S
from bench.cold_start import measure_cold_starts
from bench.conversion import KVSPARSER, check_tools, measure_conversion
from bench.cost import estimate_cost
from bench.machine import describe_machine
from bench.measure import WORK, Launcher
from bench.page import measure_page
from bench.quiet import find_noise, find_spread, measure_yardstick
from bench.report import Section, render_verdicts
from bench.shape import measure_shape

FULL_ROUNDS = 7
QUICK_ROUNDS = 3
QUICK_BODY_S = HOUR_S // 2

_HEAD = """\
# Benchmarks

Written by `make bench`; do not edit. Processes are measured whole, from exec to their end, by \
`wait4`: wall time, CPU time (user and system) and peak resident memory. All processes of a table \
run in turn, {rounds} times, after a round that is not counted. A figure is the median with \
(lowest–highest); a ratio is the median of the rounds' ratios, each taken within one round, \
because a shared machine drifts. A target with a wall and a CPU figure is met when both meet it. \
Peaks below 10 MiB cannot be seen: that is the process that starts the others.

The inputs come from `local/encoder.py` with a fixed seed, in the layout that Amazon Connect \
sends; nothing here ran against AWS."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmarks."""
    options = _build_parser().parse_args(arguments)
    try:
        check_tools()
    except FileNotFoundError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    # Bytecode is kept, as it is in a deployment package, whatever the user's shell prefers.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    noise = find_noise()
    if noise:
        print(f"BUSY MACHINE, no figure below is to be trusted: {noise}\n", flush=True)
    machine = describe_machine().render()
    print(machine, flush=True)
    sections = []
    with Launcher() as launcher:
        steps = _quick_steps(launcher) if options.quick else _steps(launcher, options.rounds)
        for section in steps:
            print(f"\n{section.render()}", flush=True)
            sections.append(section)
    shutil.rmtree(WORK / "out", ignore_errors=True)
    noise = noise or find_spread(measure_yardstick())
    if options.write is not None and noise:
        print(f"bench: {options.write} is not written: {noise}", file=sys.stderr)
        return 1
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(_render(machine, sections, options.rounds))
        print(f"\nwritten: {options.write}")
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main ratios, in a minute")
    parser.add_argument("--rounds", type=int, default=FULL_ROUNDS, help="of the full run")
    parser.add_argument("--write", type=Path, help="file for the report")
    return parser


def _steps(launcher: Launcher, rounds: int) -> Iterator[Section]:
    yield measure_conversion(launcher, rounds, seconds=HOUR_S)
    yield measure_shape(launcher, rounds)
    results = measure_archive_function(
        rounds,
        paced_rounds=rounds,
        lengths={"1 minute": MINUTE_S, "1 hour": HOUR_S, "12 hours": HALF_DAY_S},
    )
    yield results.speed
    yield results.memory
    yield measure_cold_starts(launcher, rounds)
    yield estimate_cost(results.five_minutes)
    yield measure_page(launcher, rounds)


def _quick_steps(launcher: Launcher) -> Iterator[Section]:
    """Without kvsparser, other shapes and 12 hours: they take minutes."""
    yield measure_conversion(
        launcher, QUICK_ROUNDS, seconds=QUICK_BODY_S, without=frozenset((KVSPARSER,))
    )
    yield measure_cold_starts(launcher, QUICK_ROUNDS)
    results = measure_archive_function(
        1, paced_rounds=1, lengths={"1 minute": MINUTE_S, "1 hour": HOUR_S}
    )
    yield results.speed
    yield results.memory


def _render(machine: str, sections: Sequence[Section], rounds: int) -> str:
    verdicts = [verdict for section in sections for verdict in section.verdicts]
    met = sum(verdict.is_met for verdict in verdicts)
    parts = [
        _HEAD.format(rounds=rounds),
        machine,
        f"## Targets\n\n{met} of {len(verdicts)} are met.\n\n{render_verdicts(verdicts)}",
        *(section.render() for section in sections),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
