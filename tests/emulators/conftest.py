"""One `sam build`, one emulator, one local AWS for KVS and Connect."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.clients import REGION
from tests.emulators.ministack import PYTHON, ROOT, MiniStack, running
from tests.emulators.stack import CODE_BUCKET
from tests.integration.conftest import shared_aws

__all__ = ["shared_aws"]


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    """The emulator, where `make emulators` has installed it."""
    if not PYTHON.exists():
        reason = "MiniStack is not installed: run `make emulators`"
        if os.environ.get("CALL_ARCHIVE_REQUIRE_EMULATOR") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("ministack")) as emulator:
        emulator.client("s3").create_bucket(
            Bucket=CODE_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        yield emulator


@pytest.fixture(scope="session")
def built(ministack: MiniStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `sam build` makes of this tree."""
    project = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "template.yaml", project)
    shutil.copytree(ROOT / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        ["sam", "build"],
        cwd=project,
        env={**os.environ, "SAM_CLI_TELEMETRY": "0"},
        check=True,
        capture_output=True,
    )
    return project / ".aws-sam/build"
