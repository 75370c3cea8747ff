"""CI, hooks, templates and release notes name only what exists, and the version has one source."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from call_archive import __version__

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
HABITS = [
    *sorted((ROOT / ".github").rglob("*.*")),
    *(ROOT / name for name in (".pre-commit-config.yaml", "RELEASING.md", "CONTRIBUTING.md")),
]


@pytest.mark.parametrize("file", HABITS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_exist(file: Path) -> None:
    called = re.findall(r"(?:`|run: |entry: )make((?: [a-z-]+)+)(?![a-z=-])", file.read_text())
    assert {target for words in called for target in words.split()} <= TARGETS


@pytest.mark.parametrize("file", [path for path in HABITS if path.suffix in (".yml", ".yaml")])
def test_files_are_yaml(file: Path) -> None:
    assert yaml.safe_load(file.read_text())


def test_actions_are_pinned_by_commit() -> None:
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    used = re.findall(r"uses: (.+)", workflow)
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", action) for action in used)


def test_the_version_has_one_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"] == {"path": "src/call_archive/__init__.py"}


def test_the_changelog_has_a_section_for_the_version() -> None:
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [name for name in sections if name != "Unreleased"]
    assert released[0] == __version__


DECISIONS = ROOT / "docs/decisions"
NOTES = sorted(DECISIONS.glob("[0-9]*.md"))


@pytest.mark.parametrize("note", NOTES, ids=lambda path: path.stem)
def test_a_decision_has_a_title_a_status_a_date_and_a_row(note: Path) -> None:
    title, _, status, *_ = note.read_text().splitlines()
    assert re.fullmatch(rf"# {note.name[:4]}: \S.+", title)
    found = re.fullmatch(
        r"Status: (proposed|accepted|declined|replaced by \d{4})\. Date: \d{4}-\d\d-\d\d\.", status
    )
    assert found
    row = f"| [{title.removeprefix('# ')}]({note.name}) | {found[1]} |"
    assert row in (DECISIONS / "README.md").read_text().splitlines()


def test_the_prose_check_reads_prose_and_not_code(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("# Title\n\n`whoever`\n\n```text\nmend\n```\n\nWhoever mends it.\n")
    command = [sys.executable, str(ROOT / "tools/prose.py"), str(document)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    found = [
        line.removeprefix(f"{document}:").split(":")[0] for line in checked.stdout.splitlines()
    ]
    assert found == ["9", "9"]


def test_the_prose_check_reads_what_code_says(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""A module.\n\nWhoever reads it."""\n\n'
        "whoever = mend  # whoever\n"
        'print(f"{mend} mends", "the same once more")\n'
    )
    checked = subprocess.run(
        [sys.executable, str(ROOT / "tools/prose.py"), str(module)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line.removeprefix(f"{module}:").split(":")[0] for line in checked.stdout.splitlines()]
    assert found == ["3", "5", "6", "6"]
