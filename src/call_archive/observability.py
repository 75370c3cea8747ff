"""The one Logger and the one Metrics of a function; only entrypoints use them.

Logged are codes, counts, ids of contacts and fragment numbers; never PCM, phone numbers, contact
attributes or whole events. Of an exception that is its type and where it came from: its message may
quote what was being read. A line is ASCII, so that nothing in it moves a terminal's cursor. Every
line of a run carries the contact's id as `correlation_id`, and `requestId`, by which Lambda's own
lines about the run are found.

Metrics go out in CloudWatch's embedded metric format, with one dimension, `service`: the stack's
name, from POWERTOOLS_SERVICE_NAME. Whatever has many values, such as a failure's code, is a field
of the log and not a dimension, because each value of a dimension is a metric to pay for.
"""

import json
import logging
import traceback
from functools import partial
from typing import Any, override

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import Metrics, MetricUnit

NAMESPACE = "CallArchive"

# At DEBUG these log whole requests and answers, with the contact's attributes in them.
for library in ("boto3", "botocore", "s3transfer", "urllib3"):
    logging.getLogger(library).setLevel(logging.WARNING)


class _Formatter(LambdaPowertoolsFormatter):
    """Powertools' format, with exceptions that do not quote."""

    @override
    def formatException(self, ei: Any) -> str:
        """Frames and type of an exception and of those that led to it, the last one first."""
        error: BaseException | None = ei[1]
        parts = []
        while error is not None:
            frames = "".join(traceback.format_tb(error.__traceback__))
            parts.append(f"{frames}{type(error).__name__}")
            error = error.__cause__ or error.__context__
        return "\n\nbecause of\n\n".join(parts)


logger = Logger(
    logger_formatter=_Formatter(
        json_serializer=partial(json.dumps, default=str, separators=(",", ":")),
        serialize_stacktrace=False,
    ),
)
metrics = Metrics(namespace=NAMESPACE)

__all__ = ["MetricUnit", "logger", "metrics"]
