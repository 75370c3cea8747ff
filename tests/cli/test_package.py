"""The wheel: what an operator installs, and what Lambda does not get."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from local.call import Call
from local.demo_call import INSTANCE_ARN
from local.server import LocalAws
from tests.cli.archive import Archive
from tests.integration.journey import CONTACT_ID, RESOURCES

ROOT = Path(__file__).parents[2]
WITHOUT_EXTRA = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"typer", "rich", "numpy", "jinja2", "soundfile"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from call_archive_cli.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built by the backend of `pyproject.toml`, which `make setup` has left in uv's cache."""
    uv = shutil.which("uv") or str(ROOT / ".tools/uv-env/bin/uv")
    if not Path(uv).exists():
        pytest.skip("uv builds the wheel, and is not here")
    directory = tmp_path_factory.mktemp("wheel")
    command = [
        uv,
        "build",
        "--quiet",
        "--wheel",
        "--offline",
        "--out-dir",
        str(directory),
        str(ROOT),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if "hatchling" in built.stderr and built.returncode:
        pytest.skip("the build backend is not in uv's cache")
    assert built.returncode == 0, built.stderr
    (path,) = directory.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_everything_of_both_packages(wheel: zipfile.ZipFile) -> None:
    there = {
        str(path.relative_to(ROOT / "src"))
        for package in ("call_archive", "call_archive_cli")
        for path in (ROOT / "src" / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == there


def test_wheel_holds_what_the_page_is_made_of(wheel: zipfile.ZipFile) -> None:
    report = [name for name in wheel.namelist() if name.startswith("call_archive_cli/report/")]
    for ending in (".html.j2", ".css", ".js"):
        assert any(name.endswith(ending) for name in report), ending


def test_wheel_installs_the_command(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    entry_points = configparser.ConfigParser()
    entry_points.read_string(wheel.read(name).decode())
    assert dict(entry_points["console_scripts"]) == {
        "call-archive": "call_archive_cli.__main__:main"
    }


def test_without_the_extra_it_says_what_to_install() -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA, "list"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 3
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "is not installed: pip install 'call-archive[cli]'" in result.stderr


def interpreter(version: str) -> str:
    """A Python of this version on this machine; the test is skipped without one."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    found = shutil.which(f"python{version}")
    versions = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    for place in (*([found] if found else []), *map(str, versions)):
        # A shim of pyenv's is there for versions that are not.
        asked = [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        answer = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        if answer.strip() == version:
            return place
    pytest.skip(f"there is no Python {version} here")


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_command_runs_on_each_python(
    aws: LocalAws, archive: Archive, placed: Call, version: str
) -> None:
    """In the environments that `make test-pythons` makes, without any of the tests' tools."""
    command = ROOT / ".pythons" / version / "bin" / "call-archive"
    if not command.exists():
        pytest.skip(f"`make test-pythons` has made no environment for Python {version}")
    archive.put()
    fetch = ("fetch", CONTACT_ID, "--instance-arn", INSTANCE_ARN, "-o", "calls")
    verify = ("verify", "--all", "--json")
    recording = f"calls/{CONTACT_ID}/{placed.start_fragment_number}.wav"
    Path("calls").mkdir()
    for arguments in (("list", "--all"), verify, fetch, ("report", recording), ("--help",)):
        done = subprocess.run(
            [str(command), *arguments],
            env={**os.environ, "ARCHIVE_BUCKET": RESOURCES.bucket, "PYTHONWARNINGS": "error"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("version", ["3.9", "3.11"])
def test_older_python_is_refused_before_pip_looks_for_dependencies(version: str) -> None:
    backend = ROOT / "tools" / "build_backend.py"
    refused = subprocess.run(
        [interpreter(version), str(backend)], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        f"call-archive needs Python 3.12 or newer, and this is {version}: "
    )


def test_functions_are_built_with_the_python_of_their_runtime() -> None:
    (runtime,) = re.findall(r"Runtime: python(\S+)", (ROOT / "template.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["tool"]["uv"]["dependency-groups"]
    assert {group["requires-python"] for group in groups.values()} == {f"=={runtime}.*"}
    assert f"PYTHON_VERSION := {runtime}\n" in (ROOT / "src" / "Makefile").read_text()


@pytest.mark.parametrize("function", ["FlowFunction", "ArchiveFunction"])
def test_lambda_gets_nothing_of_the_command(function: str, tmp_path: Path) -> None:
    # What `sam build` runs, without pip: only what the make target does with our own files counts.
    command = ["make", "--dry-run", "-C", str(ROOT / "src"), f"build-{function}"]
    recipe = subprocess.run(
        [*command, f"ARTIFACTS_DIR={tmp_path}"], capture_output=True, text=True, check=True
    ).stdout
    copies = re.findall(r"\bcp .*", recipe)
    assert len(copies) == 1
    assert copies[0].startswith("cp -R call_archive ")
    assert "call_archive_cli" not in recipe


def test_lambda_gets_none_of_the_extras_dependencies() -> None:
    pinned = {
        line.partition("==")[0]
        for line in (ROOT / "src/requirements.txt").read_text().splitlines()
        if "==" in line
    }
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]["cli"]
    assert pinned.isdisjoint(requirement.partition(">=")[0] for requirement in extras)
