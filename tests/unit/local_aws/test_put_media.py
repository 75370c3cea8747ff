"""PutMedia and the streams that it needs: what is acknowledged, refused, stored and read back."""

import json
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.behaviour import UNLIMITED, Behaviour, CallFault, PutMediaFault
from local.clock import Clock
from local.encoder import (
    CONNECT,
    FROM_CUSTOMER,
    SEGMENT_ID,
    TO_CUSTOMER,
    UNKNOWN_SIZE_8,
    Block,
    Cluster,
    Layout,
    Track,
    encode_cluster,
    encode_ebml_header,
    encode_segment_head,
    encode_tags,
)
from local.faults import BrokenConnectionError, ServiceError
from local.ingest import END_OF_FRAGMENT, FragmentBegun, FragmentEnded, Ingest, IngestError
from local.kvs import KinesisVideo
from local.server import LocalAws
from tests.unit.local_aws.matroska_reader import parse

NAME = "t-connect-t-contact-1"
START_MS = 1_767_258_000_000
BLOCKS = 16
BLOCK_MS = 64
TRACKS = (Track(1, FROM_CUSTOMER), Track(2, TO_CUSTOMER))
HEADERS = {
    "x-amzn-stream-name": NAME,
    "x-amzn-fragment-timecode-type": "ABSOLUTE",
    "x-amzn-producer-start-timestamp": f"{START_MS // 1000}.000",
}
QUICK = replace(UNLIMITED, creating_ms=0, deleting_ms=0, persist_delay_ms=0)


def head(tracks: tuple[Track, ...] = TRACKS, layout: Layout = CONNECT) -> bytes:
    return b"".join(
        (
            encode_ebml_header(layout),
            SEGMENT_ID,
            UNKNOWN_SIZE_8,
            encode_segment_head(tracks, layout),
        )
    )


def payload(index: int, track: int, place: int) -> bytes:
    return bytes((index * 5 + track * 3 + place * 7 + n) % 256 for n in range(64))


def cluster(
    index: int, *, tracks: Iterable[int] = (1, 2), step_ms: int = BLOCKS * BLOCK_MS, **layout: Any
) -> bytes:
    blocks = tuple(
        Block(track, place * BLOCK_MS, payload(index, track, place))
        for place in range(BLOCKS)
        for track in tracks
    )
    return encode_cluster(Cluster(START_MS + index * step_ms, blocks), replace(CONNECT, **layout))


def tags(*pairs: tuple[str, str]) -> bytes:
    return b"".join(encode_tags((pair,)) for pair in pairs)


CONTACT = tags(("ContactId", "one"), ("Events", "[]"))
END = tags((END_OF_FRAGMENT, ""))


class Arriving:
    """A body in pieces; None in between is silence; nothing behind the last piece is its end."""

    def __init__(self, *pieces: bytes | Exception | None) -> None:
        self._pieces = list(pieces)

    def receive(self, timeout_s: float | None) -> bytes | None:
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece


def service(behaviour: Behaviour = QUICK, *, hours: int = 24) -> KinesisVideo:
    kvs = KinesisVideo(Clock(), behaviour)
    kvs.streams.create({"StreamName": NAME, "DataRetentionInHours": hours})
    return kvs


def put(kvs: KinesisVideo, *pieces: bytes | Exception | None, **headers: str) -> list[Any]:
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = kvs.put_media(HEADERS | changed, Arriving(*pieces))
    return [json.loads(piece) for piece in sent if piece]


def kinds(acknowledgements: list[Any]) -> list[str]:
    return [each["EventType"] for each in acknowledgements]


def stored(kvs: KinesisVideo) -> list[Any]:
    stream = kvs.streams.find({"StreamName": NAME})
    return [stream.fragments[number] for number in stream.numbers]


# --------------------------------------------------------------------------------- acknowledgements


def test_each_fragment_is_buffered_received_and_persisted_under_one_number() -> None:
    kvs = service()
    told = put(kvs, head() + cluster(0) + CONTACT + cluster(1) + CONTACT)
    assert kinds(told) == [
        *("BUFFERING", "RECEIVED", "BUFFERING"),
        *("PERSISTED", "RECEIVED", "PERSISTED"),
    ] or sorted(kinds(told)) == sorted(["BUFFERING", "RECEIVED", "PERSISTED"] * 2)
    numbers = [str(fragment.number) for fragment in stored(kvs)]
    assert {each["FragmentNumber"] for each in told} == set(numbers)
    by_time = {each["FragmentTimecode"]: each["FragmentNumber"] for each in told}
    assert by_time == {START_MS: numbers[0], START_MS + 1024: numbers[1]}
    assert all(len(number) == 47 for number in numbers)


