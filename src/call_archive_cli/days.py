"""The requested days of the archive, and their description in the output."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from call_archive_cli.exits import USAGE, CommandError
from call_archive_cli.options import DEFAULT_DAYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Wanted:
    """The requested days.

    Attributes:
        first: None for the archive's first day.
        last: None for the archive's last day.
        is_default: no days were given.
    """

    first: date | None
    last: date | None
    is_default: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether every day of the archive is looked at."""
        return self.first is None

    def days(self) -> Iterator[date]:
        """Every day from the first to the last, both inclusive; not for everything."""
        if self.first is None or self.last is None:
            return
        for offset in range((self.last - self.first).days + 1):
            yield self.first + timedelta(days=offset)

    def describe(self, days: Sequence[date] = ()) -> str:
        """The searched days, and how to search more.

        Args:
            days: those of the archive, if everything was looked at.
        """
        if self.is_everything:
            if not days:
                return "in the whole archive"
            return f"on every day of the archive, {_span(days[0], days[-1])}"
        if self.first == self.last:
            return f"on {self.first} (UTC)"
        words = f"from {_span(self.first, self.last)}"
        return f"{words}; earlier days: --from DATE, or --all" if self.is_default else words


def _span(first: date | None, last: date | None) -> str:
    return f"{first} to {last} (UTC)"


def choose_days(
    day: date | None,
    first: date | None,
    last: date | None,
    *,
    everything: bool = False,
    contact: str | None = None,
) -> Wanted:
    """The days of the options; without any the last week, and of one contact every day.

    Raises:
        CommandError: the options contradict each other.
    """
    if bool(day) + bool(first or last) + everything > 1:
        raise CommandError("give one of --day, --from with --to, and --all", USAGE)
    if everything or (contact and not (day or first or last)):
        return Wanted(None, None)
    if day is not None:
        return Wanted(day, day)
    final = last or datetime.now(UTC).date()
    if first is None and last is not None:
        raise CommandError("--to needs --from", USAGE)
    start = first or final - timedelta(days=DEFAULT_DAYS - 1)
    if final < start:
        raise CommandError(f"the last day, {final}, is before the first, {start}", USAGE)
    return Wanted(start, final, is_default=first is None)
