"""Calls that end at once: as many contacts and streams, no two alike, and the hash of each."""

import hashlib

from bench.load.calls import LoadCall, build_calls
from tests.unit.local_aws.matroska_reader import parse

ENDS_AT_MS = 1_767_258_000_000


def spoken(one: LoadCall) -> bytes:
    """What the customer says, as ebmlite reads it from the stream."""
    return b"".join(
        parse(fragment.document()).payload("AUDIO_FROM_CUSTOMER") for fragment in one.call.fragments
    )


def wav(pcm: bytes) -> bytes:
    """A canonical header, field by field, and the PCM."""
    sizes = ((36 + len(pcm)).to_bytes(4, "little"), len(pcm).to_bytes(4, "little"))
    form = "10000000 0100 0100 401f0000 803e0000 0200 1000"
    return b"RIFF" + sizes[0] + b"WAVEfmt " + bytes.fromhex(form) + b"data" + sizes[1] + pcm


def test_each_has_its_own_contact_stream_and_audio_and_knows_its_recordings_hash() -> None:
    calls = list(build_calls(2, "load", [ENDS_AT_MS] * 3))
    assert len({one.call.contact_id for one in calls}) == 3
    assert len({one.call.stream_arn for one in calls}) == 3
    assert len({one.sha256 for one in calls}) == 3
    for one in calls:
        pcm = spoken(one)
        assert len(pcm) == 32_000
        assert one.sha256 == hashlib.sha256(wav(pcm)).hexdigest()


def test_all_end_at_the_same_moment() -> None:
    ends = {one.call.end_ms for one in build_calls(2, "load", [ENDS_AT_MS] * 5)}
    assert max(ends) - min(ends) <= 50  # the jitter of the server's clock, to both sides
    assert abs(max(ends) - ENDS_AT_MS) < 1_000


def test_each_ends_at_its_own_moment() -> None:
    first, second = build_calls(2, "load", [ENDS_AT_MS, ENDS_AT_MS + 10_000])
    assert abs(second.call.end_ms - first.call.end_ms - 10_000) <= 50


def test_calls_of_another_name_are_other_contacts() -> None:
    names = ("load", "warm-up")
    ids = [one.call.contact_id for name in names for one in build_calls(1, name, [ENDS_AT_MS] * 2)]
    assert len(set(ids)) == 4
