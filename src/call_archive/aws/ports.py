"""Everything that the handling of a message needs from AWS, with the functions' clients."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from call_archive.aws import clients as own_clients
from call_archive.aws.contacts import Contacts
from call_archive.aws.endpoints import DataEndpoints
from call_archive.aws.pace import MediaPace
from call_archive.aws.queues import FailedJobsQueue, RetryQueue
from call_archive.aws.s3_archive import S3Archive, exists
from call_archive.aws.s3_recording import build_encryption, build_hold
from call_archive.aws.stream_reader import StreamReader
from call_archive.config import Tracks
from call_archive.fields import account_of, instance_id_of, region_of
from call_archive.keys import hold_key, manifest_key, recording_key, tombstone_key
from call_archive.media.pcm import Direction
from call_archive.worker import ComesBack, Failed, Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_connect import ConnectClient
    from mypy_boto3_kinesis_video_archived_media import KinesisVideoArchivedMediaClient
    from mypy_boto3_kinesisvideo import KinesisVideoClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from call_archive.config import ArchiveSettings
    from call_archive.job import ArchiveJob
    from call_archive.worker import Message, Outcome


_DIRECTIONS = {
    Tracks.CUSTOMER: (Direction.FROM_CUSTOMER,),
    Tracks.BOTH: (Direction.FROM_CUSTOMER, Direction.TO_CUSTOMER),
}


def read_terms(settings: ArchiveSettings, function_arn: str) -> Terms:
    """The settings for every message, and the account of the function's ARN."""
    return Terms(
        tracks=_DIRECTIONS[settings.tracks],
        account_id=account_of(function_arn),
        instance_arn=settings.location.instance_arn,
    )


class Clients(Protocol):
    """Where boto3's clients come from: `aws.clients`, a module, is one."""

    def s3_client(self) -> S3Client:
        """S3."""

    def sqs_client(self) -> SQSClient:
        """SQS."""

    def connect_client(self) -> ConnectClient:
        """Amazon Connect."""

    def kinesis_video_client(self, region: str, /) -> KinesisVideoClient:
        """The KVS control API."""

    def archived_media_client(
        self, region: str, data_endpoint: str, /
    ) -> KinesisVideoArchivedMediaClient:
        """The KVS archived media API behind a data endpoint."""


@dataclass(frozen=True, slots=True)
class AwsPorts:
    """Connect, KVS, S3 and SQS as `worker.Ports`, and the two queues.

    Attributes:
        clients: makes boto3's clients.
        sleep, monotonic: the clock that paces a stream.
    """

    settings: ArchiveSettings
    clients: Clients = own_clients
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    _endpoints: dict[str, DataEndpoints] = field(default_factory=dict)

    def prepare(self) -> None:
        """Makes the clients that every job needs, while Lambda's start-up has a whole processor."""
        self.clients.s3_client()
        if self.settings.region:
            self.clients.kinesis_video_client(self.settings.region)

    def describe_contact(self, instance_arn: str, contact_id: str) -> Mapping[str, object]:
        """DescribeContact's `Contact`."""
        return Contacts(self.clients.connect_client()).describe(instance_arn, contact_id)

    def open_source(self, job: ArchiveJob, check_time: Callable[[], None]) -> StreamReader:
        """The job's stream."""
        endpoints = self._data_endpoints(region_of(job.stream_arn))
        pace = MediaPace(self.sleep, self.monotonic)
        return StreamReader(endpoints, job.stream_arn, check_time, self.sleep, pace)

    def open_archive(self, job: ArchiveJob, *, is_held: bool = False) -> S3Archive:
        """The job's recording and manifest in the bucket; what is written is held or not."""
        location = self.settings.location
        return S3Archive(
            self.clients.s3_client(),
            location.bucket,
            recording_key(location.prefix, job),
            manifest_key(location.prefix, job),
            instance_id_of(job.instance_arn),
            build_encryption(self.settings.kms_key_arn, self.settings.encryption_header),
            build_hold(is_held=is_held),
        )

    def is_erased(self, job: ArchiveJob) -> bool:
        """Whether the job's contact, or its initial contact, was erased.

        Raises:
            StorageFaultError: S3 does not answer. Then nothing is published.
        """
        return self._any_exists(tombstone_key, job)

    def is_held(self, job: ArchiveJob) -> bool:
        """Whether the job's contact, or its initial contact, is held.

        Raises:
            StorageFaultError: S3 does not answer. Then nothing is published.
        """
        return self._any_exists(hold_key, job)

    def _any_exists(self, key: Callable[[str, str], str], job: ArchiveJob) -> bool:
        location = self.settings.location
        return any(
            exists(self.clients.s3_client(), location.bucket, key(location.prefix, contact_id))
            for contact_id in sorted(job.contact_ids)
        )

    def carry_out(self, message: Message, outcome: Outcome) -> bool:
        """Changes the queues as decided; returns whether the message may leave its queue.

        Raises:
            QueueFaultError: SQS did not accept the change: the message comes back by itself.
        """
        url = self.settings.failed_jobs_queue_url
        match outcome:
            case ComesBack(after_s):
                queue = RetryQueue(self.clients.sqs_client(), url)
                queue.hold(message.queue_arn, message.receipt_handle, after_s)
                return False
            case Failed(failure):
                failed_jobs = FailedJobsQueue(self.clients.sqs_client(), url)
                failed_jobs.send(message.body, failure, message.message_id)
        return True

    def _data_endpoints(self, region: str) -> DataEndpoints:
        """The data endpoints of a region, kept as long as this process lives."""
        if region not in self._endpoints:
            self._endpoints[region] = DataEndpoints(
                self.clients.kinesis_video_client(region),
                partial(self.clients.archived_media_client, region),
            )
        return self._endpoints[region]
