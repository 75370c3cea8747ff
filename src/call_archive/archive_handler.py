"""Entrypoint 2: an SQS batch → one archive run a job, and the messages that have to come back."""

from __future__ import annotations

import gc

gc.disable()  # loading makes no garbage to collect; the last lines freeze it

from collections.abc import Mapping
from typing import TYPE_CHECKING

from call_archive.aws.ports import AwsPorts, read_terms
from call_archive.config import read_archive_settings
from call_archive.errors import QueueFaultError, RequestError
from call_archive.intake.message import contact_of
from call_archive.moments import now_ms
from call_archive.observability import logger, metrics
from call_archive.reasons import Code
from call_archive.report import report, report_unchanged_queue
from call_archive.worker import TimeCheck, decode_record, fail, unforeseen, work

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = read_archive_settings()
ports = AwsPorts(settings)


@metrics.log_metrics
def handler(event: object, context: LambdaContext) -> dict[str, object]:
    """Processes one SQS batch; returns `batchItemFailures`, the messages that stay in the queue."""
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list):
        raise RequestError(Code.NOT_AN_SQS_EVENT, "Records is missing: SQS invokes this function")
    logger.append_keys(requestId=context.aws_request_id)
    kept = [record for record in records if not _is_done(record, context)]
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in kept]}


def _is_done(record: Mapping[str, object], context: LambdaContext) -> bool:
    """Whether the message leaves the queue."""
    message, terms = decode_record(record), read_terms(settings, context.invoked_function_arn)
    logger.set_correlation_id(contact_of(message.body))
    time_left = TimeCheck(context.get_remaining_time_in_millis)
    try:
        outcome = work(message, ports, terms, now_ms=now_ms, check_time=time_left)
    except Exception as error:  # noqa: BLE001 - an entrypoint: an unexpected error loses no job
        logger.exception("unforeseen error")
        outcome = fail(message, unforeseen(error), terms.policy)
    report(message, outcome)
    try:
        return ports.carry_out(message, outcome)
    except QueueFaultError as error:
        report_unchanged_queue(error)
        return False


ports.prepare()
gc.freeze()
gc.enable()
