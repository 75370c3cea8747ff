"""What a person finds who knows nothing yet: help, examples, completion, versions, exit codes."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from call_archive_cli import __main__, exits
from call_archive_cli.app import app, shared_first
from tests.cli.conftest import Run, build_run

COMMANDS = [
    "follow",
    "fetch",
    "inspect",
    "report",
    "list",
    "get",
    "join",
    "verify",
    "backfill",
    "doctor",
    "rehearse",
    "explain",
    "redrive",
    "erase",
    "hold",
    "release",
]
PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
each_command = pytest.mark.parametrize("command", COMMANDS)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")
    return build_run()


def test_all_commands_are_listed(run: Run) -> None:
    told = run("--help").stdout
    assert [name for name in COMMANDS if re.search(rf"\b{name} ", told)] == COMMANDS
    assert sorted(get_command(app).commands) == sorted(COMMANDS)  # type: ignore[attr-defined] # a group


@each_command
def test_help_has_examples(run: Run, command: str) -> None:
    helped = run(command, "-h")
    assert helped.exit_code == 0
    _, examples = helped.stdout.split("Examples:")
    lines = [line.strip() for line in examples.splitlines()]
    assert any(re.match(rf"call-archive .*\b{command}\b", line) for line in lines)


@each_command
@pytest.mark.parametrize("columns", ["80", "120"])
def test_help_fits_into_the_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert all(len(line) <= int(columns) for line in run(command, "--help").stdout.splitlines())


@each_command
def test_examples_are_taken(run: Run, command: str) -> None:
    group = get_command(app)
    examples = re.findall(r"^ *(call-archive .*)$", group.commands[command].help, re.MULTILINE)  # type: ignore[attr-defined] # a group
    assert examples
    for example in examples:
        known = {name for p in group.commands[command].params for name in p.opts}  # type: ignore[attr-defined] # a group
        named = set(re.findall(r"(?<= )--?[a-z-]+", example.split("|")[0]))
        assert named <= known | {"--stack"}, example


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_option_has_help(command: str) -> None:
    group = get_command(app)
    asked = group.commands[command] if command else group  # type: ignore[attr-defined] # a group
    without = [
        parameter.name
        for parameter in asked.params
        if parameter.param_type_name == "option" and not getattr(parameter, "help", "")
    ]
    assert without == []


def test_exit_codes_are_documented(run: Run) -> None:
    codes = {exits.FOUND_WRONG, exits.USAGE, exits.REFUSED, exits.INTERRUPTED, exits.NOBODY_READS}
    for text in (run("--help").stdout, exits.__doc__ or "", PAGE.read_text()):
        assert {code for code in codes if re.search(rf"\b{code}\b", text)} == codes
    assert __main__.NOT_INSTALLED == exits.REFUSED


def test_page_documents_every_command() -> None:
    assert [name for name in COMMANDS if f"## {name}\n" not in PAGE.read_text()] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "call_archive_cli"],
        env={"_CALL_ARCHIVE_COMPLETE": f"source_{shell}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "call-archive" in completed.stdout
    assert completed.stderr == ""


LOADS = """
import sys
from call_archive_cli.__main__ import main
try:
    main()
except SystemExit:
    pass
sys.stderr.write(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""
LATER = {"boto3", "botocore", "ebmlite", "jinja2", "numpy", "rich", "soundfile", "webrtcvad"}


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--help"], {}),
        (["verify", "--help"], {}),
        (["lst"], {}),
        (
            [],
            {
                "_CALL_ARCHIVE_COMPLETE": "complete_bash",
                "COMP_WORDS": "call-archive verify --",
                "COMP_CWORD": "2",
            },
        ),
    ],
    ids=["help", "help of a command", "no such command", "completion"],
)
def test_help_and_completion_load_nothing_that_only_a_run_needs(
    arguments: list[str], environment: dict[str, str]
) -> None:
    answered = subprocess.run(
        [sys.executable, "-c", LOADS, *arguments],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "verify" in answered.stdout or "--json" in answered.stdout or arguments == ["lst"]
    assert LATER.isdisjoint(answered.stderr.split())


def test_version(run: Run) -> None:
    assert re.fullmatch(r"call-archive \d+\.\d+\.\d+\n", run("--version").stdout)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["list", "--stack", "s"], ["--stack", "s", "list"]),
        (["list", "--region=r", "--json"], ["--region=r", "list", "--json"]),
        (["--stack", "s", "list", "--profile", "p"], ["--stack", "s", "--profile", "p", "list"]),
        (["inspect", "--", "--stack", "s"], ["inspect", "--", "--stack", "s"]),
        (["list", "--stack"], ["--stack", "list"]),
    ],
)
def test_shared_options_stand_anywhere(given: list[str], expected: list[str]) -> None:
    assert shared_first(given) == expected


@pytest.mark.parametrize("arguments", [("lst",), ("list", "--dya", "1"), ("get",)])
def test_wrong_command_line(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage: call-archive" in result.stderr
    assert result.stdout == ""


def test_nothing_is_written_behind_the_commands_back() -> None:
    """Every result goes through `results` or `typer.echo`, every other word to stderr."""
    for path in Path(exits.__file__).parent.rglob("*.py"):
        calls = [
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        assert "print" not in calls, path
        assert "Console" not in calls or path.name == "console.py", path
