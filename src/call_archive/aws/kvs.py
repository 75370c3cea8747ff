"""Adapter: a KVS stream's fragments, listed and fetched; retry and resume.

ListFragments gives pages in no order; GetMediaForFragmentList gives bodies that may end early,
hold error documents, leave fragments out, or come in another order than asked. Out of that this
module makes: every listed fragment once, in the order asked, received or named as missing.

Source: Kinesis Video Streams API reference (ListFragments, GetMediaForFragmentList).
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from call_archive.aws.faults import broken, document_fault, failures, stream_fault
from call_archive.errors import ArchiveError, MediaError, StreamFaultError
from call_archive.limits import MAX_FRAGMENTS_PER_READ
from call_archive.media.fragments import ElementId, Ending, read_fragments
from call_archive.media.likeness import MediaFragment, decode_audio, decode_fragment
from call_archive.moments import read_ms, to_datetime, to_ms
from call_archive.reasons import Code, Reason, Refusal, Service
from call_archive.recording.listing import (
    Delivery,
    ListedFragment,
    MissingFragment,
    ReceivedFragment,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from botocore.response import StreamingBody
    from mypy_boto3_kinesis_video_archived_media import KinesisVideoArchivedMediaClient
    from mypy_boto3_kinesis_video_archived_media.type_defs import (
        FragmentTypeDef,
        ListFragmentsInputTypeDef,
        ListFragmentsOutputTypeDef,
    )
    from mypy_boto3_kinesisvideo import KinesisVideoClient

READ_BYTES = 65_536
"""One read of a body: 64 times botocore's own, and small enough for the allocator to reuse; above
128 KiB each read is mapped and unmapped, which costs as much as the rest."""

BATCH_FRAGMENTS = 250
BATCH_BYTES = 8 * 1_048_576
"""A batch may arrive in any order, so all of it has to fit into memory."""

RETRY_DELAYS_S = (0.2, 0.5, 1.0)
"""Before the second, third and fourth try of what a batch left out; an error document for one
fragment is often gone by then."""

FRAGMENTS_PER_S = 500
"""Of a stream, over all calls: KVS counts a list's fragments when it is asked for, and refuses
what is more (service quotas, "Fragment-media quota")."""

SHORT_BY_MS = 20
"""How much shorter than listed a fragment at the end of a body may be before it is doubted."""

MOST_THROTTLES = 30
"""How often a list of fragments is refused for its stream's quota before that is a failure."""

THROTTLED_S = (0.2, 1.5)
"""How long to wait after such a refusal: at random, because another run reads the same stream."""

MAX_HELD_BYTES = 2 * BATCH_BYTES
"""What may be kept of fragments whose turn it is not, and as much again of doubtful ones.

Sizes are listed by KVS, and a list that understates them must not fill the function's memory.
"""

KEPT_ENDPOINTS = 256
"""Data endpoints that a warm function keeps: of the last hundred streams."""

_OVER_QUOTA = "ClientLimitExceededException"
_THROTTLED = Refusal(Service.KVS, _OVER_QUOTA)
_RANGE_REFUSED = Refusal(Service.KVS, "InvalidArgumentException")
_FAILED_CALL = failures()
_BROKEN_BODY = broken()


@dataclass(frozen=True, slots=True)
class DataEndpoints:
    """GetDataEndpoint's answers, kept, because KVS takes five calls a second for a stream.

    Attributes:
        connect: makes the archived-media client of a region behind a data endpoint.
    """

    control: KinesisVideoClient
    connect: Callable[[str], KinesisVideoArchivedMediaClient]
    _kept: dict[tuple[str, str], str] = field(default_factory=dict)

    def client(self, stream_arn: str, api_name: str) -> KinesisVideoArchivedMediaClient:
        """The client for one API of one stream.

        Raises:
            StreamFaultError: KVS does not say where the API is.
        """
        key = (stream_arn, api_name)
        endpoint = self._kept.get(key)
        if endpoint is None:
            try:
                answer = self.control.get_data_endpoint(
                    StreamARN=stream_arn,
                    APIName=api_name,  # type: ignore[arg-type] # a literal in the stubs
                )
                endpoint = answer["DataEndpoint"]
            except _FAILED_CALL as error:
                raise stream_fault("GetDataEndpoint", error) from error
            self._keep(key, endpoint)
        return self.connect(endpoint)

    def _keep(self, key: tuple[str, str], endpoint: str) -> None:
        while len(self._kept) >= KEPT_ENDPOINTS:
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[key] = endpoint

    def forget(self, stream_arn: str) -> None:
        """Drops a stream's endpoints, so that the next call asks again."""
        for key in [key for key in self._kept if key[0] == stream_arn]:
            self._kept.pop(key, None)


