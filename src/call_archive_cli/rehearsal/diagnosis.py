"""What was seen while nothing came → what is in the way.

Pure: the facts are collected elsewhere, each of them may be unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from call_archive_cli.rehearsal.steps import StepError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TROUBLESHOOTING: Final = "docs/troubleshooting.md explains the code"
_ACCESS: Final = ("AccessDenied", "NotAuthorized", "UnauthorizedOperation")
_KEY_CODES: Final = ("KVS_45", "KMS")


@dataclass(slots=True)
class Facts:
    """Of the time since the job was queued; None if it could not be asked.

    Attributes:
        waiting: messages that are visible or delayed in ArchiveQueue, now.
        in_flight: messages that somebody has received and not deleted, now.
        failed_before, failed: messages in FailedJobsQueue, before and now.
        reserved: reserved concurrency of ArchiveFunction; -1 if there is no limit.
        lines: ArchiveFunction's log lines about the contact, oldest first.
    """

    waiting: int | None = None
    in_flight: int | None = None
    failed_before: int | None = None
    failed: int | None = None
    reserved: int | None = None
    lines: list[Mapping[str, Any]] = field(default_factory=list)
    log_group: str = ""
    may_read_logs: bool = True

    @property
    def failure(self) -> Mapping[str, Any] | None:
        """The line that says that the job has failed for good."""
        return next((line for line in self.lines if line.get("message") == "job failed"), None)

    @property
    def retries(self) -> list[Mapping[str, Any]]:
        """The lines that say that the job comes back."""
        return [line for line in self.lines if line.get("message") == "job comes back"]

    @property
    def progress(self) -> str:
        """One line for the person who waits."""
        parts = []
        if self.waiting is not None:
            parts.append(f"queue {self.waiting} waiting, {self.in_flight} in a run")
        if self.retries:
            parts.append(f"came back {len(self.retries)} times: {self.retries[-1].get('code')}")
        if self.failed_has_grown:
            parts.append("FailedJobsQueue has grown")
        return "; ".join(parts)

    @property
    def failed_has_grown(self) -> bool:
        """Whether another job has failed meanwhile."""
        return None not in (self.failed, self.failed_before) and (self.failed or 0) > (
            self.failed_before or 0
        )


def diagnose(facts: Facts, waited_s: float) -> StepError:
    """Why there is no manifest after so long."""
    if (failure := facts.failure) is not None:
        return _failed(failure)
    unpublished = f"no manifest after {waited_s:.0f} s"
    if facts.reserved == 0:
        return StepError(
            f"{unpublished}; ArchiveFunction has a reserved concurrency of 0",
            "ArchiveFunction is throttled",
            "Lambda console, ArchiveFunction, Configuration, Concurrency: remove the limit",
        )
    if facts.retries:
        last = facts.retries[-1]
        return StepError(
            f"{unpublished}; the job came back {len(facts.retries)} times: {last.get('reason')}",
            _part_of(str(last.get("code", ""))),
            _TROUBLESHOOTING,
        )
    return _silent(facts, unpublished)


def _silent(facts: Facts, unpublished: str) -> StepError:
    """Why, if ArchiveFunction has said nothing of the job."""
    if facts.failed_has_grown:
        return StepError(
            f"{unpublished}; FailedJobsQueue has grown",
            "ArchiveFunction",
            "call-archive redrive --dry-run shows why; then run rehearse again",
        )
    if facts.waiting:
        return StepError(
            f"{unpublished}; {facts.waiting} in ArchiveQueue, and nobody takes them",
            "ArchiveFunction takes no jobs",
            "Lambda console, ArchiveFunction: enable the SQS trigger, and look at Throttles",
        )
    if facts.in_flight:
        return StepError(
            f"{unpublished}; {facts.in_flight} in a run, or held by a function that is throttled",
            "ArchiveFunction",
            f"look at its metrics Throttles and Errors, and at the log group {facts.log_group}",
        )
    hint = "" if facts.may_read_logs else "; your credentials do not allow FilterLogEvents"
    return StepError(
        f"{unpublished}, and the queue is empty{hint}",
        "ArchiveFunction",
        f"look at the log group {facts.log_group}",
    )


def _failed(failure: Mapping[str, Any]) -> StepError:
    code = str(failure.get("code", ""))
    message_id = failure.get("messageId", "")
    return StepError(
        f"the job failed: {code}: {failure.get('reason')}; FailedJobsQueue holds it, its attribute "
        f"messageId is {message_id}",
        _part_of(code),
        f"{_TROUBLESHOOTING}; delete that message in FailedJobsQueue: its stream is gone",
    )


def _part_of(code: str) -> str:
    """The part of the set-up that a failure's code convicts."""
    if any(code.startswith(start) for start in _KEY_CODES):
        return "the key of the streams: deploy with MediaKmsKeyArn"
    if any(word in code for word in _ACCESS):
        if code.startswith("S3"):
            return "ArchiveRole or the bucket's policy"
        return "ArchiveRole: deploy with the StreamPrefix and keys of this instance"
    if code.startswith("S3"):
        return "the bucket"
    if code.startswith("KVS"):
        return "the stream"
    return "ArchiveFunction"
