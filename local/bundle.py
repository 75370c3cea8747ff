"""A built deployment package → what is in it, and what should not be: `make bundle`.

Every file has to be ours, or in the RECORD of a distribution that `src/requirements.txt` pins, at
that version. Source of the formats: PyPA, "Recording installed projects" and "Core metadata".
"""

import csv
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

OURS = "call_archive"
REQUIREMENTS = Path(__file__).parent.parent / "src" / "requirements.txt"

_BYTECODE = re.compile(r"__pycache__/(?P<module>[^/]+)\.cpython-\d+\.pyc$")
_TEST_FOLDERS = frozenset(("tests", "test", "testing"))
_NATIVE = frozenset((".so", ".pyd", ".dylib", ".dll"))
_MIB = 1_048_576


@dataclass(slots=True)
class Package:
    """One distribution, or our own code: how much of the bundle it is."""

    version: str
    files: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class Bundle:
    """What a build made.

    Attributes:
        packages: by name.
        problems: why it must not be deployed; empty when it may.
        digest: SHA-256 of every path and content: equal for equal bundles.
    """

    packages: dict[str, Package] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    digest: str = ""


def read_bundle(directory: Path, pinned: Mapping[str, str]) -> Bundle:
    """Lists a bundle, and holds it against the pinned versions by package name."""
    bundle = Bundle({OURS: Package("")})
    owners = dict(_read_records(directory, bundle))
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if not path.is_dir()):
        name = path.relative_to(directory).as_posix()
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
        bundle.problems += _objections(path, name)
        owner = OURS if name.startswith(f"{OURS}/") else owners.get(_source_of(name))
        if owner is None:
            bundle.problems.append(f"{name}: belongs to no package")
            continue
        package = bundle.packages[owner]
        package.files += 1
        package.size_bytes += len(content)
    bundle.digest = digest.hexdigest()
    bundle.problems += _differences(bundle.packages, pinned)
    return bundle


def read_pins(requirements: str) -> dict[str, str]:
    """Name → version of a requirements file with hashes, as `uv export` writes it.

    Markers are not judged: a package for another platform is pinned and may be missing.
    """
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", requirements, re.MULTILINE))


def _read_records(directory: Path, bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Each file that a distribution says it installed, and the distribution's name."""
    for record in sorted(directory.glob("*.dist-info/RECORD")):
        metadata = HeaderParser().parsestr((record.parent / "METADATA").read_text())
        name = re.sub(r"[-_.]+", "-", metadata["Name"]).lower()
        bundle.packages[name] = Package(metadata["Version"])
        for path, *_ in csv.reader(record.read_text().splitlines()):
            yield path, name


def _source_of(name: str) -> str:
    """The module that a bytecode file was compiled from; any other file itself."""
    return _BYTECODE.sub(lambda match: f"{match['module']}.py", name)


def _objections(path: Path, name: str) -> Iterator[str]:
    folders = PurePosixPath(name).parts[:-1]
    if path.is_symlink():
        yield f"{name}: is a link"
    if _TEST_FOLDERS & set(folders):
        yield f"{name}: is a test"
    if path.suffix in _NATIVE:
        yield f"{name}: is native code; both architectures share one bundle"


def _differences(packages: Mapping[str, Package], pinned: Mapping[str, str]) -> Iterator[str]:
    for name, package in packages.items():
        if name != OURS and pinned.get(name) != package.version:
            yield f"{name} {package.version}: pinned is {pinned.get(name, 'no version')}"
        if not package.files:
            yield f"{name}: has no files"
    yield from (f"{name} {pinned[name]}: is missing" for name in pinned.keys() - packages.keys())


def describe(bundle: Bundle) -> Iterator[str]:
    """A table, the largest package first."""
    packages = sorted(bundle.packages.items(), key=lambda item: -item[1].size_bytes)
    for name, package in packages:
        yield f"{name:24} {package.version:14} {package.files:6} {package.size_bytes:12,}"
    files = sum(package.files for _, package in packages)
    size_bytes = sum(package.size_bytes for _, package in packages)
    yield f"{'total':24} {'':14} {files:6} {size_bytes:12,}   {size_bytes / _MIB:.1f} MiB"
    yield f"sha256 {bundle.digest}"


def main(directories: Iterable[str]) -> int:
    """Prints each bundle; 1 if one must not be deployed."""
    pinned = read_pins(REQUIREMENTS.read_text())
    has_problems = False
    for directory in directories:
        bundle = read_bundle(Path(directory), pinned)
        print(f"{Path(directory).name:24} {'version':14} {'files':>6} {'bytes':>12}")
        print("\n".join(describe(bundle)), end="\n\n")
        for problem in bundle.problems:
            print(f"{Path(directory).name}: {problem}", file=sys.stderr)
        has_problems = has_problems or bool(bundle.problems)
    return int(has_problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
