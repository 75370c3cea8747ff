"""What a person names → recordings with their manifests, on this machine.

A recording is a .wav file, a directory of them, or an object or a prefix in S3. Its manifest lies
beside it, or where the archive puts it: `recordings/….wav` has `manifests/….json`.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from call_archive_cli.console import messages
from call_archive_cli.exits import USAGE, CommandError

if TYPE_CHECKING:
    from call_archive_cli.clients import Clients

S3_SCHEME: Final = "s3://"


_USED_KEYS: Final = frozenset(
    [
        "archivedAt",
        "bytes",
        "complete",
        "contactId",
        "durationMs",
        "fragments",
        "gaps",
        "overlaps",
        "reasons",
        "recordingUri",
        "sha256",
        "software",
        "startedAt",
        "tracks",
        "trigger",
    ]
)
"""What the page reads of a manifest."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A WAV on this machine.

    Attributes:
        name: as the person knows it.
        manifest: None where there is none.
    """

    name: str
    wav: Path
    manifest: Mapping[str, Any] | None


@contextlib.contextmanager
def open_recordings(clients: "Clients", names: Iterable[str]) -> Iterator[list[Recording]]:
    """The recordings of all names; those of S3 lie in a temporary directory for the `with`.

    Raises:
        CommandError: there is no recording at a name.
        ClientError, OSError: it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="call-archive-") as directory:
        yield [
            recording
            for place, name in enumerate(names)
            for recording in _found(name, _open(clients, name, Path(directory) / str(place)))
        ]


def _found(name: str, recordings: Iterator[Recording]) -> list[Recording]:
    if found := list(recordings):
        return found
    raise CommandError(f"{name}: there is no recording (.wav) here", USAGE)


def _open(clients: "Clients", name: str, directory: Path) -> Iterator[Recording]:
    if name.startswith(S3_SCHEME):
        return _download(clients, name, directory)
    path = Path(name)
    if not path.exists():
        raise CommandError(f"{name}: there is no such file or directory", USAGE)
    wavs = sorted(path.rglob("*.wav")) if path.is_dir() else [path]
    return (Recording(str(wav), wav, _beside(wav)) for wav in wavs)


def _beside(wav: Path) -> Mapping[str, Any] | None:
    """The manifest of a file: beside it, or in the archive's own layout."""
    places = [wav.with_suffix(".json")]
    if "recordings" in wav.parts:
        at = len(wav.parts) - 1 - wav.parts[::-1].index("recordings")
        places.append(Path(*wav.parts[:at], "manifests", *wav.parts[at + 1 :]).with_suffix(".json"))
    for place in places:
        if place.exists():
            return _decode(place.read_bytes(), str(place))
    return None


def _download(clients: "Clients", uri: str, directory: Path) -> Iterator[Recording]:
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    directory.mkdir()
    pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    for place, wav_key in enumerate(key for key in keys if key.endswith(".wav")):
        wav = directory / f"{place}.wav"
        clients.s3().download_file(bucket, wav_key, str(wav))
        yield Recording(
            f"{S3_SCHEME}{bucket}/{wav_key}", wav, _manifest_object(clients, bucket, wav_key)
        )


def _manifest_object(clients: "Clients", bucket: str, wav_key: str) -> Mapping[str, Any] | None:
    before, found, after = wav_key.rpartition("recordings/")
    key = f"{before}manifests/{after}" if found else wav_key
    client = clients.s3()
    with contextlib.suppress(client.exceptions.NoSuchKey):
        answer = client.get_object(Bucket=bucket, Key=key.removesuffix(".wav") + ".json")
        return _decode(answer["Body"].read(), key)
    return None


def _decode(document: bytes, name: str) -> Mapping[str, Any] | None:
    """The manifest; None, with a word, for some other JSON that lies beside a recording."""
    try:
        manifest = json.loads(document)
    except ValueError:
        manifest = None
    if isinstance(manifest, dict) and manifest.keys() >= _USED_KEYS:
        return manifest
    messages.print(f"{name}: this is not a manifest; left out", soft_wrap=True, markup=False)
    return None