class MediaPace:
    """Keeps what is asked of a stream within its quota, in any one second; one call at a time.

    A call counts from its answer on: KVS has counted it by then, however long it was on its way.
    """

    def __init__(
        self,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sleep = sleep
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._asked: deque[tuple[float, int]] = deque()

    @contextlib.contextmanager
    def turn(self, fragments: int) -> Iterator[None]:
        """Waits until so many more may be asked for; the call is to be made inside."""
        with self._lock:
            while self._asked and self._spent() + fragments > FRAGMENTS_PER_S:
                answered_s, _ = self._asked.popleft()
                wait_s = answered_s + 1 - self._monotonic()
                if wait_s > 0:
                    self._sleep(wait_s)
            try:
                yield
            finally:
                self._asked.append((self._monotonic(), fragments))

    def _spent(self) -> int:
        return sum(fragments for _, fragments in self._asked)


@dataclass(frozen=True, slots=True)
class StreamReader:
    """One KVS stream.

    Attributes:
        check_time: raises OutOfTimeError when the run has to end; asked before every call.
    """

    endpoints: DataEndpoints
    stream_arn: str
    check_time: Callable[[], None]
    sleep: Callable[[float], None] = time.sleep
    pace: MediaPace = field(default_factory=MediaPace)

    def list_fragments(self, from_ms: int, to_ms: int) -> Iterator[ListedFragment]:
        """Every fragment that KVS began to receive in the range, in any order, some of them twice.

        Raises:
            StreamFaultError: KVS refused or failed.
        """
        try:
            yield from self._list_pages(from_ms, to_ms)
        except StreamFaultError as failure:
            if failure.retryable:
                raise
            # An endpoint that was kept too long refuses, too: the next one has to say the same.
            yield from self._list_pages(from_ms, to_ms)

    def _list_pages(self, from_ms: int, to_ms: int) -> Iterator[ListedFragment]:
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
        try:
            while True:
                page = self._list_page(client, request)
                self.check_time()
                yield from map(_listed, page["Fragments"])
                if not page.get("NextToken"):
                    return
                request["NextToken"] = page["NextToken"]
        except _FAILED_CALL as error:
            self.endpoints.forget(self.stream_arn)
            raise stream_fault("ListFragments", error) from error

    def _list_page(
        self, client: KinesisVideoArchivedMediaClient, request: ListFragmentsInputTypeDef
    ) -> ListFragmentsOutputTypeDef:
        """One page; asked for again where the stream's quota refuses it.

        A page counts a thousand, and KVS lists ten thousand a second: to begin a long call's
        listing anew would end at the same page again.
        """
        for delay_s in RETRY_DELAYS_S:
            try:
                return client.list_fragments(**request)
            except ClientError as error:
                if error.response["Error"]["Code"] != _OVER_QUOTA:
                    raise
            self.sleep(delay_s)
        return client.list_fragments(**request)

    def still_listed(self, fragments: Sequence[ListedFragment]) -> set[int]:
        """The numbers of those that KVS has not deleted since it listed them.

        Raises:
            StreamFaultError: KVS refused or failed.
        """
        times_ms = [fragment.server_timestamp_ms for fragment in fragments]
        try:
            return {
                fragment.number for fragment in self.list_fragments(min(times_ms), max(times_ms))
            }
        except StreamFaultError as failure:
            if failure.code != _RANGE_REFUSED:
                raise
            return set()  # all of the range is outside the stream's retention

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[Delivery]:
        """Each listed fragment once, in their order, received or missing.

        While the answer for one list of fragments streams, the next list is asked for.

        Raises:
            StreamFaultError: KVS refuses the stream, or its key, altogether.
        """
        batches = _batches(listed)
        batch = next(batches, None)
        opening: Future[StreamingBody] | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="media") as opener:
            try:
                while batch is not None:
                    body = opening or opener.submit(self.open_media, _numbers(batch))
                    fetch = _BatchFetch(self, batch, body)
                    batch = next(batches, None)
                    opening = None
                    if batch is not None:
                        opening = opener.submit(self.open_media, _numbers(batch))
                    yield from fetch.deliver()
            finally:
                if opening is not None:
                    _abandon(opening)

    def open_media(self, numbers: Sequence[int]) -> StreamingBody:
        """The body of one GetMediaForFragmentList call."""
        client = self.endpoints.client(self.stream_arn, "GET_MEDIA_FOR_FRAGMENT_LIST")
        with self.pace.turn(len(numbers)):
            self.check_time()
            return client.get_media_for_fragment_list(
                StreamARN=self.stream_arn, Fragments=[str(number) for number in numbers]
            )["Payload"]


