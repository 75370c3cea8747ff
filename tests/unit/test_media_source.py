"""Bodies are read as the retrieval says, closed however it ends, and do not fill the memory."""

import io
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from call_archive.aws.endpoints import KEPT_ENDPOINTS, DataEndpoints
from call_archive.aws.pace import MediaPace
from call_archive.aws.stream_reader import StreamReader
from call_archive.errors import OutOfTimeError, StreamFaultError
from call_archive.moments import to_datetime
from call_archive.reasons import Code
from call_archive.recording.listing import ListedFragment, MissingFragment, ReceivedFragment
from call_archive.recording.retrieval import BATCH_FRAGMENTS, MAX_HELD_BYTES, THROTTLED_S
from local.call import Delivery, StoredFragment, simulate_call
from local.encoder import encode_error
from local.pcm import synthetic_pcm
from tests.support.arns import INSTANCE_ARN, STREAM_ARN

FRAGMENTS = 40


class Body(io.RawIOBase):
    """A media body whose documents are made as they are read."""

    def __init__(self, documents: Iterator[bytes]) -> None:
        self._documents = documents
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._documents, b"")
        read, self._rest = self._rest[:size], self._rest[size:]
        return read


class Media:
    """GetMediaForFragmentList that answers in reverse, with a megabyte of padding in each."""

    def __init__(self, fragments: Sequence[StoredFragment]) -> None:
        self._fragments = {fragment.number: fragment for fragment in fragments}

    def get_data_endpoint(self, **_: str) -> Any:
        return {"DataEndpoint": "http://media"}

    def get_media_for_fragment_list(self, *, StreamARN: str, Fragments: list[str]) -> Any:  # noqa: N803 - boto3's names
        return {"Payload": Body(self.documents([int(number) for number in Fragments]))}

    def documents(self, numbers: list[int]) -> Iterator[bytes]:
        void = b"\xec" + (1 << 56 | 1 << 20).to_bytes(8) + bytes(1 << 20)
        for number in reversed(numbers):
            yield self._fragments[number].document() + void


@pytest.fixture
def fragments() -> tuple[StoredFragment, ...]:
    pcm = synthetic_pcm(FRAGMENTS * 0.96, 1)
    call = simulate_call(
        pcm[:],
        pcm[:],
        contact_id="c-1",
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=1_767_258_000_000,
    )
    return tuple(call.fragments)


def test_sizes_that_lie(fragments: tuple[StoredFragment, ...]) -> None:
    media = Media(fragments)
    endpoints = DataEndpoints(media, lambda _: media)  # type: ignore[arg-type,return-value] # fakes
    reader = StreamReader(endpoints, STREAM_ARN, check_time=lambda: None, sleep=lambda _: None)
    listed = [ListedFragment(f.number, f.server_timestamp_ms, 960, 100) for f in fragments]
    tracemalloc.start()
    try:
        received = [
            delivery.media.number if isinstance(delivery, ReceivedFragment) else None
            for delivery in reader.fetch(listed)
        ]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert received == [fragment.number for fragment in fragments]
    assert peak < MAX_HELD_BYTES + 8 * 1_048_576


# ---------------------------------------------------------------------------- no body stays open


class OpenBody(io.BytesIO):
    """A media body that may break after a number of reads, and knows whether it was closed."""

    def __init__(self, content: bytes, *, breaks_after: int | None = None) -> None:
        super().__init__(content)
        self._reads_left = breaks_after

    def read(self, size: int | None = -1) -> bytes:
        if self._reads_left is not None:
            if not self._reads_left:
                raise ConnectionResetError
            self._reads_left -= 1
        return super().read(min(size or 500, 500))


