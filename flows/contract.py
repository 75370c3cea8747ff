"""What a flow may expect of FlowFunction, and what ArchiveFunction expects of a flow."""

import ast
from functools import cache
from pathlib import Path

FLOW_HANDLER = Path(__file__).parent.parent / "src" / "call_archive" / "flow_handler.py"

WHERE_IT_STARTS = ("streamArn", "startFragmentNumber", "startTimestamp")
"""The contact attributes by which ArchiveFunction finds the audio of a caller who hung up."""

ARCHIVE_PARAMETER, ARCHIVE_NOW = "archive", "now"
"""The block's input that says that streaming has been stopped."""


@cache
def answer_keys() -> frozenset[str]:
    """The keys of `$.External` after FlowFunction: the fields of `flow_handler.FlowAnswer`.

    Read, not imported: importing an entrypoint reads Lambda's environment.
    """
    tree = ast.parse(FLOW_HANDLER.read_text("utf-8"))
    (answer,) = (
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "FlowAnswer"
    )
    return frozenset(
        field.target.id
        for field in answer.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    )


def is_flow_function(function_arn: object) -> bool:
    """Whether a Lambda block invokes FlowFunction: its ARN, or the placeholder for it, says so."""
    return isinstance(function_arn, str) and "FlowFunction" in function_arn
