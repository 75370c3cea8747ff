"""ArchiveFunction whole, in its own process, against the local AWS in another one."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench.bodies import HOUR_S, MINUTE_S
from bench.measure import MIB, WORK, Spread, spread
from bench.report import Section, Table, Verdict, at_most
from bench.servers import AwsServer, PlacedCall
from local.runtime import Function

HANDLER: Final = "bench.function_hook.handler"
TIMEOUT_S: Final = 3600
"""Nothing is cut off, also not on a machine that is busy with something else."""

FIVE_MINUTES_S: Final = 5 * MINUTE_S
QUOTA_FRAGMENTS_PER_S: Final = 500
QUOTA_BYTES_PER_S: Final = 25_000_000

POWERTOOLS: Final[Mapping[str, str]] = {
    "POWERTOOLS_SERVICE_NAME": "call-archive",
    "POWERTOOLS_METRICS_NAMESPACE": "CallArchive",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}

_TEXT = """\
One SQS message with the job of a one-hour call ({fragments} fragments, {megabytes:.0f} MB), mono, \
from the event to the manifest in S3: `local.runtime.Function` runs the handler in its own \
process, KVS, S3 and SQS are `local.server` in another one, over loopback HTTP. CPU is the \
function's process alone. Every recording is compared with what was said, byte for byte.

“First” is the first invocation of a process, which makes the clients; “with start” adds the \
interpreter and the imports, of which “boto3's own” is what `import boto3` and the same three \
clients take alone; “warm” is the second. With quotas on, the local KVS lets {per_s} \
fragments of a stream be asked for in a second, refuses what is more, and sends 25 MB/s for a \
session, as KVS documents; the floor is max({fragments} / {per_s}, {megabytes:.0f} / 25) = \
{floor:.2f} s. ArchiveFunction keeps to that pace by itself, with quotas off as well."""

_MEMORY_TEXT = """\
VmHWM of the function's process after one invocation, quotas off, each in a new process; highest \
of {rounds}, and of one where the call is longer than an hour."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What one invocation took; `cpu_since_start_s` and `peak_bytes` are the process's so far."""

    wall_s: float
    cpu_s: float
    cpu_since_start_s: float
    peak_bytes: int
    requests: int


@dataclass(frozen=True, slots=True)
class _Round:
    """The invocations of one process; `paced` with quotas on."""

    first: Invocation
    warm: Invocation
    five_minutes: Invocation
    paced: Invocation | None


@dataclass(frozen=True, slots=True)
class CallCost:
    """What archiving one five-minute call takes, warm: the basis of the price.

    Attributes:
        requests: HTTP requests, those that only the first call of a stream needs included.
    """

    call: PlacedCall
    cpu_s: float
    requests: int


@dataclass(frozen=True, slots=True)
class ArchiveFunctionResults:
    """Both sections, and what the price table needs."""

    speed: Section
    memory: Section
    five_minutes: CallCost


def measure_archive_function(
    rounds: int, *, paced_rounds: int, lengths: Mapping[str, int], boto3_cpu_s: Spread
) -> ArchiveFunctionResults:
    """Measures time and memory.

    Args:
        boto3_cpu_s: what boto3 and the clients take to load, measured apart.
        rounds: processes that are measured; one more before them is not counted.
        paced_rounds: how many of them also run with quotas on.
        lengths: calls whose memory is measured, by name; a longer one than an hour once.
    """
    with AwsServer(sorted({HOUR_S, FIVE_MINUTES_S, *lengths.values()})) as server:
        measured = [
            _measure_round(server, paced=number > rounds - paced_rounds)
            for number in range(rounds + 1)
        ][1:]
        peaks = {
            name: _measure_peaks(server, seconds, 1 if seconds > HOUR_S else rounds)
            for name, seconds in lengths.items()
        }
        calls = server.calls
    return ArchiveFunctionResults(
        speed=_describe_speed(measured, calls[HOUR_S], boto3_cpu_s),
        memory=_describe_memory(peaks, rounds),
        five_minutes=CallCost(
            calls[FIVE_MINUTES_S],
            median(one.five_minutes.cpu_s for one in measured),
            max(one.five_minutes.requests for one in measured),
        ),
    )


def _measure_round(server: AwsServer, *, paced: bool) -> _Round:
    hour = server.calls[HOUR_S]
    with _function(server) as function:
        first = _invoke(server, function, hour)
        warm = _invoke(server, function, hour)
        five_minutes = _invoke(server, function, server.calls[FIVE_MINUTES_S])
        if not paced:
            return _Round(first, warm, five_minutes, None)
        server.limit(quotas=True)
        limited = _invoke(server, function, hour)
        server.limit(quotas=False)
    return _Round(first, warm, five_minutes, limited)


