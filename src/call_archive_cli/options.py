"""Options that several commands share: parsed, checked, with one wording each."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
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
from call_archive.limits import MAX_STREAM_NAME_CHARACTERS
from call_archive_cli.exits import USAGE, CommandError
from call_archive_cli.reasons import CommandCode

DEFAULT_DAYS: Final = 7
OLDEST_YEAR: Final = 2015
STREAM_NAME: Final = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_STREAM_NAME_CHARACTERS}}}")
NEWEST_YEAR: Final = 2100


class Track(StrEnum):
    """Whose audio: both gives two channels, left the customer, right what the customer hears."""

    CUSTOMER = "customer"
    AGENT = "agent"
    BOTH = "both"


class AudioFormat(StrEnum):
    """How PCM is stored: 8 kHz, 16-bit little-endian, with a RIFF header or bare."""

    WAV = "wav"
    RAW = "raw"


def parse_moment_ms(text: str) -> int:
    """ISO 8601 (UTC if no zone is given), or milliseconds since the epoch, as milliseconds.

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


def parse_date(text: str) -> date:
    """A day, as 2026-11-23.

    Raises:
        RequestError: there is no such day.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise RequestError(
            CommandCode.MALFORMED_DATE, f"{text} is not a day: one looks like 2026-11-23"
        ) from error
    if not OLDEST_YEAR <= day.year <= NEWEST_YEAR:
        raise RequestError(
            CommandCode.MALFORMED_DATE, f"{text} is not a day from {OLDEST_YEAR} to {NEWEST_YEAR}"
        )
    return day


def _decode_stream(text: str) -> str:
    if text.startswith("arn:"):
        return decode_stream_arn(text)
    if STREAM_NAME.fullmatch(text):
        return text
    raise RequestError(
        CommandCode.MALFORMED_STREAM, "a stream is its ARN, or its name: letters, digits, _ . and -"
    )


def parser[T](decode: Callable[[str], T]) -> Callable[[str], T]:
    """A decoder whose refusal is a usage error, under the option that was wrong."""

    def parse(text: str) -> T:
        try:
            return decode(text)
        except RequestError as error:
            raise typer.BadParameter(str(error)) from error

    return parse


parse_contact_id = parser(decode_contact_id)
parse_fragment_number = parser(decode_fragment_number)
parse_stream_arn = parser(decode_stream_arn)
parse_stream = parser(_decode_stream)
parse_moment = parser(parse_moment_ms)
parse_day = parser(parse_date)

# Typer takes an int parameter for a number; the metavar says what it is.
Stream = Annotated[
    str | None,
    typer.Option(
        "--stream",
        "--stream-arn",
        metavar="NAME|ARN",
        parser=parse_stream,
        help="The KVS stream; a name is looked up in the region.",
    ),
]
InstanceArn = Annotated[
    str | None,
    typer.Option(
        "--instance-arn",
        metavar="ARN",
        envvar="CONNECT_INSTANCE_ARN",
        parser=parser(decode_instance_arn),
        help="The Connect instance. [default: of --stack]",
    ),
]
ContactArgument = Annotated[
    str, typer.Argument(metavar="CONTACT_ID", parser=parse_contact_id, show_default=False)
]
Contact = Annotated[
    str | None,
    typer.Option(metavar="CONTACT_ID", parser=parse_contact_id, help="Only this contact."),
]
TrackOption = Annotated[
    Track, typer.Option("--track", help="Whose voice; both gives stereo, the customer left.")
]

Bucket = Annotated[
    str | None,
    typer.Option(envvar="ARCHIVE_BUCKET", help="The archive's bucket. [default: of --stack]"),
]
Prefix = Annotated[
    str | None,
    typer.Option(envvar="ARCHIVE_PREFIX", help="Prefix of every key. [default: of --stack]"),
]
QueueUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="ArchiveQueue. [default: of --stack]")
]
Day = Annotated[
    date | None,
    typer.Option(metavar="DATE", parser=parse_day, help="Only this day (UTC)."),
]
FirstDay = Annotated[
    date | None,
    typer.Option(
        "--from",
        metavar="DATE",
        parser=parse_day,
        help=f"First day (UTC). [default: {DEFAULT_DAYS - 1} days ago]",
    ),
]
LastDay = Annotated[
    date | None,
    typer.Option("--to", metavar="DATE", parser=parse_day, help="Last day (UTC). [default: today]"),
]
All = Annotated[bool, typer.Option("--all", help="Every day of the archive.")]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
Directory = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIRECTORY", help="Directory for the files.")
]


def required[T](value: T | None, name: str) -> T:
    """The value of an option that this combination requires.

    Raises:
        CommandError: it was not given.
    """
    if value is None:
        raise CommandError(f"{name} is missing", USAGE)
    return value
