"""Recordings that were found to be sound, remembered from one run of `verify` to the next."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from call_archive_cli.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from call_archive_cli.archive import Checked, Entry

BATCH: Final = 50
"""Lines that are written at a time; a run that is killed verifies at most this many again."""


class Verified:
    """What was verified, by key and by the ETags of manifest and recording.

    If a recording or its manifest was replaced, it counts as a new one.
    """

    def __init__(self, path: Path | None) -> None:
        self._ledger = Ledger(path, _decode, "verify") if path else None
        self._complete: dict[bytes, bool] = {}
        self._waiting: list[dict[str, object]] = []
        if self._ledger:
            self._complete.update(self._ledger.read())
            self._ledger.prepare()

    def find(self, entry: Entry) -> bool | None:
        """Whether the recording was complete when it was verified; None if it was not verified."""
        return self._complete.get(_digest(*_identity(entry))) if self._complete else None

    def add(self, checked: Checked) -> None:
        """Remembers a recording, if it is sound."""
        if self._ledger is None or checked.damage or checked.unread or checked.is_gone:
            return
        key, manifest, recording = _identity(checked.entry)
        self._waiting.append(
            {
                "key": key,
                "manifest": manifest,
                "recording": recording,
                "complete": checked.is_complete,
            }
        )
        if len(self._waiting) >= BATCH:
            self.close()

    def close(self) -> None:
        """Writes the waiting lines."""
        if self._ledger and self._waiting:
            self._ledger.write(self._waiting)
        self._waiting.clear()


def _identity(entry: Entry) -> tuple[str, str, str]:
    return entry.recording_key, entry.manifest_etag, entry.recording_etag


def _digest(key: str, manifest: str, recording: str) -> bytes:
    return hashlib.blake2b("\0".join((key, manifest, recording)).encode(), digest_size=16).digest()


def _decode(line: Any) -> tuple[bytes, bool]:  # noqa: ANN401 - JSON
    return _digest(line["key"], line["manifest"], line["recording"]), bool(line["complete"])
