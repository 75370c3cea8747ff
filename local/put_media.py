"""PutMedia: a producer's body, as it arrives → stored fragments and acknowledgements.

Each acknowledgement is one flat JSON object, as the service really sends them (its documentation
wraps them). BUFFERING when a fragment begins, RECEIVED when it is whole, PERSISTED when it is
stored and the stream has retention; IDLE, and the end, after 30 s without a byte; ERROR, and the
end. What is read back has a header for each fragment, AWS's tags before its Cluster and the
producer's behind it.

Sources: PutMedia in the KVS API reference; acknowledgements recorded in AWS's producer SDKs. How
the service slows down who sends too many fragments is not documented: here it reads no faster.
"""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from local.call import StoredFragment
from local.clock import Clock
from local.encoder import (
    CLUSTER_ID,
    SEGMENT_ID,
    UNKNOWN_SIZE_8,
    encode_aws_tags,
    encode_ebml_header,
    fragment_number,
)
from local.faults import BrokenConnectionError, FaultPlan, invalid_argument
from local.ingest import ERRORS, FragmentBegun, FragmentEnded, Ingest, IngestError
from local.quotas import Pacer
from local.stream import Stream

type Json = dict[str, Any]

_POLL_S: Final = 0.05


class Body(Protocol):
    """A request's body as it arrives."""

    def receive(self, timeout_s: float | None) -> bytes | None:
        """The next bytes; b"" at the end; None if nothing has come in time."""


@dataclass(frozen=True, slots=True)
class PutMediaRequest:
    """The request's headers, checked."""

    stream: Mapping[str, str]
    is_absolute: bool
    start_ms: int


def decode_put_media(headers: Mapping[str, str]) -> PutMediaRequest:
    """The headers of a PutMedia request, or a ServiceError."""
    name, arn = headers.get("x-amzn-stream-name"), headers.get("x-amzn-stream-arn")
    if bool(name) == bool(arn):
        raise invalid_argument("Either StreamName or StreamARN must be specified, not both.")
    kind = headers.get("x-amzn-fragment-timecode-type")
    if kind not in ("ABSOLUTE", "RELATIVE"):
        raise invalid_argument(f"FragmentTimecodeType is not valid: {kind}")
    started = headers.get("x-amzn-producer-start-timestamp", "")
    try:
        start_ms = round(float(started) * 1000)
    except ValueError as error:
        raise invalid_argument(f"ProducerStartTimestamp is not valid: {started}") from error
    stream = {"StreamName": name} if name else {"StreamARN": arn or ""}
    return PutMediaRequest(stream, kind == "ABSOLUTE", start_ms)


