"""Targets: JSON from other services or from S3 → jobs, keys, a response to the flow."""

import json
import os

from call_archive.errors import NotYetError, RequestError, StorageFaultError
from call_archive.fields import region_of
from call_archive.intake.flow_event import Streaming, build_job, decode_flow_event
from call_archive.intake.message import read_request
from call_archive.job import ArchiveJob, build_job_message, decode_job
from call_archive.keys import manifest_key, recording_key
from call_archive.recording.manifest import decode_manifest, encode_manifest
from fuzz.journey import START_MS

NOW_MS = START_MS + 3_600_000
_MOST_KEY_BYTES = 1024  # S3, "Object key naming"
_MOST_ANSWER_BYTES = 32_768  # Connect, "Invoke AWS Lambda functions"


def _decode(source: bytes) -> object:
    try:
        return json.loads(source)
    except (ValueError, RecursionError):
        return None


def _check_job(job: ArchiveJob) -> None:
    """What passed the intake can be sent, and keeps inside its prefix."""
    assert decode_job(json.loads(json.dumps(build_job_message(job)))) == job
    assert job.start_timestamp_ms <= job.end_bound_ms
    assert region_of(job.stream_arn).replace("-", "").isalnum()
    for key in (recording_key("p/", job), manifest_key("p/", job)):
        top, kind, year, month, day, contact, name = key.split("/")
        assert (top, contact) == ("p", job.contact_id)
        assert kind in ("recordings", "manifests") and name[0].isdigit() and contact[0].isalnum()
        assert [part.partition("=")[0] for part in (year, month, day)] == ["year", "month", "day"]
        assert key.isascii() and key.isprintable()
        assert len(key) + 510 <= _MOST_KEY_BYTES, "the longest prefix has no room"


def fuzz_job(source: bytes) -> None:
    """An ArchiveJob, or RequestError."""
    message = _decode(source)
    if isinstance(message, dict):
        try:
            job = decode_job(message)
        except RequestError:
            return
        _check_job(job)


def fuzz_message(source: bytes) -> None:
    """A queue message of any kind; behind a NUL, what DescribeContact answers."""
    body, _, described = source.partition(b"\0")
    answer = _decode(described)
    contact = answer if isinstance(answer, dict) else {}
    for accept_partial in (False, True):
        try:
            order = read_request(
                body.decode(errors="replace"),
                lambda _instance, _contact: contact,
                lambda _instance: None,
                now_ms=NOW_MS,
                sent_ms=NOW_MS,
                accept_partial=accept_partial,
            )
        except (RequestError, NotYetError):
            continue
        for job in order.jobs:
            _check_job(job)


def fuzz_flow(source: bytes) -> None:
    """A flow's event → the answer: all keys, strings, no more than Connect takes."""
    os.environ.setdefault("ARCHIVE_BUCKET", "call-archive-demo")
    os.environ.setdefault("ARCHIVE_QUEUE_URL", "https://sqs.invalid/123456789012/jobs")
    from call_archive import flow_handler as handler  # noqa: PLC0415 - reads its environment then

    try:
        streaming = decode_flow_event(_decode(source))
        if not isinstance(streaming, Streaming):
            return
        job = build_job(streaming, NOW_MS)
    except RequestError as refusal:
        answer = handler.FlowAnswer(archiveStatus="REJECTED", reason=str(refusal.reason))
    else:
        _check_job(job)
        answer = handler._describe(streaming, job, handler.settings.location, "QUEUED")
    attributes = answer.as_attributes()
    assert attributes.keys() == handler.FlowAnswer().as_attributes().keys()
    assert all(isinstance(value, str) for value in attributes.values())
    assert len(json.dumps(attributes)) <= _MOST_ANSWER_BYTES


def fuzz_manifest(source: bytes) -> None:
    """The object at a manifest's key is a manifest, or causes a StorageFaultError."""
    try:
        manifest = decode_manifest(source)
    except StorageFaultError:
        return
    written = json.dumps(encode_manifest(manifest))
    assert json.dumps(encode_manifest(decode_manifest(written.encode()))) == written
