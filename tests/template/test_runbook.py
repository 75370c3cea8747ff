"""docs/runbook.md against the template and the code: an entry for each alarm, code and metric."""

import re
from pathlib import Path

import pytest

from call_archive.aws.faults import KEY_FAULT_CODES, PERMANENT_CODES
from call_archive.reasons import Code, Service
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
