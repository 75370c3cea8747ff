"""A flow's text → its actions and where they lead, and findings about what could not be read."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

type Json = dict[str, Any]


class Level(StrEnum):
    """An error: Connect refuses the flow, or a caller or a recording is lost. Else a warning."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a flow.

    Attributes:
        rule: the rule that found it.
        action: the action's identifier; "" if it is about the flow.
        problem: what is wrong.
        remedy: what to do.
    """

    rule: str
    action: str
    problem: str
    remedy: str
    level: Level = Level.ERROR

    def __str__(self) -> str:
        place = f"[{self.action}] " if self.action else ""
        return f"{place}{self.level} ({self.rule}): {self.problem}. {self.remedy}."


class BranchKind(StrEnum):
    """What leads from an action to another."""

    NEXT = "NextAction"
    CONDITION = "Condition"
    ERROR = "Error"


@dataclass(frozen=True, slots=True)
class Branch:
    """A way on.

    Attributes:
        name: the error's type, or the condition's operands.
        target: the identifier that it names.
    """

    kind: BranchKind
    name: str
    target: str


@dataclass(frozen=True, slots=True)
class Action:
    """One action, as it is written."""

    name: str
    type: str
    parameters: Json = field(default_factory=dict)
    branches: tuple[Branch, ...] = ()

    def names(self, kind: BranchKind) -> list[str]:
        """The names of its branches of one kind."""
        return [branch.name for branch in self.branches if branch.kind is kind]

    @property
    def goes_on(self) -> bool:
        """Whether it has a NextAction."""
        return bool(self.names(BranchKind.NEXT))


@dataclass(frozen=True, slots=True)
class Flow:
    """Actions by identifier (the first of each), in the order of the file."""

    start: str
    actions: Mapping[str, Action]

    def ways(self, action: Action) -> Iterator[tuple[Branch, Action]]:
        """The branches that lead to an action that is there."""
        for branch in action.branches:
            if branch.target in self.actions:
                yield branch, self.actions[branch.target]


def decode_action(entry: object) -> Action | str:
    """The action, or what is wrong with it."""
    if not isinstance(entry, dict):
        return "an entry of Actions is not an object"
    name, kind = entry.get("Identifier"), entry.get("Type")
    if not isinstance(name, str) or not name:
        return "an action has no Identifier"
    if not isinstance(kind, str) or not kind:
        return f"{name} has no Type"
    parameters, transitions = entry.get("Parameters", {}), entry.get("Transitions", {})
    if not isinstance(parameters, dict) or not isinstance(transitions, dict):
        return f"{name}: Parameters and Transitions must be objects"
    try:
        branches = tuple(_branches(transitions))
    except (AttributeError, KeyError, TypeError):
        return f"{name}: Conditions and Errors must be lists of objects with a NextAction"
    return Action(name, kind, parameters, branches)


def _branches(transitions: Json) -> Iterator[Branch]:
    if transitions.get("NextAction"):
        yield Branch(BranchKind.NEXT, "", str(transitions["NextAction"]))
    for entry in transitions.get("Conditions") or []:
        condition = entry["Condition"]
        operands = [operand for operand in condition["Operands"] if isinstance(operand, str)]
        name = f"{condition['Operator']} {' '.join(operands)}"
        yield Branch(BranchKind.CONDITION, name, str(entry["NextAction"]))
    for entry in transitions.get("Errors") or []:
        yield Branch(BranchKind.ERROR, str(entry["ErrorType"]), str(entry["NextAction"]))


@dataclass(frozen=True, slots=True)
class OtherForm:
    """A file that holds a flow, but not in the form that Connect imports.

    Attributes:
        problem: what it is instead.
        remedy: how to get the flow out of it.
    """

    problem: str
    remedy: str


LEGACY_EXPORT = OtherForm(
    "it is an export in the old form (modules), which has no Actions",
    "Open the flow in the editor and export it again, or save what "
    "`aws connect describe-contact-flow --query ContactFlow.Content --output text` prints",
)
MALFORMED_CONTENT = OtherForm(
    "it is the answer of describe-contact-flow, and its ContactFlow.Content is not a flow",
    "Add --query ContactFlow.Content --output text to the command, and check what it prints",
)


def decode_json(text: str) -> Json | OtherForm:
    """The flow's JSON object, or what the text is instead.

    The whole answer of describe-contact-flow is taken, too: its flow is a string inside.
    """
    content = _load(text)
    if isinstance(content, OtherForm):
        return content
    if isinstance(content.get("ContactFlow"), dict):
        inner = content["ContactFlow"].get("Content")
        content = _load(inner) if isinstance(inner, str) else MALFORMED_CONTENT
        if isinstance(content, OtherForm):
            return MALFORMED_CONTENT
    if "modules" in content and "Actions" not in content:
        return LEGACY_EXPORT
    return content


def _load(text: str) -> Json | OtherForm:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        return OtherForm(f"it is not JSON: {error}", "Export the flow again")
    if isinstance(content, dict):
        return content
    return OtherForm("it is not a JSON object", "Export the flow again")
