"""Documents of EBML → the writes of a media body, and the session that it is.

Invariant: the writes, joined, are the documents, except for what a fault of the body does to them.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from local.behaviour import Api
from local.faults import BrokenConnectionError, FaultPlan

# No byte begins an element ID of up to four bytes, and no block is as long: who steps from element
# to element meets it, wherever it is. Less of it could be taken for samples by chance.
_GARBAGE: Final = bytes(range(1, 16)) * 137


class MediaBody:
    """A media body as writes; closing it, also when it is exhausted, ends the session."""

    def __init__(self, writes: Iterator[bytes], end_session: Callable[[], None]) -> None:
        self._writes = writes
        self._end_session = end_session
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        # The session ends before the client sees the end of the body, so that it may open the next
        # at once.
        try:
            yield from self._writes
        finally:
            self.close()

    def close(self) -> None:
        """Ends the session, once."""
        if self._open:
            self._open = False
            self._end_session()


def spoil(faults: FaultPlan, api: Api, documents: Iterable[bytes]) -> Iterator[bytes]:
    """The documents, with the body faults of this API.

    Raises:
        BrokenConnectionError: where one of them breaks the connection.
    """
    pending = faults.body_faults(api)
    sent = 0
    for document in documents:
        rest = document
        while pending and pending[0].after_bytes < sent + len(rest):
            fault = pending.pop(0)
            if not faults.use(fault):
                continue
            at = max(0, fault.after_bytes - sent)
            sent += at
            yield rest[:at]
            if fault.kind == "end":
                return
            if fault.kind == "garbage":
                yield _GARBAGE
                rest = rest[at:]
            elif fault.kind == "flip":
                rest = bytes([rest[at] ^ 1]) + rest[at + 1 :]
            else:
                raise BrokenConnectionError(fault.kind)
        sent += len(rest)
        yield rest


def split_writes(documents: Iterator[bytes], write_bytes: int | None) -> Iterator[bytes]:
    """No write is longer than `write_bytes`, and none holds bytes of two documents."""
    for document in documents:
        step = write_bytes or len(document)
        for start in range(0, len(document), step):
            yield document[start : start + step]


def cut_writes(documents: Iterator[bytes], write_bytes: int | None) -> Iterator[bytes]:
    """Writes of `write_bytes`, across documents; the last is what is left, also before a reset."""
    if write_bytes is None:
        yield from documents
        return
    held = bytearray()
    try:
        for document in documents:
            held += document
            while len(held) >= write_bytes:
                yield bytes(held[:write_bytes])
                del held[:write_bytes]
    except BrokenConnectionError:
        yield bytes(held)
        raise
    if held:
        yield bytes(held)
