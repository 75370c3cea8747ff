"""The archive's part: waits for a manifest, and collects what says why it does not come."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from call_archive.fields import instance_id_of
from call_archive.keys import manifest_key
from call_archive.moments import now_ms
from call_archive_cli.backfill import PastContact, build_event
from call_archive_cli.manifests import ManifestError, StoredManifest, decode_manifest
from call_archive_cli.rehearsal.diagnosis import Facts, diagnose
from call_archive_cli.rehearsal.invoking import send
from call_archive_cli.rehearsal.stage import POLL_S, Stage, job_of
from call_archive_cli.rehearsal.steps import StepError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from call_archive_cli.rehearsal.flow_event import Streamed

_MISSING: Final = frozenset(("404", "NoSuchKey", "NotFound"))


def await_manifest(stage: Stage, streamed: Streamed) -> StoredManifest:
    """Waits for a manifest that says complete."""
    key = manifest_key(stage.plan.place.prefix, job_of(streamed))
    with stage.recorder.step("archived", "a manifest that says complete") as step:
        facts = Facts(log_group=stage.plan.setup.resources.get("ArchiveLogGroup", ""))
        facts.failed_before = _count_messages(stage, "FailedJobsQueue")[0]
        began = looked = time.monotonic()
        since_ms = now_ms() - 60_000
        while True:
            stored = _read(stage, key)
            if stored is not None and stored.manifest.is_complete:
                break
            waited_s = time.monotonic() - began
            if time.monotonic() - looked >= stage.options.look_s:
                looked = time.monotonic()
                _collect(stage, facts, streamed.contact_id, since_ms)
                stage.progressed(f"{waited_s:.0f} s; {facts.progress}")
            if facts.failure is not None or waited_s > stage.options.patience_s:
                _collect(stage, facts, streamed.contact_id, since_ms)
                raise diagnose(facts, waited_s)
            stage.sleep(POLL_S)
        stage.made.is_queued = False
        step.seen = f"complete, {time.monotonic() - began:.0f} s after the flow"
        return stored


def hang_up(stage: Stage, contact_id: str) -> None:
    """A real contact, as if its caller had hung up: its contact event goes into the queue."""
    with stage.recorder.step("hang-up", "an archived contact") as step:
        arn, place = stage.plan.setup.instance_arn, stage.plan.place
        connect = stage.plan.setup.clients.connect(place.region)
        contact: Any = connect.describe_contact(
            InstanceId=instance_id_of(arn), ContactId=contact_id
        )["Contact"]
        if "DisconnectTimestamp" not in contact:
            raise StepError("the contact has not ended", "", "name a contact that has ended")
        stage.observed("describe-contact.json", contact)
        past = PastContact(
            contact_id,
            str(contact.get("InitialContactId") or contact_id),
            contact["InitiationTimestamp"],
            contact["DisconnectTimestamp"],
        )
        send(stage, build_event(past, arn))
        began = time.monotonic()
        day = contact["InitiationTimestamp"].date()
        while not (keys := _manifests_of(stage, contact_id, day)):
            waited_s = time.monotonic() - began
            if waited_s > stage.options.patience_s:
                facts = Facts(log_group=stage.plan.setup.resources.get("ArchiveLogGroup", ""))
                _collect(stage, facts, contact_id, now_ms() - 600_000)
                raise diagnose(facts, waited_s)
            stage.progressed(f"{waited_s:.0f} s")
            stage.sleep(POLL_S)
        step.seen = f"s3://{place.bucket}/{keys[0]}"


def _manifests_of(stage: Stage, contact_id: str, day: date) -> list[str]:
    place = stage.plan.place
    listed = stage.plan.setup.clients.s3().list_objects_v2(
        Bucket=place.bucket,
        Prefix=f"{place.prefix}manifests/{day:year=%Y/month=%m/day=%d}/{contact_id}/",
    )
    return [entry["Key"] for entry in listed.get("Contents", [])]


def _read(stage: Stage, key: str) -> StoredManifest | None:
    try:
        answer = stage.plan.setup.clients.s3().get_object(Bucket=stage.plan.place.bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in _MISSING:
            return None
        raise
    return read_manifest(answer["Body"].read())


def read_manifest(body: bytes) -> StoredManifest:
    """The manifest that these bytes are.

    Raises:
        StepError: they are none, or one of another version.
    """
    try:
        return decode_manifest(body)
    except ManifestError as error:
        raise StepError(
            f"the manifest cannot be read: {error}",
            "ArchiveFunction",
            "use the call-archive of the version that is deployed",
        ) from error


def _collect(stage: Stage, facts: Facts, contact_id: str, since_ms: int) -> None:
    """Adds what can be seen of the queues, the function and its log; some may be forbidden."""
    facts.waiting, facts.in_flight = _count_messages(stage, "ArchiveQueue")
    facts.failed = _count_messages(stage, "FailedJobsQueue")[0]
    setup = stage.plan.setup
    try:
        reserved = setup.client("lambda").get_function_concurrency(
            FunctionName=setup.resources["ArchiveFunction"]
        )
        facts.reserved = reserved.get("ReservedConcurrentExecutions", -1)
    except ClientError:
        facts.reserved = None
    try:
        facts.lines = _log_lines(stage, facts.log_group, contact_id, since_ms)
    except ClientError:
        facts.may_read_logs = False


def _count_messages(stage: Stage, logical_id: str) -> tuple[int | None, int | None]:
    """Waiting and in flight; unknown if it may not be asked."""
    names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateNumberOfMessagesNotVisible",
    ]
    setup = stage.plan.setup
    try:
        attributes = setup.client("sqs").get_queue_attributes(
            QueueUrl=setup.resources[logical_id], AttributeNames=names
        )["Attributes"]
    except ClientError:
        return None, None
    waiting, delayed, in_flight = (int(attributes.get(name, 0)) for name in names)
    return waiting + delayed, in_flight


def _log_lines(stage: Stage, group: str, contact_id: str, since_ms: int) -> list[Mapping[str, Any]]:
    pages = (
        stage.plan.setup.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=group, startTime=since_ms, filterPattern=f'"{contact_id}"')
    )
    lines: list[Mapping[str, Any]] = []
    for page in pages:
        for event in page["events"]:
            try:
                line = json.loads(event["message"])
            except ValueError:
                continue
            if isinstance(line, dict):
                lines.append(line)
    return lines
