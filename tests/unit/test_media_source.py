"""A list that understates its fragments' sizes does not fill the memory."""

import io
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from call_archive.aws.endpoints import DataEndpoints
from call_archive.aws.kvs import StreamReader
from call_archive.recording.listing import ListedFragment, ReceivedFragment
from call_archive.recording.retrieval import MAX_HELD_BYTES
from local.call import StoredFragment, simulate_call
from local.pcm import synthetic_pcm

ARN = "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/s/1640168106910"
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
        instance_arn="arn:aws:connect:eu-west-2:123456789012:instance/i-1",
        stream_arn=ARN,
        start_ms=1_767_258_000_000,
    )
    return tuple(call.fragments)


def test_sizes_that_lie(fragments: tuple[StoredFragment, ...]) -> None:
    media = Media(fragments)
    endpoints = DataEndpoints(media, lambda _: media)  # type: ignore[arg-type,return-value] # fakes
    reader = StreamReader(endpoints, ARN, check_time=lambda: None, sleep=lambda _: None)
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
