"""The fuzz targets, on inputs that each hold one trap, and on the seeds; no fuzzer needed."""

import random
from pathlib import Path

import pytest

from fuzz.mutate import mutate, mutate_json, parse
from fuzz.seeds import build_seeds
from fuzz.targets import CORPUS, JSON, MATROSKA, TARGETS
from tests.properties.samples import at_most_seconds

INPUTS = sorted(path.relative_to(CORPUS) for path in CORPUS.glob("*/*"))


@pytest.mark.parametrize("place", INPUTS, ids=str)
def test_a_trap_is_no_finding(place: Path) -> None:
    with at_most_seconds(30):
        TARGETS[place.parent.name]((CORPUS / place).read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_a_seed_is_no_finding(target: str) -> None:
    seeds = build_seeds(target)
    assert seeds
    for seed in seeds.values():
        with at_most_seconds(30):
            TARGETS[target](seed)
            TARGETS[target](seed[: len(seed) // 2])


def test_every_target_has_a_corpus_and_no_other_has() -> None:
    assert {place.parent.name for place in INPUTS} == {*TARGETS}
    assert {*TARGETS} >= MATROSKA | JSON


def test_the_corpus_stays_small() -> None:
    assert sum((CORPUS / place).stat().st_size for place in INPUTS) < 100_000


@pytest.mark.parametrize("target", sorted(MATROSKA))
def test_a_body_that_was_taken_apart_is_put_together_again(target: str) -> None:
    for seed in build_seeds(target).values():
        assert b"".join(node.encode() for node in parse(seed[16:])) == seed[16:]


@pytest.mark.parametrize("target", sorted(MATROSKA | JSON))
def test_mutants_are_no_findings(target: str) -> None:
    """Each changes something; the fuzzer tries as many in a blink."""
    generator = random.Random(1)  # noqa: S311 - the same on every run
    for seed in build_seeds(target).values():
        mutants = [
            seed[:16] + mutate(seed[16:], generator)
            if target in MATROSKA
            else mutate_json(seed, generator)
            for _ in range(25)
        ]
        assert len({*mutants} - {seed}) > 5 or b"\0" in seed
        for mutant in mutants:
            with at_most_seconds(30):
                TARGETS[target](mutant)
