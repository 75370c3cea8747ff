"""An instance's past contacts → contact events in ArchiveQueue, so that Lambda does the work.

SearchContacts gives the contacts; those with a recording in the archive, and those that an
earlier run queued, are left out. Each message equals EventBridge's event for the end of a call, so
ArchiveFunction asks DescribeContact for the recordings.

Source: SearchContacts in the Amazon Connect API reference.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any, Final

from call_archive.fields import instance_id_of, region_of
from call_archive.intake.message import CLI_SOURCE
from call_archive_cli.exits import CommandError
from call_archive_cli.ledger import Ledger
from call_archive_cli.streams import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import date
    from pathlib import Path

    from mypy_boto3_connect.type_defs import SearchContactsRequestTypeDef

    from call_archive_cli.clients import Clients

PAGE: Final = 100
SEND_BATCH: Final = 10
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PastContact:
    """A voice contact that has ended."""

    contact_id: str
    initial_contact_id: str
    started_at: datetime
    ended_at: datetime


@dataclass(slots=True)
class Pace:
    """Limits operations to this many a second, evenly."""

    per_s: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _next: float = field(default=0.0, init=False)

    def wait(self, things: int = 1) -> None:
        """Waits until these operations may happen."""
        now = self.clock()
        if self._next > now:
            self.sleep(self._next - now)
        self._next = max(now, self._next) + things / self.per_s

    def rest(self) -> None:
        """Lets a full interval pass after an operation that has ended now.

        AWS counts from the attempt that it accepted, which is the last one if it refused some.
        """
        self._next = max(self._next, self.clock() + 1 / self.per_s)


@dataclass(slots=True)
class Window:
    """The contacts that ended in a stretch of time.

    Attributes:
        total: how many Connect reports; known after the first page.
    """

    clients: Clients
    instance_arn: str
    from_ms: int
    to_ms: int
    pace: Pace
    total: int = 0

    def contacts(self) -> Iterator[PastContact]:
        """Each contact once, page by page.

        Raises:
            ClientError: Connect refuses.
        """
        request: SearchContactsRequestTypeDef = {
            "InstanceId": instance_id_of(self.instance_arn),
            # botocore sends whole seconds, rounded down.
            "TimeRange": {
                "Type": "DISCONNECT_TIMESTAMP",
                "StartTime": moment(self.from_ms),
                "EndTime": moment(self.to_ms + 999),
            },
            "SearchCriteria": {"Channels": ["VOICE"]},
            "MaxResults": PAGE,
        }
        client = self.clients.connect(region_of(self.instance_arn))
        while True:
            self.pace.wait()
            answer = client.search_contacts(**request)
            self.pace.rest()
            self.total = answer.get("TotalCount", self.total)
            for entry in answer.get("Contacts", []):
                if "DisconnectTimestamp" in entry:
                    yield PastContact(
                        entry["Id"],
                        entry.get("InitialContactId") or entry["Id"],
                        entry.get("InitiationTimestamp") or entry["DisconnectTimestamp"],
                        entry["DisconnectTimestamp"],
                    )
            if not (token := answer.get("NextToken")):
                return
            request["NextToken"] = token


class QueuedBefore:
    """The contacts that earlier runs queued, stored as they are sent."""

    def __init__(self, path: Path) -> None:
        self._ledger = Ledger(path, lambda line: str(line["contactId"]), "backfill")
        self._contact_ids = set(self._ledger.read())

    def __contains__(self, contact_id: str) -> bool:
        return contact_id in self._contact_ids

    def prepare(self) -> None:
        """Makes sure that contacts can be stored before any is queued.

        Raises:
            OSError: the file cannot be written.
        """
        self._ledger.prepare()

    def add(self, contacts: Iterable[PastContact]) -> None:
        """Stores contacts; they are on the disk before this returns.

        Raises:
            OSError: the file cannot be written.
        """
        added = [contact.contact_id for contact in contacts]
        self._ledger.write({"contactId": contact_id} for contact_id in added)
        self._contact_ids.update(added)


@dataclass(slots=True)
class Backfill:
    """Counts of a run.

    Attributes:
        found: contacts that Connect knows.
        archived: with a recording in the archive.
        queued_before: by an earlier run.
        queued: now; with a dry run, what would be.
        is_cut_short: the run ended before it had searched everything.
    """

    found: int = 0
    archived: int = 0
    queued_before: int = 0
    queued: int = 0
    is_cut_short: bool = False
    _seen: set[str] = field(default_factory=set)

    def choose(
        self,
        contacts: Iterable[PastContact],
        archived_on: Callable[[date], set[str]],
        before: QueuedBefore,
    ) -> Iterator[PastContact]:
        """The contacts that have to be queued, once; the others are counted.

        Windows overlap by a second, and SearchContacts may show a contact on two pages.
        """
        for contact in contacts:
            if contact.contact_id in self._seen:
                continue
            self._seen.add(contact.contact_id)
            self.found += 1
            days = {moment.date() for moment in _days_of(contact)}
            if any(contact.contact_id in archived_on(day) for day in days):
                self.archived += 1
            elif contact.contact_id in before:
                self.queued_before += 1
            else:
                yield contact


def send(
    clients: Clients,
    contacts: Iterable[PastContact],
    instance_arn: str,
    queue_url: str,
    before: QueuedBefore,
    pace: Pace,
) -> Iterator[int]:
    """Queues the contacts, ten a call; how many each time.

    Raises:
        CommandError: SQS did not accept a message; the accepted ones are stored.
        ClientError: SQS refuses.
    """
    before.prepare()
    for group in batched(contacts, SEND_BATCH):
        pace.wait(len(group))
        answer = clients.sqs().send_message_batch(
            QueueUrl=queue_url,
            Entries=[
                {"Id": str(place), "MessageBody": json.dumps(build_event(contact, instance_arn))}
                for place, contact in enumerate(group)
            ],
        )
        before.add(group[int(entry["Id"])] for entry in answer.get("Successful", []))
        yield len(answer.get("Successful", []))
        for failure in answer.get("Failed", []):
            raise CommandError(f"SQS did not accept a job: {failure['Code']}; run this again")


def build_event(contact: PastContact, instance_arn: str) -> dict[str, Any]:
    """The contact event for the end of a contact, as ArchiveFunction accepts it."""
    return {
        "source": CLI_SOURCE,
        "detail-type": "Amazon Connect Contact Event",
        "detail": {
            "eventType": "DISCONNECTED",
            "channel": "VOICE",
            "contactId": contact.contact_id,
            "initialContactId": contact.initial_contact_id,
            "instanceArn": instance_arn,
            "disconnectTimestamp": contact.ended_at.astimezone(UTC).isoformat(),
        },
    }


def retention_hours(clients: Clients, instance_arn: str) -> int | None:
    """How long the instance's streams keep audio; None if it streams none.

    Raises:
        ClientError: Connect refuses.
    """
    configs = clients.connect(region_of(instance_arn)).list_instance_storage_configs(
        InstanceId=instance_id_of(instance_arn), ResourceType="MEDIA_STREAMS"
    )["StorageConfigs"]
    video = configs[0].get("KinesisVideoStreamConfig") if configs else None
    return None if video is None else video["RetentionPeriodHours"]


def split_days(from_ms: int, to_ms: int) -> Iterator[tuple[int, int]]:
    """The stretch in pieces of at most a day: SearchContacts takes no more than eight weeks."""
    day_ms = round(DAY.total_seconds() * 1000)
    for start in range(from_ms, to_ms, day_ms):
        yield start, min(start + day_ms, to_ms)


def _days_of(contact: PastContact) -> Iterator[datetime]:
    """The UTC days on which the contact's streaming can have started."""
    at = contact.started_at.astimezone(UTC)
    end = contact.ended_at.astimezone(UTC)
    while at.date() <= end.date():
        yield at
        at += DAY
