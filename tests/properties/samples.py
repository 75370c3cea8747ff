"""Small real-looking bodies, made by our own encoder, and the journey of their bytes."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import decode_audio, decode_fragment
from call_archive.media.pcm import Direction
from call_archive.recording.timeline import Timeline
from call_archive.recording.wav import StereoMixer, build_header
from local.call import Delivery, simulate_call
from local.encoder import CONNECT, SDK_PRODUCER, Layout
from local.pcm import synthetic_pcm
from tests.support.arns import INSTANCE_ARN, STREAM_ARN

BOTH = tuple(Direction)
START_MS = 1_767_258_000_000
LAYOUTS = {
    "connect": CONNECT,
    "tags_first": Layout(contact_tags_before_cluster=True, cluster_size="unknown1"),
    "known": Layout(segment_size_known=True, cluster_size="known", unregistered_in_cluster=True),
    "sdk_producer": SDK_PRODUCER,
}


@cache
def documents(
    layout: str, seconds: float = 0.4, fragment_ms: int = 128, block_bytes: int = 128
) -> tuple[bytes, ...]:
    """The fragments of a short call, small enough to try every cut."""
    call = simulate_call(
        synthetic_pcm(seconds, 1)[:],
        synthetic_pcm(seconds, 2)[:],
        contact_id="c-1",
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=START_MS,
        delivery=Delivery(layout=LAYOUTS[layout], fragment_ms=fragment_ms, block_bytes=block_bytes),
    )
    return tuple(fragment.document() for fragment in call.fragments)


def record(reads: Iterable[bytes]) -> bytes:
    """The stereo WAV of a body: every stage that sees bytes from KVS."""
    timeline, mixer = Timeline(BOTH), StereoMixer()
    pcm: list[bytes | bytearray] = []
    for fragment in read_fragments(reads):
        media = decode_fragment(fragment)
        audio = decode_audio(fragment, BOTH)
        if audio is not None:
            pieces = timeline.place(audio, media.server_timestamp_ms)
            pcm += mixer.mix(*(pieces[direction] for direction in BOTH))
    rest = timeline.finish()
    pcm += mixer.mix(*(rest[direction] for direction in BOTH))
    return build_header(sum(map(len, pcm)), 2) + b"".join(pcm)


@contextmanager
def at_most_seconds(seconds: float) -> Iterator[None]:
    """Ends a loop that does not end."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
