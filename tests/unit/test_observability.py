"""How an exception is logged: where it came from, and nothing that it quotes."""

import json
import logging
import sys
from typing import Any

import pytest

from call_archive.observability import logger

NUMBER = "+441632960123"


def logged(message: str, **fields: Any) -> str:
    """The line that CloudWatch gets."""
    record = logging.makeLogRecord({"msg": message, "levelname": "ERROR", **fields})
    return logger.registered_formatter.format(record)


def fail() -> None:
    try:
        int(f"{NUMBER}x")
    except ValueError as error:
        raise KeyError(NUMBER) from error


def test_exceptions_are_logged_without_their_messages() -> None:
    with pytest.raises(KeyError) as caught:
        fail()
    line = logged("unforeseen error", exc_info=(caught.type, caught.value, caught.tb))
    entry = json.loads(line)
    assert NUMBER not in line
    assert entry["exception_name"] == "KeyError"
    assert "in fail" in entry["exception"]
    assert entry["exception"].endswith("ValueError")


def test_an_exception_while_another_is_handled_is_followed_to_its_cause() -> None:
    try:
        try:
            raise ValueError(NUMBER)
        finally:
            int(NUMBER + "x")
    except ValueError:
        line = logged("unforeseen error", exc_info=sys.exc_info())
    assert NUMBER not in line
    assert json.loads(line)["exception"].splitlines().count("ValueError") == 2


def test_a_line_moves_no_terminals_cursor() -> None:
    hostile = 'a\r\n\x1b[31m\x9b31m\u2028{"_aws": {}}'
    line = logged("job failed", code=hostile)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["code"] == hostile
    assert "_aws" not in json.loads(line)
