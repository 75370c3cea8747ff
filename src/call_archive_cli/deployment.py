"""A deployed stack → where its bucket, its queues and its functions are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from call_archive_cli.exits import USAGE, CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_cloudformation.type_defs import StackTypeDef

    from call_archive_cli.clients import Clients

MAX_STACK_NAME_CHARACTERS = 68
"""SQS takes 80 in a queue's name, and `-failed-jobs` has 12."""


@dataclass
class Deployment:
    """A stack, as CloudFormation describes it; each question is asked once.

    Every property raises CommandError if there is no such stack in the region, and ClientError
    if CloudFormation refuses.
    """

    clients: Clients
    stack: str

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """Its outputs by name."""
        return {
            output["OutputKey"]: output["OutputValue"]
            for output in self._described.get("Outputs", [])
        }

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """The parameters that it was deployed with."""
        return {
            parameter["ParameterKey"]: parameter["ParameterValue"]
            for parameter in self._described.get("Parameters", [])
        }

    @cached_property
    def resources(self) -> Mapping[str, str]:
        """Logical id → physical id."""
        pages = (
            self.clients.named("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName=self.stack)
        )
        return {
            resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
            for page in pages
            for resource in page["StackResourceSummaries"]
        }

    def output(self, name: str) -> str:
        """One output.

        Raises:
            CommandError: the stack has none of this name.
        """
        if name not in self.outputs:
            raise CommandError(
                f"stack {self.stack} has no output {name}: is it Call Archive's?", USAGE
            )
        return self.outputs[name]

    @cached_property
    def run_timeout_s(self) -> int:
        """The longest that a run of ArchiveFunction can take.

        Raises:
            ClientError: Lambda refuses.
        """
        answer = self.clients.named("lambda").get_function_configuration(
            FunctionName=self.resources["ArchiveFunction"]
        )
        return int(answer["Timeout"])

    @cached_property
    def _described(self) -> StackTypeDef:
        client = self.clients.named("cloudformation")
        try:
            (described,) = client.describe_stacks(StackName=self.stack)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                if len(self.stack) > MAX_STACK_NAME_CHARACTERS:
                    raise CommandError(
                        f"there is no stack {self.stack}: its name has {len(self.stack)} "
                        "characters, and a stack of Call Archive at most "
                        f"{MAX_STACK_NAME_CHARACTERS}",
                        USAGE,
                    ) from error
                raise CommandError(
                    f"there is no stack {self.stack} in {self.clients.region}: give --region, or "
                    "another --stack",
                    USAGE,
                ) from error
            raise
        stack: StackTypeDef = described
        return stack
