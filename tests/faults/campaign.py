"""`python -m tests.faults.campaign --calls N --seed S [--workers W]`: random calls, random faults.

Each call has its own seed and depends on nothing else; the table says what was done and what
must never have happened. Exits with 1 where it has, and prints the seeds: `--only SEED` repeats one
call and shows what became of it.
"""

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.check import WRONGS, Verdict, judge
from tests.faults.drive import Stage, open_stage
from tests.faults.plan import KINDS, NEVER_STREAMED, NO_FAULT, Plan, build_plan

RESULTS: Final = ("complete", "incomplete", "told", "not streamed")


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one seed."""

    seed: int
    kinds: tuple[str, ...]
    messages: int
    invocations: int
    verdict: Verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the campaign and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1, help="of the campaign")
    parser.add_argument("--workers", type=int, default=8 * (os.cpu_count() or 1))
    parser.add_argument("--only", type=int, help="the seed of one call")
    options = parser.parse_args(arguments)
    if options.only is not None:
        return show(options.only)
    began = time.monotonic()
    played = []
    for call in run(seeds_of(options.seed, options.calls), options.workers):
        played.append(call)
        if len(played) % 100 == 0 or call.verdict.wrongs:
            print(f"{len(played)} calls", *_failures([call]), file=sys.stderr, flush=True)
    print(describe(played))
    print(f"\nseed {options.seed}, {time.monotonic() - began:.0f} s, {options.workers} workers")
    return any(call.verdict.wrongs for call in played)


def seeds_of(seed: int, calls: int) -> list[int]:
    """The seeds of a campaign's calls."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return [chance.randrange(1 << 28) for _ in range(calls)]


def run(seeds: Sequence[int], workers: int) -> Iterator[Played]:
    """Plays every seed, in any order."""
    workers = min(workers, len(seeds))
    # Spawned: a forked child would have this process's threads' locks, and not the threads.
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="campaign-") as logs,
        context.Pool(workers, _open, (logs,)) as pool,
    ):
        yield from pool.imap_unordered(_play, seeds)
        pool.close()
        pool.join()


_running = ExitStack()
_stage: Stage


def _open(logs: str) -> None:
    """Opens the stage of a worker process; its functions end with it."""
    global _stage  # noqa: PLW0603 - a worker's own, made once
    own = Path(logs, str(os.getpid()))
    own.mkdir()
    _stage = _running.enter_context(open_stage(own))


def _play(seed: int) -> Played:
    return play(_stage, seed)


def play(stage: Stage, seed: int) -> Played:
    """Plays one seed."""
    plan = build_plan(seed, time.time_ns() // 1_000_000)
    outcome = stage.play(plan)
    kinds = plan.kinds or (NO_FAULT,)
    return Played(seed, kinds, len(plan.triggers), outcome.invocations, judge(plan, outcome))


def describe(played: Sequence[Played]) -> str:
    """The tables."""
    return "\n".join((*_faults(played), "", *_totals(played), *_failures(played)))


def _faults(played: Iterable[Played]) -> Iterator[str]:
    counts: Counter[tuple[str, str]] = Counter()
    for call in played:
        for kind in call.kinds:
            counts[kind, call.verdict.result] += 1
            counts[kind, "calls"] += 1
    columns = ("calls", *RESULTS)
    yield f"{'fault':36}" + "".join(f"{column:>14}" for column in columns)
    for kind in (NO_FAULT, *KINDS, NEVER_STREAMED):
        yield f"{kind:36}" + "".join(f"{counts[kind, column]:14}" for column in columns)


def _totals(played: Sequence[Played]) -> Iterator[str]:
    results = Counter(call.verdict.result for call in played)
    yield f"{'calls driven':36}{len(played):14}"
    yield f"{'messages sent':36}{sum(call.messages for call in played):14}"
    yield f"{'runs of ArchiveFunction':36}{sum(call.invocations for call in played):14}"
    for result in RESULTS:
        yield f"{result:36}{results[result]:14}"
    wrongs = Counter(wrong for call in played for wrong, _ in call.verdict.wrongs)
    yield "must be zero:"
    for wrong in WRONGS:
        yield f"  {wrong:34}{wrongs[wrong]:14}"


def _failures(played: Iterable[Played]) -> Iterator[str]:
    for call in played:
        for wrong, how in call.verdict.wrongs:
            yield f"--only {call.seed}: {wrong}: {how} ({', '.join(call.kinds)})"


def show(seed: int) -> int:
    """Plays one seed and prints everything that explains it."""
    plan = build_plan(seed, time.time_ns() // 1_000_000)
    with tempfile.TemporaryDirectory(prefix="campaign-") as logs, open_stage(Path(logs)) as stage:
        outcome = stage.play(plan)
        _explain(plan)
        for key, content in outcome.objects.items():
            print(key, len(content), content.decode() if key.endswith(".json") else "")
        for body, attributes in outcome.failed:
            print("failed:", attributes, "" if "reason" in attributes else body)
        for log in sorted(Path(logs).glob("archive-*.log")):
            print(log.read_text(), end="")
    verdict = judge(plan, outcome)
    print(verdict)
    return bool(verdict.wrongs)


def _explain(plan: Plan) -> None:
    print(plan.kinds, plan.triggers, plan.tracks)
    print(plan.delivery)
    print(plan.behaviour)
    print("fragments:", len(plan.call.fragments), "of", len(plan.customer) / 16_000, "s")


if __name__ == "__main__":
    sys.exit(main())
