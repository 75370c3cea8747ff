"""Moments → a call that ends at each of them, on its own stream.

All calls are cut out of the same two pieces of PCM, each from another place on, so that no two are
alike anywhere and a thousand take the memory of one.
"""

import hashlib
import io
import uuid
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.bodies import AGENT_SEED, CALL_SEED, CUSTOMER_SEED
from local.call import Call, simulate_call
from local.demo_call import INSTANCE_ARN
from local.pcm import BYTES_PER_SECOND, SAMPLE_BYTES, SAMPLE_RATE_HZ, synthetic_pcm

CALL_S: Final = 300
_STEP_BYTES: Final = 1024
"""Where the next call's PCM begins: the period of synthetic PCM's markers."""
_NAMESPACE: Final = uuid.UUID("6f0b2b0e-58a4-4b8f-9c43-0c1a2f6f7d10")
_STREAM: Final = (
    "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/"
    "call-archive-connect-load-contact-{contact_id}/1640168106910"
)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of shared PCM."""

    pcm: bytes
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, span: slice, /) -> bytes:
        start, stop, _ = span.indices(self.length)
        return self.pcm[self.start + start : self.start + stop]


@dataclass(frozen=True, slots=True)
class LoadCall:
    """A call and its recording's SHA-256, as Python's `wave` would write it."""

    call: Call
    sha256: str


def build_calls(seconds: int, name: str, ends_at_ms: Sequence[int]) -> Iterator[LoadCall]:
    """Calls of equal length, one for each end.

    Args:
        seconds: the length of each.
        name: calls of other names are other contacts.
        ends_at_ms: when the last fragment was spoken, ms since the epoch.
    """
    sides = [_pcm(seconds, len(ends_at_ms), seed) for seed in (CUSTOMER_SEED, AGENT_SEED)]
    for index, end_ms in enumerate(ends_at_ms):
        customer, agent = (
            Window(side, index * _STEP_BYTES, seconds * BYTES_PER_SECOND) for side in sides
        )
        contact_id = str(uuid.uuid5(_NAMESPACE, f"{name} {index}"))
        call = simulate_call(
            customer,
            agent,
            contact_id=contact_id,
            instance_arn=INSTANCE_ARN,
            stream_arn=_STREAM.format(contact_id=contact_id),
            start_ms=end_ms - seconds * 1000,
            seed=CALL_SEED + index,
        )
        yield LoadCall(call, _wav_sha256(customer))


def _pcm(seconds: int, count: int, seed: int) -> bytes:
    pcm = synthetic_pcm(seconds + count * _STEP_BYTES / BYTES_PER_SECOND, seed)
    return pcm[0 : len(pcm)]


def _wav_sha256(pcm: Window) -> str:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(SAMPLE_BYTES)
        recording.setframerate(SAMPLE_RATE_HZ)
        recording.writeframes(pcm[0 : len(pcm)])
    return hashlib.sha256(file.getbuffer()).hexdigest()
