"""What a service sent → the same without anything that says whose account it came from.

Text is kept only if it is known to be harmless: a fragment number, a time, a word of the service's
own vocabulary. Every other string becomes its length and the kinds of characters in it, which is
what an open question is usually about. Media is not re-encoded: a name in it is overwritten by as
many zeros, so that sizes and offsets stay.

Invariant: no account id, ARN, name, phone number or signature passes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

_FRAGMENT_NUMBER: Final = re.compile(r"[0-9]{40,48}")
_EPOCH_MS: Final = re.compile(r"1[0-9]{12}")
_ARN: Final = re.compile(r"arn:([a-z-]+):([a-z0-9-]+):")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_0-9/;=. -]{0,47}")
_REFUSAL_DETAIL: Final = re.compile(r"\S*[^A-Za-z\s.,;'()]\S*")
"""In a service's message, what is not an ordinary word: numbers, ids, names with a hyphen."""

_FIELD: Final = re.compile(r"[A-Za-z][A-Za-z_]{0,47}")
_VOCABULARY: Final = frozenset(
    {
        "Channel",
        "EventType",
        "FragmentSelectorType",
        "InitiationMethod",
        "MediaStreamType",
        "MimeType",
        "Name",
        "ParticipantType",
        "Status",
        "StorageType",
        "answer",
        "archiveStatus",
        "code",
        "codec",
        "mediaStreaming",
        "operation",
        "order",
        "tag",
        "trackNames",
    }
)
"""Keys whose values are words of the services, of public names or of our own."""

_OF_USERS: Final = frozenset(
    {"Attributes", "Tags", "References", "SegmentAttributes", "Parameters", "External"}
)
"""Below these, keys are the user's own words, too."""

_OWN_WORDS: Final = frozenset(
    {
        "ContactFlowEvent",
        "AUDIO_FROM_CUSTOMER",
        "AUDIO_TO_CUSTOMER",
    }
)


def redact(value: Any, key: str = "", *, of_users: bool = False) -> Any:  # noqa: ANN401 - JSON
    """JSON without anything of the account's; numbers and truth values are kept."""
    if isinstance(value, Mapping):
        inside = of_users or key in _OF_USERS
        return {
            _redact_key(str(name), of_users=inside): redact(each, str(name), of_users=inside)
            for name, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(each, key, of_users=of_users) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool) or value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 10**9 or _EPOCH_MS.fullmatch(str(value)) else _shape("0")
    return _redact_text(str(value), key, of_users=of_users)


def _redact_key(name: str, *, of_users: bool) -> str:
    """A field's name is the service's, unless it looks like an id or is below a user's."""
    return name if not of_users and _FIELD.fullmatch(name) else _shape(name)


def _redact_text(text: str, key: str, *, of_users: bool) -> str:
    if _FRAGMENT_NUMBER.fullmatch(text) or _EPOCH_MS.fullmatch(text):
        return text
    if found := _ARN.match(text):
        return f"<ARN of {found[2]}, {len(text)} characters>"
    if key == "message" and not of_users:
        return _REFUSAL_DETAIL.sub("…", text)
    is_word = not of_users and key in _VOCABULARY and _WORD.fullmatch(text)
    if is_word and (key != "Name" or text in _OWN_WORDS):
        return text
    return _shape(text)


def _shape(text: str) -> str:
    kinds = [
        name
        for name, pattern in (
            ("letters", r"[A-Za-z]"),
            ("digits", r"[0-9]"),
            ("white space", r"\s"),
        )
        if re.search(pattern, text)
    ]
    others = sorted({c for c in text if not c.isalnum() and not c.isspace() and c.isascii()})
    if any(not c.isascii() for c in text):
        kinds.append("beyond ASCII")
    told = ", ".join([*kinds, *(["".join(others)] if others else [])])
    return f"<{len(text)} characters: {told}>" if told else "<empty>"


@dataclass(frozen=True, slots=True)
class Names:
    """What must not be in a media body: ids and names of this account."""

    texts: frozenset[str]

    def overwrite(self, media: bytes) -> bytes:
        """The body with each of them overwritten by zeros, hyphens kept, lengths unchanged."""
        # The longest first: one may be part of another.
        for text in sorted(self.texts, key=len, reverse=True):
            if len(text) >= _LEAST:
                filler = re.sub(r"[^-]", "0", text)
                media = media.replace(text.encode(), filler.encode())
        return media


_LEAST: Final = 4
"""Shorter names would be found in samples by chance."""
