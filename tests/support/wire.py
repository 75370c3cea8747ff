"""boto3 without sockets: a request goes to the local AWS's application directly.

botocore builds, signs, retries and parses as it does on a network. Only what a network has of its
own, such as a kept connection that is reset, needs HTTP.
"""

import io
import urllib.parse
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from boto3.session import Session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from urllib3.exceptions import ProtocolError
from urllib3.exceptions import ReadTimeoutError as Urllib3ReadTimeoutError

from local.clients import REGION
from local.faults import BrokenConnectionError
from local.http_server import BREAK_IN_HEADERS
from local.server import LocalAws

ATTEMPTS = 3
"""As the functions' clients."""


class Wire:
    """The clients of one local AWS, each made once."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._session = Session("test", "test", region_name=REGION)
        self._session.events.register("before-send", self._answer)  # type: ignore[arg-type] # answers
        self.client = cache(self._make_client)

    def _make_client(self, service: str, endpoint_url: str = "") -> Any:
        return self._session.client(  # type: ignore[call-overload] # a name in a variable
            service,
            endpoint_url=endpoint_url or self._aws.endpoint_url,
            config=Config(retries={"mode": "standard", "total_max_attempts": ATTEMPTS}),
        )

    def _answer(self, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        """The application's answer; None for another address, which the network then is asked.

        Raises:
            ConnectionClosedError, ReadTimeoutError: what botocore makes of a broken connection.
        """
        if not request.url.startswith(self._aws.endpoint_url):
            return None
        try:
            answer = _Answer(self._aws.application, _environ(request), request.url)
            if not request.stream_output:
                answer = answer.read_to_the_end()
        except Urllib3ReadTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except ProtocolError as error:
            raise ConnectionClosedError(
                error=error, request=request, endpoint_url=request.url
            ) from error
        headers: Any = HeadersDict(answer.headers)
        return AWSResponse(request.url, answer.status, headers, answer)


def _environ(request: AWSPreparedRequest) -> dict[str, Any]:
    url = urllib.parse.urlsplit(request.url)
    body: Any = request.body or b""
    if isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes | bytearray):
        body = body.read()
    environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": urllib.parse.unquote(url.path),
        "QUERY_STRING": url.query,
        "SERVER_NAME": url.hostname,
        "SERVER_PORT": str(url.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": url.netloc,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "RAW_URI": urllib.parse.urlunsplit(("", "", url.path, url.query, "")),
    }
    headers: dict[str, Any] = dict(request.headers)
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if key == "CONTENT_TYPE":
            environ[key] = text
        elif key != "CONTENT_LENGTH":
            environ[f"HTTP_{key}"] = text
    return environ


class _Answer:
    """One answer, as urllib3 gives it: its body breaks where the connection does.

    Raises:
        ProtocolError: the connection breaks.
        ReadTimeoutError: nothing more arrives.
    """

    def __init__(self, application: Any, environ: dict[str, Any], url: str) -> None:
        self._url = url
        self._held = b""
        self.status, self.headers = 0, dict[str, str]()
        try:
            self._body = application(environ, self._start)
            self._pieces: Iterator[bytes] = iter(self._body)
            # An application may begin its answer with its first piece.
            self._held = next(self._pieces, b"")
        except (BrokenConnectionError, ConnectionError) as broken:
            raise self._broken(broken) from broken
        kind = environ.get(BREAK_IN_HEADERS)
        if kind == "close":
            # Half of a head is a head, and nothing comes behind it.
            self.headers, self._held, self._pieces = {}, b"", iter(())
        elif kind is not None:
            raise self._broken(BrokenConnectionError(kind))

    def _start(self, status: str, headers: Iterable[tuple[str, str]], _: object = None, /) -> Any:
        self.status, self.headers = int(status.split(maxsplit=1)[0]), dict(headers)
        return None

    def _broken(self, broken: Exception) -> Exception:
        if isinstance(broken, BrokenConnectionError) and broken.kind == "stall":
            return Urllib3ReadTimeoutError(None, self._url, "Read timed out.")  # type: ignore[arg-type] # no pool
        return ProtocolError("Connection broken", broken)

    def read_to_the_end(self) -> "_Answer":
        """The same, with all of its body here."""
        self._held, self._pieces = self.read(), iter(())
        return self

    def read(self, amount: int | None = None, **_: object) -> bytes:
        """That many bytes, fewer at the body's end; as urllib3, none if it breaks meanwhile."""
        while amount is None or len(self._held) < amount:
            try:
                piece = next(self._pieces, None)
            except (BrokenConnectionError, ConnectionError) as broken:
                raise self._broken(broken) from broken
            if piece is None:
                break
            self._held += piece
        size = len(self._held) if amount is None else amount
        read, self._held = self._held[:size], self._held[size:]
        return read

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        """All of the body."""
        yield self.read()

    def close(self) -> None:
        """Ends the answer, and with it the service's session."""
        getattr(self._body, "close", lambda: None)()
