"""`python -m bench.latency`: how soon a recording is there, by a model of the services; arithmetic.

Simulated are the services' delays, with a fixed seed; the schedule is the deployed one, the retry
policy and the queue's delay from template.yaml. Prints the same on every
machine, and takes a few seconds.
"""

import argparse
import math
import random
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Final

from bench.load.model import percentile
from bench.load.report import write_blocks
from bench.load.settings import read_settings
from bench.report import Table
from call_archive.retry import POLICY, RetryPolicy, first_delay_s

_NORMAL: Final = NormalDist()
SAMPLES: Final = 50_000
SEED: Final = 1
RUN_S: Final = 0.6
"""Assumed: a warm run, from the message to the manifest, of a call of some minutes."""
POLL_S: Final = 0.3
"""Assumed: from a message's visibility to the function."""
FRAGMENTS: Final = 20
"""The last fragments of a call, of a second each: an earlier one is listed long before the stop."""
STOP_KEYS_LAG_S: Final = 3.0
CALL_S: Final = 300
TEN_A_SECOND: Final = 10

type Quantiles = tuple[tuple[float, float], ...]

LISTED_S: Final[Quantiles] = ((0.5, 1), (0.99, 5), (0.9999, 30))
"""Share of all fragments → listed so long after their end."""
FILLED_S: Final[Quantiles] = ((0.5, 2), (0.99, 60))
"""Share of all contacts → Recordings filled so long after their end."""

BEFORE: Final = RetryPolicy(delays_s=(5, 10, 20, 40, 80, 160, 300))
BEFORE_DELAY_S: Final = 10


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a message is delivered."""

    name: str
    queue_delay_s: int
    first_delay_s: Callable[[float], float]
    policy: RetryPolicy

    def delay_s(self, receives: int) -> float:
        """After a run that missed a fragment, or found no recording."""
        return self.policy.delay_s(receives, retryable=True) or math.inf


@dataclass(frozen=True, slots=True)
class Archived:
    """One call: seconds until its manifest, and what that took."""

    seconds: float
    runs: int
    looks: int = 0


@cache
def _deviates(quantiles: Quantiles) -> Sequence[tuple[float, float]]:
    return [(_NORMAL.inv_cdf(share), math.log(delay_s)) for share, delay_s in quantiles]


def draw(quantiles: Quantiles, generator: random.Random) -> float:
    """A delay whose logarithm is straight between quantiles, over their normal deviates."""
    points = _deviates(quantiles)
    deviate = generator.gauss(0, 1)
    at = max(1, min(bisect([x for x, _ in points], deviate), len(points) - 1))
    (from_x, from_y), (to_x, to_y) = points[at - 1 : at + 1]
    return math.exp(from_y + (deviate - from_x) / (to_x - from_x) * (to_y - from_y))


def _listed_s(generator: random.Random) -> float:
    """When, after the stop, the last of a call's fragments is listed."""
    return max(draw(LISTED_S, generator) - age_s for age_s in range(FRAGMENTS))


def archive_stopped(schedule: Schedule, generator: random.Random) -> Archived:
    """A job with the stop number: the flow queues it as soon as it sees the Stop keys."""
    listed_s = _listed_s(generator)
    seen_s = generator.uniform(0, STOP_KEYS_LAG_S)
    at_s = seen_s + schedule.first_delay_s(seen_s) + POLL_S
    runs = 1
    while at_s < listed_s:
        at_s += schedule.delay_s(runs) + POLL_S
        runs += 1
    return Archived(at_s + RUN_S, runs)


def archive_hung_up(schedule: Schedule, generator: random.Random) -> Archived:
    """A contact event of a call that was streamed; seconds since Recordings is filled."""
    filled_s, listed_s = draw(FILLED_S, generator), _listed_s(generator)
    at_s = schedule.queue_delay_s + POLL_S
    runs = 1
    while at_s < filled_s:
        at_s += schedule.delay_s(runs) + POLL_S
        runs += 1
    looks = runs
    while at_s < listed_s:
        at_s += schedule.delay_s(runs) + POLL_S
        runs, looks = runs + 1, looks + 1
    return Archived(at_s + RUN_S - filled_s, runs, looks)


def schedules() -> tuple[Schedule, Schedule]:
    """The one before this model, and the deployed one."""
    before = Schedule(
        "before",
        BEFORE_DELAY_S,
        lambda _: BEFORE_DELAY_S,
        BEFORE,
    )
    deployed = Schedule(
        "deployed",
        read_settings().queue_delay_s,
        lambda seen_s: first_delay_s(0, round(seen_s * 1000)),
        POLICY,
    )
    return before, deployed


def measure(
    archive: Callable[[Schedule, random.Random], Archived], schedule: Schedule
) -> list[Archived]:
    """Many calls of one kind, the same ones for every schedule."""
    generator = random.Random(SEED)  # noqa: S311 - a simulation
    return [archive(schedule, generator) for _ in range(SAMPLES)]


def render() -> str:
    """Both tables."""
    rows, looks = [], []
    for name, archive in (("stop number", archive_stopped), ("hang-up", archive_hung_up)):
        for schedule in schedules():
            calls = measure(archive, schedule)
            seconds = [call.seconds for call in calls]
            share = [percentile(seconds, at) for at in (50, 95, 99, 99.9)]
            runs = sum(call.runs for call in calls) / SAMPLES
            rows.append(
                (f"{name}, {schedule.name}", *(f"{value:.1f}" for value in share), f"{runs:.2f}")
            )
            if archive is archive_hung_up:
                a_call = sum(call.looks for call in calls) / SAMPLES
                for concurrent in (1_000, 10_000):
                    a_second = a_call * concurrent / CALL_S
                    over = a_second / TEN_A_SECOND
                    looks.append(
                        (
                            f"{concurrent:,} calls, {schedule.name}",
                            f"{a_call:.2f}",
                            f"{1_000 * a_call:,.0f}",
                            f"{a_second:.1f}",
                            f"{over:.0%}",
                        )
                    )
    delays = Table(("calls", "median s", "95 %", "99 %", "99.9 %", "runs a message"), rows)
    asked = Table(
        ("at once", "DescribeContact a call", "a 1,000 calls", "a second", "of the quota"), looks
    )
    return f"{delays.render()}\n\n{asked.render()}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables; writes them into a document."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--write", type=Path, help="docs/capacity.md")
    options = parser.parse_args(arguments)
    tables = render()
    print(tables)
    if options.write is not None:
        document = options.write.read_text("utf-8")
        options.write.write_text(write_blocks(document, {"latency": tables}, "make latency"))


if __name__ == "__main__":
    main()
