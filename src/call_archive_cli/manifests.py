"""The bytes of a manifest → the manifest, read as the functions read it, with its bytes.

A manifest in a bucket is text from outside: another program may have put it there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from call_archive.reasons import Code
from call_archive.recording import manifest as recording

if TYPE_CHECKING:
    from collections.abc import Mapping

    from call_archive.recording.manifest import Manifest


class ManifestError(Exception):
    """The bytes are not a manifest that this version reads; the text says why."""


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it is stored.

    Attributes:
        body: every byte of it, the keys that this version does not know included.
    """

    manifest: Manifest
    body: bytes

    @property
    def document(self) -> Mapping[str, Any]:
        """All of it, as JSON."""
        document: Mapping[str, Any] = json.loads(self.body)
        return document


def decode_manifest(body: bytes) -> StoredManifest:
    """The manifest.

    Raises:
        ManifestError: it is not a manifest, or one of another version.
    """
    try:
        return StoredManifest(recording.decode_manifest(body), body)
    except recording.ManifestError as error:
        is_newer = error.code == Code.UNKNOWN_MANIFEST
        advice = ": install the call-archive of that version" if is_newer else ""
        raise ManifestError(f"{error.what}{advice}") from error
