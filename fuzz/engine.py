"""One target under atheris, in its own process: `python -m fuzz.engine NAME [libFuzzer flags]`.

Runs in .fuzz/venv. Only what is imported under `instrument_imports` counts as coverage.
"""

import os
import random
import sys

import atheris

with atheris.instrument_imports(include=["call_archive", "ebmlite"], enable_loader_override=False):
    from fuzz.targets import MATROSKA, TARGETS

from fuzz.media import CONTROL_BYTES
from fuzz.mutate import mutate


def _mutate(source: bytes, most: int, seed: int) -> bytes:
    """Elements and bytes in turn."""
    generator = random.Random(seed)  # noqa: S311 - a fuzzer's dice
    if generator.random() < 0.5:
        return bytes(atheris.Mutate(source, most))
    control, body = source[:CONTROL_BYTES], source[CONTROL_BYTES:]
    return (control.ljust(CONTROL_BYTES, b"\0") + mutate(body, generator))[:most]


def main() -> None:
    """Fuzzes until a flag, or a finding, ends it."""
    name = sys.argv.pop(1)
    knows_ebml = name in MATROSKA and "FUZZ_PLAIN" not in os.environ
    atheris.Setup(sys.argv, TARGETS[name], **({"custom_mutator": _mutate} if knows_ebml else {}))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
