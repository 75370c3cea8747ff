"""Kinesis Video Streams without HTTP: streams, fragments, and the APIs of consumers and producers.

Requests and answers are the JSON bodies of the API, media bodies are iterators of bytes; a refusal
is a ServiceError. Everything that time decides (what has arrived, what is listed, what retention
has taken) follows the clock that was given; quotas follow real time. Thread-safe.

Sources: the API references of Kinesis Video Streams, its media and its archived media; what they
leave open is a switch of `Behaviour`.
"""

import random
import time
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from local.behaviour import Api, Behaviour
from local.call import StoredFragment
from local.clock import Clock
from local.contact import ACCOUNT
from local.encoder import encode_behind_now_tags, encode_error
from local.faults import FaultPlan, ServiceError, invalid_argument
from local.listing import (
    Page,
    build_entry,
    decode_selector,
    decode_token,
    encode_token,
    epoch_ms,
    select_numbers,
)
from local.media_body import MediaBody, cut_writes, split_writes, spoil
from local.put_media import Body, PutMediaSession, decode_put_media
from local.quotas import Pacer, RateLimit, Sessions
from local.stream import Stream
from local.streams import Streams

type Json = dict[str, Any]

_DEFAULT_PAGE: Final = 100
_LARGEST_PAGE: Final = 1000
_MOST_FRAGMENTS: Final = 1000
# How long a live GetMedia sleeps at most: tests move the clock under it.
_LIVE_POLL_S: Final = 0.05
# Port 1 is tcpmux's, which no machine has run for decades.
_NOBODY_LISTENS: Final = "http://127.0.0.1:1"
_API_NAMES: Final = frozenset(
    {
        "PUT_MEDIA",
        "GET_MEDIA",
        "LIST_FRAGMENTS",
        "GET_MEDIA_FOR_FRAGMENT_LIST",
        "GET_HLS_STREAMING_SESSION_URL",
        "GET_DASH_STREAMING_SESSION_URL",
        "GET_CLIP",
        "GET_IMAGES",
    }
)


