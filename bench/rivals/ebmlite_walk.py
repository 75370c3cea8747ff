"""ebmlite alone: loads the body as one file and walks every element of it."""

import sys
from pathlib import Path

import ebmlite

from bench.rivals.matroska_walk import customer_payloads

WRITE_BYTES = 1_048_576


def main() -> None:
    """Writes the customer's payloads, Segment by Segment."""
    _, body, out = sys.argv
    schema = ebmlite.loadSchema("matroska.xml")
    with Path(body).open("rb") as media, Path(out).open("wb", buffering=WRITE_BYTES) as pcm:
        for root in schema.load(media):
            if root.name == "Segment":
                pcm.writelines(customer_payloads(root))


if __name__ == "__main__":
    main()
