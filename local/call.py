"""Two sides of PCM → the fragments that Connect would put on a stream, and their contact.

Invariant: the customer's blocks, joined in the order of the fragments, are the customer's samples
(less the fragments that a `Delivery` loses), and the same arguments give the same bytes. A fragment
is encoded when it is asked for, so a call of 12 hours costs its list of fragments and no media.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import batched
from operator import itemgetter
from typing import Final, Literal

from local.contact import Contact
from local.encoder import (
    CONNECT,
    FROM_CUSTOMER,
    TO_CUSTOMER,
    Block,
    Cluster,
    Layout,
    Track,
    encode_fragment,
    fragment_number,
)
from local.pcm import BYTES_PER_SECOND, Pcm

# From the real event after a stop: the first fragment's server time is 242 ms after StartTimestamp,
# and the last one ends about 60 ms before StopTimestamp.
_START_TO_FIRST_FRAGMENT_MS: Final = 242
_LAST_FRAGMENT_TO_STOP_MS: Final = 60
_MIME_TYPE: Final = "audio/L16;rate=8000;channels=1;"


@dataclass(frozen=True, slots=True)
class StoredFragment:
    """A fragment as a stream keeps it; `encode` builds the document with Tags elements appended.

    Attributes:
        last_block_ms: how long its last blocks are.
        listing_delay_ms: how long after its end it is listed; None leaves that to the service.
    """

    number: int
    server_timestamp_ms: int
    producer_timestamp_ms: int
    duration_ms: int
    size_bytes: int
    encode: Callable[[bytes], bytes] = field(repr=False, compare=False)
    last_block_ms: int = 0
    listing_delay_ms: int | None = None

    @property
    def server_end_ms(self) -> int:
        """When the service had all of it, by the server's clock."""
        return self.server_timestamp_ms + self.duration_ms

    def document(self, trailing_tags: bytes = b"") -> bytes:
        """The EBML document; `trailing_tags` are encoded Tags elements to put behind everything."""
        return self.encode(trailing_tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Contact):
    """A contact and its fragments, in order."""

    fragments: tuple[StoredFragment, ...] = field(repr=False)

    @property
    def end_ms(self) -> int:
        """When the last fragment had arrived, by the server's clock."""
        return self.fragments[-1].server_end_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How the stream carries a call: sizes, clocks, and everything odd that a real stream does.

    Fragments are named by their index in the call, from 0, lost ones and empty ones counted.

    Attributes:
        layout: how documents are written.
        fragment_ms: length of a fragment, rounded to whole blocks; up to 10 s.
        block_bytes: payload of a SimpleBlock.
        clusters_per_fragment: Clusters that a fragment's blocks are dealt to.
        timecode_lead_ms: a Cluster's Timecode is this much later than its first block, whose offset
            is then negative.
        server_lag_ms: server clock minus producer clock.
        server_jitter_ms: random deviation of the server's timestamps, to both sides.
        producer_clock: since the epoch, or since the call started (seen in 2019).
        track_names: TrackEntry Names of the customer's and the agent's track.
        honest_tracks: the TrackEntries say what the payload is, raw PCM, as Connect's do not: for
            tools that believe them.
        customer_track_first: whether the customer's track has number 1.
        swap_tracks_every: the track numbers change places after this many fragments.
        untagged: fragments without contact tags.
        without_tags: fragments without any Tags element.
        without_contact_id: fragments with contact tags, but no ContactId.
        without_cluster: fragments of no length and without media, in between.
        lost: fragments that never reach the stream, with their audio.
        short_blocks: fragment → bytes of its middle block, of both tracks, while the timecodes stay
            on the grid: the next sample follows where the next full block would have.
        holes_ms: fragment → silence that was not sent before it, on both clocks.
        clock_jumps_ms: fragment → what the producer's clock jumps by, from it on.
    """

    layout: Layout = CONNECT
    fragment_ms: int = 960
    block_bytes: int = 1024
    clusters_per_fragment: int = 1
    timecode_lead_ms: int = 0
    server_lag_ms: int = -1000
    server_jitter_ms: int = 25
    producer_clock: Literal["epoch", "relative"] = "epoch"
    track_names: tuple[str | None, str | None] = (FROM_CUSTOMER, TO_CUSTOMER)
    honest_tracks: bool = False
    customer_track_first: bool = True
    swap_tracks_every: int | None = None
    untagged: frozenset[int] = frozenset()
    without_tags: frozenset[int] = frozenset()
    without_contact_id: frozenset[int] = frozenset()
    without_cluster: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    short_blocks: Mapping[int, int] = field(default_factory=dict)
    holes_ms: Mapping[int, int] = field(default_factory=dict)
    clock_jumps_ms: Mapping[int, int] = field(default_factory=dict)

    @property
    def blocks_per_fragment(self) -> int:
        """Blocks of each track in a full fragment."""
        return max(1, round(self.fragment_ms * BYTES_PER_SECOND / 1000 / self.block_bytes))

    def milliseconds(self, blocks_bytes: int) -> int:
        """The length of this many bytes of one track, rounded."""
        return round(blocks_bytes * 1000 / BYTES_PER_SECOND)


@dataclass(frozen=True, slots=True)
class _Span:
    """Which samples a fragment holds, [start, stop) in bytes of each track, and when."""

    index: int
    start: int
    stop: int
    short: int | None
    elapsed_ms: int
    duration_ms: int


def simulate_call(  # noqa: PLR0913 - what a call consists of, by keyword
    customer: Pcm,
    agent: Pcm | None,
    *,
    contact_id: str,
    instance_arn: str,
    stream_arn: str,
    start_ms: int,
    initial_contact_id: str | None = None,
    first_sequence: int = 1,
    seed: int = 0,
    delivery: Delivery | None = None,
    attributes: Mapping[str, str] | None = None,
) -> Call:
    """A call as Connect streams it.

    Args:
        customer: samples of the track from the customer.
        agent: samples of the track to the customer; None for a stream with one track. Lengths may
            differ.
        contact_id: in the ContactId tag of every fragment.
        instance_arn: of the Connect instance.
        stream_arn: of the stream.
        start_ms: StartTimestamp, epoch milliseconds.
        initial_contact_id: the contact's own id by default.
        first_sequence: sequence number of the first fragment; a session starts at a multiple of
            1000, plus 1.
        seed: of the jitter and of the fragment numbers' random bits.
        delivery: what Connect does, by default.
        attributes: contact attributes.
    """
    delivery = delivery or Delivery()
    tags = {
        "ContactId": contact_id,
        "InstanceId": instance_arn.rpartition("/")[2],
        "MimeType": _MIME_TYPE,
        FROM_CUSTOMER: "1",
        TO_CUSTOMER: "2",
        "Events": "[]",
    }
    recorder = _Recorder(customer, agent, tags, delivery)
    fragments = tuple(_store(recorder, start_ms, first_sequence, seed))
    if not fragments:
        raise ValueError("a call needs at least one sample, and a fragment that is not lost")
    return Call(
        contact_id=contact_id,
        initial_contact_id=initial_contact_id or contact_id,
        instance_arn=instance_arn,
        stream_arn=stream_arn,
        start_timestamp_ms=start_ms,
        stop_timestamp_ms=fragments[-1].server_end_ms + _LAST_FRAGMENT_TO_STOP_MS,
        start_fragment_number=fragments[0].number,
        stop_fragment_number=fragments[-1].number,
        attributes=attributes or {},
        fragments=fragments,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSource:
    """What `simulate_stream` makes one call of."""

    contact_id: str
    customer: Pcm
    agent: Pcm | None
    delivery: Delivery = field(default_factory=Delivery)


def simulate_stream(
    sources: Sequence[CallSource],
    *,
    instance_arn: str,
    stream_arn: str,
    start_ms: int,
    pause_ms: int = 0,
    first_sequence: int = 1,
    seed: int = 0,
) -> tuple[Call, ...]:
    """Calls of several contacts on one stream, each `pause_ms` after the stop of the one before."""
    calls: list[Call] = []
    for index, source in enumerate(sources):
        call = simulate_call(
            source.customer,
            source.agent,
            contact_id=source.contact_id,
            instance_arn=instance_arn,
            stream_arn=stream_arn,
            start_ms=start_ms,
            first_sequence=first_sequence,
            seed=seed + index,
            delivery=source.delivery,
        )
        calls.append(call)
        start_ms = call.stop_timestamp_ms + pause_ms
        first_sequence = next_session(first_sequence + len(call.fragments))
    return tuple(calls)


def next_session(sequence: int) -> int:
    """The first sequence number of the session after the one that has used `sequence`."""
    return (sequence // 1000 + 1) * 1000 + 1


def _store(
    recorder: "_Recorder", start_ms: int, first_sequence: int, seed: int
) -> Iterator[StoredFragment]:
    delivery = recorder.delivery
    chance = random.Random(seed)  # noqa: S311 - a fixture, not a secret
    sizes: dict[object, int] = {}
    first_server_ms = start_ms + _START_TO_FIRST_FRAGMENT_MS
    epoch_ms = (
        0 if delivery.producer_clock == "relative" else first_server_ms - delivery.server_lag_ms
    )
    jump_ms = 0
    earliest_ms = start_ms
    for span in _spans(recorder):
        jump_ms += delivery.clock_jumps_ms.get(span.index, 0)
        jitter_ms = chance.randint(-delivery.server_jitter_ms, delivery.server_jitter_ms)
        server_ms = max(earliest_ms, first_server_ms + span.elapsed_ms + jitter_ms)
        number = fragment_number(first_sequence + span.index, server_ms, chance.getrandbits(28))
        # Server times grow from fragment to fragment, whatever the jitter.
        earliest_ms = server_ms + 1
        if span.index in delivery.lost:
            continue
        producer_ms = epoch_ms + span.elapsed_ms + jump_ms
        encode = partial(recorder.encode, span, number, server_ms, producer_ms)
        shape = recorder.shape(span)
        if shape not in sizes:
            sizes[shape] = len(encode(b""))
        yield StoredFragment(
            number,
            server_ms,
            producer_ms,
            span.duration_ms,
            sizes[shape],
            encode,
            _last_block_ms(span, delivery),
        )


def _spans(recorder: "_Recorder") -> Iterator[_Span]:
    delivery = recorder.delivery
    full = delivery.blocks_per_fragment * delivery.block_bytes
    index, start, elapsed_ms = 0, 0, 0
    while start < recorder.length_bytes:
        elapsed_ms += delivery.holes_ms.get(index, 0)
        if index in delivery.without_cluster:
            yield _Span(index, start, start, None, elapsed_ms, 0)
            index += 1
            continue
        short = delivery.short_blocks.get(index)
        missing = 0 if short is None else delivery.block_bytes - short
        stop = min(start + full - missing, recorder.length_bytes)
        duration_ms = delivery.milliseconds(stop - start + missing)
        yield _Span(index, start, stop, short, elapsed_ms, duration_ms)
        index, start, elapsed_ms = index + 1, stop, elapsed_ms + duration_ms


def _last_block_ms(span: _Span, delivery: Delivery) -> int:
    """The part of a fragment behind the start of its last blocks, on the grid of timecodes."""
    missing = 0 if span.short is None else delivery.block_bytes - span.short
    places = -(-(span.stop - span.start + missing) // delivery.block_bytes)
    return span.duration_ms - delivery.milliseconds(max(0, places - 1) * delivery.block_bytes)


class _Recorder:
    """One call's samples, tags and manner of delivery: encodes any of its fragments."""

    def __init__(
        self, customer: Pcm, agent: Pcm | None, tags: Mapping[str, str], delivery: Delivery
    ) -> None:
        self.delivery = delivery
        self._sides = (customer,) if agent is None else (customer, agent)
        self._tags = tags
        self._anonymous = {name: value for name, value in tags.items() if name != "ContactId"}
        self.length_bytes = max(map(len, self._sides))

    def shape(self, span: _Span) -> object:
        """Fragments of equal shape have documents of equal size."""
        delivery = self.delivery
        index = span.index
        ends = tuple(min(span.stop, len(side)) - span.start for side in self._sides)
        oddities = tuple(
            index in group
            for group in (delivery.untagged, delivery.without_tags, delivery.without_contact_id)
        )
        # Epoch times all have the same number of digits; a relative clock's grow, so nothing is
        # shared there.
        unique = index if delivery.producer_clock == "relative" else None
        return ends, span.short, oddities, unique

    def encode(
        self, span: _Span, number: int, server_ms: int, producer_ms: int, trailing_tags: bytes
    ) -> bytes:
        """The document of one fragment."""
        index = span.index
        bare = index in self.delivery.without_tags
        order = self._track_numbers(index)
        return encode_fragment(
            number=None if bare else number,
            server_timestamp_ms=server_ms,
            producer_timestamp_ms=producer_ms,
            tracks=self._tracks(order),
            clusters=self._clusters(span, order, producer_ms),
            contact_tags=None if bare else self._contact_tags(index),
            layout=self.delivery.layout,
            trailing_tags=trailing_tags,
        )

    def _contact_tags(self, index: int) -> Mapping[str, str] | None:
        if index in self.delivery.untagged:
            return None
        return self._anonymous if index in self.delivery.without_contact_id else self._tags

    def _track_numbers(self, index: int) -> tuple[int, ...]:
        every = self.delivery.swap_tracks_every
        swapped = bool(every) and index // (every or 1) % 2 == 1
        if len(self._sides) == 1:
            return (1,)
        return (1, 2) if swapped != self.delivery.customer_track_first else (2, 1)

    def _tracks(self, order: tuple[int, ...]) -> tuple[Track, ...]:
        pairs = zip(order, self.delivery.track_names, strict=False)
        build = _honest_track if self.delivery.honest_tracks else Track
        return tuple(build(number, name) for number, name in sorted(pairs, key=itemgetter(0)))

    def _clusters(
        self, span: _Span, order: tuple[int, ...], producer_ms: int
    ) -> tuple[Cluster, ...]:
        timed = self._timed_blocks(span, order)
        if not timed:
            return ()
        size = -(-len(timed) // self.delivery.clusters_per_fragment)
        return tuple(self._cluster(group, producer_ms) for group in batched(timed, size))

    def _cluster(self, timed: tuple[tuple[int, int, bytes], ...], producer_ms: int) -> Cluster:
        lead = round(self.delivery.timecode_lead_ms * self._units_per_ms())
        begin = self._units(timed[0][0]) + lead
        return Cluster(
            self._timecode(producer_ms) + begin,
            tuple(Block(track, self._units(at) - begin, payload) for at, track, payload in timed),
        )

    def _timed_blocks(self, span: _Span, order: tuple[int, ...]) -> list[tuple[int, int, bytes]]:
        """(place on the grid in bytes, track number, payload), the tracks alternating."""
        sides = [side[span.start : span.stop] for side in self._sides]
        block_bytes = self.delivery.block_bytes
        short_at = self.delivery.blocks_per_fragment // 2
        timed = []
        start = 0
        for place in range(self.delivery.blocks_per_fragment):
            stop = start + block_bytes
            if span.short is not None and place == short_at:
                stop = start + span.short
            for track, side in zip(order, sides, strict=True):
                payload = side[start:stop]
                if payload:
                    timed.append((place * block_bytes, track, payload))
            start = stop
        return timed

    def _units_per_ms(self) -> float:
        return 1_000_000 / self.delivery.layout.timecode_scale

    def _units(self, grid_bytes: int) -> int:
        return round(grid_bytes * 1000 / BYTES_PER_SECOND * self._units_per_ms())

    def _timecode(self, producer_ms: int) -> int:
        return producer_ms * 1_000_000 // self.delivery.layout.timecode_scale


def _honest_track(number: int, name: str | None) -> Track:
    return Track(number, name, "A_PCM/INT/LIT", codec_private=None, with_audio=True)
