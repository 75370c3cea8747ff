"""The roles' policies are proved: every journey works with them, and not with one action less."""

from collections.abc import Callable, Iterator
from itertools import chain

import pytest
from botocore.exceptions import ClientError

from local.runtime import FunctionError
from tests.security.journeys import JOURNEYS, PROVED_BY, RECORD_JOURNEYS, USED_BY_THE_SERVICE
from tests.security.world import World, actions_of, statements_of

type Journey = Callable[[World], None]
type Grant = tuple[str, str, str]


@pytest.fixture
def clean(full: World) -> Iterator[World]:
    """The full stack with the template's policies, before and after."""
    full.clear()
    yield full
    for role in full.roles:
        full.grant(role, statements_of(full.resources, role))
    full.clear()


def denied(world: World) -> set[str]:
    return {check.action for check in world.authorization.checks if not check.is_allowed}


def grants(world: World) -> set[Grant]:
    return {
        (role, statement["Sid"], action)
        for role in world.roles
        for statement in statements_of(world.resources, role)
        for action in actions_of(statement)
    }


@pytest.mark.parametrize("journey", [*JOURNEYS.values(), *RECORD_JOURNEYS.values()])
def test_every_journey_works_with_the_templates_policies(clean: World, journey: Journey) -> None:
    journey(clean)
    assert not denied(clean)


@pytest.mark.parametrize("journey", JOURNEYS.values())
def test_and_with_no_parameter_given(minimal: World, journey: Journey) -> None:
    minimal.clear()
    journey(minimal)
    assert not denied(minimal)


def test_every_permission_is_claimed_by_a_journey_or_a_service(full: World) -> None:
    assert grants(full) == PROVED_BY.keys() | USED_BY_THE_SERVICE
    assert not PROVED_BY.keys() & USED_BY_THE_SERVICE


@pytest.mark.parametrize("grant", PROVED_BY, ids=[" ".join(grant) for grant in PROVED_BY])
def test_without_one_permission_a_journey_fails(clean: World, grant: Grant) -> None:
    clean.grant_without(*grant)
    with pytest.raises((AssertionError, FunctionError, ClientError, ValueError)):
        PROVED_BY[grant](clean)
    assert denied(clean) == {grant[2]}


def test_statements_name_one_resource_each(full: World) -> None:
    statements = chain.from_iterable(statements_of(full.resources, role) for role in full.roles)
    several = [s["Sid"] for s in statements if not isinstance(s["Resource"], str)]
    assert several == []
