"""A job's way through the deployed code: a call on the local KVS → S3 and the queues."""

import io
import json
import wave
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from local.behaviour import UNLIMITED, Behaviour
from local.call import Call, Delivery, simulate_call
from local.demo_call import INSTANCE_ARN, STREAM_ARN
from local.pcm import Pcm, synthetic_pcm
from local.resources import Resources, build_environment, create_with
from local.runtime import Invocable
from local.sample_events import build_sqs_event
from local.server import LocalAws
from tests.support.schemas import schema

type Json = dict[str, Any]

RESOURCES = Resources("call-archive-test", "call-archive-jobs", "call-archive-failed-jobs")
CONTACT_ID = "0f0e0d0c-1111-2222-3333-444455556666"
OTHER_CONTACT_ID = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
START_MS = 1_767_258_000_000
WAV_HEADER_BYTES = 44
BYTES_PER_MS = 16
SETTLES = 5
"""The receive at which a run accepts a partial recording."""
GIVES_UP = 10
"""The receive after which a message goes to the failed-jobs queue."""


def environment(aws: LocalAws, tracks: str = "customer") -> dict[str, str]:
    """ArchiveFunction's variables."""
    variables = build_environment(aws.endpoint_url, RESOURCES)["ArchiveFunction"]
    return {**variables, "ARCHIVE_TRACKS": tracks}


def flow_environment(aws: LocalAws) -> dict[str, str]:
    """FlowFunction's variables."""
    return build_environment(aws.endpoint_url, RESOURCES)["FlowFunction"]


def caller(seconds: float = 6.0) -> bytes:
    """What the customer says: every block is different, so that misplaced audio shows."""
    return _pcm(seconds, seed=1)


def agent(seconds: float = 6.0) -> bytes:
    """What the agent says."""
    return _pcm(seconds, seed=2)


def _pcm(seconds: float, seed: int) -> bytes:
    pcm: Pcm = synthetic_pcm(seconds, seed)
    return pcm[0 : len(pcm)]


def call(
    delivery: Delivery | None = None,
    *,
    customer: Pcm | None = None,
    to_customer: Pcm | None = None,
    contact_id: str = CONTACT_ID,
    start_ms: int = START_MS,
    first_sequence: int = 4001,
    initial_contact_id: str | None = None,
    stream_arn: str = STREAM_ARN,
) -> Call:
    """A call of six seconds on the stream that most tests use."""
    return simulate_call(
        caller() if customer is None else customer,
        agent() if to_customer is None else to_customer,
        contact_id=contact_id,
        initial_contact_id=initial_contact_id,
        instance_arn=INSTANCE_ARN,
        stream_arn=stream_arn,
        start_ms=start_ms,
        first_sequence=first_sequence,
        seed=first_sequence,
        delivery=delivery,
    )


def neighbours(middle: Call) -> tuple[Call, Call]:
    """Calls of another contact right before and right after, on the same stream."""
    noise = bytes(range(1, 129)) * 250
    before = call(
        customer=noise,
        to_customer=noise,
        contact_id=OTHER_CONTACT_ID,
        start_ms=middle.start_timestamp_ms - 2300,
        first_sequence=3001,
        stream_arn=middle.stream_arn,
    )
    after = call(
        customer=noise,
        to_customer=noise,
        contact_id=OTHER_CONTACT_ID,
        start_ms=middle.stop_timestamp_ms + 100,
        first_sequence=5001,
        stream_arn=middle.stream_arn,
    )
    return before, after


def silenced(pcm: bytes, start_ms: int, stop_ms: int) -> bytes:
    """The PCM with a stretch of it replaced by silence."""
    start, stop = start_ms * BYTES_PER_MS, min(stop_ms * BYTES_PER_MS, len(pcm))
    return pcm[:start] + bytes(stop - start) + pcm[stop:]


def interleave(left: bytes, right: bytes) -> bytes:
    """Left-right frames, the slow and plain way."""
    return b"".join(left[i : i + 2] + right[i : i + 2] for i in range(0, len(left), 2))


