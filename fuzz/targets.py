"""The targets by name. A target takes any bytes; an exception out of it is a finding."""

from collections.abc import Callable
from pathlib import Path

from fuzz.calls import fuzz_call, fuzz_selection, fuzz_timeline
from fuzz.media import fuzz_decoding, fuzz_framing, fuzz_media
from fuzz.messages import fuzz_flow, fuzz_job, fuzz_manifest, fuzz_message

CORPUS = Path(__file__).parent / "corpus"

TARGETS: dict[str, Callable[[bytes], None]] = {
    "framing": fuzz_framing,
    "decoding": fuzz_decoding,
    "media": fuzz_media,
    "selection": fuzz_selection,
    "timeline": fuzz_timeline,
    "call": fuzz_call,
    "message": fuzz_message,
    "flow": fuzz_flow,
    "job": fuzz_job,
    "manifest": fuzz_manifest,
}

MATROSKA = frozenset(("framing", "decoding", "media"))
"""Their input is control bytes and a body: they have their own mutator and dictionary."""

JSON = frozenset(("message", "flow", "job", "manifest"))
