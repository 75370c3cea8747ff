"""The proof: recording, manifest, tags and encryption are read from S3 and compared."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from call_archive.fields import instance_id_of
from call_archive.keys import manifest_key, recording_key
from call_archive_cli.doctor import FORBIDDEN, Verdict
from call_archive_cli.rehearsal.comparison import Archived, compare
from call_archive_cli.rehearsal.recorder import as_step_error
from call_archive_cli.rehearsal.stage import Stage, job_of
from call_archive_cli.rehearsal.steps import Step, StepError

if TYPE_CHECKING:
    from call_archive.recording.manifest import Manifest
    from call_archive_cli.rehearsal.flow_event import Streamed


def compare_with_script(stage: Stage, streamed: Streamed, manifest: Manifest) -> None:
    """One step for each comparison; a difference does not end the run."""
    setup = stage.plan.setup
    key = setup.parameters.get("ArchiveKmsKeyArn", "")
    began = time.monotonic()
    try:
        checks = list(
            compare(
                _fetch(stage, streamed, manifest),
                stage.script,
                stereo=setup.parameters.get("Tracks") == "both",
                instance_id=instance_id_of(setup.instance_arn),
                encryption=f"aws:kms {key}" if key else "",
            )
        )
    except (ClientError, BotoCoreError, OSError) as error:
        step = Step("recording", "both objects can be read")
        step.fail(as_step_error(error))
        stage.recorder.record(step, began)
        raise StepError(step.seen) from error
    for check in checks:
        step = Step(check.name, check.expected, check.seen, fix=check.fix)
        step.convicts = check.convicts
        if not check.is_good:
            step.verdict = Verdict.UNKNOWN if check.is_good is None else Verdict.WRONG
        stage.recorder.record(step, began)
        began = time.monotonic()


def _fetch(stage: Stage, streamed: Streamed, manifest: Manifest) -> Archived:
    s3, place, job = stage.plan.setup.clients.s3(), stage.plan.place, job_of(streamed)
    keys = (recording_key(place.prefix, job), manifest_key(place.prefix, job))
    answers = [s3.get_object(Bucket=place.bucket, Key=key) for key in keys]
    recording: bytes = answers[0]["Body"].read()
    encryption = [
        " ".join(filter(None, (answer.get("ServerSideEncryption"), answer.get("SSEKMSKeyId"))))
        for answer in answers
    ]
    try:
        tags = [
            {
                tag["Key"]: tag["Value"]
                for tag in s3.get_object_tagging(Bucket=place.bucket, Key=key)["TagSet"]
            }
            for key in keys
        ]
    except ClientError as error:
        if error.response["Error"]["Code"] not in FORBIDDEN:
            raise
        return Archived(manifest, recording, None, (encryption[0], encryption[1]))
    return Archived(manifest, recording, (tags[0], tags[1]), (encryption[0], encryption[1]))
