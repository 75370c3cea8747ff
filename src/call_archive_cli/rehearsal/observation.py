"""`--observe DIRECTORY`: what the real services sent, redacted as it is written.

JSON documents and media bodies become files; delays and orders are collected in
`observations.json`. A question that may not be asked is answered by the refusal's code.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from call_archive_cli.rehearsal.redaction import Names, redact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from call_archive_cli.clients import Clients

LIVE_S: Final = 20.0
_END_OF_LIVE: Final = b"AWS_KINESISVIDEO_MILLIS_BEHIND_NOW"
"""The tag behind each fragment of GetMedia."""

_NUMBER: Final = re.compile(rb"AWS_KINESISVIDEO_FRAGMENT_NUMBER\x44\x87.([0-9]{40,48})", re.DOTALL)
_READ_BYTES: Final = 65_536
_UNKNOWN: Final = "91343852333181432392682062659924109276236173057"


@dataclass(slots=True)
class Observer:
    """Writes into a directory, which it makes."""

    directory: Path
    names: Names
    facts: dict[str, Any] = field(default_factory=dict)

    def keep(self, name: str, content: Any) -> None:  # noqa: ANN401 - JSON or bytes
        """A file of this name; of `observations.json`, more of its entries."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / name
        if isinstance(content, bytes):
            path.write_bytes(self.names.overwrite(content))
            return
        if name == "observations.json":
            self.facts |= content
            content = self.facts
        text = json.dumps(redact(content), indent=2) + "\n"
        # A second line of defence: what is kept as a harmless word may be a person's name.
        path.write_bytes(self.names.overwrite(text.encode()))


@dataclass(frozen=True, slots=True)
class Questions:
    """Asks Kinesis Video what its documentation leaves open.

    Attributes:
        endpoint: of an API of the stream, by the API's name.
        keep: takes a file's name and content.
    """

    clients: Clients
    region: str
    stream_arn: str
    endpoint: Callable[[str], str]
    keep: Callable[[str, Any], None]

    def ask(self, listed: list[dict[str, Any]], from_ms: int) -> None:
        """All of them; `listed` is what ListFragments gave, in its order."""
        numbers = [entry["FragmentNumber"] for entry in listed]
        self._note(
            listedLengthsMs=sorted({entry["FragmentLengthInMilliseconds"] for entry in listed}),
            listedInOrder=numbers == sorted(numbers, key=int),
        )
        self._try("archived media", lambda: self._archived(numbers))
        self._try("live media", lambda: self._live(len(numbers)))
        self._try("unknown number", lambda: self._media_of([_UNKNOWN]))
        self._try("empty range", lambda: self._list(from_ms - 7_200_000, from_ms - 3_600_000))
        self._try("before creation", lambda: self._list(from_ms - 86_400_000, from_ms + 60_000))

    def _archived(self, numbers: list[str]) -> dict[str, Any]:
        body = self._media_of(numbers[::-1])
        self.keep("media-for-fragment-list.mkv", body)
        came = _numbers_in(body)
        if came == sorted(came, key=int):
            order = "by number"
        else:
            order = "as asked" if came == numbers[::-1] else "another"
        return {"fragments": len(came), "order": order}

    def _live(self, count: int) -> dict[str, Any]:
        """GetMedia from the beginning, until all fragments have come or nothing more does."""
        client = self.clients.live_media(self.region, self.endpoint("GET_MEDIA"), LIVE_S)
        payload = client.get_media(
            StreamARN=self.stream_arn, StartSelector={"StartSelectorType": "EARLIEST"}
        )["Payload"]
        # `read` of botocore's body waits for a full buffer, which a live stream may never give.
        stream = payload._raw_stream  # type: ignore[attr-defined] # noqa: SLF001 - see above
        body, ends_at = bytearray(), time.monotonic() + LIVE_S
        try:
            while body.count(_END_OF_LIVE) < count and time.monotonic() < ends_at:
                read = stream.read1(_READ_BYTES)
                if not read:
                    break
                body += read
        finally:
            payload.close()
            self.keep("media.mkv", bytes(body))
        return {"fragments": body.count(_END_OF_LIVE)}

    def _media_of(self, numbers: list[str]) -> bytes:
        client = self.clients.archived_media(
            self.region, self.endpoint("GET_MEDIA_FOR_FRAGMENT_LIST")
        )
        answer = client.get_media_for_fragment_list(StreamARN=self.stream_arn, Fragments=numbers)
        body: bytes = answer["Payload"].read()
        return body

    def _list(self, from_ms: int, to_ms: int) -> dict[str, Any]:
        client = self.clients.archived_media(self.region, self.endpoint("LIST_FRAGMENTS"))
        start = datetime.fromtimestamp(from_ms / 1000, UTC)
        answer = client.list_fragments(
            StreamARN=self.stream_arn,
            FragmentSelector={
                "FragmentSelectorType": "SERVER_TIMESTAMP",
                "TimestampRange": {
                    "StartTimestamp": start,
                    "EndTimestamp": start + timedelta(milliseconds=to_ms - from_ms),
                },
            },
        )
        # The key was seen to be missing, and to hold null.
        found: Any = answer.get("Fragments")
        return {"fragments": None if found is None else len(found)}

    def _try(self, question: str, ask: Callable[[], Any]) -> None:
        try:
            answer = ask()
        except ClientError as error:
            told = error.response["Error"]
            answer = {
                "code": told.get("Code", ""),
                "status": error.response["ResponseMetadata"].get("HTTPStatusCode"),
                "message": told.get("Message", ""),
            }
        except (BotoCoreError, OSError) as error:
            answer = {"code": type(error).__name__}
        if isinstance(answer, bytes):
            answer = {"bytes": len(answer)}
        self._note(**{question.replace(" ", "_"): answer})

    def _note(self, **facts: Any) -> None:  # noqa: ANN401 - JSON
        self.keep("observations.json", facts)


def _numbers_in(body: bytes) -> list[str]:
    """The fragment numbers in a media body, in its order."""
    return [found[1].decode() for found in _NUMBER.finditer(body)]
