"""Chunked request bodies: the decoder without I/O, and the server that reads while it answers."""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.chunked import ChunkedBody, ChunkedDecoder
from local.connections import is_closed
from local.http_server import CHUNKED_BODY, HttpServer
from tests.support.certificates import make_certificate

_PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


def _encode(chunks: list[bytes], end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


@given(chunks=_PAYLOADS, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_any_split_gives_the_same_payload_and_leaves_what_follows(
    chunks: list[bytes], cuts: list[int]
) -> None:
    stream = _encode(chunks, b"0;last\r\nchecksum: x\r\n\r\n") + b"GET / HTTP/1.1"
    decoder, payload, used_in_all = ChunkedDecoder(), b"", 0
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, stop in pairwise(edges):
        piece, used = decoder.receive(stream[start:stop])
        payload += piece
        used_in_all += used
    assert payload == b"".join(chunks)
    assert decoder.is_finished
    assert stream[used_in_all:] == b"GET / HTTP/1.1"


@pytest.mark.parametrize(
    "garbage", [b"\r\n", b"zz\r\n", b"-1\r\n", b"2\r\nabc\r\n", b"1" * 2000, b";\r\n"]
)
def test_what_is_not_chunked_coding_is_refused(garbage: bytes) -> None:
    with pytest.raises(ConnectionError):
        ChunkedDecoder().receive(garbage)


@contextmanager
def _serve(application: Any, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, int]]:
    server = HttpServer("127.0.0.1", 0, application, tls=tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield "127.0.0.1", server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _echo(environ: Any, start_response: Any) -> Iterator[bytes]:
    """Answers each piece as it comes."""
    start_response("200 OK", [])
    body: ChunkedBody = environ[CHUNKED_BODY]
    yield b"ready "
    while piece := body.receive(None):
        yield piece


def _length(environ: Any, start_response: Any) -> Iterator[bytes]:
    text = str(len(environ["wsgi.input"].read())).encode()
    start_response("200 OK", [("Content-Length", str(len(text)))])
    yield text


def _unread(_: Any, start_response: Any) -> Iterator[bytes]:
    start_response("400 Bad Request", [("Content-Length", "2")])
    yield b"no"


def test_an_answer_begins_while_its_request_still_arrives() -> None:
    with _serve(_echo) as address, socket.create_connection(address, timeout=5) as client:
        answer = client.makefile("rb")
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        while answer.readline() != b"\r\n":
            pass
        assert answer.read(3 + 6 + 2) == b"6\r\nready \r\n"
        client.sendall(_encode([b"one"], b""))
        assert answer.read(8) == b"3\r\none\r\n"
        client.sendall(b"0\r\n\r\n")
        assert answer.read(5) == b"0\r\n\r\n"
        answer.close()


@pytest.mark.parametrize(
    ("application", "answer"), [(_length, (200, b"150000")), (_unread, (400, b"no"))]
)
def test_the_connection_serves_the_next_request(
    application: Any, answer: tuple[int, bytes]
) -> None:
    with _serve(application) as address:
        client = http.client.HTTPConnection(*address, timeout=5)
        sockets = set()
        for _ in range(3):
            client.request("PUT", "/", body=iter([b"x" * 100_000, b"y" * 50_000]))
            response = client.getresponse()
            assert (response.status, response.read()) == answer
            sockets.add(client.sock)
        client.close()
    assert len(sockets) == 1


def test_a_body_that_ends_early_is_no_body() -> None:
    said: list[str] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        try:
            environ["wsgi.input"].read()
        except ConnectionError as error:
            said.append(str(error))
            raise
        start_response("200 OK", [])
        yield b""

    with _serve(application) as address, socket.create_connection(address, timeout=5) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    assert said == ["the body ends early"]


def test_waiting_ends_in_time_also_behind_buffered_bytes() -> None:
    waited: list[bytes | None] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        body: ChunkedBody = environ[CHUNKED_BODY]
        waited.extend(body.receive(0.01) for _ in range(2))
        start_response("200 OK", [("Content-Length", "2")])
        yield b"ok"

    with _serve(application) as address, socket.create_connection(address, timeout=5) as client:
        # One write: the server's reader buffers the chunk along with the head.
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert waited == [b"ab", None]


def test_waiting_ends_in_time_over_tls_too(tmp_path: Path) -> None:
    waited: list[bytes | None] = []
    goes, gone = threading.Event(), threading.Event()

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        body: ChunkedBody = environ[CHUNKED_BODY]
        connection = environ["werkzeug.socket"]
        waited.extend(body.receive(0.01) for _ in range(2))
        assert not is_closed(connection)
        start_response("200 OK", [("Content-Length", "2")])
        yield b"ok"
        assert goes.wait(5)
        while not is_closed(connection):
            pass
        gone.set()

    tls = make_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=tls.certificate)
    with _serve(application, tls.build_context()) as address:
        plain = socket.create_connection(address, timeout=5)
        with trusting.wrap_socket(plain, server_hostname="127.0.0.1") as client:
            client.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
            )
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        goes.set()
        assert gone.wait(5)
    assert waited == [b"ab", None]
