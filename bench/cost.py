"""Dollars for 1,000 calls: the whole bill, and ArchiveFunction by memory setting; arithmetic.

CPU seconds and requests are measured; prices (`bench.prices`) and round trips are assumptions.
"""

from dataclasses import dataclass
from typing import Final

from bench.archive_function import QUOTA_BYTES_PER_S, QUOTA_FRAGMENTS_PER_S, CallCost
from bench.bill import MINUTES, Usage, build_items, build_monthly, build_standing
from bench.prices import PRICES_OF, price
from bench.report import Section, Table

MEMORY_MB: Final = (128, 256, 512, 1024, 1769)
MB_OF_A_VCPU: Final = 1769
"""Lambda gives CPU in proportion to memory, one vCPU at 1,769 MB (Lambda developer guide)."""

ROUND_TRIP_S: Final = 0.03
"""Assumed for each HTTP request to KVS and S3 in the same region."""

CALLS: Final = 1000

_TEXT = """\
{calls:,} calls of {minutes} minutes, by list prices ({prices_of}): [costs.md](costs.md) has every \
line and what is not in it. Requests, bytes and log lines are counted on the local AWS."""

_MEMORY_TEXT = """\
ArchiveFunction by its memory setting, an estimate: one invocation a call ({fragments} fragments, \
{megabytes:.1f} MB), warm. CPU is {cpu:.3f} s on this machine (measured, the process of the \
section about ArchiveFunction), divided by the share of a vCPU that the setting buys, memory / \
{mb_of_a_vcpu} MB. The network's floor is max({fragments} fragments / {fragments_per_s} a second, \
{megabytes:.1f} MB / 25 MB/s) = {floor:.2f} s; CPU and network overlap, so the longer of the two \
counts. {requests} HTTP requests (counted) × {round_trip_ms:.0f} ms (assumed) come on top: \
{waits:.2f} s. A setting has to hold the peak memory below, and Lambda's own runtime beside it."""


@dataclass(frozen=True, slots=True)
class _Estimate:
    duration_s: float
    usd_per_call: float


def estimate_cost(cost: CallCost, usage: Usage) -> Section:
    """The bill's totals, and ArchiveFunction for each memory setting."""
    call = cost.call
    totals = {
        f"{CALLS:,} calls, once": build_items(usage),
        "the same calls, each month that they are kept": build_monthly(usage),
        "the stack, each month, without a call": build_standing(),
    }
    memory_text = _MEMORY_TEXT.format(
        fragments=call.fragments,
        megabytes=call.size_bytes / 1e6,
        cpu=cost.cpu_s,
        mb_of_a_vcpu=MB_OF_A_VCPU,
        fragments_per_s=QUOTA_FRAGMENTS_PER_S,
        floor=_floor_s(cost),
        requests=cost.requests,
        round_trip_ms=ROUND_TRIP_S * 1000,
        waits=_waits_s(cost),
    )
    return Section(
        title="Dollars for 1,000 calls",
        text=_TEXT.format(calls=CALLS, minutes=MINUTES, prices_of=PRICES_OF),
        tables=[
            Table(
                ("what", "USD"),
                [
                    (name, f"{sum(item.usd for item in items):.2f}")
                    for name, items in totals.items()
                ],
            )
        ],
        notes=f"{memory_text}\n\n{_tabulate_memory(cost).render()}",
    )


def _tabulate_memory(cost: CallCost) -> Table:
    columns = ("memory", "share of a vCPU", "CPU / share, s", "duration s", "GB-seconds")
    rows = []
    for memory_mb in MEMORY_MB:
        estimate = _estimate(cost, memory_mb)
        share = memory_mb / MB_OF_A_VCPU
        rows.append(
            (
                f"{memory_mb} MB",
                f"{share:.3f}",
                f"{cost.cpu_s / share:.2f}",
                f"{estimate.duration_s:.2f}",
                f"{estimate.duration_s * memory_mb / 1024:.3f}",
                f"{estimate.usd_per_call * CALLS:.4f}",
            )
        )
    return Table((*columns, f"USD per {CALLS:,} calls"), rows)


def estimate_duration_s(cost: CallCost, memory_mb: int) -> float:
    """How long one invocation takes on Lambda, warm."""
    return max(_floor_s(cost), cost.cpu_s * MB_OF_A_VCPU / memory_mb) + _waits_s(cost)


def _estimate(cost: CallCost, memory_mb: int) -> _Estimate:
    duration_s = estimate_duration_s(cost, memory_mb)
    usd = duration_s * memory_mb / 1024 * price("lambda") + price("invoke")
    return _Estimate(duration_s, usd)


def _floor_s(cost: CallCost) -> float:
    call = cost.call
    return max(call.fragments / QUOTA_FRAGMENTS_PER_S, call.size_bytes / QUOTA_BYTES_PER_S)


def _waits_s(cost: CallCost) -> float:
    return cost.requests * ROUND_TRIP_S
