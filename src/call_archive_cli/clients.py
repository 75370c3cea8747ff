"""boto3's clients for a person at a terminal: the ordinary credential chain and region.

Those that the functions use come from `call_archive.aws.clients`; `--profile` and `--region` reach
all of them as boto3's own environment variables.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_connect import ConnectClient
    from mypy_boto3_kinesis_video_media import KinesisVideoMediaClient
    from mypy_boto3_s3 import S3Client


def choose_session(profile: str | None, region: str | None) -> None:
    """Makes `--profile` and `--region` those of every client that is made from here on.

    As with the AWS CLI, a profile that was asked for beats keys in the environment.
    """
    if profile and profile != os.environ.get("AWS_PROFILE"):
        os.environ["AWS_PROFILE"] = profile
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            os.environ.pop(key, None)
    if region:
        os.environ["AWS_REGION"] = os.environ["AWS_DEFAULT_REGION"] = region


@cache
def live_media_client(
    region: str, data_endpoint: str, read_timeout_s: float
) -> KinesisVideoMediaClient:
    """The KVS media API behind one data endpoint; a body without news fails after the timeout."""
    return boto3.Session().client(
        "kinesis-video-media",
        region_name=region,
        endpoint_url=data_endpoint,
        config=Config(
            connect_timeout=5,
            read_timeout=read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": 3},
        ),
    )


@cache
def connect_client(region: str) -> ConnectClient:
    """Amazon Connect where the instance is; its quotas are small, so that patience pays."""
    return boto3.Session().client(
        "connect",
        region_name=region,
        config=Config(retries={"mode": "standard", "total_max_attempts": 8}),
    )


@cache
def presigning_client() -> S3Client:
    """S3 with Signature Version 4 in every region: what KMS encrypts has no other URLs."""
    return boto3.Session().client("s3", config=Config(signature_version="s3v4"))
