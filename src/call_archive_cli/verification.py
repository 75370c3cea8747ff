"""Is a recording the one that its manifest describes: length, header, every byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from call_archive.limits import MAX_RECORDING_BYTES
from call_archive.recording.wav import HEADER_BYTES, build_header

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from call_archive.recording.manifest import Manifest

_RIFF_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The values that identify a recording.

    Attributes:
        header: its first bytes, as many as a WAV's header has.
    """

    size_bytes: int
    sha256: str
    header: bytes


def take_fingerprint(reads: Iterable[bytes]) -> Fingerprint:
    """The fingerprint of a recording that arrives in pieces; constant memory."""
    digest, size_bytes, header = hashlib.sha256(), 0, b""
    for read in reads:
        digest.update(read)
        size_bytes += len(read)
        if len(header) < HEADER_BYTES:
            header = (header + read)[:HEADER_BYTES]
    return Fingerprint(size_bytes, digest.hexdigest(), header)


def find_difference(manifest: Manifest, found: Fingerprint) -> str:
    """How a recording differs from what its manifest says; "" if it does not."""
    if found.size_bytes != manifest.size_bytes:
        return f"it has {found.size_bytes:,} bytes, its manifest says {manifest.size_bytes:,}"
    if not HEADER_BYTES <= found.size_bytes <= MAX_RECORDING_BYTES or (
        found.header != build_header(found.size_bytes - HEADER_BYTES, manifest.channels)
    ):
        return "its header is not that of a WAV of this length"
    if found.sha256 != manifest.sha256:
        return "its bytes are not those that were archived (sha256)"
    return ""


def find_shortfall(wav: Path) -> str:
    """How a WAV without a manifest contradicts its own header; "" if it does not.

    Raises:
        OSError: the file cannot be read.
    """
    size_bytes = wav.stat().st_size
    with wav.open("rb") as file:
        header = file.read(_RIFF_BYTES)
    if len(header) < _RIFF_BYTES or header[:4] != b"RIFF":
        return ""
    announced_bytes = int.from_bytes(header[4:], "little") + _RIFF_BYTES
    if size_bytes >= announced_bytes:
        return ""
    return f"it has {size_bytes:,} bytes, its header says {announced_bytes:,}: it was cut short"
