"""Where KVS serves a stream: GetDataEndpoint's responses, cached for both threads of a run."""

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
"""A warm function caches the data endpoints of the last hundred streams."""


class DataEndpoints:
    """Caches GetDataEndpoint's responses, because KVS allows five calls a second for a stream.

    Media is requested in a second thread, so every access to the cache holds the lock.
    """

    def __init__(
        self,
        control: KinesisVideoClient,
        connect: Callable[[str], KinesisVideoArchivedMediaClient],
    ) -> None:
        """Starts with an empty cache.

        Args:
            control: the client whose GetDataEndpoint is called.
            connect: makes the archived-media client of a region behind a data endpoint.
        """
        self._control = control
        self._connect = connect
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], str] = {}

    def client(self, stream_arn: str, api_name: APINameType) -> KinesisVideoArchivedMediaClient:
        """The client for one API of one stream.

        Raises:
            StreamFaultError: KVS does not return the endpoint.
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
