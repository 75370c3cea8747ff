"""Range, timeline and mixer against plain words about what they do."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from call_archive.job import ArchiveJob
from call_archive.media.pcm import Direction, FragmentAudio, Piece, Silence, Span
from call_archive.recording.listing import ListedFragment
from call_archive.recording.selection import fragments_in_range
from call_archive.recording.timeline import Timeline
from call_archive.recording.wav import StereoMixer, write_mono
from tests.support.arns import INSTANCE_ARN, STREAM_ARN

START_MS = 1_767_258_000_000
BOTH = tuple(Direction)
JOB = ArchiveJob(
    contact_id="own",
    initial_contact_id="first",
    instance_arn=INSTANCE_ARN,
    stream_arn=STREAM_ARN,
    start_fragment_number=100,
    start_timestamp_ms=START_MS,
    stop_fragment_number=1000,
    stop_timestamp_ms=START_MS + 60_000,
    requested_at_ms=START_MS + 70_000,
)
JOBS = st.sampled_from([JOB, replace(JOB, stop_fragment_number=None)])

# ------------------------------------------------------------------------------------- selection


@given(JOBS, st.lists(st.integers(1, 10**47) | st.integers(90, 1010), max_size=30))
def test_the_range_is_ascending_and_unique(job: ArchiveJob, numbers: list[int]) -> None:
    listed = [ListedFragment(number, START_MS, 960, 32_000) for number in numbers]
    found = [fragment.number for fragment in fragments_in_range(job, listed)]
    last = 10**48 if job.stop_fragment_number is None else 1000
    assert found == sorted({number for number in numbers if 100 <= number <= last})


# -------------------------------------------------------------------------------------- timeline

SPANS = st.lists(
    st.tuples(
        st.integers(-30_000, 70_000),
        st.integers(1, 1500),
        st.none() | st.integers(-3000, 70_000),
        st.sampled_from(["customer", "agent", "both", "none"]),
    ),
    max_size=12,
)


def fragment_of(
    at_ms: int, samples: int, tracks: str, seed: int, wanted: Sequence[Direction] = BOTH
) -> FragmentAudio:
    start_ns = (START_MS + at_ms) * 1_000_000
    pcm = (seed + 1).to_bytes(2, "little") * samples
    held = {
        "customer": [Direction.FROM_CUSTOMER],
        "agent": [Direction.TO_CUSTOMER],
        "both": BOTH,
        "none": [],
    }[tracks]
    spans = {direction: [Span(start_ns, pcm)] for direction in held if direction in wanted}
    return FragmentAudio(start_ns, start_ns + samples * 125_000, spans)


@given(SPANS)
def test_the_timeline_is_as_long_as_its_pieces(
    spans: list[tuple[int, int, int | None, str]],
) -> None:
    timeline = Timeline(tuple(Direction))
    lengths = dict.fromkeys(Direction, 0)
    for seed, (at_ms, samples, server_ms, tracks) in enumerate(spans):
        before = timeline.samples
        server = None if server_ms is None else START_MS + server_ms
        for direction, pieces in timeline.place(
            fragment_of(at_ms, samples, tracks, seed), server
        ).items():
            lengths[direction] += sum(map(_samples, pieces))
        assert timeline.samples == max(lengths.values()) >= before
    for direction, pieces in timeline.finish().items():
        lengths[direction] += sum(map(_samples, pieces))
    assert set(lengths.values()) == {timeline.samples}


@given(SPANS)
def test_samples_in_are_samples_out_or_recorded_as_cut(
    spans: list[tuple[int, int, int | None, str]],
) -> None:
    customer = (Direction.FROM_CUSTOMER,)
    timeline = Timeline(customer)
    given_samples = laid = 0
    for seed, (at_ms, samples, server_ms, tracks) in enumerate(spans):
        audio = fragment_of(at_ms, samples, tracks, seed, customer)
        given_samples += samples if audio.spans else 0
        server = None if server_ms is None else START_MS + server_ms
        pieces = timeline.place(audio, server)[Direction.FROM_CUSTOMER]
        laid += sum(len(piece) // 2 for piece in pieces if isinstance(piece, bytes))
    assert laid + sum(hole.samples for hole in timeline.overlaps) == given_samples


@given(
    st.lists(st.sampled_from([0, 0, 0, 20, 1000, 3_600_000, -1000, -7000, -3_600_000]), max_size=30)
)
def test_no_jump_of_the_clock_loses_audio(jumps_ms: list[int]) -> None:
    """As long as it is not smaller than a fragment, which no one could tell from an overlap."""
    timeline = Timeline((Direction.FROM_CUSTOMER,))
    clock_ms, pieces = 0, []
    for index, jump_ms in enumerate(jumps_ms):
        clock_ms += jump_ms
        audio = fragment_of(clock_ms, 8000, "customer", index)
        pieces += timeline.place(audio, START_MS + index * 1000)[Direction.FROM_CUSTOMER]
        clock_ms += 1000
    heard = [piece for piece in pieces if isinstance(piece, bytes)]
    assert heard == [(index + 1).to_bytes(2, "little") * 8000 for index in range(len(jumps_ms))]
    assert timeline.overlaps == []


@given(st.lists(st.integers(1, 1500), min_size=1, max_size=12), st.integers(-19, 19))
def test_jitter_changes_nothing(lengths_ms: list[int], jitter_ms: int) -> None:
    timeline = Timeline((Direction.FROM_CUSTOMER,))
    at_ms, pieces = 0, []
    for index, length_ms in enumerate(lengths_ms):
        late_ms = jitter_ms if index % 2 else 0
        audio = fragment_of(at_ms + late_ms, length_ms * 8, "customer", index)
        pieces += timeline.place(audio, START_MS + at_ms)[Direction.FROM_CUSTOMER]
        at_ms += length_ms
    expected = b"".join(
        (index + 1).to_bytes(2, "little") * (length_ms * 8)
        for index, length_ms in enumerate(lengths_ms)
    )
    assert b"".join(write_mono(pieces)) == expected
    assert timeline.gaps == timeline.overlaps == []


def _samples(piece: Piece) -> int:
    return piece.samples if isinstance(piece, Silence) else len(piece) // 2


# ----------------------------------------------------------------------------------------- mixer

PIECES = st.lists(
    st.integers(0, 40).map(Silence)
    | st.lists(st.integers(0, 65_535), max_size=40).map(
        lambda samples: b"".join(sample.to_bytes(2, "little") for sample in samples)
    ),
    max_size=6,
)


@given(st.lists(st.tuples(PIECES, PIECES), max_size=6))
def test_the_mixer_interleaves(batches: list[tuple[list[Piece], list[Piece]]]) -> None:
    mixer = StereoMixer()
    mixed = b"".join(frames for left, right in batches for frames in mixer.mix(left, right))
    left = _plain(piece for pieces, _ in batches for piece in pieces)
    right = _plain(piece for _, pieces in batches for piece in pieces)
    expected = b"".join(
        left[at : at + 2] + right[at : at + 2] for at in range(0, min(len(left), len(right)), 2)
    )
    assert mixed == expected


def _plain(pieces: Iterable[Piece]) -> bytes:
    return b"".join(
        bytes(2 * piece.samples) if isinstance(piece, Silence) else piece for piece in pieces
    )
