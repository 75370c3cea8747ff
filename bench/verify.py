"""An output → what of the true PCM it holds: everything, or what is missing."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from bench.bodies import agent_pcm, customer_pcm
from local.pcm import BYTES_PER_SECOND, SAMPLE_BYTES

WAV_HEADER_BYTES: Final = 44
STEP_BYTES: Final = 1_048_576


def verify_mono(output: Path, seconds: int, *, header_bytes: int) -> str:
    """`exact`, or what differs from what the customer said."""
    return compare(_read(output, header_bytes), _mono(seconds), BYTES_PER_SECOND)


def verify_stereo(output: Path, seconds: int) -> str:
    """`exact`, or what differs from customer and agent, left and right."""
    return compare(_read(output, WAV_HEADER_BYTES), _stereo(seconds), 2 * BYTES_PER_SECOND)


def verify_copy(output: Path, original: Path) -> str:
    """`exact`, or what differs from the body."""
    with original.open("rb") as body:
        return compare(_read(output, 0), iter(lambda: body.read(STEP_BYTES), b""), BYTES_PER_SECOND)


def verify_reads(reads: Iterable[bytes], seconds: int) -> str:
    """`exact`, or how arriving PCM differs from the customer's track."""
    return compare(reads, _mono(seconds), BYTES_PER_SECOND)


def compare(found: Iterable[bytes], true: Iterable[bytes], bytes_per_s: int) -> str:
    """How the found bytes differ from the true ones, whatever the sizes of the pieces."""
    reader = _Reader(found)
    matched = 0
    missing = 0
    for expected in true:
        got = reader.take(len(expected))
        if got != expected[: len(got)]:
            matched += next(at for at, byte in enumerate(got) if byte != expected[at])
            return f"**wrong** from second {matched / bytes_per_s:.2f} on"
        matched += len(got)
        missing += len(expected) - len(got)
    if missing:
        return f"**loses the last {missing / bytes_per_s:.2f} s**"
    return "**goes on** after the end" if reader.take(1) else "exact"


class _Reader:
    """Pieces of any size → pieces of the size that is asked for; shorter at the end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = bytearray()

    def take(self, length: int) -> bytes:
        while len(self._held) < length and (piece := next(self._pieces, b"")):
            self._held += piece
        taken = bytes(self._held[:length])
        del self._held[:length]
        return taken


def _read(path: Path, skip_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as output:
        output.seek(skip_bytes)
        while read := output.read(STEP_BYTES):
            yield read


def _mono(seconds: int) -> Iterator[bytes]:
    pcm = customer_pcm(seconds)
    return (pcm[at : at + STEP_BYTES] for at in range(0, len(pcm), STEP_BYTES))


def _stereo(seconds: int) -> Iterator[bytes]:
    left, right = customer_pcm(seconds), agent_pcm(seconds)
    for at in range(0, len(left), STEP_BYTES):
        columns = left[at : at + STEP_BYTES], right[at : at + STEP_BYTES]
        frames = bytearray(2 * len(columns[0]))
        samples = memoryview(frames).cast("h")
        for channel, column in enumerate(columns):
            samples[channel::SAMPLE_BYTES] = memoryview(column).cast("h")
        yield bytes(frames)
