"""PutMedia over asyncio's streams: one task sends fragments, another reads acknowledgements.

Both directions have to flow at a time. An HTTP client that reads the answer when the request is
over sees an ERROR when it is too late, and stops forever if the acknowledgements fill a buffer.
The first ERROR, or a status that is not 200, ends the session; so do 35 s without a word (KVS
itself gives up after 30).

Source: PutMedia in the KVS API reference. The body is not signed: AWS's own producers do not
either.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, override
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from call_archive_cli.rehearsal.acknowledgements import (
    Acknowledgement,
    AcknowledgementError,
    AcknowledgementReader,
    Event,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

PATIENCE_S: Final = 35.0
_CONNECT_S: Final = 10.0
_CLOSE_S: Final = 2.0
_END_S: Final = 5.0
_TURN_S: Final = 0.001
_CLOSED: Final = "KVS closed the connection"
_READ_BYTES: Final = 65_536
_MAX_ERROR_BYTES: Final = 65_536


class PutMediaError(Exception):
    """KVS does not take the audio.

    Attributes:
        code: the error's type, or the acknowledgement's error code; "" if KVS said nothing.
        error_id: of an ERROR acknowledgement; 0 otherwise.
    """

    def __init__(self, text: str, code: str = "", error_id: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.error_id = error_id


@dataclass(frozen=True, slots=True)
class Target:
    """The destination and the credentials.

    Attributes:
        endpoint: what GetDataEndpoint names for PUT_MEDIA.
        credentials: botocore's.
    """

    endpoint: str
    region: str
    stream_name: str
    credentials: Any


@dataclass(slots=True)
class Taken:
    """KVS's acknowledgements so far.

    Attributes:
        numbers: of each fragment, by its timecode.
        persisted: the timecodes of those that are stored.
        first_word_s: from the request's start to the first acknowledgement.
    """

    numbers: dict[int, str] = field(default_factory=dict)
    received: set[int] = field(default_factory=set)
    persisted: set[int] = field(default_factory=set)
    first_word_s: float | None = None

    def take(self, acknowledgement: Acknowledgement) -> None:
        """Counts one.

        Raises:
            PutMediaError: it is an ERROR, or KVS has stopped waiting.
        """
        told, at_ms = acknowledgement, acknowledgement.timecode_ms
        if told.event == Event.ERROR:
            where = "" if at_ms is None else f" at the fragment of {at_ms}"
            raise PutMediaError(
                f"KVS answered ERROR {told.error_id} {told.error_code}{where}",
                told.error_code,
                told.error_id,
            )
        if told.event == Event.IDLE:
            raise PutMediaError("KVS answered IDLE: it had received nothing for 30 s", "IDLE")
        if at_ms is None:
            return
        if told.fragment_number:
            self.numbers[at_ms] = told.fragment_number
        if told.event == Event.RECEIVED:
            self.received.add(at_ms)
        elif told.event == Event.PERSISTED:
            self.persisted.add(at_ms)


def put_media(
    target: Target,
    starts_ms: int,
    pieces: Iterable[tuple[float, bytes]],
    timecodes_ms: Sequence[int],
    *,
    patience_s: float = PATIENCE_S,
    on_taken: Callable[[Taken], None] = lambda _: None,
) -> Taken:
    """Sends one request and returns when KVS has stored every fragment.

    Args:
        target: the stream.
        starts_ms: the producer's start, since the epoch.
        pieces: when each is due, on the monotonic clock, and its bytes.
        timecodes_ms: the fragments' own, which KVS has to persist.
        patience_s: how long KVS may say nothing.
        on_taken: called after each acknowledgement.

    Raises:
        PutMediaError: KVS refuses, answers ERROR, says nothing, or ends too early.
        OSError: the connection is lost.
    """
    session = _Session(target, starts_ms, set(timecodes_ms), patience_s, on_taken)
    return asyncio.run(session.run(pieces))


@dataclass(slots=True)
class _Session:
    target: Target
    starts_ms: int
    wanted: set[int]
    patience_s: float
    on_taken: Callable[[Taken], None]
    taken: Taken = field(default_factory=Taken)

    async def run(self, pieces: Iterable[tuple[float, bytes]]) -> Taken:
        url = urlsplit(self.target.endpoint)
        is_secure = url.scheme == "https"
        port = url.port or (443 if is_secure else 80)
        began = time.monotonic()
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await _connect(
                    url.hostname or "", port, ssl.create_default_context() if is_secure else None
                )
        except TimeoutError as error:
            raise PutMediaError(f"{url.hostname} does not answer") from error
        try:
            writer.write(self._head())
            await self._exchange(reader, writer, pieces, began)
            writer.close()
        except BaseException:
            # The remaining buffer is not needed.
            writer.transport.abort()
            raise
        finally:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await writer.wait_closed()
        return self.taken

    def _head(self) -> bytes:
        target = self.target
        url = f"{target.endpoint.rstrip('/')}/putMedia"
        request = AWSRequest(
            "POST",
            url,
            headers={
                "x-amzn-stream-name": target.stream_name,
                "x-amzn-fragment-timecode-type": "ABSOLUTE",
                "x-amzn-producer-start-timestamp": f"{self.starts_ms / 1000:.3f}",
                "x-amzn-fragment-acknowledgment-required": "1",
            },
            data=b"",
        )
        request.context["payload_signing_enabled"] = False
        SigV4Auth(target.credentials, "kinesisvideo", target.region).add_auth(request)
        lines = [
            f"POST {urlsplit(url).path} HTTP/1.1",
            f"Host: {urlsplit(url).netloc}",
            "Connection: keep-alive",
            "Transfer-Encoding: chunked",
            *(f"{name}: {value}" for name, value in request.headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    async def _exchange(
        self,
        reader: _Received,
        writer: asyncio.StreamWriter,
        pieces: Iterable[tuple[float, bytes]],
        began: float,
    ) -> None:
        sending = asyncio.create_task(_send(writer, pieces))
        receiving = asyncio.create_task(self._receive(reader, began))
        try:
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_EXCEPTION)
            # An answer that ends the session explains why sending failed, not the reverse.
            if sending.done() and sending.exception() and not receiving.done():
                await asyncio.wait((receiving,), timeout=1.0)
            if receiving.done():
                receiving.result()
            sending.result()
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _receive(self, reader: _Received, began: float) -> None:
        status, headers = await self._patiently(_read_head(reader))
        chunks = _Chunks(reader, is_chunked="chunked" in headers.get("transfer-encoding", ""))
        if status != 200:
            raise await _refusal(status, headers, chunks)
        acknowledgements = AcknowledgementReader()
        while not self.wanted <= self.taken.persisted:
            received = await self._patiently(chunks.read())
            if not received:
                missing = len(self.wanted - self.taken.persisted)
                raise PutMediaError(
                    f"KVS ended the session with {missing} of {len(self.wanted)} fragments not "
                    "persisted"
                )
            try:
                complete = acknowledgements.receive(received)
            except AcknowledgementError as error:
                raise PutMediaError(f"KVS answered {error}") from error
            for acknowledgement in complete:
                if self.taken.first_word_s is None:
                    self.taken.first_word_s = time.monotonic() - began
                self.taken.take(acknowledgement)
                self.on_taken(self.taken)
        await _read_rest(chunks)

    async def _patiently[T](self, reading: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self.patience_s):
                return await reading
        except TimeoutError as error:
            raise PutMediaError(
                f"KVS has acknowledged nothing for {self.patience_s:.0f} s", "SILENCE"
            ) from error


class _Received(asyncio.StreamReader):
    """What was received, all of it, before the loss of the connection is reported.

    KVS may send an ERROR and reset the connection at once; asyncio's own reader then reports the
    reset alone, and the bytes in front of it are gone.
    """

    lost: Exception | None = None

    @override
    def set_exception(self, exc: Exception) -> None:
        self.lost = exc
        self.feed_eof()

    async def read_some(self, limit: int) -> bytes:
        """At most this many bytes; b"" at the end.

        Raises:
            OSError: the connection is lost, and everything that was received has been read.
        """
        received = await self.read(limit)
        if not received and self.lost is not None:
            raise self.lost
        return received


async def _connect(
    host: str, port: int, tls: ssl.SSLContext | None
) -> tuple[_Received, asyncio.StreamWriter]:
    """What asyncio.open_connection does, with a reader of our own."""
    loop = asyncio.get_running_loop()
    reader = _Received(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port, ssl=tls)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _read_rest(chunks: _Chunks) -> None:
    """Waits for the answer's end: a stream takes one session, and the next may follow at once."""
    with contextlib.suppress(OSError, TimeoutError, PutMediaError):
        async with asyncio.timeout(_END_S):
            while await chunks.read():
                pass


