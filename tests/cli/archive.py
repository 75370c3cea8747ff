"""The contents of a bucket and of queues, made by hand: keys, WAV and manifest as documented."""

import hashlib
import io
import json
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.integration.journey import CONTACT_ID, RESOURCES, caller
from tests.support.manifests import older_manifest

type Json = dict[str, Any]

START = "91343852333181452199722691242388315377601508574"


def wav(pcm: bytes) -> bytes:
    """A WAV by Python's own module."""
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(8000)
        recording.writeframes(pcm)
    return file.getvalue()


def build_manifest(
    contact_id: str, recording_key: str, body: bytes, started: str = "2026-01-01T09:00:01.242Z"
) -> Json:
    """The manifest of a complete recording."""
    length_ms = (len(body) - 44) // 16
    ended = datetime.fromisoformat(started) + timedelta(milliseconds=length_ms)
    return older_manifest(
        contactId=contact_id,
        initialContactId=contact_id,
        instanceArn="",
        recordingUri=f"s3://bucket/{recording_key}",
        durationMs=length_ms,
        startedAt=started,
        endedAt=f"{ended:%Y-%m-%dT%H:%M:%S.000Z}",
        bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
    )


@dataclass(frozen=True)
class Archive:
    """Puts recordings into the bucket."""

    s3: Any
    bucket: str

    def put(
        self,
        contact_id: str = CONTACT_ID,
        started: str = "2026-01-01T09:00:01.242Z",
        *,
        prefix: str = "",
        start: str = START,
        pcm: bytes | None = None,
        **changes: Any,
    ) -> str:
        """A recording and its manifest; the recording's key."""
        body = wav(caller() if pcm is None else pcm)
        at = datetime.fromisoformat(started)
        tail = f"{at:year=%Y/month=%m/day=%d}/{contact_id}/{start}"
        key = f"{prefix}recordings/{tail}.wav"
        manifest = build_manifest(contact_id, key, body, started) | {
            "recordingUri": f"s3://{self.bucket}/{key}",
            **changes,
        }
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        self.put_manifest(f"{prefix}manifests/{tail}.json", manifest)
        return key

    def put_manifest(self, key: str, manifest: Mapping[str, Any] | str) -> None:
        """Only a manifest."""
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=text.encode())


@dataclass(frozen=True)
class Queues:
    """Both queues."""

    sqs: Any

    def url(self, name: str) -> str:
        url: str = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        return url

    def fail(self, body: Mapping[str, Any] | str, **attributes: str) -> None:
        """A message in the queue of failed jobs."""
        self.sqs.send_message(
            QueueUrl=self.url(RESOURCES.failed_queue),
            MessageBody=body if isinstance(body, str) else json.dumps(body),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": text}
                for name, text in attributes.items()
            },
        )

    def queued(self) -> list[Json]:
        """Takes the bodies out of the archive queue."""
        return self._bodies(RESOURCES.queue)

    def failed(self) -> list[Json]:
        """Takes the bodies out of the queue of failed jobs."""
        return self._bodies(RESOURCES.failed_queue)

    def _bodies(self, name: str) -> list[Json]:
        url, bodies = self.url(name), []
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            for message in messages:
                bodies.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies
