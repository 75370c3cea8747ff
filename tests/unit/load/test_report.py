"""Blocks of a document that a tool writes, between its markers."""

import pytest

from bench.load.report import write_blocks

DOCUMENT = """\
# Capacity

By hand.

<!-- one: written by make load -->
old
<!-- end of one -->

Between.

<!-- two: written by make load -->
<!-- end of two -->
"""


def test_blocks_are_replaced_and_the_rest_is_kept() -> None:
    written = write_blocks(DOCUMENT, {"one": r"new \1", "two": "| a |"})
    assert "old" not in written
    assert r"new \1" in written
    assert written.replace("\n\nnew \\1\n\n", "\nold\n").replace("\n\n| a |\n\n", "\n") == DOCUMENT


def test_writing_again_changes_nothing() -> None:
    once = write_blocks(DOCUMENT, {"one": "new"})
    assert write_blocks(once, {"one": "new"}) == once


def test_a_document_without_the_block_is_refused() -> None:
    with pytest.raises(ValueError, match="three"):
        write_blocks(DOCUMENT, {"three": "x"})
