"""Ogg Vorbis with long pages → the same packets in short pages, so that a player seeks exactly.

A page of silence can hold eight seconds: its packets are small, and an encoder fills a page before
it begins the next. Chromium, asked for a moment inside or right behind such a page, plays up to
three seconds away from it. A page of at most `PAGE_PACKETS` packets has no such room.

Sources: RFC 3533 (pages, lacing, CRC) and the Vorbis I specification (4.2.2 block sizes; A.2: a
page's position is that of its last sample; the first audio packet gives none).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

PAGE_PACKETS: Final = 4
"""An eighth of a second at 8000 Hz; with 16, Chromium was still a second off behind silence."""

HEADER_PACKETS: Final = 3
MAX_SEGMENTS: Final = 255
_PAGE: Final = struct.Struct("<4sBBqIIIB")
_CRC_AT: Final = 22
_BLOCK_SIZES_AT: Final = 28
_LAST: Final = 4
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class OggError(ValueError):
    """The bytes are not what libsndfile writes."""


@dataclass(frozen=True, slots=True)
class _Page:
    flags: int
    position: int
    serial: int
    sizes: bytes
    body: bytes


def shorten_pages(source: BinaryIO, target: BinaryIO) -> None:
    """Rewrites a Vorbis stream, packet by packet, in short pages.

    Raises:
        OggError: it is no Vorbis stream whose blocks all have one size.
    """
    writer, packets, samples = _Writer(target), 0, 0
    held: list[bytes] = []
    position = 0
    for packet, end in _packets(source):
        packets += 1
        if packets == 1:
            samples = _samples_of_packet(packet)
        if packets <= HEADER_PACKETS:
            # The identification header has its own page; audio begins on a new page.
            held.append(packet)
            if packets != HEADER_PACKETS - 1:
                writer.write(held, 0, is_last=False)
                held = []
            continue
        # The last page says where the audio ends, which may be within its last packet.
        position = (packets - HEADER_PACKETS - 1) * samples
        is_last = end is not None and end.flags & _LAST != 0
        if end is not None and not is_last and end.position != position:
            raise OggError("blocks of different sizes")
        held.append(packet)
        if is_last and end is not None:
            position = end.position
        if is_last or len(held) == PAGE_PACKETS:
            writer.write(held, position, is_last=is_last)
            held = []
    if held:
        writer.write(held, position, is_last=True)


class _Writer:
    """Pages with one serial number, numbered from 0."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._number = 0

    def write(self, packets: list[bytes], position: int, *, is_last: bool) -> None:
        """Packets as one page; as several if a packet is long."""
        lacing = b"".join(
            b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets
        )
        body, taken = b"".join(packets), 0
        for start in range(0, len(lacing), MAX_SEGMENTS):
            sizes = lacing[start : start + MAX_SEGMENTS]
            is_end = start + MAX_SEGMENTS >= len(lacing)
            length = sum(sizes)
            is_continued = start > 0 and lacing[start - 1] == MAX_SEGMENTS
            flags = is_continued | (self._number == 0) << 1 | (_LAST if is_end and is_last else 0)
            self._page(flags, position if is_end else -1, sizes, body[taken : taken + length])
            taken += length

    def _page(self, flags: int, position: int, sizes: bytes, body: bytes) -> None:
        head = _PAGE.pack(b"OggS", 0, flags, position, 1, self._number, 0, len(sizes))
        page = bytearray(head + sizes + body)
        page[_CRC_AT : _CRC_AT + 4] = _crc(page).to_bytes(4, "little")
        self._target.write(page)
        self._number += 1


def _packets(source: BinaryIO) -> Iterator[tuple[bytes, _Page | None]]:
    """Packets, and for the last one that ends on a page, the page."""
    started = b""
    while page := _read_page(source):
        ends: list[bytes] = []
        at = 0
        for size in page.sizes:
            started += page.body[at : at + size]
            at += size
            if size < MAX_SEGMENTS:
                ends.append(started)
                started = b""
        for place, packet in enumerate(ends, start=1):
            yield packet, page if place == len(ends) else None


def _read_page(source: BinaryIO) -> _Page | None:
    head = source.read(_PAGE.size)
    if not head:
        return None
    if len(head) < _PAGE.size or head[:4] != b"OggS":
        raise OggError("no Ogg page")
    _, _, flags, position, serial, _, _, segments = _PAGE.unpack(head)
    sizes = source.read(segments)
    return _Page(flags, position, serial, sizes, source.read(sum(sizes)))


def _samples_of_packet(identification: bytes) -> int:
    """How many samples a packet adds, if short and long blocks have one size."""
    if identification[:7] != b"\x01vorbis" or len(identification) <= _BLOCK_SIZES_AT:
        raise OggError("no Vorbis identification header")
    sizes = identification[_BLOCK_SIZES_AT]
    if sizes & 15 != sizes >> 4:
        raise OggError("blocks of different sizes")
    return int(1 << (sizes & 15)) // 2


def _crc(page: bytes | bytearray) -> int:
    """Ogg's CRC: zlib's polynomial with the bits the other way round, from 0."""
    reversed_crc = zlib.crc32(bytes(page).translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reversed_crc:032b}"[::-1], 2)
