"""Why a call is not archived, or not completely: every code in one place, and its text.

Codes are stable: responses to the flow, manifests, failed jobs, log lines and saved queries contain
them, and the runbook explains each. A service's own codes cannot be listed here: such a code is a
`Refusal`, with the service's name in front.
"""

from enum import StrEnum
from typing import NamedTuple, Self


class Code(StrEnum):
    """What happened, in one word."""

    # The function's environment.
    CONFIGURATION = "CONFIGURATION"

    # The event or the message.
    CALL_TOO_LONG = "CALL_TOO_LONG"
    FOREIGN_INSTANCE = "FOREIGN_INSTANCE"
    FOREIGN_STREAM = "FOREIGN_STREAM"
    MALFORMED_CONTACT_EVENT = "MALFORMED_CONTACT_EVENT"
    MALFORMED_CONTACT_ID = "MALFORMED_CONTACT_ID"
    MALFORMED_FRAGMENT_NUMBER = "MALFORMED_FRAGMENT_NUMBER"
    MALFORMED_INSTANCE_ARN = "MALFORMED_INSTANCE_ARN"
    MALFORMED_MESSAGE = "MALFORMED_MESSAGE"
    MALFORMED_STREAM_ARN = "MALFORMED_STREAM_ARN"
    MALFORMED_TIMESTAMP = "MALFORMED_TIMESTAMP"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    NOT_A_FLOW_EVENT = "NOT_A_FLOW_EVENT"
    NOT_AN_SQS_EVENT = "NOT_AN_SQS_EVENT"
    REVERSED_RANGE = "REVERSED_RANGE"
    TOO_MANY_RECORDINGS = "TOO_MANY_RECORDINGS"
    UNDELIVERED_BATCH = "UNDELIVERED_BATCH"
    UNFILLED_RECORDING = "UNFILLED_RECORDING"
    UNKNOWN_JOB = "UNKNOWN_JOB"
    UNKNOWN_MESSAGE = "UNKNOWN_MESSAGE"

    # Connect.
    CONNECT_MALFORMED_ANSWER = "CONNECT_MALFORMED_ANSWER"
    CONNECT_UNREACHABLE = "CONNECT_UNREACHABLE"
    NO_RECORDING_YET = "NO_RECORDING_YET"

    # The stream: what KVS lists and delivers.
    FRAGMENT_CUT_SHORT = "FRAGMENT_CUT_SHORT"
    GONE = "GONE"
    KVS_MALFORMED_ANSWER = "KVS_MALFORMED_ANSWER"
    KVS_UNREACHABLE = "KVS_UNREACHABLE"
    NOTHING_LISTED = "NOTHING_LISTED"
    NOT_DELIVERED = "NOT_DELIVERED"
    NOT_IN_STREAM = "NOT_IN_STREAM"
    START_NOT_LISTED = "START_NOT_LISTED"
    STOP_NOT_LISTED = "STOP_NOT_LISTED"
    TAIL_NOT_SETTLED = "TAIL_NOT_SETTLED"
    TOO_MANY_FRAGMENTS = "TOO_MANY_FRAGMENTS"

    # The bytes of a fragment.
    AMBIGUOUS_TRACKS = "AMBIGUOUS_TRACKS"
    FRAGMENT_TOO_LARGE = "FRAGMENT_TOO_LARGE"
    MALFORMED_BLOCK = "MALFORMED_BLOCK"
    MALFORMED_ELEMENT = "MALFORMED_ELEMENT"
    MALFORMED_TAGS = "MALFORMED_TAGS"
    MALFORMED_TRACKS = "MALFORMED_TRACKS"
    NOT_EBML = "NOT_EBML"
    NO_CLUSTER_TIMESTAMP = "NO_CLUSTER_TIMESTAMP"
    NO_TRACKS = "NO_TRACKS"
    UNKNOWN_TRACKS = "UNKNOWN_TRACKS"

    # The recording.
    AUDIO_BEHIND_STOP = "AUDIO_BEHIND_STOP"
    CONTRADICTORY_TAGS = "CONTRADICTORY_TAGS"
    HELD_BY_ANOTHER = "HELD_BY_ANOTHER"
    END_UNCERTAIN = "END_UNCERTAIN"
    INCOMPLETE = "INCOMPLETE"
    NO_AUDIO = "NO_AUDIO"
    NO_FRAGMENT_OF_CONTACT = "NO_FRAGMENT_OF_CONTACT"
    RECORDING_TOO_LONG = "RECORDING_TOO_LONG"
    TOO_MANY_HOLES = "TOO_MANY_HOLES"
    UNTAGGED_REFUSED = "UNTAGGED_REFUSED"

    # S3 and the function's disk.
    DISK_FULL = "DISK_FULL"
    FOREIGN_MANIFEST = "FOREIGN_MANIFEST"
    PUBLISHED_MEANWHILE = "PUBLISHED_MEANWHILE"
    S3_MALFORMED_ANSWER = "S3_MALFORMED_ANSWER"
    S3_UNREACHABLE = "S3_UNREACHABLE"
    UNKNOWN_MANIFEST = "UNKNOWN_MANIFEST"

    # The queues.
    FAILED_JOB_NOT_QUEUED = "FAILED_JOB_NOT_QUEUED"
    JOB_NOT_QUEUED = "JOB_NOT_QUEUED"
    VISIBILITY_NOT_CHANGED = "VISIBILITY_NOT_CHANGED"

    # An operator's decision.
    ERASED = "ERASED"

    # The run.
    OUT_OF_TIME = "OUT_OF_TIME"
    UNFORESEEN = "UNFORESEEN"


class Service(StrEnum):
    """The services whose own codes a `Refusal` carries."""

    CONNECT = "CONNECT"
    KVS = "KVS"
    S3 = "S3"


class Refusal(str):
    """A service's own code, such as `KVS_NotAuthorizedException`; an open set.

    Attributes:
        service: the service that refused.
        refused: the service's code, without the service's name.
    """

    __slots__ = ("refused", "service")

    service: Service
    refused: str

    def __new__(cls, service: Service, refused: str) -> Self:
        """Builds the code: `SERVICE_refused`."""
        refusal = super().__new__(cls, f"{service}_{refused}")
        refusal.service = service
        refusal.refused = refused
        return refusal


type AnyCode = StrEnum | Refusal
"""A code of the functions (`Code`), a command's own, or a service's."""


class Reason(NamedTuple):
    """A code and a sentence that says what was wrong, where, and what to do."""

    code: AnyCode
    text: str

    def __str__(self) -> str:
        """`CODE: text`, the form in responses, manifests and failed jobs."""
        return f"{self.code}: {self.text}"
