"""The calls of one stream: pages of every shape, and how a call for media fails."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from call_archive.aws.endpoints import DataEndpoints
from call_archive.aws.stream_reader import StreamReader
from call_archive.errors import StreamFaultError
from call_archive.recording.listing import ListedFragment
from call_archive.recording.retrieval import Broken, Refused

CREATED_MS = 1_640_168_106_910
ARN = f"arn:aws:kinesisvideo:eu-west-2:123456789012:stream/s/{CREATED_MS}"
NUMBER = 91343852333181452199722691208580038832309429352
HOUR_MS = 3_600_000


def entry(sequence: int, **facts: object) -> dict[str, Any]:
    return {
        "FragmentNumber": str(NUMBER + sequence),
        "ServerTimestamp": datetime.fromtimestamp(CREATED_MS / 1000 + sequence, UTC),
        "ProducerTimestamp": datetime.fromtimestamp(CREATED_MS / 1000 + sequence + 1, UTC),
        "FragmentLengthInMilliseconds": 896,
        "FragmentSizeInBytes": 33_000,
        **facts,
    }


def refused(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item] # as much as is read
        "X",
    )


class Kvs:
    """KVS with answers written out; an exception among them is raised.

    Attributes:
        ranges: (from, to) of each listing, ms since the epoch.
        endpoints: how often GetDataEndpoint was called.
    """

    def __init__(self, pages: Sequence[object] = (), media: Sequence[object] = ()) -> None:
        self._pages, self._media = list(pages), list(media)
        self.ranges: list[tuple[int, int]] = []
        self.endpoints = 0
        self.no_endpoint: Exception | None = None

    def get_data_endpoint(self, **_: str) -> dict[str, str]:
        self.endpoints += 1
        if self.no_endpoint is not None:
            raise self.no_endpoint
        return {"DataEndpoint": "https://s.kinesisvideo"}

    def list_fragments(self, **request: Any) -> Any:
        if "NextToken" not in request:
            bounds = request["FragmentSelector"]["TimestampRange"]
            times = (bounds["StartTimestamp"], bounds["EndTimestamp"])
            self.ranges.append(tuple(round(time.timestamp() * 1000) for time in times))
        return self._next(self._pages)

    def get_media_for_fragment_list(self, **_: object) -> Any:
        return self._next(self._media)

    def _next(self, answers: list[object]) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def reader(kvs: Kvs, waits: list[float] | None = None) -> StreamReader:
    endpoints = DataEndpoints(kvs, lambda _: kvs)  # type: ignore[arg-type,return-value] # a fake
    slept: list[float] = [] if waits is None else waits
    return StreamReader(endpoints, ARN, check_time=lambda: None, sleep=slept.append)


def numbers(kvs: Kvs, from_ms: int = CREATED_MS, to_ms: int = CREATED_MS + HOUR_MS) -> list[int]:
    return [fragment.number - NUMBER for fragment in reader(kvs).list_fragments(from_ms, to_ms)]


@pytest.mark.parametrize(
    "pages",
    [
        [{}],
        [{"Fragments": []}],
        [{"Fragments": None}],
        [{"NextToken": "1"}, {"NextToken": "2", "Fragments": None}, {}],
    ],
)
def test_answer_without_fragments_is_an_empty_page(pages: list[Mapping[str, object]]) -> None:
    assert numbers(Kvs(pages)) == []


@pytest.mark.parametrize("fragments", [{}, {"Fragments": None}])
def test_an_answer_whose_headers_were_cut_is_no_empty_page(fragments: dict[str, None]) -> None:
    """What botocore makes of it: 200, no members, and not the id that every answer has."""
    cut = {**fragments, "ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {}}}
    with pytest.raises(StreamFaultError) as caught:
        numbers(Kvs([{"Fragments": [entry(1)], "NextToken": "1"}, cut]))
    assert caught.value.code == "KVS_MALFORMED_ANSWER"
    whole = {**fragments, "ResponseMetadata": {"HTTPStatusCode": 200, "RequestId": "1"}}
    assert numbers(Kvs([{"Fragments": [entry(1)], "NextToken": "1"}, whole])) == [1]


def test_listing_goes_on_behind_an_empty_page() -> None:
    pages = [
        {"Fragments": [entry(1)], "NextToken": "1"},
        {"NextToken": "2"},
        {"Fragments": [entry(2)], "NextToken": "3"},
        {},
    ]
    assert numbers(Kvs(pages)) == [1, 2]


@pytest.mark.parametrize(
    "lacks",
    [
        "ServerTimestamp",
        "ProducerTimestamp",
        "FragmentLengthInMilliseconds",
        "FragmentSizeInBytes",
    ],
)
def test_fact_that_is_not_listed_is_unknown(lacks: str) -> None:
    described = entry(1)
    del described[lacks]
    (listed,) = reader(Kvs([{"Fragments": [described]}])).list_fragments(CREATED_MS, CREATED_MS + 1)
    assert listed.count(0) + listed.count(None) == 1


def test_fragment_without_a_number_is_a_malformed_answer() -> None:
    with pytest.raises(StreamFaultError) as failed:
        numbers(Kvs([{"Fragments": [{**entry(1), "FragmentNumber": "x"}]}]))
    assert failed.value.code == "KVS_MALFORMED_ANSWER"


# ------------------------------------------------------------------------------- the range's start


def test_nothing_is_listed_before_the_stream_was_created() -> None:
    """A range that begins before may come back empty."""
    kvs = Kvs([{"Fragments": [entry(1)]}])
    numbers(kvs, CREATED_MS - HOUR_MS)
    assert kvs.ranges == [(CREATED_MS, CREATED_MS + HOUR_MS)]


def test_range_behind_the_creation_stays_as_it_is() -> None:
    kvs = Kvs([{}])
    numbers(kvs, CREATED_MS + 1, CREATED_MS + HOUR_MS)
    assert kvs.ranges == [(CREATED_MS + 1, CREATED_MS + HOUR_MS)]


@pytest.mark.parametrize("before_ms", [0, 1, HOUR_MS])
def test_range_that_ends_before_the_creation_is_not_made_empty(before_ms: int) -> None:
    kvs = Kvs([{}])
    numbers(kvs, CREATED_MS - 2 * HOUR_MS, CREATED_MS - before_ms)
    assert kvs.ranges == [(CREATED_MS - 2 * HOUR_MS, CREATED_MS - before_ms)]


# ---------------------------------------------------------------------------------- still listed


def listed(sequence: int, time_ms: int) -> ListedFragment:
    return ListedFragment(NUMBER + sequence, time_ms, 896, 33_000)


def test_what_is_not_listed_any_more_is_gone() -> None:
    fragments = [listed(at, CREATED_MS + at * 1000) for at in (1, 2)]
    kvs = Kvs([{"Fragments": [entry(2)]}])
    assert reader(kvs).still_listed(fragments) == {NUMBER + 2}


def test_what_was_listed_without_a_time_is_not_called_gone() -> None:
    """Nothing says when it was: it may be outside the range that is listed again."""
    fragments = [listed(1, 0), listed(2, CREATED_MS + 2000)]
    kvs = Kvs([{"Fragments": [entry(2)]}])
    assert reader(kvs).still_listed(fragments) == {NUMBER + 1, NUMBER + 2}
    assert min(kvs.ranges)[0] >= CREATED_MS


def test_without_any_time_nothing_is_listed_again() -> None:
    kvs = Kvs()
    assert reader(kvs).still_listed([listed(1, 0), listed(2, 0)]) == {NUMBER + 1, NUMBER + 2}
    assert kvs.ranges == []


def test_times_that_repeat_are_listed_with_room_around_them() -> None:
    kvs = Kvs([{"Fragments": [entry(60), entry(61)]}])
    fragments = [listed(at, CREATED_MS + 60_000) for at in (60, 61)]
    assert len(reader(kvs).still_listed(fragments)) == 2
    ((from_ms, to_ms),) = kvs.ranges
    assert from_ms <= CREATED_MS + 1_000
    assert to_ms >= CREATED_MS + 120_000


def test_range_outside_retention_holds_nothing_any_more() -> None:
    kvs = Kvs([refused("InvalidArgumentException"), refused("InvalidArgumentException")])
    assert reader(kvs).still_listed([listed(1, CREATED_MS), listed(2, CREATED_MS)]) == set()


def test_refusal_to_list_again_is_a_failure() -> None:
    kvs = Kvs([refused("NotAuthorizedException", 401), refused("NotAuthorizedException", 401)])
    with pytest.raises(StreamFaultError, match="role"):
        reader(kvs).still_listed([listed(1, CREATED_MS), listed(2, CREATED_MS)])


# ------------------------------------------------------------------------------------ the calls


def test_page_over_the_quota_is_asked_for_again() -> None:
    waits: list[float] = []
    throttle = refused("ClientLimitExceededException")
    kvs = Kvs([throttle, throttle, throttle, {"Fragments": [entry(1)]}])
    list(reader(kvs, waits).list_fragments(CREATED_MS, CREATED_MS + 1))
    assert waits == [0.2, 0.5, 1.0]


def test_failed_listing_asks_for_the_endpoint_again() -> None:
    kvs = Kvs([refused("ResourceNotFoundException", 404), {"Fragments": [entry(1)]}])
    assert numbers(kvs) == [1]
    assert kvs.endpoints == 2


@pytest.mark.parametrize(
    ("answer", "code", "is_refused"),
    [
        (refused("NotAuthorizedException", 401), "KVS_NotAuthorizedException", True),
        (refused("ClientLimitExceededException"), "KVS_ClientLimitExceededException", True),
        (EndpointConnectionError(endpoint_url="x"), "KVS_UNREACHABLE", False),
        (ResponseParserError("not UTF-8"), "KVS_MALFORMED_ANSWER", False),
        ({}, "KVS_MALFORMED_ANSWER", False),
    ],
)
def test_call_for_media_that_fails_says_how(answer: object, code: str, *, is_refused: bool) -> None:
    how = reader(Kvs(media=[answer])).open_media([NUMBER])
    assert isinstance(how, Refused if is_refused else Broken)
    assert how.failure.code == code


def test_endpoint_that_nobody_names_is_said_or_asked_for_again() -> None:
    kvs = Kvs()
    kvs.no_endpoint = EndpointConnectionError(endpoint_url="x")
    assert isinstance(reader(kvs).open_media([NUMBER]), Broken)
    kvs.no_endpoint = refused("ResourceNotFoundException", 404)
    with pytest.raises(StreamFaultError, match="deleted"):
        reader(kvs).open_media([NUMBER])
