"""What a KVS stream lists and delivers; the values that pass between adapter and pipeline."""

from typing import NamedTuple

from call_archive.matroska import MediaFragment


class ListedFragment(NamedTuple):
    """A fragment as ListFragments describes it.

    Attributes:
        server_timestamp_ms: when KVS received its beginning, ms since the epoch.
        duration_ms: the length that KVS states.
    """

    number: int
    server_timestamp_ms: int
    duration_ms: int
    size_bytes: int


class ReceivedFragment(NamedTuple):
    """A fragment as KVS delivered it.

    Attributes:
        is_cut_short: KVS delivered less of it than it lists, every time it was asked.
    """

    media: MediaFragment
    is_cut_short: bool = False


class MissingFragment(NamedTuple):
    """A listed fragment that KVS did not deliver, after every retry.

    Attributes:
        reason: `CODE: text`.
        may_improve: whether asking again in a minute can help.
    """

    number: int
    reason: str
    may_improve: bool


type Delivery = ReceivedFragment | MissingFragment
