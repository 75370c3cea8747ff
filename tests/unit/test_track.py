"""What of a span a track holds already: the last samples, and the limits of the search."""

import pytest

from call_archive.recording.track import _count_changes, _count_unvarying

SPEECH = b"\x01\x02\x03\x04" * 500


@pytest.mark.parametrize(("first", "held"), [(1_159, 1), (1_160, 0), (1_200, 0)])
def test_unvarying_audio_more_than_20_ms_off_is_no_repeat(first: int, held: int) -> None:
    """The only silence that is held is the samples up to the 1,000th."""
    assert _count_unvarying(bytes(2_000) + SPEECH, bytes(2), first) == held


@pytest.mark.parametrize("at", [0, 999])
def test_unvarying_audio_repeats_the_first_and_the_last_sample(at: int) -> None:
    held = bytearray(SPEECH)
    held[at * 2 : at * 2 + 2] = bytes(2)
    assert _count_unvarying(bytes(held), bytes(2), at) == 1


def test_every_sample_that_differs_from_the_one_before_is_a_change() -> None:
    assert _count_changes(b"\1\0\2\0" * 4) == 7


def test_unvarying_audio_whose_time_is_right_behind_the_track_may_repeat_its_last_sample() -> None:
    assert _count_unvarying(SPEECH + bytes(2), bytes(2), 1_001) == 1
