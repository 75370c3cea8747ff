"""The template holds together for every pair of parameter values that its conditions ask for.

Values come from the parameters themselves (allowed values; the shortest text that fits the
pattern), so that a parameter, a condition or a resource is checked from the day it is added.
"""

import itertools
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from typing import Any

import pytest

from tests.template.cloudformation import Deployed, Json, deploy_stack, load, translate

type Values = dict[str, str]

UNRESOLVED = ({"Ref"}, {"Fn::If"}, {"Fn::GetAtt"}, {"Fn::Sub"})


def names_in(value: Any) -> set[str]:
    """Every name that a condition refers to: parameters and other conditions."""
    if isinstance(value, list):
        return {name for item in value for name in names_in(item)}
    if not isinstance(value, dict):
        return set()
    own = {value[key] for key in ("Ref", "Condition") if isinstance(value.get(key), str)}
    return own | {name for item in value.values() for name in names_in(item)}


@cache
def choices() -> dict[str, list[str]]:
    """The values to try of each parameter that a condition depends on."""
    template = load()
    asked = names_in(template["Conditions"])
    return {
        name: values_to_try(parameter)
        for name, parameter in template["Parameters"].items()
        if name in asked
    }


def values_to_try(parameter: Json) -> list[str]:
    if "AllowedValues" in parameter:
        return [str(value) for value in parameter["AllowedValues"]]
    default = str(parameter.get("Default", ""))
    if parameter["Type"] == "Number":
        return [default, str(parameter.get("MaxValue", int(default) + 1))]
    return [default, shortest_text(parameter.get("AllowedPattern", "^x$"))]


REPEATED = re.compile(r"(\[(?:[^]\\]|\\.)+\]|\([^()]*\))(?:(\*)|(\+)|\{(\d+)(?:,\d*)?\}|)")


def shortest_text(pattern: str) -> str:
    """A short text that fits the pattern, and is not empty.

    Of a choice the last one is taken, of a repetition as few as it can have.
    """
    text = pattern.removeprefix("^").removesuffix("$").removesuffix("?").removesuffix("*")
    while found := REPEATED.search(text):
        what, times = found[1], 0 if found[2] else int(found[4] or 1)
        one = a_character_of(what) if what[0] == "[" else what[1:-1].rpartition("|")[2]
        text = text[: found.start()] + one * times + text[found.end() :]
    assert re.fullmatch(pattern, text), f"write what fits {pattern}: {text} does not"
    return text


def a_character_of(characters: str) -> str:
    return next(letter for letter in "0a-" if re.fullmatch(characters, letter))


@cache
def combinations() -> list[Values]:
    """Rows in which every two values of two parameters occur together; first and last values, too.

    The first row leaves out everything that can be left out, the second asks for everything at
    once: conditions that need several parameters hold there.
    """
    names = list(choices())
    open_pairs = {
        ((a, x), (b, y))
        for a, b in itertools.combinations(names, 2)
        for x in choices()[a]
        for y in choices()[b]
    }
    rows = [{name: values[0] for name, values in choices().items()}]
    rows.append({name: values[-1] for name, values in choices().items()})
    open_pairs = {pair for pair in open_pairs if not any(pair_in(pair, row) for row in rows)}
    while open_pairs:
        row = dict(min(open_pairs))
        for name in names:
            if name not in row:
                row[name] = max(choices()[name], key=lambda v: covered(row | {name: v}, open_pairs))
        rows.append(row)
        open_pairs = {pair for pair in open_pairs if not pair_in(pair, row)}
    return rows


def pair_in(pair: Any, row: Values) -> bool:
    return all(row.get(name) == value for name, value in pair)


def covered(row: Values, pairs: set[Any]) -> int:
    return sum(pair_in(pair, row) for pair in pairs)


@cache
def deployed(index: int) -> Deployed:
    row = combinations()[index]
    return deploy_stack(translate(row), row)


@pytest.fixture(params=range(len(combinations())))
def stack(request: pytest.FixtureRequest) -> Deployed:
    return deployed(request.param)


def test_every_two_values_are_tried_together() -> None:
    for (a, xs), (b, ys) in itertools.combinations(choices().items(), 2):
        for x, y in itertools.product(xs, ys):
            assert any(row[a] == x and row[b] == y for row in combinations())


def test_every_conditional_resource_is_tried_with_and_without() -> None:
    stacks = [deployed(index).resources.keys() for index in range(len(combinations()))]
    for name, resource in load()["Resources"].items():
        assert any(name in stack for stack in stacks), name
        assert all(name in stack for stack in stacks) == ("Condition" not in resource), name


def test_nothing_refers_to_what_is_not_there(stack: Deployed) -> None:
    dangling = {
        f"{source} → {target}"
        for source, targets in stack.references.items()
        for target in targets
        if target.partition(".")[0] not in stack.resources
    }
    assert not dangling


def test_resources_can_be_made_in_some_order(stack: Deployed) -> None:
    needs = {
        name: {
            *(target.partition(".")[0] for target in stack.references[f"Resources.{name}"]),
            *as_list(resource.get("DependsOn", [])),
        }
        for name, resource in stack.resources.items()
    }
    order = list(TopologicalSorter(needs).static_order())  # raises CycleError
    assert set(stack.resources) <= set(order)


def test_what_has_to_be_made_first_is_in_the_template(stack: Deployed) -> None:
    known = {name for index in range(len(combinations())) for name in deployed(index).resources}
    for resource in stack.resources.values():
        assert set(as_list(resource.get("DependsOn", []))) <= known


def test_nothing_is_left_open(stack: Deployed) -> None:
    """No null, which CloudFormation refuses, and no reference that nothing resolves."""
    for name, part in (stack.resources | stack.outputs).items():
        for value in walk(part):
            assert value is not None, name
            assert not (isinstance(value, dict) and value.keys() in UNRESOLVED), name


def walk(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from walk(item)


def test_outputs_say_something(stack: Deployed) -> None:
    assert {"FlowFunctionArn", "ArchiveBucket"} <= stack.outputs.keys()
    assert all(output["Value"] for output in stack.outputs.values())


def test_no_resource_is_empty(stack: Deployed) -> None:
    assert all(resource["Properties"] for resource in stack.resources.values())


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