@dataclass(slots=True)
class PutMediaSession:
    """One PutMedia request that was admitted.

    Attributes:
        store: takes a whole fragment.
        is_open: whether the stream is still there and ACTIVE.
        is_stopping: whether the service is to let go.
    """

    stream: Stream
    request: PutMediaRequest
    clock: Clock
    faults: FaultPlan
    store: Callable[[StoredFragment], None]
    is_open: Callable[[], bool]
    is_stopping: Callable[[], bool]
    _ingest: Ingest = field(default_factory=Ingest)
    _persisted: list[tuple[float, Json]] = field(default_factory=list)
    _number: int = 0
    _server_ms: int = 0
    _begun: int = 0
    _ended: int = 0
    _is_silent: bool = False

    def run(self, body: Body) -> Iterator[bytes]:
        """The acknowledgements, as they are due."""
        pacer = Pacer()
        self.stream.sessions += 1
        silent_since = time.monotonic()
        try:
            while True:
                yield from self._due()
                received = body.receive(_POLL_S)
                if self.is_stopping():
                    return
                if received is None:
                    if time.monotonic() - silent_since >= self.faults.behaviour.put_media_idle_s:
                        yield _encode({"EventType": "IDLE"})
                        return
                    continue
                silent_since = time.monotonic()
                events = self._ingest.receive(received) if received else self._ingest.finish()
                for event in events:
                    yield from self._acknowledge(event, pacer)
                    if self._is_silent:
                        yield from _swallow(
                            body, self.is_stopping, self.faults.behaviour.put_media_idle_s
                        )
                        return
                if not received:
                    break
            while self._persisted:
                yield from self._due()
                time.sleep(_POLL_S if self._persisted else 0)
        except IngestError as error:
            yield _encode(_error(error.error_id, error.timecode_ms))

    def _acknowledge(self, event: FragmentBegun | FragmentEnded, pacer: Pacer) -> Iterator[bytes]:
        if isinstance(event, FragmentBegun):
            pacer.take(1, self.faults.behaviour.put_media_fragments_per_s)
            self._begin()
            yield _encode(self._event("BUFFERING", event))
            return
        if not self.is_open():
            raise IngestError(4008, event.timecode_ms)
        self._strike(event)
        if self._is_silent:
            return
        self.store(self._fragment(event))
        self._ended += 1
        yield _encode(self._event("RECEIVED", event))
        if self.stream.retention_hours:
            due = time.monotonic() + self.faults.behaviour.persist_delay_ms / 1000
            self._persisted.append((due, self._event("PERSISTED", event)))

    def _begin(self) -> None:
        self._begun += 1
        self._server_ms = max(self.clock.now_ms(), self._server_ms + 1)
        sequence = self.stream.sessions * 1000 + self._begun
        chance = random.Random(sequence)  # noqa: S311 - a number, not a secret
        self._number = fragment_number(sequence, self._server_ms, chance.getrandbits(28))

    def _strike(self, event: FragmentEnded) -> None:
        """Does what a fault wants with this fragment."""
        fault = self.faults.put_media_fault(self._ended)
        if fault is None:
            return
        if fault.kind == "error":
            raise IngestError(fault.error_id, event.timecode_ms)
        if fault.kind == "reset":
            raise BrokenConnectionError("reset")
        self._is_silent = True

    def _due(self) -> Iterator[bytes]:
        now = time.monotonic()
        while self._persisted and self._persisted[0][0] <= now:
            yield _encode(self._persisted.pop(0)[1])

    def _event(self, kind: str, event: FragmentBegun | FragmentEnded) -> Json:
        return {
            "EventType": kind,
            "FragmentTimecode": event.timecode_ms,
            "FragmentNumber": str(self._number),
        }

    def _fragment(self, event: FragmentEnded) -> StoredFragment:
        number, server_ms = self._number, self._server_ms
        start_ms = 0 if self.request.is_absolute else self.request.start_ms
        producer_ms = start_ms + event.timecode_ms

        def encode(trailing_tags: bytes) -> bytes:
            return b"".join(
                (
                    encode_ebml_header(),
                    SEGMENT_ID,
                    UNKNOWN_SIZE_8,
                    event.head,
                    encode_aws_tags(number, server_ms, producer_ms),
                    CLUSTER_ID,
                    UNKNOWN_SIZE_8,
                    event.cluster,
                    event.tags,
                    trailing_tags,
                )
            )

        return StoredFragment(
            number, server_ms, producer_ms, event.duration_ms, len(encode(b"")), encode
        )


def _swallow(body: Body, is_stopping: Callable[[], bool], silent_s: float) -> Iterator[bytes]:
    """Takes what still comes, and says nothing, also behind the end."""
    until = time.monotonic() + silent_s
    while time.monotonic() < until and not is_stopping():
        if body.receive(_POLL_S) == b"":
            time.sleep(_POLL_S)
        yield b""


def _error(error_id: int, timecode_ms: int | None) -> Json:
    told: Json = {"EventType": "ERROR", "ErrorCode": ERRORS[error_id], "ErrorId": error_id}
    return told if timecode_ms is None else {**told, "FragmentTimecode": timecode_ms}


def _encode(acknowledgement: Json) -> bytes:
    return json.dumps(acknowledgement, separators=(",", ":")).encode()
