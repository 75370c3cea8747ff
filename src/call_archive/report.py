"""The outcome of a message → log lines and metrics; only the worker's entrypoint uses it."""

from call_archive.errors import QueueFaultError
from call_archive.observability import MetricUnit, logger, metrics
from call_archive.reasons import Code
from call_archive.worker import (
    Aged,
    ComesBack,
    Done,
    Duplicate,
    ErasedContact,
    Fact,
    Message,
    NotStreamed,
    Outcome,
    Recorded,
)


def report(message: Message, outcome: Outcome) -> None:
    """Logs and counts the facts of a message and its outcome."""
    for fact in outcome.facts:
        _report_fact(fact)
    if isinstance(outcome, Done):
        return
    comes_back = isinstance(outcome, ComesBack)
    logger.warning(
        "job comes back" if comes_back else "job failed",
        extra={
            "code": outcome.failure.code,
            "reason": str(outcome.failure.reason),
            "receives": message.receives,
            "messageId": message.message_id,
        },
    )
    metrics.add_metric("JobsRetried" if comes_back else "JobsFailed", MetricUnit.Count, 1)


def report_unchanged_queue(error: QueueFaultError) -> None:
    """Logs that a queue did not accept the change: the message comes back by itself."""
    logger.warning(
        "the message comes back after the queue's own visibility timeout",
        extra={"code": error.code, "reason": str(error.reason)},
    )


def _report_fact(fact: Fact) -> None:
    match fact:
        case NotStreamed(trigger):
            logger.info("no recording to archive", extra={"trigger": trigger})
            metrics.add_metric("ContactsNotStreamed", MetricUnit.Count, 1)
        case Duplicate(trigger):
            logger.info("already archived", extra={"trigger": trigger})
            metrics.add_metric("DuplicateJobs", MetricUnit.Count, 1)
        case ErasedContact(trigger):
            logger.info("contact erased", extra={"trigger": trigger, "code": Code.ERASED})
        case Aged(age_ms):
            metrics.add_metric("AudioAge", MetricUnit.Seconds, age_ms / 1000)
        case Recorded():
            _report_recording(fact)


def _report_recording(fact: Recorded) -> None:
    call, counts = fact.outcome.call, fact.outcome.call.fragments
    gap_ms = sum(gap.length_ms for gap in call.gaps)
    logger.info(
        "recording published" if fact.outcome.is_published else "earlier recording kept",
        extra={
            "trigger": fact.trigger,
            "startFragmentNumber": str(fact.job.start_fragment_number),
            "durationMs": call.duration_ms,
            "delayMs": fact.delay_ms,
            "complete": fact.outcome.manifest.is_complete,
            "reasons": list(fact.outcome.manifest.reasons),
            "accepted": counts.accepted,
            "foreign": counts.foreign,
            "untagged": counts.untagged,
            "missing": len(counts.missing),
            "gaps": len(call.gaps),
            "gapMs": gap_ms,
        },
    )
    if not fact.outcome.is_published:
        return
    for name, unit, value in (
        ("CallsArchived", MetricUnit.Count, 1),
        ("IncompleteRecordings", MetricUnit.Count, int(not call.is_complete)),
        ("AudioSeconds", MetricUnit.Seconds, call.duration_ms / 1000),
        ("ArchiveDelay", MetricUnit.Seconds, fact.delay_ms / 1000),
        ("MediaBytes", MetricUnit.Bytes, call.media_bytes),
        ("ForeignFragments", MetricUnit.Count, counts.foreign),
        ("UntaggedFragments", MetricUnit.Count, counts.untagged),
        ("MissingFragments", MetricUnit.Count, len(counts.missing)),
        ("Gaps", MetricUnit.Count, len(call.gaps)),
        ("GapSeconds", MetricUnit.Seconds, gap_ms / 1000),
    ):
        metrics.add_metric(name, unit, value)
