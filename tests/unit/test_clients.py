"""How long the functions' calls may take at their worst, by their clients' settings."""

from collections.abc import Iterator
from typing import Any

import pytest

from call_archive.aws import clients

FLOW_WAITS_S = 8
"""Connect's limit of a synchronous call."""
LONGEST_PAUSE_S = 1
"""Before a second try, in botocore's mode "standard"."""


@pytest.fixture(autouse=True)
def fresh_clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    clients._session.cache_clear()
    clients.flow_sqs_client.cache_clear()
    yield
    clients._session.cache_clear()
    clients.flow_sqs_client.cache_clear()


def test_queue_that_never_answers_is_given_up_while_the_flow_still_waits() -> None:
    # botocore sets a Config's attributes by name.
    config: Any = clients.flow_sqs_client().meta.config
    tries = config.retries["total_max_attempts"]
    assert config.retries["mode"] == "standard"
    assert tries == 2
    worst_s = tries * (config.connect_timeout + config.read_timeout) + LONGEST_PAUSE_S
    # The rest is for the function's start.
    assert worst_s <= FLOW_WAITS_S - 2
