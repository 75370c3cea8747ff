"""A plan → what is in S3 and in the queues when everything has come to its end.

The functions run in their own processes, the services on a port of this one. Time passes for
SQS's messages and for KVS and Connect as the functions ask for it, without anybody waiting: a
message that is hidden for 80 s is visible at once, and the services' clock is 80 s later. The
functions' own clock stays the machine's.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.behaviour import UNLIMITED
from local.call import Call
from local.resources import Resources, build_environment, create_resources
from local.runtime import ARCHIVE_HANDLER, FLOW_HANDLER, EventSource, Function, FunctionError
from local.server import LocalAws
from tests.faults.plan import Plan, Trigger
from tests.support.sqs import messages_in, pass_time

type Json = dict[str, Any]

RESOURCES = Resources("campaign", "campaign-jobs", "campaign-failed-jobs")
MOST_POLLS = 120
"""Three messages are received at most 15 times each, and every wait is one more poll."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is left of a call.

    Attributes:
        objects: key → content of everything in the bucket.
        failed: the failed-jobs queue: bodies, and the attributes by name.
        ended: whether every message left the queue.
        uploads: multipart uploads that were not ended.
        invocations: of ArchiveFunction.
        errors: what the functions raised, or caught without knowing it.
    """

    objects: dict[str, bytes]
    failed: tuple[tuple[Json, dict[str, str]], ...]
    ended: bool
    uploads: int
    invocations: int
    errors: tuple[str, ...]


class Stage:
    """One local AWS with its functions, for one plan after another."""

    def __init__(
        self, aws: LocalAws, flow: Function, archive: dict[str, Function], logs: Path
    ) -> None:
        self._aws = aws
        self._logs = logs
        self._read_bytes: Counter[str] = Counter()
        self._flow = flow
        self._archive = archive
        self._s3: Any = aws.client("s3")
        self._sqs: Any = aws.client("sqs")
        create_resources(aws.endpoint_url, RESOURCES)

    def play(self, plan: Plan) -> Outcome:
        """Tells of the call by every trigger, and delivers messages until none is left."""
        self._prepare(plan)
        queue_url = self._url(RESOURCES.queue)
        errors = [*self._tell(plan, queue_url)]
        self._aws.moto_faults = plan.moto_faults
        source = EventSource(self._sqs, queue_url, self._archive[plan.tracks])
        invocations = 0
        for _ in range(MOST_POLLS):
            if not self._wait():
                break
            invocations += 1
            try:
                source.poll(wait_s=0)
            except FunctionError as error:
                errors.append(str(error))
        self._aws.moto_faults = ()
        errors += self._unforeseen(plan.tracks)
        return Outcome(
            objects=self._objects(),
            failed=tuple(self._failed_jobs()),
            ended=not messages_in(RESOURCES.queue),
            uploads=len(self._uploads()),
            invocations=invocations,
            errors=tuple(errors),
        )

    def _prepare(self, plan: Plan) -> None:
        aws, call = self._aws, plan.call
        aws.behaviour = UNLIMITED
        aws.kvs.reset()
        aws.connect.reset()
        for key in self._keys():
            self._s3.delete_object(Bucket=RESOURCES.bucket, Key=key)
        for queue in (RESOURCES.queue, RESOURCES.failed_queue):
            messages_in(queue).clear()
        aws.clock.set_ms(time.time_ns() // 1_000_000)
        placed = (call, *plan.neighbours) if plan.is_streamed else plan.neighbours
        aws.place(*placed, ended_s_ago=None)
        if plan.recordings_after_ms != 0:
            after_ms = plan.recordings_after_ms
            shown_ms = None if after_ms is None else call.stop_timestamp_ms + after_ms
            aws.connect.register(call, recordings_from_ms=shown_ms or 1 << 62)
        aws.behaviour = plan.behaviour

    def _tell(self, plan: Plan, queue_url: str) -> Iterator[str]:
        """Fires the triggers; what FlowFunction raised."""
        for trigger in plan.triggers:
            if trigger in ("flow", "flow, not stopped yet"):
                try:
                    answer = self._flow.invoke(_flow_event(plan.call, trigger))
                except FunctionError as error:
                    yield str(error)
                    continue
                if answer["archiveStatus"] != "QUEUED":
                    yield f"FlowFunction answered {answer['archiveStatus']}"
            else:
                body = json.dumps(_message(plan.call, trigger))
                self._sqs.send_message(QueueUrl=queue_url, MessageBody=body)

    def _wait(self) -> bool:
        """Advances the clock until a message is visible; False if there is none."""
        if not messages_in(RESOURCES.queue):
            return False
        self._aws.clock.advance_ms(round(pass_time(RESOURCES.queue)))
        return True

    def _unforeseen(self, tracks: str) -> Iterator[str]:
        """What the handler caught without knowing it, by its log since the last call."""
        with (self._logs / f"archive-{tracks}.log").open("rb") as log:
            log.seek(self._read_bytes[tracks])
            for line in log:
                self._read_bytes[tracks] += len(line)
                if b'"unforeseen error"' in line:
                    yield f"unforeseen: {json.loads(line)['exception_name']}"

    def _url(self, queue: str) -> str:
        url: str = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        return url

    def _keys(self) -> list[str]:
        listing = self._s3.list_objects_v2(Bucket=RESOURCES.bucket)
        return [entry["Key"] for entry in listing.get("Contents", [])]

    def _objects(self) -> dict[str, bytes]:
        return {
            key: self._s3.get_object(Bucket=RESOURCES.bucket, Key=key)["Body"].read()
            for key in self._keys()
        }

    def _failed_jobs(self) -> Iterator[tuple[Json, dict[str, str]]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._url(RESOURCES.failed_queue),
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
        )
        for message in answer.get("Messages", []):
            attributes = message.get("MessageAttributes", {})
            texts = {name: attribute["StringValue"] for name, attribute in attributes.items()}
            yield json.loads(message["Body"]), texts

    def _uploads(self) -> list[Json]:
        uploads: list[Json] = self._s3.list_multipart_uploads(Bucket=RESOURCES.bucket).get(
            "Uploads", []
        )
        return uploads


@contextmanager
def open_stage(logs: Path) -> Iterator[Stage]:
    """A stage with warm functions."""
    with ExitStack() as running:
        aws = running.enter_context(LocalAws())
        environment = build_environment(aws.endpoint_url, RESOURCES)
        flow = Function(
            FLOW_HANDLER,
            environment["FlowFunction"],
            logs / "flow.log",
            timeout_s=8,
            skips_pauses=True,
        )
        archive = {
            tracks: Function(
                ARCHIVE_HANDLER,
                {**environment["ArchiveFunction"], "ARCHIVE_TRACKS": tracks},
                logs / f"archive-{tracks}.log",
                skips_pauses=True,
                longest_wait_s=1,
            )
            for tracks in ("customer", "both")
        }
        for function in (flow, *archive.values()):
            running.enter_context(function)
        yield Stage(aws, flow, archive, logs)


def _flow_event(call: Call, trigger: Trigger) -> Json:
    if trigger == "flow":
        return call.flow_event("stopped")
    return call.flow_event("stopped_without_stop_keys", {"archive": "now"})


def _message(call: Call, trigger: Trigger) -> Json:
    if trigger == "contact record":
        return call.contact_record()
    return call.contact_event("COMPLETED" if trigger == "COMPLETED" else "DISCONNECTED")
