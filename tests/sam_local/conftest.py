"""A Docker engine, a `sam build` of this tree, and the local AWS that its containers reach."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from boto3.session import Session

type Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
REGION = "eu-west-2"
BUCKET = "call-archive-local"
START_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 300
# There may be no registry in reach; the image is looked for below.
SKIP_PULL = "--skip-pull-image"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks everything in this directory."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)


def clean_environment() -> dict[str, str]:
    """This process's, without anybody's AWS account: sam hands credentials on to the container."""
    environment = {name: v for name, v in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return environment | nowhere | {"AWS_EC2_METADATA_DISABLED": "true", "SAM_CLI_TELEMETRY": "0"}


def run(*command: str, cwd: Path) -> str:
    """A command's standard output."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@contextmanager
def running(*command: str, cwd: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """A server, from the moment it is ready until it is no longer needed."""
    log_path = cwd / f"{Path(command[0]).name}-{command[2]}.log"
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            command,
            cwd=cwd,
            env=clean_environment() | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not ready():
                started = server.poll() is None and time.monotonic() < deadline
                assert started, f"{command}\n{log_path.read_text()}"
                time.sleep(0.1)
            yield
        finally:
            server.terminate()
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()


def free_port(host: str) -> int:
    """A port without a listener."""
    with socket.create_server((host, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def answers(host: str, port: int) -> bool:
    """Whether a server listens there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def bridge_gateway() -> str:
    """This machine's address as containers see it; proves that an engine answers."""
    docker = shutil.which("docker")
    command = ["docker", "network", "inspect", "bridge"]
    inspection = (
        subprocess.run(command, capture_output=True, check=False, text=True, timeout=30)
        if docker
        else None
    )
    if inspection is None or inspection.returncode != 0:
        reason = "no Docker engine answers here: the functions were not run in Lambda containers"
        if os.environ.get("CALL_ARCHIVE_REQUIRE_DOCKER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    addresses = json.loads(inspection.stdout)[0]["IPAM"]["Config"][0]
    # Older engines name the subnet only; the bridge has its first address.
    return str(addresses.get("Gateway") or addresses["Subnet"].replace(".0/16", ".1"))


@pytest.fixture(scope="session")
def project(bridge_gateway: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a user has, after `sam build`."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("template.yaml", "samconfig.toml", ".cfnlintrc"):
        shutil.copy(ROOT / name, copy)
    for name in ("src", "events"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    run("sam", "build", cwd=copy)
    return copy


@dataclass(frozen=True)
class LocalAws:
    """The services, as this process reaches them."""

    port: int
    variables: Mapping[str, Mapping[str, str]]

    def client(self, service: str) -> Any:
        """A boto3 client of one of its services."""
        # The queues are those of the credentials and of the region that sam gives to containers.
        session = Session("test", "test", region_name=REGION)
        make: Callable[..., Any] = session.client
        return make(service, endpoint_url=f"http://127.0.0.1:{self.port}")

    def take_messages(self, function: str, queue_variable: str) -> list[Json]:
        """Takes everything from a queue."""
        sqs, url = self.client("sqs"), self.variables[function][queue_variable]
        taken: list[Json] = []
        while messages := sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            taken += messages
        return taken


@pytest.fixture(scope="session")
def local_aws(project: Path, bridge_gateway: str) -> Iterator[LocalAws]:
    """`python -m local serve`, as `make local-aws` starts it."""
    port = free_port(bridge_gateway)
    env_file = project / ".local-aws/env.json"
    env_file.parent.mkdir()
    hosts = ("--host", "127.0.0.1", "--host", bridge_gateway)
    with running(
        *(sys.executable, "-m", "local", "serve", *hosts, "--port", str(port)),
        *("--write-env", str(env_file)),
        cwd=project,
        ready=lambda: env_file.exists() and answers("127.0.0.1", port),
    ):
        yield LocalAws(port, json.loads(env_file.read_text()))


@pytest.fixture
def aws(local_aws: LocalAws) -> LocalAws:
    """The local AWS with an empty bucket and empty queues."""
    s3 = local_aws.client("s3")
    for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=entry["Key"])
    local_aws.take_messages("FlowFunction", "ARCHIVE_QUEUE_URL")
    local_aws.take_messages("ArchiveFunction", "FAILED_JOBS_QUEUE_URL")
    return local_aws


type Invoke = Callable[[str, str], Json]


@pytest.fixture
def invoke(project: Path, aws: LocalAws) -> Invoke:
    """`sam local invoke`: a function's name and an event's → the function's answer."""

    def invoke(function: str, event: str) -> Json:
        command = ("sam", "local", "invoke", function, "-e", f"events/{event}.json", SKIP_PULL)
        answer: Json = json.loads(run(*command, cwd=project))
        assert "errorType" not in answer, answer
        return answer

    return invoke


@pytest.fixture
def invoke_by_api(project: Path, aws: LocalAws) -> Iterator[Invoke]:
    """The same through `sam local start-lambda` and boto3's Lambda client."""
    port = free_port("127.0.0.1")
    with running(
        *("sam", "local", "start-lambda", "--port", str(port), SKIP_PULL),
        cwd=project,
        ready=lambda: answers("127.0.0.1", port),
    ):
        client = Session("test", "test", region_name=REGION).client(
            "lambda", endpoint_url=f"http://127.0.0.1:{port}"
        )

        def invoke(function: str, event: str) -> Json:
            payload = (project / f"events/{event}.json").read_bytes()
            response = client.invoke(FunctionName=function, Payload=payload)
            answer: Json = json.loads(response["Payload"].read())
            assert "errorType" not in answer, answer
            return answer

        yield invoke
