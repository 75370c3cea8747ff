"""Environment → frozen settings, read once at start; the only module that reads it."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from call_archive.errors import ConfigurationError
from call_archive.limits import MAX_PREFIX_CHARACTERS
from call_archive.reasons import Code

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_KEY_ARN = re.compile(r"|arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+")
_PREFIX = re.compile(
    rf"|[A-Za-z0-9!_.*'()=-][A-Za-z0-9!_.*'()=/-]{{0,{MAX_PREFIX_CHARACTERS - 1}}}"
)


class Tracks(StrEnum):
    """Whose audio a recording holds."""

    CUSTOMER = "customer"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLocation:
    """Where recordings and manifests are stored, and which instance is served.

    Attributes:
        prefix: what every object key starts with; may be empty.
        instance_arn: the only instance served; "" for any instance of the account.
    """

    bucket: str
    prefix: str
    instance_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings:
    """FlowFunction's environment."""

    location: ArchiveLocation
    archive_queue_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSettings:
    """ArchiveFunction's environment.

    Attributes:
        region: the function's own, as Lambda sets it; "" elsewhere.
        kms_key_arn: the key that every object is written with; "" for the bucket's default.
        encryption_header: AES256 if every write must request S3's own keys; "" otherwise.
    """

    location: ArchiveLocation
    failed_jobs_queue_url: str
    tracks: Tracks
    region: str
    kms_key_arn: str = ""
    encryption_header: str = ""


def read_flow_settings(environment: Mapping[str, str] = os.environ) -> FlowSettings:
    """FlowFunction's settings.

    Raises:
        ConfigurationError: a variable is missing or malformed.
    """
    return FlowSettings(
        location=_read_location(environment),
        archive_queue_url=_read_url(environment, "ARCHIVE_QUEUE_URL"),
    )


def read_archive_settings(environment: Mapping[str, str] = os.environ) -> ArchiveSettings:
    """ArchiveFunction's settings.

    Raises:
        ConfigurationError: a variable is missing or malformed.
    """
    tracks = environment.get("ARCHIVE_TRACKS") or Tracks.CUSTOMER
    if tracks not in list(Tracks):
        raise ConfigurationError(Code.CONFIGURATION, "ARCHIVE_TRACKS must be customer or both")
    return ArchiveSettings(
        location=_read_location(environment),
        failed_jobs_queue_url=_read_url(environment, "FAILED_JOBS_QUEUE_URL"),
        tracks=Tracks(tracks),
        region=environment.get("AWS_REGION", ""),
        kms_key_arn=_read_key_arn(environment),
        encryption_header=_read_encryption_header(environment),
    )


def _read_location(environment: Mapping[str, str]) -> ArchiveLocation:
    bucket = environment.get("ARCHIVE_BUCKET", "")
    prefix = environment.get("ARCHIVE_PREFIX", "")
    if not _BUCKET.fullmatch(bucket):
        raise ConfigurationError(Code.CONFIGURATION, "ARCHIVE_BUCKET must be a bucket's name")
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(Code.CONFIGURATION, "ARCHIVE_PREFIX must be empty or a key prefix")
    return ArchiveLocation(
        bucket=bucket, prefix=prefix, instance_arn=environment.get("CONNECT_INSTANCE_ARN", "")
    )


def _read_key_arn(environment: Mapping[str, str]) -> str:
    key_arn = environment.get("ARCHIVE_KMS_KEY_ARN", "")
    if not _KEY_ARN.fullmatch(key_arn):
        raise ConfigurationError(
            Code.CONFIGURATION, "ARCHIVE_KMS_KEY_ARN must be empty or the ARN of a KMS key"
        )
    return key_arn


def _read_encryption_header(environment: Mapping[str, str]) -> str:
    header = environment.get("ARCHIVE_ENCRYPTION_HEADER", "")
    if header not in ("", "AES256"):
        raise ConfigurationError(
            Code.CONFIGURATION, "ARCHIVE_ENCRYPTION_HEADER must be empty or AES256"
        )
    return header


def _read_url(environment: Mapping[str, str], name: str) -> str:
    url = environment.get(name, "")
    if not url.startswith(("https://", "http://")):
        raise ConfigurationError(Code.CONFIGURATION, f"{name} must be a queue's URL")
    return url
