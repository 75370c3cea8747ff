"""template.yaml → the settings that decide what Lambda and SQS let through."""

from dataclasses import dataclass

from samcli.yamlhelper import yaml_parse

from bench.measure import ROOT


@dataclass(frozen=True, slots=True)
class Settings:
    """Of the stack as it is deployed without parameters."""

    maximum_concurrency: int
    archive_memory_mb: int
    flow_memory_mb: int
    queue_delay_s: int


def read_settings() -> Settings:
    """The template's own."""
    template = yaml_parse((ROOT / "template.yaml").read_text())
    resources = template["Resources"]
    return Settings(
        maximum_concurrency=template["Parameters"]["MaximumConcurrency"]["Default"],
        archive_memory_mb=resources["ArchiveFunction"]["Properties"]["MemorySize"],
        flow_memory_mb=resources["FlowFunction"]["Properties"]["MemorySize"],
        queue_delay_s=resources["ArchiveQueue"]["Properties"]["DelaySeconds"],
    )
