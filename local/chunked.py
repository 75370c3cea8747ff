"""HTTP/1.1's chunked transfer coding, read as it arrives: bytes on a connection → a body's bytes.

Invariant: not one byte behind the body's end is taken, so the next request of the connection begins
where this one ends. `ChunkedDecoder` does no I/O; `ChunkedBody` is a readable over a connection,
and can wait for a while only, which a service that answers while it still receives needs.

Source: RFC 9112 section 7.1.
"""

import contextlib
import io
import select
import socket
import ssl
from collections.abc import Buffer
from typing import Final, override

_MAX_LINE: Final = 1024
_READ: Final = 65536


class ChunkedDecoder:
    """Any split of a chunked body → its payload.

    Attributes:
        is_finished: the last chunk and its trailers have been seen.
        trailers: the fields behind the last chunk, by their names in lower case.
    """

    def __init__(self) -> None:
        self.is_finished = False
        self.trailers: dict[str, str] = {}
        self._line = bytearray()
        self._left = 0
        self._is_payload = False
        self._closes_chunk = False
        self._in_trailers = False

    def receive(self, received: bytes) -> tuple[bytes, int]:
        """Payload bytes of `received`, and how many of its bytes belong to this body.

        Raises:
            ConnectionError: it is not chunked coding.
        """
        payload = bytearray()
        at = 0
        while at < len(received) and not self.is_finished:
            if self._is_payload:
                piece = received[at : at + self._left]
                payload += piece
                at += len(piece)
                self._left -= len(piece)
                self._is_payload = self._left > 0
                self._closes_chunk = not self._is_payload
                continue
            end = received.find(b"\n", at)
            stop = len(received) if end < 0 else end + 1
            self._line += received[at:stop]
            at = stop
            if len(self._line) > _MAX_LINE:
                raise ConnectionError("a chunk's head is too long")
            if end >= 0:
                line, self._line = bytes(self._line).strip(), bytearray()
                self._take(line)
        return bytes(payload), at

    def _take(self, line: bytes) -> None:
        if self._in_trailers and line:
            name, _, value = line.decode("latin-1").partition(":")
            self.trailers[name.strip().lower()] = value.strip()
        elif self._in_trailers:
            self.is_finished = True
        elif self._closes_chunk:
            if line:
                raise ConnectionError("a chunk is longer than it says")
            self._closes_chunk = False
        else:
            self._begin(line.partition(b";")[0].strip())

    def _begin(self, size: bytes) -> None:
        try:
            self._left = int(size, 16)
        except ValueError as error:
            raise ConnectionError("a chunk does not say how long it is") from error
        if self._left < 0:
            raise ConnectionError("a chunk does not say how long it is")
        self._is_payload = self._left > 0
        self._in_trailers = not self._is_payload


class ChunkedBody(io.RawIOBase):
    """A request's chunked body as a readable; `receive` waits no longer than its timeout.

    A body that ends early raises ConnectionError.
    """

    def __init__(self, connection: socket.socket, received: io.BufferedReader) -> None:
        super().__init__()
        self._connection = connection
        self._received = received
        self._decoder = ChunkedDecoder()
        self._pending = b""

    @property
    def is_finished(self) -> bool:
        """Whether all of it has been read."""
        return self._decoder.is_finished and not self._pending

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        """Fills the buffer with the available bytes; waits until there are some."""
        view = memoryview(buffer)
        if not self._pending:
            self._pending = self.receive(None) or b""
        piece, self._pending = self._pending[: len(view)], self._pending[len(view) :]
        view[: len(piece)] = piece
        return len(piece)

    def receive(self, timeout_s: float | None) -> bytes | None:
        """The next bytes; b"" at the end; None if nothing has come in `timeout_s`.

        Raises:
            ConnectionError: the body ends early, or is not chunked.
        """
        while not self._decoder.is_finished:
            if timeout_s is not None and not self._has_come(timeout_s):
                return None
            received = self._received.peek(_READ)
            if not received:
                raise ConnectionError("the body ends early")
            payload, used = self._decoder.receive(received)
            self._received.read(used)
            if payload:
                return payload
        return b""

    def _has_come(self, timeout_s: float) -> bool:
        # What is buffered already, select does not see.
        self._connection.settimeout(0)
        try:
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                if self._received.peek(1):
                    return True
        finally:
            self._connection.settimeout(None)
        return bool(select.select([self._connection], [], [], timeout_s)[0])
