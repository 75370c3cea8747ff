"""A deployed stack that runs: moto's resources, both functions in processes, Lambda in between.

Lambda's Invoke reaches FlowFunction's process, the SQS event source mapping feeds
ArchiveFunction's, and what the functions print is in their log groups. Reserved concurrency and a
disabled mapping keep ArchiveFunction from taking jobs, as they do on AWS.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Self

from botocore.exceptions import ClientError

from local.clients import REGION, local_client
from local.contact import ACCOUNT
from local.runtime import ARCHIVE_HANDLER, FLOW_HANDLER, EventSource, Function, FunctionError
from local.server import Invocation
from local.stack import DeployedStack

_IDLE_S: Final = 0.2


class RunningFunction:
    """A function that several callers invoke, one at a time; its output goes to a log group."""

    def __init__(self, function: Function, log: Path, logs: Any, group: str) -> None:  # noqa: ANN401 - boto3
        self._function = function
        self._log = log
        self._logs = logs
        self._group = group
        self._lock = threading.Lock()
        self._read = 0
        logs.create_log_stream(logGroupName=group, logStreamName="local")

    def invoke(self, event: Any) -> Any:  # noqa: ANN401 - JSON
        """The handler's answer; raises as `Function.invoke`."""
        with self._lock:
            try:
                return self._function.invoke(event)
            finally:
                self._forward()

    def _forward(self) -> None:
        with self._log.open("rb") as log:
            log.seek(self._read)
            lines = log.read().splitlines()
            self._read = log.tell()
        now_ms = time.time_ns() // 1_000_000
        events = [{"timestamp": now_ms, "message": line.decode()} for line in lines]
        if events:
            self._logs.put_log_events(
                logGroupName=self._group, logStreamName="local", logEvents=events
            )


class RunningStack:
    """The functions of a deployed stack, for the time of a `with`.

    Args:
        invocations: where Lambda's Invoke looks functions up; this stack's are added.
    """

    def __init__(
        self,
        stack: DeployedStack,
        endpoint_url: str,
        invocations: dict[str, Invocation],
        directory: Path,
        credentials: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.stack = stack
        self._endpoint_url = endpoint_url
        self._invocations = invocations
        self._directory = directory
        self._credentials = credentials or {}
        self._running = ExitStack()
        self._is_stopping = threading.Event()

    def __enter__(self) -> Self:
        _unsubscribe(self.stack.resources["ArchiveQueue"])
        flow = self._start("FlowFunction", FLOW_HANDLER, "FlowLogGroup", 8)
        archive = self._start("ArchiveFunction", ARCHIVE_HANDLER, "ArchiveLogGroup", 600)
        self._invocations[self.stack.resources["FlowFunction"]] = flow.invoke
        self._invocations[self.stack.resources["ArchiveFunction"]] = archive.invoke
        source = EventSource(
            local_client(self._endpoint_url, "sqs"), self.stack.resources["ArchiveQueue"], archive
        )
        thread = threading.Thread(target=self._poll, args=(source,), daemon=True)
        thread.start()
        self._running.callback(thread.join)
        self._running.callback(self._is_stopping.set)
        return self

    def __exit__(self, *raised: object) -> None:
        for logical_id in ("FlowFunction", "ArchiveFunction"):
            self._invocations.pop(self.stack.resources[logical_id], None)
        self._running.close()

    def environment(self, logical_id: str) -> dict[str, str]:
        """A function's variables, as the template sets them."""
        resources, parameters = self.stack.resources, self.stack.parameters
        return {
            "AWS_ENDPOINT_URL": self._endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "ARCHIVE_BUCKET": resources["ArchiveBucket"],
            "ARCHIVE_PREFIX": parameters["ArchivePrefix"],
            "ARCHIVE_TRACKS": parameters["Tracks"],
            "CONNECT_INSTANCE_ARN": parameters["ConnectInstanceArn"],
            "POWERTOOLS_SERVICE_NAME": self.stack.name,
            "ARCHIVE_QUEUE_URL": resources["ArchiveQueue"],
            "FAILED_JOBS_QUEUE_URL": resources["FailedJobsQueue"],
            **self._credentials.get(logical_id, {}),
        }

    def _start(
        self, logical_id: str, handler: str, group: str, timeout_s: float
    ) -> RunningFunction:
        log = self._directory / f"{logical_id}.log"
        function = Function(handler, self.environment(logical_id), log, timeout_s)
        self._running.enter_context(function)
        return RunningFunction(
            function, log, local_client(self._endpoint_url, "logs"), self.stack.resources[group]
        )

    def _poll(self, source: EventSource) -> None:
        while not self._is_stopping.is_set():
            if not self._may_run():
                self._is_stopping.wait(_IDLE_S)
                continue
            # Lambda, too, continues after an invocation that failed, or a message that has gone.
            with suppress(FunctionError, ClientError):
                source.poll(wait_s=1)

    def _may_run(self) -> bool:
        functions = local_client(self._endpoint_url, "lambda")
        name = self.stack.resources["ArchiveFunction"]
        reserved = functions.get_function_concurrency(FunctionName=name)
        mappings = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        return reserved.get("ReservedConcurrentExecutions") != 0 and any(
            mapping["State"] == "Enabled" for mapping in mappings
        )


def _unsubscribe(queue_url: str) -> None:
    """Keeps moto from running the queue's function itself, in its own container."""
    from moto.sqs.models import sqs_backends  # noqa: PLC0415 - takes a second to import

    queue = sqs_backends[ACCOUNT][REGION].queues[queue_url.rpartition("/")[2]]
    queue.lambda_event_source_mappings.clear()