class _BatchFetch:
    """The fragments of one batch on their way in: what came, what is still wanted, and why.

    A fragment without any tags does not say its number; asked for alone, it can be no other.
    """

    def __init__(
        self,
        reader: StreamReader,
        batch: Sequence[ListedFragment],
        body: Future[StreamingBody],
    ) -> None:
        self._reader = reader
        self._body: Future[StreamingBody] | None = body
        self._order = deque(fragment.number for fragment in batch)
        self._wanted = {fragment.number: fragment for fragment in batch}
        self._held: dict[int, Delivery] = {}
        self._doubtful: dict[int, MediaFragment] = {}
        self._has_unnumbered = False
        self._was_refused = False
        self._is_throttled = False
        self._throttles = 0
        self._held_bytes = 0
        self._is_full = False
        self._has_listed_again = False
        self._failure = StreamFaultError(Code.NOT_DELIVERED, "KVS leaves it out", retryable=True)

    def deliver(self) -> Iterator[Delivery]:
        """Every fragment of the batch once, in order.

        Asks until everything is there, or until nothing more has come four times in a row. What
        a body ended at comes last in the next list, so that it cannot keep the others back.
        """
        fruitless = 0
        while self._wanted and fruitless <= len(RETRY_DELAYS_S):
            if fruitless:
                self._reader.sleep(RETRY_DELAYS_S[fruitless - 1])
            before = len(self._wanted)
            yield from self._ask([list(self._wanted)])
            if self._has_unnumbered or self._is_full:
                yield from self._ask([[number] for number in reversed(self._order)])
            if self._waits_for_quota():
                continue
            fruitless = 0 if len(self._wanted) < before else fruitless + 1
            self._put_last(next(iter(self._wanted), None))
        self._give_up()
        yield from self._release()

    def _waits_for_quota(self) -> bool:
        """Waits after a refusal for the stream's quota, which says nothing of the fragments."""
        if not self._is_throttled or self._throttles == MOST_THROTTLES:
            return False
        self._is_throttled = False
        self._throttles += 1
        self._reader.sleep(random.uniform(*THROTTLED_S))  # noqa: S311 - not a secret
        return True

    def _put_last(self, number: int | None) -> None:
        """Moves a fragment to the end of the next list."""
        if number is not None:
            self._wanted[number] = self._wanted.pop(number)

    def _ask(self, questions: list[list[int]]) -> Iterator[Delivery]:
        """Asks for lists of numbers, one by one; isolates numbers that KVS calls invalid."""
        while questions:
            numbers = [number for number in questions.pop() if number in self._wanted]
            if not numbers:
                continue
            self._reader.check_time()
            try:
                with contextlib.closing(self._read_media(numbers)) as reads:
                    for read in read_fragments(reads):
                        self._take(decode_fragment(read), numbers)
                        yield from self._release()
                        if self._is_full and len(numbers) > 1:
                            break
            except ClientError as error:
                questions += self._answer_refusal(error, numbers)
            except _BROKEN_BODY as error:
                self._fail(stream_fault("GetMediaForFragmentList", error))
            except StreamFaultError as failure:
                # GetDataEndpoint's; or an error document that nothing mends.
                self._note(failure)
            except MediaError as error:
                self._failure = StreamFaultError(error.code, str(error), retryable=True)
            yield from self._release()

    def _answer_refusal(self, error: ClientError, numbers: list[int]) -> list[list[int]]:
        """What to ask for next, where KVS refused a list of numbers."""
        if error.response["Error"]["Code"] != "InvalidArgumentException":
            self._fail(stream_fault("GetMediaForFragmentList", error))
            return []
        if len(numbers) > 1:
            return self._divide(numbers)
        self._miss(
            numbers[0],
            Reason(Code.NOT_IN_STREAM, "KVS lists a fragment that it does not have"),
            may_improve=False,
        )
        return []

    def _divide(self, numbers: list[int]) -> list[list[int]]:
        """What to ask for in place of numbers that KVS calls invalid.

        Where retention has ended meanwhile, all may be; listing them again costs one call, and
        halving two a number. What is listed and invalid all the same is isolated by halves.
        """
        if self._has_listed_again:
            middle = len(numbers) // 2
            return [numbers[middle:], numbers[:middle]]
        self._has_listed_again = True
        listed = self._reader.still_listed([self._wanted[number] for number in numbers])
        for number in numbers:
            if number not in listed:
                self._miss(
                    number,
                    Reason(Code.GONE, "KVS has deleted it since it was listed"),
                    may_improve=False,
                )
        rest = [number for number in numbers if number in listed]
        return [rest] if rest else []

    def _read_media(self, numbers: Sequence[int]) -> Generator[bytes]:
        """One body in big reads: the one that was asked for beforehand, or a new one."""
        opening, self._body = self._body, None
        body = self._reader.open_media(numbers) if opening is None else opening.result()
        with contextlib.closing(body):
            while read := body.read(READ_BYTES):
                yield read

    def _take(self, fragment: MediaFragment, asked: Sequence[int]) -> None:
        if fragment.fault_code:
            self._note(document_fault(fragment.fault_code))
            return
        number = fragment.number
        if number is None and fragment.fragment.ending is not Ending.TRUNCATED:
            self._has_unnumbered = True
        if number is None and len(asked) == 1:
            number = asked[0]
        if number is None or number not in self._wanted:
            return
        listed = self._wanted[number]
        if fragment.number is None or fragment.server_timestamp_ms is None:
            fragment = fragment._replace(
                number=number, server_timestamp_ms=listed.server_timestamp_ms
            )
        if number != self._order[0] and (
            self._held_bytes + len(fragment.fragment.document) > MAX_HELD_BYTES
        ):
            self._is_full = True
        elif _may_be_cut_short(fragment, listed):
            self._doubt(number, fragment)
        else:
            self._hold(number, ReceivedFragment(fragment))

    def _doubt(self, number: int, fragment: MediaFragment) -> None:
        """Asks again for what may be cut short; the same once more is all that KVS has.

        What is shorter than listed stays doubtful for ever; the longest of it is kept.
        """
        before = self._doubtful.get(number)
        if (
            before is not None
            and before.fragment.document == fragment.fragment.document
            and not _is_short(fragment, self._wanted[number])
        ):
            self._hold(number, ReceivedFragment(fragment))
            return
        size = len(fragment.fragment.document)
        if size > (0 if before is None else len(before.fragment.document)) and (
            size + sum(len(kept.fragment.document) for kept in self._doubtful.values())
            <= MAX_HELD_BYTES
        ):
            self._doubtful[number] = fragment
        self._failure = StreamFaultError(
            Code.FRAGMENT_CUT_SHORT, "the body ends inside a fragment", retryable=True
        )

    def _fail(self, failure: StreamFaultError) -> None:
        """As `_note`, for a call that failed: its data endpoint may have moved.

        An endpoint that was kept too long refuses, too: the next one has to say the same.
        """
        if failure.code == _THROTTLED:
            self._note(failure)
            return
        self._reader.endpoints.forget(self._reader.stream_arn)
        if failure.retryable or self._was_refused:
            self._note(failure)
        self._was_refused = not failure.retryable
        self._failure = failure

    def _note(self, failure: StreamFaultError) -> None:
        """Notes a failure that a retry may mend; raises one that it cannot."""
        if not failure.retryable:
            raise failure
        self._is_throttled |= failure.code == _THROTTLED
        self._failure = failure

    def _give_up(self) -> None:
        """Every try is over: a part that proves whose it is is better than nothing."""
        for number, fragment in self._doubtful.items():
            if number in self._wanted and fragment.contact_ids:
                self._hold(number, ReceivedFragment(fragment, is_cut_short=True))
        for number in list(self._wanted):
            self._miss(number, self._failure.reason, may_improve=True)

    def _hold(self, number: int, delivery: Delivery) -> None:
        del self._wanted[number]
        self._held[number] = delivery
        self._held_bytes += _size_bytes(delivery)

    def _miss(self, number: int, reason: Reason, *, may_improve: bool) -> None:
        self._hold(number, MissingFragment(number, reason, may_improve))

    def _release(self) -> Iterator[Delivery]:
        """What is held and whose turn it is."""
        while self._order and self._order[0] in self._held:
            delivery = self._held.pop(self._order.popleft())
            self._held_bytes -= _size_bytes(delivery)
            yield delivery


