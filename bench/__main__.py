"""`python -m bench`: measures everything, or with `--quick` the main ratios; prints, may write."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from bench.archive_function import ArchiveFunctionResults, measure_archive_function
from bench.bill import measure_call
from bench.bodies import HALF_DAY_S, HOUR_S, MINUTE_S
from bench.cold_start import measure_boto3, measure_cold_starts
from bench.conversion import KVSPARSER, check_tools, measure_conversion
from bench.cost import estimate_cost
from bench.machine import describe_machine
from bench.measure import WORK, Launcher
from bench.page import measure_page
from bench.quiet import find_noise, find_spread, measure_yardstick
from bench.report import Section, render_verdicts
from bench.shape import measure_shape
from bench.soon import measure_soon
from bench.tool import measure_tool

FULL_ROUNDS = 7
QUICK_ROUNDS = 3
QUICK_BODY_S = HOUR_S // 2
CALLS = (100, 50)
"""In real time: how many, and within how many seconds they end."""
QUICK_CALLS = (10, 10)

SECTIONS = (
    "latency",
    "cost",
    "conversion",
    "shape",
    "function",
    "memory",
    "starts",
    "tool",
    "page",
)
"""What users pay attention to first."""
QUICK_SECTIONS = ("conversion", "starts", "function", "memory")
"""Without what takes minutes."""

_HEAD = """\
# Benchmarks

Written by `make bench`; do not edit. Processes are measured whole, from exec to their end, by \
`wait4`: wall time, CPU time (user and system) and peak resident memory. All processes of a table \
run in turn, {rounds} times, after a round that is not counted. A figure is the median with \
(lowest–highest); a ratio is the median of the rounds' ratios, each taken within one round, \
because a shared machine drifts. A target with a wall and a CPU figure is met when both meet it. \
Peaks below 10 MiB cannot be seen: that is the process that starts the others.

The inputs come from `local/encoder.py` with a fixed seed, in the layout that Amazon Connect \
sends; nothing here ran against AWS. `python -m bench --only {first}` repeats the first section; \
the others are, in this order, {others}."""


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
        run = _Run(launcher, options)
        for name in options.only or (QUICK_SECTIONS if options.quick else SECTIONS):
            section = run.measure(name)
            print(f"\n{section.render()}", flush=True)
            sections.append(section)
    shutil.rmtree(WORK / "out", ignore_errors=True)
    noise = noise or find_spread(measure_yardstick())
    if options.write is not None and options.only:
        print(f"bench: {options.write} is not written: it holds all sections", file=sys.stderr)
        return 1
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
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="these sections, no others")
    parser.add_argument("--rounds", type=int, default=FULL_ROUNDS, help="of the full run")
    parser.add_argument("--write", type=Path, help="file for the report")
    return parser


class _Run:
    """The sections of a run; what several need is measured once."""

    def __init__(self, launcher: Launcher, options: argparse.Namespace) -> None:
        self._launcher = launcher
        self._is_quick: bool = options.quick
        self._rounds: int = QUICK_ROUNDS if options.quick else options.rounds

    def measure(self, name: str) -> Section:
        """Measures one section."""
        launcher, rounds = self._launcher, self._rounds
        sections: Mapping[str, Callable[[], Section]] = {
            "latency": lambda: measure_soon(*(QUICK_CALLS if self._is_quick else CALLS)),
            "cost": lambda: estimate_cost(self._function.five_minutes, measure_call()),
            "conversion": self._measure_conversion,
            "shape": lambda: measure_shape(launcher, rounds),
            "function": lambda: self._function.speed,
            "memory": lambda: self._function.memory,
            "starts": lambda: measure_cold_starts(launcher, rounds),
            "tool": lambda: measure_tool(rounds),
            "page": lambda: measure_page(launcher, rounds),
        }
        return sections[name]()

    def _measure_conversion(self) -> Section:
        if not self._is_quick:
            return measure_conversion(self._launcher, self._rounds, seconds=HOUR_S)
        without = frozenset((KVSPARSER,))
        return measure_conversion(
            self._launcher, self._rounds, seconds=QUICK_BODY_S, without=without
        )

    @cached_property
    def _function(self) -> ArchiveFunctionResults:
        rounds = 1 if self._is_quick else self._rounds
        lengths = {"1 minute": MINUTE_S, "1 hour": HOUR_S}
        return measure_archive_function(
            rounds,
            paced_rounds=rounds,
            lengths=lengths if self._is_quick else {**lengths, "12 hours": HALF_DAY_S},
            boto3_cpu_s=measure_boto3(self._launcher, self._rounds),
        )


def _render(machine: str, sections: Sequence[Section], rounds: int) -> str:
    verdicts = [verdict for section in sections for verdict in section.verdicts]
    met = sum(verdict.is_met for verdict in verdicts)
    parts = [
        _HEAD.format(rounds=rounds, first=SECTIONS[0], others=_list(SECTIONS[1:])),
        machine,
        f"## Targets\n\n{met} of {len(verdicts)} are met.\n\n{render_verdicts(verdicts)}",
        *(section.render() for section in sections),
    ]
    return "\n\n".join(parts) + "\n"


def _list(names: Sequence[str]) -> str:
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} and {last}"


if __name__ == "__main__":
    sys.exit(main())
