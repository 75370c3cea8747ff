"""The codes of failures that only the command meets; the functions' are `call_archive.reasons`."""

from enum import StrEnum


class CommandCode(StrEnum):
    """What happened, in one word."""

    MALFORMED_DATE = "MALFORMED_DATE"
    MALFORMED_STREAM = "MALFORMED_STREAM"
    MALFORMED_TIME = "MALFORMED_TIME"
    NOTHING_STREAMED = "NOTHING_STREAMED"
    NO_INSTANCE_ID = "NO_INSTANCE_ID"
    NO_TIMESTAMP = "NO_TIMESTAMP"
