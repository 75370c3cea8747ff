"""docs/runbook.md against the template, the code, and the AWS API: an entry for all, no typo."""

import re
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.session import Session
from typer.testing import CliRunner

from call_archive.aws.faults import KEY_FAULT_CODES, PERMANENT_CODES
from call_archive.reasons import Code, Service
from call_archive_cli.app import app
from tests.template.cloudformation import deploy
from tests.template.operations import alarms, log_queries, watched_metrics

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
STACK = deploy(
    {"ContactRecordStreamArn": "arn:aws:kinesis:eu-west-2:111122223333:stream/contact-records"}
)
ENTRY = ("Meaning", "Impact", "Check", "Fix", "Resolved when")
FAMILIES = PERMANENT_CODES | {Service.KVS: PERMANENT_CODES[Service.KVS] | KEY_FAULT_CODES}
CODE = r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*"


def _section(title: str) -> str:
    """A section's text, up to the next heading of its level or above."""
    level, _, rest = RUNBOOK.partition(f"# {title}\n")
    depth = len(level) - len(level.rstrip("#")) + 1
    return re.split(rf"^#{{1,{depth}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


# ------------------------------------------------------------------ alarms and links


def test_each_alarm_has_an_entry_and_each_entry_an_alarm() -> None:
    entries = re.findall(r"^### (.+)$", _section("Alarms"), flags=re.MULTILINE)
    assert entries == [*alarms(STACK)]


@pytest.mark.parametrize("name", alarms(STACK))
def test_an_entry_says_what_to_do(name: str) -> None:
    entry = _section(name)
    assert tuple(re.findall(r"^\* \*\*([\w ]+)\.\*\*", entry, flags=re.MULTILINE)) == ENTRY
    assert "```sh" in entry


def test_sections_are_listed_at_the_top() -> None:
    listed = re.findall(r"^- \[(.+)\]\(#", RUNBOOK, flags=re.MULTILINE)
    assert listed == re.findall(r"^## (.+)$", RUNBOOK, flags=re.MULTILINE)


def test_queries_that_are_named_exist() -> None:
    text = " ".join(RUNBOOK.split())
    named = {f"call-archive/{name}" for name in re.findall(r"`STACK/([^`]+)`", text)}
    assert named
    assert named <= log_queries(STACK).keys()


def test_metrics_are_explained() -> None:
    rows = re.findall(
        r"^\| (`.+?`) \|", _section("Dashboard, queries, metrics"), flags=re.MULTILINE
    )
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert explained == {m.name for m in watched_metrics(STACK) if m.namespace == "CallArchive"}


# ------------------------------------------------------------------ codes


def _codes_in_table() -> set[str]:
    rows = re.findall(
        r"^\| (`.+?`) \| (.+) \| (.+) \| (.+) \|$", _section("Codes"), flags=re.MULTILINE
    )
    cells = [code for row in rows for code in re.findall(r"`([^`]+)`", row[0])]
    assert len(cells) == len(set(cells))
    return set(cells)


def test_each_code_is_in_the_table_and_each_row_is_a_code() -> None:
    families = {f"{service}_*" for service in Service}
    known = {f"{service}_{code}" for service, codes in FAMILIES.items() for code in codes}
    assert _codes_in_table() == {*Code, *families, *known}


# ------------------------------------------------------------------ commands


def _commands() -> list[str]:
    """Every `aws` command of the runbook, on one line, without what is quoted."""
    blocks = re.findall(r"^```sh\n(.+?)^```", RUNBOOK, flags=re.MULTILINE | re.DOTALL)
    script = re.sub(r"'[^']*'", "", "\n".join(blocks).replace("\\\n", " "))
    found = re.findall(r"(?:^\s*|=\$\()(aws (?!s3 ).+)", script, flags=re.MULTILINE)
    return sorted({" ".join(command.split()) for command in found})


def test_commands_are_those_of_the_aws_cli() -> None:
    assert _commands()
    for command in _commands():
        _, service, operation, *rest = command.split()
        if operation == "wait":
            operation = _awaited(service, rest[0])
        wanted = set(re.findall(r" --([a-z][a-z0-9-]*)", command))
        assert wanted - {"query", "output"} <= _options(service, operation), command


def _awaited(service: str, waiter: str) -> str:
    """The operation that `aws SERVICE wait WAITER` repeats."""
    model = Session().get_waiter_model(service)
    names = {xform_name(name, "-"): name for name in model.waiter_names}
    return xform_name(model.get_waiter(names[waiter]).operation, "-")


def _options(service: str, operation: str) -> set[str]:
    """The options of a command, made of the API's model as the AWS CLI makes them."""
    model = Session().get_service_model({"s3api": "s3"}.get(service, service))
    names = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(names[operation]).input_shape
    members = {} if shape is None else {xform_name(n, "-"): m for n, m in shape.members.items()}
    switches = {f"no-{name}" for name, member in members.items() if member.type_name == "boolean"}
    return members.keys() | switches


def test_commands_name_resources_of_the_stack() -> None:
    named = set(re.findall(r"\$\((?:resource|queue_arn) ([A-Z]\w+)\)", RUNBOOK))
    named |= {
        name for names in re.findall(r"for group in (.+); do", RUNBOOK) for name in names.split()
    }
    assert named
    assert named <= STACK.keys()


def test_commands_of_ours_take_their_options() -> None:
    named = re.findall(r"^call-archive --stack \S+ (\w+)(.*)$", RUNBOOK, flags=re.MULTILINE)
    assert {command for command, _ in named} == {"doctor", "redrive", "backfill"}
    for command, words in sorted(set(named)):
        described = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
        assert set(re.findall(r" (--[a-z-]+)", words)) <= set(re.findall(r"--[a-z-]+", described))
