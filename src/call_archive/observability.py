"""The one Logger and the one Metrics of a function; only entrypoints use them.

Logged are codes, counts, ids of contacts and fragment numbers; never PCM, phone numbers, contact
attributes or whole events. Metrics go out in CloudWatch's embedded metric format.
"""

import logging

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

SERVICE = "call-archive"
NAMESPACE = "CallArchive"

# At DEBUG these log whole requests and answers, with the contact's attributes in them.
for library in ("boto3", "botocore", "s3transfer", "urllib3"):
    logging.getLogger(library).setLevel(logging.WARNING)

logger = Logger(service=SERVICE)
metrics = Metrics(namespace=NAMESPACE, service=SERVICE)

__all__ = ["MetricUnit", "logger", "metrics"]
