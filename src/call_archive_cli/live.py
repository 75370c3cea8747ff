"""Adapter: GetMedia → a stream's fragments as they arrive, seamless across bodies.

GetMedia starts after the given fragment, ends after 40 to 45 minutes, and may end at any time
inside a fragment. Every call continues after the last whole fragment, so a cut fragment is
requested again and each fragment arrives once, in order.

Source: GetMedia in the API reference of Kinesis Video Streams Media.
"""

from __future__ import annotations

import contextlib
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import botocore.exceptions
from botocore.exceptions import ClientError
from urllib3.exceptions import HTTPError, ReadTimeoutError

from call_archive.aws.faults import document_fault, stream_fault
from call_archive.errors import MediaError, StreamFaultError
from call_archive.media.fragments import Ending, read_fragments
from call_archive.media.likeness import MediaFragment, decode_fragment
from call_archive.media.matroska import decode_tags
from call_archive.reasons import Refusal, Service
from call_archive_cli.streams import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from contextlib import AbstractContextManager

    from botocore.response import StreamingBody
    from mypy_boto3_kinesis_video_media import KinesisVideoMediaClient
    from mypy_boto3_kinesis_video_media.type_defs import StartSelectorTypeDef

READ_BYTES: Final = 65_536

RETRY_DELAYS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""The pauses between calls that bring nothing; the last one repeats."""

SHORTEST_TIMEOUT_S: Final = 0.1

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
"""Failures that a retry may fix; botocore's other errors need the user: credentials, a profile."""

_LOGGED_OUT: Final = frozenset(
    Refusal(Service.KVS, code)
    for code in ("ExpiredToken", "ExpiredTokenException", "InvalidSignatureException")
)


class LiveFragment(NamedTuple):
    """A fragment as GetMedia sends it.

    Attributes:
        behind_now_ms: how far behind the newest fragment of the stream it is; None if KVS does
            not say.
    """

    media: MediaFragment
    behind_now_ms: int | None


class TimeLimitError(Exception):
    """The time limit was reached."""


class StreamIsQuietError(Exception):
    """Nothing arrived within the idle timeout."""


