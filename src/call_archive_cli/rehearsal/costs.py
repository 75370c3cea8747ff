"""What a rehearsal costs: bytes and requests times the public list's prices.

Prices are those of docs/costs.md: US East (N. Virginia), November 2026, without free tiers. Other
regions differ by less than half.
"""

from dataclasses import dataclass
from typing import Final

INGESTED_GB: Final = 0.0085
CONSUMED_GB: Final = 0.0085
S3_WRITE: Final = 0.000005
S3_READ: Final = 0.0000004
LAMBDA_REQUEST: Final = 0.0000002
LAMBDA_GB_S: Final = 0.0000166667
SQS_REQUEST: Final = 0.0000004

_WRITES: Final = 2 + 4 * 2
"""Two objects; four listings before and after the cleaning, of two folders."""
_READS: Final = 200
"""A look for the manifest every two seconds, for some minutes."""
_INVOCATIONS: Final = 3
_INVOCATION_GB_S: Final = 0.5
_MESSAGES: Final = 150


@dataclass(frozen=True, slots=True)
class Cost:
    """US dollars, and how they come about."""

    usd: float
    arithmetic: str


def estimate(media_bytes: int) -> Cost:
    """The cost of a run that sends this much media, and reads it once."""
    gigabytes = media_bytes / 1e9
    video = gigabytes * (INGESTED_GB + CONSUMED_GB)
    objects = _WRITES * S3_WRITE + _READS * S3_READ
    runs = _INVOCATIONS * (LAMBDA_REQUEST + _INVOCATION_GB_S * LAMBDA_GB_S)
    messages = _MESSAGES * SQS_REQUEST
    return Cost(
        video + objects + runs + messages,
        f"Kinesis Video {video:.6f}, S3 {objects:.6f}, Lambda {runs:.6f}, SQS {messages:.6f}",
    )