async def _send(writer: asyncio.StreamWriter, pieces: Iterable[tuple[float, bytes]]) -> None:
    for due, piece in pieces:
        # Longer than 0 lets the loop read first: a failing write discards what it has not read.
        await asyncio.sleep(max(_TURN_S, due - time.monotonic()))
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _read_head(reader: _Received) -> tuple[int, dict[str, str]]:
    """Status and headers, by their names in lower case."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise reader.lost or ConnectionResetError(_CLOSED) from error
    except asyncio.LimitOverrunError as error:
        raise PutMediaError("not an answer in HTTP: its headers do not end") from error
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    try:
        return int(first.split()[1]), headers
    except (IndexError, ValueError) as error:
        raise PutMediaError(f"not an answer in HTTP: {first[:60]}") from error


@dataclass(slots=True)
class _Chunks:
    """An answer's body as it comes."""

    reader: _Received
    is_chunked: bool
    left: int = 0
    is_within: bool = False
    is_over: bool = False

    async def read(self) -> bytes:
        """Some bytes, also of a chunk that is not whole yet; b"" at the end.

        Raises:
            OSError: the connection is lost.
            PutMediaError: it is not a body in chunks.
        """
        if not self.is_chunked:
            return await self.reader.read_some(_READ_BYTES)
        if not self.left and not self.is_over:
            await self._begin()
        if self.is_over:
            return b""
        received = await self.reader.read_some(min(self.left, _READ_BYTES))
        if not received:
            raise ConnectionResetError(_CLOSED)
        self.left -= len(received)
        return received

    async def _begin(self) -> None:
        """Reads the end of one chunk and the size of the next."""
        if self.is_within:
            await self._line()
        self.is_within = True
        line = await self._line()
        try:
            self.left = int(line.partition(b";")[0].strip(), 16)
        except ValueError as error:
            raise PutMediaError("not an answer in chunks") from error
        self.is_over = not self.left

    async def _line(self) -> bytes:
        try:
            return await self.reader.readuntil(b"\r\n")
        except asyncio.IncompleteReadError as error:
            raise self.reader.lost or ConnectionResetError(_CLOSED) from error
        except asyncio.LimitOverrunError as error:
            raise PutMediaError("not an answer in chunks") from error


async def _refusal(status: int, headers: dict[str, str], chunks: _Chunks) -> PutMediaError:
    """What a status that is not 200 means, in KVS's own words."""
    body = b""
    length = int(headers.get("content-length") or _MAX_ERROR_BYTES)
    try:
        async with asyncio.timeout(2.0):
            while len(body) < min(length, _MAX_ERROR_BYTES) and (piece := await chunks.read()):
                body += piece
    except (TimeoutError, OSError):
        pass
    code = headers.get("x-amzn-errortype", "").partition(":")[0]
    try:
        told = json.loads(body)
        text = str(told.get("Message") or told.get("message") or "")
        code = code or str(told.get("__type", ""))
    except (ValueError, AttributeError):
        text = ""
    said = " ".join(part for part in (str(status), code, text) if part)
    return PutMediaError(f"PutMedia answered {said}", code or str(status))
