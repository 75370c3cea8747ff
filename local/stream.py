"""A stream and the fragments on it, by number.

What it holds at a given time follows from the fragments' server times and the retention: nothing is
ever removed.
"""

from dataclasses import dataclass, field
from typing import Final

from local.call import StoredFragment

_HOUR_MS: Final = 3_600_000
# CreateStream, DataRetentionInHours: without retention the host buffer still serves GetMedia for
# five minutes.
_HOST_BUFFER_MS: Final = 300_000


@dataclass(slots=True)
class Stream:
    """A stream; `numbers` is sorted and has the keys of `fragments`."""

    arn: str
    retention_hours: int
    created_ms: int
    kms_key_id: str
    numbers: list[int] = field(default_factory=list)
    fragments: dict[int, StoredFragment] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name inside the ARN."""
        return self.arn.split("/")[1]

    def oldest_ms(self, now_ms: int) -> int:
        """Fragments from before are gone."""
        return now_ms - (self.retention_hours * _HOUR_MS or _HOST_BUFFER_MS)

    def holds(self, fragment: StoredFragment, now_ms: int) -> bool:
        """Whether the fragment has arrived and is not gone."""
        return fragment.server_end_ms <= now_ms and fragment.server_timestamp_ms >= self.oldest_ms(
            now_ms
        )
