"""`--observe`: what is kept, and that nothing of the account's is in it."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from call_archive_cli.app import app
from call_archive_cli.rehearsal.observation import Observer
from call_archive_cli.rehearsal.recorder import Audience
from call_archive_cli.rehearsal.redaction import Names, redact
from local.call import simulate_call
from local.contact import ACCOUNT, CALLER_NUMBER, SERVICE_NUMBER
from local.demo_call import INSTANCE_ARN
from local.pcm import synthetic_pcm
from local.stack import BUCKET, NAME
from tests.cli.rehearsal.conftest import INSTANCE_ID, World

STREAM = f"arn:aws:kinesisvideo:eu-west-2:{ACCOUNT}:stream/acme-connect-y"
CONTACT_ID = "8c2b1f0e-6d1f-4c58-9a5e-0d6a4d1f7c21"
SECRETS = (
    ACCOUNT,
    INSTANCE_ARN,
    INSTANCE_ID,
    CALLER_NUMBER,
    SERVICE_NUMBER,
    "AKIAIOSFODNN7EXAMPLE",
    "X-Amz-Signature=fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024",
    "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/acme-connect-x/1640168106910",
    "Jane Doe",
    "acme-recordings",
)
_KEYS = st.sampled_from(
    ("Channel", "Name", "Attributes", "Tags", "code", "message", "Location", "x-y", "Address")
)
_SECRET = st.sampled_from(SECRETS)
_DOCUMENTS = st.recursive(
    _SECRET | st.integers(0, 10**15) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS | _SECRET, inner, max_size=4),
    max_leaves=12,
)


@given(document=_DOCUMENTS)
def test_no_secret_passes_wherever_it_stands(document: Any) -> None:
    names = Names(frozenset(("acme-recordings", "Jane Doe", INSTANCE_ID, ACCOUNT)))
    text = names.overwrite(json.dumps(redact(document)).encode()).decode()
    for secret in SECRETS:
        assert secret not in text
    assert not re.search(r"\b[0-9]{12}\b", text)
    assert not re.search(r"arn:aws|\+[0-9]{6}|AKIA|Signature=", text)


def test_what_questions_are_about_is_kept() -> None:
    number = "91343852333181432392682062659924109276236173057"
    kept = redact(
        {
            "FragmentNumber": number,
            "FragmentLengthInMilliseconds": 960,
            "ServerTimestamp": datetime(2026, 11, 25, 14, 0, tzinfo=UTC),
            "Channel": "VOICE",
            "StartTimestamp": "1641312355374",
            "StreamARN": SECRETS[7],
            "Queue": None,
            "complete": True,
            "message": "End timestamp Wed Nov is outside of the stream retention period.",
            "Attributes": {"customerName": "Jane Doe"},
        }
    )
    assert kept == {
        "FragmentNumber": number,
        "FragmentLengthInMilliseconds": 960,
        "ServerTimestamp": "2026-11-25T14:00:00+00:00",
        "Channel": "VOICE",
        "StartTimestamp": "1641312355374",
        "StreamARN": "<ARN of kinesisvideo, 79 characters>",
        "Queue": None,
        "complete": True,
        "message": "End timestamp Wed Nov is outside of the stream retention period.",
        "Attributes": {"<12 characters: letters>": "<8 characters: letters, white space>"},
    }


def test_media_keeps_its_length_and_loses_its_names() -> None:
    body = b"\x1a\x45InstanceId\x44\x87\xa4" + INSTANCE_ID.encode() + b"\0\1\2"
    written = Names(frozenset((INSTANCE_ID,))).overwrite(body)
    assert len(written) == len(body)
    assert INSTANCE_ID.encode() not in written
    assert b"00000000-0000-0000-0000-000000000000" in written


@pytest.fixture
def observed(world: World, tmp_path: Path) -> Path:
    """The directory of a rehearsal of this stack, with a real contact."""
    now_ms = world.aws.clock.now_ms()
    call = simulate_call(
        synthetic_pcm(4, 1),
        synthetic_pcm(4, 2),
        contact_id=CONTACT_ID,
        instance_arn=INSTANCE_ARN,
        stream_arn=f"{STREAM}/{now_ms - 3_600_000}",
        start_ms=now_ms - 40_000,
        attributes={"customerName": "Jane Doe"},
    )
    world.aws.place(call, ended_s_ago=None)
    plan = world.plan()
    observer = Observer(tmp_path / "seen", Names(frozenset((*plan.names, CONTACT_ID))))
    audience = Audience(observed=observer.keep)
    report = world.journey(audience, plan, contact_id=CONTACT_ID, observes=True).run()
    assert report.is_good, [s.seen for s in report.steps if s.verdict == "wrong"]
    return tmp_path / "seen"


def test_a_run_is_kept_without_anything_of_the_accounts(observed: Path, world: World) -> None:
    assert sorted(path.name for path in observed.iterdir()) == [
        "describe-contact.json",
        "flow-answer-start.json",
        "flow-answer-stop.json",
        "flow-event-start.json",
        "flow-event-stop.json",
        "list-fragments.json",
        "media-for-fragment-list.mkv",
        "media.mkv",
        "observations.json",
    ]
    key = world.running.stack.parameters["MediaKmsKeyArn"].rpartition("/")[2]
    names = (NAME, BUCKET, INSTANCE_ID, ACCOUNT, CONTACT_ID, key, CALLER_NUMBER, SERVICE_NUMBER)
    for path in observed.iterdir():
        content = path.read_bytes()
        for secret in (*names, "Jane", "customerName", "arn:aws:", "Signature", "AKIA"):
            assert secret.encode() not in content, (path.name, secret)
    facts = json.loads((observed / "observations.json").read_text())
    assert facts["listedLengthsMs"] == [960]
    assert facts["archived_media"] == {"fragments": 27, "order": "as asked"}
    assert facts["live_media"] == {"fragments": 27}
    assert facts["unknown_number"]["code"] == "InvalidArgumentException"
    assert facts["unknown_number"]["message"] == "Fragment numbers are invalid"
    assert facts["empty_range"] == {"fragments": 0}
    assert facts["before_creation"]["fragments"] == 27
    assert facts["secondsToActive"] >= 0
    assert facts["secondsToListed"] >= 0


def test_inspect_reads_the_directory(observed: Path) -> None:
    told = CliRunner().invoke(app, ["inspect", str(observed), "--json"], catch_exceptions=False)
    sources = json.loads(told.stdout)
    assert [Path(each["source"]).name for each in sources] == [
        "media-for-fragment-list.mkv",
        "media.mkv",
    ]
    assert [len(each["fragments"]) for each in sources] == [27, 27]


def test_inspect_says_that_a_directory_is_empty(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["inspect", str(tmp_path)])
    assert told.exit_code == 2
    assert "there is no .mkv file in it" in told.stderr


def test_a_directory_that_holds_something_is_not_written_to(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    told = CliRunner().invoke(
        app, ["--stack", NAME, "rehearse", "--yes", "--fast", "--observe", str(tmp_path)]
    )
    assert told.exit_code == 2
    assert "is not empty" in told.stderr
    assert world.streams() == []
