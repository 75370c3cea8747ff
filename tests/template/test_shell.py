"""Every shell command that we print or run is safe for paths and arguments with any characters."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.template.documents import ROOT, blocks, names

SHELLCHECK = Path(sys.executable).parent / "shellcheck"
# `cd … || exit` would end the shell of who pastes it; .venv/bin/activate is not ours.
LEFT_OUT = "SC1091,SC2164"


def objections(script: str) -> str:
    """What shellcheck says of a script for bash: an unquoted variable, for one."""
    return subprocess.run(
        [SHELLCHECK, "--shell=bash", f"--exclude={LEFT_OUT}", "--format=gcc", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


@pytest.mark.parametrize("name", names())
def test_the_commands_of_a_document(name: str) -> None:
    assert objections("\n".join(blocks((ROOT / name).read_text()))) == ""


def test_the_run_of_ci() -> None:
    assert objections((ROOT / ".ci/run").read_text()) == ""


def test_an_unquoted_variable_is_found() -> None:
    assert "Double quote" in objections('aws s3 cp $FILE "s3://bucket/"\n')
