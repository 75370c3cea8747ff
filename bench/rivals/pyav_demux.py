"""PyAV (FFmpeg's libraries in Python): demultiplexes, decodes nothing, copies the packets."""

import sys
from pathlib import Path

import av

WRITE_BYTES = 1_048_576


def main() -> None:
    """Copies the first audio track's packets."""
    _, body, out = sys.argv
    with (
        av.open(body, format="matroska") as container,
        Path(out).open("wb", buffering=WRITE_BYTES) as pcm,
    ):
        for packet in container.demux(container.streams.audio[0]):
            # The last packet of a stream is empty: it flushes decoders.
            if packet.size:
                pcm.write(bytes(packet))


if __name__ == "__main__":
    main()
