"""One message → its outcome: done, comes back later, or failed, with the facts.

A message is done when its calls are archived, or when there is nothing to archive. Any other
outcome is a failure. After a retryable failure the message comes back as the policy says; after
another it goes to the failed-jobs queue. AWS is reached through `Ports`. The entrypoint logs,
counts and changes the queues according to the outcome.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from call_archive.errors import ArchiveError, IncompleteRecordingError, NotYetError, OutOfTimeError
from call_archive.fields import check_instance
from call_archive.intake.contact import ArchiveRequest
from call_archive.intake.message import read_request
from call_archive.job import ArchiveJob, Trigger
from call_archive.keys import across_midnight
from call_archive.media.pcm import Direction
from call_archive.reasons import Code
from call_archive.recording.pipeline import (
    AlreadyArchived,
    Archive,
    Archived,
    Conditions,
    Erased,
    FragmentSource,
    archive_call,
)
from call_archive.recording.publishing import Seen
from call_archive.retry import POLICY, RetryPolicy

SPARE_TIME_MS = 60_000
"""The time that must remain for the function: more than one call can take."""

_COUNT = re.compile(r"[0-9]{1,18}")


class Ports(Protocol):
    """What the handling of a message needs from AWS."""

    def describe_contact(self, instance_arn: str, contact_id: str) -> Mapping[str, object]:
        """DescribeContact's `Contact`."""

    def open_source(self, job: ArchiveJob, check_time: Callable[[], None]) -> FragmentSource:
        """The job's stream; `check_time` is called before every API call."""

    def open_archive(self, job: ArchiveJob, *, is_held: bool = False) -> Archive:
        """The job's recording and manifest in the archive; what is written is held or not."""

    def is_erased(self, job: ArchiveJob) -> bool:
        """Whether the job's contact, or its initial contact, was erased."""

    def is_held(self, job: ArchiveJob) -> bool:
        """Whether everything of the job's contact, or of its initial contact, has to be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as SQS delivers it.

    Attributes:
        receives: how often it was delivered, this time included.
        sent_ms: when it was first sent; None if SQS does not say.
        queue_arn: where it came from.
    """

    body: str
    message_id: str = ""
    receives: int = 1
    sent_ms: int | None = None
    queue_arn: str = ""
    receipt_handle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The settings for every message of a function.

    Attributes:
        tracks: the directions to record, in channel order.
        account_id: the account that the function runs in.
        instance_arn: the only instance served; "" for any of the account.
    """

    tracks: tuple[Direction, ...]
    account_id: str
    instance_arn: str = ""
    policy: RetryPolicy = POLICY


@dataclass(frozen=True, slots=True)
class NotStreamed:
    """The contact was never streamed: there is nothing to archive."""

    trigger: Trigger


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The call was archived before."""

    trigger: Trigger


@dataclass(frozen=True, slots=True)
class ErasedContact:
    """The contact was erased: nothing was published."""

    trigger: Trigger


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run read the call's media, and published its recording or kept an earlier one.

    Attributes:
        delay_ms: from the end of the call to now.
    """

    trigger: Trigger
    job: ArchiveJob
    outcome: Archived
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Aged:
    """The age of the call's first audio, which the stream's retention removes first."""

    age_ms: int


type Fact = NotStreamed | Duplicate | ErasedContact | Recorded | Aged


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do."""

    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class ComesBack:
    """A later run can do better."""

    after_s: int
    failure: ArchiveError
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """No later run can do better, or the attempts are used up."""

    failure: ArchiveError
    facts: tuple[Fact, ...] = ()


type Outcome = Done | ComesBack | Failed


@dataclass(frozen=True, slots=True)
class TimeCheck:
    """Ends a run while there is still time for the longest API call.

    Attributes:
        remaining_ms: the function's remaining time.
    """

    remaining_ms: Callable[[], int]

    def __call__(self) -> None:
        """Checks the time.

        Raises:
            OutOfTimeError: the run has to end.
        """
        if self.remaining_ms() < SPARE_TIME_MS:
            raise OutOfTimeError(Code.OUT_OF_TIME, "the function's time is nearly over")


def decode_record(record: Mapping[str, object]) -> Message:
    """A record of Lambda's SQS event; missing fields are empty."""
    attributes = record.get("attributes")
    known = attributes if isinstance(attributes, Mapping) else {}
    return Message(
        body=str(record.get("body", "")),
        message_id=str(record.get("messageId", "")),
        receives=_count(known.get("ApproximateReceiveCount")) or 1,
        sent_ms=_count(known.get("SentTimestamp")),
        queue_arn=str(record.get("eventSourceARN", "")),
        receipt_handle=str(record.get("receiptHandle", "")),
    )


