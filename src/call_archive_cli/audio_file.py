"""PCM as it arrives → a .wav or .raw file that can be played at any moment, or standard output.

The header of a WAV is written again with every piece, so a file whose writer was killed is valid
to the last second. A pipe or standard output is not rewound: there the header says the most that
RIFF can say, as every player of streams understands.

Source: RIFF/WAVE as in `call_archive.recording.wav`.
"""

import contextlib
import io
import os
import stat
import sys
from collections.abc import Buffer
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from call_archive.limits import MAX_RECORDING_BYTES
from call_archive.media.pcm import SAMPLE_BYTES
from call_archive.recording.wav import HEADER_BYTES, build_header
from call_archive_cli.files import STDOUT, check_target, open_stdout
from call_archive_cli.options import AudioFormat


class AudioFile:
    """A recording that is being written to a file or a pipe, inside a `with` block."""

    def __init__(self, file: BinaryIO, audio_format: AudioFormat, channels: int) -> None:
        self._file = file
        self._has_header = audio_format is AudioFormat.WAV
        self._channels = channels
        self._is_regular = _is_regular(file)
        self.pcm_bytes = 0
        if self._has_header:
            self._file.write(self._header())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Bytes that could not be written are lost; `write` has raised for them.
        with contextlib.suppress(OSError):
            if self._file is sys.stdout.buffer:
                self._file.flush()
            else:
                self._file.close()

    def write(self, pcm: Buffer) -> None:
        """Takes the next frames; they are on their way to the reader when this returns.

        Raises:
            OSError: the file cannot be written, or the pipe is closed.
            MediaError: a WAV cannot be longer.
        """
        self._file.write(pcm)
        self.pcm_bytes += len(memoryview(pcm))
        if self._has_header and self._is_regular:
            self._file.seek(0)
            self._file.write(self._header())
            self._file.seek(0, io.SEEK_END)
        self._file.flush()

    def _header(self) -> bytes:
        longest = (MAX_RECORDING_BYTES - HEADER_BYTES) // (SAMPLE_BYTES * 2) * SAMPLE_BYTES * 2
        return build_header(self.pcm_bytes if self._is_regular else longest, self._channels)


def open_audio(
    path: str, audio_format: AudioFormat, channels: int, *, overwrite: bool
) -> AudioFile:
    """The file at `path`, or standard output for `-`.

    Raises:
        CommandError: the file is there already and may not be overwritten, or standard output is
            a terminal.
        OSError: the file cannot be made.
    """
    check_output(path, overwrite=overwrite)
    if path == STDOUT:
        return AudioFile(open_stdout(), audio_format, channels)
    return AudioFile(Path(path).open("wb"), audio_format, channels)


def check_output(path: str, *, overwrite: bool) -> None:
    """Checks the output before the first audio arrives.

    Raises:
        CommandError: `open_audio` would refuse it, or its directory does not exist.
    """
    if path == STDOUT:
        open_stdout()
    else:
        check_target(Path(path), overwrite=overwrite)


def _is_regular(file: BinaryIO) -> bool:
    # Standard output may be a file to which a shell appends.
    return file is not sys.stdout.buffer and stat.S_ISREG(os.fstat(file.fileno()).st_mode)
