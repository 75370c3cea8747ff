"""Documents, help, template and code → what is not plain English in them; exit code 1 if any.

`make lint` runs it. Code, in fences and in backticks, is not prose; of a Python file, docstrings,
comments and messages are. Two judges: our own list below, and, except in Python files, proselint's
rules that fit technical texts. A word that has to be named, as here, is named in code. Run on files
by name, it reads those only: `.venv/bin/python tools/prose.py docs/flows.md`.
"""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proselint.checks import __register__
from proselint.config import DEFAULT, Config
from proselint.registry import CheckRegistry
from proselint.tools import LintFile
from typer.main import get_command

from call_archive_cli.app import app

ROOT: Final = Path(__file__).parents[1]
BANNED: Final = {
    r"whoever": "name the person: the deployer, the engineer on call",
    r"anew": "again",
    r"mend(s|ed|ing)?": "fix",
    r"none such": "none",
    r"what there is": "say what it is",
    r"(lie|lies|lay|lying) in": "is in",
    r"(stand|stands|stood) in": "is in, or replaces",
    r"as above": "say it again, or link to it",
    r"no one's voice": "nobody's voice",
    r"to be had": "available",
    r"should (Connect|KVS|S3|SQS|Lambda|AWS)\b[^.?]{0,40}\b(not|refuse)": "if it does",
    r"other(s)? are other(s)?": "say which",
    r"works? off": "processes",
    r"reckons? with": "assumes",
    r"be content with": "accept",
    r"for want of": "because there is no",
    r"reckoned": "assumed, estimated",
    r"of yours": "your, or say which",
    r"thereby|whereof|whereby": "so, or two sentences",
    r"so many": "as many as, or the number",
    r"everybody": "say who",
    r"utilis?ze?s?": "use",
    r"simply|obviously|of course": "leave it out",
    r"of (ours|yours|theirs|its own|their own)": "our, your, their, its own",
    r"all the same": "still",
    r"once more": "again",
    r"(not|nothing|nobody|never)\b[^.?]{0,30} any more": "no longer",
    r"at the (most|least)\b(?! \w+ ?(of|and|privilege))": "at most, at least",
}
OWN: Final = re.compile(
    "|".join(rf"(?P<w{n}>\b(?:{words})\b)" for n, words in enumerate(BANNED)), re.IGNORECASE
)
# Quotes and spaces are code's here, tables repeat words, and blanked code leaves gaps.
LEFT_OUT: Final = ("typography", "lexical_illusions", "misc.illogic", "dates_times", "redundancy")
RULES: Final[Config] = {
    "max_errors": 1000,
    "checks": DEFAULT["checks"] | dict.fromkeys(LEFT_OUT, False),
}
CODE: Final = re.compile(
    r"^ *```.*?^ *```|`[^`\n]*`|<!--.*?-->|\]\([^)\s]*\)", re.MULTILINE | re.DOTALL
)


def main(names: list[str]) -> int:
    """Prints `file:line: what`, and returns the exit status."""
    CheckRegistry().register_many(__register__)
    found = 0
    for name, text in _texts(names):
        prose = CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
        proselint = () if name.endswith(".py") else _proselint(name, prose)
        for line, what in sorted({*_own(prose), *proselint}):
            print(f"{name}:{line}: {what}")
            found += 1
    if found:
        print(f"{found} found. The list is in tools/prose.py.", file=sys.stderr)
    return min(found, 1)


def _texts(names: list[str]) -> Iterator[tuple[str, str]]:
    if names:
        yield from ((name, _read(Path(name))) for name in names)
        return
    tracked = ["git", "ls-files", "*.md", "*.py", "template.yaml", "samconfig.toml", ".github"]
    for name in sorted({*subprocess.check_output(tracked, cwd=ROOT, text=True).splitlines()}):
        yield name, _read(ROOT / name)
    yield from _help()


def _read(path: Path) -> str:
    """The prose of a file, each word in its line."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    prose = [""] * (text.count("\n") + 2)
    is_spoken = _is_documentation if path == Path(__file__) or "tests" in path.parts else _is_text
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if is_spoken(token):
            for line, words in enumerate(token.string.split("\n"), start=token.start[0]):
                prose[line - 1] += words
    return "\n".join(prose)


def _is_documentation(token: tokenize.TokenInfo) -> bool:
    """A comment or a docstring; a test's other strings are data."""
    return token.type == tokenize.COMMENT or (
        token.type == tokenize.STRING and token.string.startswith('"""')
    )


def _is_text(token: tokenize.TokenInfo) -> bool:
    """The same, and messages."""
    return token.type in (tokenize.COMMENT, tokenize.STRING, tokenize.FSTRING_MIDDLE)


def _help() -> Iterator[tuple[str, str]]:
    """What each command prints for --help."""
    group = get_command(app)
    with group.make_context("call-archive", [], resilient_parsing=True) as context:
        yield "call-archive --help", group.get_help(context)
        for name in group.list_commands(context):  # type: ignore[attr-defined] # it is a group
            command = group.get_command(context, name)  # type: ignore[attr-defined] # the same
            with command.make_context(name, [], context, resilient_parsing=True) as inner:
                yield f"call-archive {name} --help", command.get_help(inner)


def _own(prose: str) -> Iterator[tuple[int, str]]:
    for match in OWN.finditer(prose):
        advice = [*BANNED.values()][int(str(match.lastgroup)[1:])]
        yield _line(prose, match.start()), f"“{' '.join(match[0].split())}”: {advice}"


def _proselint(name: str, prose: str) -> Iterator[tuple[int, str]]:
    for result in LintFile(name, prose).lint(RULES):
        yield result.pos[0], f"{result.check_result.check_path}: {result.check_result.message}"


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
