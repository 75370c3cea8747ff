"""Whatever the bytes are, they give a recording or an ArchiveError, and in bounded time."""

from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from call_archive.errors import ArchiveError
from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import decode_audio, decode_fragment
from tests.properties.samples import BOTH, LAYOUTS, at_most_seconds, documents, record

HEADER = bytes.fromhex("1A45DFA38B428288") + b"matroska"
SEGMENT = bytes.fromhex("1853806701FFFFFFFFFFFFFF")
IDS = [
    "1A45DFA3",
    "18538067",
    "1549A966",
    "1654AE6B",
    "1254C367",
    "1F43B675",
    "E7",
    "A3",
    "A0",
    "A1",
    "EC",
    "BF",
    "AE",
    "D7",
    "536E",
    "7373",
    "67C8",
    "45A3",
    "4487",
    "2AD7B1",
    "4489",
    "5AFF",
    "C7",
]


def decode_all(body: bytes) -> None:
    """Each stage by itself, so that an error of one fragment does not hide the others."""
    with suppress(ArchiveError):
        for fragment in read_fragments([body]):
            with suppress(ArchiveError):
                decode_fragment(fragment)
            with suppress(ArchiveError):
                decode_audio(fragment, BOTH)
    with suppress(ArchiveError):
        record([body])


@given(st.binary(max_size=400))
def test_random_bytes(body: bytes) -> None:
    with at_most_seconds(5):
        decode_all(body)


@given(st.binary(max_size=400))
def test_random_bytes_in_a_segment(content: bytes) -> None:
    with at_most_seconds(5):
        decode_all(HEADER + SEGMENT + content)


def _elements(children: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    sizes = st.sampled_from(["right", "unknown", "too_small", "too_large"])

    def build(element_id: str, body: bytes, size: str) -> bytes:
        wrong = {"too_small": max(0, len(body) - 1), "too_large": len(body) + 1}
        declared = (
            b"\xff" if size == "unknown" else ((wrong.get(size, len(body)) | 1 << 14).to_bytes(2))
        )
        return bytes.fromhex(element_id) + declared + body

    return st.builds(build, st.sampled_from(IDS), children, sizes)


ELEMENTS = st.recursive(
    st.binary(max_size=12),
    lambda inner: st.lists(_elements(inner), max_size=5).map(b"".join),
    max_leaves=12,
)


@given(
    ELEMENTS, st.sampled_from([SEGMENT, bytes.fromhex("1853806780"), bytes.fromhex("1853806794")])
)
@example(bytes.fromhex("A38481000000"), bytes.fromhex("1853806780"))
def test_elements_in_the_wrong_places(content: bytes, segment: bytes) -> None:
    with at_most_seconds(5):
        decode_all(HEADER + segment + content)


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["set", "delete", "insert", "swap"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=6,
)


@given(st.sampled_from([*LAYOUTS]), MUTATIONS)
def test_mutations_of_real_bodies(layout: str, mutations: list[tuple[str, float, bytes]]) -> None:
    body = bytearray(b"".join(documents(layout)))
    for kind, where, new in mutations:
        # Heads and tags are in the first 500 bytes of the documents: aim at them.
        at = int(where * (len(body) if len(new) % 2 else 500))
        match kind:
            case "set":
                body[at : at + len(new)] = new
            case "delete":
                del body[at : at + new[0]]
            case "insert":
                body[at:at] = new
            case _:
                body[at : at + 8] = body[at : at + 8][::-1]
    with at_most_seconds(5):
        decode_all(bytes(body))


@given(st.sampled_from([*LAYOUTS]), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_any_timestamps(layout: str, first: int, second: int) -> None:
    """Cluster timestamps and the scale of Info, whatever they say."""
    body = bytearray(b"".join(documents(layout)))
    at = body.find(b"\x2a\xd7\xb1\x83")
    body[at + 4 : at + 7] = first.to_bytes(8)[5:]
    at = body.find(b"\xe7\x86")
    body[at + 2 : at + 8] = second.to_bytes(8)[2:]
    with at_most_seconds(5):
        decode_all(bytes(body))
