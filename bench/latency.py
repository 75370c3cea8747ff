"""`python -m bench.latency`: how soon a recording is there, by a model of the services; arithmetic.

Simulated are the services' delays, with a fixed seed; the schedule is the deployed one, the retry
policy and the queue's delay from template.yaml. Prints the same on every
machine, and takes a few seconds.
"""

import argparse
import math
import random
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Final

from bench.load.model import DESCRIBE_CONTACT_PER_S, percentile
from bench.load.report import write_blocks
from bench.load.settings import read_settings
from bench.prices import price
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
RUN_GB: Final = 256 / 1024
READS_A_RUN: Final = 5
"""GET and HEAD requests: docs/costs.md counts 10 in two runs."""

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


def _kinds() -> Iterator[tuple[str, list[Archived]]]:
    """Both kinds of calls under both schedules, by name."""
    for name, archive in (("stop number", archive_stopped), ("hang-up", archive_hung_up)):
        for schedule in schedules():
            yield f"{name}, {schedule.name}", measure(archive, schedule)


def tabulate() -> Table:
    """How soon each kind of call is archived under each schedule."""
    return _tabulate_delays(dict(_kinds()))


def _tabulate_delays(kinds: Mapping[str, Sequence[Archived]]) -> Table:
    rows = []
    for name, calls in kinds.items():
        seconds = [call.seconds for call in calls]
        shares = (percentile(seconds, at) for at in (50, 95, 99, 99.9))
        rows.append((name, *(f"{share:.1f}" for share in shares), f"{_mean_runs(calls):.2f}"))
    return Table(("calls", "median s", "95 %", "99 %", "99.9 %", "runs a message"), rows)


def _tabulate_requests(kinds: Mapping[str, Sequence[Archived]]) -> Table:
    rows = []
    for name, calls in kinds.items():
        runs, looks = _mean_runs(calls), fmean(call.looks for call in calls)
        # A message is sent and deleted once; each run receives it, and hides it unless it is done.
        sqs = 2 * runs + 1
        usd = (
            runs * (price("invoke") + RUN_S * RUN_GB * price("lambda"))
            + sqs * price("sqs")
            + runs * READS_A_RUN * price("get")
        )
        rows.append(
            (
                name,
                *(f"{1000 * count:,.0f}" for count in (runs, sqs, runs * READS_A_RUN, looks)),
                f"{1000 * usd:.4f}",
            )
        )
    columns = ("1,000 calls", "runs", "SQS requests", "S3 reads", "DescribeContact", "USD")
    return Table(columns, rows)


def _tabulate_looks(kinds: Mapping[str, Sequence[Archived]]) -> Table:
    rows = []
    for name, calls in kinds.items():
        looks = fmean(call.looks for call in calls)
        for concurrent in (1_000, 10_000) if looks else ():
            a_second = looks * concurrent / CALL_S
            rows.append(
                (
                    f"{concurrent:,}, {name}",
                    f"{looks:.2f}",
                    f"{a_second:.1f}",
                    f"{a_second / DESCRIBE_CONTACT_PER_S:.0%}",
                )
            )
    columns = ("concurrent calls", "DescribeContact a call", "a second", "of the quota")
    return Table(columns, rows)


def _mean_runs(calls: Sequence[Archived]) -> float:
    return fmean(call.runs for call in calls)


def render() -> str:
    """How soon, with how many requests and dollars, and what of DescribeContact's quota."""
    kinds = dict(_kinds())
    tables = (_tabulate_delays(kinds), _tabulate_requests(kinds), _tabulate_looks(kinds))
    return "\n\n".join(table.render() for table in tables)


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
