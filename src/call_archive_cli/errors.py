"""Errors in words for the user: what failed, for which thing, and how to fix it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botocore import exceptions as aws
from botocore.exceptions import BotoCoreError, ClientError

from call_archive.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable

LOG_IN: Final = "log in (aws sso login), or choose a profile with --profile"
_NOT_ALLOWED: Final = "your credentials do not allow it"
_TOO_FAST: Final = (
    "AWS limits these requests, also after retries: run the command again in a minute"
)
_WHAT_TO_DO: Final = {
    "AccessDenied": _NOT_ALLOWED,
    "AccessDeniedException": _NOT_ALLOWED,
    "NotAuthorizedException": _NOT_ALLOWED,
    "NoSuchBucket": "check the name of the bucket",
    "NoSuchKey": "it has been deleted",
    "404": "it does not exist",
    "403": _NOT_ALLOWED,
    "PermanentRedirect": "the bucket is in another region: give --region",
    "ResourceNotFoundException": "it does not exist: check the name and the region",
    "InvalidArgumentException": "outside the stream's retention, or the retention is 0",
    "NoDataRetentionException": "set 24 h under Data storage, Live media streaming",
    "ClientLimitExceededException": _TOO_FAST,
    "RequestLimitExceeded": _TOO_FAST,
    "SlowDown": _TOO_FAST,
    "Throttling": _TOO_FAST,
    "ThrottlingException": _TOO_FAST,
    "TooManyRequestsException": _TOO_FAST,
    "AWS.SimpleQueueService.NonExistentQueue": "check the queue's URL and the region",
    "QueueDoesNotExist": "check the queue's URL and the region",
}
_NOT_ACCEPTED: Final = frozenset(
    (
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    )
)
"""AWS's codes for unknown or expired credentials."""

_NO_CREDENTIALS: Final = (
    aws.CredentialRetrievalError,
    aws.LoginError,
    aws.NoAuthTokenError,
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.RefreshWithMFAUnsupportedError,
    aws.SSOError,
    aws.TokenRetrievalError,
    aws.UnknownCredentialError,
)


def is_about_credentials(error: BaseException | None) -> bool:
    """Whether the failure, or its cause, is missing or rejected credentials."""
    while error is not None:
        if isinstance(error, _NO_CREDENTIALS):
            return True
        if isinstance(error, ClientError):
            return error.response["Error"].get("Code", "") in _NOT_ACCEPTED
        error = error.__cause__
    return False


def describe(error: Exception) -> str:
    """Describes a failure in words for the user."""
    for kind, describe_kind in _DESCRIPTIONS:
        if isinstance(error, kind):
            return describe_kind(error)
    return str(error) or type(error).__name__


def _failure(error: ArchiveError) -> str:
    """The functions' own text; for a refused call, its meaning for the user."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, (ClientError, BotoCoreError)):
        return describe(cause)
    return str(error.reason)


def _refusal(error: ClientError) -> str:
    code = error.response["Error"].get("Code", "")
    text = error.response["Error"].get("Message", "")
    advice = LOG_IN if code in _NOT_ACCEPTED else _WHAT_TO_DO.get(code, "")
    said = ": ".join(part for part in (code, text) if part)
    return f"{error.operation_name} answered {said}{f'; {advice}' if advice else ''}"


def _no_credentials(error: Exception) -> str:
    if isinstance(error, aws.NoCredentialsError):
        return f"no usable AWS credentials: {LOG_IN}"
    return f"no usable AWS credentials ({error}): {LOG_IN}"


_DESCRIPTIONS: Final[tuple[tuple[Any, Callable[[Any], str]], ...]] = (
    (ArchiveError, _failure),
    (ClientError, _refusal),
    (_NO_CREDENTIALS, _no_credentials),
    (aws.NoRegionError, lambda _: "no AWS region: give --region, or set AWS_DEFAULT_REGION"),
    (aws.ProfileNotFound, lambda error: f"{error}: see ~/.aws/config"),
    (aws.EndpointConnectionError, lambda error: f"{error}: check the region and the network"),
    (FileNotFoundError, lambda error: f"{error.filename}: there is no such file or folder"),
    (
        OSError,
        lambda error: f"{error.filename}: {error.strerror}" if error.filename else str(error),
    ),
)
