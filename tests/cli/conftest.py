"""`call-archive` in this process, against one local AWS, with the standard variables."""

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from call_archive_cli.app import app
from call_archive_cli.clients import Clients
from local.behaviour import UNLIMITED
from local.call import Call
from local.clients import REGION
from local.server import LocalAws
from tests.cli.archive import Archive, Queues
from tests.integration.journey import RESOURCES, call, neighbours

type Run = Callable[..., Result]
type MakeClients = Callable[[str | None, str | None], Clients]


@pytest.fixture(scope="session")
def cli_aws() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws


@pytest.fixture(scope="session")
def s3(cli_aws: LocalAws) -> Any:
    return cli_aws.client("s3")


@pytest.fixture(scope="session")
def sqs(cli_aws: LocalAws) -> Any:
    return cli_aws.client("sqs")


@pytest.fixture
def aws(
    cli_aws: LocalAws, s3: Any, sqs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> LocalAws:
    """An AWS with an empty bucket and queues that the environment names; an empty directory."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "ARCHIVE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cli_aws.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    # What an engineer's own files say must not count.
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # A terminal's Python buffers what it writes.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    cli_aws.reset()
    cli_aws.behaviour = UNLIMITED
    # Creates the resources with clients that are made once: saves half a second in each test.
    s3.create_bucket(
        Bucket=RESOURCES.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    for queue in (RESOURCES.queue, RESOURCES.failed_queue):
        sqs.create_queue(QueueName=queue)
    return cli_aws


@pytest.fixture
def placed(aws: LocalAws) -> Call:
    """A call of six seconds between two calls of another contact."""
    one = call()
    aws.place(one, *neighbours(one))
    return one


@pytest.fixture(scope="session")
def one_session(cli_aws: LocalAws) -> MakeClients:
    """Clients for all tests: making them takes half a second."""
    return cache(Clients)


@pytest.fixture
def run(aws: LocalAws, one_session: MakeClients) -> Run:
    """Runs a command; the answer has exit_code, stdout and stderr."""
    return build_run(one_session)


@pytest.fixture
def run_alone(aws: LocalAws) -> Run:
    """Runs the command with its own clients: for a test with its own variables."""
    return build_run()


@pytest.fixture
def clients(aws: LocalAws, one_session: MakeClients) -> Clients:
    """The clients that `run` uses."""
    return one_session(None, REGION)


def build_run(make_clients: MakeClients | None = None) -> Run:
    """Runs a command that does not call AWS."""
    runner = CliRunner()

    def run(*arguments: str) -> Result:
        return runner.invoke(app, arguments, catch_exceptions=False, obj=make_clients)

    return run


@pytest.fixture
def archive(aws: LocalAws, s3: Any) -> Archive:
    """The bucket of `RESOURCES`."""
    return Archive(s3, RESOURCES.bucket)


@pytest.fixture
def queues(aws: LocalAws, sqs: Any) -> Queues:
    """The queues of `RESOURCES`."""
    return Queues(sqs)