def deliver(
    function: Invocable, message: Mapping[str, Any], receives: int = 1, sent_ms: int = START_MS
) -> bool:
    """Hands a function one message as SQS would; whether it is done with it."""
    event = build_sqs_event(message, sent_ms)
    event["Records"][0]["attributes"]["ApproximateReceiveCount"] = str(receives)
    return not function.invoke(event)["batchItemFailures"]


class Journey:
    """An empty AWS, one function, and what comes out of it."""

    function: Any
    """What is invoked, whatever else it can do."""

    def __init__(
        self, aws: LocalAws, function: Invocable, client: Callable[[str], Any] | None = None
    ) -> None:
        """Empties the AWS; `client` makes clients of it that need no network."""
        self.aws = aws
        self.function = function
        client = client or aws.client
        aws.reset()
        # Quotas count real time: the tests that are about them turn them on.
        aws.behaviour = UNLIMITED
        self.s3, self.sqs = client("s3"), client("sqs")
        create_with(self.s3, self.sqs, RESOURCES)

    def behave(self, **changes: Any) -> None:
        self.aws.behaviour = replace(self.aws.behaviour, **changes)

    def place(self, middle: Call, *, behaviour: Behaviour | None = None) -> Call:
        """Puts the call on the stream, between two calls of another contact."""
        self.aws.place(middle, *neighbours(middle))
        if behaviour is not None:
            self.aws.behaviour = behaviour
        return middle

    def run(self, message: Mapping[str, Any], receives: int = 1, sent_ms: int = START_MS) -> bool:
        """Hands the function one message; whether it is done with it."""
        return deliver(self.function, message, receives, sent_ms)

    def archive(self, middle: Call, receives: int = 1) -> bool:
        """Runs the flow's job for a call."""
        return self.run(middle.archive_job(), receives)

    def keys(self) -> list[str]:
        """Everything in the bucket."""
        listing = self.s3.list_objects_v2(Bucket=RESOURCES.bucket)
        return [entry["Key"] for entry in listing.get("Contents", [])]

    def manifest(self) -> Json:
        """The only manifest."""
        (key,) = [key for key in self.keys() if key.startswith("manifests/")]
        manifest: Json = json.loads(self._read(key))
        schema("manifest").validate(manifest)
        return manifest

    def wav(self) -> bytes:
        """The only recording."""
        (key,) = [key for key in self.keys() if key.startswith("recordings/")]
        return self._read(key)

    def failure_codes(self) -> list[str]:
        """Why the messages in the failed-jobs queue are there."""
        return [failed["code"] for failed in self.failed_jobs()]

    def pcm(self) -> bytes:
        """The only recording's frames, as Python's `wave` reads them."""
        with wave.open(io.BytesIO(self.wav())) as recording:
            assert recording.getframerate() == 8000
            assert recording.getsampwidth() == 2
            frames: bytes = recording.readframes(recording.getnframes())
            return frames

    def uploads(self) -> list[Json]:
        """Multipart uploads that were not ended."""
        listing = self.s3.list_multipart_uploads(Bucket=RESOURCES.bucket)
        return [dict(upload) for upload in listing.get("Uploads", [])]

    def failed_jobs(self) -> list[Json]:
        """The messages in the failed-jobs queue: body, and attributes by name."""
        return list(self._receive(RESOURCES.failed_queue))

    def queued_jobs(self) -> list[Json]:
        """The messages in the archive queue."""
        return list(self._receive(RESOURCES.queue))

    def _receive(self, queue: str) -> Iterator[Json]:
        url = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        answer = self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        for message in answer.get("Messages", []):
            attributes = message.get("MessageAttributes", {})
            texts = {name: attribute["StringValue"] for name, attribute in attributes.items()}
            yield {"body": json.loads(message["Body"]), **texts}

    def _read(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=RESOURCES.bucket, Key=key)["Body"].read()
        return body
