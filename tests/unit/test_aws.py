"""What is kept of a service's refusal."""

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from call_archive.aws.faults import failure_text, refusal_code


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "+441632960123"}}, "GetObject")


@pytest.mark.parametrize("code", ["AccessDenied", "412", "KMS.DisabledException"])
def test_a_code_is_kept_and_the_sentence_is_not(code: str) -> None:
    assert refusal_code(refused(code)) == code
    assert failure_text("GetObject", refused(code)) == f"GetObject answered {code}"


@pytest.mark.parametrize("code", ["", "two words", "a\nb", "\x1b[31m", "é", "x" * 65])
def test_a_code_that_is_no_word_is_not_kept(code: str) -> None:
    assert refusal_code(refused(code)) == "UNNAMED"


def test_a_call_that_failed_on_the_way_has_no_code() -> None:
    error = ConnectTimeoutError(endpoint_url="https://queue/+441632960123")
    assert refusal_code(error) == ""
    assert failure_text("SendMessage", error) == "SendMessage failed: ConnectTimeoutError"
