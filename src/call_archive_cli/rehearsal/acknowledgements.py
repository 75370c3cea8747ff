"""PutMedia's answer, in any split → acknowledgements.

Each is one JSON object; they follow each other with or without white space. In reality they are
flat; the documentation wraps each in `Acknowledgement`, which is taken, too.

Source: PutMedia in the KVS API reference; answers recorded by AWS's producer SDKs.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

MAX_BYTES: Final = 65_536
"""No acknowledgement is nearly as long."""


class Event(StrEnum):
    """What KVS says of a fragment, or of the session."""

    BUFFERING = "BUFFERING"
    RECEIVED = "RECEIVED"
    PERSISTED = "PERSISTED"
    ERROR = "ERROR"
    IDLE = "IDLE"


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """One of them.

    Attributes:
        event: as KVS names it; an unknown one is kept unchanged.
        timecode_ms: of the fragment; None if it is of none.
        fragment_number: "" if it is of none.
        error_id: of an ERROR; 0 otherwise.
        error_code: of an ERROR; "" otherwise.
    """

    event: str
    timecode_ms: int | None = None
    fragment_number: str = ""
    error_id: int = 0
    error_code: str = ""


class AcknowledgementError(Exception):
    """The answer is not a sequence of acknowledgements."""


class AcknowledgementReader:
    """The state of one answer."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._at = 0
        self._depth = 0
        self._in_string = False
        self._is_escaped = False

    def receive(self, received: bytes) -> list[Acknowledgement]:
        """The acknowledgements that these bytes complete.

        Raises:
            AcknowledgementError: something else was sent.
        """
        self._held += received
        complete = []
        while (document := self._read_document()) is not None:
            complete.append(_decode(document))
        if len(self._held) > MAX_BYTES:
            raise AcknowledgementError("an acknowledgement that does not end")
        return complete

    def _read_document(self) -> bytes | None:
        """The next whole object; None for more bytes, please."""
        held = self._held
        if not self._depth:
            stripped = len(held) - len(held.lstrip())
            del held[:stripped]
            if held and held[0] != ord("{"):
                raise AcknowledgementError(f"not an acknowledgement: {bytes(held[:40])!r}")
        while self._at < len(held):
            byte = held[self._at]
            self._at += 1
            if self._step(byte):
                document = bytes(held[: self._at])
                del held[: self._at]
                self._at = 0
                return document
        return None

    def _step(self, byte: int) -> bool:
        """Takes one byte; whether an object ends with it."""
        if self._is_escaped:
            self._is_escaped = False
        elif self._in_string:
            self._is_escaped = byte == ord("\\")
            self._in_string = byte != ord('"')
        elif byte == ord('"'):
            self._in_string = True
        elif byte == ord("{"):
            self._depth += 1
        elif byte == ord("}"):
            self._depth -= 1
            return not self._depth
        return False


def _decode(document: bytes) -> Acknowledgement:
    try:
        fields: dict[str, Any] = json.loads(document)
    except ValueError as error:
        raise AcknowledgementError(f"not JSON: {document[:40]!r}") from error
    wrapped = fields.get("Acknowledgement")
    if isinstance(wrapped, dict):
        fields = wrapped
    timecode = fields.get("FragmentTimecode")
    try:
        return Acknowledgement(
            event=str(fields["EventType"]),
            timecode_ms=None if timecode is None else int(timecode),
            fragment_number=str(fields.get("FragmentNumber", "")),
            error_id=int(fields.get("ErrorId") or 0),
            error_code=str(fields.get("ErrorCode") or ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AcknowledgementError(f"not an acknowledgement: {document[:40]!r}") from error
