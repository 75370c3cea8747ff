"""Where KVS serves a stream: GetDataEndpoint's answers, kept for both threads of a run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from call_archive.aws.faults import stream_fault, translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_kinesis_video_archived_media import KinesisVideoArchivedMediaClient
    from mypy_boto3_kinesisvideo import KinesisVideoClient
    from mypy_boto3_kinesisvideo.literals import APINameType

KEPT_ENDPOINTS = 256
"""Data endpoints that a warm function keeps: of the last hundred streams."""


class DataEndpoints:
    """GetDataEndpoint's answers, kept, because KVS takes five calls a second for a stream.

    Media is asked for in a second thread, so every look at the answers holds the lock.
    """

    def __init__(
        self,
        control: KinesisVideoClient,
        connect: Callable[[str], KinesisVideoArchivedMediaClient],
    ) -> None:
        """Keeps nothing yet.

        Args:
            control: whose GetDataEndpoint is asked.
            connect: makes the archived-media client of a region behind a data endpoint.
        """
        self._control = control
        self._connect = connect
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], str] = {}

    def client(self, stream_arn: str, api_name: APINameType) -> KinesisVideoArchivedMediaClient:
        """The client for one API of one stream.

        Raises:
            StreamFaultError: KVS does not say where the API is.
        """
        key = (stream_arn, api_name)
        with self._lock:
            endpoint = self._kept.get(key)
        if endpoint is None:
            with translated(lambda error: stream_fault("GetDataEndpoint", error)):
                endpoint = self._control.get_data_endpoint(StreamARN=stream_arn, APIName=api_name)[
                    "DataEndpoint"
                ]
            self._keep(key, endpoint)
        return self._connect(endpoint)

    def forget(self, stream_arn: str) -> None:
        """Drops a stream's endpoints, so that the next call asks again."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == stream_arn]:
                del self._kept[key]

    def _keep(self, key: tuple[str, str], endpoint: str) -> None:
        with self._lock:
            self._kept[key] = endpoint
            while len(self._kept) > KEPT_ENDPOINTS:
                del self._kept[next(iter(self._kept))]
