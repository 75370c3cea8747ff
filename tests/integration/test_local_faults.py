"""Each fault of the simulated services, as a boto3 client sees it over HTTP."""

import http.client
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from local.behaviour import (
    UNLIMITED,
    Behaviour,
    BodyFault,
    ClockFault,
    ConnectionFault,
    EndpointFault,
    PageFault,
    decode_behaviour,
)
from local.server import LocalAws
from tests.integration.test_local_aws import CALL, DOCUMENTS, NUMBERS, SELECTOR, STREAM_ARN

ONCE = Config(read_timeout=0.5, retries={"total_max_attempts": 1})
BROKEN = (ConnectionClosedError, HTTPClientError)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws


@pytest.fixture
def aws(server: LocalAws) -> LocalAws:
    """The call, which ended half a minute ago; nothing is limited."""
    server.reset()
    server.behaviour = UNLIMITED
    server.place(CALL)
    return server


@pytest.fixture
def control(aws: LocalAws) -> Iterator[Any]:
    client: Any = boto3.client("kinesisvideo", **aws.client_options, config=ONCE)
    yield client
    client.close()


@pytest.fixture
def media(aws: LocalAws) -> Iterator[Any]:
    client: Any = boto3.client("kinesis-video-archived-media", **aws.client_options, config=ONCE)
    yield client
    client.close()


def behave(aws: LocalAws, **changes: Any) -> None:
    aws.behaviour = replace(UNLIMITED, **changes)


def listed(media: Any, page_size: int = 1000) -> list[str]:
    pages = media.get_paginator("list_fragments").paginate(
        StreamARN=STREAM_ARN,
        FragmentSelector=SELECTOR,
        PaginationConfig={"PageSize": page_size},
    )
    return [entry["FragmentNumber"] for page in pages for entry in page["Fragments"]]


def body_of(media: Any) -> bytes:
    answer = media.get_media_for_fragment_list(StreamARN=STREAM_ARN, Fragments=NUMBERS)
    body: bytes = answer["Payload"].read()
    return body


def ask(api: str, control: Any, media: Any) -> object:
    if api == "GetDataEndpoint":
        return control.get_data_endpoint(StreamARN=STREAM_ARN, APIName="LIST_FRAGMENTS")
    return listed(media) if api == "ListFragments" else body_of(media)


@pytest.mark.parametrize(
    ("kind", "stage"), [("reset", "start"), ("reset", "headers"), ("close", "start")]
)
@pytest.mark.parametrize("api", ["GetDataEndpoint", "ListFragments", "GetMediaForFragmentList"])
def test_a_connection_that_breaks_before_the_body(
    aws: LocalAws, control: Any, media: Any, api: Any, kind: Any, stage: Any
) -> None:
    behave(aws, connection_faults=(ConnectionFault(api, kind, stage),))
    with pytest.raises(BROKEN):
        ask(api, control, media)
    assert ask(api, control, media)


def test_headers_that_are_cut_off_look_like_an_answer(
    aws: LocalAws, control: Any, media: Any
) -> None:
    apis: tuple[Any, ...] = ("GetDataEndpoint", "ListFragments", "GetMediaForFragmentList")
    behave(aws, connection_faults=tuple(ConnectionFault(api, "close", "headers") for api in apis))
    # Python's http.client takes the end of the connection for the end of the headers.
    assert "DataEndpoint" not in control.get_data_endpoint(
        StreamARN=STREAM_ARN, APIName="LIST_FRAGMENTS"
    )
    assert "Fragments" not in media.list_fragments(StreamARN=STREAM_ARN, FragmentSelector=SELECTOR)
    assert body_of(media) == b""


def test_an_answer_that_never_comes(aws: LocalAws, media: Any) -> None:
    behave(aws, connection_faults=(ConnectionFault("ListFragments", "stall"),))
    with pytest.raises(ReadTimeoutError):
        listed(media)
    assert sorted(listed(media)) == sorted(NUMBERS)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("reset", ResponseStreamingError),
        ("close", ResponseStreamingError),
        ("stall", ReadTimeoutError),
    ],
)
def test_a_media_body_that_breaks(
    aws: LocalAws, media: Any, kind: Any, error: type[Exception]
) -> None:
    behave(aws, body_faults=(BodyFault(70_000, kind),))
    with pytest.raises(error):
        body_of(media)
    assert body_of(media) == DOCUMENTS


def test_media_bodies_that_end_early_or_hold_something_else(aws: LocalAws, media: Any) -> None:
    behave(
        aws,
        body_faults=(BodyFault(5, "flip"), BodyFault(70_000, "garbage"), BodyFault(90_000)),
    )
    body = body_of(media)
    assert body[:5] == DOCUMENTS[:5]
    assert body[5] == DOCUMENTS[5] ^ 1
    assert body[6:70_000] == DOCUMENTS[6:70_000]
    garbage = body[70_000:-20_000]
    assert len(garbage) > 1024
    assert max(garbage) < 0x10
    assert body[70_000 + len(garbage) :] == DOCUMENTS[70_000:90_000]
    assert body_of(media) == DOCUMENTS


