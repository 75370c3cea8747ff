"""Documents of EBML → the writes of a media body, and the session that it is.

Invariant: the writes, joined, are the documents, up to where a fault ends the body.
"""

from collections.abc import Callable, Iterator

from local.behaviour import Api
from local.faults import BodyResetError, FaultPlan


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


def cut_short(faults: FaultPlan, api: Api, documents: Iterator[bytes]) -> Iterator[bytes]:
    """The documents, up to where a body fault of this API strikes."""
    pending = faults.body_faults(api)
    sent = 0
    for document in documents:
        while pending and pending[0].after_bytes <= sent + len(document):
            fault = pending.pop(0)
            if not faults.use(fault):
                continue
            yield document[: fault.after_bytes - sent]
            if fault.kind == "reset":
                raise BodyResetError
            return
        sent += len(document)
        yield document


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
    except BodyResetError:
        yield bytes(held)
        raise
    if held:
        yield bytes(held)
