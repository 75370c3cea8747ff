"""A deployed function without Docker: the handler in its own process, started by an event.

Environment and event → the handler's answer, as Lambda's runtime would have it: the module is
imported once, warm invocations follow, an exception has its own answer, and what the function
prints (logs and metrics) goes to a file. `EventSource` is the SQS event source mapping in front
of ArchiveFunction: receive, invoke, delete what did not fail.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self, SupportsIndex

type Json = dict[str, Any]

ACCOUNT_ID = "123456789012"
FLOW_HANDLER = "call_archive.flow_handler.handler"
ARCHIVE_HANDLER = "call_archive.archive_handler.handler"
SOURCE = Path(__file__).parent.parent / "src"


class FunctionError(Exception):
    """The handler raised, or its process ended."""


@dataclass(frozen=True, slots=True)
class Context:
    """What Lambda tells a handler besides the event."""

    function_name: str
    deadline_s: float
    memory_limit_in_mb: int = 512
    function_version: str = "$LATEST"
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def invoked_function_arn(self) -> str:
        """The function's ARN, in the account of the local AWS."""
        region = os.environ.get("AWS_REGION", "eu-west-2")
        return f"arn:aws:lambda:{region}:{ACCOUNT_ID}:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Until Lambda would end the invocation."""
        return max(0, round((self.deadline_s - time.monotonic()) * 1000))


class Function:
    """A handler in its own process, for the time of a `with`.

    With `skips_pauses` sleeping takes no time: the function's clock advances instead. With
    `longest_wait_s` it waits no longer than that for an answer, whatever its time-outs say.
    """

    def __init__(
        self,
        handler: str,
        environment: Mapping[str, str],
        log: Path,
        timeout_s: float = 600,
        *,
        skips_pauses: bool = False,
        longest_wait_s: float | None = None,
    ) -> None:
        self._handler = handler
        self._hurry = json.dumps({"pauses": skips_pauses, "longest_wait_s": longest_wait_s})
        self._environment = environment
        self._log = log
        self.timeout_s = timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._answers: IO[str] | None = None

    def __enter__(self) -> Self:
        read_end, write_end = os.pipe()
        try:
            with self._log.open("a") as log:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "local.runtime"),
                        *(self._handler, str(write_end), self._hurry),
                    ],
                    env=self._process_environment(),
                    cwd=SOURCE.parent,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=(write_end,),
                    text=True,
                )
        finally:
            os.close(write_end)
        self._answers = os.fdopen(read_end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
        if self._answers is not None:
            self._answers.close()

    @property
    def process_id(self) -> int:
        """The process id, to measure or to kill the process."""
        if self._process is None:
            raise FunctionError("the function is not running")
        return self._process.pid

    def kill(self) -> None:
        """Ends its process at once, as Lambda does at the deadline."""
        os.kill(self.process_id, signal.SIGKILL)

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - whatever the handler answers
        """The handler's answer.

        Raises:
            FunctionError: it raised (the text is its error's type and message), or its process
                ended.
        """
        if self._process is None or self._process.stdin is None or self._answers is None:
            raise FunctionError("the function is not running")
        try:
            self._process.stdin.write(json.dumps([event, self.timeout_s]) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise FunctionError(f"its process ended; see {self._log}") from error
        answer = self._answers.readline()
        if not answer:
            raise FunctionError(f"its process ended; see {self._log}")
        outcome = json.loads(answer)
        if "error" in outcome:
            raise FunctionError(outcome["error"])
        return outcome["answer"]

    def _process_environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "PYTHONPATH": str(SOURCE),
            "AWS_REGION": self._environment.get("AWS_DEFAULT_REGION", "eu-west-2"),
            "AWS_LAMBDA_FUNCTION_NAME": self._handler.split(".")[1],
            "AWS_EC2_METADATA_DISABLED": "true",
            **self._environment,
        }


class Invocable(Protocol):
    """Something that is invoked as a function is."""

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - whatever the handler answers
        """The handler's answer, or FunctionError."""


@dataclass(frozen=True, slots=True)
class EventSource:
    """The SQS event source mapping of a function, with partial batch responses.

    Attributes:
        sqs: a boto3 SQS client.
        batch_size: messages an invocation, as in the template.
    """

    sqs: Any
    queue_url: str
    function: Invocable
    batch_size: int = 1

    def poll(self, wait_s: int = 2) -> int:
        """One receive and one invocation; how many messages are done with."""
        # By its attributes Lambda decides how many pollers a queue gets.
        self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["All"])
        received = self.sqs.receive_message(
            QueueUrl=self.queue_url,
            MaxNumberOfMessages=self.batch_size,
            WaitTimeSeconds=wait_s,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        if not received:
            return 0
        region = self.sqs.meta.region_name
        records = [build_sqs_record(message, self.queue_url, region) for message in received]
        answer = self.function.invoke({"Records": records})
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        done = [message for message in received if message["MessageId"] not in failed]
        for message in done:
            self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return len(done)


def build_sqs_record(message: Mapping[str, Any], queue_url: str, region: str) -> Json:
    """A message as ReceiveMessage gives it → the record that the event source makes of it."""
    queue = queue_url.rpartition("/")[2]
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {
            name: {
                "stringValue": attribute["StringValue"],
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": attribute["DataType"],
            }
            for name, attribute in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{region}:{ACCOUNT_ID}:{queue}",
        "awsRegion": region,
    }


def _skip_pauses() -> None:
    """Lets `time.monotonic` go on by what is slept for, instead of sleeping."""
    monotonic = time.monotonic
    slept_s = 0.0

    def skip(seconds: SupportsIndex | float) -> None:
        nonlocal slept_s
        slept_s += float(seconds)

    time.sleep = skip
    time.monotonic = lambda: monotonic() + slept_s


def _wait_no_longer(longest_s: float) -> None:
    """Bounds every time-out of a socket."""
    set_timeout = socket.socket.settimeout

    def set_shorter(self: Any, timeout_s: float | None) -> None:  # noqa: ANN401 - C's socket
        set_timeout(self, longest_s if timeout_s is None else min(timeout_s, longest_s))

    socket.socket.settimeout = set_shorter  # type: ignore[method-assign] # before any is opened


def _serve(handler_name: str, answers: IO[str]) -> None:
    """The process of a Function: one line in, one line out, until the input ends."""
    module_name, _, name = handler_name.rpartition(".")
    handler = getattr(importlib.import_module(module_name), name)
    for line in sys.stdin:
        event, timeout_s = json.loads(line)
        context = Context(module_name.rpartition(".")[2], time.monotonic() + timeout_s)
        try:
            outcome = {"answer": handler(event, context)}
        except Exception as error:  # noqa: BLE001 - as Lambda's runtime does
            outcome = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(outcome), file=answers, flush=True)


if __name__ == "__main__":
    hurry = json.loads(sys.argv[3])
    if hurry["pauses"]:
        _skip_pauses()
    if hurry["longest_wait_s"] is not None:
        _wait_no_longer(hurry["longest_wait_s"])
    with os.fdopen(int(sys.argv[2]), "w") as answer_pipe:
        _serve(sys.argv[1], answer_pipe)