@dataclass(frozen=True, slots=True)
class LiveSource:
    """Where a stream is followed, and for how long.

    Attributes:
        stream_arn: the stream.
        open_client: given a read timeout, makes a client that is behind a current data endpoint.
        fetch_fragment: gives one fragment from the stream's archive.
        idle_s: how long to wait for a fragment.
        limit_s: how long to follow; None for as long as something comes.
        waiting: a context manager around every wait.
    """

    stream_arn: str
    open_client: Callable[[float], KinesisVideoMediaClient]
    fetch_fragment: Callable[[int], MediaFragment]
    idle_s: float = 60.0
    limit_s: float | None = None
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class LiveStream:
    """One stream, followed.

    Attributes:
        source: where, and for how long.
        last: the last whole fragment that arrived; 0 before there is one.
        calls: how many GetMedia calls were needed so far.
    """

    source: LiveSource
    last: int = 0
    calls: int = 0
    _began_s: float = field(default=0.0, init=False)
    _now_ms: int | None = field(default=None, init=False)
    _is_quiet: bool = field(default=False, init=False)
    _is_interrupted: bool = field(default=False, init=False)
    _failure: StreamFaultError | None = field(default=None, init=False)

    def follow(self, start: StartSelectorTypeDef) -> Iterator[LiveFragment]:
        """Fragments from the selector on, each once, until the caller closes this.

        Raises:
            StreamIsQuietError: nothing came for `idle_s`.
            TimeLimitError: `limit_s` are over.
            StreamFaultError: KVS refuses, or fails for `idle_s` however often it is asked.
            KeyboardInterrupt: while it waited.
        """
        self._began_s = heard_s = self.source.clock()
        empty_calls = 0
        while True:
            before, self._failure = self.last, None
            with contextlib.closing(self._read_call(start, heard_s)) as fragments:
                for live in fragments:
                    if live.media.number is not None:
                        self.last = live.media.number
                    yield live
                    self._check_limit()
            if self.last != before:
                empty_calls, heard_s = 0, self.source.clock()
                start = _behind(self.last)
                continue
            if start["StartSelectorType"] == "NOW" and self._now_ms is not None:
                # In a repeated call, "now" would be later, and the audio in between would be lost.
                start = {
                    "StartSelectorType": "SERVER_TIMESTAMP",
                    "StartTimestamp": moment(self._now_ms),
                }
            delay_s = RETRY_DELAYS_S[min(empty_calls, len(RETRY_DELAYS_S) - 1)]
            left_s = self.source.idle_s - (self.source.clock() - heard_s)
            if empty_calls < len(RETRY_DELAYS_S):
                # At least this many calls, however short the idle timeout.
                left_s = max(left_s, delay_s)
            if left_s <= 0:
                raise self._why_it_ends()
            with self.source.waiting():
                self.source.sleep(min(delay_s, left_s, self._left_s()))
            self._check_limit()
            empty_calls += 1

    def _why_it_ends(self) -> Exception:
        """Raises after calls that brought nothing; KVS ends a body without news normally."""
        return StreamIsQuietError() if self._failure is None else self._failure

    def _left_s(self) -> float:
        """Until the limit."""
        if self.source.limit_s is None:
            return math.inf
        return max(0.0, self._began_s + self.source.limit_s - self.source.clock())

    def _check_limit(self) -> None:
        if self._left_s() <= 0:
            raise TimeLimitError

    def _read_call(self, start: StartSelectorTypeDef, heard_s: float) -> Generator[LiveFragment]:
        """The whole fragments of one GetMedia call; notes what ended it."""
        self.calls += 1
        timeout_s = min(self.source.idle_s - (self.source.clock() - heard_s), self._left_s())
        try:
            with self.source.waiting():
                client = self.source.open_client(max(SHORTEST_TIMEOUT_S, timeout_s))
                asked_s = self.source.clock()
                answer = client.get_media(StreamARN=self.source.stream_arn, StartSelector=start)
            self._note_time(dict(answer["ResponseMetadata"]), asked_s)
            body = answer["Payload"]
            with contextlib.closing(body):
                reads = self._read(body)
                yield from self._whole(decode_fragment(read) for read in read_fragments(reads))
        except ClientError as error:
            self._note_time(dict(error.response.get("ResponseMetadata", {})), self.source.clock())
            self._note(stream_fault("GetMedia", error), error)
        except _UNREACHABLE as error:
            self._note(stream_fault("GetMedia", error), error)
        except StreamFaultError as failure:
            # GetDataEndpoint's.
            self._note(failure, failure.__cause__)
        except MediaError as error:
            self._note(StreamFaultError(error.code, str(error), retryable=True), error)
        if self._is_interrupted:
            raise KeyboardInterrupt
        if self._is_quiet:
            self._check_limit()
            raise StreamIsQuietError

    def _read(self, body: StreamingBody) -> Iterator[bytes]:
        """The body as it arrives; if nothing more arrives, it has ended, with its last fragment.

        The same holds if the user stops the wait: complete fragments are not lost.

        botocore's body has no `read1`; its `read` waits for a full buffer, and loses what came
        before a time-out.
        """
        stream = body._raw_stream  # type: ignore[attr-defined] # noqa: SLF001 - see above
        try:
            while True:
                with self.source.waiting():
                    read = stream.read1(READ_BYTES)
                if not read:
                    return
                yield read
        except ReadTimeoutError:
            self._is_quiet = True
        except KeyboardInterrupt:
            self._is_interrupted = True

    def _note_time(self, answered: Mapping[str, Any], asked_s: float) -> None:
        """Remembers the time of the first call by KVS's clock: this machine's may be wrong.

        If a call gets no response, the next response also gives the time of the first call.
        """
        date = answered.get("HTTPHeaders", {}).get("date")
        if self._now_ms is None and date:
            try:
                at_ms = round(parsedate_to_datetime(date).timestamp() * 1000)
            except ValueError:
                return
            self._now_ms = at_ms - round((asked_s - self._began_s) * 1000)

    def _whole(self, fragments: Iterator[MediaFragment]) -> Iterator[LiveFragment]:
        """Drops a fragment that the body's end cut, and fragments seen before."""
        for media in fragments:
            if media.fault_code:
                self._note(document_fault(media.fault_code))
                continue
            tags = dict(decode_tags(media.fragment))
            is_whole = media.fragment.ending is Ending.WHOLE or _CONTINUATION in tags
            if is_whole and media.number is not None and media.number > self.last:
                yield LiveFragment(media, _milliseconds(tags))

    def _note(self, failure: StreamFaultError, cause: BaseException | None = None) -> None:
        """Keeps a failure that a retry may fix; raises any other."""
        if not failure.retryable or failure.code in _LOGGED_OUT:
            raise failure from cause
        failure.__cause__ = cause
        self._failure = failure


def _behind(number: int) -> StartSelectorTypeDef:
    return {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": str(number)}


def _milliseconds(tags: Mapping[str, str]) -> int | None:
    text = tags.get(_BEHIND_NOW, "")
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else None
