"""A deployed stack → where its bucket, its queues and its functions are."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from call_archive_cli.exits import USAGE, CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import typer
    from mypy_boto3_cloudformation.type_defs import StackTypeDef


def stack_outputs(stack: str) -> Mapping[str, str]:
    """The outputs of a stack by name.

    Raises:
        CommandError: there is no such stack in this region.
        ClientError: CloudFormation refuses.
    """
    return {
        output["OutputKey"]: output["OutputValue"] for output in _describe(stack).get("Outputs", [])
    }


def stack_parameters(stack: str) -> Mapping[str, str]:
    """The parameters that a stack was deployed with; raises as `stack_outputs`."""
    return {
        parameter["ParameterKey"]: parameter["ParameterValue"]
        for parameter in _describe(stack).get("Parameters", [])
    }


def stack_resources(stack: str) -> Mapping[str, str]:
    """Logical id → physical id; raises as `stack_outputs`."""
    pages = (
        boto3.Session()
        .client("cloudformation")
        .get_paginator("list_stack_resources")
        .paginate(StackName=stack)
    )
    return {
        resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
        for page in pages
        for resource in page["StackResourceSummaries"]
    }


@cache
def _describe(stack: str) -> StackTypeDef:
    client = boto3.Session().client("cloudformation")
    try:
        (described,) = client.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            raise CommandError(f"there is no stack {stack} in this region", USAGE) from error
        raise
    return described


def stack_of(context: typer.Context) -> str:
    """The stack that `--stack` names; "" where it does not."""
    return str(context.find_root().params.get("stack") or "")


def output_of(context: typer.Context, name: str, given: str | None, option: str) -> str:
    """What was given, or else the output of the stack that `--stack` names.

    Raises:
        CommandError: neither is there.
    """
    if given:
        return given
    if not (stack := stack_of(context)):
        raise CommandError(f"give {option}, or --stack STACK_NAME", USAGE)
    outputs = stack_outputs(stack)
    if name not in outputs:
        raise CommandError(f"stack {stack} has no output {name}: is it Call Archive's?", USAGE)
    return outputs[name]