def test_without_retention_nothing_is_persisted() -> None:
    kvs = service(hours=0)
    assert kinds(put(kvs, head() + cluster(0))) == ["BUFFERING", "RECEIVED"]


def test_the_end_tag_closes_a_fragment_before_the_next_one_begins() -> None:
    told = put(service(), head() + cluster(0) + CONTACT + END, None, cluster(1) + END)
    assert kinds(told)[:3] == ["BUFFERING", "RECEIVED", "PERSISTED"]


def test_silence_ends_the_session() -> None:
    kvs = service(replace(QUICK, put_media_idle_s=0))
    told = put(kvs, head() + cluster(0), None, cluster(1))
    assert kinds(told) == ["BUFFERING", "IDLE"]
    assert "FragmentTimecode" not in told[-1]


def test_a_connection_that_is_lost_leaves_the_whole_fragments() -> None:
    kvs = service()
    with pytest.raises(ConnectionError):
        put(kvs, head() + cluster(0) + cluster(1)[:500], ConnectionError("gone"))
    assert len(stored(kvs)) == 1
    # The session is over: the next one is admitted.
    put(service(), head() + cluster(0))


# ------------------------------------------------------------------------------------------ errors

_TOO_MANY_TAGS = tags(*((f"name{n}", "x") for n in range(11)))


@pytest.mark.parametrize(
    ("error_id", "body"),
    [
        (4006, b""),
        (4006, b"RIFF and so on"),
        (4006, head() + cluster(0) + head() + cluster(1)),
        (4006, head() + cluster(0)[:-10]),
        (4006, head(()) + cluster(0)),
        (4004, head() + cluster(1) + cluster(0)),
        (4004, head() + cluster(0) + cluster(1, step_ms=900)),
        (4009, head() + cluster(0) + _TOO_MANY_TAGS),
        (4009, head() + cluster(0) + tags(("n" * 129, "x"))),
        (4009, head() + cluster(0) + tags(("name", "x" * 257))),
        (4009, head() + cluster(0) + tags(("AWS_OWN", "x"))),
        (4010, head() + cluster(0, tracks=(1, 2, 3))),
        (4011, head() + cluster(0, tracks=(1,)) + cluster(1)),
        (4012, head(tuple(Track(n, None) for n in range(1, 5))) + cluster(0)),
    ],
)
def test_what_is_wrong_with_the_media_is_an_error_that_ends_the_session(
    error_id: int, body: bytes
) -> None:
    told = put(service(), body)
    assert told[-1]["EventType"] == "ERROR"
    assert told[-1]["ErrorId"] == error_id
    assert kinds(told).count("ERROR") == 1


def test_a_fragment_may_not_last_longer_than_twenty_seconds() -> None:
    blocks = tuple(Block(track, at, b"xx") for at in (0, 20_001) for track in (1, 2))
    body = head() + encode_cluster(Cluster(START_MS, blocks))
    assert put(service(), body)[-1]["ErrorId"] == 4002


def test_a_stream_that_is_deleted_meanwhile_takes_no_more() -> None:
    kvs = service()
    arn = kvs.streams.find({"StreamName": NAME}).arn
    sent = kvs.put_media(HEADERS, Arriving(head() + cluster(0) + END, cluster(1) + END))
    told = []
    for piece in sent:
        told.append(json.loads(piece))
        if len(told) == 2:
            kvs.streams.delete({"StreamARN": arn})
    assert told[-1]["ErrorId"] == 4008


@pytest.mark.parametrize(
    ("fault", "last"),
    [
        (PutMediaFault(1, error_id=4503), "KMS_KEY_UNAVAILABLE"),
        (PutMediaFault(1), "INTERNAL_ERROR"),
    ],
)
def test_faults_end_the_session_at_their_fragment(fault: PutMediaFault, last: str) -> None:
    kvs = service(replace(QUICK, put_media_faults=(fault,)))
    told = put(kvs, head() + cluster(0) + cluster(1) + cluster(2))
    assert told[-1]["ErrorCode"] == last
    assert len(stored(kvs)) == 1


