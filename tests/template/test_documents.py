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
