"""The flow language's rules: a flow → what Connect would refuse, and where a call gets stuck."""

from collections.abc import Iterable, Iterator, Sequence

from flows import language
from flows.document import Action, BranchKind, Finding, Flow, Json, Level, decode_action
from flows.language import CATCH_ALL, TYPES, ActionType


def check_document(content: Json, characters: int) -> Iterator[Finding]:
    """What is wrong around the actions."""
    if characters > language.MAX_CHARACTERS:
        yield Finding(
            "size",
            "",
            f"the flow has {characters} characters, and {language.MAX_CHARACTERS} are allowed",
            "Move a part of it into a flow module",
        )
    if content.get("Version") != language.VERSION:
        yield Finding(
            "version",
            "",
            f"Version is {content.get('Version')!r}",
            f'Write "Version": "{language.VERSION}", the only version',
        )
    actions = content.get("Actions")
    if not isinstance(actions, list) or not actions:
        yield Finding("actions", "", "Actions is not a list with actions", "Add the actions")
    elif len(actions) > language.MAX_ACTIONS:
        yield Finding(
            "actions",
            "",
            f"the flow has {len(actions)} actions, and {language.MAX_ACTIONS} are allowed",
            "Move a part of it into a flow module",
        )


def read_actions(content: Json) -> tuple[Flow, list[Finding]]:
    """The actions that can be read, and findings about those that cannot."""
    findings: list[Finding] = []
    actions: dict[str, Action] = {}
    entries = content.get("Actions")
    for entry in entries if isinstance(entries, list) else []:
        action = decode_action(entry)
        if isinstance(action, str):
            findings.append(Finding("shape", "", action, "Export the flow again, or correct it"))
            continue
        if action.name in actions:
            findings.append(
                Finding(
                    "identifier",
                    action.name,
                    "two actions have this identifier",
                    "Rename one of them",
                )
            )
        actions.setdefault(action.name, action)
    return Flow(str(content.get("StartAction", "")), actions), findings


def check_language(flow: Flow) -> Iterator[Finding]:
    """What Connect would refuse, action by action, and what can never run or never end."""
    if flow.start not in flow.actions:
        yield Finding(
            "start",
            "",
            f"StartAction {flow.start!r} is not an action of this flow",
            "Name the action that runs first",
        )
    for action in flow.actions.values():
        yield from _check_identifier(action)
        yield from _check_targets(flow, action)
        if action.type in TYPES:
            yield from _check_parameters(action, TYPES[action.type])
            yield from _check_branches(action, TYPES[action.type])
        else:
            yield Finding(
                "type",
                action.name,
                f"{action.type} is not known here, so it is not checked",
                "Check that Connect's flow language has it",
                Level.WARNING,
            )
    yield from _check_reach(flow)


def _check_identifier(action: Action) -> Iterator[Finding]:
    forbidden = sorted(set(action.name) & language.FORBIDDEN_IN_IDENTIFIERS)
    if len(action.name) > language.MAX_IDENTIFIER:
        problem = f"the identifier has {len(action.name)} characters"
    elif forbidden:
        problem = f"the identifier holds {' '.join(forbidden)}"
    elif action.name in language.FORBIDDEN_IDENTIFIERS:
        problem = "the identifier is a reserved word"
    else:
        return
    yield Finding(
        "identifier",
        action.name,
        problem,
        f"Rename it: up to {language.MAX_IDENTIFIER} characters, letters and spaces are safe",
    )


def _check_targets(flow: Flow, action: Action) -> Iterator[Finding]:
    for branch in action.branches:
        if branch.target not in flow.actions:
            label = f"{branch.kind} {branch.name}".strip()
            yield Finding(
                "target",
                action.name,
                f"{label} leads to {branch.target!r}, which is not an action",
                "Name an action of this flow",
            )


def _check_parameters(action: Action, kind: ActionType) -> Iterator[Finding]:
    rules = {**kind.required, **kind.optional}
    for name in kind.required:
        if name not in action.parameters:
            yield _wrong_parameter(action, f"{name} is missing", f"{kind.block} needs it")
    for name, value in action.parameters.items():
        if name not in rules:
            allowed = ", ".join(rules) or "none"
            yield Finding(
                "parameter",
                action.name,
                f"{name} is not known here",
                f"{kind.block} takes: {allowed}",
                # The editor writes some that no page documents.
                Level.WARNING,
            )
        elif expected := rules[name](value):
            yield _wrong_parameter(action, f"{name} {expected}", "Correct the value")
    yield from _check_choice(action, kind.one_of, least=1)
    yield from _check_choice(action, kind.at_most_one, least=0)
    if action.type == "GetParticipantInput":
        yield from _check_input_parameters(action)


def _check_choice(action: Action, names: Iterable[str], least: int) -> Iterator[Finding]:
    choices = sorted(names)
    given = [name for name in choices if name in action.parameters]
    if choices and not least <= len(given) <= 1:
        wanted = "exactly one" if least else "at most one"
        yield _wrong_parameter(
            action,
            f"it has {' and '.join(given) or 'none'} of {', '.join(choices)}",
            f"Give {wanted}",
        )


