"""The bytes of a manifest → what the commands need of it, with every type checked.

A manifest in a bucket is text from outside: another program may have put it there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from call_archive.limits import MAX_MANIFEST_BYTES
from call_archive.recording.manifest import MANIFEST_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_CHANNELS: Final = 2


class ManifestError(Exception):
    """The bytes are no manifest that this version reads; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest of version 1.

    Attributes:
        started_at: aware, UTC.
        body: all of it, as it is stored.
    """

    contact_id: str
    recording_uri: str
    channels: int
    duration_ms: int
    started_at: datetime
    size_bytes: int
    sha256: str
    is_complete: bool
    gaps: int
    trigger: str
    body: bytes

    @property
    def document(self) -> Mapping[str, Any]:
        """All of it, as JSON."""
        document: Mapping[str, Any] = json.loads(self.body)
        return document


def decode_manifest(body: bytes) -> Manifest:
    """The manifest.

    Raises:
        ManifestError: it is none, or of another version.
    """
    if len(body) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"it has more than {MAX_MANIFEST_BYTES:,} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ManifestError("it is not JSON") from error
    if not isinstance(document, dict):
        raise ManifestError("it is not a JSON object")
    version = document.get("version")
    if version != MANIFEST_VERSION or isinstance(version, bool):
        if isinstance(version, int) and version > MANIFEST_VERSION:
            raise ManifestError(f"it is of version {version}: install a newer call-archive")
        raise ManifestError(f"version is not {MANIFEST_VERSION}")
    return Manifest(
        contact_id=_text(document, "contactId"),
        recording_uri=_text(document, "recordingUri"),
        channels=_number(document, "channels", _MAX_CHANNELS),
        duration_ms=_number(document, "durationMs"),
        started_at=_moment(document, "startedAt"),
        size_bytes=_number(document, "bytes"),
        sha256=_sha256(document),
        is_complete=_flag(document, "complete"),
        gaps=len(_list(document, "gaps")),
        trigger=_text(document, "trigger"),
        body=body,
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise ManifestError(f"{name} is not a text")
    return value


def _number(document: Mapping[str, Any], name: str, most: int | None = None) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ManifestError(f"{name} is not a number")
    if most is not None and not 1 <= value <= most:
        raise ManifestError(f"{name} is not 1 to {most}")
    return value


def _flag(document: Mapping[str, Any], name: str) -> bool:
    value = document.get(name)
    if not isinstance(value, bool):
        raise ManifestError(f"{name} is neither true nor false")
    return value


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    if not isinstance(value, list):
        raise ManifestError(f"{name} is not a list")
    return value


def _moment(document: Mapping[str, Any], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(document, name))
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ManifestError(f"{name} is not a time") from error


def _sha256(document: Mapping[str, Any]) -> str:
    value = _text(document, "sha256")
    if not _SHA256.fullmatch(value):
        raise ManifestError("sha256 is not 64 hexadecimal digits")
    return value
