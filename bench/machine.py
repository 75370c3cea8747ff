"""What the numbers were measured on: machine, versions, commit, load."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.conversion import RIVALS_PYTHON
from bench.measure import ROOT
from bench.report import Table

_OURS = ("boto3", "botocore", "aws-lambda-powertools", "ebmlite")
_RIVALS = ("av", "kvsparser", "ebmlite")


def describe_machine(*, with_rivals: bool = True) -> Table:
    """Everything that a reader needs to judge the numbers, now.

    Args:
        with_rivals: also what Call Archive is compared with; needs the benchmarks' environment.
    """
    ours = ", ".join(f"{name} {version(name)}" for name in _OURS)
    rivals = [("compared with", f"{_rivals()}, {_ffmpeg()}")] if with_rivals else []
    return Table(
        ("machine", ""),
        [
            ("CPU", f"{os.cpu_count()} cores, {_field('/proc/cpuinfo', 'model name')}"),
            ("memory", _memory()),
            ("kernel", f"{platform.system()} {platform.release().partition('-')[0]}"),
            ("Python", f"{platform.python_implementation()} {platform.python_version()}, {ours}"),
            *rivals,
            ("commit", _commit()),
            ("measured", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
            ("load at the start", " ".join(f"{load:.2f}" for load in os.getloadavg())),
        ],
        has_numbers=False,
    )


def _memory() -> str:
    kib = int(_field("/proc/meminfo", "MemTotal").split()[0])
    return f"{kib / 1_048_576:.0f} GiB"


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _rivals() -> str:
    script = (
        "from importlib.metadata import version\n"
        f"print(', '.join(f'{{name}} {{version(name)}}' for name in {_RIVALS}))"
    )
    return _first_line(str(RIVALS_PYTHON), "-c", script)


def _ffmpeg() -> str:
    return _first_line("ffmpeg", "-version").partition(" Copyright")[0]


def _commit() -> str:
    commit = _first_line("git", "rev-parse", "--short=12", "HEAD")
    is_changed = bool(_first_line("git", "status", "--porcelain", "--", "src"))
    return f"{commit}, with changes in src/" if is_changed else commit


def _first_line(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return ran.stdout.partition("\n")[0]