def _stores_input(action: Action) -> bool:
    return bool(action.parameters.get("StoreInput") == "True")


def _check_input_parameters(action: Action) -> Iterator[Finding]:
    if _stores_input(action) and "InputValidation" not in action.parameters:
        yield _wrong_parameter(action, "InputValidation is missing", "StoreInput True needs it")
    if not _stores_input(action) and "InputValidation" in action.parameters:
        yield _wrong_parameter(
            action, "InputValidation needs StoreInput True", "Leave one of them out"
        )


def _wrong_parameter(action: Action, problem: str, remedy: str) -> Finding:
    return Finding("parameter", action.name, problem, remedy)


def _check_branches(action: Action, kind: ActionType) -> Iterator[Finding]:
    if kind.ends:
        if action.branches:
            yield Finding("ends", action.name, "nothing follows it", 'Write "Transitions": {}')
        return
    required, allowed = _errors_of(action, kind)
    errors = action.names(BranchKind.ERROR)
    for error in required:
        if error not in errors:
            yield Finding(
                "error-branch",
                action.name,
                f"the error branch {error} is missing",
                "Connect it to a block where the caller hears something or the call goes on",
            )
    for error in errors:
        if error not in allowed:
            yield Finding(
                "error-branch",
                action.name,
                f"{kind.block} has no error branch {error}",
                f"It has: {', '.join(allowed) or 'none'}",
            )
    yield from _check_conditions(action, kind)
    if not action.goes_on and not kind.waits:
        yield Finding(
            "dead-end",
            action.name,
            "no NextAction",
            "Connect it to the next block, or to a Disconnect",
        )


def _errors_of(action: Action, kind: ActionType) -> tuple[Sequence[str], Sequence[str]]:
    """The error branches an action must have, and may have."""
    if action.type != "GetParticipantInput":
        return kind.errors, (*kind.errors, *kind.more_errors)
    if _stores_input(action):
        return kind.errors, (*kind.errors, "InvalidPhoneNumber")
    menu = (language.TIME_OUT, language.NO_CONDITION, *kind.errors)
    return menu, menu


def _check_conditions(action: Action, kind: ActionType) -> Iterator[Finding]:
    conditions = action.names(BranchKind.CONDITION)
    for condition in conditions:
        operator = condition.split(" ", 1)[0]
        if operator not in language.OPERATORS:
            yield Finding(
                "condition",
                action.name,
                f"{operator} is not an operator",
                f"The operators are: {', '.join(sorted(language.OPERATORS))}",
            )
    if action.type == "GetParticipantInput":
        yield from _check_keys(action, conditions)
    if kind.conditions is None:
        return
    wanted = [f"Equals {operand}" for operand in kind.conditions]
    if sorted(conditions) != sorted(wanted):
        yield Finding(
            "condition",
            action.name,
            f"its conditions are {', '.join(conditions) or 'none'}",
            f"{kind.block} has: {', '.join(wanted) or 'none'}",
        )


def _check_keys(action: Action, conditions: Sequence[str]) -> Iterator[Finding]:
    keys = {f"Equals {key}" for key in "0123456789*#"}
    for condition in conditions:
        if _stores_input(action) or condition not in keys:
            yield Finding(
                "condition",
                action.name,
                f"{condition!r} is not a key of a menu",
                "With StoreInput False, compare Equals with one of 0-9, * and #",
            )


def _check_reach(flow: Flow) -> Iterator[Finding]:
    reached = _reachable(flow)
    for action in flow.actions.values():
        if reached and action.name not in reached:
            yield Finding("unreachable", action.name, "nothing leads to it", "Connect or remove it")
    ending = _ending(flow)
    for name in reached:
        if name not in ending and flow.actions[name].branches:
            yield Finding(
                "endless",
                name,
                "no path from here ends the flow, unless a block fails",
                "Connect it to a Disconnect, or to a transfer",
            )


def _reachable(flow: Flow) -> list[str]:
    """The actions that can run, in the order in which they are found."""
    reached = [flow.start] if flow.start in flow.actions else []
    for name in reached:
        for _, target in flow.ways(flow.actions[name]):
            if target.name not in reached:
                reached.append(target.name)
    return reached


def _ending(flow: Flow) -> set[str]:
    """The actions from which an end can be reached, without a failure on the way."""
    ending = {action.name for action in flow.actions.values() if _is_end(action)}
    grown = -1
    while grown != len(ending):
        grown = len(ending)
        ending |= {
            action.name
            for action in flow.actions.values()
            if any(to.name in ending for way, to in flow.ways(action) if way.name != CATCH_ALL)
        }
    return ending


def _is_end(action: Action) -> bool:
    kind = TYPES.get(action.type)
    if kind is None:
        return not action.branches
    return kind.ends or kind.may_end or (kind.waits and not action.goes_on)
