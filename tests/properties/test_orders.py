"""Every order of messages about one stretch ends in the same, best recording."""

from collections import defaultdict
from collections.abc import Iterator
from copy import copy
from itertools import product
from typing import Any

import pytest

from call_archive.media.pcm import Direction
from tests.support.bucket import Bucket, MemoryArchive
from tests.support.stretch import FRAGMENTS, Kind, Media, World, facts_of, failed, new_world

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

    def play(self, kinds: tuple[Kind, ...]) -> tuple[Bucket, tuple[bool, ...]]:
        """What is in the bucket in the end, and which messages failed."""
        bucket = new_world(self._media, self._tracks).archive.bucket
        failures = []
        for kind in kinds:
            bucket, has_failed = self._step(bucket, kind)
            failures.append(has_failed)
        return bucket, tuple(failures)

    def _step(self, bucket: Bucket, kind: Kind) -> tuple[Bucket, bool]:
        state = (tuple((k, o.etag) for k, o in sorted(bucket.objects.items())), kind)
        if state not in self._known:
            changed = copy(bucket)
            changed.objects = dict(bucket.objects)
            world = new_world(self._media, self._tracks)
            world = World(world.stream, MemoryArchive(changed), self._tracks)
            self._known[state] = changed, failed(world.play(kind))
        return self._known[state]


@pytest.mark.parametrize("tracks", [MONO, BOTH], ids=["mono", "stereo"])
@pytest.mark.parametrize("media", Media)
def test_every_order_ends_in_the_same_recording(
    media: Media, tracks: tuple[Direction, ...]
) -> None:
    orders = Orders(media, tracks)
    ends: dict[frozenset[Kind], dict[Any, tuple[Kind, ...]]] = defaultdict(dict)
    for kinds in sequences():
        bucket, _ = orders.play(kinds)
        ends[frozenset(kinds)].setdefault(facts_of(bucket), kinds)
    different = {kinds: found for kinds, found in ends.items() if len(found) > 1}
    assert not different


@pytest.mark.parametrize("media", Media)
def test_complete_is_said_of_everything_that_was_told(media: Media) -> None:
    orders = Orders(media, MONO)
    for kinds in sequences():
        bucket, failures = orders.play(kinds)
        manifest = bucket.manifest
        assert manifest is not None
        told = {*kinds}
        if told & EXACT:
            assert manifest["complete"] is (media is Media.WHOLE or media is Media.UNTAGGED_LAST)
        if told & AT_THE_END and media is Media.WHOLE:
            assert manifest["fragments"]["accepted"] == FRAGMENTS
        # Whoever was told last knows what is so.
        assert failures[-1] is not manifest["complete"]
