"""Workers: each an ArchiveFunction in its own warm process behind its own SQS poller.

What Lambda's event source mapping does with a batch size of one and MaximumConcurrency: as many
messages at a time as there are workers, long polling, partial batch responses.
"""

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Final, override

import boto3

from local.runtime import EventSource, Function

type Json = dict[str, Any]

HANDLER: Final = "bench.function_hook.handler"
TIMEOUT_S: Final = 600
_POLL_S: Final = 1


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of a message.

    Attributes:
        contact_id: of an ArchiveJob; "" for another message.
        receives: how often SQS has delivered the message, this time included.
        ended_s: when this run had ended, seconds since the epoch.
        is_done: the message left the queue.
    """

    contact_id: str
    receives: int
    ended_s: float
    wall_s: float
    cpu_s: float
    peak_bytes: int
    is_done: bool


class MeasuredFunction(Function):
    """An ArchiveFunction that keeps what each of its invocations took."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        super().__init__(HANDLER, environment, log, TIMEOUT_S)
        self.invocations: list[Invocation] = []

    @override
    def invoke(self, event: Any) -> Any:
        """The handler's answer."""
        began_s = time.time()
        outcome = super().invoke(event)
        ended_s = time.time()
        (record,) = event["Records"]
        answer = outcome["answer"]
        self.invocations.append(
            Invocation(
                contact_id=json.loads(record["body"]).get("contactId", ""),
                receives=int(record["attributes"]["ApproximateReceiveCount"]),
                ended_s=ended_s,
                wall_s=ended_s - began_s,
                cpu_s=outcome["cpu_s"],
                peak_bytes=outcome["peak_bytes"],
                is_done=not answer["batchItemFailures"],
            )
        )
        return answer


@dataclass(slots=True)
class Remaining:
    """How many messages are still to be done with; counted down by all workers."""

    messages: int
    _lock: Lock = field(default_factory=Lock)

    def count_down(self, done: int) -> None:
        """Counts this many more as done."""
        with self._lock:
            self.messages -= done


class Crew:
    """All workers, for the time of one run."""

    def __init__(
        self, functions: Sequence[MeasuredFunction], client_options: Json, queue_url: str
    ) -> None:
        self._functions = functions
        self._sources = [
            EventSource(boto3.client("sqs", **client_options), queue_url, function)
            for function in functions
        ]

    @property
    def invocations(self) -> list[Invocation]:
        """Those of all workers."""
        return [one for function in self._functions for one in function.invocations]

    def work_off(self, messages: int, within_s: float) -> None:
        """Polls and invokes until this many messages are finished.

        Raises:
            TimeoutError: they are not, after all that time.
        """
        remaining = Remaining(messages)
        ends_at_s = time.monotonic() + within_s

        def work(source: EventSource) -> None:
            while remaining.messages > 0 and time.monotonic() < ends_at_s:
                remaining.count_down(source.poll(_POLL_S))

        with ThreadPoolExecutor(len(self._sources)) as pool:
            for _ in pool.map(work, self._sources):
                pass
        if remaining.messages > 0:
            raise TimeoutError(f"{remaining.messages} of {messages} messages are not done with")
