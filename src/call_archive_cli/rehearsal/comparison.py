"""A recording, its manifest and what S3 says of both, against what was spoken.

What is expected is computed here from what was said: of the archive's own code, only the manifest's
reader has a part in it.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from call_archive_cli.rehearsal.script import FRAGMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from call_archive.recording.manifest import Manifest
    from call_archive_cli.rehearsal.script import Script

HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
RATE_HZ: Final = 8000
_PIECE_BYTES: Final = FRAGMENT_BYTES // 4
_VOICED: Final = 16
"""A piece with fewer byte values than this is near silence."""

_LOOK: Final = "open an issue with the output of `rehearse --observe DIRECTORY`"


@dataclass(frozen=True, slots=True)
class Archived:
    """What is in S3.

    Attributes:
        recording: the WAV.
        tags: of each object, None if they could not be read.
        encryption: of each object, as S3's headers say it: `AES256`, or `aws:kms KEY`.
    """

    manifest: Manifest
    recording: bytes
    tags: tuple[Mapping[str, str], Mapping[str, str]] | None
    encryption: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison.

    Attributes:
        is_good: None if it could not be made.
    """

    name: str
    expected: str
    seen: str
    is_good: bool | None
    convicts: str = ""
    fix: str = ""


def compare(
    archived: Archived, script: Script, *, stereo: bool, instance_id: str, encryption: str
) -> Iterator[Check]:
    """Every comparison.

    Args:
        archived: what was found.
        script: what was said.
        stereo: whether the stack archives both tracks.
        instance_id: of the Connect instance.
        encryption: `aws:kms KEY`, or "" if any will do.
    """
    yield _samples(archived.recording, script, stereo=stereo)
    yield _others(archived.recording, script, stereo=stereo)
    yield _manifest(archived, script)
    yield _tags(archived, instance_id)
    yield _encryption(archived, encryption)


def build_header(pcm_bytes: int, channels: int) -> bytes:
    """The 44 bytes in front of this much PCM."""
    frame = channels * 2
    return HEADER.pack(
        *(b"RIFF", pcm_bytes + 36, b"WAVE", b"fmt ", 16, 1, channels),
        *(RATE_HZ, RATE_HZ * frame, frame, 16, b"data", pcm_bytes),
    )


def _samples(recording: bytes, script: Script, *, stereo: bool) -> Check:
    said = script.expected_pcm(stereo=stereo)
    header = build_header(len(said), 2 if stereo else 1)
    frames = len(said) // (4 if stereo else 2)
    expected = f"a WAV of {frames:,} samples, each as spoken"
    pcm = recording[HEADER.size :]
    if recording == header + said:
        return Check("recording", expected, f"{frames:,} samples, all equal", is_good=True)
    if pcm == said:
        seen = "the samples are right, the header is not"
    elif len(pcm) != len(said):
        seen = f"{len(pcm):,} bytes of audio, not {len(said):,}"
    else:
        at = next(place for place, byte in enumerate(pcm) if byte != said[place])
        frame = at // (4 if stereo else 2)
        seen = f"differs from sample {frame:,} on ({frame / RATE_HZ:.3f} s)"
    return Check("recording", expected, seen, is_good=False, convicts="the recording", fix=_LOOK)


def _others(recording: bytes, script: Script, *, stereo: bool) -> Check:
    expected = "nothing of the two other contacts"
    pcm = recording[HEADER.size :]
    # Of left-right frames, the left channel is the customer's.
    voices = [pcm[0::4], pcm[1::4], pcm[2::4], pcm[3::4]] if stereo else [pcm]
    for other in script.others:
        for voice in other.voices:
            for at in range(0, len(voice) - _PIECE_BYTES + 1, _PIECE_BYTES):
                piece = voice[at : at + _PIECE_BYTES]
                # Silence is the same in every voice.
                if len(set(piece)) >= _VOICED and _holds(voices, piece, stereo=stereo):
                    return Check(
                        "other contacts",
                        expected,
                        f"audio of {other.contact_id} is in the recording",
                        is_good=False,
                        convicts="the recording",
                        fix=_LOOK,
                    )
    return Check("other contacts", expected, "none of it", is_good=True)


def _holds(voices: list[bytes], piece: bytes, *, stereo: bool) -> bool:
    if not stereo:
        return piece in voices[0]
    low, high = piece[0::2], piece[1::2]
    return any(low in voices[channel] and high in voices[channel + 1] for channel in (0, 2))


def _manifest(archived: Archived, script: Script) -> Check:
    manifest = archived.manifest
    count = len(script.archived.timecodes_ms)
    sha256 = hashlib.sha256(archived.recording).hexdigest()
    accepted = manifest.fragments.accepted
    wrong = [
        text
        for is_wrong, text in (
            (not manifest.is_complete, "not complete"),
            (bool(manifest.reasons), "; ".join(manifest.reasons)),
            (accepted != count, f"{accepted} fragments accepted"),
            (bool(manifest.gaps), f"{len(manifest.gaps)} gaps"),
            (bool(manifest.overlaps), f"{len(manifest.overlaps)} overlaps"),
            (manifest.sha256 != sha256, "sha256 is not the recording's"),
            (manifest.size_bytes != len(archived.recording), "bytes are not the recording's"),
            (manifest.contact_id != script.archived.contact_id, "another contact's id"),
        )
        if is_wrong
    ]
    expected = f"complete, {count} fragments, the recording's sha256"
    if wrong:
        return Check(
            "manifest",
            expected,
            ", ".join(wrong),
            is_good=False,
            convicts="the recording",
            fix="docs/troubleshooting.md explains each reason",
        )
    return Check("manifest", expected, f"complete, sha256 {sha256[:12]}…", is_good=True)


def _tags(archived: Archived, instance_id: str) -> Check:
    expected = f"instance-id={instance_id}, complete=true"
    if archived.tags is None:
        return Check(
            "tags",
            expected,
            "your credentials do not allow GetObjectTagging",
            is_good=None,
            fix="add s3:GetObjectTagging: docs/policies/rehearse.json",
        )
    wanted = {"instance-id": instance_id, "complete": "true"}
    for kind, tags in zip(("recording", "manifest"), archived.tags, strict=True):
        if wanted.items() - tags.items():
            seen = ", ".join(f"{name}={value}" for name, value in sorted(tags.items())) or "none"
            return Check(
                "tags",
                expected,
                f"the {kind} has {seen}",
                is_good=False,
                convicts="ArchiveRole or the bucket's policy",
                fix="deploy the stack again",
            )
    return Check("tags", expected, "on both objects", is_good=True)


def _encryption(archived: Archived, wanted: str) -> Check:
    expected = wanted or "encrypted"
    seen = archived.encryption[0] or "not encrypted"
    is_good = all(_is_encrypted(each, wanted) for each in archived.encryption)
    if is_good:
        return Check("encryption", expected, seen, is_good=True)
    return Check(
        "encryption",
        expected,
        seen,
        is_good=False,
        convicts="the bucket's default encryption",
        fix="S3 console, the bucket, Properties, Default encryption: the key of ArchiveKmsKeyArn",
    )


def _is_encrypted(seen: str, wanted: str) -> bool:
    return seen == wanted if wanted else bool(seen)
