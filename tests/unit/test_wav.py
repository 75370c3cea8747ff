"""RIFF headers, against the standard library's `wave`, and the mixer."""

import io
import wave

import pytest

from call_archive.errors import MediaError
from call_archive.media.pcm import Piece, Silence
from call_archive.recording.wav import HEADER_BYTES, StereoMixer, build_header, write_mono


def written_by_wave(pcm: bytes, channels: int) -> bytes:
    wav_file = io.BytesIO()
    with wave.open(wav_file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(pcm)
    return wav_file.getvalue()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [0, 1, 7680])
def test_the_header_is_the_one_that_wave_writes(channels: int, frames: int) -> None:
    pcm = b"\x01\x80" * frames * channels
    assert build_header(len(pcm), channels) + pcm == written_by_wave(pcm, channels)


def test_a_header_written_out_by_hand() -> None:
    assert build_header(0x01020304, 2) == bytes.fromhex(
        "52494646 28030201 57415645"  # RIFF, 36 more than the PCM, WAVE
        "666D7420 10000000 0100 0200"  # fmt, 16 bytes, PCM, 2 channels
        "401F0000 007D0000 0400 1000"  # 8000 Hz, 32000 bytes a second, 4 a frame, 16 bit
        "64617461 04030201"
    )


def test_a_recording_of_almost_4_gib_has_a_header() -> None:
    largest = 0xFFFF_FFFF - HEADER_BYTES
    assert build_header(largest, 1)[40:] == largest.to_bytes(4, "little")


@pytest.mark.parametrize("pcm_bytes", [0xFFFF_FFFF - HEADER_BYTES + 1, 1 << 32, 1 << 40])
def test_a_recording_of_more_than_4_gib_is_refused(pcm_bytes: int) -> None:
    with pytest.raises(MediaError) as caught:
        build_header(pcm_bytes, 2)
    assert caught.value.code == "RECORDING_TOO_LONG"
    assert not caught.value.retryable


def test_mono_is_the_pieces_one_after_the_other() -> None:
    pieces: list[Piece] = [b"\x01\x02", Silence(2), b"", Silence(0), b"\x03\x04"]
    assert b"".join(write_mono(pieces)) == b"\x01\x02\x00\x00\x00\x00\x03\x04"


def test_an_hour_of_mono_silence_is_written_in_small_pieces() -> None:
    sizes = [len(zeros) for zeros in write_mono([Silence(3600 * 8000)])]
    assert sum(sizes) == 3600 * 16_000
    assert max(sizes) <= 65_536


def test_left_and_right_alternate() -> None:
    frames = StereoMixer().mix([b"\x01\x02\x03\x04"], [b"\x11\x12\x13\x14"])
    assert b"".join(frames) == b"\x01\x02\x11\x12\x03\x04\x13\x14"


def test_uneven_pieces_and_silence_are_joined() -> None:
    mixer = StereoMixer()
    left: list[Piece] = [b"\x01\x01\x02\x02\x03\x03", Silence(1), b"\x05\x05"]
    right: list[Piece] = [Silence(2), b"\x13\x13", b"", b"\x14\x14\x15\x15"]
    assert b"".join(mixer.mix(left, right)) == bytes.fromhex(
        "0101 0000  0202 0000  0303 1313  0000 1414  0505 1515"
    )


def test_what_only_one_side_has_waits_for_the_other() -> None:
    mixer = StereoMixer()
    assert b"".join(mixer.mix([b"\x01\x01\x02\x02"], [])) == b""
    assert b"".join(mixer.mix([], [b"\x11\x11"])) == b"\x01\x01\x11\x11"
    assert b"".join(mixer.mix([b"\x03\x03"], [Silence(2)])) == bytes.fromhex("0202 0000 0303 0000")


def test_an_hour_of_stereo_silence_is_written_in_small_pieces() -> None:
    hour = Silence(3600 * 8000)
    sizes = [len(frames) for frames in StereoMixer().mix([hour], [hour])]
    assert sum(sizes) == 3600 * 32_000
    assert max(sizes) <= 131_072
