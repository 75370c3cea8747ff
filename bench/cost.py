"""6. Measured CPU seconds → duration and price of ArchiveFunction, by memory setting: arithmetic.

Prices and round trips are assumptions; they stand here, with their date, and in the report.
"""

from dataclasses import dataclass
from typing import Final

from bench.archive_function import QUOTA_BYTES_PER_S, QUOTA_FRAGMENTS_PER_S, CallCost
from bench.report import Section, Table

MEMORY_MB: Final = (128, 256, 512, 1024, 1769)
MB_OF_A_VCPU: Final = 1769
"""Lambda gives CPU in proportion to memory, one vCPU at 1,769 MB (Lambda developer guide)."""

PRICES_OF: Final = "November 2026"
USD_PER_GB_S: Final = 0.0000166667
"""Lambda, x86, first tier."""
USD_PER_MILLION_REQUESTS: Final = 0.20

ROUND_TRIP_S: Final = 0.03
"""Assumed for each HTTP request to KVS and S3 in the same region."""

CALLS: Final = 1000

_TEXT = """\
An estimate, not a measurement: calls of {minutes} minutes ({fragments} fragments, {megabytes:.1f} \
MB), one invocation each, warm.

* CPU: {cpu:.3f} s on this machine (measured, section 3's process), divided by the share of a vCPU \
that the memory setting buys, memory / {mb_of_a_vcpu} MB.
* Network floor: max({fragments} fragments / {fragments_per_s} a second, {megabytes:.1f} MB / 25 \
MB/s) = {floor:.2f} s; CPU and network overlap, so the longer of the two counts.
* Waits: {requests} HTTP requests (counted by the local AWS) × {round_trip_ms:.0f} ms (assumed), \
one after the other = {waits:.2f} s.
* Duration = max(floor, CPU / share) + waits.
* Price: duration × memory in GB × {usd_per_gb_s:.10f} USD + {usd_per_million:.2f} USD a million \
requests (Lambda, x86, {prices_of}); SQS, S3, KVS and KMS requests not included."""


@dataclass(frozen=True, slots=True)
class _Estimate:
    duration_s: float
    usd_per_call: float


def estimate_cost(cost: CallCost) -> Section:
    """The table for each memory setting."""
    call = cost.call
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
    return Section(
        title="6. Memory setting, duration and price of ArchiveFunction",
        text=_TEXT.format(
            minutes=call.seconds // 60,
            fragments=call.fragments,
            megabytes=call.size_bytes / 1e6,
            cpu=cost.cpu_s,
            mb_of_a_vcpu=MB_OF_A_VCPU,
            fragments_per_s=QUOTA_FRAGMENTS_PER_S,
            floor=_floor_s(cost),
            requests=cost.requests,
            round_trip_ms=ROUND_TRIP_S * 1000,
            waits=_waits_s(cost),
            usd_per_gb_s=USD_PER_GB_S,
            usd_per_million=USD_PER_MILLION_REQUESTS,
            prices_of=PRICES_OF,
        ),
        tables=[
            Table(
                (
                    "memory",
                    "share of a vCPU",
                    "CPU / share, s",
                    "duration s",
                    "GB-seconds",
                    f"USD per {CALLS:,} calls",
                ),
                rows,
            )
        ],
        notes="A setting has to hold the peak of section 4 and Lambda's own runtime beside it.",
    )


def estimate_duration_s(cost: CallCost, memory_mb: int) -> float:
    """How long one invocation takes on Lambda, warm."""
    return max(_floor_s(cost), cost.cpu_s * MB_OF_A_VCPU / memory_mb) + _waits_s(cost)


def _estimate(cost: CallCost, memory_mb: int) -> _Estimate:
    duration_s = estimate_duration_s(cost, memory_mb)
    usd = duration_s * memory_mb / 1024 * USD_PER_GB_S + USD_PER_MILLION_REQUESTS / 1e6
    return _Estimate(duration_s, usd)


def _floor_s(cost: CallCost) -> float:
    call = cost.call
    return max(call.fragments / QUOTA_FRAGMENTS_PER_S, call.size_bytes / QUOTA_BYTES_PER_S)


def _waits_s(cost: CallCost) -> float:
    return cost.requests * ROUND_TRIP_S
