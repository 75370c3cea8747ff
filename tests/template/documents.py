"""A document → the commands in it, as a shell would run them.

Bash itself reads the fenced blocks, all of a document's in one script, so that quotes, loops and
`$(…)` mean what they mean to a reader. No program runs: every word that is no builtin of bash is
recorded with its arguments, and prints a placeholder.
"""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PLACEHOLDER: Final = "PLACEHOLDER"
# Bash calls the handler for every program, because it finds none on this PATH. A record is one
# write: the programs of a pipeline run at the same time.
_RECORDER: Final = r"""
command_not_found_handle() {
  local record
  printf -v record '%s\x1f' "$@"
  printf '%s\x1e' "$record" >> "$RECORDS"
  echo PLACEHOLDER
}
source() { :; }
cd() { :; }
PATH=/nonexistent
set -u
"""
_FENCE: Final = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_DEFINITION: Final = re.compile(r"^\w+\(\) \{\n.*?^\}$|^[A-Z_]+=[\w-]+$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"(?<!`)`([^`]+)`(?!`)")
# A program, and something behind it that is no other program's name.
PROGRAMS: Final = ("aws", "call-archive", "make", "sam", ".venv/bin/python", "python", "uv")


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a document.

    Attributes:
        is_whole: it is printed to be run as it is: its required options are there.
    """

    document: str
    words: tuple[str, ...]
    is_whole: bool

    def __str__(self) -> str:
        return f"{self.document}: {' '.join(self.words)}"


def names() -> list[str]:
    """The documents that people read; not the changelog, which speaks of earlier versions."""
    tracked = subprocess.check_output(["git", "ls-files", "*.md"], cwd=ROOT, text=True)
    return [name for name in tracked.splitlines() if name != "CHANGELOG.md"]


def commands(name: str, text: str, folder: Path, **variables: str) -> list[Command]:
    """What a document tells its reader to run, in blocks and in the text.

    Args:
        name: the document's.
        text: what is in it.
        folder: where files go that the commands would write.
        variables: what the document says the reader has set.
    """
    script = "\n".join(blocks(text))
    fenced = _run(script, folder, variables)
    # What the text says between two blocks may use the definitions of a block.
    inline = _run("\n".join([*_DEFINITION.findall(script), *_inline(text)]), folder, variables)
    return [Command(name, words, is_whole=True) for words in fenced] + [
        Command(name, words, is_whole=False) for words in inline
    ]


def blocks(text: str) -> list[str]:
    """Blocks of `sh`, and of a terminal's text the lines behind a prompt."""
    found = []
    for language, body in _FENCE.findall(text):
        if language == "sh":
            found.append(body)
        elif language == "text":
            found += re.findall(r"^ *\$ (.+)$", body, re.MULTILINE)
    return found


def _inline(text: str) -> list[str]:
    """Commands between backticks: a program's name, and at least one word."""
    prose = _FENCE.sub("", text)
    pieces = (" ".join(piece.split()) for piece in _INLINE.findall(prose))
    return [piece for piece in pieces if piece.startswith(tuple(f"{name} " for name in PROGRAMS))]


def _run(script: str, folder: Path, variables: Mapping[str, str]) -> list[tuple[str, ...]]:
    if not script:
        return []
    # The documents' own folder for files, and programs by their names.
    script = script.replace("/tmp/", f"{folder}/").replace(".venv/bin/", "")  # noqa: S108 - no use
    records = folder / "records"
    records.write_bytes(b"")
    done = subprocess.run(
        ["bash", "-c", _RECORDER + script],
        cwd=folder,
        env={"RECORDS": str(records), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, f"{done.stderr}\n{script}"
    return [tuple(r.split("\x1f")[:-1]) for r in records.read_text().split("\x1e")[:-1]]
