"""docs/costs.md is what bench/bill.py counts and computes."""

from pathlib import Path

from bench.bill import Item, Usage, build_items, measure_call, render

DOCUMENT = Path(__file__).parents[2] / "docs/costs.md"


def test_document_is_up_to_date() -> None:
    """If not: python -m bench.bill --write docs/costs.md."""
    assert DOCUMENT.read_text() == render(measure_call())


def test_a_thousand_times_what_a_call_takes() -> None:
    usage = Usage(
        {"S3 PUT": 2, "S3 HEAD": 1, "SQS SendMessage": 3},
        stream_bytes=10_000_000,
        stored_bytes=5_000_000,
        log_bytes=1,
    )
    amounts = {item.what: item.usd for item in build_items(usage)}
    assert round(amounts["S3 PUT and POST"], 9) == 0.01
    assert round(amounts["S3 GET and HEAD"], 9) == 0.0004
    assert round(amounts["SQS"], 9) == 0.0012
    assert round(amounts["KVS, ingested"], 9) == 0.085


def test_amount_is_quantity_times_price() -> None:
    assert Item("x", "", 2_000_000, "invoke").usd == 0.4
