"""Stacks for the tests of one module: with every parameter given, and with none."""

from collections.abc import Iterator

import pytest

from tests.security.world import FULL, World


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(FULL, tmp_path_factory.mktemp("full")) as world:
        yield world


@pytest.fixture(scope="module")
def minimal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World({}, tmp_path_factory.mktemp("minimal")) as world:
        yield world
