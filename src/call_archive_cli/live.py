"""Adapter: GetMedia → fragments of a stream as they come, without a seam where a body ends.

GetMedia starts behind the fragment that it is given, ends after 40 to 45 minutes, and may end at
any time inside a fragment. What was cut is asked for again: every call goes on behind the last
whole fragment, so each fragment comes once, in order.

Source: GetMedia in the API reference of Kinesis Video Streams Media.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError, ReadTimeoutError

from call_archive.errors import MediaError, StreamFaultError
from call_archive.fragments import Ending, read_fragments
from call_archive.kvs import document_fault, fault
from call_archive.matroska import MediaFragment, decode_fragment, decode_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from botocore.response import StreamingBody
    from mypy_boto3_kinesis_video_media import KinesisVideoMediaClient
    from mypy_boto3_kinesis_video_media.type_defs import StartSelectorTypeDef

READ_BYTES: Final = 65_536

RETRY_DELAYS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Between calls that bring nothing; after the last one the stream is given up."""

_BEHIND_NOW: Final = "AWS_KINESISVIDEO_MILLIS_BEHIND_NOW"
_CONTINUATION: Final = "AWS_KINESISVIDEO_CONTINUATION_TOKEN"
_MAX_DIGITS: Final = 15
_BROKEN_BODY: Final = (BotoCoreError, HTTPError, OSError)


class LiveFragment(NamedTuple):
    """A fragment as GetMedia sends it.

    Attributes:
        behind_now_ms: how far behind the newest fragment of the stream it is; None where KVS does
            not say.
    """

    media: MediaFragment
    behind_now_ms: int | None


class StreamIsQuietError(Exception):
    """Nothing came for as long as the client waits."""


@dataclass(slots=True)
class LiveStream:
    """One stream, followed.

    Attributes:
        stream_arn: the stream.
        open_client: makes a client that is behind a current data endpoint.
        last: the last whole fragment that came; 0 before there is one.
        calls: how many GetMedia calls were needed so far.
    """

    stream_arn: str
    open_client: Callable[[], KinesisVideoMediaClient]
    sleep: Callable[[float], None] = time.sleep
    last: int = 0
    calls: int = 0
    _is_quiet: bool = field(default=False, init=False)
    _failure: StreamFaultError = field(
        default_factory=lambda: StreamFaultError("KVS_UNREACHABLE", "GetMedia sends nothing")
    )

    def follow(self, start: StartSelectorTypeDef) -> Iterator[LiveFragment]:
        """Fragments from the selector on, each once, until the caller closes this.

        Raises:
            StreamIsQuietError: nothing came for as long as the client waits.
            StreamFaultError: KVS refuses, or nothing more comes however often it is asked.
        """
        fruitless = 0
        while fruitless <= len(RETRY_DELAYS_S):
            if fruitless:
                self.sleep(RETRY_DELAYS_S[fruitless - 1])
            before = self.last
            with contextlib.closing(self._read_call(start)) as fragments:
                for live in fragments:
                    if live.media.number is not None:
                        self.last = live.media.number
                    yield live
            if self.last:
                start = {
                    "StartSelectorType": "FRAGMENT_NUMBER",
                    "AfterFragmentNumber": str(self.last),
                }
            fruitless = 0 if self.last != before else fruitless + 1
        raise self._failure

    def _read_call(self, start: StartSelectorTypeDef) -> Generator[LiveFragment]:
        """The whole fragments of one GetMedia call; notes what ended it."""
        self.calls += 1
        try:
            body = self.open_client().get_media(StreamARN=self.stream_arn, StartSelector=start)[
                "Payload"
            ]
            with contextlib.closing(body):
                reads = self._read(body)
                yield from self._whole(decode_fragment(read) for read in read_fragments(reads))
        except ClientError as error:
            self._note(fault("GetMedia", error))
        except _BROKEN_BODY as error:
            self._note(fault("GetMedia", error))
        except MediaError as error:
            self._note(StreamFaultError(error.code, str(error), retryable=True))
        if self._is_quiet:
            raise StreamIsQuietError

    def _read(self, body: StreamingBody) -> Iterator[bytes]:
        """The body as it comes; when nothing more does, it has ended, and its last fragment too.

        botocore's body has no `read1`; its `read` waits for a full buffer, and loses what came
        before a time-out.
        """
        stream = body._raw_stream  # type: ignore[attr-defined] # noqa: SLF001 - see above
        try:
            while read := stream.read1(READ_BYTES):
                yield read
        except ReadTimeoutError:
            self._is_quiet = True

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

    def _note(self, failure: StreamFaultError) -> None:
        """Keeps a failure that another call may mend; raises one that it cannot."""
        if not failure.retryable:
            raise failure
        self._failure = failure


def _milliseconds(tags: Mapping[str, str]) -> int | None:
    text = tags.get(_BEHIND_NOW, "")
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else None
