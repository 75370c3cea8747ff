"""What rehearsals leave in the account, and its removal.

A stream is a rehearsal's if both its name and its tag say so. It is removed last: as long as it is
there, a later run finds what belongs to it. Objects are found by the contact ids that only
rehearsals have, with every version and every delete marker.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from call_archive_cli.rehearsal.script import PREFIX
from call_archive_cli.rehearsal.steps import StepError
from call_archive_cli.words import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import date

    from call_archive_cli.clients import Clients

TAG: Final = "call-archive:rehearsal"
"""Its value is the stack's name."""

NAME_INFIX: Final = "-connect-rehearsal-contact-"
FOLDERS: Final = ("recordings", "manifests")
_SETTLE_S: Final = 60.0
_POLL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stack's rehearsals are.

    Attributes:
        stream_prefix: of the instance's streams.
        prefix: what every key of the archive starts with.
    """

    stack: str
    region: str
    stream_prefix: str
    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Leftover:
    """A stream of a rehearsal."""

    arn: str
    name: str
    created_at: datetime
    status: str

    @property
    def run_id(self) -> str:
        """The run that made it."""
        return self.name.partition(NAME_INFIX)[2]


@dataclass(slots=True)
class Leftovers:
    """All leftovers.

    Attributes:
        objects: key and version of each.
    """

    streams: list[Leftover] = field(default_factory=list)
    objects: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left, but for streams that are being deleted."""
        return not self.objects and all(stream.status == "DELETING" for stream in self.streams)

    def __str__(self) -> str:
        named = [stream.name for stream in self.streams if stream.status != "DELETING"]
        return ", ".join([*named, *(key for key, _ in self.objects)]) or "nothing"


def clean_command(stack: str) -> str:
    """The command that removes leftovers."""
    return f"call-archive --stack {stack} rehearse --clean"


def clean(
    clients: Clients,
    place: Place,
    run_id: str = "",
    *,
    sleep: Callable[[float], None] = time.sleep,
    tell: Callable[[str], None] = lambda _: None,
) -> str:
    """Removes the leftovers of one run or of all; checks again, and describes the result.

    Raises:
        StepError: something stays.
        ClientError: AWS refuses.
    """
    began, problems, removed = time.monotonic(), list[str](), set[str]()
    while (found := find(clients, place, run_id)).streams or found.objects:
        if found.is_empty and time.monotonic() - began > _SETTLE_S:
            return "the stream is DELETING, and nothing else is left"
        if problems and all(stream.status == "DELETING" for stream in found.streams):
            raise StepError(
                f"left: {found}; {'; '.join(problems)}",
                "the bucket keeps its objects",
                f"{clean_command(place.stack)}, when no lock keeps them",
            )
        tell(f"removing {found}")
        removed |= {stream.name for stream in found.streams} | {key for key, _ in found.objects}
        problems = remove(clients, place, found, sleep)
        sleep(_POLL_S)
    return f"{count(len(removed), 'thing')} removed, nothing is left"


def find(clients: Clients, place: Place, run_id: str = "", today: date | None = None) -> Leftovers:
    """Finds the leftovers of one run, or of all runs of the stack if none is named.

    Raises:
        ClientError: AWS refuses.
    """
    streams = list(_streams(clients, place, run_id))
    today = today or datetime.now(UTC).date()
    days = {today - timedelta(days=ago) for ago in (0, 1)}
    for stream in streams:
        created = stream.created_at.date()
        days |= {created, created + timedelta(days=1)}
    return Leftovers(streams, list(_objects(clients, place, f"{PREFIX}{run_id}", sorted(days))))


def remove(
    clients: Clients,
    place: Place,
    found: Leftovers,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Removes all leftovers; returns what could not be removed, in words.

    Raises:
        ClientError: AWS refuses.
    """
    problems = list(_remove_objects(clients, place, found.objects))
    kinesis_video = clients.kinesis_video(place.region)
    for stream in found.streams:
        if stream.status == "DELETING":
            continue
        if _settled(kinesis_video, stream.arn, sleep) == "ACTIVE":
            _delete_stream(kinesis_video, stream.arn)
    return problems


def remove_contact(clients: Clients, place: Place, contact_id: str) -> None:
    """Removes every version of one contact's recording and manifest, of today and yesterday.

    Raises:
        ClientError: S3 refuses.
        StepError: something stays.
    """
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=ago) for ago in (0, 1)]
    objects = list(_objects(clients, place, f"{contact_id}/", days))
    if problems := list(_remove_objects(clients, place, objects)):
        raise StepError("; ".join(problems), "the bucket keeps its objects")


def _streams(clients: Clients, place: Place, run_id: str) -> Iterator[Leftover]:
    kinesis_video = clients.kinesis_video(place.region)
    pages = kinesis_video.get_paginator("list_streams").paginate(
        StreamNameCondition={
            "ComparisonOperator": "BEGINS_WITH",
            "ComparisonValue": f"{place.stream_prefix}{NAME_INFIX}{run_id}",
        }
    )
    for page in pages:
        for stream in page["StreamInfoList"]:
            arn = stream["StreamARN"]
            try:
                tags = kinesis_video.list_tags_for_stream(StreamARN=arn)["Tags"]
            except ClientError as error:
                # It has gone since it was listed.
                if error.response["Error"]["Code"] == "ResourceNotFoundException":
                    continue
                raise
            if tags.get(TAG) == place.stack:
                yield Leftover(arn, stream["StreamName"], stream["CreationTime"], stream["Status"])


def _objects(
    clients: Clients, place: Place, start: str, days: Iterable[date]
) -> Iterator[tuple[str, str]]:
    pages = clients.s3().get_paginator("list_object_versions")
    for day in days:
        for folder in FOLDERS:
            prefix = f"{place.prefix}{folder}/{day:year=%Y/month=%m/day=%d}/{start}"
            for page in pages.paginate(Bucket=place.bucket, Prefix=prefix):
                for entry in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                    yield entry["Key"], entry["VersionId"]


def _remove_objects(
    clients: Clients, place: Place, objects: list[tuple[str, str]]
) -> Iterator[str]:
    for key, version in objects:
        try:
            # One by one: the name of what a lock keeps is in the refusal of its call.
            clients.s3().delete_object(Bucket=place.bucket, Key=key, VersionId=version)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            yield f"{key} (version {version}): {error.operation_name} answered {code}"


def _settled(kinesis_video: Any, arn: str, sleep: Callable[[float], None]) -> str:  # noqa: ANN401 - boto3
    """The stream's status, when it is no longer CREATING."""
    for _ in range(round(_SETTLE_S / _POLL_S)):
        try:
            status = str(kinesis_video.describe_stream(StreamARN=arn)["StreamInfo"]["Status"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return "GONE"
            raise
        if status != "CREATING":
            return status
        sleep(_POLL_S)
    return "CREATING"


def delete_unseen(kinesis_video: Any, arn: str, sleep: Callable[[float], None]) -> None:  # noqa: ANN401 - boto3
    """Deletes a stream whose status may not be read: KVS refuses while it is CREATING.

    Raises:
        ClientError: KVS refuses for another reason, or for a minute.
    """
    for _ in range(round(_SETTLE_S / _POLL_S)):
        try:
            _delete_stream(kinesis_video, arn)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceInUseException":
                raise
            sleep(_POLL_S)
        else:
            return
    _delete_stream(kinesis_video, arn)


def _delete_stream(kinesis_video: Any, arn: str) -> None:  # noqa: ANN401 - boto3
    try:
        kinesis_video.delete_stream(StreamARN=arn)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
