"""A deployed stack → where its bucket, its queues and its functions are."""

from __future__ import annotations

from functools import cache

import boto3
from botocore.exceptions import ClientError

from call_archive_cli.exits import USAGE, CommandError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer
    from collections.abc import Mapping


@cache
def stack_outputs(stack: str) -> Mapping[str, str]:
    """The outputs of a stack by name.

    Raises:
        CommandError: there is no such stack in this region.
        ClientError: CloudFormation refuses.
    """
    client = boto3.Session().client("cloudformation")
    try:
        (described,) = client.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            raise CommandError(f"there is no stack {stack} in this region", USAGE) from error
        raise
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def output_of(context: typer.Context, name: str, given: str | None, option: str) -> str:
    """What was given, or else the output of the stack that `--stack` names.

    Raises:
        CommandError: neither is there.
    """
    if given:
        return given
    stack = context.find_root().params.get("stack")
    if not stack:
        raise CommandError(f"give {option}, or --stack STACK_NAME before the command", USAGE)
    outputs = stack_outputs(str(stack))
    if name not in outputs:
        raise CommandError(f"stack {stack} has no output {name}: is it Call Archive's?", USAGE)
    return outputs[name]
