"""What the documents say of the template."""

import re
from pathlib import Path

from tests.template.cloudformation import load

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| `(\w+)` \| (.+?) \|", re.MULTILINE)


def test_every_parameter_is_explained_with_its_default() -> None:
    """The table of docs/deployment.md, in the order in which `sam deploy --guided` asks."""
    section = (ROOT / "docs/deployment.md").read_text().split("\n## Deploy\n")[1]
    rows = _ROW.findall(section.split("\n### ")[0])
    assert rows == [
        (name, f"`{parameter['Default']}`" if parameter["Default"] != "" else "empty")
        for name, parameter in load()["Parameters"].items()
    ]


def test_codes_that_are_explained_exist() -> None:
    """Whatever looks like a code in docs/troubleshooting.md is one that the functions know."""
    code = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    explained = set(
        re.findall(r"`([A-Z]+_[A-Z_]+)`", (ROOT / "docs/troubleshooting.md").read_text())
    )
    foreign = {"STRING_MAP", "NOT_STARTED"}
    names = {"START_NOT_LISTED", "STOP_NOT_LISTED"}
    assert explained > names
    assert {name for name in explained - foreign - names if f'"{name}' not in code} == set()
