"""What of a span a track holds already: the last samples, and the limits of the search."""

import random
from functools import cache

import pytest

from call_archive.limits import MAX_FRAGMENT_SPAN_MS
from call_archive.media.pcm import Silence
from call_archive.recording.track import (
    Track,
    _count_changes,
    _count_equal,
    _count_unvarying,
    _find_nearest,
)

SPEECH = b"\x01\x02\x03\x04" * 500
JITTER = 160
"""Samples: 20 ms."""

REMEMBERED = 20 * 8000
"""Samples: a track compares with its last 20 s, as long as a fragment may be."""


@cache
def noise(samples: int, seed: int = 1) -> bytes:
    """Samples that differ from their neighbours, and that no other seed has."""
    return random.Random(seed).randbytes(2 * samples)  # noqa: S311 - a fixture


def level(value: int, samples: int) -> bytes:
    return value.to_bytes(2, "little") * samples


def at(pcm: bytes, first: int, end: int | None = None) -> bytes:
    """The samples from one to before another."""
    return pcm[2 * first : None if end is None else 2 * end]


def track(*pieces: bytes | Silence) -> Track:
    held = Track()
    for piece in pieces:
        held.add(piece)
    return held


# --------------------------------------------------------------------------------- unvarying audio


@pytest.mark.parametrize(("first", "held"), [(1_159, 1), (1_160, 0), (1_200, 0), (5_000, 0)])
def test_unvarying_audio_more_than_20_ms_off_is_no_repeat(first: int, held: int) -> None:
    """The only silence that is held is the samples up to the 1,000th."""
    assert _count_unvarying(bytes(2_000) + SPEECH, bytes(2), first) == held


@pytest.mark.parametrize(("first", "held"), [(839, 0), (840, 1), (1_160, 1), (1_161, 0)])
def test_unvarying_audio_is_searched_on_both_sides_of_its_time(first: int, held: int) -> None:
    assert _count_unvarying(SPEECH + bytes(2) + SPEECH, bytes(2), first) == held


@pytest.mark.parametrize("at", [0, 999])
def test_unvarying_audio_repeats_the_first_and_the_last_sample(at: int) -> None:
    held = bytearray(SPEECH)
    held[at * 2 : at * 2 + 2] = bytes(2)
    assert _count_unvarying(bytes(held), bytes(2), at) == 1


def test_every_sample_that_differs_from_the_one_before_is_a_change() -> None:
    assert _count_changes(b"\1\0\2\0" * 4) == 7
    assert _count_changes(b"\1\0\1\0\2\0\2\0\2\0\1\0") == 2


def test_unvarying_audio_whose_time_is_right_behind_the_track_may_repeat_its_last_sample() -> None:
    assert _count_unvarying(SPEECH + bytes(2), bytes(2), 1_001) == 1


def test_of_unvarying_audio_as_much_is_a_repeat_as_the_track_still_has() -> None:
    held = SPEECH + bytes(200)
    assert _count_unvarying(held, bytes(1_000), 1_000) == 100
    assert _count_unvarying(held, bytes(1_000), 1_040) == 60
    assert _count_unvarying(held, bytes(60), 1_000) == 30


def test_unvarying_audio_repeats_what_is_nearest_to_its_time() -> None:
    """Ten samples of silence, 100 before its time and 60 behind it, then at the track's end."""
    held = at(SPEECH, 0, 400) + bytes(20) + at(SPEECH, 0, 150) + bytes(20) + at(SPEECH, 0, 300)
    assert _count_unvarying(held, bytes(20), 500) == 10
    assert _count_unvarying(held + bytes(6), bytes(20), 800) == 3


# --------------------------------------------------------------------------------------- the search


