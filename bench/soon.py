"""Seconds until the recording: the model of `bench.latency`, and the functions in real time."""

import json
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import boto3

from bench.archive_function import POWERTOOLS
from bench.latency import SEED, STOP_KEYS_LAG_S, archive_hung_up, measure, schedules, tabulate
from bench.load.model import percentile
from bench.load.run import build_function, warm_up
from bench.load.settings import read_settings
from bench.load.workers import Crew, Invocation
from bench.measure import WORK
from bench.report import Section, Table, at_most
from bench.servers import ServerProcess
from local.runtime import FLOW_HANDLER, Function

type Json = dict[str, Any]

_BEGIN_IN_S: Final = 12
"""Until the first call ends: by then the functions are warm."""
_LONGEST_S: Final = 600

_TEXT: Final = """\
Simulated is the deployed schedule against a model of the services, beside the schedule of the \
first release candidate; [capacity.md](capacity.md) has the model and more of it (`make \
latency`). A job with a stop number counts from the stop to the manifest, a hang-up from when \
Recordings is filled.

In real time, {jobs} calls of a minute end within {over} s, each on its own stream of the local \
AWS, which lists every fragment as late as the model says. FlowFunction is invoked when the Stop \
keys show (0 to 3 s after the stop), and {workers} ArchiveFunctions poll the queue, all of them \
warm: all but the services' delays is the deployed code, with SQS's own delays and visibility."""


@dataclass(frozen=True, slots=True)
class Soon:
    """What the calls took in real time: seconds from the stop to the manifest, and all runs."""

    seconds: Sequence[float]
    runs: int


def measure_soon(jobs: int, over_s: float) -> Section:
    """Both tables, and what they have to be; in real time all calls end within `over_s`."""
    workers = read_settings().maximum_concurrency
    soon = run_staggered(jobs, over_s, workers)
    middle, high = (percentile(soon.seconds, at) for at in (50, 95))
    _, deployed = schedules()
    hung_up = [call.seconds for call in measure(archive_hung_up, deployed)]
    return Section(
        title="Seconds until the recording",
        text=_TEXT.format(jobs=jobs, over=over_s, workers=workers),
        tables=[
            tabulate(),
            Table(
                ("in real time", "median s", "95 %", "longest", "runs a message"),
                [
                    (
                        f"stop number, {jobs} calls",
                        f"{middle:.1f}",
                        f"{high:.1f}",
                        f"{max(soon.seconds):.1f}",
                        f"{soon.runs / jobs:.2f}",
                    )
                ],
            ),
        ],
        verdicts=[
            at_most("stop number, in real time: median ≤ 4 s", [("s", middle)], 4),
            at_most("stop number, in real time: 95 of 100 ≤ 10 s", [("s", high)], 10),
            at_most("≤ 1.3 runs a message", [("runs", soon.runs / jobs)], 1.3),
            at_most(
                "hang-up, simulated: 95 of 100 ≤ 15 s after Recordings is filled",
                [("s", percentile(hung_up, 95))],
                15,
            ),
        ],
    )


def run_staggered(jobs: int, over_s: float, workers: int, begin_in_s: float = _BEGIN_IN_S) -> Soon:
    """Calls that end one after the other, archived by the functions as they are deployed.

    Raises:
        TimeoutError: a message was not done with in time.
        RuntimeError: FlowFunction queued no job.
    """
    with ExitStack() as running:
        server = running.enter_context(ServerProcess("bench.load.server"))
        stagger = {
            "jobs": jobs,
            "warm_ups": workers,
            "begin_in_s": begin_in_s,
            "over_s": over_s,
        }
        placed = server.ask(json.dumps({"stagger": stagger}))
        flow = running.enter_context(_flow_function(server))
        functions = [running.enter_context(build_function(server, n)) for n in range(workers)]
        warm_up(functions, placed["warm_ups"])
        options, queue_url = server.introduction["client_options"], server.introduction["queue_url"]
        flow.invoke(placed["flow_warm_up"])
        boto3.client("sqs", **options).purge_queue(QueueUrl=queue_url)
        crew = Crew(functions, options, queue_url)
        flow_runs = running.enter_context(ThreadPoolExecutor(1)).submit(
            _run_flows, flow, placed["calls"]
        )
        crew.work_off(jobs, _LONGEST_S)
        flow_runs.result()
    return _sum_up(placed["calls"], crew.invocations)


def _flow_function(server: ServerProcess) -> Function:
    log = WORK / "logs" / "load-flow.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**server.introduction["flow_environment"], **POWERTOOLS}
    return Function(FLOW_HANDLER, environment, log)


def _run_flows(flow: Function, calls: Sequence[Json]) -> None:
    """Invokes FlowFunction for each call when its Stop keys show."""
    chance = random.Random(SEED)  # noqa: S311 - a simulation
    seen = [(call["stop_s"] + chance.uniform(0, STOP_KEYS_LAG_S), call["event"]) for call in calls]
    for at_s, event in sorted(seen, key=lambda one: one[0]):
        time.sleep(max(0.0, at_s - time.time()))
        answer = flow.invoke(event)
        if answer["archiveStatus"] != "QUEUED":
            raise RuntimeError(f"FlowFunction queued no job: {answer}")


def _sum_up(calls: Sequence[Json], invocations: Sequence[Invocation]) -> Soon:
    stop_s = {call["contact_id"]: call["stop_s"] for call in calls}
    seconds = [one.ended_s - stop_s[one.contact_id] for one in invocations if one.is_done]
    return Soon(seconds, len(invocations))
