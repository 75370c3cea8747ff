"""Adapter: the calls of one KVS stream, as Call Archive makes them.

ListFragments returns pages in no order, and GetMediaForFragmentList returns bodies that may hold
anything. `recording/retrieval.py` decides what to request; `media_source.py` makes these calls.

Source: Kinesis Video Streams API reference (ListFragments, GetMediaForFragmentList).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from call_archive.aws.faults import failures, refusal_code, stream_fault, translated
from call_archive.aws.media_source import read_media
from call_archive.aws.pace import MediaPace
from call_archive.errors import StreamFaultError
from call_archive.limits import MAX_FRAGMENTS_PER_READ, MIN_TIMESTAMP_MS
from call_archive.moments import read_ms, to_datetime
from call_archive.reasons import Refusal, Service
from call_archive.recording.listing import LISTING_PAD_MS, ListedFragment, listing_start_ms
from call_archive.recording.retrieval import RETRY_DELAYS_S, THROTTLED, Broken, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from botocore.response import StreamingBody
    from mypy_boto3_kinesis_video_archived_media import KinesisVideoArchivedMediaClient
    from mypy_boto3_kinesis_video_archived_media.type_defs import (
        FragmentTypeDef,
        ListFragmentsInputTypeDef,
        ListFragmentsOutputTypeDef,
    )

    from call_archive.aws.endpoints import DataEndpoints
    from call_archive.recording.listing import FetchedFragment

_RANGE_REFUSED = Refusal(Service.KVS, "InvalidArgumentException")
_FAILED_CALL = failures()


@dataclass(frozen=True, slots=True)
class StreamReader:
    """One KVS stream.

    Attributes:
        check_time: raises OutOfTimeError when the run has to end; called before every API call.
    """

    endpoints: DataEndpoints
    stream_arn: str
    check_time: Callable[[], None]
    sleep: Callable[[float], None] = time.sleep
    pace: MediaPace = field(default_factory=MediaPace)

    def list_fragments(self, from_ms: int, to_ms: int) -> Iterator[ListedFragment]:
        """Every fragment that KVS began to receive in the range, in any order, maybe with repeats.

        Raises:
            StreamFaultError: KVS refused or failed.
        """
        try:
            yield from self._list_pages(from_ms, to_ms)
        except StreamFaultError as failure:
            if failure.retryable:
                raise
            # A stale endpoint refuses, too, so a fresh endpoint has to confirm the refusal.
            yield from self._list_pages(from_ms, to_ms)

    def still_listed(self, fragments: Sequence[ListedFragment]) -> set[int]:
        """The numbers of the fragments that KVS has not deleted since it listed them.

        A fragment listed without its time counts as listed, because its range is unknown.

        Raises:
            StreamFaultError: KVS refused or failed.
        """
        timed = {
            fragment.number: fragment.server_timestamp_ms
            for fragment in fragments
            if fragment.server_timestamp_ms >= MIN_TIMESTAMP_MS
        }
        untimed = {fragment.number for fragment in fragments} - timed.keys()
        if not timed:
            return untimed
        from_ms = min(timed.values()) - LISTING_PAD_MS
        until_ms = max(timed.values()) + LISTING_PAD_MS
        try:
            return untimed | {
                fragment.number for fragment in self.list_fragments(from_ms, until_ms)
            }
        except StreamFaultError as failure:
            if failure.code != _RANGE_REFUSED:
                raise
            return untimed  # all of the range is outside the stream's retention

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
        """Yields each listed fragment once, in order, received or missing.

        Raises:
            StreamFaultError: KVS refuses the stream or its key.
        """
        return read_media(self, listed)

    def open_media(self, numbers: Sequence[int]) -> StreamingBody | Refused | Broken:
        """The body of one GetMediaForFragmentList call, or how the call failed.

        Raises:
            StreamFaultError: KVS does not return the media's endpoint, and no retry helps.
            OutOfTimeError: the run has to end.
        """
        try:
            client = self.endpoints.client(self.stream_arn, "GET_MEDIA_FOR_FRAGMENT_LIST")
        except StreamFaultError as failure:
            if failure.retryable:
                return Broken(failure)
            raise
        try:
            with self.pace.turn(len(numbers)):
                self.check_time()
                return client.get_media_for_fragment_list(
                    StreamARN=self.stream_arn, Fragments=[str(number) for number in numbers]
                )["Payload"]
        except ClientError as error:
            return Refused(self._media_fault(error))
        except _FAILED_CALL as error:
            return self.broken_media(error)

    def broken_media(self, error: Exception) -> Broken:
        """How a body, or the call for it, broke off."""
        return Broken(self._media_fault(error))

    def _media_fault(self, error: Exception) -> StreamFaultError:
        """The failure of a call for media; its data endpoint may have moved."""
        failure = stream_fault("GetMediaForFragmentList", error)
        if failure.code != THROTTLED:
            self.endpoints.forget(self.stream_arn)
        return failure

    def _list_pages(self, from_ms: int, to_ms: int) -> Iterator[ListedFragment]:
        from_ms = listing_start_ms(self.stream_arn, from_ms, to_ms)
        client = self.endpoints.client(self.stream_arn, "LIST_FRAGMENTS")
        request: ListFragmentsInputTypeDef = {
            "StreamARN": self.stream_arn,
            "MaxResults": MAX_FRAGMENTS_PER_READ,
            "FragmentSelector": {
                "FragmentSelectorType": "SERVER_TIMESTAMP",
                "TimestampRange": {
                    "StartTimestamp": to_datetime(from_ms),
                    "EndTimestamp": to_datetime(to_ms),
                },
            },
        }
        while True:
            with translated(self._listing_fault):
                page = self._list_page(client, request)
                listed = list(map(_listed, _entries(page)))
            self.check_time()
            yield from listed
            if not page.get("NextToken"):
                return
            request["NextToken"] = page["NextToken"]

    def _list_page(
        self, client: KinesisVideoArchivedMediaClient, request: ListFragmentsInputTypeDef
    ) -> ListFragmentsOutputTypeDef:
        """Reads one page; retries it if the stream's quota refuses it.

        A page counts as a thousand fragments, and KVS lists ten thousand a second: a listing of a
        long call that started over would be refused at the same page again.
        """
        for delay_s in RETRY_DELAYS_S:
            try:
                return client.list_fragments(**request)
            except ClientError as error:
                if refusal_code(error) != THROTTLED.refused:
                    raise
            self.sleep(delay_s)
        return client.list_fragments(**request)

    def _listing_fault(self, error: Exception) -> StreamFaultError:
        self.endpoints.forget(self.stream_arn)
        return stream_fault("ListFragments", error)


def _entries(page: ListFragmentsOutputTypeDef) -> Sequence[FragmentTypeDef]:
    """A page's entries. A page without `Fragments` is empty, because botocore drops null members.

    A response whose headers were cut off looks the same, but also lacks the request id.

    Raises:
        ValueError: the response is incomplete.
    """
    entries = page.get("Fragments") or ()
    if not entries and not page.get("ResponseMetadata", {"RequestId": "-"}).get("RequestId"):
        raise ValueError("a response without Fragments and without a request id")
    return entries


def _listed(entry: FragmentTypeDef) -> ListedFragment:
    return ListedFragment(
        number=int(entry["FragmentNumber"]),
        server_timestamp_ms=read_ms(entry.get("ServerTimestamp")) or 0,
        duration_ms=entry.get("FragmentLengthInMilliseconds", 0),
        size_bytes=entry.get("FragmentSizeInBytes", 0),
        producer_timestamp_ms=read_ms(entry.get("ProducerTimestamp")),
    )