@pytest.mark.parametrize("slack", [0, 1, 300])
def test_audio_is_found_as_far_from_its_time_as_jitter_and_slack_allow(slack: int) -> None:
    held = noise(2_000)
    pcm, reach = at(held, 1_000, 1_400), JITTER + slack
    for first in (1_000 - reach, 1_000, 1_000 + reach):
        assert _find_nearest(held, pcm, 1, first, slack) == [1_000]
    for first in (1_000 - reach - 1, 1_000 + reach + 1):
        assert _find_nearest(held, pcm, 1, first, slack) == []


def test_what_is_nearest_to_its_time_comes_first() -> None:
    """Audio with a period of 50 samples: every place is as good."""
    held = noise(50) * 40
    places = _find_nearest(held, at(held, 0, 300), 1, 1_010, 0)
    assert places == [1_000, 1_050, 950, 1_100, 900, 1_150, 850]
    assert _find_nearest(held, at(held, 0, 300), 1, 10, 0) == [0, 50, 100, 150]


@pytest.mark.parametrize("still", [1, 299, 300, 2_000])
def test_audio_that_begins_unvarying_is_found_by_what_varies(still: int) -> None:
    """Its unvarying start would be found everywhere."""
    voice = noise(400)
    held = noise(500, 2) + bytes(2 * 3_000) + voice
    pcm = bytes(2 * still) + voice
    assert _find_nearest(held, pcm, still, 3_500 - still, 0) == [3_500 - still]
    for off in (-JITTER, JITTER):
        assert _find_nearest(held, pcm, still, 3_500 - still + off, 0) == [3_500 - still]
    for off in (-JITTER - 1, JITTER + 1):
        assert _find_nearest(held, pcm, still, 3_500 - still + off, 0) == []


@pytest.mark.parametrize("voiced", [1, 100, 159, 160, 161])
def test_the_end_of_audio_is_compared_if_little_of_it_varies(voiced: int) -> None:
    """The search compares 160 samples, as many as there are: fewer would be found by chance."""
    voice = noise(400)
    held = noise(500, 2) + bytes(2 * 300) + voice
    pcm = bytes(2 * 300) + at(voice, 0, voiced)
    assert _find_nearest(held, pcm, 300, 500, 0) == [500]
    assert _find_nearest(held, pcm, 300, 520, 0) == [500]
    # 140 unvarying samples are too few for any length of voice that is shorter than 20 ms.
    short = noise(500, 2) + bytes(2 * max(0, 159 - voiced)) + voice
    assert _find_nearest(short, pcm, 300, 500 - 300 + max(0, 159 - voiced), 0) == []


@pytest.mark.parametrize("samples", [2, 159])
def test_audio_shorter_than_what_the_search_compares_is_compared_whole(samples: int) -> None:
    held = noise(1_000)
    assert _find_nearest(held, at(held, 500, 500 + samples), 1, 510, 0) == [500]
    assert _find_nearest(held, at(held, 1_000 - samples), 1, 990, 0) == [1_000 - samples]


def test_the_first_sample_and_one_unvarying_sample_are_compared() -> None:
    """Audio that varies at once is compared from its start; other audio from the sample before."""
    held = noise(1_000)
    pcm = differing(at(held, 500, 501)) + at(held, 501, 900)
    assert _find_nearest(held, pcm, 1, 500, 0) == []
    still, voice = 300, noise(400, 2)
    for before, found in ((bytes(2), [601 - still]), (differing(bytes(2)), [])):
        held = noise(600) + before + voice
        assert _find_nearest(held, bytes(2 * still) + voice, still, 601 - still, 0) == found


def test_a_place_before_what_is_remembered_is_none() -> None:
    """The voice is there; the silence that comes before it has been forgotten in part."""
    voice = noise(400)
    held = bytes(2 * 100) + voice
    assert _find_nearest(held, bytes(2 * 100) + voice, 100, 0, 0) == [0]
    assert _find_nearest(held, bytes(2 * 101) + voice, 101, 0, 0) == []
    assert _find_nearest(held, bytes(2 * 101) + voice, 101, -1, 0) == []


