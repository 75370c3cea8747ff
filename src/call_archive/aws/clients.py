"""boto3 clients: one session a process, each client made when it is first needed.

boto3 is imported on first use, because the flow function answers most events without it.
`AWS_ENDPOINT_URL*` variables are honoured by boto3 itself.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from boto3.session import Session
    from botocore.config import Config
    from mypy_boto3_connect import ConnectClient
    from mypy_boto3_kinesis_video_archived_media import KinesisVideoArchivedMediaClient
    from mypy_boto3_kinesisvideo import KinesisVideoClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

_FLOW_CONNECT_TIMEOUT_S = 1.0
_FLOW_READ_TIMEOUT_S = 1.5
_CONNECT_TIMEOUT_S = 3.0
_READ_TIMEOUT_S = 10.0
_ATTEMPTS = 3
"""The slowest call takes 45 s: three attempts and the pauses between them."""


@cache
def _session() -> Session:
    from boto3.session import Session  # noqa: PLC0415 - half of a cold start; see the module

    return Session()


@cache
def flow_sqs_client() -> SQSClient:
    """SQS for FlowFunction: two attempts end well within the 8 s that a flow waits."""
    from botocore.config import Config  # noqa: PLC0415 - half of a cold start; see the module

    return _session().client(
        "sqs",
        config=Config(
            connect_timeout=_FLOW_CONNECT_TIMEOUT_S,
            read_timeout=_FLOW_READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": 2},
        ),
    )


@cache
def sqs_client() -> SQSClient:
    """SQS for ArchiveFunction."""
    return _session().client("sqs", config=_config())


@cache
def s3_client() -> S3Client:
    """S3, for recordings and manifests."""
    return _session().client("s3", config=_config())


@cache
def connect_client() -> ConnectClient:
    """Amazon Connect, for DescribeContact."""
    return _session().client("connect", config=_config())


@cache
def kinesis_video_client(region: str) -> KinesisVideoClient:
    """The KVS control API, for GetDataEndpoint."""
    return _session().client("kinesisvideo", region_name=region, config=_config())


@lru_cache(maxsize=16)
def archived_media_client(region: str, data_endpoint: str) -> KinesisVideoArchivedMediaClient:
    """The KVS archived media API behind one data endpoint."""
    client = _session().client(
        "kinesis-video-archived-media",
        region_name=region,
        endpoint_url=data_endpoint,
        config=_config(),
    )
    check_listings(client)
    return client


def check_listings(client: KinesisVideoArchivedMediaClient) -> None:
    """Makes a damaged ListFragments response an error: botocore reads it as an empty page.

    An empty page ends a listing, and a recording could be called complete without the rest.
    """
    client.meta.events.register(
        "before-parse.kinesis-video-archived-media.ListFragments",
        _refuse_damaged_json,
        unique_id="check-listings",
    )


def _refuse_damaged_json(response_dict: Mapping[str, Any], **_: object) -> None:
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - cold start of FlowFunction

    if response_dict["status_code"] != HTTPStatus.OK:
        return
    try:
        json.loads(response_dict["body"])
    except ValueError as error:
        raise ResponseParserError("ListFragments: the response is not JSON") from error


def _config() -> Config:
    from botocore.config import Config  # noqa: PLC0415 - half of a cold start; see the module

    return Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=8,
        tcp_keepalive=True,
    )
