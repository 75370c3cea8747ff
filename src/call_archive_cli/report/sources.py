"""What a person names → recordings with their manifests, on this machine; what is wrong is said.

A recording is a .wav file, a directory of them, or an object or a prefix in S3. Its manifest is
beside it, or where the archive puts it: `recordings/….wav` has `manifests/….json`. A file that
cannot be used is a `Problem` and does not keep the others back.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import soundfile
from botocore.exceptions import ClientError

from call_archive.limits import MAX_MANIFEST_BYTES
from call_archive.media.pcm import SAMPLE_RATE_HZ
from call_archive.moments import to_datetime
from call_archive_cli.errors import describe, is_about_credentials
from call_archive_cli.manifests import ManifestError, decode_manifest
from call_archive_cli.verification import find_difference, find_shortfall, take_fingerprint

if TYPE_CHECKING:
    from call_archive.recording.manifest import Manifest
    from call_archive_cli.clients import Clients

S3_SCHEME: Final = "s3://"
READ_BYTES: Final = 1 << 20
MAX_CHANNELS: Final = 2


class State(StrEnum):
    """What is known of a recording, by its bytes and its manifest."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    DIFFERENT = "different"
    UNDESCRIBED = "undescribed"


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not in the page, or not as a reader expects, and why."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A WAV on this machine that can be played.

    Attributes:
        name: as the person knows it.
        manifest: None if there is none.
        damage: how its bytes contradict the manifest, or its own header; "" if they do not.
    """

    name: str
    wav: Path
    channels: int
    samples: int
    manifest: "Manifest | None"
    damage: str

    @property
    def state(self) -> State:
        """What may be said of it."""
        if self.manifest is None:
            return State.UNDESCRIBED
        if self.damage:
            return State.DIFFERENT
        return State.COMPLETE if self.manifest.is_complete else State.INCOMPLETE

    @property
    def started_at(self) -> str:
        """UTC, as the manifest has it; "" if nothing says."""
        if self.manifest is None:
            return ""
        return to_datetime(self.manifest.started_at_ms).isoformat(timespec="milliseconds")


def find_recordings(
    clients: "Clients", names: Iterable[str], directory: Path
) -> Iterator[Recording | Problem]:
    """Everything that the names lead to; what is in S3 is downloaded into the directory.

    Raises:
        ClientError: the credentials are not accepted.
    """
    for place, name in enumerate(names):
        found = False
        for one in _open(clients, name, directory / str(place)):
            found = True
            yield one
        if not found:
            yield Problem(name, "there is no recording (.wav) here")


def _open(clients: "Clients", name: str, directory: Path) -> Iterator[Recording | Problem]:
    if name.startswith(S3_SCHEME):
        return _open_s3(clients, name, directory)
    path = Path(name)
    if path.is_dir():
        return _open_directory(path)
    if path.exists():
        return _read(name, path, *_manifest_beside(path))
    return iter([Problem(name, "there is no such file or directory")])


def _open_directory(directory: Path) -> Iterator[Recording | Problem]:
    wavs = sorted(path for path in directory.rglob("*.wav") if path.is_file())
    for wav in wavs:
        yield from _read(str(wav), wav, *_manifest_beside(wav))
    described = {place for wav in wavs for place in _manifest_places(wav)}
    for path in sorted(directory.rglob("*.json")):
        if path not in described and _is_manifest(path):
            yield Problem(str(path), "the recording that this manifest describes is missing")


def _is_manifest(path: Path) -> bool:
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            return False
        decode_manifest(path.read_bytes())
    except (OSError, ManifestError):
        return False
    return True


def _manifest_places(wav: Path) -> Iterator[Path]:
    """Beside the recording, or in the archive's own layout."""
    yield wav.with_suffix(".json")
    if "recordings" in wav.parts:
        at = len(wav.parts) - 1 - wav.parts[::-1].index("recordings")
        yield Path(*wav.parts[:at], "manifests", *wav.parts[at + 1 :]).with_suffix(".json")


