"""Targets: fragments that were chosen, not mangled → selection, timeline, a recording."""

from collections.abc import Iterator

from call_archive.errors import ArchiveError, MediaError
from call_archive.limits import MAX_CALL_MS
from call_archive.media.fragments import Ending, Fragment, Shape
from call_archive.media.likeness import MediaFragment
from call_archive.media.pcm import Direction, FragmentAudio, Piece, Silence, Span
from call_archive.reasons import Code, Reason
from call_archive.recording.listing import MissingFragment
from call_archive.recording.selection import ContactSelection
from call_archive.recording.timeline import Timeline
from fuzz.choices import Choices
from fuzz.journey import (
    BOTH,
    CONTACT_ID,
    FIRST_NUMBER,
    INITIAL_CONTACT_ID,
    OTHER_CONTACT_ID,
    START_MS,
    archive,
    build_job,
    frame,
)
from local.encoder import (
    FROM_CUSTOMER,
    SDK_PRODUCER,
    TO_CUSTOMER,
    Block,
    Cluster,
    Layout,
    Track,
    encode_fragment,
)

_OWN = frozenset((CONTACT_ID, INITIAL_CONTACT_ID))
_TAGS = [
    frozenset((CONTACT_ID,)),
    frozenset((INITIAL_CONTACT_ID,)),
    _OWN,
    frozenset((OTHER_CONTACT_ID,)),
    frozenset((CONTACT_ID, OTHER_CONTACT_ID)),
    frozenset[str](),
]
_NOTHING = Fragment(b"", Shape(b"", ()), Ending.WHOLE, 0)
_MISSING = MissingFragment(FIRST_NUMBER, Reason(Code.NOT_DELIVERED, ""), may_improve=False)
_MOST_FRAGMENTS = 64


def fuzz_selection(source: bytes) -> None:
    """Nothing foreign passes, nor untagged next to strangers; everything is counted."""
    choices = Choices(source)
    stop = FIRST_NUMBER + _MOST_FRAGMENTS if choices.flag() else None
    selection = ContactSelection(build_job(stop_number=stop))
    given: list[MediaFragment] = []

    def deliver() -> Iterator[MediaFragment | MissingFragment]:
        while choices and len(given) < _MOST_FRAGMENTS:
            kind = choices.integer(0, len(_TAGS))
            if kind == len(_TAGS):
                yield _MISSING
                continue
            number = FIRST_NUMBER + len(given)
            given.append(MediaFragment(_NOTHING, number, None, _TAGS[kind], ""))
            yield given[-1]

    passed = list(selection.select(deliver()))
    counts = selection.counts
    assert counts.accepted + counts.foreign + counts.untagged == len(given)
    assert len(passed) == counts.accepted and counts.unproved <= counts.untagged
    numbers = [media.number or 0 for media in passed]
    assert numbers == sorted(set(numbers)), "the order is kept"
    for media in passed:
        assert media.contact_ids <= _OWN, "a stranger passed"
        owners = [other.contact_ids for other in given if other.contact_ids]
        before = [
            other.contact_ids
            for other in given
            if other.contact_ids and (other.number or 0) <= (media.number or 0)
        ]
        assert owners and before and before[-1] <= _OWN, "nothing proves whose it is"


_TIMES_NS = [
    0,
    START_MS * 1_000_000,
    -(1 << 63),
    (1 << 63) - 1,
    1 << 100,
    -(1 << 100),
    4_102_444_800_000 * 1_000_000,
]
_STEPS_NS = [0, 64_000_000, -64_000_000, 19_999_999, 20_000_000, 1_000_000_000, 125_000]


def _choose_time_ns(choices: Choices, last_ns: int) -> int:
    """A time that follows the last one closely, or not at all."""
    if choices.integer(0, 7):
        return last_ns + choices.pick(_STEPS_NS) * choices.integer(0, 20)
    return choices.pick(_TIMES_NS) + choices.integer(0, 1 << 40) - (1 << 39)