def _measure_peaks(server: AwsServer, seconds: int, rounds: int) -> Sequence[int]:
    peaks = []
    for _ in range(rounds):
        with _function(server) as function:
            peaks.append(_invoke(server, function, server.calls[seconds]).peak_bytes)
    return peaks


def archive_once(server: AwsServer, call: PlacedCall) -> None:
    """Archives a call, and leaves its recording and manifest in the bucket."""
    with _function(server) as function:
        _archive(function, call)


def _archive(function: Function, call: PlacedCall) -> Any:  # noqa: ANN401 - JSON
    answer = function.invoke(call.event)
    if answer["answer"]["batchItemFailures"]:
        raise RuntimeError(f"a call of {call.seconds} s was not archived; see .bench/logs")
    return answer


@contextmanager
def _function(server: AwsServer) -> Iterator[Function]:
    environment = {**server.introduction["archive_environment"], **POWERTOOLS}
    log = WORK / "logs" / "archive-function.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with Function(HANDLER, environment, log, TIMEOUT_S) as function:
        yield function


def _invoke(server: AwsServer, function: Function, call: PlacedCall) -> Invocation:
    """One invocation; its recording is checked and removed."""
    requests = server.count_requests()
    began_s = time.perf_counter()
    answer = _archive(function, call)
    wall_s = time.perf_counter() - began_s
    requests = server.count_requests() - requests
    server.check_recording(call)
    return Invocation(
        wall_s, answer["cpu_s"], answer["cpu_since_start_s"], answer["peak_bytes"], requests
    )


def _floor_s(call: PlacedCall) -> float:
    return max(call.fragments / QUOTA_FRAGMENTS_PER_S, call.size_bytes / QUOTA_BYTES_PER_S)


def _describe_speed(measured: Sequence[_Round], hour: PlacedCall, boto3_cpu_s: Spread) -> Section:
    floor_s = _floor_s(hour)
    paced = [one.paced for one in measured if one.paced is not None]
    invocations: Mapping[str, tuple[Sequence[Invocation], Callable[[Invocation], float]]] = {
        "first, with start": ([one.first for one in measured], lambda one: one.cpu_since_start_s),
        "first": ([one.first for one in measured], lambda one: one.cpu_s),
        "warm": ([one.warm for one in measured], lambda one: one.cpu_s),
        "warm, quotas on": (paced, lambda one: one.cpu_s),
    }
    rows = [
        (
            name,
            spread(map(cpu_s, of)).show(),
            "" if name == "first, with start" else spread(one.wall_s for one in of).show(),
        )
        for name, (of, cpu_s) in invocations.items()
    ]
    rows.insert(1, ("of which boto3's own", boto3_cpu_s.show(), ""))
    cpu_medians = {name: median(map(cpu_s, of)) for name, (of, cpu_s) in invocations.items()}
    return Section(
        title="ArchiveFunction, one hour of call",
        text=_TEXT.format(
            fragments=hour.fragments,
            megabytes=hour.size_bytes / 1e6,
            per_s=QUOTA_FRAGMENTS_PER_S,
            floor=floor_s,
        ),
        tables=[Table(("invocation", "CPU s", "wall s"), rows)],
        verdicts=[
            at_most("≤ 0.9 s CPU an hour, warm", [("CPU s", cpu_medians["warm"])], 0.9),
            at_most(
                "≤ 0.9 s CPU an hour, cold start included",
                [
                    ("CPU s", cpu_medians["first, with start"]),
                    ("of which boto3", boto3_cpu_s.median),
                ],
                0.9,
            ),
            at_most(
                f"quotas on: ≤ 1.10 × the floor of {floor_s:.2f} s",
                [("wall ×", median(one.wall_s for one in paced) / floor_s)],
                1.10,
            ),
        ],
    )


def _describe_memory(peaks: Mapping[str, Sequence[int]], rounds: int) -> Section:
    highest = {name: max(series) / MIB for name, series in peaks.items()}
    difference = max(highest.values()) - min(highest.values())
    return Section(
        title="ArchiveFunction, peak memory",
        text=_MEMORY_TEXT.format(rounds=rounds),
        tables=[
            Table(
                ("length of the call", "peak MiB"),
                [(name, f"{mib:.1f}") for name, mib in highest.items()],
            )
        ],
        verdicts=[
            at_most("≤ 110 MiB", [("MiB", max(highest.values()))], 110),
            Verdict(
                "equal within 8 MiB, whatever the length",
                f"MiB between them {difference:.1f}",
                difference <= 8,
            ),
        ],
    )
