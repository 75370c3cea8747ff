"""`call-archive` in this process, against one local AWS, with the standard variables."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from call_archive import aws as call_archive_aws
from call_archive_cli import clients, deployment
from call_archive_cli.app import app
from local.behaviour import CONNECT_DEFAULTS
from local.resources import create_resources
from local.server import REGION, LocalAws
from tests.integration.journey import RESOURCES

type Run = Callable[..., Result]


@pytest.fixture(scope="session")
def cli_aws() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws


@pytest.fixture
def aws(cli_aws: LocalAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalAws]:
    """An empty AWS that the environment names, and an empty working directory."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "ARCHIVE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cli_aws.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    cli_aws.reset()
    cli_aws.behaviour = CONNECT_DEFAULTS
    create_resources(cli_aws.endpoint_url, RESOURCES)
    _forget_clients()
    yield cli_aws
    _forget_clients()


@pytest.fixture
def run(aws: LocalAws) -> Run:
    """Runs a command; the answer has exit_code, stdout and stderr."""
    runner = CliRunner()

    def run(*arguments: str) -> Result:
        return runner.invoke(app, arguments, catch_exceptions=False)

    return run


def _forget_clients() -> None:
    """Each test has its own variables; the clients of a process are made once."""
    for module in (call_archive_aws, clients, deployment):
        for cached in vars(module).values():
            if hasattr(cached, "cache_clear"):
                cached.cache_clear()
