"""Recordings of the archive → files on this machine, each compared with its manifest first."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from call_archive_cli.archive import GoneError, UnreadError
from call_archive_cli.exits import FOUND_WRONG, REFUSED, USAGE
from call_archive_cli.manifests import ManifestError
from call_archive_cli.threads import Pool, ahead
from call_archive_cli.verification import Fingerprint, find_difference, take_fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from call_archive_cli.archive import ArchivedCall, CallArchive, Entry
    from call_archive_cli.manifests import StoredManifest

DOWNLOADERS: Final = 8
READ_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Download:
    """The outcome of one recording.

    Attributes:
        problem: why it was not written; "" if it was.
        exit_code: what the problem means for the command.
    """

    recording: Path
    manifest: Path
    name: str
    problem: str = ""
    exit_code: int = 0


def download_each(
    archive: CallArchive, calls: Sequence[ArchivedCall], directory: Path, *, overwrite: bool
) -> Iterator[Download]:
    """Writes recordings and manifests into a directory; both whole, or neither.

    Raises:
        ClientError, BotoCoreError: S3 refuses what it would refuse for every object.
        OSError: the directory cannot be written.
    """
    with Pool(DOWNLOADERS) as pool:
        yield from ahead(
            pool,
            lambda call: _download(archive, call, directory, overwrite=overwrite),
            calls,
            2 * DOWNLOADERS,
        )


def write_recording(archive: CallArchive, call: ArchivedCall, file: BinaryIO) -> str:
    """Writes one recording into a pipe if it is sound; returns why it is not, or ""."""
    if call.stored is None:
        return call.problem
    with tempfile.NamedTemporaryFile(prefix="call-archive-") as whole:
        _, damage = save_recording(archive, call.entry, call.stored, Path(whole.name))
        if not damage:
            shutil.copyfileobj(whole, file)
            file.flush()
    return damage


def _download(
    archive: CallArchive, call: ArchivedCall, directory: Path, *, overwrite: bool
) -> Download:
    stem = directory / call.entry.tail.rpartition("/")[2]
    done = Download(stem.with_suffix(".wav"), stem.with_suffix(".json"), call.entry.recording_key)
    stored = call.stored
    if stored is None:
        code = FOUND_WRONG if call.is_foreign else REFUSED
        return _failed(done, f"its manifest cannot be used: {call.problem}", code)
    if done.recording.exists():
        if _is_same(done.recording, stored):
            _write_manifest(done.manifest, stored)
            return done
        if not overwrite:
            return _failed(
                done,
                f"{done.recording} already exists and differs: give --overwrite or another -o",
                USAGE,
            )
    partial = done.recording.with_name(f".{done.recording.name}.partial")
    try:
        stored, damage = save_recording(archive, call.entry, stored, partial)
        if damage:
            return _failed(done, damage, FOUND_WRONG)
        partial.replace(done.recording)
    except UnreadError as error:
        return _failed(done, str(error), REFUSED)
    finally:
        partial.unlink(missing_ok=True)
    _write_manifest(done.manifest, stored)
    return done


def save_recording(
    archive: CallArchive, entry: Entry, stored: StoredManifest, path: Path
) -> tuple[StoredManifest, str]:
    """Writes a recording into a file; returns its manifest, and what is wrong with it, or ""."""
    while True:
        try:
            found = archive.consume(entry.recording_key, lambda reads: _copy(reads, path))
            damage = find_difference(stored.manifest, found)
        except GoneError:
            damage = "the recording is missing"
        if not damage:
            return stored, ""
        # It may have been replaced meanwhile: its manifest is written last.
        try:
            newer = archive.read_manifest(entry)
        except (GoneError, ManifestError) as error:
            return stored, f"{damage}, and its manifest is gone ({error})"
        if newer == stored:
            return stored, damage
        stored = newer


def _copy(reads: Iterable[bytes], path: Path) -> Fingerprint:
    with path.open("wb") as file:

        def written() -> Iterator[bytes]:
            for read in reads:
                file.write(read)
                yield read

        return take_fingerprint(written())


def _is_same(path: Path, stored: StoredManifest) -> bool:
    with path.open("rb") as file:
        found = take_fingerprint(iter(lambda: file.read(READ_BYTES), b""))
    return not find_difference(stored.manifest, found)


def _write_manifest(path: Path, stored: StoredManifest) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(stored.body)
    partial.replace(path)


def _failed(download: Download, problem: str, exit_code: int) -> Download:
    return replace(download, problem=problem, exit_code=exit_code)
