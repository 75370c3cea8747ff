"""List prices, USD: assumptions that every estimate shares, to be replaced by yours."""

from collections.abc import Mapping
from typing import Final

PRICES_OF: Final = "US East (N. Virginia), November 2026"

PRICES: Final[Mapping[str, tuple[float, str]]] = {
    "lambda": (0.0000166667, "Lambda, x86, a GB-second"),
    "invoke": (0.20 / 1e6, "Lambda, a request"),
    "put": (0.005 / 1e3, "S3 Standard, a PUT, POST or LIST"),
    "get": (0.0004 / 1e3, "S3 Standard, a GET or any other"),
    "store": (0.023, "S3 Standard, a GB for a month"),
    "tag": (0.01 / 1e4, "S3, an object tag for a month"),
    "sqs": (0.40 / 1e6, "SQS, a request (the first million of a month is free)"),
    "event": (1.00 / 1e6, "EventBridge, an S3 event; Connect's own are free"),
    "ingest": (0.0085, "Kinesis Video Streams, a GB ingested"),
    "consume": (0.0085, "Kinesis Video Streams, a GB consumed"),
    "keep": (0.023, "Kinesis Video Streams, a GB for a month"),
    "log": (0.50, "CloudWatch Logs, a GB ingested"),
    "metric": (0.30, "CloudWatch, a metric for a month (10 are free)"),
    "alarm": (0.10, "CloudWatch, a metric of an alarm for a month (10 are free)"),
    "dashboard": (3.00, "CloudWatch, a dashboard for a month (3 are free)"),
    "trace": (5.00 / 1e6, "X-Ray, a trace (100,000 a month are free)"),
}


def price(name: str) -> float:
    """USD for one unit."""
    return PRICES[name][0]
