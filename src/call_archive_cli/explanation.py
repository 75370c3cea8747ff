"""Everything that is known of one contact, in order, and what to do about it.

Each source is asked alone: if one refuses, its part says so, and the others are still asked.
The answer holds no attributes, no phone numbers and no audio.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from call_archive.errors import ArchiveError
from call_archive.fields import instance_id_of, region_of
from call_archive.keys import hold_key, tombstone_key
from call_archive.moments import format_utc, to_datetime
from call_archive_cli.days import Wanted
from call_archive_cli.errors import describe
from call_archive_cli.failed_jobs import decode_failed_job
from call_archive_cli.stored import S3Store
from call_archive_cli.streams import describe_stream
from call_archive_cli.words import clock, count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from call_archive_cli.archive import ArchivedCall, CallArchive
    from call_archive_cli.deployment import Deployment
    from call_archive_cli.failed_jobs import FailedJob

MOST_LINES: Final = 40
MOST_MESSAGES: Final = 1_000
RUNS_WITHIN: Final = timedelta(minutes=15)
"""Nearly every call is archived so soon after its end; a run that waits for fragments is later."""

HIDE_S: Final = 30
"""How long a failed job that is looked at is hidden from others; explaining moves nothing."""


@dataclass(frozen=True, slots=True)
class KnownStretch:
    """What Connect says was streamed, and how long KVS keeps it.

    Attributes:
        kept_until: None if KVS does not say.
        is_gone: there is no such stream, or the retention is over.
    """

    start: str
    stream_arn: str
    started_at: datetime | None
    kept_until: datetime | None = None
    is_gone: bool = False


@dataclass(slots=True)
class Known:
    """What the sources say of a contact; what decides what to do.

    Attributes:
        connect: "known", "unknown" to Connect, or "" if it was not asked or did not answer.
        ended_at: None if the contact has not ended, or Connect does not say.
        command: the command line's beginning, as it has to be typed.
        unread: sources that did not answer.
    """

    contact_id: str
    connect: str = ""
    stretches: list[KnownStretch] = field(default_factory=list)
    calls: list[ArchivedCall] = field(default_factory=list)
    failed: list[FailedJob] = field(default_factory=list)
    versions: int = 0
    is_erased: bool = False
    is_held: bool = False
    ended_at: datetime | None = None
    command: str = "call-archive"
    unread: list[str] = field(default_factory=list)

    @property
    def lacking(self) -> list[KnownStretch]:
        """What was streamed and is not in the archive."""
        there = {call.entry.tail.rpartition("/")[2] for call in self.calls}
        return [stretch for stretch in self.stretches if stretch.start not in there]


@dataclass(frozen=True, slots=True)
class Explainer:
    """Asks the sources.

    Attributes:
        deployment: the stack, if one was named: queues and logs.
        instance_arn: "" for the one that the manifests name.
    """

    archive: CallArchive
    deployment: Deployment | None
    instance_arn: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def explain(self, contact_id: str) -> tuple[Known, list[tuple[str, list[str]]]]:
        """What is known, and the same in words: a heading and its lines for each source."""
        known = Known(contact_id)
        if self.deployment is not None:
            known.command += f" --stack {self.deployment.stack}"
        archived = self._told(known, "archive", self._archive)
        parts = [
            ("Amazon Connect", self._told(known, "Amazon Connect", self._connect)),
            ("Kinesis video stream", self._told(known, "the stream", self._streams)),
            ("archive", archived),
            ("marks", self._told(known, "marks", self._marks)),
            ("queues", self._told(known, "failed jobs", self._failed)),
            ("log", self._told(known, "the log", self._log)),
        ]
        return known, [*parts, ("what to do", list(advise(known, self.now())))]

    def _told(self, known: Known, source: str, ask: Callable[[Known], Iterator[str]]) -> list[str]:
        lines: list[str] = []
        try:
            lines.extend(ask(known))
        except (ClientError, ArchiveError) as error:
            known.unread.append(source)
            lines.append(f"NOT KNOWN: {describe(error)}")
        return lines

    def _connect(self, known: Known) -> Iterator[str]:
        arn = self.instance_arn or _instance_of(known)
        if not arn:
            known.unread.append("Amazon Connect")
            yield "NOT ASKED: give --instance-arn"
            return
        try:
            contact: Mapping[str, Any] = self.archive.clients.connect(
                region_of(arn)
            ).describe_contact(InstanceId=instance_id_of(arn), ContactId=known.contact_id)[
                "Contact"
            ]
        except ClientError as error:
            if error.response["Error"].get("Code") != "ResourceNotFoundException":
                raise
            known.connect = "unknown"
            yield f"this instance has no such contact, or no longer has it ({arn})"
            return
        known.connect = "known"
        known.ended_at = contact.get("DisconnectTimestamp")
        yield (
            f"{contact.get('Channel', 'contact')}, {_time(contact.get('InitiationTimestamp'))} to "
            f"{_time(contact.get('DisconnectTimestamp')) or 'now: it has not ended'}"
        )
        if (initial := contact.get("InitialContactId")) and initial != known.contact_id:
            yield f"it continues {initial}: explain that one, too"
        for entry in contact.get("Recordings") or []:
            if entry.get("StorageType") != "KINESIS_VIDEO_STREAM":
                continue
            start = str(entry.get("FragmentStartNumber") or "")
            known.stretches.append(
                KnownStretch(start, str(entry.get("Location") or ""), entry.get("StartTimestamp"))
            )
            yield (
                f"streamed from {_time(entry.get('StartTimestamp'))} to "
                f"{_time(entry.get('StopTimestamp')) or 'an end that Connect does not name'}, "
                f"fragment {start or '(not named)'}"
            )
        if not known.stretches:
            yield "nothing was streamed, as far as Connect says now"

    def _streams(self, known: Known) -> Iterator[str]:
        for place, stretch in enumerate(known.stretches):
            if not stretch.stream_arn or stretch.started_at is None:
                continue
            try:
                hours = describe_stream(self.archive.clients, stretch.stream_arn).retention_hours
            except ArchiveError as error:
                if "ResourceNotFound" not in str(error.code):
                    raise
                known.stretches[place] = _with(stretch, None, is_gone=True)
                yield f"{stretch.stream_arn}: this stream no longer exists"
                continue
            until = stretch.started_at + timedelta(hours=hours)
            is_gone = until <= self.now()
            known.stretches[place] = _with(stretch, until, is_gone=is_gone)
            yield (
                f"{stretch.stream_arn}: retention {hours} h, "
                f"{'gone since' if is_gone else 'kept until'} {_time(until)}"
            )
        if not known.stretches:
            yield "no stretch is known"

    def _archive(self, known: Known) -> Iterator[str]:
        days = self.archive.choose(Wanted(None, None))
        entries = list(self.archive.entries(days, known.contact_id, recordings=True))
        known.calls = list(self.archive.find(e for e in entries if e.manifest_etag))
        for call in known.calls:
            yield from _call_lines(call)
        for entry in entries:
            if not entry.manifest_etag:
                yield f"{entry.recording_key}: no manifest describes it yet"
        store = S3Store(self.archive.clients, self.archive.bucket, self.archive.prefix)
        if uploads := store.uploads([known.contact_id]):
            yield f"{count(len(uploads), 'upload')} on its way, or left behind by a killed run"
        known.versions = len(store.versions([known.contact_id]))
        if not entries:
            yield f"nothing{f' but {known.versions} hidden versions' if known.versions else ''}"

    def _marks(self, known: Known) -> Iterator[str]:
        store = S3Store(self.archive.clients, self.archive.bucket, self.archive.prefix)
        erased = store.read_mark(tombstone_key(store.prefix, known.contact_id))
        held = store.read_mark(hold_key(store.prefix, known.contact_id))
        known.is_erased, known.is_held = erased is not None, held is not None
        if erased:
            yield f"erased: its tombstone was written {_time(erased.written_at)}"
        if held:
            yield f"held since {_time(held.written_at)}"
        if not (erased or held):
            yield "neither erased nor held"

    def _failed(self, known: Known) -> Iterator[str]:
        if self.deployment is None:
            known.unread.append("failed jobs")
            yield "NOT ASKED: give --stack"
            return
        sqs, url = self.archive.clients.sqs(), self.deployment.output("FailedJobsQueueUrl")
        seen: set[str] = set()
        while len(seen) < MOST_MESSAGES:
            messages = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=HIDE_S,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["SentTimestamp"],
            ).get("Messages", [])
            fresh = [m for m in messages if m["MessageId"] not in seen]
            if not fresh:
                break
            seen |= {message["MessageId"] for message in fresh}
            known.failed += [
                decode_failed_job(m) for m in fresh if known.contact_id in m.get("Body", "")
            ]
        for job in known.failed:
            yield job.reason if job.reason.startswith(job.code) else f"{job.code}: {job.reason}"
        yield f"{len(known.failed):,} of {count(len(seen), 'failed job')} that can be seen"
        names: tuple[Any, ...] = (
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
        )
        counts = sqs.get_queue_attributes(
            QueueUrl=self.deployment.output("ArchiveQueueUrl"), AttributeNames=list(names)
        )["Attributes"]
        waiting, in_flight = (int(counts.get(name, 0)) for name in names)
        yield (
            f"ArchiveQueue: {waiting:,} waiting, {in_flight:,} in flight or hidden until the next "
            "run; SQS does not say of whom"
        )

    def _log(self, known: Known) -> Iterator[str]:
        if self.deployment is None:
            known.unread.append("the log")
            yield "NOT ASKED: give --stack"
            return
        lines: list[tuple[int, str]] = []
        for name in ("FlowLogGroup", "ArchiveLogGroup"):
            pages = (
                self.archive.clients.named("logs")
                .get_paginator("filter_log_events")
                .paginate(
                    logGroupName=self.deployment.resources[name],
                    filterPattern=f'"{known.contact_id}"',
                )
            )
            lines += [(e["timestamp"], e["message"]) for page in pages for e in page["events"]]
        lines.sort()
        for at_ms, message in lines[-MOST_LINES:]:
            yield f"{_time(datetime.fromtimestamp(at_ms / 1000, UTC))}  {_log_line(message)}"
        yield count(len(lines), "line") + (
            f", of which the last {MOST_LINES}" if len(lines) > MOST_LINES else ""
        )


def advise(known: Known, now: datetime) -> Iterator[str]:
    """What to do, most urgent first; pure."""
    if known.is_erased:
        yield (
            f"Run `{known.command} erase {known.contact_id}` again: something of it is there."
            if known.versions
            else "Nothing: the contact is erased, and no run archives it again."
        )
        return
    steps = [*_advise_missing(known, now), *_advise_incomplete(known, now)]
    steps += (
        f"A job failed with {code}: do what docs/runbook.md says under Codes, then "
        f"`{known.command} redrive --code {code}`."
        for code in sorted({job.code for job in known.failed})
    )
    if known.connect == "unknown" and not known.calls:
        steps.append("Check the contact id, and that --instance-arn is the contact's instance.")
    if known.connect == "known" and not known.stretches and not known.calls:
        steps.append(
            "Nothing was streamed: see that the flow starts media streaming before the contact "
            "speaks, and wait a few minutes if the call has just ended."
        )
    if known.is_held:
        steps.append(
            "It is held: nothing of it can be deleted before "
            f"`{known.command} release {known.contact_id}`."
        )
    if known.unread:
        steps.append(f"Not looked at: {', '.join(dict.fromkeys(known.unread))}.")
    yield from steps or ["Nothing: everything that is known of it is archived and complete."]


def _advise_missing(known: Known, now: datetime) -> Iterator[str]:
    for stretch in known.lacking:
        if stretch.is_gone:
            yield (f"Fragment {stretch.start}: not archived, and KVS no longer has the audio.")
        else:
            yield (
                f"Fragment {stretch.start}: not archived{_deadline(stretch, now)}. "
                f"{_queue_again(known, stretch, now)}"
            )


def _advise_incomplete(known: Known, now: datetime) -> Iterator[str]:
    kept = {stretch.start: stretch for stretch in known.stretches}
    for call in known.calls:
        if call.is_complete:
            continue
        start = call.entry.tail.rpartition("/")[2]
        stretch = kept.get(start)
        if call.stored is None:
            yield f"{call.entry.manifest_key} is no manifest: {call.problem}."
        elif stretch is None or stretch.is_gone:
            yield f"Fragment {start}: incomplete, and no later run is known to do better."
        else:
            yield (
                f"Fragment {start}: incomplete{_deadline(stretch, now)}; to redrive its failed job "
                "may complete it, and so may a message by hand (docs/runbook.md, Archive a call by "
                "hand)."
            )


def _queue_again(known: Known, stretch: KnownStretch, now: datetime) -> str:
    """How to archive what is not archived, if no run does it."""
    if known.failed:
        return "Its job failed: see below."
    day = (known.ended_at or stretch.started_at or now).astimezone(UTC).date()
    after = day + timedelta(days=1)
    until = f" --to {after}" if after <= now.astimezone(UTC).date() else ""
    how = f"`{known.command} backfill --from {day}{until}` queues it again"
    if known.ended_at is None or known.ended_at + RUNS_WITHIN > now:
        return f"A run may still be on its way; 15 minutes after the call's end, {how}."
    return f"The call ended more than 15 minutes ago: run `{known.command} doctor`; then {how}."


def _deadline(stretch: KnownStretch, now: datetime) -> str:
    if stretch.kept_until is None:
        return ""
    hours = (stretch.kept_until - now) / timedelta(hours=1)
    return f", and KVS keeps the audio for {hours:,.1f} h more"


def _with(stretch: KnownStretch, until: datetime | None, *, is_gone: bool) -> KnownStretch:
    return KnownStretch(stretch.start, stretch.stream_arn, stretch.started_at, until, is_gone)


def _call_lines(call: ArchivedCall) -> Iterator[str]:
    if call.stored is None:
        yield f"{call.entry.manifest_key}: {call.problem}"
        return
    manifest = call.stored.manifest
    yield (
        f"{call.entry.recording_key}: {clock(manifest.duration_ms)} from "
        f"{_time(to_datetime(manifest.started_at_ms))}, "
        f"{'complete' if manifest.is_complete else 'INCOMPLETE'}"
    )
    stops = sorted(manifest.known.stops) if manifest.known else []
    yield (
        f"  trigger {manifest.trigger}, archived {format_utc(manifest.archived_at_ms)}; "
        f"stop fragments named: {', '.join(map(str, stops)) or 'none'}"
    )
    for reason in manifest.reasons:
        yield f"  {reason}"


def _instance_of(known: Known) -> str:
    for call in known.calls:
        if call.stored and ":instance/" in call.stored.manifest.instance_arn:
            return call.stored.manifest.instance_arn
    return ""


def _log_line(message: str) -> str:
    """One of our lines in short; any other as it is."""
    try:
        line = json.loads(message)
    except ValueError:
        return message.strip()
    if not isinstance(line, dict):
        return message.strip()
    named = [str(line[name]) for name in ("level", "message", "code", "reason") if line.get(name)]
    return "  ".join(named) or message.strip()


def _time(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else ""
