"""Listed fragments → each once, in order, received or missing: carries out a Retrieval.

A `Retrieval` decides what to request, how long to wait and when it is done. This loop makes the
calls, reads the bodies, and always closes them.
"""

from __future__ import annotations

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from call_archive.aws.faults import broken, document_fault
from call_archive.errors import ArchiveError, MediaError
from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import decode_fragment
from call_archive.recording.retrieval import (
    Ask,
    Broken,
    Done,
    Ended,
    ListAgain,
    ListedSizes,
    Refused,
    Retrieval,
    Wait,
    build_batches,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from botocore.response import StreamingBody

    from call_archive.recording.listing import FetchedFragment, ListedFragment

    type Answer = StreamingBody | Refused | Broken

READ_BYTES = 65_536
"""One read of a body: 64 times botocore's own, and small enough for the allocator to reuse; above
128 KiB each read is mapped and unmapped, which costs as much as the rest."""

_BROKEN_BODY = broken()


class MediaCalls(Protocol):
    """The calls of one stream (`kvs.StreamReader`)."""

    def open_media(self, numbers: Sequence[int]) -> Answer:
        """The body of one call, or how the call failed."""

    def broken_media(self, error: Exception) -> Broken:
        """How a body broke off."""

    def still_listed(self, fragments: Sequence[ListedFragment]) -> set[int]:
        """The numbers of the fragments that KVS has not deleted since it listed them."""

    @property
    def sleep(self) -> Callable[[float], None]:
        """Waits this many seconds."""


def read_media(calls: MediaCalls, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
    """Yields each listed fragment once, in order, received or missing.

    While the response for one batch streams, the next batch is requested.

    Raises:
        StreamFaultError: KVS refuses the stream or its key.
    """
    batches, sizes = build_batches(listed), ListedSizes()
    batch = next(batches, None)
    opening: Future[Answer] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="media") as opener:
        try:
            while batch is not None:
                retrieval = Retrieval(batch, sizes)
                opened = opening or opener.submit(calls.open_media, _numbers(batch))
                batch, opening = next(batches, None), None
                if batch is not None:
                    opening = opener.submit(calls.open_media, _numbers(batch))
                yield from _read_batch(calls, retrieval, opened)
        finally:
            if opening is not None:
                _abandon(opening)


def _read_batch(
    calls: MediaCalls, retrieval: Retrieval, opened: Future[Answer]
) -> Iterator[FetchedFragment]:
    """Carries out one retrieval; `opened` is the response to its first request."""
    opening: Future[Answer] | None = opened
    while not isinstance(step := retrieval.next(), Done):
        yield from retrieval.deliveries()
        match step:
            case Wait():
                calls.sleep(random.uniform(*step))  # noqa: S311 - not a secret
            case Ask(numbers):
                answer = opening.result() if opening is not None else calls.open_media(numbers)
                opening = None
                if isinstance(answer, Refused | Broken):
                    retrieval.end(answer)
                else:
                    yield from _read_body(calls, retrieval, answer)
            case ListAgain(fragments):
                retrieval.list_again(calls.still_listed(fragments))
    yield from retrieval.deliveries()


def _read_body(
    calls: MediaCalls, retrieval: Retrieval, body: StreamingBody
) -> Iterator[FetchedFragment]:
    """Passes a body's fragments to the retrieval, and yields those whose turn it is."""
    try:
        with contextlib.closing(body):
            for fragment in read_fragments(_reads(body)):
                media = decode_fragment(fragment)
                if media.fault_code:
                    retrieval.note(document_fault(media.fault_code))
                else:
                    retrieval.receive(media)
                    yield from retrieval.deliveries()
                if not retrieval.is_listening:
                    break
    except _BROKEN_BODY as error:
        retrieval.end(calls.broken_media(error))
    except MediaError as error:
        retrieval.end(Broken(error))
    else:
        retrieval.end(Ended())


def _reads(body: StreamingBody) -> Iterator[bytes]:
    while read := body.read(READ_BYTES):
        yield read


def _numbers(batch: Sequence[ListedFragment]) -> list[int]:
    return [fragment.number for fragment in batch]


def _abandon(opening: Future[Answer]) -> None:
    """Closes a body that will not be read."""
    if not opening.cancel():
        with contextlib.suppress(ArchiveError, *_BROKEN_BODY):
            answer = opening.result()
            if not isinstance(answer, Refused | Broken):
                answer.close()