def test_faults_break_the_connection_or_the_silence() -> None:
    kvs = service(replace(QUICK, put_media_faults=(PutMediaFault(0, "reset"),)))
    with pytest.raises(BrokenConnectionError):
        put(kvs, head() + cluster(0))
    silence = (PutMediaFault(0, "silence"),)
    kvs.behaviour = replace(QUICK, put_media_idle_s=0.1, put_media_faults=silence)
    assert kinds(put(kvs, head() + cluster(0) + END, cluster(1))) == ["BUFFERING"]


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "status", "error_type"),
    [
        ({"x_amzn_stream_name": "another"}, 404, "ResourceNotFoundException"),
        ({"x_amzn_stream_name": ""}, 400, "InvalidArgumentException"),
        ({"x_amzn_stream_arn": "arn"}, 400, "InvalidArgumentException"),
        ({"x_amzn_fragment_timecode_type": "SOME"}, 400, "InvalidArgumentException"),
        ({"x_amzn_producer_start_timestamp": "now"}, 400, "InvalidArgumentException"),
    ],
)
def test_headers_that_are_wrong_are_refused(
    change: dict[str, str], status: int, error_type: str
) -> None:
    with pytest.raises(ServiceError) as refused:
        put(service(), head(), **change)
    assert (refused.value.status, refused.value.error_type) == (status, error_type)


def test_a_second_connection_is_refused_and_one_behind_it_is_not() -> None:
    kvs = service(replace(QUICK, put_media_connections=1))
    first = iter(kvs.put_media(HEADERS, Arriving(head() + cluster(0))))
    next(first)
    with pytest.raises(ServiceError) as refused:
        put(kvs, head())
    assert refused.value.error_type == "ConnectionLimitExceededException"
    list(first)
    assert "RECEIVED" in kinds(put(kvs, head() + cluster(2)))


def test_a_call_fault_refuses() -> None:
    kvs = service(
        replace(QUICK, call_faults=(CallFault("PutMedia", "NotAuthorizedException", 401),))
    )
    with pytest.raises(ServiceError):
        put(kvs, head())


# --------------------------------------------------------------------------------------- read back


def test_read_back_a_fragment_is_a_document_with_the_tags_around_its_cluster() -> None:
    kvs = service()
    put(kvs, head() + cluster(0) + CONTACT + END + cluster(1, cluster_size="known") + CONTACT)
    for index, fragment in enumerate(stored(kvs)):
        document = parse(fragment.document())
        assert document.names == ["Info", "Tracks", "Tags", "Cluster", "Tags", "Tags"]
        assert document.tags[0] == ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", str(fragment.number))
        assert document.tags[3:] == [("ContactId", "one"), ("Events", "[]")]
        assert document.tracks == {1: FROM_CUSTOMER, 2: TO_CUSTOMER}
        said = b"".join(payload(index, 1, place) for place in range(BLOCKS))
        assert document.payload(FROM_CUSTOMER) == said
        assert fragment.producer_timestamp_ms == START_MS + index * 1024
        assert fragment.duration_ms == 15 * BLOCK_MS


def test_relative_timecodes_count_from_the_start_of_the_producer() -> None:
    kvs = service()
    blocks = tuple(Block(track, 0, b"xx") for track in (1, 2))
    body = head() + encode_cluster(Cluster(500, blocks))
    put(kvs, body, x_amzn_fragment_timecode_type="RELATIVE")
    assert stored(kvs)[0].producer_timestamp_ms == START_MS + 500


def test_sessions_begin_a_new_thousand() -> None:
    kvs = service()
    put(kvs, head() + cluster(0))
    put(kvs, head() + cluster(1))
    sequences = [(fragment.number >> 92) - (1 << 64) for fragment in stored(kvs)]
    assert sequences == [1001, 2001]


@given(cuts=st.lists(st.integers(0, 12_000), max_size=8))
def test_any_split_of_the_body_gives_the_same_fragments(cuts: list[int]) -> None:
    body = (
        head(layout=replace(CONNECT, void_in_segment=True, seek_head=True))
        + cluster(0)
        + CONTACT
        + cluster(1, cluster_size="known", void_in_cluster=True, crc32=True)
        + CONTACT
        + END
        + cluster(2, cluster_size="unknown1")
    )

    def events(pieces: Iterable[bytes]) -> Iterator[FragmentBegun | FragmentEnded]:
        ingest = Ingest()
        for piece in pieces:
            yield from ingest.receive(piece)
        yield from ingest.finish()

    edges = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    pieces = [body[a:b] for a, b in pairwise(edges)]
    whole = list(events([body]))
    assert len(whole) == 6
    assert list(events(pieces)) == whole


