"""template.yaml → the settings that decide what Lambda and SQS let through."""

from dataclasses import dataclass
from typing import Any, override

import yaml

from bench.measure import ROOT


@dataclass(frozen=True, slots=True)
class Settings:
    """Of the stack as it is deployed without parameters."""

    maximum_concurrency: int
    archive_memory_mb: int
    flow_memory_mb: int
    queue_delay_s: int


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's own tags, which nothing here looks at."""

    @override
    def construct_undefined(self, node: Any) -> Any:
        return None


_Loader.add_constructor(None, _Loader.construct_undefined)


def read_settings() -> Settings:
    """The template's own."""
    with (ROOT / "template.yaml").open() as file:
        template = yaml.load(file, _Loader)  # noqa: S506 - a SafeLoader that skips tags
    resources = template["Resources"]
    return Settings(
        maximum_concurrency=template["Parameters"]["MaximumConcurrency"]["Default"],
        archive_memory_mb=resources["ArchiveFunction"]["Properties"]["MemorySize"],
        flow_memory_mb=resources["FlowFunction"]["Properties"]["MemorySize"],
        queue_delay_s=resources["ArchiveQueue"]["Properties"]["DelaySeconds"],
    )