def _manifest_beside(wav: Path) -> tuple[str, bytes | None]:
    for place in _manifest_places(wav):
        if place.is_file():
            return str(place), place.read_bytes()
    return "", None


def _read(
    name: str, wav: Path, manifest_name: str, body: bytes | None
) -> Iterator[Recording | Problem]:
    """A recording, held against its manifest; or why it is none."""
    manifest = None
    if body is not None:
        try:
            manifest = decode_manifest(body).manifest
        except ManifestError as error:
            yield Problem(manifest_name, f"not a manifest, and not used: {error}")
    try:
        if wav.stat().st_size == 0:
            yield Problem(name, "left out: it is empty (0 bytes)")
            return
        with soundfile.SoundFile(wav) as audio:
            unfit = _unfit(audio)
            channels, samples = audio.channels, audio.frames
        damage = _damage(wav, manifest)
    except (OSError, soundfile.LibsndfileError) as error:
        yield Problem(name, f"left out: it cannot be read as a WAV ({describe(error)})")
        return
    if unfit:
        yield Problem(name, f"left out: {unfit}")
        return
    yield Recording(
        name=name,
        wav=wav,
        channels=channels,
        samples=samples,
        manifest=manifest,
        damage=damage,
    )


def _unfit(audio: soundfile.SoundFile) -> str:
    """Why a page cannot show it; "" if it can."""
    if audio.samplerate != SAMPLE_RATE_HZ or audio.subtype != "PCM_16":
        return f"it has {audio.samplerate} Hz, {audio.subtype}; a recording has 8000 Hz, PCM_16"
    if audio.channels > MAX_CHANNELS:
        return f"it has {audio.channels} channels; a recording has one or two"
    return "" if audio.frames else "it holds no audio"


def _damage(wav: Path, manifest: "Manifest | None") -> str:
    if manifest is None:
        return find_shortfall(wav)
    with wav.open("rb") as file:
        found = take_fingerprint(iter(lambda: file.read(READ_BYTES), b""))
    return find_difference(manifest, found)


def _open_s3(clients: "Clients", uri: str, directory: Path) -> Iterator[Recording | Problem]:
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    directory.mkdir()
    try:
        keys = sorted({*_keys(clients, bucket, key), *_keys(clients, bucket, _manifest_key(key))})
    except ClientError as error:
        if is_about_credentials(error):
            raise
        yield Problem(uri, describe(error))
        return
    manifests = {key for key in keys if key.endswith(".json")}
    for place, wav_key in enumerate(key for key in keys if key.endswith(".wav")):
        described = next(
            (
                key
                for key in (_manifest_key(wav_key), wav_key.removesuffix(".wav") + ".json")
                if key in manifests
            ),
            None,
        )
        manifests.discard(described or "")
        wav = directory / f"{place}.wav"
        name = f"{S3_SCHEME}{bucket}/{wav_key}"
        try:
            clients.s3().download_file(bucket, wav_key, str(wav))
            body = None if described is None else _object(clients, bucket, described)
        except ClientError as error:
            yield Problem(name, f"left out: {describe(error)}")
            continue
        yield from _read(name, wav, f"{S3_SCHEME}{bucket}/{described}", body)
    for manifest_key in sorted(manifests):
        if "manifests/" in manifest_key:
            yield Problem(
                f"{S3_SCHEME}{bucket}/{manifest_key}",
                "the recording that this manifest describes is missing",
            )


def _keys(clients: "Clients", bucket: str, prefix: str) -> Iterator[str]:
    pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return (entry["Key"] for page in pages for entry in page.get("Contents", []))


def _manifest_key(key: str) -> str:
    """Where the archive puts the manifests of a recording, or of a prefix of recordings."""
    before, found, after = key.rpartition("recordings/")
    manifest_key = f"{before}manifests/{after}" if found else key
    return f"{manifest_key.removesuffix('.wav')}.json" if key.endswith(".wav") else manifest_key


def _object(clients: "Clients", bucket: str, key: str) -> bytes:
    return clients.s3().get_object(Bucket=bucket, Key=key)["Body"].read(MAX_MANIFEST_BYTES + 1)
