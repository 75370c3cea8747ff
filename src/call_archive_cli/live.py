"""Adapter: GetMedia → fragments of a stream as they come, without a seam where a body ends.

GetMedia starts behind the fragment that it is given, ends after 40 to 45 minutes, and may end at
any time inside a fragment. What was cut is asked for again: every call goes on behind the last
whole fragment, so each fragment comes once, in order.

Source: GetMedia in the API reference of Kinesis Video Streams Media.
"""

from __future__ import annotations

import contextlib
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import botocore.exceptions
from botocore.exceptions import ClientError
from urllib3.exceptions import HTTPError, ReadTimeoutError

from call_archive.aws.faults import document_fault, stream_fault
from call_archive.errors import MediaError, StreamFaultError
from call_archive.media.fragments import Ending, read_fragments
from call_archive.media.likeness import MediaFragment, decode_fragment
from call_archive.media.matroska import decode_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from contextlib import AbstractContextManager

    from botocore.response import StreamingBody
    from mypy_boto3_kinesis_video_media import KinesisVideoMediaClient
    from mypy_boto3_kinesis_video_media.type_defs import StartSelectorTypeDef

READ_BYTES: Final = 65_536

RETRY_DELAYS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Between calls that bring nothing; after the last one a stream that fails is given up."""

_BEHIND_NOW: Final = "AWS_KINESISVIDEO_MILLIS_BEHIND_NOW"
_CONTINUATION: Final = "AWS_KINESISVIDEO_CONTINUATION_TOKEN"
_MAX_DIGITS: Final = 15
_UNREACHABLE: Final = (
    botocore.exceptions.ConnectionError,
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.IncompleteReadError,
    HTTPError,
    OSError,
)
"""What asking again may mend; botocore's other errors are the person's: credentials, a profile."""

_LOGGED_OUT: Final = frozenset(
    f"KVS_{code}" for code in ("ExpiredToken", "ExpiredTokenException", "InvalidSignatureException")
)


class LiveFragment(NamedTuple):
    """A fragment as GetMedia sends it.

    Attributes:
        behind_now_ms: how far behind the newest fragment of the stream it is; None where KVS does
            not say.
    """

    media: MediaFragment
    behind_now_ms: int | None


class StreamIsQuietError(Exception):
    """Nothing came for as long as somebody wanted to wait."""


@dataclass(slots=True)
class LiveStream:
    """One stream, followed.

    Attributes:
        stream_arn: the stream.
        fetch_fragment: gives one fragment from the stream's archive.
        open_client: makes a client that is behind a current data endpoint; its bodies time out
            after `idle_s`.
        idle_s: how long to wait for a fragment.
        waiting: put around everything that waits.
        last: the last whole fragment that came; 0 before there is one.
        calls: how many GetMedia calls were needed so far.
    """

    stream_arn: str
    open_client: Callable[[], KinesisVideoMediaClient]
    fetch_fragment: Callable[[int], MediaFragment]
    idle_s: float = 60.0
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    last: int = 0
    calls: int = 0
    _is_quiet: bool = field(default=False, init=False)
    _is_interrupted: bool = field(default=False, init=False)
    _failure: StreamFaultError | None = field(default=None, init=False)

    def follow(self, start: StartSelectorTypeDef) -> Iterator[LiveFragment]:
        """Fragments from the selector on, each once, until the caller closes this.

        Raises:
            StreamIsQuietError: nothing came for `idle_s`.
            StreamFaultError: KVS refuses, or fails however often it is asked.
            KeyboardInterrupt: while it waited.
        """
        fruitless, heard_s = 0, self.clock()
        while True:
            before, self._failure = self.last, None
            with contextlib.closing(self._read_call(start)) as fragments:
                for live in fragments:
                    if live.media.number is not None:
                        self.last = live.media.number
                    yield live
            if self.last != before:
                fruitless, heard_s = 0, self.clock()
                start = _behind(self.last)
                continue
            self._give_up(fruitless, heard_s)
            with self.waiting():
                self.sleep(RETRY_DELAYS_S[min(fruitless, len(RETRY_DELAYS_S) - 1)])
            fruitless += 1

    def _give_up(self, fruitless: int, heard_s: float) -> None:
        """Raises what it ends with, if it has to end after a call that brought nothing."""
        if fruitless < len(RETRY_DELAYS_S):
            return
        if self._failure is not None:
            raise self._failure
        # KVS ends bodies without news in good order.
        if self.clock() - heard_s >= self.idle_s:
            raise StreamIsQuietError

    def _read_call(self, start: StartSelectorTypeDef) -> Generator[LiveFragment]:
        """The whole fragments of one GetMedia call; notes what ended it."""
        self.calls += 1
        try:
            with self.waiting():
                body = self.open_client().get_media(StreamARN=self.stream_arn, StartSelector=start)[
                    "Payload"
                ]
            with contextlib.closing(body):
                reads = self._read(body)
                yield from self._whole(decode_fragment(read) for read in read_fragments(reads))
        except (ClientError, *_UNREACHABLE) as error:
            self._note(stream_fault("GetMedia", error), error)
        except StreamFaultError as failure:
            # GetDataEndpoint's.
            self._note(failure, failure.__cause__)
        except MediaError as error:
            self._note(StreamFaultError(error.code, str(error), retryable=True), error)
        if self._is_interrupted:
            raise KeyboardInterrupt
        if self._is_quiet:
            raise StreamIsQuietError

    def _read(self, body: StreamingBody) -> Iterator[bytes]:
        """The body as it comes; when nothing more does, it has ended, and its last fragment too.

        So it has when somebody stops the waiting: what has arrived whole is not lost.

        botocore's body has no `read1`; its `read` waits for a full buffer, and loses what came
        before a time-out.
        """
        stream = body._raw_stream  # type: ignore[attr-defined] # noqa: SLF001 - see above
        try:
            while True:
                with self.waiting():
                    read = stream.read1(READ_BYTES)
                if not read:
                    return
                yield read
        except ReadTimeoutError:
            self._is_quiet = True
        except KeyboardInterrupt:
            self._is_interrupted = True

    def _whole(self, fragments: Iterator[MediaFragment]) -> Iterator[LiveFragment]:
        """Leaves out what the end of the body cut, and what came before."""
        for media in fragments:
            if media.fault_code:
                self._note(document_fault(media.fault_code))
                continue
            tags = dict(decode_tags(media.fragment))
            is_whole = media.fragment.ending is Ending.WHOLE or _CONTINUATION in tags
            if is_whole and media.number is not None and media.number > self.last:
                yield LiveFragment(media, _milliseconds(tags))

    def _note(self, failure: StreamFaultError, cause: BaseException | None = None) -> None:
        """Keeps a failure that another call may mend; raises one that it cannot."""
        if not failure.retryable or failure.code in _LOGGED_OUT:
            raise failure from cause
        failure.__cause__ = cause
        self._failure = failure


def _behind(number: int) -> StartSelectorTypeDef:
    return {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": str(number)}


def _milliseconds(tags: Mapping[str, str]) -> int | None:
    text = tags.get(_BEHIND_NOW, "")
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else None
