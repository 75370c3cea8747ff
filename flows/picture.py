"""A flow's JSON → a Mermaid flowchart, for docs/flows.md."""

from collections.abc import Iterator
from typing import Any

type Json = dict[str, Any]

_ERRORS = {
    "NoMatchingError": "error",
    "InputTimeLimitExceeded": "time-out",
    "NoMatchingCondition": "anything else",
    "QueueAtCapacity": "full",
}


def mermaid(content: Json) -> str:
    """One node for each action; errors are dotted."""
    nodes = {action["Identifier"]: f"b{n}" for n, action in enumerate(content["Actions"])}
    lines = ["flowchart TD"]
    lines += [f'    {node}["{name}"]' for name, node in nodes.items()]
    for action in content["Actions"]:
        lines += _arrows(action, nodes)
    return "\n".join(lines) + "\n"


def _arrows(action: Json, nodes: dict[str, str]) -> Iterator[str]:
    transitions, source = action["Transitions"], nodes[action["Identifier"]]
    if action["Type"] == "TransferContactToQueue":
        yield f'    {source} --> queue(["the queue"])'
    elif transitions.get("NextAction") and not _branches(action):
        yield f"    {source} --> {nodes[transitions['NextAction']]}"
    for condition in transitions.get("Conditions", []):
        key = condition["Condition"]["Operands"][0].replace("#", "#35;")
        yield f'    {source} -- "{key}" --> {nodes[condition["NextAction"]]}'
    labels: dict[str, list[str]] = {}
    for error in transitions.get("Errors", []):
        labels.setdefault(error["NextAction"], []).append(_ERRORS[error["ErrorType"]])
    for target, names in labels.items():
        yield f'    {source} -. "{", ".join(names)}" .-> {nodes[target]}'


def _branches(action: Json) -> bool:
    """Whether its conditions and errors are all the ways on."""
    is_menu = action["Parameters"].get("StoreInput") == "False"
    return is_menu or action["Type"] in ("Compare", "Loop")
