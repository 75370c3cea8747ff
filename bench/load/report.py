"""Results of loads → the blocks of docs/capacity.md: what was measured, and what follows."""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final

from bench.archive_function import QUOTA_BYTES_PER_S, QUOTA_FRAGMENTS_PER_S, CallCost
from bench.cost import MB_OF_A_VCPU, ROUND_TRIP_S, estimate_duration_s
from bench.load import model
from bench.load.calls import CALL_S
from bench.load.model import CallNeeds, Demand
from bench.load.run import LoadResult
from bench.load.settings import Settings
from bench.measure import MIB
from bench.prices import PRICES_OF
from bench.report import Table
from bench.servers import PlacedCall
from call_archive.intake.contact import RECORDINGS_WAIT_MS

CONCURRENT_CALLS: Final = (1_000, 10_000)
CONTACTS_PER_HOUR: Final = (1_000, 5_000, 10_000, 15_000, 40_000)
STREAMED: Final = 0.3
"""The share of contacts that is streamed, assumed where contact events are a trigger."""
OUTAGE_S: Final = 3600
_HEADROOM: Final = model.HEADROOM
_TRIGGERS: Final = {"flow": "flow jobs", "contact": "contact events"}
_OTHERS_FIRST_DELAY_S: Final = 5
"""Of any other job that comes back (docs/decisions/0005)."""

_OUTAGE_TEXT: Final = """\
After {hours} h in which nothing ran while calls went on, the backlog is what ended, and it goes \
with what the workers can do beyond what goes on ending: MaximumConcurrency / duration − ending. \
SQS keeps no order, so the oldest job may be the last one: streams have to keep their media for \
the outage and the draining together."""

_COST_TEXT: Final = """\
ArchiveFunction's part of what 1,000 calls of {minutes} minutes cost, flow jobs only \
({prices_of}); [costs.md](costs.md) has the whole bill, with contact events:"""

_DESCRIBE_TEXT: Final = """\
A streamed contact costs one call. One that was never streamed is looked at {ages} after its end: \
**{looks} calls**. If it came back like any other job it would be {doubling}: {doubling_looks} \
calls. With {streamed:.0%} of the contacts streamed, calls a second = contacts an hour × \
({streamed} + {others:.1f} × looks) / 3600; the quota is {limit}:"""


def write_blocks(document: str, blocks: Mapping[str, str], command: str = "make load") -> str:
    """The document with the text between each block's markers replaced.

    Raises:
        ValueError: the document has no such markers.
    """
    for name, text in blocks.items():
        begin, end = f"<!-- {name}: written by {command} -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
        if not pattern.search(document):
            raise ValueError(f"the document has no block {name}")
        before, after = pattern.split(document, maxsplit=1)
        document = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    return document


def render_measured(machine: Table, results: Sequence[LoadResult]) -> str:
    """The machine, and both tables."""
    return "\n\n".join(
        (
            machine.render(),
            render_times(results).render(),
            render_processors(results).render(),
            _explain_limits(results),
        )
    )


def render_times(results: Sequence[LoadResult]) -> Table:
    """How long everything took, and whether everything is there."""
    return Table(
        (
            "trigger",
            "jobs",
            "workers",
            "wall s",
            "calls/min",
            "audio h/min",
            "age s: p50",
            "p95",
            "max",
            "receives a job",
            "refused by a quota",
            "failures",
            "exact",
            "bytes verified",
        ),
        [_times(result) for result in results],
    )


def _times(result: LoadResult) -> tuple[str, ...]:
    load, minutes = result.load, result.wall_s / 60
    p50, p95, last = (model.percentile(result.ages_s, percent) for percent in (50, 95, 100))
    return (
        _TRIGGERS[load.trigger],
        f"{load.jobs:,}",
        str(load.workers),
        f"{result.wall_s:.1f}",
        f"{load.jobs / minutes:.0f}",
        f"{result.audio_s / 3600 / minutes:.1f}",
        f"{p50:.1f}",
        f"{p95:.1f}",
        f"{last:.1f}",
        f"{len(result.invocations) / load.jobs:.2f}",
        _refused(result),
        str(result.failed + load.jobs - result.exact),
        f"{result.exact:,} of {load.jobs:,}",
        f"{result.verified_bytes:,}",
    )


def _refused(result: LoadResult) -> str:
    shares = [
        f"{api} {count / result.requests[api]:.0%} of {result.requests[api]:,}"
        for api, count in sorted(result.refusals.items())
        if count
    ]
    return ", ".join(shares) or "none"


def render_processors(results: Sequence[LoadResult]) -> Table:
    """Whose the processors' time was, and the memory."""
    return Table(
        (
            "trigger",
            "jobs",
            "CPU s a call: ArchiveFunction",
            "local AWS",
            "pollers",
            "processors busy with it",
            "one run s, median",
            "peak MiB: ArchiveFunction",
            "local AWS",
        ),
        [_processors(result) for result in results],
    )


