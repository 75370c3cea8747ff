"""Times: milliseconds since the Unix epoch ↔ aware datetimes and ISO 8601, always UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def now_ms() -> int:
    """The time, ms since the epoch."""
    return to_ms(datetime.now(UTC))


def to_datetime(timestamp_ms: int) -> datetime:
    """The moment as an aware datetime, exact to the millisecond.

    Raises:
        OverflowError: it is outside the years 1 to 9999.
    """
    return _EPOCH + timestamp_ms * _MS


def to_ms(moment: datetime) -> int:
    """An aware datetime as ms since the epoch, rounded; a naive one is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round((aware - _EPOCH) / _MS)


def format_utc(timestamp_ms: int) -> str:
    """`2026-11-25T09:30:00.000Z`."""
    return to_datetime(timestamp_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_ms(field: object) -> int | None:
    """An ISO 8601 time, or boto3's datetime, as ms since the epoch; None if it is neither."""
    if isinstance(field, str):
        try:
            field = datetime.fromisoformat(field)
        except ValueError:
            return None
    return to_ms(field) if isinstance(field, datetime) else None
