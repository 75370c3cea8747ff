"""A deployed stack in moto, and what its tests ask of it."""

from dataclasses import dataclass
from typing import Any

from local.demo_call import INSTANCE_ARN
from local.server import LocalAws
from local.stack import BUCKET, NAME, PREFIX, deploy_stack

__all__ = ["BUCKET", "INSTANCE_ID", "NAME", "PREFIX", "Stack", "deploy"]

INSTANCE_ID = INSTANCE_ARN.rpartition("/")[2]


@dataclass(frozen=True)
class Stack:
    """The stack, its resources by logical id, and what AWS is asked to break them."""

    aws: LocalAws
    resources: dict[str, str]

    def client(self, service: str) -> Any:
        return self.aws.client(service)


def deploy(aws: LocalAws, **parameters: str) -> Stack:
    """A stack of which nothing is wrong, on an instance that streams and knows FlowFunction."""
    return Stack(aws, deploy_stack(aws.endpoint_url, aws.connect, **parameters).resources)
