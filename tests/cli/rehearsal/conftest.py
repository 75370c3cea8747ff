"""A deployed stack whose functions run, for all tests of the rehearsal."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from moto.sqs.models import sqs_backends

from call_archive_cli.clients import Clients
from call_archive_cli.doctor import Setup, read_setup
from call_archive_cli.rehearsal.journey import Journey
from call_archive_cli.rehearsal.plan import Plan, make_plan
from call_archive_cli.rehearsal.recorder import Audience
from call_archive_cli.rehearsal.stage import Options
from call_archive_cli.rehearsal.steps import Report, Step
from call_archive_cli.session import Session
from local.authorization import Authorization
from local.behaviour import UNLIMITED
from local.clients import REGION
from local.contact import ACCOUNT
from local.demo_call import INSTANCE_ARN
from local.deployed import RunningStack
from local.server import LocalAws
from local.stack import NAME, deploy_with_key

INSTANCE_ID = INSTANCE_ARN.rpartition("/")[2]
QUICK = replace(
    UNLIMITED,
    creating_ms=50,
    deleting_ms=50,
    persist_delay_ms=0,
    listing_delay_ms=50,
    put_media_connections=1,
)


@dataclass
class World:
    """The account, the stack, and a person's clients."""

    aws: LocalAws
    running: RunningStack
    authorization: Authorization
    clients: Clients = field(default_factory=lambda: Clients(None, REGION))

    @property
    def resources(self) -> dict[str, str]:
        return self.running.stack.resources

    def client(self, service: str) -> Any:
        return self.aws.client(service)

    def setup(self) -> Setup:
        return read_setup(Session(self.clients, NAME), None)

    def plan(self) -> Plan:
        return make_plan(self.setup(), NAME)

    def journey(
        self, audience: Audience | None = None, plan: Plan | None = None, **options: Any
    ) -> Journey:
        """A journey at once; only what runs in other processes takes time."""
        chosen = {"fast": True, "fast_s": 0.0, "patience_s": 60.0, "look_s": 0.5, **options}
        return Journey(
            plan or self.plan(),
            Options(**chosen),
            audience or Audience(),
            sleep=lambda seconds: time.sleep(min(seconds, 0.02)),
        )

    def rehearse(self, **options: Any) -> Report:
        return self.journey(**options).run()

    def streams(self) -> list[str]:
        """Rehearsals' streams that are there."""
        listed = self.aws.kvs.streams.list({})["StreamInfoList"]
        return [each["StreamName"] for each in listed if each["Status"] != "DELETING"]

    def objects(self) -> list[str]:
        """Everything in the bucket, every version of it."""
        found = self.client("s3").list_object_versions(Bucket=self.resources["ArchiveBucket"])
        return [
            each["Key"] for each in (*found.get("Versions", []), *found.get("DeleteMarkers", []))
        ]

    def is_clean(self) -> bool:
        return not self.streams() and not self.objects()


@pytest.fixture(scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    logs = tmp_path_factory.mktemp("functions")
    # The administrator, who runs every test here except those of the policy, may do all.
    authorization = Authorization(ACCOUNT)
    with LocalAws(QUICK, wrap=authorization.wrap) as aws:
        # moto's state is the process's: another test's stack may still be there.
        aws.reset()
        stack = deploy_with_key(aws.endpoint_url, aws.connect)
        with RunningStack(stack, aws.endpoint_url, aws.invocations, logs) as running:
            yield World(aws, running, authorization)


def _environment(patch: pytest.MonkeyPatch, aws: LocalAws, directory: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "ARCHIVE_"))]:
        patch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": str(directory / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(directory / "no-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "COLUMNS": "200",
    }.items():
        patch.setenv(name, value)


@pytest.fixture
def world(_world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    """The stack with nothing wrong, before and behind each test."""
    _environment(monkeypatch, _world.aws, tmp_path)
    _mend(_world)
    yield _world
    _mend(_world)


def _mend(world: World) -> None:
    world.aws.behaviour = QUICK
    world.aws.moto_faults = ()
    world.aws.watcher = None
    world.aws.kvs.reset()
    instances = world.aws.connect.instances
    key = world.running.stack.parameters["MediaKmsKeyArn"]
    instances.stream_media(INSTANCE_ID, EncryptionConfig={"EncryptionType": "KMS", "KeyId": key})
    functions = world.client("lambda")
    flow = functions.get_function(FunctionName=world.resources["FlowFunction"])
    instances.functions[INSTANCE_ID] = [flow["Configuration"]["FunctionArn"]]
    for queue in ("ArchiveQueue", "FailedJobsQueue"):
        _empty(world.resources[queue])
    s3 = world.client("s3")
    bucket = world.resources["ArchiveBucket"]
    found = s3.list_object_versions(Bucket=bucket)
    for each in (*found.get("Versions", []), *found.get("DeleteMarkers", [])):
        s3.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])


def _empty(queue_url: str) -> None:
    """Takes everything out, also what is in flight; PurgeQueue does so once a minute only."""
    queue = sqs_backends[ACCOUNT][REGION].queues[queue_url.rpartition("/")[2]]
    queue._messages = []
    queue._pending_messages = set()


def step_of(report: Report, name: str) -> Step:
    """The step of this name."""
    (found,) = (step for step in report.steps if step.name == name)
    return found
