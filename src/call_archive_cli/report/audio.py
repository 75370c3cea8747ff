"""A WAV → the form in which a page holds its audio; constant memory.

* `FLAC`: lossless, half of a WAV. For pages of up to ten minutes.
* `VORBIS`: compressed, for a longer page in one file.
* `WAV`: the recording itself, in the page's folder.

A page must be right about who speaks, so the sides are never joint stereo. libvorbis couples the
channels of a stereo stream, which puts one voice on the other's side (-39 dB where
tests/report/test_audio.py measures it), and the library does not let us ask for anything else. A
stream of three channels (left, centre, right) is never coupled (-95 dB). So two sides are left and
right of such a stream, its centre silent; a browser plays it as stereo, and the sides stay in step
because they are one stream.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from call_archive_cli.report.ogg import shorten_pages

BLOCK: Final = 65_536
FLAC_LIMIT_MS: Final = 10 * 60 * 1000
"""The longest page, all its calls together, whose audio is lossless in the page itself."""

VORBIS_COMPRESSION: Final = 1.0
"""0 is the best quality, 1 the smallest file."""

STEREO: Final = 2


class Form(StrEnum):
    """How a page holds its audio."""

    FLAC = "audio/flac"
    VORBIS = "audio/ogg"
    WAV = "audio/wav"


@dataclass(frozen=True, slots=True)
class _Codec:
    format: str
    subtype: str
    compression: float | None


_CODECS: Final = {
    Form.FLAC: _Codec("FLAC", "PCM_16", None),
    Form.VORBIS: _Codec("OGG", "VORBIS", VORBIS_COMPRESSION),
}


def write_audio(wav: Path, target: Path, form: Form) -> None:
    """Writes a recording in this form.

    Raises:
        OSError, soundfile.LibsndfileError: one of the files cannot be read or written.
    """
    if form is Form.WAV:
        shutil.copyfile(wav, target)
    elif form is Form.FLAC:
        _encode(wav, target, form)
    else:
        encoded = target.with_name(f"{target.name}.long-pages")
        _encode(wav, encoded, form)
        with encoded.open("rb") as long_pages, target.open("wb") as short_pages:
            shorten_pages(long_pages, short_pages)
        encoded.unlink()


def _encode(wav: Path, target: Path, form: Form) -> None:
    codec = _CODECS[form]
    with soundfile.SoundFile(wav) as source:
        is_apart = form is Form.VORBIS and source.channels == STEREO
        with soundfile.SoundFile(
            target,
            "w",
            source.samplerate,
            source.channels + is_apart,
            codec.subtype,
            format=codec.format,
            compression_level=codec.compression,
        ) as encoded:
            for block in _blocks(source):
                encoded.write(_apart(block) if is_apart else block)


def _blocks(source: soundfile.SoundFile) -> Iterator[NDArray[np.int16]]:
    for block in source.blocks(BLOCK, dtype="int16", always_2d=True):
        yield block.astype(np.int16, copy=False)


def _apart(block: NDArray[np.int16]) -> NDArray[np.int16]:
    """Left and right around a silent centre, in Vorbis's order of three channels."""
    spread = np.zeros((len(block), 3), dtype=np.int16)
    spread[:, 0], spread[:, 2] = block[:, 0], block[:, 1]
    return spread
