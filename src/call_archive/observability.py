"""The one Logger and the one Metrics of a function; only entrypoints use them.

Logged are codes, counts, ids of contacts and fragment numbers; never PCM, phone numbers, contact
attributes or whole events. Metrics go out in CloudWatch's embedded metric format.
"""

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

SERVICE = "call-archive"
NAMESPACE = "CallArchive"

logger = Logger(service=SERVICE)
metrics = Metrics(namespace=NAMESPACE, service=SERVICE)

__all__ = ["MetricUnit", "logger", "metrics"]