def test_a_time_before_what_is_remembered_is_searched_as_far_as_it_reaches() -> None:
    held = noise(1_000)
    assert _find_nearest(held, at(held, 60, 400), 1, -100, 0) == [60]
    assert _find_nearest(held, at(held, 61, 400), 1, -100, 0) == []
    assert _find_nearest(held, at(held, 0, 400), 1, -JITTER, 0) == [0]
    assert _find_nearest(held, at(held, 1, 400), 1, -JITTER, 0) == []


def test_bytes_between_two_samples_are_nowhere() -> None:
    held = noise(1_000)
    assert _find_nearest(held, held[1_001:1_401], 1, 500, 0) == []
    assert _find_nearest(held, held[1_001:1_401], 1, 501, 0) == []


@pytest.mark.parametrize("equal", [0, 1, 2, 63, 64, 99, 100])
def test_equal_samples_are_counted_from_the_first_one(equal: int) -> None:
    one = noise(100)
    other = at(one, 0, equal) + bytes(byte ^ 0xFF for byte in at(one, equal))
    assert _count_equal(one, other) == _count_equal(other, one) == equal
    assert _count_equal(one, other + bytes(50)) == equal
    assert _count_equal(one, at(other, 0, 30)) == min(equal, 30)


def test_a_sample_is_equal_only_with_both_its_bytes() -> None:
    assert _count_equal(b"\1\2\3\4", b"\1\2\3\5") == 1
    assert _count_equal(b"\1\2\3\4", b"\1\2\4\4") == 1


# ------------------------------------------------------------------------------------- the evidence


def differing(pcm: bytes) -> bytes:
    """The same length; no sample is the same."""
    return bytes(byte ^ 0xFF for byte in pcm)


@pytest.mark.parametrize(("changes", "repeated"), [(511, 0), (512, 513)])
def test_audio_that_goes_on_differently_is_a_repeat_after_64_ms_of_changes(
    changes: int, repeated: int
) -> None:
    held = noise(2_000)
    pcm = at(held, 600, 601 + changes) + differing(at(held, 601 + changes, 1_500))
    assert track(held).count_repeated(600, pcm) == repeated


@pytest.mark.parametrize(("changes", "repeated"), [(159, 0), (160, 161)])
def test_audio_that_goes_on_behind_the_track_is_a_repeat_after_20_ms_of_changes(
    changes: int, repeated: int
) -> None:
    held = noise(2_000)
    first = 2_000 - changes - 1
    assert track(held).count_repeated(first, at(held, first) + noise(500, 2)) == repeated


@pytest.mark.parametrize("samples", [2, 50, 161])
def test_audio_that_is_equal_to_its_end_needs_no_more_evidence(samples: int) -> None:
    held = noise(2_000)
    assert track(held).count_repeated(600, at(held, 600, 600 + samples)) == samples
    assert track(held).count_repeated(2_000 - samples, at(held, 2_000 - samples)) == samples


def test_a_nearer_place_that_proves_nothing_does_not_hide_a_farther_one() -> None:
    """200 equal samples at its time, which go on differently; all of it 100 samples earlier."""
    held = noise(1_500)
    pcm = at(held, 500, 1_400)
    double = held + noise(20, 3) + at(pcm, 0, 200) + noise(300, 4)
    time = 1_520 - 30
    assert _find_nearest(double, pcm, 1, time, 900) == [1_520, 500]
    assert track(double).count_repeated(time, pcm, slack=900) == 900


@pytest.mark.parametrize(("slack", "repeated"), [(0, 0), (39, 0), (40, 300)])
def test_a_clock_may_be_wrong_by_jitter_and_slack(slack: int, repeated: int) -> None:
    held = noise(2_000)
    pcm = at(held, 1_000, 1_300)
    for first in (800, 1_200):
        assert track(held).count_repeated(first, pcm, slack=slack) == repeated


