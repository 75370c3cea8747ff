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


def test_the_architecture_names_every_module_and_only_what_exists() -> None:
    """The diagram and the table of docs/architecture.md, and every `module.name` in it."""
    document = (ROOT / "docs/architecture.md").read_text()
    package = ROOT / "src/call_archive"
    modules = {path for path in package.rglob("*.py") if path.name != "__init__.py"}
    diagram = document.split("flowchart TD")[1].split("```")[0]
    table = document.split("\n| src/call_archive/ |")[1].split("\n## ")[0]
    assert {path.stem for path in modules if not re.search(rf"\b{path.stem}\b", diagram)} == set()
    assert {
        path.name
        for path in modules
        if f"`{path.relative_to(package)}`" not in table and f"`{path.name}`" not in table
    } == set()
    texts = {path.stem: path.read_text() for path in modules}
    assert {
        f"{module}.{name}"
        for module, name in re.findall(r"`(\w+)\.(\w+)[\w.]*`", document)
        if module in texts
        and name not in ("py", "md")
        and not re.search(rf"\b{name}\b", texts[module])
    } == set()
