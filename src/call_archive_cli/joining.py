"""All stretches of a call → one WAV on one clock, and a manifest that names its parts.

A part begins where its manifest says it began; between two parts there is silence. Every part is
compared with its manifest first. One that begins before the part in front of it has ended follows
it, and the manifest says by how much it was moved: no audio is cut or mixed.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from call_archive.media.pcm import SAMPLE_BYTES, SAMPLE_RATE_HZ
from call_archive.moments import format_utc
from call_archive.recording.wav import HEADER_BYTES, build_header
from call_archive_cli.archive import UnreadError
from call_archive_cli.download import save_recording
from call_archive_cli.exits import FOUND_WRONG, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from call_archive.recording.manifest import Manifest
    from call_archive_cli.archive import ArchivedCall, CallArchive

READ_BYTES: Final = 1_048_576
SAMPLES_A_MS: Final = SAMPLE_RATE_HZ // 1000
_TO_CUSTOMER: Final = "AUDIO_TO_CUSTOMER"


@dataclass(frozen=True, slots=True)
class Part:
    """One recording, sound, in a file of this machine.

    Attributes:
        at: its first sample, counted from the call's beginning.
        moved: by how many samples it begins later than its manifest says.
    """

    manifest: Manifest
    path: Path
    at: int
    samples: int
    moved: int = 0


def join(
    archive: CallArchive, calls: Sequence[ArchivedCall], target: Path, erased: Sequence[str] = ()
) -> dict[str, Any]:
    """Writes the joined call and its manifest; the manifest.

    Args:
        archive: where the recordings are.
        calls: at least one.
        target: the WAV; its manifest goes beside it.
        erased: related contacts that are erased.

    Raises:
        CommandError: a part is damaged, cannot be read, or the whole is too long.
        MediaError: the whole is longer than a WAV can be.
        ClientError, BotoCoreError, OSError: S3 or the file refuses.
    """
    with tempfile.TemporaryDirectory(prefix="call-archive-", dir=target.parent) as directory:
        parts = _place([_fetch(archive, call, Path(directory)) for call in calls])
        channels = max(part.manifest.channels for part in parts)
        samples = parts[-1].at + parts[-1].samples
        header = build_header(samples * channels * SAMPLE_BYTES, channels)
        whole, digest = Path(directory) / "whole.wav", hashlib.sha256()
        with whole.open("wb") as file:
            for piece in chain([header], _pcm(parts, channels)):
                file.write(piece)
                digest.update(piece)
        document = _describe(parts, channels, target, whole.stat().st_size, digest.hexdigest())
        document["erasedContacts"] = list(erased)
        whole.replace(target)
    target.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")
    return document


def _fetch(archive: CallArchive, call: ArchivedCall, directory: Path) -> tuple[Manifest, Path]:
    """A recording that was compared with its manifest.

    Raises:
        CommandError: it is damaged, or cannot be read.
    """
    key = call.entry.recording_key
    if call.stored is None:
        raise CommandError(f"{call.entry.manifest_key} cannot be used: {call.problem}", FOUND_WRONG)
    path = directory / f"{hashlib.sha256(key.encode()).hexdigest()}.wav"
    try:
        stored, damage = save_recording(archive, call.entry, call.stored, path)
    except UnreadError as error:
        raise CommandError(f"{key}: {error}") from error
    if damage:
        raise CommandError(f"{key}: {damage}; nothing was joined", FOUND_WRONG)
    return stored.manifest, path


def _place(fetched: Sequence[tuple[Manifest, Path]]) -> list[Part]:
    """The parts on the clock of the first one."""
    ordered = sorted(fetched, key=lambda pair: (pair[0].started_at_ms, str(pair[1])))
    first_ms, parts, end = ordered[0][0].started_at_ms, list[Part](), 0
    for manifest, path in ordered:
        told = (manifest.started_at_ms - first_ms) * SAMPLES_A_MS
        at = max(told, end)
        samples = (path.stat().st_size - HEADER_BYTES) // (manifest.channels * SAMPLE_BYTES)
        parts.append(Part(manifest, path, at, samples, at - told))
        end = at + samples
    return parts


def _pcm(parts: Sequence[Part], channels: int) -> Iterator[bytes]:
    end = 0
    for part in parts:
        silence = (part.at - end) * channels * SAMPLE_BYTES
        while silence:
            yield bytes(min(silence, READ_BYTES))
            silence -= min(silence, READ_BYTES)
        with part.path.open("rb") as file:
            file.seek(HEADER_BYTES)
            while piece := file.read(READ_BYTES):
                yield piece if part.manifest.channels == channels else _widen(piece, part.manifest)
        end = part.at + part.samples


def _widen(mono: bytes, manifest: Manifest) -> bytes:
    """A mono part on its side of a stereo call, with silence on the other."""
    stereo = bytearray(2 * len(mono))
    offset = SAMPLE_BYTES if manifest.tracks == (_TO_CUSTOMER,) else 0
    stereo[offset::4] = mono[0::2]
    stereo[offset + 1 :: 4] = mono[1::2]
    return bytes(stereo)


def _describe(
    parts: Sequence[Part], channels: int, target: Path, size_bytes: int, sha256: str
) -> dict[str, Any]:
    gaps = [
        {"atMs": _ms(before.at + before.samples), "lengthMs": _ms(gap)}
        for before, after in pairwise(parts)
        if (gap := after.at - before.at - before.samples)
    ]
    return {
        "version": 1,
        "kind": "JoinedCall",
        "contactIds": list(dict.fromkeys(part.manifest.contact_id for part in parts)),
        "recording": target.name,
        "startedAt": format_utc(parts[0].manifest.started_at_ms),
        "channels": channels,
        "sampleRateHz": SAMPLE_RATE_HZ,
        "durationMs": _ms(parts[-1].at + parts[-1].samples),
        "bytes": size_bytes,
        "sha256": sha256,
        "complete": all(part.manifest.is_complete for part in parts),
        "silences": gaps,
        "parts": [_describe_part(part) for part in parts],
    }


def _describe_part(part: Part) -> Mapping[str, Any]:
    return {
        "contactId": part.manifest.contact_id,
        "recordingUri": part.manifest.recording_uri,
        "sha256": part.manifest.sha256,
        "startedAt": format_utc(part.manifest.started_at_ms),
        "atMs": _ms(part.at),
        "lengthMs": _ms(part.samples),
        "movedMs": _ms(part.moved),
        "tracks": list(part.manifest.tracks),
        "complete": part.manifest.is_complete,
        "reasons": list(part.manifest.reasons),
    }


def _ms(samples: int) -> int:
    return round(samples / SAMPLES_A_MS)