def _processors(result: LoadResult) -> tuple[str, ...]:
    jobs = result.load.jobs
    return (
        _TRIGGERS[result.load.trigger],
        f"{jobs:,}",
        f"{result.function_cpu_s / jobs:.3f}",
        f"{result.server_cpu_s / jobs:.3f}",
        f"{result.pollers_cpu_s / jobs:.3f}",
        f"{_busy(result):.0%}",
        f"{median(one.wall_s for one in result.invocations):.2f}",
        f"{max(one.peak_bytes for one in result.invocations) / MIB:.0f}",
        f"{result.server_peak_bytes / MIB:.0f}",
    )


def _busy(result: LoadResult) -> float:
    """The share of the processors' time that everything here took."""
    used_s = result.function_cpu_s + result.server_cpu_s + result.pollers_cpu_s
    return used_s / (result.wall_s * (os.cpu_count() or 1))


def _explain_limits(results: Sequence[LoadResult]) -> str:
    most = _largest(results)
    jobs = most.load.jobs
    ours = most.function_cpu_s / jobs
    harness = (most.server_cpu_s + most.pollers_cpu_s) / jobs
    return (
        f"At {jobs:,} flow jobs ArchiveFunction has {ours / (ours + harness):.0%} of the CPU time "
        f"counted here; the rest is the local AWS and the pollers, and neither is there on Lambda. "
        f"{os.cpu_count()} processors with nothing else to do could not archive more than "
        f"{(os.cpu_count() or 1) / (ours + harness) * 60:.0f} calls a minute here, whatever the "
        f"number of workers."
    )


def _largest(results: Sequence[LoadResult]) -> LoadResult:
    """The largest load of flow jobs: what the model is computed from."""
    flow = [result for result in results if result.load.trigger == "flow"]
    return max(flow, key=lambda result: result.load.jobs)


def estimate_needs(result: LoadResult, memory_mb: int) -> CallNeeds:
    """What one call takes, from a load."""
    jobs, requests = result.load.jobs, result.requests
    return CallNeeds(
        duration_s=estimate_duration_s(_cost(result), memory_mb),
        fragments=result.fragments,
        media_bytes=result.call_bytes,
        data_endpoints=requests["GetDataEndpoint"] / jobs,
        s3_writes=requests["S3 PUT"] / jobs,
        s3_reads=(requests["S3 GET"] + requests["S3 HEAD"]) / jobs,
    )


def _cost(result: LoadResult) -> CallCost:
    call = PlacedCall(CALL_S, {}, result.fragments, result.call_bytes)
    requests = math.ceil(result.requests_a_call(sqs=False))
    return CallCost(call, result.function_cpu_s / result.load.jobs, requests)


