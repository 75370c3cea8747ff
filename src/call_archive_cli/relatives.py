"""Which contacts belong together: transfers and others that share an initial contact.

Two sources, of which neither is complete: the manifests (only of what was archived, and of the
days around) and Amazon Connect's ListAssociatedContacts (only as long as Connect keeps a contact).
Gaps in a source are reported, not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from call_archive.errors import RequestError
from call_archive.fields import decode_contact_id, decode_instance_arn, instance_id_of, region_of
from call_archive_cli.days import Wanted
from call_archive_cli.erasure import Related
from call_archive_cli.errors import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from call_archive.recording.manifest import Manifest
    from call_archive_cli.archive import ArchivedCall, CallArchive

EVERYTHING: Final = Wanted(None, None)
PAGE: Final = 100
AROUND: Final = timedelta(days=1)
"""A transfer may begin on the day after its initial contact, and has its own day in its key."""


@dataclass(slots=True)
class RelativesOf:
    """Finds related contacts.

    Attributes:
        instance_arn: the Connect instance; "" for the one that the manifests name.
    """

    archive: CallArchive
    instance_arn: str = ""
    _notes: list[str] = field(default_factory=list)

    def __call__(self, contact_ids: frozenset[str]) -> Related:
        """These contacts, and those that share an initial contact with them.

        Raises:
            ClientError, BotoCoreError: S3 refuses.
        """
        self._notes = []
        ids = contact_ids | self._from_manifests(contact_ids)
        ids |= self._from_connect(ids)
        return Related(ids, tuple(dict.fromkeys(self._notes)))

    def _from_manifests(self, contact_ids: frozenset[str]) -> frozenset[str]:
        days = self.archive.choose(EVERYTHING)
        own: list[tuple[date, Manifest]] = []
        for contact_id in sorted(contact_ids):
            own += self._manifests(self.archive.find(self.archive.entries(days, contact_id)))
        first_ids = contact_ids | {initial_of(manifest) for _, manifest in own}
        around = sorted(
            day for day in days if any(abs(day - own_day) <= AROUND for own_day, _ in own)
        )
        if not own:
            self._notes.append(
                "no manifest of these contacts is there, so related contacts are known only as far "
                "as Amazon Connect tells them"
            )
            return first_ids
        self._notes.append(
            f"related contacts are looked for in the manifests of {around[0]} to {around[-1]} (UTC)"
        )
        nearby = self._manifests(self.archive.find(self.archive.entries(around)))
        return first_ids | {
            manifest.contact_id for _, manifest in nearby if initial_of(manifest) in first_ids
        }

    def _manifests(self, calls: Iterator[ArchivedCall]) -> Iterator[tuple[date, Manifest]]:
        """Each manifest with the day of its key: its own times may be a wrong clock's."""
        for call in calls:
            if call.stored is None:
                self._notes.append(f"{call.entry.manifest_key} cannot be read: {call.problem}")
                continue
            self.instance_arn = self.instance_arn or _instance_of(call.stored.manifest)
            yield _day_of(call), call.stored.manifest

    def _from_connect(self, contact_ids: frozenset[str]) -> frozenset[str]:
        if not self.instance_arn:
            self._notes.append(
                "Amazon Connect is not asked for related contacts: give --instance-arn"
            )
            return frozenset()
        roots, summaries = set(contact_ids), list[tuple[str, str]]()
        for contact_id in sorted(contact_ids):
            try:
                told = list(self._associated(contact_id))
            except ClientError as error:
                if error.response["Error"].get("Code") == "ResourceNotFoundException":
                    self._notes.append(f"Amazon Connect does not know {contact_id} (any more)")
                    continue
                self._notes.append(
                    f"Amazon Connect does not tell the related contacts: {describe(error)}"
                )
                break
            roots |= {initial for one, initial in told if one in contact_ids}
            summaries += told
        return frozenset(roots | {one for one, initial in summaries if initial in roots})

    def _associated(self, contact_id: str) -> Iterator[tuple[str, str]]:
        """Each contact of the tree, with its initial contact."""
        client = self.archive.clients.connect(region_of(self.instance_arn))
        token = ""
        while True:
            more = {"NextToken": token} if token else {}
            answer = client.list_associated_contacts(
                InstanceId=instance_id_of(self.instance_arn),
                ContactId=contact_id,
                MaxResults=PAGE,
                **more,
            )
            for summary in answer.get("ContactSummaryList", []):
                yield summary["ContactId"], summary.get("InitialContactId") or summary["ContactId"]
            token = answer.get("NextToken", "")
            if not token:
                return


def initial_of(manifest: Manifest) -> str:
    """The initial contact that a manifest names; its own contact if it names none."""
    try:
        return decode_contact_id(manifest.initial_contact_id)
    except RequestError:
        return manifest.contact_id


def _instance_of(manifest: Manifest) -> str:
    try:
        return decode_instance_arn(manifest.instance_arn)
    except RequestError:
        return ""


def _day_of(call: ArchivedCall) -> date:
    return datetime.strptime(f"{call.entry.day}+0000", "year=%Y/month=%m/day=%d%z").date()
