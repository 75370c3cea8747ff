"""Inputs: seeded calls from the local encoder → media bodies as files under .bench/bodies.

A body is what GetMediaForFragmentList sends for a whole call: its fragments one behind the other.
The same seed gives the same bytes, so a body is made once and kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.measure import WORK
from local.call import Call, Delivery, simulate_call
from local.demo_call import CONTACT_ID, INSTANCE_ARN, START_MS
from local.pcm import SyntheticPcm, synthetic_pcm

MINUTE_S: Final = 60
HOUR_S: Final = 3600
HALF_DAY_S: Final = 12 * HOUR_S

CUSTOMER_SEED: Final = 20_261_101
AGENT_SEED: Final = 20_261_102
CALL_SEED: Final = 20_261_103
WRITE_BYTES: Final = 1_048_576
_STREAM: Final = (
    "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/"
    "call-archive-connect-bench-contact-{seconds:012}/1640168106910"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BodySpec:
    """A body's call; the defaults are the reference: fragments of 1,024 ms, blocks of 64 ms.

    Attributes:
        honest_tracks: TrackEntries that FFmpeg can open; Connect's lack the Audio element.
    """

    seconds: int
    fragment_ms: int = 1024
    block_bytes: int = 1024
    honest_tracks: bool = False

    @property
    def path(self) -> Path:
        """Where the body is kept; the name holds all that it depends on."""
        honest = "-honest" if self.honest_tracks else ""
        name = f"{self.seconds}s-{self.fragment_ms}ms-{self.block_bytes}b-{CALL_SEED}{honest}.mkv"
        return WORK / "bodies" / name

    def build_call(self) -> Call:
        """The call; its fragments are encoded when they are asked for."""
        return simulate_call(
            customer_pcm(self.seconds),
            agent_pcm(self.seconds),
            contact_id=CONTACT_ID,
            instance_arn=INSTANCE_ARN,
            stream_arn=_STREAM.format(seconds=self.seconds),
            start_ms=START_MS - self.seconds * 1000,
            seed=CALL_SEED,
            delivery=Delivery(
                fragment_ms=self.fragment_ms,
                block_bytes=self.block_bytes,
                honest_tracks=self.honest_tracks,
            ),
        )


def customer_pcm(seconds: int) -> SyntheticPcm:
    """What the customer says."""
    return synthetic_pcm(seconds, CUSTOMER_SEED)


def agent_pcm(seconds: int) -> SyntheticPcm:
    """What the agent says."""
    return synthetic_pcm(seconds, AGENT_SEED)


def make_body(spec: BodySpec) -> Path:
    """The body as a file; written fragment by fragment if it does not exist yet."""
    if not spec.path.exists():
        spec.path.parent.mkdir(parents=True, exist_ok=True)
        partial = spec.path.with_suffix(".partial")
        with partial.open("wb", buffering=WRITE_BYTES) as body:
            body.writelines(_documents(spec))
        partial.replace(spec.path)
    return spec.path


def _documents(spec: BodySpec) -> Iterator[bytes]:
    return (fragment.document() for fragment in spec.build_call().fragments)
