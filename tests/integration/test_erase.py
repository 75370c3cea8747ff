"""A contact that was erased at a terminal is not archived again by the deployed function."""

from typing import Any

import pytest
from typer.testing import CliRunner

from call_archive_cli.app import app
from local.clients import REGION
from tests.integration.journey import CONTACT_ID, OTHER_CONTACT_ID, RESOURCES, Journey, call


@pytest.fixture(autouse=True)
def terminal(mono: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": mono.aws.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)


def erase(*options: str) -> Any:
    bucket = ("--bucket", RESOURCES.bucket, "--yes", "--no-wait")
    return CliRunner().invoke(app, ["erase", *options, *bucket], catch_exceptions=False)


def test_no_trigger_archives_it_again(mono: Journey) -> None:
    one = mono.place(call())
    assert mono.archive(one)
    assert [key for key in mono.keys() if CONTACT_ID in key]  # noqa: SIM118 - a method
    assert "2 versions removed" in erase(CONTACT_ID).stdout
    for message in (one.archive_job(), one.contact_event(), one.contact_record()):
        assert mono.run(message), "done, and not a failure"
    assert [key for key in mono.keys() if CONTACT_ID in key] == []  # noqa: SIM118 - a method
    assert mono.failed_jobs() == []


def test_a_later_contact_of_an_erased_initial_contact(mono: Journey) -> None:
    later = mono.place(call(initial_contact_id=OTHER_CONTACT_ID))
    erase(OTHER_CONTACT_ID)
    assert mono.archive(later)
    assert [key for key in mono.keys() if CONTACT_ID in key] == []  # noqa: SIM118 - a method
