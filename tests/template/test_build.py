"""The Makefiles and .ci/run, on machines and in folders that are not as ours."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What a shell, make or sed would take for its own.
ODD = 'It\'s a "$HOME" `id` [x] (ö) & 100 %; Co'
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
HOSTILE = {
    # Settings of real machines that make pip put the dependencies elsewhere, or nowhere.
    "PIP_DRY_RUN": "1",
    "PIP_PLATFORM": "win32",
    "PIP_PREFIX": "/nonexistent/prefix",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_ROOT": "/nonexistent/root",
    "PIP_TARGET": "/nonexistent/target",
    "PIP_USER": "1",
    # Bytecode that Lambda does not read, or that is not there at all.
    "PYTHONOPTIMIZE": "1",
    "PYTHONPYCACHEPREFIX": "/nonexistent/cache",
}


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def recorder(path: Path, record: Path) -> None:
    """A command that notes its name, its folder and its arguments, a line each."""
    executable(path, f"{{ basename \"$0\"; pwd; printf '%s\\n' \"$@\"; echo; }} >> '{record}'")


def copy_sources(checkout: Path) -> Path:
    checkout.mkdir(parents=True, exist_ok=True)
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(ROOT / "src", checkout / "src", ignore=ignore))


def build(sources: Path, artifacts: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What sam runs: the checkout's Makefile, in a copy of the sources."""
    artifacts.mkdir(parents=True)
    return subprocess.run(
        ["make", "--makefile", str(sources / "Makefile"), "build-FlowFunction"],
        cwd=sources,
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"ARTIFACTS_DIR": str(artifacts)} | environment,
    )


