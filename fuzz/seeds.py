"""Each target's first inputs: what Connect really sends, by our own encoder, and the samples."""

import json
from pathlib import Path

from fuzz.journey import FIRST_NUMBER, START_MS
from fuzz.media import CONTROL_BYTES
from local.encoder import (
    FROM_CUSTOMER,
    SDK_PRODUCER,
    TO_CUSTOMER,
    Block,
    Cluster,
    Layout,
    Track,
    encode_error,
    encode_fragment,
)

_EVENTS = Path(__file__).parent.parent / "events"
_LAYOUTS = {
    "connect": Layout(),
    "tags-first": Layout(contact_tags_before_cluster=True, cluster_size="unknown1"),
    "known": Layout(segment_size_known=True, cluster_size="known", unregistered_in_cluster=True),
    "sdk-producer": SDK_PRODUCER,
}


def _body(layout: Layout) -> bytes:
    """Three fragments of a call, 64 ms each, with short frames."""
    return b"".join(
        encode_fragment(
            number=FIRST_NUMBER + at,
            server_timestamp_ms=START_MS + 64 * at + 40,
            producer_timestamp_ms=START_MS + 64 * at,
            tracks=(Track(1, FROM_CUSTOMER), Track(2, TO_CUSTOMER)),
            clusters=(
                Cluster(
                    START_MS + 64 * at,
                    tuple(Block(n % 2 + 1, n // 2 * 32, bytes([n, 1]) * 256) for n in range(4)),
                ),
            ),
            contact_tags={"ContactId": "c-1", "Events": "[]"},
            layout=layout,
        )
        for at in range(3)
    )


def _media() -> dict[str, bytes]:
    bodies = {name: _body(layout) for name, layout in _LAYOUTS.items()}
    bodies["error"] = encode_error("4500", "no") + encode_error(
        "FRAGMENT_NOT_FOUND", "3000", "error"
    )
    return {name: bytes(CONTROL_BYTES) + body for name, body in bodies.items()}


def _choices() -> dict[str, bytes]:
    return {f"{length}-bytes": bytes(range(1, length + 1)) for length in (8, 40, 120)}


def _events(pattern: str) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(_EVENTS.glob(pattern))}


def _bodies(pattern: str) -> dict[str, bytes]:
    """The bodies of the SQS messages in the samples."""
    return {
        name: json.loads(event)["Records"][0]["body"].encode()
        for name, event in _events(pattern).items()
    }


def _manifest() -> dict[str, bytes]:
    facts = {"complete": True, "fragments": {"accepted": 3, "last": "5"}, "durationMs": 192}
    return {"manifest": json.dumps(facts).encode()}


def _messages() -> dict[str, bytes]:
    bodies = {**_bodies("archive-job.json"), **_bodies("contact-*.json")}
    record = bodies["contact-record"]
    return {**bodies, "described": bodies["contact-disconnected"] + b"\0" + record}


def build_seeds(target: str) -> dict[str, bytes]:
    """Inputs by name."""
    match target:
        case "framing" | "decoding" | "media":
            return _media()
        case "message":
            return _messages()
        case "flow":
            return _events("flow-*.json")
        case "job":
            return _bodies("archive-job.json")
        case "manifest":
            return _manifest()
        case _:
            return _choices()