class Bodies:
    """GetMediaForFragmentList with bodies that are counted.

    Attributes:
        opened: every body that was given.
        breaks_after: reads after which each of the next bodies breaks.
    """

    def __init__(self, call: Sequence[StoredFragment]) -> None:
        self._documents = {fragment.number: fragment.document() for fragment in call}
        self.opened: list[OpenBody] = []
        self.breaks_after: list[int] = []

    def get_data_endpoint(self, **_: str) -> Any:
        return {"DataEndpoint": "http://media"}

    def get_media_for_fragment_list(self, *, StreamARN: str, Fragments: list[str]) -> Any:  # noqa: N803 - boto3's names
        content = b"".join(self._documents[int(number)] for number in Fragments)
        breaks_after = self.breaks_after.pop(0) if self.breaks_after else None
        body = OpenBody(content, breaks_after=breaks_after)
        self.opened.append(body)
        return {"Payload": body}


def many(count: int) -> tuple[StoredFragment, ...]:
    """More fragments than a batch has, of a tenth of a second each."""
    pcm = synthetic_pcm(count * 0.128, 1)
    return simulate_call(
        pcm[:],
        None,
        contact_id="c-1",
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=1_767_258_000_000,
        delivery=Delivery(fragment_ms=128),
    ).fragments


LONG = many(2 * BATCH_FRAGMENTS + 3)
LISTED = [ListedFragment(f.number, f.server_timestamp_ms, 64, f.size_bytes) for f in LONG]