@given(garbage=st.binary(max_size=60), at=st.integers(0, 3000))
def test_garbage_is_an_ingest_error_or_nothing(garbage: bytes, at: int) -> None:
    body = head() + cluster(0) + CONTACT
    ingest = Ingest()
    try:
        list(ingest.receive(body[:at] + garbage + body[at:]))
        list(ingest.finish())
    except IngestError:
        pass


# ----------------------------------------------------------------------------------------- streams


def test_a_stream_is_creating_then_active_then_deleting_then_gone() -> None:
    clock = Clock()
    kvs = KinesisVideo(clock, replace(QUICK, creating_ms=60_000, deleting_ms=60_000))
    tags_of = {"call-archive:rehearsal": "1"}
    arn = kvs.streams.create(
        {"StreamName": NAME, "DataRetentionInHours": 2, "Tags": tags_of, "KmsKeyId": "key"}
    )["StreamARN"]

    def status() -> str:
        described: str = kvs.describe_stream({"StreamARN": arn})["StreamInfo"]["Status"]
        return described

    assert status() == "CREATING"
    with pytest.raises(ServiceError) as refused:
        put(kvs, head())
    assert refused.value.status == 404
    clock.advance_ms(60_001)
    assert status() == "ACTIVE"
    assert kvs.streams.list_tags({"StreamARN": arn}) == {"Tags": tags_of}
    kvs.streams.tag({"StreamARN": arn, "Tags": {"more": "x"}})
    assert kvs.streams.list_tags({"StreamARN": arn})["Tags"] == {**tags_of, "more": "x"}
    kvs.streams.delete({"StreamARN": arn})
    assert status() == "DELETING"
    with pytest.raises(ServiceError) as again:
        kvs.streams.create({"StreamName": NAME})
    assert again.value.error_type == "ResourceInUseException"
    clock.advance_ms(60_001)
    with pytest.raises(ServiceError):
        status()
    assert kvs.streams.list({})["StreamInfoList"] == []


def test_streams_are_listed_by_prefix_and_page_by_page() -> None:
    kvs = KinesisVideo(Clock(), QUICK)
    for name in ("b-2", "a-1", "b-1", "b-3"):
        kvs.streams.create({"StreamName": name})
    condition = {"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "b-"}
    names: list[str] = []
    request: dict[str, Any] = {"StreamNameCondition": condition, "MaxResults": 2}
    while True:
        page = kvs.streams.list(request)
        names += [stream["StreamName"] for stream in page["StreamInfoList"]]
        if "NextToken" not in page:
            break
        request["NextToken"] = page["NextToken"]
    assert names == ["b-1", "b-2", "b-3"]


@pytest.mark.parametrize(
    "request_body",
    [
        {"StreamName": "with space"},
        {"StreamName": NAME, "DataRetentionInHours": 87_601},
        {"StreamName": NAME, "Tags": {"aws:own": "x"}},
        {},
    ],
)
def test_streams_that_cannot_be_are_refused(request_body: dict[str, Any]) -> None:
    with pytest.raises(ServiceError):
        KinesisVideo(Clock(), QUICK).streams.create(request_body)


# -------------------------------------------------------------------------------------------- wire


def test_over_http_acknowledgements_come_while_the_body_is_sent() -> None:
    with LocalAws(QUICK) as aws:
        aws.kvs.streams.create({"StreamName": NAME, "DataRetentionInHours": 1})
        port = int(aws.endpoint_url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            lines = [f"{name}: {value}" for name, value in HEADERS.items()]
            request = ["POST /putMedia HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", *lines]
            client.sendall("\r\n".join([*request, "", ""]).encode())
            answer = b""
            for index in range(3):
                piece = (head() if index == 0 else b"") + cluster(index) + END
                client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
                answer = b""
                while b"RECEIVED" not in answer:
                    answer += client.recv(4096)
            client.sendall(b"0\r\n\r\n")
            while b"0\r\n\r\n" not in answer:
                answer += client.recv(4096)
        assert len(stored(aws.kvs)) == 3