class KinesisVideo:
    """The service: streams and the APIs over them.

    Attributes:
        faults: the behaviour, and how much of its faults has been used.
        streams: what exists, and the APIs that make and remove it.
    """

    def __init__(self, clock: Clock, behaviour: Behaviour) -> None:
        self._clock = clock
        self.faults = FaultPlan(behaviour)
        self.streams = Streams(clock, self.faults)
        self._changed = self.streams.changed
        self._rates = RateLimit()
        self._sessions = Sessions()
        self._listings: dict[object, list[int]] = {}
        self._calls_left: dict[int, int] = {}

    @property
    def behaviour(self) -> Behaviour:
        """What the service does now; setting it starts the counts of its faults again."""
        return self.faults.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self.faults = self.streams.faults = FaultPlan(behaviour)

    def add_stream(
        self,
        arn: str,
        *,
        retention_hours: int = 24,
        created_ms: int | None = None,
        kms_key_id: str | None = None,
    ) -> None:
        """Adds an empty stream; one that exists keeps its fragments and gets the new retention."""
        region = arn.split(":")[3]
        key = kms_key_id or f"arn:aws:kms:{region}:{ACCOUNT}:alias/aws/kinesisvideo"
        created = self._clock.now_ms() if created_ms is None else created_ms
        with self._changed:
            stream = self.streams.add(Stream(arn, retention_hours, created, key))
            stream.retention_hours = retention_hours

    def put(self, stream_arn: str, fragments: Iterable[StoredFragment]) -> None:
        """Puts fragments on a stream; each is visible when the clock passes its server end time."""
        with self._changed:
            stream = self.streams.get(stream_arn)
            for fragment in fragments:
                if fragment.number not in stream.fragments:
                    insort(stream.numbers, fragment.number)
                stream.fragments[fragment.number] = fragment
            self._changed.notify_all()

    def reset(self) -> None:
        """Removes all streams and forgets all counts."""
        with self._changed:
            self.streams.clear()
            self._listings.clear()
            self._calls_left.clear()
            self._rates = RateLimit()
            self._sessions = Sessions()
            self._changed.notify_all()

    def get_data_endpoint(self, request: Mapping[str, Any], endpoint_url: str) -> Json:
        """GetDataEndpoint: the address that the client used, unless a fault names another."""
        self.faults.refuse("GetDataEndpoint")
        stream = self.streams.find(request)
        api_name = request.get("APIName")
        if api_name not in _API_NAMES:
            raise invalid_argument(f"APIName is not valid: {api_name}")
        self._limit_rate(
            ("GetDataEndpoint", stream.arn, api_name), self.behaviour.data_endpoint_calls_per_s
        )
        return {"DataEndpoint": self._data_endpoint(endpoint_url)}

    def use_endpoint(self, number: int) -> None:
        """Counts a call to an endpoint that works for a while, or refuses it."""
        with self._changed:
            left = self._calls_left.get(number, 0)
            self._calls_left[number] = left - 1
        if left <= 0:
            raise ServiceError(404, "ResourceNotFoundException", "The endpoint is gone.")

    def describe_stream(self, request: Mapping[str, Any]) -> Json:
        """DescribeStream."""
        self.faults.refuse("DescribeStream")
        stream = self.streams.find(request, is_active=False)
        return {"StreamInfo": self.streams.describe(stream)}

    def list_fragments(self, request: Mapping[str, Any]) -> Json:
        """ListFragments: one page, in no order, of what is in the range and listed by now."""
        self.faults.refuse("ListFragments")
        stream = self.streams.find(request)
        page = self._page(request, stream)
        size = self._page_size(request)
        # Counted as asked for, not as found ("Fragment-metadata quota" of KVS's service quotas).
        self._limit_rate(("ListFragments", stream.arn), self.behaviour.listed_fragments_per_s, size)
        numbers = self._listing(stream, page)
        listed = numbers[page.offset : page.offset + size]
        following = page.offset + size
        fault = self.faults.page_fault(page.offset // size)
        if fault is not None:
            listed = [] if fault.kind == "lost" else listed
            following -= 0 if fault.kind == "lost" else size
        entries = [build_entry(stream.fragments[n], self.behaviour) for n in listed]
        answer: Json = {"Fragments": entries}
        if not entries and self.behaviour.empty_page != "list":
            answer = {"Fragments": None} if self.behaviour.empty_page == "null" else {}
        if following < len(numbers) or (entries and self.behaviour.ends_in_empty_page):
            token = Page(page.selector, page.as_of_ms, following)
            answer["NextToken"] = encode_token(stream, token)
        return answer

    def get_media_for_fragment_list(self, request: Mapping[str, Any]) -> MediaBody:
        """GetMediaForFragmentList: a session whose body holds the fragments that were asked for."""
        api: Api = "GetMediaForFragmentList"
        self.faults.refuse(api)
        stream = self.streams.find(request)
        if stream.retention_hours == 0:
            # Which text the service has for this is not documented.
            raise invalid_argument("The stream has no data retention.")
        fragments = self._requested_fragments(stream, request.get("Fragments"))
        self._limit_rate((api, stream.arn), self.behaviour.fragments_per_s, len(fragments))
        end_session = self._open_session(
            api, stream, self.behaviour.media_sessions, "ClientLimitExceededException"
        )
        documents = self._listed_documents(fragments)
        sent = spoil(self.faults, api, documents)
        return MediaBody(cut_writes(sent, self.behaviour.body_write_bytes), end_session)

    def get_media(
        self, request: Mapping[str, Any], client_is_gone: Callable[[], bool] = lambda: False
    ) -> MediaBody:
        """GetMedia: a session that sends fragments from the selected one on, and waits for more.

        Args:
            request: the API's JSON.
            client_is_gone: asked while it waits, so that the session of a client that left is
                closed.
        """
        api: Api = "GetMedia"
        self.faults.refuse(api)
        stream = self.streams.find(request)
        selector = request.get("StartSelector") or {}
        _check_start_selector(selector)
        self._limit_rate((api, stream.arn), self.behaviour.get_media_calls_per_s)
        end_session = self._open_session(
            api,
            stream,
            self.behaviour.get_media_connections,
            "ConnectionLimitExceededException",
        )
        documents = self._live_documents(stream, selector, client_is_gone)
        # Document by document: a live reader must not wait for a write to fill up.
        sent = spoil(self.faults, api, documents)
        return MediaBody(split_writes(sent, self.behaviour.body_write_bytes), end_session)

    def put_media(
        self,
        headers: Mapping[str, str],
        body: Body,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> MediaBody:
        """PutMedia: a session that takes fragments, and acknowledges them while it does."""
        api: Api = "PutMedia"
        self.faults.refuse(api)
        request = decode_put_media(headers)
        stream = self.streams.find(request.stream)
        self._limit_rate((api, stream.arn), self.behaviour.put_media_calls_per_s)
        end_session = self._open_session(
            api, stream, self.behaviour.put_media_connections, "ConnectionLimitExceededException"
        )
        session = PutMediaSession(
            stream,
            request,
            self._clock,
            self.faults,
            store=lambda fragment: self.put(stream.arn, [fragment]),
            is_open=lambda: self.streams.is_there(stream.arn),
            is_stopping=is_stopping,
        )
        return MediaBody(session.run(body), end_session)

    def _limit_rate(self, key: object, points_per_s: int | None, cost: int = 1) -> None:
        if not self._rates.admits(key, points_per_s, cost):
            raise ServiceError(400, "ClientLimitExceededException", "Rate exceeded")

    def _open_session(
        self, api: Api, stream: Stream, most: int | None, error_type: str
    ) -> Callable[[], None]:
        sessions, key = self._sessions, (api, stream.arn)
        if not sessions.opens(key, most):
            raise ServiceError(400, error_type, f"More than {most} concurrent sessions")
        return lambda: sessions.close(key)

    def _data_endpoint(self, endpoint_url: str) -> str:
        fault = self.faults.endpoint_fault()
        if fault is None:
            return endpoint_url
        if fault.kind == "refused":
            return _NOBODY_LISTENS
        with self._changed:
            number = len(self._calls_left) + 1
            self._calls_left[number] = fault.after_calls
        return f"{endpoint_url}/endpoint/{number}"

    # ListFragments

    def _page(self, request: Mapping[str, Any], stream: Stream) -> Page:
        token = request.get("NextToken")
        if token:
            # boto3's paginator sends the selector along with the token; the token decides.
            return decode_token(stream, token)
        if not request.get("FragmentSelector"):
            raise invalid_argument("Either FragmentSelector or NextToken must be specified.")
        now_ms = self._clock.now_ms()
        selector = decode_selector(request["FragmentSelector"])
        gone_ms = stream.oldest_ms(now_ms)
        if stream.retention_hours == 0 or selector.end_ms < gone_ms:
            end = datetime.fromtimestamp(selector.end_ms / 1000, UTC)
            raise invalid_argument(
                f"End timestamp {end:%a %b %d %H:%M:%S UTC %Y} "
                "is outside of the stream retention period."
            )
        return Page(selector, now_ms, 0)

    def _page_size(self, request: Mapping[str, Any]) -> int:
        asked = request.get("MaxResults")
        if asked is None:
            asked = _DEFAULT_PAGE
        if not isinstance(asked, int) or not 1 <= asked <= _LARGEST_PAGE:
            raise invalid_argument(f"MaxResults must be between 1 and {_LARGEST_PAGE}.")
        return min(asked, self.behaviour.page_limit or asked)

    def _listing(self, stream: Stream, page: Page) -> list[int]:
        """All numbers of the listing, in the order that its pages have; the last few are kept."""
        behaviour = self.behaviour
        with self._changed:
            key = (
                stream.arn,
                page.selector,
                page.as_of_ms,
                len(stream.numbers),
                behaviour.list_order,
                behaviour.listing_delay_ms,
                behaviour.seed,
                behaviour.unlisted_fragments,
                behaviour.empty_before_creation,
            )
            if key not in self._listings:
                if len(self._listings) >= 8:
                    self._listings.clear()
                self._listings[key] = select_numbers(stream, page, behaviour)
            return self._listings[key]

    # Media

    def _requested_fragments(self, stream: Stream, asked: object) -> list[StoredFragment]:
        if not isinstance(asked, list) or not 1 <= len(asked) <= _MOST_FRAGMENTS:
            raise invalid_argument(f"Fragments must hold 1 to {_MOST_FRAGMENTS} numbers.")
        now_ms = self._clock.now_ms()
        numbers = [int(text) if str(text).isdecimal() else -1 for text in asked]
        with self._changed:
            found = [stream.fragments.get(number) for number in numbers]
            extra = [stream.fragments[n] for n in self.behaviour.uninvited_fragments]
        unreadable = self.behaviour.unreadable_fragments
        fragments = [
            fragment
            for fragment in found
            if fragment is not None
            and stream.holds(fragment, now_ms)
            and fragment.number not in unreadable
        ]
        if len(fragments) < len(numbers):
            raise invalid_argument("Fragment numbers are invalid")
        return self._in_media_order(fragments + extra)

    def _in_media_order(self, fragments: list[StoredFragment]) -> list[StoredFragment]:
        order = self.behaviour.media_order
        if order == "number":
            return sorted(fragments, key=lambda fragment: fragment.number)
        if order == "random":
            random.Random(self.behaviour.seed).shuffle(fragments)  # noqa: S311 - an order
        return fragments

    def _listed_documents(self, fragments: Sequence[StoredFragment]) -> Iterator[bytes]:
        pacer = Pacer()
        for fragment in fragments:
            fault = self.faults.fragment_fault("GetMediaForFragmentList", fragment.number)
            if fault is None:
                documents = [fragment.document()]
            elif fault.kind == "left_out":
                documents = []
            elif fault.kind == "duplicated":
                documents = [fragment.document()] * 2
            else:
                documents = [encode_error(*fault.error, family=fault.kind)]
            for document in documents:
                pacer.take(len(document), self.behaviour.body_bytes_per_s)
                yield document
            if fault is not None and not fault.rest_follows:
                return

    def _live_documents(
        self,
        stream: Stream,
        selector: Mapping[str, Any],
        client_is_gone: Callable[[], bool],
    ) -> Iterator[bytes]:
        pacer = Pacer()
        ends_at = time.monotonic() + self.behaviour.get_media_limit_s
        position = self._position(stream, selector)
        if position is None:
            yield encode_error("FRAGMENT_NOT_FOUND", "4000", family="error")
            return
        while True:
            fragment = self._await_next(stream, position, ends_at, client_is_gone)
            if fragment is None:
                return
            position = fragment.number
            fault = self.faults.fragment_fault("GetMedia", fragment.number)
            if fault is not None and fault.kind in ("exception", "error"):
                yield encode_error(*fault.error, family=fault.kind)
                return
            if fault is not None and fault.kind == "left_out":
                continue
            document = self._live_document(fragment)
            pacer.take(len(document), self.behaviour.body_bytes_per_s)
            yield document

    def _live_document(self, fragment: StoredFragment) -> bytes:
        behind_ms = max(0, self._clock.now_ms() - fragment.server_end_ms)
        return fragment.document(encode_behind_now_tags(behind_ms, str(fragment.number)))

    def _position(self, stream: Stream, selector: Mapping[str, Any]) -> int | None:
        """The number after which GetMedia starts; None when the one given is not on the stream."""
        kind = selector["StartSelectorType"]
        now_ms = self._clock.now_ms()
        if kind == "EARLIEST":
            return -1
        if kind in ("FRAGMENT_NUMBER", "CONTINUATION_TOKEN"):
            name = "AfterFragmentNumber" if kind == "FRAGMENT_NUMBER" else "ContinuationToken"
            number = int(selector[name])
            with self._changed:
                fragment = stream.fragments.get(number)
            return number if fragment is not None and stream.holds(fragment, now_ms) else None
        at_ms = now_ms if kind == "NOW" else epoch_ms(selector["StartTimestamp"])
        by_producer = kind == "PRODUCER_TIMESTAMP"
        with self._changed:
            for before, number in zip([-1, *stream.numbers], stream.numbers, strict=False):
                fragment = stream.fragments[number]
                started_ms = (
                    fragment.producer_timestamp_ms if by_producer else fragment.server_timestamp_ms
                )
                # The fragment that contains the time, or else the first one after it.
                if started_ms + fragment.duration_ms > at_ms:
                    return before
            return stream.numbers[-1] if stream.numbers else -1

    def _await_next(
        self,
        stream: Stream,
        position: int,
        ends_at: float,
        client_is_gone: Callable[[], bool],
    ) -> StoredFragment | None:
        """The next fragment by number, as soon as it has arrived; None when the session is over."""
        while time.monotonic() < ends_at and self.streams.is_there(stream.arn):
            now_ms = self._clock.now_ms()
            with self._changed:
                at = bisect_right(stream.numbers, position)
                for number in stream.numbers[at : at + 1]:
                    fragment = stream.fragments[number]
                    if stream.holds(fragment, now_ms):
                        return fragment
                    if fragment.server_end_ms <= now_ms:
                        position = number
                        break
                else:
                    self._changed.wait(min(_LIVE_POLL_S, max(0.0, ends_at - time.monotonic())))
            if client_is_gone():
                return None
        return None


_SELECTOR_NEEDS: Final[Mapping[str, str | None]] = {
    "EARLIEST": None,
    "NOW": None,
    "FRAGMENT_NUMBER": "AfterFragmentNumber",
    "CONTINUATION_TOKEN": "ContinuationToken",
    "SERVER_TIMESTAMP": "StartTimestamp",
    "PRODUCER_TIMESTAMP": "StartTimestamp",
}


def _check_start_selector(selector: Mapping[str, Any]) -> None:
    kind = str(selector.get("StartSelectorType"))
    if kind not in _SELECTOR_NEEDS:
        raise invalid_argument(f"StartSelectorType is not valid: {kind}")
    needed = _SELECTOR_NEEDS[kind]
    if needed is not None and needed not in selector:
        raise invalid_argument(f"{kind} needs {needed}.")
    if needed in ("AfterFragmentNumber", "ContinuationToken"):
        value = str(selector[needed])
        if not value.isdecimal():
            raise invalid_argument(f"{needed} is not valid: {value}")
