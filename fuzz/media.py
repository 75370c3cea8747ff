"""Targets: bytes as KVS sends them → fragments → what they say → a recording."""

from call_archive.errors import ArchiveError
from call_archive.media.fragments import Fragment
from call_archive.media.likeness import _remembered, decode_audio, decode_fragment
from fuzz.choices import Choices
from fuzz.journey import BOTH, FIRST_NUMBER, archive, build_job, cut, decode, frame

CONTROL_BYTES = 16
"""Bytes in front of the body that choose the cuts into reads and the options."""


def fuzz_framing(source: bytes) -> None:
    """Any split gives the same fragments; together they are the body and contain their elements."""
    control, body = source[:CONTROL_BYTES], source[CONTROL_BYTES:]
    choices = Choices(control)
    reads = cut(body, (choices.integer(0, 65_535) for _ in range(CONTROL_BYTES // 2)))
    fragments, reason = frame([body])
    assert frame(reads) == (fragments, reason), "the split shows"
    framed = b"".join(fragment.document for fragment in fragments)
    assert body.startswith(framed)
    assert reason or framed == body, "bytes are lost"
    for fragment in fragments:
        _check_elements(fragment)


def _check_elements(fragment: Fragment) -> None:
    before = 0
    for element in fragment.elements:
        assert before <= element.start <= element.end, "elements overlap"
        before = element.end + (element.blocks - 1) * element.stride
        assert before <= len(fragment.document), "an element ends outside its document"


def fuzz_decoding(source: bytes) -> None:
    """A fragment decodes the same whatever was read before it, and gives no more than it holds."""
    choices = Choices(source[:CONTROL_BYTES])
    wanted = choices.pick([BOTH, BOTH[:1], BOTH[1:], ()])
    fragments, _ = frame([source[CONTROL_BYTES:]])
    said = [_describe(fragment, wanted) for fragment in fragments]
    for fragment, before in zip(fragments, said, strict=True):
        _remembered.cache_clear()
        assert _describe(fragment, wanted) == before, "what came before shows"


def _describe(fragment: Fragment, wanted: tuple[str, ...]) -> list[object]:
    said: list[object] = []
    try:
        media = decode_fragment(fragment)
        assert media.number is None or 0 <= media.number < 10**128
        said += [media.number, media.server_timestamp_ms, media.contact_ids, media.fault_code]
        audio = decode_audio(fragment, wanted)  # type: ignore[arg-type] # a StrEnum's members
        if audio is not None:
            pcm = [span.pcm for spans in audio.spans.values() for span in spans]
            assert audio.start_ns <= audio.end_ns
            assert set(audio.spans) <= set(wanted)
            assert all(part and len(part) % 2 == 0 for part in pcm)
            assert sum(map(len, pcm)) <= len(fragment.document)
        said.append(audio)
    except ArchiveError as error:
        said.append(error.reason)
    return said


def fuzz_media(source: bytes) -> None:
    """The whole media path, from a body in any split to a published WAV and its manifest."""
    choices = Choices(source[:CONTROL_BYTES])
    tracks = choices.pick([BOTH, BOTH[:1]])
    accept_partial, has_stop = choices.flag(), choices.flag()
    missing = [FIRST_NUMBER + choices.integer(1, 3)] if choices.flag() else []
    reads = cut(source[CONTROL_BYTES:], (choices.integer(0, 65_535) for _ in range(4)))
    fragments, _ = frame(reads)
    numbers = [media.number for media in decode(fragments) if media.number is not None]
    job = build_job(stop_number=max([*numbers, FIRST_NUMBER]) if has_stop else None)
    try:
        archive(fragments, job, tracks=tracks, accept_partial=accept_partial, missing=missing)
    except ArchiveError:
        return
