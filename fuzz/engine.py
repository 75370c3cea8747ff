"""One target under atheris, in its own process: `python -m fuzz.engine NAME [libFuzzer flags]`.

Runs in .fuzz/venv. Only what is imported under `instrument_imports` counts as coverage.
"""

import os
import random
import sys

import atheris

with atheris.instrument_imports(include=["call_archive", "ebmlite"], enable_loader_override=False):
    from fuzz.targets import JSON, MATROSKA, TARGETS

from fuzz.media import CONTROL_BYTES
from fuzz.mutate import mutate, mutate_json


def _mutate_body(source: bytes, most: int, seed: int) -> bytes:
    """Elements and bytes in turn."""
    generator = random.Random(seed)  # noqa: S311 - a fuzzer's dice
    if generator.random() < 0.5:
        return bytes(atheris.Mutate(source, most))
    control, body = source[:CONTROL_BYTES], source[CONTROL_BYTES:]
    return (control.ljust(CONTROL_BYTES, b"\0") + mutate(body, generator))[:most]


def _mutate_message(source: bytes, most: int, seed: int) -> bytes:
    """Values and bytes in turn; behind a NUL comes separate JSON."""
    generator = random.Random(seed)  # noqa: S311 - a fuzzer's dice
    if generator.random() < 0.3:
        return bytes(atheris.Mutate(source, most))
    parts = source.split(b"\0")
    at = generator.randrange(len(parts))
    parts[at] = mutate_json(parts[at], generator)
    return b"\0".join(parts)[:most]


def main() -> None:
    """Fuzzes until a flag, or a finding, ends it; FUZZ_PLAIN=1 leaves the mutators out."""
    name = sys.argv.pop(1)
    mutator = _mutate_body if name in MATROSKA else _mutate_message if name in JSON else None
    if mutator is None or "FUZZ_PLAIN" in os.environ:
        atheris.Setup(sys.argv, TARGETS[name])
    else:
        atheris.Setup(sys.argv, TARGETS[name], custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