def _may_be_cut_short(fragment: MediaFragment, listed: ListedFragment) -> bool:
    """Whether the body may have ended before the fragment did.

    Where sizes are unknown, nothing shows it but the fragment's length, or contact tags behind
    its audio; without any contact tag even its owner may have been cut off.
    """
    ending, elements = fragment.fragment.ending, fragment.fragment.elements
    if ending is not Ending.OPEN:
        return ending is Ending.TRUNCATED
    if not fragment.contact_ids:
        return True
    has_audio = any(element.id == ElementId.CLUSTER for element in elements)
    ends_in_tags = has_audio and elements[-1].id == ElementId.TAGS
    return not ends_in_tags and _is_short(fragment, listed)


def _size_bytes(delivery: Delivery) -> int:
    return 0 if isinstance(delivery, MissingFragment) else len(delivery.media.fragment.document)


def _is_short(fragment: MediaFragment, listed: ListedFragment) -> bool:
    """Whether there is less audio in it than KVS lists, or a part of an element."""
    if fragment.fragment.ending is Ending.TRUNCATED:
        return True
    try:
        audio = decode_audio(fragment.fragment, ())
    except MediaError:
        return False
    length_ms = 0 if audio is None else (audio.end_ns - audio.start_ns) // 1_000_000
    return length_ms < listed.duration_ms - SHORT_BY_MS


def _listed(entry: FragmentTypeDef) -> ListedFragment:
    return ListedFragment(
        number=int(entry["FragmentNumber"]),
        server_timestamp_ms=to_ms(entry["ServerTimestamp"]),
        duration_ms=entry.get("FragmentLengthInMilliseconds", 0),
        size_bytes=entry.get("FragmentSizeInBytes", 0),
        producer_timestamp_ms=read_ms(entry.get("ProducerTimestamp")),
    )


def _numbers(batch: Sequence[ListedFragment]) -> list[int]:
    return [fragment.number for fragment in batch]


def _abandon(opening: Future[StreamingBody]) -> None:
    """Closes a body that nobody is going to read."""
    if not opening.cancel():
        with contextlib.suppress(ClientError, ArchiveError, *_BROKEN_BODY):
            opening.result().close()


def _batches(listed: Iterable[ListedFragment]) -> Iterator[list[ListedFragment]]:
    batch: list[ListedFragment] = []
    batch_bytes = 0
    for fragment in listed:
        is_full = len(batch) == BATCH_FRAGMENTS or batch_bytes + fragment.size_bytes > BATCH_BYTES
        if batch and is_full:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(fragment)
        batch_bytes += fragment.size_bytes
    if batch:
        yield batch
