"""The one Logger and the one Metrics of a function; only entrypoints use them.

Logged are codes, counts, ids of contacts and fragment numbers; never PCM, phone numbers, contact
attributes or whole events. Every line of a run carries the contact's id as `correlation_id`, and
`requestId`, by which Lambda's own lines about the run are found.

Metrics go out in CloudWatch's embedded metric format, with one dimension, `service`: the stack's
name, from POWERTOOLS_SERVICE_NAME. Whatever has many values, such as a failure's code, is a field
of the log and not a dimension, because each value of a dimension is a metric to pay for.
"""

import logging

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

NAMESPACE = "CallArchive"

# At DEBUG these log whole requests and answers, with the contact's attributes in them.
for library in ("boto3", "botocore", "s3transfer", "urllib3"):
    logging.getLogger(library).setLevel(logging.WARNING)

logger = Logger()
metrics = Metrics(namespace=NAMESPACE)

__all__ = ["MetricUnit", "logger", "metrics"]
