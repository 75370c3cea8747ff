"""What it saves that fragments are alike: `python -m bench.likeness`, CPU seconds an hour of call.

Framing remembers the shapes of recent documents, decoding what a document of a shape says. Each is
compared with itself when it remembers nothing.
"""

import time
from collections.abc import Callable

from call_archive.media.fragments import Fragment, read_fragments
from call_archive.media.likeness import _remembered, decode_audio, decode_fragment
from call_archive.media.pcm import Direction
from local.call import simulate_call
from local.pcm import synthetic_pcm

_SECONDS = 3_600
_BOTH = tuple(Direction)


def main() -> None:
    """Prints what both take, with and without memory."""
    documents = _documents()
    fragments = list(read_fragments(documents))
    for name, run in {
        "framing": lambda: sum(1 for _ in read_fragments(documents)),
        "framing, each document again": lambda: sum(
            1 for document in documents for _ in read_fragments((document,))
        ),
        "decoding": lambda: sum(map(_decode, fragments)),
        "decoding, each document again": lambda: sum(map(_decode_again, fragments)),
    }.items():
        print(f"{name:30} {min(_cpu_s(run) for _ in range(3)):6.2f} s")


def _documents() -> list[bytes]:
    call = simulate_call(
        synthetic_pcm(_SECONDS, 1)[:],
        synthetic_pcm(_SECONDS, 2)[:],
        contact_id="c-1",
        instance_arn="arn:aws:connect:eu-west-2:123456789012:instance/i-1",
        stream_arn="arn:aws:kinesisvideo:eu-west-2:123456789012:stream/s/1640168106910",
        start_ms=1_767_258_000_000,
    )
    return [fragment.document() for fragment in call.fragments]


def _decode(fragment: Fragment) -> int:
    decode_fragment(fragment)
    return decode_audio(fragment, _BOTH) is not None


def _decode_again(fragment: Fragment) -> int:
    _remembered.cache_clear()
    return _decode(fragment)


def _cpu_s(run: Callable[[], int]) -> float:
    before = time.process_time()
    run()
    return time.process_time() - before


if __name__ == "__main__":
    main()
