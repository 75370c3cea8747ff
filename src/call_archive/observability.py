"""The one Logger and the one Metrics of a function; only entrypoints use them.

Logged are codes, counts, ids of contacts and fragment numbers; never PCM, phone numbers, contact
attributes or whole events. An exception is logged by its type and origin only: its message may
quote input. A line is ASCII, so that nothing in it moves a terminal's cursor. Every line of a run
has the contact's id as `correlation_id`, and `requestId`, as Lambda's own lines of the run do.

Metrics are written in CloudWatch's embedded metric format, with one dimension, `service`: the
stack's name, from POWERTOOLS_SERVICE_NAME. A value with many variants, such as a failure's code, is
a log field and not a dimension, because each value of a dimension is a metric to pay for.
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

# At DEBUG these log whole requests and responses, including the contact's attributes.
for library in ("boto3", "botocore", "s3transfer", "urllib3"):
    logging.getLogger(library).setLevel(logging.WARNING)


class _Formatter(LambdaPowertoolsFormatter):
    """Powertools' format, with exceptions that do not quote."""

    @override
    def formatException(self, ei: Any) -> str:
        """Frames and type of an exception and of its causes, the last one first."""
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