def test_json_that_ends_early_in_good_order(aws: LocalAws, media: Any) -> None:
    behave(aws, body_faults=(BodyFault(100, api="ListFragments"),))
    # botocore takes what is no JSON for an answer without members.
    answer = media.list_fragments(StreamARN=STREAM_ARN, FragmentSelector=SELECTOR)
    assert "Fragments" not in answer


def test_a_data_endpoint_where_nobody_listens(aws: LocalAws, control: Any) -> None:
    behave(aws, endpoint_faults=(EndpointFault("refused"),))
    names = {"StreamARN": STREAM_ARN, "APIName": "LIST_FRAGMENTS"}
    dead = control.get_data_endpoint(**names)["DataEndpoint"]
    client: Any = boto3.client(
        "kinesis-video-archived-media", **aws.client_options | {"endpoint_url": dead}, config=ONCE
    )
    with pytest.raises(EndpointConnectionError):
        listed(client)
    client.close()
    assert control.get_data_endpoint(**names)["DataEndpoint"] == aws.endpoint_url


def test_a_data_endpoint_that_works_for_two_calls(aws: LocalAws, control: Any) -> None:
    behave(aws, endpoint_faults=(EndpointFault("gone", after_calls=2),))
    names = {"StreamARN": STREAM_ARN, "APIName": "LIST_FRAGMENTS"}
    stale = control.get_data_endpoint(**names)["DataEndpoint"]
    client: Any = boto3.client(
        "kinesis-video-archived-media", **aws.client_options | {"endpoint_url": stale}, config=ONCE
    )
    assert len(listed(client)) == len(listed(client)) == len(NUMBERS)
    with pytest.raises(ClientError, match="endpoint is gone"):
        listed(client)
    client.close()


def test_a_page_that_is_lost_and_one_that_comes_twice(aws: LocalAws, media: Any) -> None:
    behave(aws, page_limit=5, list_order="number", page_faults=(PageFault("lost", 1),))
    assert listed(media) == NUMBERS[:5] + NUMBERS[10:]
    assert listed(media) == NUMBERS
    behave(aws, page_limit=5, list_order="number", page_faults=(PageFault("repeated", 1),))
    assert listed(media) == NUMBERS[:10] + NUMBERS[5:]


def test_a_fragment_that_is_never_listed(aws: LocalAws, media: Any) -> None:
    behave(aws, unlisted_fragments=(int(NUMBERS[3]),))
    assert sorted(listed(media)) == NUMBERS[:3] + NUMBERS[4:]
    assert body_of(media) == DOCUMENTS


def test_retention_that_ends_between_two_calls(aws: LocalAws, media: Any) -> None:
    # The stream keeps 24 hours, and the call ended half a minute ago.
    behave(aws, clock_faults=(ClockFault("GetMediaForFragmentList", 86_400_000 - 40_000),))
    assert len(listed(media)) == len(NUMBERS)
    with pytest.raises(ClientError, match="Fragment numbers are invalid"):
        body_of(media)
    assert 0 < len(listed(media)) < len(NUMBERS)


def test_connections_are_kept_and_reset_when_they_are_used_again(aws: LocalAws) -> None:
    address = urllib.parse.urlsplit(aws.endpoint_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)

    def ask() -> int:
        connection.request("GET", "/_local/requests")
        with connection.getresponse() as response:
            response.read()
            return response.status

    assert ask() == 200
    kept = connection.sock.getsockname()
    assert [ask(), ask()] == [200, 200]
    assert connection.sock.getsockname() == kept
    behave(aws, requests_per_connection=3)
    with pytest.raises(ConnectionResetError):
        ask()
    connection.close()


def test_faults_are_read_from_json() -> None:
    behaviour = decode_behaviour(
        {
            "unlisted_fragments": ["47"],
            "connection_faults": [{"api": "ListFragments", "kind": "close", "stage": "headers"}],
            "endpoint_faults": [{"kind": "gone", "after_calls": 2}],
            "page_faults": [{"kind": "lost", "page": 1}],
            "clock_faults": [{"api": "GetMedia", "advance_ms": 5}],
        }
    )
    assert behaviour == Behaviour(
        unlisted_fragments=(47,),
        connection_faults=(ConnectionFault("ListFragments", "close", "headers"),),
        endpoint_faults=(EndpointFault("gone", 2),),
        page_faults=(PageFault("lost", 1),),
        clock_faults=(ClockFault("GetMedia", 5),),
    )
