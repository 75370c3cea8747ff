"""kvsparser, as its README shows it: `for fragment in Parser(media)`, then `tags` and the document.

`media` is GetMedia's answer; its Payload gives 1,024 bytes at a time when it is iterated
(botocore's StreamingBody), and so does this file, without botocore's own cost. Its `images` are
for video. What a fragment holds is then walked as in `ebmlite_walk`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from kvsparser import Parser

from bench.rivals.matroska_walk import customer_payloads

READ_BYTES = 1024
WRITE_BYTES = 1_048_576


def main() -> None:
    """Writes the customer's payloads, fragment by fragment."""
    _, body, out = sys.argv
    media = {"Payload": _reads(Path(body))}
    with Path(out).open("wb", buffering=WRITE_BYTES) as pcm:
        for fragment in Parser(media):
            if "ContactId" not in fragment.tags:
                continue
            for root in fragment.dom:
                if root.name == "Segment":
                    pcm.writelines(customer_payloads(root))


def _reads(body: Path) -> Iterator[bytes]:
    with body.open("rb") as media:
        while read := media.read(READ_BYTES):
            yield read


if __name__ == "__main__":
    main()
