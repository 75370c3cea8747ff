"""`python -m bench.load.server`: the local AWS in its own process, with calls by the hundred.

A command a line, JSON: `{"place": {…}}` puts calls on their streams and answers with their
messages when they have ended; `{"stagger": {…}}` puts calls there that will end one by one, with
listing delays drawn from the model of `bench.latency`; `{"counts": {}}` says what was asked, what
was refused and what this process has used so far. Time is the machine's own: the functions are in
other processes and have no other.
"""

import json
import os
import random
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from bench.latency import LISTED_S, SEED, draw
from bench.load.calls import CALL_S, LoadCall, build_calls
from local.call import StoredFragment
from local.resources import Resources, build_environment, create_resources
from local.server import LocalAws

type Json = dict[str, Any]

RESOURCES: Final = Resources(bucket="call-archive-load")
WARM_UP_S: Final = 10
STAGGERED_S: Final = 60
_LISTED_AFTER_S: Final = 2.0
"""Behind the end of a call: its last fragment is listed a second after KVS had all of it."""
_PLACING_S_A_CALL: Final = 0.05


class Desk:
    """What the commands do."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        create_resources(aws.endpoint_url, RESOURCES)

    def introduce(self) -> Json:
        """How the functions and the others reach it."""
        environment = build_environment(self._aws.endpoint_url, RESOURCES)
        return {
            "client_options": self._aws.client_options,
            "environment": environment["ArchiveFunction"],
            "flow_environment": environment["FlowFunction"],
            "queue_url": environment["FlowFunction"]["ARCHIVE_QUEUE_URL"],
            "bucket": RESOURCES.bucket,
        }

    def obey(self, command: Json) -> object:
        """Carries out one command."""
        ((name, arguments),) = command.items()
        if name == "place":
            return self._place(**arguments)
        if name == "stagger":
            return self._stagger(**arguments)
        if name == "counts":
            return self._count()
        raise ValueError(f"unknown command: {name}")

    def _place(self, jobs: int, warm_ups: int, trigger: str) -> Json:
        ends_at_ms = time.time_ns() // 1_000_000 + round(1000 * jobs * _PLACING_S_A_CALL)
        calls = list(build_calls(CALL_S, "load", [ends_at_ms] * jobs))
        warm = list(build_calls(WARM_UP_S, "warm-up", [ends_at_ms] * warm_ups))
        self._aws.place(*(one.call for one in (*calls, *warm)), ended_s_ago=None)
        last_ms = max(one.call.stop_timestamp_ms for one in calls)
        time.sleep(max(0.0, last_ms / 1000 + _LISTED_AFTER_S - time.time()))
        fragments = calls[0].call.fragments
        return {
            "calls": [_describe(one, trigger) for one in calls],
            "warm_ups": [_describe(one, trigger) for one in warm],
            "fragments": len(fragments),
            "bytes": sum(fragment.size_bytes for fragment in fragments),
        }

    def _stagger(self, jobs: int, warm_ups: int, begin_in_s: float, over_s: float) -> Json:
        """Calls that end evenly over a time; the flow's event of each, and when it stops."""
        now_ms = time.time_ns() // 1_000_000
        begin_ms = now_ms + round(1000 * begin_in_s)
        ends_at_ms = [begin_ms + round(1000 * over_s * place / jobs) for place in range(jobs)]
        chance = random.Random(SEED)  # noqa: S311 - a simulation
        calls = [
            replace(one.call, fragments=_draw_delays(one.call.fragments, chance))
            for one in build_calls(STAGGERED_S, "stagger", ends_at_ms)
        ]
        warm = list(build_calls(WARM_UP_S, "warm-up", [now_ms - 60_000] * warm_ups))
        self._aws.place(*calls, *(one.call for one in warm), ended_s_ago=None)
        return {
            "calls": [
                {
                    "contact_id": call.contact_id,
                    "event": call.flow_event("stopped"),
                    "stop_s": call.stop_timestamp_ms / 1000,
                }
                for call in calls
            ],
            "warm_ups": [_describe(one, "flow") for one in warm],
            "flow_warm_up": warm[0].call.flow_event("stopped"),
        }

    def _count(self) -> Json:
        return {
            "requests": self._aws.requests,
            "refusals": self._aws.refusals,
            "cpu_s": time.process_time(),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def _draw_delays(
    fragments: Sequence[StoredFragment], chance: random.Random
) -> tuple[StoredFragment, ...]:
    """Each fragment with its own listing delay."""
    return tuple(
        replace(fragment, listing_delay_ms=round(1000 * draw(LISTED_S, chance)))
        for fragment in fragments
    )


def _describe(one: LoadCall, trigger: str) -> Json:
    call = one.call
    return {
        "contact_id": call.contact_id,
        "message": call.archive_job() if trigger == "flow" else call.contact_event(),
        "sha256": one.sha256,
    }


def main() -> None:
    """Serves until stdin ends."""
    # moto keeps an object that is larger than its buffer in an open file without a name.
    os.environ["MOTO_S3_DEFAULT_KEY_BUFFER_SIZE"] = "65536"
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with LocalAws() as aws:
        desk = Desk(aws)
        print(json.dumps(desk.introduce()), flush=True)
        for line in sys.stdin:
            print(json.dumps(desk.obey(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
