"""Bytes → choices, for targets whose input is not itself a document.

The corpus is replayed where the fuzzer is not installed, so its FuzzedDataProvider is not used.
"""

from collections.abc import Sequence


class Choices:
    """Reads choices from the front; bytes that are not there are 0, so every input is one."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._position = 0

    def __bool__(self) -> bool:
        return self._position < len(self._source)

    def integer(self, least: int, most: int) -> int:
        """A number from `least` to `most`, in as many bytes as that range needs."""
        width = -(-(most - least).bit_length() // 8)
        return least + int.from_bytes(self.take(width)) % (most - least + 1)

    def pick[T](self, options: Sequence[T]) -> T:
        """One of a few."""
        return options[self.integer(0, len(options) - 1)]

    def flag(self) -> bool:
        """Yes or no."""
        return bool(self.take(1)[0] & 1)

    def take(self, length: int) -> bytes:
        """The next bytes, filled up with zeros."""
        taken = self._source[self._position : self._position + length]
        self._position += length
        return taken.ljust(length, b"\0")