class TestPackages:
    def test_a_build_keeps_to_its_folder_and_to_what_lambda_reads(self, tmp_path: Path) -> None:
        # Split at its spaces, the path of the build names the first two folders.
        precious = [tmp_path / "My/precious", tmp_path / "My/Mother's/precious"]
        for file in precious:
            file.parent.mkdir(parents=True)
            file.write_text("keep")
        checkout = tmp_path / "My/Mother's Work" / ODD
        sources = copy_sources(checkout)
        # The one Python of the right version, found beside the Makefile.
        (checkout / ".venv").symlink_to(sys.prefix)
        for name in ("python3.13", "python3", "python", "uv"):
            executable(tmp_path / "bin" / name, "echo 3.12")
        artifacts = checkout / ".aws-sam/build/FlowFunction"
        done = build(sources, artifacts, **HOSTILE, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        assert done.returncode == 0, done.stderr
        assert all(file.read_text() == "keep" for file in precious)
        services = {folder.name for folder in (artifacts / "botocore/data").iterdir()}
        assert {name for name in services if (artifacts / "botocore/data" / name).is_dir()} == {
            "connect",
            "kinesisvideo",
            "kinesis-video-archived-media",
            "s3",
            "sqs",
        }
        for module in (artifacts / "call_archive").rglob("*.py"):
            assert (module.parent / f"__pycache__/{module.stem}.cpython-313.pyc").exists()
        assert not list(artifacts.rglob("*.opt-*.pyc"))

    @pytest.mark.parametrize("version", ["3.9", "3.11", "3.12", "3.14"])
    def test_another_python_is_refused_in_one_sentence(self, tmp_path: Path, version: str) -> None:
        sources = copy_sources(tmp_path / "checkout")
        for name in ("python3.13", "python3", "python", "uv"):
            executable(tmp_path / "bin" / name, f'[ "$2" = -c ] && echo {version}')
        done = build(
            sources, tmp_path / "artifacts", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        )
        assert done.returncode != 0
        # In its own make, or below another one, as in `make test`.
        (sentence,) = (
            line for line in done.stderr.splitlines() if not line.startswith(("make: ", "make["))
        )
        assert sentence == (
            "Call Archive is built with Python 3.13 and its pip, as Lambda runs it, and there is "
            f"none here (python3.13 is {version}, python3 is {version}, python is {version}): "
            "install it, or run 'make setup', which puts one into .venv."
        )
        assert not list((tmp_path / "artifacts").iterdir())

    def test_a_python_without_pip_is_named(self, tmp_path: Path) -> None:
        sources = copy_sources(tmp_path / "checkout")
        for name in ("python3.13", "python3", "python", "uv"):
            executable(tmp_path / "bin" / name, '[ "$2" = -c ] && echo 3.13')
        done = build(
            sources, tmp_path / "artifacts", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        )
        assert "python3.13 is 3.13 without pip" in done.stderr


NAMES = ["o'neil.wav", 'my "b" [1].wav', "$HOME `id`.wav", "ö & ü (2);.wav", "100% #1.wav"]


class TestTargets:
    """What the root Makefile hands to the commands that it starts."""

    def run(self, tmp_path: Path, *arguments: str, files: tuple[str, ...] = ()) -> list[list[str]]:
        checkout, record = tmp_path / ODD, tmp_path / "record"
        (checkout / "flows").mkdir(parents=True)
        shutil.copy(ROOT / "Makefile", checkout)
        for name in ("python", "call-archive", "sam", "cfn-lint"):
            recorder(checkout / ".venv/bin" / name, record)
        # What the demo leaves behind, and the page of its recording quotes.
        (checkout / "demo-output").mkdir()
        (checkout / "demo-output/proof.txt").write_text('it\'s "proved"\n')
        for name in ("flows/a.json", "flows/b.json", *files):
            (checkout / name).touch()
        subprocess.run(
            ["make", "--old-file=.venv/.synced", *arguments],
            cwd=checkout,
            check=True,
            capture_output=True,
            env={"PATH": SYSTEM_PATH},
        )
        calls = [call.splitlines() for call in record.read_text().split("\n\n") if call]
        assert {call[1] for call in calls} == {str(checkout)}
        return [[call[0], *call[2:]] for call in calls]

    @pytest.mark.parametrize("name", NAMES)
    def test_voices(self, tmp_path: Path, name: str) -> None:
        calls = self.run(tmp_path, "demo", f"CALLER={name}", f"AGENT=b {name}", "OPEN=1")
        demo, report = calls
        assert demo == ["python", "-m", "local.demo", "--caller", name, "--agent", f"b {name}"]
        assert report[:5] == [
            *("call-archive", "report", "demo-output", "-o", "demo-output/call.html")
        ]
        assert report[-1] == "--open"

    def test_no_voices(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, "demo")[0] == ["python", "-m", "local.demo"]

    @pytest.mark.parametrize("name", NAMES)
    def test_a_flow_file(self, tmp_path: Path, name: str) -> None:
        calls = self.run(tmp_path, "check-flows", f"FLOWS={name}", files=(name,))
        assert calls == [["python", "-m", "flows.check", name]]

    @pytest.mark.parametrize("value", ["flows/a.json flows/b.json", "flows/*.json", ""])
    def test_several_flow_files(self, tmp_path: Path, value: str) -> None:
        calls = self.run(tmp_path, "check-flows", f"FLOWS={value}")
        assert calls == [["python", "-m", "flows.check", "flows/a.json", "flows/b.json"]]

    @pytest.mark.parametrize("name", NAMES)
    def test_other_texts(self, tmp_path: Path, name: str) -> None:
        (call,) = self.run(tmp_path, "flow-files", f"LAMBDA_ARN={name}", f"QUEUE_ARN={name}")
        assert call == ["python", "-m", "flows", "fill", "--lambda-arn", name, "--queue-arn", name]

    def test_a_region(self, tmp_path: Path) -> None:
        calls = self.run(tmp_path, "template", "REGION=us-gov-west-1")
        assert ["sam", "validate", "--lint", "--region", "us-gov-west-1"] in calls

    def test_help_lists_every_target(self) -> None:
        listed = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True)
        assert "\ncheck-flows     Check flow files" in listed.stdout


def test_ci_runs_in_its_own_checkout(tmp_path: Path) -> None:
    checkout, record = tmp_path / ODD, tmp_path / "record"
    (checkout / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/run", checkout / ".ci")
    for name in ("make", "ffmpeg", "sox", "chromium"):
        recorder(tmp_path / "bin" / name, record)
    recorder(checkout / "runtime up", record)
    subprocess.run(
        [checkout / ".ci/run"],
        cwd="/",
        check=True,
        env={
            "PATH": f"{tmp_path / 'bin'}:{SYSTEM_PATH}",
            "LAMBDA_RUNTIME_UP": str(checkout / "runtime up"),
        },
    )
    calls = [call.split("\n") for call in record.read_text().strip("\n").split("\n\n")]
    assert {(command, folder) for command, folder, *_ in calls if command} == {
        ("make", str(checkout)),
        ("runtime up", str(checkout)),
    }
    assert [call[-1] for call in calls[1:]] == ["emulators", "check", "EXAMPLES=10000"]