def test_audio_far_before_what_is_remembered_is_new() -> None:
    """Until its time, with jitter, reaches the oldest sample."""
    oldest, second = 1_000, noise(8_000)
    held = track(noise(oldest, 2), second, *[noise(8_000, seed) for seed in range(3, 23)])
    assert held._held_from(0) == held._held_from(oldest)
    pcm = at(second, 0, 500)
    for slack in (0, 10):
        first = oldest - JITTER - slack
        assert held.count_repeated(first, pcm, slack=slack) == 500
        assert held.count_repeated(first - 1, pcm, slack=slack) == 0
    assert held.count_repeated(0, at(noise(oldest, 2), 0, 500)) == 0
    assert held.count_repeated(0, pcm) == 0
    assert held.count_repeated(oldest - JITTER, pcm) == 500
    assert held.count_repeated(oldest - JITTER - 1, pcm) == 0


# ------------------------------------------------------------------------ silence and idle lines


@pytest.mark.parametrize("value", [0, 8])
def test_an_idle_line_repeats_an_idle_line_if_silence_counts(value: int) -> None:
    held = track(noise(1_000), level(value, 1_000))
    for pcm, repeated in ((level(value, 400), 400), (level(value, 900), 500)):
        assert held.count_repeated(1_500, pcm) == repeated
        assert held.count_repeated(1_500, pcm, silence_counts=False) == 0


@pytest.mark.parametrize(("still", "repeated"), [(499, 0), (500, 500), (700, 500)])
def test_silence_in_front_of_a_voice_is_a_repeat_if_it_fills_the_overlap(
    still: int, repeated: int
) -> None:
    held = track(noise(1_000), bytes(2_000))
    assert held.count_repeated(1_500, bytes(2 * still) + noise(600, 2)) == repeated


def test_silence_before_what_is_remembered_is_new() -> None:
    held = track(*[bytes(16_000)] * 22)
    oldest = held.samples - 21 * 8_000
    assert held.count_repeated(oldest, bytes(200)) == 100
    assert held.count_repeated(oldest - 1, bytes(200)) == 0


# ------------------------------------------------------------------------------------- the memory


def test_a_track_is_as_long_as_its_pieces() -> None:
    held = track(noise(30), Silence(50), noise(20), Silence(10 * REMEMBERED))
    assert held.samples == 100 + 10 * REMEMBERED


@pytest.mark.parametrize("pieces", [1, 2, 7, 500])
def test_the_remembered_audio_is_the_last_of_the_track(pieces: int) -> None:
    """Whatever pieces it came in; silence among them."""
    whole = noise(500) + bytes(2 * 300) + noise(700, 2)
    size = -(-1_500 // pieces)
    held = Track()
    for first in range(0, 1_500, size):
        piece = at(whole, first, first + size)
        held.add(piece if any(piece) else Silence(len(piece) // 2))
    for sample in (0, 1, 499, 500, 650, 799, 800, 1_499):
        assert held._held_from(sample) == at(whole, sample)
    assert held._held_from(1_500) == b""


def test_twenty_seconds_are_remembered_and_hardly_more() -> None:
    """The piece that the twentieth second begins in is kept whole; what is older, is not."""
    assert MAX_FRAGMENT_SPAN_MS == 20_000
    second = noise(8_000)
    held = track(*[second] * 20)
    assert held._held_from(0) == second * 20
    held.add(second)
    assert held._held_from(0) == second * 21
    held.add(at(second, 0, 1))
    assert held._held_from(0) == second * 20 + at(second, 0, 1)


@pytest.mark.parametrize("samples", [REMEMBERED, REMEMBERED + 1, 100 * REMEMBERED])
def test_a_long_silence_is_remembered_as_twenty_seconds(samples: int) -> None:
    held = track(noise(500), Silence(samples), noise(100, 2))
    assert held._held_from(0) == bytes(2 * REMEMBERED) + noise(100, 2)
