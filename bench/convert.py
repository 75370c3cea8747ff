"""`python -m bench.convert BODY WAV [--tracks customer|both]`: a media body → a recording, locally.

The stages of the pipeline with a file at either end: what ArchiveFunction does between the network
and S3, without listing, hashing and retries. The job is the body's own call: from its first
fragment on, of the contact that this one names. No argparse, which takes 10 ms to import.
"""

import gc

gc.disable()  # as the functions do while they load

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from call_archive.job import ArchiveJob
from call_archive.limits import MAX_CALL_MS
from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import MediaFragment, decode_audio, decode_fragment
from call_archive.media.pcm import Direction, Piece
from call_archive.recording.selection import ContactSelection
from call_archive.recording.timeline import Timeline
from call_archive.recording.wav import HEADER_BYTES, StereoMixer, build_header, write_mono

READ_BYTES = 65_536
WRITE_BYTES = 1_048_576

_TRACKS = {
    "customer": (Direction.FROM_CUSTOMER,),
    "both": (Direction.FROM_CUSTOMER, Direction.TO_CUSTOMER),
}

gc.freeze()
gc.enable()


def main() -> None:
    """Converts one body."""
    _, body, recording, *options = sys.argv
    tracks = _TRACKS[options[-1] if options else "customer"]
    with Path(recording).open("wb", buffering=WRITE_BYTES) as wav:
        wav.write(bytes(HEADER_BYTES))
        pcm_bytes = 0
        for pcm in _record(Path(body), tracks):
            wav.write(pcm)
            pcm_bytes += len(pcm)
        wav.seek(0)
        wav.write(build_header(pcm_bytes, len(tracks)))


def _record(body: Path, tracks: tuple[Direction, ...]) -> Iterator[bytes | bytearray]:
    mixer = StereoMixer()
    for pieces in _lay(_select(body), tracks):
        columns = [pieces[direction] for direction in tracks]
        yield from mixer.mix(*columns) if len(columns) > 1 else write_mono(columns[0])


def _lay(
    own: Iterator[MediaFragment], tracks: tuple[Direction, ...]
) -> Iterator[dict[Direction, list[Piece]]]:
    timeline = Timeline(tracks)
    for fragment in own:
        audio = decode_audio(fragment.fragment, tracks)
        if audio is not None:
            yield timeline.place(audio, fragment.server_timestamp_ms)
    yield timeline.finish()


def _select(body: Path) -> Iterator[MediaFragment]:
    """The fragments of the contact that the first one names; none of an empty body."""
    received = map(decode_fragment, read_fragments(_reads(body)))
    for first in received:
        yield from ContactSelection(_build_job(first)).select(chain((first,), received))


def _build_job(first: MediaFragment) -> ArchiveJob:
    (contact_id,) = first.contact_ids
    start_ms = first.server_timestamp_ms or 0
    return ArchiveJob(
        contact_id=contact_id,
        initial_contact_id=contact_id,
        instance_arn="",
        stream_arn="",
        start_fragment_number=first.number or 0,
        start_timestamp_ms=start_ms,
        stop_fragment_number=None,
        stop_timestamp_ms=None,
        requested_at_ms=start_ms + MAX_CALL_MS,
    )


def _reads(body: Path) -> Iterator[bytes]:
    with body.open("rb", buffering=0) as media:
        while read := media.read(READ_BYTES):
            yield read


if __name__ == "__main__":
    main()