class Deadline:
    """A run's time, over after a number of looks."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def check(self) -> None:
        self._looks -= 1
        if self._looks < 0:
            raise OutOfTimeError(Code.OUT_OF_TIME, "over")


def reader_of(
    bodies: Bodies, looks: int = 1000, sleep: Callable[[float], None] = lambda _: None
) -> StreamReader:
    endpoints = DataEndpoints(bodies, lambda _: bodies)  # type: ignore[arg-type,return-value] # a fake
    pace = MediaPace(lambda _: None)
    return StreamReader(endpoints, STREAM_ARN, Deadline(looks).check, sleep, pace)


def numbers_of(deliveries: Iterable[ReceivedFragment | MissingFragment]) -> list[int | None]:
    return [
        delivery.media.number if isinstance(delivery, ReceivedFragment) else -1
        for delivery in deliveries
    ]


def test_every_body_is_read_and_closed() -> None:
    bodies = Bodies(LONG)
    assert numbers_of(reader_of(bodies).fetch(LISTED)) == [f.number for f in LONG]
    assert len(bodies.opened) == 3
    assert all(body.closed for body in bodies.opened)


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_no_body_stays_open_when_the_time_is_over(looks: int) -> None:
    """Bodies are asked for one batch ahead: the next one is there when the run ends."""
    bodies = Bodies(LONG)
    with pytest.raises(OutOfTimeError):
        list(reader_of(bodies, looks).fetch(LISTED))
    assert len(bodies.opened) == looks
    assert all(body.closed for body in bodies.opened)


@pytest.mark.parametrize("taken", [0, 1, BATCH_FRAGMENTS, BATCH_FRAGMENTS + 1])
def test_no_body_stays_open_when_nobody_takes_more(taken: int) -> None:
    bodies = Bodies(LONG)
    deliveries = reader_of(bodies).fetch(LISTED)
    for _ in range(taken):
        next(deliveries)
    deliveries.close()
    assert all(body.closed for body in bodies.opened)


@pytest.mark.parametrize("breaks_after", [[0], [1], [40], [0, 0, 0], [3, 0, 40, 1]])
def test_body_that_breaks_is_closed_and_the_rest_asked_for(breaks_after: list[int]) -> None:
    bodies = Bodies(LONG)
    bodies.breaks_after = breaks_after
    assert numbers_of(reader_of(bodies).fetch(LISTED)) == [f.number for f in LONG]
    assert all(body.closed for body in bodies.opened)


def test_body_that_was_asked_for_beforehand_is_closed_when_the_stream_is_refused() -> None:
    class Key(Bodies):
        def get_media_for_fragment_list(self, **request: Any) -> Any:
            answer = super().get_media_for_fragment_list(**request)
            document = encode_error("AN_ERROR", "4500", "error")
            answer["Payload"] = OpenBody(document)
            self.opened[-1] = answer["Payload"]
            return answer

    bodies = Key(LONG)
    with pytest.raises(StreamFaultError, match="error document"):
        list(reader_of(bodies).fetch(LISTED))
    assert all(body.closed for body in bodies.opened)


class Refusing(Bodies):
    """The same, but the next calls are refused."""

    def __init__(self, call: Sequence[StoredFragment], *codes: str) -> None:
        super().__init__(call)
        self.codes = list(codes)
        self.listings = 0

    def get_media_for_fragment_list(self, **request: Any) -> Any:
        if self.codes and (code := self.codes.pop(0)):
            raise ClientError({"Error": {"Code": code, "Message": ""}}, "X")
        return super().get_media_for_fragment_list(**request)

    def list_fragments(self, **_: Any) -> Any:
        self.listings += 1
        return {
            "Fragments": [
                {
                    "FragmentNumber": str(fragment.number),
                    "ServerTimestamp": to_datetime(fragment.server_timestamp_ms),
                }
                for fragment in LONG
            ]
        }


def test_throttled_call_is_made_again_after_a_wait() -> None:
    bodies, waits = Refusing(LONG, "", "ClientLimitExceededException"), list[float]()
    deliveries = reader_of(bodies, sleep=waits.append).fetch(LISTED)
    assert numbers_of(deliveries) == [f.number for f in LONG]
    assert len(waits) == 1
    assert THROTTLED_S[0] <= waits[0] <= THROTTLED_S[1]


def test_invalid_numbers_are_listed_again() -> None:
    bodies = Refusing(LONG, "InvalidArgumentException")
    assert numbers_of(reader_of(bodies).fetch(LISTED)) == [f.number for f in LONG]
    assert bodies.listings == 1


def test_error_document_is_asked_about_again() -> None:
    class Once(Bodies):
        def get_media_for_fragment_list(self, **request: Any) -> Any:
            answer = super().get_media_for_fragment_list(**request)
            if len(self.opened) == 1:
                answer["Payload"] = self.opened[0] = OpenBody(encode_error("E", "3000", "error"))
            return answer

    bodies = Once(LONG[:3])
    assert numbers_of(reader_of(bodies).fetch(LISTED[:3])) == [f.number for f in LONG[:3]]


def test_answer_that_is_not_ebml_is_asked_for_again() -> None:
    class Garbage(Bodies):
        def get_media_for_fragment_list(self, **request: Any) -> Any:
            answer = super().get_media_for_fragment_list(**request)
            if len(self.opened) == 1:
                answer["Payload"] = self.opened[0] = OpenBody(b"<html>")
            return answer

    bodies = Garbage(LONG[:3])
    assert numbers_of(reader_of(bodies).fetch(LISTED[:3])) == [f.number for f in LONG[:3]]


def test_answer_that_was_asked_for_beforehand_may_be_a_refusal() -> None:
    bodies = Refusing(LONG, "", *["NotAuthorizedException"] * 2)
    deliveries = reader_of(bodies).fetch(LISTED)
    next(deliveries)
    deliveries.close()
    assert all(body.closed for body in bodies.opened)


# ------------------------------------------------------------------------------- data endpoints


def test_endpoints_are_kept_for_the_streams_used_last() -> None:
    asked: list[str] = []

    class Control:
        def get_data_endpoint(self, *, StreamARN: str, APIName: str) -> Any:  # noqa: N803 - boto3's names
            asked.append(StreamARN)
            return {"DataEndpoint": f"{StreamARN}/{APIName}"}

    endpoints = DataEndpoints(Control(), lambda endpoint: endpoint)  # type: ignore[arg-type,return-value] # fakes
    for number in range(KEPT_ENDPOINTS + 1):
        endpoints.client(f"s{number}", "LIST_FRAGMENTS")
    endpoints.client("s1", "LIST_FRAGMENTS")
    assert len(asked) == KEPT_ENDPOINTS + 1
    endpoints.client("s0", "LIST_FRAGMENTS")
    assert asked[-1] == "s0"
    endpoints.forget("s2")
    endpoints.client("s2", "LIST_FRAGMENTS")
    assert asked[-1] == "s2"
