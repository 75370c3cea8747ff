"""Ids, ARNs, fragment numbers and times from outside → checked values.

Every value is checked here before it enters an object key, a host name or a request: an id with a
slash never becomes a path.
"""

import re

from call_archive.errors import RequestError
from call_archive.limits import (
    MAX_CONTACT_ID_CHARACTERS,
    MAX_FRAGMENT_NUMBER_DIGITS,
    MAX_INSTANCE_ARN_CHARACTERS,
    MAX_INSTANCE_ID_CHARACTERS,
    MAX_STREAM_ARN_CHARACTERS,
    MAX_STREAM_NAME_CHARACTERS,
    MAX_TIMESTAMP_MS,
    MIN_TIMESTAMP_MS,
)
from call_archive.reasons import Code

_CONTACT_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_CONTACT_ID_CHARACTERS - 1}}}")
_FRAGMENT_NUMBER = re.compile(rf"[0-9]{{1,{MAX_FRAGMENT_NUMBER_DIGITS}}}")
_TIMESTAMP = re.compile(r"[0-9]{1,16}")
_REGION = "[a-z]{2,}(?:-[a-z]+)+-[0-9]{1,2}"
"""It becomes part of a host name."""
_INSTANCE_ARN = re.compile(
    rf"arn:aws[a-z-]*:connect:{_REGION}:[0-9]{{12}}"
    rf":instance/[A-Za-z0-9-]{{1,{MAX_INSTANCE_ID_CHARACTERS}}}"
)
_STREAM_ARN = re.compile(
    rf"arn:aws[a-z-]*:kinesisvideo:{_REGION}:[0-9]{{12}}"
    rf":stream/[a-zA-Z0-9_.-]{{1,{MAX_STREAM_NAME_CHARACTERS}}}/[0-9]{{1,20}}"
)


def decode_contact_id(field: object) -> str:
    """A contact id that may enter an object key.

    Raises:
        RequestError: it is missing, or holds anything but letters, digits, `-` and `_`.
    """
    if isinstance(field, str) and _CONTACT_ID.fullmatch(field):
        return field
    raise RequestError(
        Code.MALFORMED_CONTACT_ID,
        f"ContactId must be 1-{MAX_CONTACT_ID_CHARACTERS} letters, digits, - or _",
    )


def decode_instance_arn(field: object) -> str:
    """A Connect instance ARN; the doubled colon of some documentation samples is corrected.

    Raises:
        RequestError: it is missing or malformed.
    """
    arn = field.replace("::connect:", ":connect:") if isinstance(field, str) else ""
    if len(arn) <= MAX_INSTANCE_ARN_CHARACTERS and _INSTANCE_ARN.fullmatch(arn):
        return arn
    raise RequestError(
        Code.MALFORMED_INSTANCE_ARN,
        "InstanceARN must look like arn:aws:connect:REGION:ACCOUNT:instance/ID, in at most "
        f"{MAX_INSTANCE_ARN_CHARACTERS} characters",
    )


def decode_stream_arn(field: object) -> str:
    """A KVS stream ARN.

    Raises:
        RequestError: it is missing or malformed.
    """
    if (
        isinstance(field, str)
        and len(field) <= MAX_STREAM_ARN_CHARACTERS
        and _STREAM_ARN.fullmatch(field)
    ):
        return field
    raise RequestError(
        Code.MALFORMED_STREAM_ARN,
        "StreamARN must look like arn:aws:kinesisvideo:REGION:ACCOUNT:stream/NAME/CREATION_MS, in "
        f"at most {MAX_STREAM_ARN_CHARACTERS} characters",
    )


def decode_fragment_number(field: object) -> int:
    """A fragment number: a string of up to 128 digits, compared as an integer.

    Raises:
        RequestError: it is missing, not a string of digits, or 0.
    """
    if isinstance(field, str) and _FRAGMENT_NUMBER.fullmatch(field) and int(field):
        return int(field)
    raise RequestError(
        Code.MALFORMED_FRAGMENT_NUMBER,
        f"a fragment number must be 1-{MAX_FRAGMENT_NUMBER_DIGITS} digits",
    )


def decode_timestamp_ms(field: object) -> int:
    """Milliseconds since the epoch, from the digits that Connect sends or from a number.

    Raises:
        RequestError: it is missing, not digits, or not between 2015 and 2100.
    """
    timestamp_ms = -1
    if isinstance(field, str) and _TIMESTAMP.fullmatch(field):
        timestamp_ms = int(field)
    elif isinstance(field, int) and not isinstance(field, bool):
        timestamp_ms = field
    if MIN_TIMESTAMP_MS <= timestamp_ms <= MAX_TIMESTAMP_MS:
        return timestamp_ms
    raise RequestError(
        Code.MALFORMED_TIMESTAMP, "a timestamp must be milliseconds since 1970, from 2015 to 2100"
    )


def account_of(arn: str) -> str:
    """The account id of a checked ARN."""
    return arn.split(":")[4]


def place_of(arn: str) -> tuple[str, str, str]:
    """Partition, region and account of an ARN; Connect streams within those of its instance."""
    _, partition, _, region, account, _ = arn.split(":", 5)
    return partition, region, account


def region_of(arn: str) -> str:
    """The region of a checked ARN."""
    return arn.split(":")[3]


def instance_id_of(instance_arn: str) -> str:
    """The instance id of a checked Connect instance ARN."""
    return instance_arn.rpartition("/")[2]


def check_instance(instance_arn: str, allowed_instance_arn: str, account_id: str) -> None:
    """Refuses an event or a message of another instance or another account.

    Args:
        instance_arn: the checked ARN from the event or the message.
        allowed_instance_arn: the one instance that is served, "" for any of the account.
        account_id: the account that the function runs in, "" if that is not known.

    Raises:
        RequestError: the instance is not served here.
    """
    if allowed_instance_arn:
        served = instance_arn == allowed_instance_arn
    else:
        served = account_id in ("", account_of(instance_arn))
    if not served:
        raise RequestError(Code.FOREIGN_INSTANCE, "this Connect instance is not served here")
