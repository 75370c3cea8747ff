"""Milliseconds, datetimes and ISO 8601 texts name the same moments."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from call_archive.moments import format_utc, now_ms, read_ms, to_datetime, to_ms

# date --utc --date '2026-11-25T09:30:00' +%s
NOON_MS = 1_795_599_000_250
NOON = datetime(2026, 11, 25, 9, 30, 0, 250_000, tzinfo=UTC)


def test_a_moment_has_three_forms() -> None:
    assert to_datetime(NOON_MS) == NOON
    assert to_ms(NOON) == NOON_MS
    assert format_utc(NOON_MS) == "2026-11-25T09:30:00.250Z"


@pytest.mark.parametrize(
    "field",
    [
        "2026-11-25T09:30:00.250Z",
        "2026-11-25T10:30:00.250+01:00",
        "2026-11-25T09:30:00.250",
        NOON,
        NOON.replace(tzinfo=None),
        NOON.astimezone(timezone(timedelta(hours=-5))),
    ],
)
def test_what_is_read_is_utc_unless_it_says_so(field: object) -> None:
    assert read_ms(field) == NOON_MS


@pytest.mark.parametrize("field", [None, "", "null", "tomorrow", 5, NOON_MS, ["2026-11-25"]])
def test_anything_else_is_no_moment(field: object) -> None:
    assert read_ms(field) is None


def test_a_thousandth_is_exact() -> None:
    assert all(to_ms(to_datetime(ms)) == ms for ms in range(NOON_MS, NOON_MS + 1000))


def test_now_is_between_two_readings_of_the_clock() -> None:
    before, now, after = datetime.now(UTC), to_datetime(now_ms()), datetime.now(UTC)
    assert before - timedelta(milliseconds=1) <= now <= after + timedelta(milliseconds=1)
