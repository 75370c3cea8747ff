"""The one translation of failed calls: what boto3 and urllib3 raise → one of our errors.

A call fails in three ways. The service refuses it with a code. The connection fails: no response
arrives, or it is cut off. Or a response arrives, with any status, and lacks required members:
botocore reads cut headers, or a body that is not JSON, as a response without members, and raises
for a body that is not UTF-8.
"""

from __future__ import annotations

import re
from functools import cache, partial
from typing import TYPE_CHECKING

from call_archive.errors import (
    ArchiveError,
    ContactFaultError,
    QueueFaultError,
    StorageFaultError,
    StreamFaultError,
)
from call_archive.reasons import Code, Refusal, Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from call_archive.reasons import AnyCode

_CODE = re.compile(r"[A-Za-z0-9_.]{1,64}")

PERMANENT_CODES = {
    Service.CONNECT: frozenset(
        ("AccessDeniedException", "InvalidParameterException", "InvalidRequestException")
    ),
    Service.KVS: frozenset(
        (
            "NotAuthorizedException",
            "AccessDeniedException",
            "ResourceNotFoundException",
            "InvalidArgumentException",
            "ValidationException",
            "UnrecognizedClientException",
            "NoDataRetentionException",
            "UnsupportedStreamMediaTypeException",
        )
    ),
    Service.S3: frozenset(
        (
            "403",  # AccessDenied as the answer to HEAD, which has no body for the code
            "AccessDenied",
            "AccessDeniedException",
            "AllAccessDisabled",
            "InvalidBucketName",
            "InvalidRequest",
            "KMS.DisabledException",
            "KMS.NotFoundException",
            "NoSuchBucket",
        )
    ),
}
"""Refusals that no retry changes."""

KEY_FAULT_CODES = frozenset(("4500", "4501", "4502", "4504", "4505", "4506"))
"""Error documents about the stream's KMS key (GetMedia, "Errors"): no retry changes them.

4503 (the key is not available) is not among them: KMS asks clients to retry it
(KeyUnavailableException).
"""

_WHAT_TO_DO = {
    "InvalidArgumentException": "; the range is outside the stream's retention, or retention is 0",
    "NoDataRetentionException": "; set a retention of 24 h in the instance's storage settings",
    "ResourceNotFoundException": "; the stream was deleted",
    "AccessDeniedException": "; allow the function's role to read the stream and to use its key",
    "NotAuthorizedException": "; allow the function's role to read the stream and to use its key",
}


class translated:  # noqa: N801 - used as a statement: `with translated(...)`
    """Converts failures of the calls inside the block into our errors; other errors pass."""

    def __init__(self, build: Callable[[Exception], ArchiveError]) -> None:
        self._build = build

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raises our error in place of a failed call's."""
        if isinstance(error, failures()):
            raise self._build(error) from error


def connect_fault(api: str, error: Exception) -> ContactFaultError:
    """A failed call of Connect."""
    code, text, retryable = _describe(Service.CONNECT, api, error)
    return ContactFaultError(code, text, retryable=retryable)


def stream_fault(api: str, error: Exception) -> StreamFaultError:
    """A failed call of KVS; its text says what to do, if that is known."""
    code, text, retryable = _describe(Service.KVS, api, error)
    advice = _WHAT_TO_DO.get(code.refused, "") if isinstance(code, Refusal) else ""
    return StreamFaultError(code, text + advice, retryable=retryable)


def document_fault(code: str) -> StreamFaultError:
    """An error document inside a body of KVS, which began with HTTP 200."""
    return StreamFaultError(
        Refusal(Service.KVS, code),
        "KVS sends an error document in place of a fragment",
        retryable=code not in KEY_FAULT_CODES,
    )


def storage_fault(api: str, error: Exception) -> StorageFaultError:
    """A failed call of S3."""
    code, text, retryable = _describe(Service.S3, api, error)
    return StorageFaultError(code, text, retryable=retryable)


def queue_fault(code: Code, api: str) -> Callable[[Exception], QueueFaultError]:
    """Converts a failed call of SQS into an error; the code names the step that failed."""
    return partial(_queue_fault, code, api)


def refusal_code(error: Exception) -> str:
    """The service's code of a refused call, if it is a word; "" for a call that failed on the way.

    A service's message can quote any part of the request, so no message is kept.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415 - cold start of FlowFunction

    if not isinstance(error, ClientError):
        return ""
    code = str(error.response["Error"].get("Code", ""))
    return code if _CODE.fullmatch(code) else "UNNAMED"


def failure_text(api: str, error: Exception) -> str:
    """What happened to a call, in our own words: nothing of the service's message is quoted."""
    code = refusal_code(error)
    return f"{api} answered {code}" if code else f"{api} failed: {type(error).__name__}"


@cache
def broken() -> tuple[type[Exception], ...]:
    """Exceptions that botocore and urllib3 raise if a call or a body breaks off."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - cold start of FlowFunction
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - the same

    return (BotoCoreError, HTTPError, OSError)


@cache
def failures() -> tuple[type[Exception], ...]:
    """Every exception that a failed call raises."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - cold start of FlowFunction
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - the same

    return (ClientError, *broken(), ResponseParserError, KeyError, ValueError)


def _describe(service: Service, api: str, error: Exception) -> tuple[AnyCode, str, bool]:
    """Code, text and whether a retry can help."""
    if name := refusal_code(error):
        retryable = name not in PERMANENT_CODES[service]
        return Refusal(service, name), failure_text(api, error), retryable
    if isinstance(error, broken()):
        return Code(f"{service}_UNREACHABLE"), failure_text(api, error), True
    return Code(f"{service}_MALFORMED_ANSWER"), f"{api} answered without what it has to say", True


def _queue_fault(code: Code, api: str, error: Exception) -> QueueFaultError:
    return QueueFaultError(code, failure_text(api, error))
