"""HTTP/1.1 in front of a WSGI application: connections are kept, and broken if a fault says so.

Werkzeug's own handler closes the connection after every answer; services do not, and a client that
meets a broken connection for the second time is a client under test.

A body with a length is read before the application runs. A chunked one is read as the application
reads it (`wsgi.input`; `CHUNKED_BODY` can wait for a while only), so that an answer can begin while
its request still arrives; what the application leaves is read behind it.
"""

import contextlib
import io
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Final, cast, override

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from local.behaviour import Breakage
from local.chunked import ChunkedBody
from local.connections import is_closed, is_to_be_reset, reset_on_close
from local.faults import BrokenConnectionError
from local.moto_faults import Environ, WsgiApplication

BREAK_IN_HEADERS: Final = "local.break_in_headers"
"""Key of the environment under which the application asks for a break in the middle of its head."""

CHUNKED_BODY: Final = "local.chunked_body"
"""Key of the environment with the ChunkedBody under `wsgi.input`; use one of the two."""

_STALL_POLL_S: Final = 0.05
# How much a client may still send after its answer, and how long it may be silent.
_MAX_LEFT_BYTES: Final = 64 * 2**20
_LINGER_S: Final = 2.0
_WITHOUT_BODY: Final = frozenset((204, 304))


class _Answer:
    """One response on the wire: chunked, unless the application says how long it is."""

    def __init__(self, handler: "_RequestHandler", environ: Environ) -> None:
        self._handler = handler
        self._environ = environ
        self._status, self._headers = "500 Internal Server Error", list[tuple[str, str]]()
        self._is_chunked = False
        self.is_sent = False

    def start(
        self, status: str, headers: list[tuple[str, str]], _: object = None, /
    ) -> Callable[[bytes], object]:
        """WSGI's start_response."""
        self._status, self._headers = status, headers
        return self.write

    def write(self, piece: bytes) -> None:
        """Sends the head, if it is still to be sent, and a piece of the body."""
        head = b"" if self.is_sent else self._head()
        if self._is_chunked and piece:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        self._handler.wfile.write(head + piece)

    def finish(self) -> None:
        """Ends the body."""
        if not self.is_sent:
            self.write(b"")
        if self._is_chunked:
            self._handler.wfile.write(b"0\r\n\r\n")

    def _head(self) -> bytes:
        self.is_sent = True
        code = int(self._status.split()[0])
        names = {name.lower() for name, _ in self._headers}
        headers = [("Date", self._handler.date_time_string()), *self._headers]
        has_body = self._environ["REQUEST_METHOD"] != "HEAD" and code not in _WITHOUT_BODY
        if has_body and "content-length" not in names:
            self._is_chunked = True
            headers.append(("Transfer-Encoding", "chunked"))
        lines = [f"HTTP/1.1 {self._status}", *(f"{name}: {value}" for name, value in headers)]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        broken: Breakage | None = self._environ.get(BREAK_IN_HEADERS)
        if broken is not None:
            self._handler.wfile.write(head[: len(head) // 2])
            raise BrokenConnectionError(broken)
        return head


class _RequestHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    # A media body is many small writes, and its reader waits for each.
    disable_nagle_algorithm = True
    server: "HttpServer"
    _answered = 0

    @override
    def parse_request(self) -> bool:
        """Takes a request that has begun, or breaks the connection if it has carried enough."""
        most = self.server.requests_per_connection()
        if most is not None and self._answered >= most:
            self._break("reset")
            return False
        self._answered += 1
        return super().parse_request()

    @override
    def run_wsgi(self) -> None:
        """Runs the application for the request that has been read."""
        environ = self.make_environ()
        chunked = self._take_body(environ)
        answer = _Answer(self, environ)
        body: Iterable[bytes] = ()
        try:
            body = self.server.app(environ, answer.start)
            for piece in body:
                answer.write(piece)
            answer.finish()
            self._read_rest(chunked)
        except BrokenConnectionError as broken:
            self._break(broken.kind)
        except ConnectionError:
            self.close_connection = True
        except Exception:  # noqa: BLE001 - as any server: the others' requests go on
            self.server.log("error", traceback.format_exc())
            self.close_connection = True
            if not answer.is_sent:
                answer.start("500 Internal Server Error", [("Content-Length", "0")])
                answer.write(b"")
        finally:
            getattr(body, "close", lambda: None)()

    def _take_body(self, environ: Environ) -> ChunkedBody | None:
        """Makes `wsgi.input` end at the end of the request."""
        if "wsgi.input_terminated" not in environ:
            body = self.rfile.read(_content_length(environ))
            environ["wsgi.input"] = io.BytesIO(body)
            return None
        chunked = environ[CHUNKED_BODY] = ChunkedBody(
            self.connection, cast("io.BufferedReader", self.rfile)
        )
        environ["wsgi.input"] = io.BufferedReader(chunked)
        return chunked

    def _read_rest(self, chunked: ChunkedBody | None) -> None:
        """Leaves the connection at the start of the next request, or closes it."""
        if chunked is None:
            return
        left = 0
        while not chunked.is_finished:
            piece = chunked.receive(_LINGER_S)
            left += len(piece or b"")
            if piece is None or left > _MAX_LEFT_BYTES:
                self.close_connection = True
                return

    def _break(self, kind: Breakage) -> None:
        self.close_connection = True
        if kind == "stall":
            while not (self.server.is_stopping.is_set() or is_closed(self.connection)):
                self.server.is_stopping.wait(_STALL_POLL_S)
        elif kind == "reset":
            reset_on_close(self.connection)

    @override
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Says nothing: requests are counted, not printed."""


class HttpServer(ThreadedWSGIServer):
    """Listens on one address, with a thread for each connection; over TLS if it gets a context.

    Attributes:
        requests_per_connection: asked before each request; None is no limit.
        is_stopping: set when the server stops, so that stalled connections end.
    """

    request_queue_size = 128

    def __init__(
        self,
        host: str,
        port: int,
        application: WsgiApplication,
        requests_per_connection: Callable[[], int | None] = lambda: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests_per_connection = requests_per_connection
        self.is_stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        # Bound here, because werkzeug answers an address in use with sys.exit.
        listener = socket.create_server(
            (host, port), backlog=self.request_queue_size, reuse_port=False
        )
        with listener:
            super().__init__(
                host,
                listener.getsockname()[1],
                application,
                _RequestHandler,
                fd=listener.fileno(),
            )
        # The scheme of its requests; werkzeug would shake hands before it accepts the next client.
        self.ssl_context = tls

    @override
    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts a connection; over TLS its own thread shakes hands, with its first read."""
        connection, address = super().get_request()
        if self.ssl_context is not None:
            connection = self.ssl_context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        """Begins a connection."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    @override
    def shutdown_request(self, request: Any) -> None:
        """Closes a connection; without the usual FIN if a reset is wanted."""
        with self._lock:
            self._open.discard(request)
        if is_to_be_reset(request):
            self.close_request(request)
        else:
            super().shutdown_request(request)

    @override
    def shutdown(self) -> None:
        """Stops listening, and ends the connections that clients keep."""
        self.is_stopping.set()
        super().shutdown()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the client has ended it meanwhile
                    connection.shutdown(socket.SHUT_RDWR)


def _content_length(environ: Environ) -> int:
    return int(environ.get("CONTENT_LENGTH") or 0)