def render_model(results: Sequence[LoadResult], settings: Settings) -> str:
    """What 1,000 and 10,000 concurrent calls need."""
    largest = _largest(results)
    needs = estimate_needs(largest, settings.archive_memory_mb)
    demands = {
        calls: model.estimate_demand(calls, needs.duration_s, model.MEAN_CALL_S)
        for calls in CONCURRENT_CALLS
    }
    return "\n\n".join(
        (
            _explain_duration(largest, needs, settings),
            _render_demands(demands, needs).render(),
            _render_quotas(demands, needs, settings).render(),
            _OUTAGE_TEXT.format(hours=OUTAGE_S // 3600),
            _render_drain(demands, needs, settings).render(),
            _COST_TEXT.format(minutes=CALL_S // 60, prices_of=PRICES_OF),
            _render_cost(needs, settings).render(),
        )
    )


def _explain_duration(largest: LoadResult, needs: CallNeeds, settings: Settings) -> str:
    cost = _cost(largest)
    memory_mb = settings.archive_memory_mb
    share_s = cost.cpu_s * MB_OF_A_VCPU / memory_mb
    return (
        f"One run on Lambda, warm, at {memory_mb} MB: max({needs.fragments} fragments / "
        f"{QUOTA_FRAGMENTS_PER_S} a second, {needs.media_bytes / 1e6:.1f} MB / "
        f"{QUOTA_BYTES_PER_S / 1e6:.0f} MB/s, {cost.cpu_s:.3f} s CPU × {MB_OF_A_VCPU} / "
        f"{memory_mb} = {share_s:.2f} s) + {cost.requests} requests × {ROUND_TRIP_S * 1000:.0f} "
        f"ms (assumed) = **{needs.duration_s:.2f} s**. CPU, fragments, bytes and requests are the "
        f"measured ones of {largest.load.jobs:,} flow jobs."
    )


def _render_demands(demands: Mapping[int, Demand], needs: CallNeeds) -> Table:
    flow = f"{model.FLOW_INVOCATIONS_A_CALL} × {model.FLOW_DURATION_S:.0f}"
    rows: Sequence[tuple[str, Callable[[int, Demand], str]]] = (
        (
            f"calls ending a second = calls / {model.MEAN_CALL_S} s",
            lambda calls, demand: f"{calls:,} / {model.MEAN_CALL_S} = {demand.ends_per_s:.1f}",
        ),
        (
            f"archive runs at a time = ending × {needs.duration_s:.2f} s",
            lambda _, demand: f"{demand.archive_runs:.1f}",
        ),
        (
            f"MaximumConcurrency ≥ {_HEADROOM} × runs",
            lambda _, demand: f"**{demand.maximum_concurrency}**",
        ),
        (
            f"FlowFunction at a time = ending × {flow} s (assumed, all cold)",
            lambda _, demand: f"{demand.flow_runs:.1f}",
        ),
        (
            f"reserved for FlowFunction ≥ {_HEADROOM} × that",
            lambda _, demand: f"**{demand.reserved_for_flow}**",
        ),
    )
    return Table(
        ("concurrent calls", *(f"{calls:,}" for calls in demands)),
        [
            (name, *(show(calls, demand) for calls, demand in demands.items()))
            for name, show in rows
        ],
    )


def _render_quotas(demands: Mapping[int, Demand], needs: CallNeeds, settings: Settings) -> Table:
    looks = model.count_looks(settings.queue_delay_s)
    all_quotas = model.quotas(needs, looks, RECORDINGS_WAIT_MS / 1000, STREAMED)
    return Table(
        ("quota", "limit", *(f"{calls:,} calls" for calls in demands), "AWS's name for it"),
        [
            (
                quota.name,
                f"{quota.limit:,}",
                *(_use(quota.used(demand), quota.limit) for demand in demands.values()),
                quota.source,
            )
            for quota in all_quotas
        ],
    )


def _use(used: float, limit: float) -> str:
    share = used / limit
    text = f"{used:,.1f} ({share:.0%})"
    return f"**{text}**" if share > 1 else text


def _render_drain(demands: Mapping[int, Demand], needs: CallNeeds, settings: Settings) -> Table:
    rows = []
    for calls, demand in demands.items():
        for concurrency in sorted({settings.maximum_concurrency, demand.maximum_concurrency}):
            needed_s = model.drain_s(OUTAGE_S, demand.ends_per_s, concurrency, needs.duration_s)
            rows.append(
                (
                    f"{calls:,}",
                    str(concurrency),
                    f"{OUTAGE_S * demand.ends_per_s:,.0f}",
                    f"{concurrency / needs.duration_s:.1f}",
                    "never" if math.isinf(needed_s) else f"{needed_s / 60:.0f}",
                    "" if math.isinf(needed_s) else f"{(OUTAGE_S + needed_s) / 3600:.1f}",
                )
            )
    return Table(
        (
            "concurrent calls",
            "MaximumConcurrency",
            "backlog",
            "runs a second",
            "drained in min",
            "retention needed, h",
        ),
        rows,
    )


def _render_cost(needs: CallNeeds, settings: Settings) -> Table:
    drivers = model.cost_of_1000_calls(needs, settings.archive_memory_mb)
    rows = [(name, f"{amount:,.1f}", f"{usd:.4f}") for name, (amount, usd) in drivers.items()]
    total = sum(usd for _, usd in drivers.values())
    return Table(("driver", "amount", "USD"), [*rows, ("all", "", f"{total:.4f}")])


def render_describe(settings: Settings) -> str:
    """What DescribeContact's quota allows, if contact events are a trigger."""
    ages_s = model.look_ages_s(settings.queue_delay_s)
    doubling = model.doubling_ages_s(
        settings.queue_delay_s, RECORDINGS_WAIT_MS / 1000, _OTHERS_FIRST_DELAY_S
    )
    looks = (len(ages_s), len(doubling))
    rows = [
        (
            f"{contacts:,}",
            *(_use(_describes(contacts, count), model.DESCRIBE_CONTACT_PER_S) for count in looks),
        )
        for contacts in CONTACTS_PER_HOUR
    ]
    most = [f"{model.most_contacts_per_hour(STREAMED, count):,.0f}" for count in looks]
    return "\n\n".join(
        (
            _DESCRIBE_TEXT.format(
                ages=_list_s(ages_s),
                looks=looks[0],
                doubling=_list_s(doubling),
                doubling_looks=looks[1],
                streamed=STREAMED,
                others=1 - STREAMED,
                limit=model.DESCRIBE_CONTACT_PER_S,
            ),
            Table(
                ("contacts an hour", f"{looks[0]} looks", f"{looks[1]} looks"),
                [*rows, ("the quota is used up at", *most)],
            ).render(),
        )
    )


def _describes(contacts_per_hour: int, looks: int) -> float:
    return model.describe_calls_per_s(contacts_per_hour, STREAMED, looks)


def _list_s(ages_s: Sequence[float]) -> str:
    *most, last = (f"{age_s:.0f}" for age_s in ages_s)
    return f"{', '.join(most)} and {last} s"