def fuzz_timeline(source: bytes) -> None:
    """Tracks stay whole, equally long and shorter than a call may be."""
    choices = Choices(source)
    tracks = choices.pick([BOTH, BOTH[:1]])
    timeline = Timeline(tracks)
    laid = dict.fromkeys(tracks, 0)

    def add(pieces: dict[Direction, list[Piece]]) -> None:
        for direction, column in pieces.items():
            for piece in column:
                assert not isinstance(piece, bytes) or len(piece) % 2 == 0
                samples = piece.samples if isinstance(piece, Silence) else len(piece) // 2
                assert samples > 0
                laid[direction] += samples

    time_ns = START_MS * 1_000_000
    try:
        for _ in range(_MOST_FRAGMENTS):
            if not choices:
                break
            time_ns = _choose_time_ns(choices, time_ns)
            server_ms = time_ns // 1_000_000 + choices.integer(0, 5000) if choices.flag() else None
            add(timeline.place(_choose_audio(choices, time_ns), server_ms))
        add(timeline.finish())
    except MediaError:
        return
    assert len(set(laid.values())) == 1, "tracks end together"
    assert timeline.samples == max(laid.values()) <= MAX_CALL_MS * 8
    for hole in (*timeline.gaps, *timeline.overlaps):
        assert 0 <= hole.first_sample <= timeline.samples and hole.samples > 0


def _choose_audio(choices: Choices, start_ns: int) -> FragmentAudio:
    spans: dict[Direction, list[Span]] = {}
    first_ns, last_ns = start_ns, start_ns
    for _ in range(choices.integer(1, 4)):
        samples = choices.pick([1, 160, 512, 8000])
        pcm = choices.take(1) * 2 * samples
        span_ns = _choose_time_ns(choices, start_ns)
        first_ns = min(first_ns, span_ns)
        last_ns = max(last_ns, span_ns + samples * 125_000)
        spans.setdefault(choices.pick(BOTH), []).append(Span(span_ns, pcm))
    return FragmentAudio(first_ns, last_ns, spans)


_LAYOUTS = [Layout(), SDK_PRODUCER, Layout(timecode_scale=1), Layout(timecode_scale=1 << 55)]
_NAMES = [FROM_CUSTOMER, TO_CUSTOMER, "", "Track_audio/L16", "VIDEO"]
_CONTACTS = [CONTACT_ID, INITIAL_CONTACT_ID, OTHER_CONTACT_ID, ""]


def fuzz_call(source: bytes) -> None:
    """Documents that are well formed and say anything, through the decoder to a recording."""
    choices = Choices(source)
    tracks = choices.pick([BOTH, BOTH[:1]])
    documents: list[bytes] = []
    time_ms = START_MS
    while choices and len(documents) < _MOST_FRAGMENTS // 4:
        time_ms = max(0, _choose_time_ns(choices, time_ms * 1_000_000) // 1_000_000)
        documents.append(_choose_document(choices, FIRST_NUMBER + len(documents), time_ms))
    fragments, _ = frame([b"".join(documents)])
    stop = FIRST_NUMBER + len(documents) - 1 if choices.flag() else None
    try:
        archive(fragments, build_job(stop_number=stop), tracks=tracks)
    except ArchiveError:
        return


def _choose_document(choices: Choices, number: int, time_ms: int) -> bytes:
    contact = choices.pick(_CONTACTS)
    entries = tuple(
        Track(choices.integer(1, 3), choices.pick(_NAMES)) for _ in range(choices.integer(0, 3))
    )
    blocks = tuple(
        Block(
            choices.integer(1, 3),
            choices.pick([0, 64, 128, -1, 32_767, -32_768]),
            choices.take(2) * choices.pick([0, 1, 96, 512]) + b"\1" * choices.integer(0, 1),
        )
        for _ in range(choices.integer(0, 6))
    )
    return encode_fragment(
        number=number,
        server_timestamp_ms=max(0, time_ms + choices.pick([0, 1000, -1000, 1 << 40])),
        producer_timestamp_ms=time_ms,
        tracks=entries,
        clusters=(Cluster(time_ms, blocks),) if choices.integer(0, 7) else (),
        contact_tags={"ContactId": contact} if contact else None,
        layout=choices.pick(_LAYOUTS),
    )
