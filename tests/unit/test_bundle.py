"""The listing of a deployment package, on packages of a few files."""

import re
from pathlib import Path

import pytest

from local.bundle import REQUIREMENTS, Bundle, describe, main, read_bundle, read_pins

PINNED = {"some-package": "1.2.3"}
FILES = {
    "call_archive/__init__.py": "",
    "call_archive/job.py": "print(1)",
    "call_archive/__pycache__/job.cpython-313.pyc": "bytecode",
    "some_package/__init__.py": "x = 1",
    "some_package/__pycache__/__init__.cpython-313.pyc": "bytecode",
    "some_package/data.json": "{}",
    "some_package-1.2.3.dist-info/METADATA": "Name: Some_Package\nVersion: 1.2.3\n\nName: Other\n",
    "some_package-1.2.3.dist-info/RECORD": (
        "some_package/__init__.py,sha256=x,5\nsome_package/data.json,,\nsome_package/gone.json,,\n"
        "some_package-1.2.3.dist-info/METADATA,,\nsome_package-1.2.3.dist-info/RECORD,,\n"
    ),
}


def build(directory: Path, **more: str) -> Bundle:
    for name, content in (FILES | more).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return read_bundle(directory, PINNED)


def test_what_belongs_there_is_counted(tmp_path: Path) -> None:
    bundle = build(tmp_path)
    assert bundle.problems == []
    ours, theirs = bundle.packages["call_archive"], bundle.packages["some-package"]
    assert (ours.files, ours.size_bytes) == (3, 16)
    assert (theirs.version, theirs.files) == ("1.2.3", 5)
    *_, total, digest = describe(bundle)
    assert total.split()[:2] == ["total", "8"]
    assert digest == f"sha256 {bundle.digest}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("tests/test_x.py", "is a test"),
        ("some_package/tests/__init__.py", "is a test"),
        ("call_archive/testing/x.json", "is a test"),
        ("stray.py", "belongs to no package"),
        ("some_package/not_recorded.py", "belongs to no package"),
        ("bin/tool", "belongs to no package"),
        ("call_archive/fast.so", "is native code"),
    ],
)
def test_what_does_not_is_a_problem(tmp_path: Path, name: str, problem: str) -> None:
    assert any(
        text.startswith(f"{name}: {problem}") for text in build(tmp_path, **{name: "x"}).problems
    )


def test_a_link_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "call_archive").mkdir()
    (tmp_path / "call_archive" / "link.py").symlink_to("job.py")
    assert "call_archive/link.py: is a link" in build(tmp_path).problems


def test_another_version_is_a_problem(tmp_path: Path) -> None:
    metadata = FILES["some_package-1.2.3.dist-info/METADATA"].replace("1.2.3", "1.2.4")
    bundle = build(tmp_path, **{"some_package-1.2.3.dist-info/METADATA": metadata})
    assert bundle.problems == ["some-package 1.2.4: pinned is 1.2.3"]


def test_a_package_that_nobody_pinned_is_a_problem(tmp_path: Path) -> None:
    build(tmp_path)
    assert read_bundle(tmp_path, {}).problems == ["some-package 1.2.3: pinned is no version"]


def test_a_package_that_is_missing_is_a_problem(tmp_path: Path) -> None:
    build(tmp_path)
    assert read_bundle(tmp_path, PINNED | {"other": "1"}).problems == ["other 1: is missing"]


def test_the_digest_follows_names_and_contents(tmp_path: Path) -> None:
    first = build(tmp_path / "a").digest
    assert build(tmp_path / "b").digest == first
    assert build(tmp_path / "c", **{"call_archive/job.py": "print(2)"}).digest != first
    assert build(tmp_path / "d", **{"call_archive/other.py": "print(1)"}).digest != first


def test_every_requirement_is_a_pin() -> None:
    text = REQUIREMENTS.read_text()
    pins = read_pins(text)
    assert "boto3" in pins
    assert all(re.fullmatch(r"[0-9.a-z]+", version) for version in pins.values())
    assert len(pins) == text.count("==")


def test_the_command_fails_on_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path)
    assert main([str(tmp_path)]) == 1
    assert "some-package 1.2.3: pinned is no version" in capsys.readouterr().err
