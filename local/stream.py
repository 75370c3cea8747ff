"""A stream and the fragments on it, by number.

What it holds and its state at a given time follows from the fragments' server times, the
retention and the times of its creation and deletion: nothing is ever removed.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from local.call import StoredFragment

type Status = Literal["CREATING", "ACTIVE", "DELETING", "GONE"]

_HOUR_MS: Final = 3_600_000
# CreateStream, DataRetentionInHours: without retention the host buffer still serves GetMedia for
# five minutes.
_HOST_BUFFER_MS: Final = 300_000


@dataclass(slots=True)
class Stream:
    """A stream; `numbers` is sorted and has the keys of `fragments`.

    Attributes:
        active_from_ms: it is CREATING before.
        gone_from_ms: it is DELETING before, and not there from then on; None if it was not deleted.
        media_type: as CreateStream was told; Connect's streams say video.
        sessions: PutMedia sessions so far; each begins a new thousand of sequence numbers.
    """

    arn: str
    retention_hours: int
    created_ms: int
    kms_key_id: str
    active_from_ms: int = 0
    gone_from_ms: int | None = None
    media_type: str | None = "video/h264"
    tags: dict[str, str] = field(default_factory=dict)
    sessions: int = 0
    numbers: list[int] = field(default_factory=list)
    fragments: dict[int, StoredFragment] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name inside the ARN."""
        return self.arn.split("/")[1]

    def status(self, now_ms: int) -> Status:
        """The stream's status."""
        if self.gone_from_ms is not None:
            return "GONE" if now_ms >= self.gone_from_ms else "DELETING"
        return "ACTIVE" if now_ms >= self.active_from_ms else "CREATING"

    def oldest_ms(self, now_ms: int) -> int:
        """Fragments from before are gone."""
        return now_ms - (self.retention_hours * _HOUR_MS or _HOST_BUFFER_MS)

    def holds(self, fragment: StoredFragment, now_ms: int) -> bool:
        """Whether the fragment has arrived and is not gone."""
        return fragment.server_end_ms <= now_ms and fragment.server_timestamp_ms >= self.oldest_ms(
            now_ms
        )
