"""A deployed stack → what a rehearsal makes there, what that costs, and what is in its way."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from call_archive.fields import account_of, instance_id_of, region_of
from call_archive_cli.doctor import (
    FORBIDDEN,
    NOT_OF_A_CALL,
    Finding,
    Setup,
    Verdict,
    examine,
    read_lock,
)
from call_archive_cli.exits import USAGE, CommandError
from call_archive_cli.rehearsal.costs import Cost, estimate
from call_archive_cli.rehearsal.leftovers import NAME_INFIX, Place
from call_archive_cli.rehearsal.script import build_script, duration_ms, read_voices

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_HOURS: Final = 1
_DEFAULT_HOURS: Final = 24
_MANAGED_KEY: Final = "alias/aws/kinesisvideo"
_FATAL: Final = frozenset(("media streaming", "retention", "stream prefix", "bucket"))
"""What is wrong here makes every further step pointless."""

_OF_OTHERS: Final = frozenset(("failed jobs",))
"""What is wrong here is not this call's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done.

    Attributes:
        setup: the stack.
        place: where everything of it will be.
        run_id: of this run; part of every name.
        retention_hours: of the stream.
        kms_key: of the stream; "" is the key that KVS manages.
        findings: what `doctor` says.
        lock: how the bucket would keep what is in it, in words; "" if it does not.
        media_bytes: what is sent.
        looked_s: how long the look at all of this took.
    """

    setup: Setup
    place: Place
    run_id: str
    retention_hours: int
    kms_key: str
    findings: list[Finding]
    lock: str
    media_bytes: int
    looked_s: float
    cost: Cost = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cost", estimate(self.media_bytes))

    @property
    def instance_id(self) -> str:
        """Of the Connect instance."""
        return instance_id_of(self.setup.instance_arn)

    @property
    def stream_name(self) -> str:
        """Named like Connect's, so that ArchiveRole's permissions are the ones in use."""
        return f"{self.place.stream_prefix}{NAME_INFIX}{self.run_id}"

    @property
    def names(self) -> frozenset[str]:
        """Ids and names of this account and its instance."""
        setup = self.setup
        return frozenset(
            (
                account_of(setup.instance_arn),
                self.instance_id,
                self.place.bucket,
                self.place.stream_prefix,
                self.stream_name,
                self.place.stack,
                self.kms_key.rpartition("/")[2],
                *setup.resources.values(),
            )
        )

    @property
    def wrong(self) -> list[Finding]:
        """What is wrong with the set-up, and touches this call."""
        return [
            finding
            for finding in self.findings
            if finding.verdict is Verdict.WRONG and finding.subject not in _OF_OTHERS
        ]

    @property
    def obstacles(self) -> list[Finding]:
        """What makes it pointless to go on."""
        return [finding for finding in self.wrong if finding.subject in _FATAL]

    @property
    def simulation_sentence(self) -> str:
        """What `--simulate` does, in one line."""
        return (
            f"creates a flow and a test case in the instance {self.instance_id}, lets Amazon "
            "Connect simulate one contact with it (no number is dialled; 5 minutes at most; by "
            "documentation only: nobody has run it yet), and follows that contact to its "
            "recording; then deletes flow, test case and recording"
        )

    def sentence(self, *, fast: bool) -> str:
        """In one line: what is made, what it costs, what is deleted."""
        seconds = 7 if fast else round(duration_ms() / 1000)
        key = self.kms_key.rpartition(":")[2] if self.kms_key else "the key that KVS manages"
        return (
            f"creates the stream {self.stream_name} (retention {self.retention_hours} h, {key}), "
            f"speaks {self.media_bytes:,} bytes into it in {seconds} s, has one call archived to "
            f"s3://{self.place.bucket}/{self.place.prefix}; costs about {self.cost.usd:.4f} USD "
            f"({self.cost.arithmetic}); then deletes the stream and both objects with all versions"
        )


def make_plan(setup: Setup, stack: str) -> Plan:
    """Looks, and changes nothing.

    Raises:
        CommandError: the instance is not known.
        ClientError: AWS refuses.
    """
    if not setup.instance_arn:
        raise CommandError("the stack serves any instance: give --instance-arn", USAGE)
    began = time.monotonic()
    findings = list(examine(setup, leave_out=NOT_OF_A_CALL))
    video = _video(setup)
    run_id = str(uuid.uuid4())
    place = place_of(setup, stack, video)
    script = build_script(read_voices(), run_id, instance_id_of(setup.instance_arn), 0)
    try:
        lock = lock_of(setup, place.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in FORBIDDEN:
            raise
        text = f"your credentials do not allow {error.operation_name}"
        advice = "give your role docs/policies/rehearse.json"
        findings.append(Finding("bucket lock", Verdict.UNKNOWN, text, advice))
        lock = ""
    key = str((video.get("EncryptionConfig") or {}).get("KeyId") or "")
    return Plan(
        setup,
        place,
        run_id,
        max(LEAST_HOURS, int(video.get("RetentionPeriodHours") or _DEFAULT_HOURS)),
        "" if key.endswith(_MANAGED_KEY) else key,
        findings,
        lock,
        sum(len(fragment) for call in script.calls for fragment in call.fragments()),
        time.monotonic() - began,
    )


def place_of(setup: Setup, stack: str, video: Mapping[str, Any] | None = None) -> Place:
    """Where the rehearsals of a stack are."""
    if video is None:
        video = _video(setup)
    # Connect puts "-connect-ALIAS" behind the prefix that was typed in.
    prefix = str(video.get("Prefix") or "").partition("-connect-")[0]
    allowed = setup.parameters.get("StreamPrefix", "*")
    if not prefix:
        prefix = "call-archive" if allowed == "*" else allowed
    return Place(
        stack,
        region_of(setup.instance_arn),
        prefix,
        setup.resources.get("ArchiveBucket") or setup.parameters.get("ArchiveBucketName", ""),
        setup.parameters.get("ArchivePrefix", ""),
    )


def _video(setup: Setup) -> Mapping[str, Any]:
    """KinesisVideoStreamConfig of the instance; empty if it may not be read or is not there."""
    connect = setup.clients.connect(region_of(setup.instance_arn))
    try:
        configs = connect.list_instance_storage_configs(
            InstanceId=instance_id_of(setup.instance_arn), ResourceType="MEDIA_STREAMS"
        ).get("StorageConfigs", [])
    except ClientError as error:
        if error.response["Error"]["Code"] in FORBIDDEN:
            return {}
        raise
    return configs[0].get("KinesisVideoStreamConfig", {}) if configs else {}


def lock_of(setup: Setup, bucket: str) -> str:
    """How long the bucket keeps deleted objects; "" if it does not."""
    return str(read_lock(setup, bucket) or "")
