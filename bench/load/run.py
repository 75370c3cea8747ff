"""One load: calls, a trigger, workers → its cost; every recording is checked."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import batched
from typing import Any, Final, Literal

import boto3

from bench.archive_function import POWERTOOLS
from bench.load.calls import CALL_S
from bench.load.workers import Crew, Invocation, MeasuredFunction
from bench.measure import WORK
from bench.servers import ServerProcess
from call_archive.recording.manifest import decode_manifest
from local.sample_events import build_sqs_event

type Json = dict[str, Any]
type Trigger = Literal["flow", "contact"]

SQS_BATCH: Final = 10
_SLOWEST_S_A_CALL: Final = 5
_LEAST_S: Final = 300


@dataclass(frozen=True, slots=True)
class Load:
    """Calls that end at once.

    Attributes:
        trigger: `flow` queues their ArchiveJobs, `contact` their contact events only.
    """

    trigger: Trigger
    jobs: int
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What a load took, from the last message sent to the last message done with.

    Attributes:
        began_s: when all messages were in the queue, seconds since the epoch.
        requests, refusals: calls by API in that time.
        server_cpu_s: CPU of the local AWS in that time.
        pollers_cpu_s: CPU of the pollers.
        failed: messages in the queue of failed jobs.
        exact: recordings whose bytes are what the customer said, with a complete manifest.
        verified_bytes: of those.
        fragments, call_bytes: of a call.
    """

    load: Load
    began_s: float
    invocations: Sequence[Invocation]
    requests: Mapping[str, int]
    refusals: Mapping[str, int]
    server_cpu_s: float
    server_peak_bytes: int
    pollers_cpu_s: float
    failed: int
    exact: int
    verified_bytes: int
    fragments: int
    call_bytes: int

    @property
    def ages_s(self) -> list[float]:
        """Of every message when it was done with; all became due when the last was sent."""
        return [one.ended_s - self.began_s for one in self.invocations if one.is_done]

    @property
    def wall_s(self) -> float:
        """Until the last message was done with."""
        return max(self.ages_s)

    @property
    def audio_s(self) -> float:
        """How long all calls are together."""
        return self.load.jobs * CALL_S

    @property
    def function_cpu_s(self) -> float:
        """CPU of the functions' processes in all invocations."""
        return sum(one.cpu_s for one in self.invocations)

    def requests_a_call(self, *, sqs: bool) -> float:
        """HTTP requests for each call, to SQS or to all others."""
        count = sum(n for api, n in self.requests.items() if api.startswith("SQS ") == sqs)
        return count / self.load.jobs


def run_load(load: Load) -> LoadResult:
    """Runs one load on its own local AWS.

    Raises:
        TimeoutError: it takes far longer than it should.
    """
    with ExitStack() as running:
        server = running.enter_context(ServerProcess("bench.load.server"))
        place = {"jobs": load.jobs, "warm_ups": load.workers, "trigger": load.trigger}
        placed = server.ask(json.dumps({"place": place}))
        functions = [
            running.enter_context(build_function(server, number)) for number in range(load.workers)
        ]
        warm_up(functions, placed["warm_ups"])
        return _measure(load, server, functions, placed)


def build_function(server: ServerProcess, number: int) -> MeasuredFunction:
    """ArchiveFunction in its own process."""
    log = WORK / "logs" / f"load-worker-{number}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    return MeasuredFunction({**server.introduction["environment"], **POWERTOOLS}, log)


def warm_up(functions: Sequence[MeasuredFunction], calls: Sequence[Json]) -> None:
    """Lets each process make its clients with its own call."""
    for function, call in zip(functions, calls, strict=True):
        answer = function.invoke(build_sqs_event(call["message"], time.time_ns() // 1_000_000))
        if answer["batchItemFailures"]:
            raise RuntimeError("a warm-up call was not archived; see .bench/logs")
        function.invocations.clear()


def _measure(
    load: Load, server: ServerProcess, functions: Sequence[MeasuredFunction], placed: Json
) -> LoadResult:
    options, queue_url = server.introduction["client_options"], server.introduction["queue_url"]
    crew = Crew(functions, options, queue_url)
    sqs = boto3.client("sqs", **options)
    _send(sqs, queue_url, [call["message"] for call in placed["calls"]])
    before = server.ask('{"counts": {}}')
    pollers_cpu_s, began_s = time.process_time(), time.time()
    crew.work_off(load.jobs, max(_LEAST_S, load.jobs * _SLOWEST_S_A_CALL))
    pollers_cpu_s = time.process_time() - pollers_cpu_s
    after = server.ask('{"counts": {}}')
    s3 = boto3.client("s3", **options)
    exact, verified_bytes = verify(s3, server.introduction["bucket"], placed["calls"])
    return LoadResult(
        load=load,
        began_s=began_s,
        invocations=crew.invocations,
        requests=_difference(after["requests"], before["requests"]),
        refusals=_difference(after["refusals"], before["refusals"]),
        server_cpu_s=after["cpu_s"] - before["cpu_s"],
        server_peak_bytes=after["peak_bytes"],
        pollers_cpu_s=pollers_cpu_s,
        failed=_failed_jobs(sqs, server.introduction["environment"]["FAILED_JOBS_QUEUE_URL"]),
        exact=exact,
        verified_bytes=verified_bytes,
        fragments=placed["fragments"],
        call_bytes=placed["bytes"],
    )


def _send(sqs: Any, queue_url: str, messages: Sequence[Json]) -> None:  # noqa: ANN401 - a boto3 client
    for batch in batched(messages, SQS_BATCH):
        answer = sqs.send_message_batch(
            QueueUrl=queue_url,
            Entries=[
                {"Id": str(place), "MessageBody": json.dumps(message)}
                for place, message in enumerate(batch)
            ],
        )
        if answer.get("Failed"):
            raise RuntimeError("SQS did not take a message")


def _failed_jobs(sqs: Any, queue_url: str) -> int:  # noqa: ANN401 - a boto3 client
    name = "ApproximateNumberOfMessages"
    answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=[name])
    return int(answer["Attributes"][name])


def _difference(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {api: count - before.get(api, 0) for api, count in after.items()}


def verify(s3: Any, bucket: str, calls: Sequence[Json]) -> tuple[int, int]:  # noqa: ANN401 - a boto3 client
    """How many recordings are exact, with a complete manifest that says so; and their bytes.

    Args:
        s3: a boto3 S3 client.
        bucket: the bucket that holds them.
        calls: `contact_id` and `sha256`, what the recording's should be, of each.
    """
    keys = _keys_by_contact(s3, bucket)
    exact = verified_bytes = 0
    for call in calls:
        recorded = keys.get(call["contact_id"], [])
        if sorted(key.rpartition(".")[2] for key in recorded) != ["json", "wav"]:
            continue
        contents = {
            key.rpartition(".")[2]: s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            for key in recorded
        }
        manifest = decode_manifest(contents["json"])
        digest = hashlib.sha256(contents["wav"]).hexdigest()
        if manifest.is_complete and call["sha256"] == digest == manifest.sha256:
            exact += 1
            verified_bytes += len(contents["wav"])
    return exact, verified_bytes


def _keys_by_contact(s3: Any, bucket: str) -> dict[str, list[str]]:  # noqa: ANN401 - a boto3 client
    keys: dict[str, list[str]] = {}
    for key in _keys(s3, bucket):
        keys.setdefault(key.split("/")[-2], []).append(key)
    return keys


def _keys(s3: Any, bucket: str) -> Iterator[str]:  # noqa: ANN401 - a boto3 client
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            yield entry["Key"]
