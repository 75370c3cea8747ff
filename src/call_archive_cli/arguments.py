"""What several commands take on their command line: parsed, checked, with one wording each."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final

import typer

from call_archive.errors import RequestError
from call_archive.fields import (
    decode_contact_id,
    decode_fragment_number,
    decode_instance_arn,
    decode_stream_arn,
    decode_timestamp_ms,
)
from call_archive.media.pcm import Direction
from call_archive_cli.reasons import CommandCode


class Track(StrEnum):
    """Whose audio: both gives two channels, left the customer, right what the customer hears."""

    CUSTOMER = "customer"
    AGENT = "agent"
    BOTH = "both"


DIRECTIONS: Final = {
    Track.CUSTOMER: (Direction.FROM_CUSTOMER,),
    Track.AGENT: (Direction.TO_CUSTOMER,),
    Track.BOTH: (Direction.FROM_CUSTOMER, Direction.TO_CUSTOMER),
}


def parse_moment_ms(text: str) -> int:
    """ISO 8601 (UTC where no zone is given), or milliseconds since the epoch, as milliseconds.

    Raises:
        RequestError: it is neither, or not between 2015 and 2100.
    """
    if text.isdecimal():
        return decode_timestamp_ms(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestError(
            CommandCode.MALFORMED_TIME, "a time looks like 2026-11-23T09:30:00Z, or 1795426200000"
        ) from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return decode_timestamp_ms(round(aware.timestamp() * 1000))


def _parser[T](decode: Callable[[str], T]) -> Callable[[str], T]:
    """A decoder whose refusal is a usage error, under the option that was wrong."""

    def parse(text: str) -> T:
        try:
            return decode(text)
        except RequestError as error:
            raise typer.BadParameter(str(error)) from error

    return parse


# Typer takes an int parameter for a number; the metavar says what it is.
StreamArn = Annotated[
    str | None,
    typer.Option(
        "--stream-arn", metavar="ARN", parser=_parser(decode_stream_arn), help="The KVS stream."
    ),
]
InstanceArn = Annotated[
    str | None,
    typer.Option(
        "--instance-arn",
        metavar="ARN",
        envvar="CONNECT_INSTANCE_ARN",
        parser=_parser(decode_instance_arn),
        help="The Connect instance.",
    ),
]
parse_contact_id = _parser(decode_contact_id)
parse_fragment_number = _parser(decode_fragment_number)
parse_stream_arn = _parser(decode_stream_arn)
parse_moment = _parser(parse_moment_ms)
