"""Every order of messages about one stretch ends in the same, best recording."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from copy import copy
from functools import cache
from itertools import permutations, product
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_archive.media.pcm import Direction
from tests.support.bucket import Bucket, MemoryArchive
from tests.support.stretch import FRAGMENTS, Kind, Media, Stream, World, facts_of, failed, new_world

MONO = (Direction.FROM_CUSTOMER,)
BOTH = tuple(Direction)
EXACT = {Kind.STOP_NUMBER, Kind.RECORD}
AT_THE_END = {*Kind} - {Kind.MID_CALL}


def sequences(longest: int = 3) -> Iterator[tuple[Kind, ...]]:
    """Messages and redrives of them."""
    for length in range(1, longest + 1):
        yield from product(Kind, repeat=length)


class Orders:
    """The states that a bucket gets into; each delivery is played once for each state."""

    def __init__(self, media: Media, tracks: tuple[Direction, ...]) -> None:
        self._known: dict[Any, tuple[Bucket, bool]] = {}
        self._media = media
        self._tracks = tracks

    def play(
        self, kinds: Iterable[Kind], *, behind: Iterable[Kind] = ()
    ) -> tuple[Bucket, tuple[bool, ...]]:
        """What is in the bucket in the end, and which messages failed.

        Before those of `behind` the retention removes the stretch's head.
        """
        bucket = new_world(self._media, self._tracks).archive.bucket
        failures = []
        for kind, removed in [*((kind, 0) for kind in kinds), *((kind, 4) for kind in behind)]:
            bucket, has_failed = self._step(bucket, kind, removed)
            failures.append(has_failed)
        return bucket, tuple(failures)

    def _step(self, bucket: Bucket, kind: Kind, removed: int) -> tuple[Bucket, bool]:
        state = (tuple((k, o.etag) for k, o in sorted(bucket.objects.items())), kind, removed)
        if state not in self._known:
            changed = copy(bucket)
            changed.objects = dict(bucket.objects)
            stream = Stream(self._media, removed)
            world = World(stream, MemoryArchive(changed), self._tracks)
            self._known[state] = changed, failed(world.play(kind))
        return self._known[state]


@cache
def known_orders(media: Media, tracks: tuple[Direction, ...]) -> Orders:
    """Shared by every test: a state that one has met is not played again."""
    return Orders(media, tracks)


@pytest.mark.parametrize("tracks", [MONO, BOTH], ids=["mono", "stereo"])
@pytest.mark.parametrize("media", Media)
def test_every_order_ends_in_the_same_recording(
    media: Media, tracks: tuple[Direction, ...]
) -> None:
    orders = known_orders(media, tracks)
    ends: dict[frozenset[Kind], dict[Any, tuple[Kind, ...]]] = defaultdict(dict)
    for kinds in sequences():
        bucket, _ = orders.play(kinds)
        ends[frozenset(kinds)].setdefault(facts_of(bucket), kinds)
    different = {kinds: found for kinds, found in ends.items() if len(found) > 1}
    assert not different


@pytest.mark.parametrize("media", [Media.WHOLE, Media.LATE_MISSING, Media.UNTAGGED_LAST])
def test_it_depends_on_when_the_retention_ended_and_not_on_the_order(media: Media) -> None:
    orders = known_orders(media, MONO)
    ends: dict[Any, set[Any]] = defaultdict(set)
    for before, behind in product(permutations(Kind, 2), permutations(Kind, 2)):
        bucket, _ = orders.play(before, behind=behind)
        ends[frozenset(before), frozenset(behind)].add(facts_of(bucket))
    assert {len(found) for found in ends.values()} == {1}


@given(
    media=st.sampled_from(Media),
    before=st.lists(st.sampled_from(Kind), max_size=5),
    behind=st.lists(st.sampled_from(Kind), max_size=3),
    shuffle=st.randoms(use_true_random=False),
)
def test_any_order_of_up_to_eight(
    media: Media, before: list[Kind], behind: list[Kind], shuffle: Random
) -> None:
    orders = known_orders(media, MONO)
    one, _ = orders.play(before, behind=behind)
    other, _ = orders.play(
        shuffle.sample(before, len(before)), behind=shuffle.sample(behind, len(behind))
    )
    assert facts_of(one) == facts_of(other)


@pytest.mark.parametrize("media", Media)
def test_complete_is_said_of_everything_that_was_told(media: Media) -> None:
    orders = known_orders(media, MONO)
    for kinds in sequences():
        bucket, failures = orders.play(kinds)
        manifest = bucket.manifest
        assert manifest is not None
        told = {*kinds}
        if told & EXACT:
            assert manifest["complete"] is (media is Media.WHOLE or media is Media.UNTAGGED_LAST)
        if told & AT_THE_END and media is Media.WHOLE:
            assert manifest["fragments"]["accepted"] == FRAGMENTS
        # The outcome of the last message reports the current state.
        assert failures[-1] is not manifest["complete"]
