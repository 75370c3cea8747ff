"""ArchiveFunction in this process: an SQS event in, its answer out, in milliseconds.

The worker, the adapters and botocore are the deployed ones; the clients have no network behind
them, without waiting. `archive_handler`, which only reads settings, logs and counts, is left to
the tests that run it in its own process.
"""

import time
from collections.abc import Mapping
from typing import Any

from call_archive.aws.clients import check_listings
from call_archive.aws.ports import AwsPorts, read_terms
from call_archive.config import read_archive_settings
from call_archive.errors import QueueFaultError
from call_archive.worker import Outcome, TimeCheck, decode_record, work
from local.clients import REGION
from local.resources import ACCOUNT_ID
from tests.support.wire import Wire

type Json = dict[str, Any]

FUNCTION_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:archive"


class Slept:
    """A clock that advances by what is slept."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def monotonic(self) -> float:
        return time.monotonic() + self.seconds


class WireClients:
    """`aws.ports.Clients` without a network."""

    def __init__(self, wire: Wire) -> None:
        self._client = wire.client

    def s3_client(self) -> Any:
        return self._client("s3")

    def sqs_client(self) -> Any:
        return self._client("sqs")

    def connect_client(self) -> Any:
        return self._client("connect")

    def kinesis_video_client(self, region: str) -> Any:
        return self._client("kinesisvideo")

    def archived_media_client(self, region: str, data_endpoint: str) -> Any:
        client = self._client("kinesis-video-archived-media", data_endpoint)
        check_listings(client)
        return client


class InProcessFunction:
    """ArchiveFunction with the variables of a deployed one.

    Attributes:
        clock: its own time; `clock.seconds` is how long it has slept.
        timeout_s: how long an invocation may take, by that clock.
        outcomes: what became of each message, in order.
    """

    def __init__(self, variables: Mapping[str, str], wire: Wire) -> None:
        settings = read_archive_settings(variables)
        self.clock = Slept()
        self.timeout_s = 600.0
        self.outcomes: list[Outcome] = []
        self._terms = read_terms(settings, FUNCTION_ARN)
        self._ports = AwsPorts(settings, WireClients(wire), self.clock.sleep, self.clock.monotonic)

    def invoke(self, event: Any) -> Json:
        """What the handler answers."""
        kept = [record for record in event["Records"] if not self._is_done(record)]
        return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in kept]}

    def _is_done(self, record: Json) -> bool:
        message, ends_s = decode_record(record), self.clock.monotonic() + self.timeout_s
        outcome = work(
            message,
            self._ports,
            self._terms,
            now_ms=lambda: time.time_ns() // 1_000_000,
            check_time=TimeCheck(lambda: round((ends_s - self.clock.monotonic()) * 1000)),
        )
        self.outcomes.append(outcome)
        try:
            return self._ports.carry_out(message, outcome)
        except QueueFaultError:
            return False
