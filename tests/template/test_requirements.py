"""src/requirements.txt, which `sam build` installs: the locked runtime packages and no more."""

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOCK: dict[str, Any] = tomllib.loads((ROOT / "uv.lock").read_text())
PACKAGES: dict[str, dict[str, Any]] = {package["name"]: package for package in LOCK["package"]}


def read_requirements() -> dict[str, tuple[str, set[str]]]:
    """Name → version and hashes."""
    text = (ROOT / "src/requirements.txt").read_text().replace("\\\n", " ")
    requirements = {}
    for line in text.splitlines():
        if match := re.match(r"([a-z0-9-]+)==([^ ;]+)", line):
            requirements[match[1]] = (match[2], set(re.findall(r"--hash=(\S+)", line)))
    return requirements


def runtime_packages() -> set[str]:
    """What call-archive needs, and what those need."""
    needed: set[str] = set()
    queue = ["call-archive"]
    while queue:
        for dependency in PACKAGES[queue.pop()].get("dependencies", []):
            if dependency["name"] not in needed:
                needed.add(dependency["name"])
                queue.append(dependency["name"])
    return needed


def test_it_is_in_step_with_the_lock() -> None:
    locked = {}
    for name in runtime_packages():
        package = PACKAGES[name]
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        locked[name] = (package["version"], {file["hash"] for file in files})
    assert read_requirements() == locked, "run `make requirements`"


def test_the_lock_names_pypi_only() -> None:
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text()))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}