def work(
    message: Message,
    ports: Ports,
    terms: Terms,
    *,
    now_ms: Callable[[], int],
    check_time: Callable[[], None],
) -> Outcome:
    """Archives every call that the message requests.

    Args:
        message: the message as delivered.
        ports: Connect, KVS and S3.
        terms: what holds for every message.
        now_ms: the time, ms since the epoch.
        check_time: raises OutOfTimeError when the run has to end.

    Returns:
        The outcome of the message. Of several failures a retryable one decides, because the
        whole message comes back.
    """
    return _Run(message, ports, terms, now_ms, check_time).work()


def unforeseen(error: Exception) -> ArchiveError:
    """Wraps an unexpected error as an ArchiveError: a bug or a broken machine, so it is retried."""
    return ArchiveError(Code.UNFORESEEN, type(error).__name__, retryable=True)


def fail(
    message: Message,
    failure: ArchiveError,
    policy: RetryPolicy,
    facts: tuple[Fact, ...] = (),
) -> ComesBack | Failed:
    """The outcome of a message whose run failed."""
    asked_s = failure.retry_after_s if isinstance(failure, NotYetError) else None
    delay_s = policy.delay_s(
        message.receives,
        retryable=failure.retryable,
        asked_s=asked_s,
    )
    if delay_s is None:
        return Failed(failure, facts)
    return ComesBack(delay_s, failure, facts)


@dataclass(frozen=True, slots=True)
class _Run:
    message: Message
    ports: Ports
    terms: Terms
    now_ms: Callable[[], int]
    check_time: Callable[[], None]

    def work(self) -> Outcome:
        try:
            request = self._read_request()
        except ArchiveError as failure:
            return self._fail(failure)
        if not request.jobs and not request.refusals:
            return Done((NotStreamed(request.trigger),))
        facts: list[Fact] = []
        failures: list[ArchiveError] = [*request.refusals]
        for job in request.jobs:
            try:
                self._archive(job, request.trigger, facts)
            except ArchiveError as failure:
                failures.append(failure)
                facts.append(self._age(job))
        if not failures:
            return Done(tuple(facts))
        decisive = next((each for each in failures if each.retryable), failures[0])
        return self._fail(decisive, tuple(facts))

    def _read_request(self) -> ArchiveRequest:
        message, now_ms = self.message, self.now_ms()
        return read_request(
            message.body,
            self.ports.describe_contact,
            partial(
                check_instance,
                allowed_instance_arn=self.terms.instance_arn,
                account_id=self.terms.account_id,
            ),
            now_ms=now_ms,
            sent_ms=now_ms if message.sent_ms is None else message.sent_ms,
            accept_partial=self._accepts_partial,
        )

    def _archive(self, job: ArchiveJob, trigger: Trigger, facts: list[Fact]) -> None:
        """Runs one job.

        Raises:
            ArchiveError: nothing was published, or what was published is not complete.
        """
        placed = self._place(job, trigger)
        outcome = archive_call(
            job,
            self.ports.open_source(job, self.check_time),
            self.ports.open_archive(placed, is_held=self.ports.is_held(job)),
            Conditions(
                tracks=self.terms.tracks,
                trigger=trigger,
                accept_partial=self._accepts_partial,
                now_ms=self.now_ms,
                check_time=self.check_time,
                is_erased=partial(self.ports.is_erased, job),
            ),
        )
        if isinstance(outcome, Erased):
            facts.append(ErasedContact(trigger))
            return
        if isinstance(outcome, AlreadyArchived):
            facts.append(Duplicate(trigger))
            return
        delay_ms = max(0, self.now_ms() - job.end_bound_ms)
        facts.append(Recorded(trigger, job, outcome, delay_ms))
        if not outcome.manifest.is_complete:
            raise _incomplete(outcome)
        facts.append(self._age(job))

    def _place(self, job: ArchiveJob, trigger: Trigger) -> ArchiveJob:
        """The job whose keys are used: near midnight another trigger may have used another day.

        A flow received the recording's URI, so its keys never change.
        """
        other = across_midnight(job)
        if other is None or trigger is Trigger.FLOW:
            return job
        is_free = self.ports.open_archive(job).look() == Seen()
        is_elsewhere = is_free and self.ports.open_archive(other).look() != Seen()
        return other if is_elsewhere else job

    def _fail(self, failure: ArchiveError, facts: tuple[Fact, ...] = ()) -> ComesBack | Failed:
        return fail(self.message, failure, self.terms.policy, facts)

    @property
    def _accepts_partial(self) -> bool:
        return self.terms.policy.accepts_partial(self.message.receives)

    def _age(self, job: ArchiveJob) -> Aged:
        return Aged(max(0, self.now_ms() - job.start_timestamp_ms))


def _incomplete(outcome: Archived) -> IncompleteRecordingError:
    reasons = "; ".join(outcome.manifest.reasons)
    what = (
        "the recording is published without everything"
        if outcome.is_published
        else "the published recording lacks something, and this run found no better one"
    )
    return IncompleteRecordingError(
        Code.INCOMPLETE, f"{what}: {reasons}", retryable=outcome.call.may_improve
    )


def _count(field: object) -> int | None:
    return int(field) if isinstance(field, str) and _COUNT.fullmatch(field) else None
