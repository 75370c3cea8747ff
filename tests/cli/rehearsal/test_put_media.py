"""The rehearsal's producer: what it writes, how it reads acknowledgements, what stops it."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from call_archive_cli.rehearsal.acknowledgements import (
    Acknowledgement,
    AcknowledgementError,
    AcknowledgementReader,
)
from call_archive_cli.rehearsal.matroska import FROM_CUSTOMER, TO_CUSTOMER, build_head
from call_archive_cli.rehearsal.put_media import PutMediaError, Taken, Target, put_media
from call_archive_cli.rehearsal.script import (
    FRAGMENT_BYTES,
    FRAGMENT_MS,
    PREFIX,
    Said,
    Script,
    build_script,
    read_voices,
)
from local.behaviour import UNLIMITED, Behaviour, CallFault, PutMediaFault
from local.clients import REGION
from local.server import LocalAws
from tests.unit.local_aws.matroska_reader import parse

NAME = "t-connect-rehearsal-contact-1"
START_MS = 1_767_258_000_000
QUICK = replace(UNLIMITED, creating_ms=0, deleting_ms=0, persist_delay_ms=0)


@pytest.fixture(scope="module")
def service() -> Iterator[LocalAws]:
    with LocalAws(QUICK) as aws:
        yield aws


@pytest.fixture
def aws(service: LocalAws) -> LocalAws:
    service.behaviour = QUICK
    service.kvs.reset()
    service.kvs.streams.create({"StreamName": NAME, "DataRetentionInHours": 1})
    return service


def script() -> Script:
    return build_script(read_voices(), "run", "instance", START_MS)


def target(endpoint: str, name: str = NAME) -> Target:
    return Target(endpoint, REGION, name, Credentials("test", "secret", "token"))


def speak(endpoint: str, said: Said, patience_s: float = 10) -> Taken:
    pieces = [(0.0, build_head(bytes(16))), *((0.0, piece) for piece in said.fragments())]
    return put_media(
        target(endpoint), said.starts_ms, pieces, said.timecodes_ms, patience_s=patience_s
    )


# ------------------------------------------------------------------------------------------- script


def test_three_calls_of_whole_fragments_follow_each_other() -> None:
    calls = script().calls
    assert [len(call.timecodes_ms) for call in calls] == [8, 11, 8]
    assert all(call.contact_id.startswith(PREFIX) for call in calls)
    assert len({call.contact_id for call in calls}) == 3
    assert all(8_000 <= call.ends_ms - call.starts_ms <= 12_000 for call in calls)
    assert all(before.ends_ms < after.starts_ms for before, after in pairwise(calls))
    for call in calls:
        assert all(later - at == FRAGMENT_MS for at, later in pairwise(call.timecodes_ms))
        assert len(call.voices.customer) == len(call.timecodes_ms) * FRAGMENT_BYTES


def test_the_recording_is_expected_mono_or_left_and_right() -> None:
    said = script()
    customer, agent = said.archived.voices
    assert said.expected_pcm(stereo=False) == customer
    stereo = said.expected_pcm(stereo=True)
    assert stereo[:8] == customer[:2] + agent[:2] + customer[2:4] + agent[2:4]
    assert len(stereo) == 2 * len(customer)
    assert all(customer not in other.voices for other in said.others)


def test_what_is_spoken_is_read_back_with_names_tags_and_samples(aws: LocalAws) -> None:
    said = script().archived
    taken = speak(aws.endpoint_url, said)
    stream = aws.kvs.streams.find({"StreamName": NAME})
    assert [taken.numbers[at] for at in said.timecodes_ms] == list(map(str, stream.numbers))
    documents = [parse(stream.fragments[number].document()) for number in stream.numbers]
    for document, at in zip(documents, said.timecodes_ms, strict=True):
        assert document.clusters[0][0] == at
        assert document.codecs == [("A_AAC", b"\x11\x90")] * 2
        assert [name for name, _ in document.tags[3:]] == [
            "ContactId",
            "InstanceId",
            "MimeType",
            "AUDIO_FROM_CUSTOMER",
            "AUDIO_TO_CUSTOMER",
            "Events",
        ]
        assert document.tag("ContactId") == said.contact_id
        assert len(document.clusters[0][1]) == 32
    for name, pcm in zip((FROM_CUSTOMER, TO_CUSTOMER), said.voices, strict=True):
        assert b"".join(document.payload(name) for document in documents) == pcm


# --------------------------------------------------------------------------------- acknowledgements

_TOLD = (
    {"EventType": "BUFFERING", "FragmentTimecode": 5, "FragmentNumber": "91"},
    {"EventType": "RECEIVED", "FragmentTimecode": 5, "FragmentNumber": "91"},
    {"EventType": "ERROR", "ErrorCode": 'with "quotes" and {braces}', "ErrorId": 4006},
    {"EventType": "IDLE"},
)
_MEANT = [
    Acknowledgement("BUFFERING", 5, "91"),
    Acknowledgement("RECEIVED", 5, "91"),
    Acknowledgement("ERROR", None, "", 4006, 'with "quotes" and {braces}'),
    Acknowledgement("IDLE"),
]


@given(
    cuts=st.lists(st.integers(0, 500), max_size=10),
    between=st.sampled_from((b"", b"\n", b" \r\n ")),
    wrapped=st.booleans(),
)
def test_any_split_gives_the_same_acknowledgements(
    cuts: list[int], between: bytes, wrapped: bool
) -> None:
    documents = [{"Acknowledgement": told} if wrapped else told for told in _TOLD]
    answer = between.join(json.dumps(document).encode() for document in documents)
    edges = sorted({0, len(answer), *(min(cut, len(answer)) for cut in cuts)})
    reader = AcknowledgementReader()
    assert [
        told for start, stop in pairwise(edges) for told in reader.receive(answer[start:stop])
    ] == _MEANT


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"[]", b'{"a"}', b'{"EventType":', b'{"FragmentNumber":"1"}', b"{" * 70_000],
)
def test_what_is_no_acknowledgement_is_refused(answer: bytes) -> None:
    reader = AcknowledgementReader()
    if answer == b'{"EventType":':
        assert reader.receive(answer) == []
        return
    with pytest.raises(AcknowledgementError):
        reader.receive(answer)


@given(garbage=st.binary(max_size=80))
def test_garbage_is_an_acknowledgement_error_or_nothing(garbage: bytes) -> None:
    with suppress(AcknowledgementError):
        AcknowledgementReader().receive(garbage)


# ------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("behaviour", "code", "text"),
    [
        ({"put_media_faults": (PutMediaFault(3, error_id=4503),)}, "KMS_KEY_UNAVAILABLE", "4503"),
        (
            {"call_faults": (CallFault("PutMedia", "NotAuthorizedException", 401, "no"),)},
            "NotAuthorizedException",
            "PutMedia answered 401 NotAuthorizedException no",
        ),
        ({"put_media_idle_s": 0.0}, "IDLE", "IDLE"),
    ],
)
def test_what_kvs_answers_is_named(
    aws: LocalAws, behaviour: dict[str, object], code: str, text: str
) -> None:
    aws.behaviour = replace(QUICK, **behaviour)  # type: ignore[arg-type] # by name
    said = script().archived
    pieces = [(0.0, build_head(bytes(16))), (time.monotonic() + 1, b"".join(said.fragments()))]
    with pytest.raises(PutMediaError) as refused:
        put_media(target(aws.endpoint_url), said.starts_ms, pieces, said.timecodes_ms)
    assert refused.value.code == code
    assert text in str(refused.value)


def test_an_error_stops_the_sending_at_once(aws: LocalAws) -> None:
    aws.behaviour = replace(QUICK, put_media_faults=(PutMediaFault(0),))
    said = script().archived
    sent = []

    def pieces() -> Iterator[tuple[float, bytes]]:
        yield 0.0, build_head(bytes(16))
        for piece in said.fragments():
            sent.append(piece)
            # An hour for all of them: only the error can end this test.
            yield time.monotonic() + (0.0 if len(sent) == 1 else 360.0), piece

    with pytest.raises(PutMediaError):
        put_media(target(aws.endpoint_url), said.starts_ms, pieces(), said.timecodes_ms)
    assert len(sent) == 2


def test_silence_ends_the_patience(aws: LocalAws) -> None:
    aws.behaviour = replace(QUICK, put_media_faults=(PutMediaFault(1, "silence"),))
    with pytest.raises(PutMediaError) as gave_up:
        speak(aws.endpoint_url, script().archived, patience_s=0.2)
    assert gave_up.value.code == "SILENCE"


def test_a_stream_without_retention_never_persists(aws: LocalAws) -> None:
    aws.kvs.reset()
    aws.kvs.streams.create({"StreamName": NAME})
    with pytest.raises(PutMediaError, match="11 of 11 fragments not persisted"):
        speak(aws.endpoint_url, script().archived)


def test_a_connection_that_is_lost_is_an_os_error(aws: LocalAws) -> None:
    aws.behaviour = replace(QUICK, put_media_faults=(PutMediaFault(2, "reset"),))
    with pytest.raises(ConnectionError):
        speak(aws.endpoint_url, script().archived)


def test_a_second_connection_is_refused(aws: LocalAws) -> None:
    aws.behaviour = replace(Behaviour(), put_media_connections=0)
    with pytest.raises(PutMediaError) as refused:
        speak(aws.endpoint_url, script().archived)
    assert refused.value.code == "ConnectionLimitExceededException"


@contextmanager
def raw_service(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of one connection that answers as the test says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                answer(connection)
                # What is still unread would make the end a reset, and take the answer along.
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", ConnectionError),
        (b"SSH-2.0-OpenSSH\r\n\r\n", PutMediaError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", PutMediaError),
        (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"', ConnectionError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwhat", PutMediaError),
        (b"HTTP/1.1 200 OK\r\n\r\n", PutMediaError),
        (b"HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\n\r\nlate", PutMediaError),
        (b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", PutMediaError),
        (b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 300_000, PutMediaError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 300_000, PutMediaError),
    ],
)
def test_answers_that_are_none_are_named(answer: bytes, kind: type[Exception]) -> None:
    with raw_service(lambda connection: connection.sendall(answer)) as url, pytest.raises(kind):
        speak(url, script().archived)


_ERROR = b'{"EventType":"ERROR","ErrorCode":"KMS_KEY_UNAVAILABLE","ErrorId":4503}'
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(_CHUNKED + b"%x\r\n%b\r\n" % (len(_ERROR), _ERROR), id="whole chunk"),
        pytest.param(_CHUNKED + b"1000\r\n%b" % _ERROR, id="chunk that is cut off"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n%b" % _ERROR, id="no chunks"),
        pytest.param(
            b"HTTP/1.1 400 Bad Request\r\nx-amzn-ErrorType: KMS_KEY_UNAVAILABLE\r\n"
            b"Content-Length: 99\r\n\r\n{",
            id="refusal whose body is cut off",
        ),
    ],
)
def test_an_error_in_front_of_a_reset_is_named(answer: bytes) -> None:
    """The service resets the connection behind its ERROR while the client prepares a fragment."""
    is_reset = threading.Event()

    def reset(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        is_reset.set()

    def pieces() -> Iterator[tuple[float, bytes]]:
        yield 0.0, build_head(bytes(16))
        assert is_reset.wait(20)
        yield 0.0, bytes(1_000)

    with raw_service(reset) as url, pytest.raises(PutMediaError) as refused:
        put_media(target(url), START_MS, pieces(), [START_MS])
    assert refused.value.code == "KMS_KEY_UNAVAILABLE"


def test_acknowledgements_that_fill_every_buffer_block_nobody() -> None:
    """Two megabytes of answers before the body is read: a client that only sends stops forever."""
    said = script().archived
    padding = json.dumps({"EventType": "BUFFERING", "FragmentTimecode": 1, "Pad": "x" * 4000})
    persisted = [
        json.dumps({"EventType": "PERSISTED", "FragmentTimecode": at, "FragmentNumber": "9"})
        for at in said.timecodes_ms
    ]

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(500):
            connection.sendall(b"%x\r\n%b\r\n" % (len(padding), padding.encode()))
        end = time.monotonic() + 20
        held = b""
        while b"0\r\n\r\n" not in held[-5:] and time.monotonic() < end:
            held = (held + connection.recv(65536))[-10:]
        body = "".join(persisted).encode()
        connection.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    with raw_service(answer) as url:
        taken = speak(url, said)
    assert taken.persisted == {1, *said.timecodes_ms} - {1}
