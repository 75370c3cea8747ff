"""Sections of tables and targets → Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Table:
    """Column names and rows of cells.

    Attributes:
        has_numbers: all columns but the first are set to the right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    has_numbers: bool = True

    def render(self) -> str:
        """As a Markdown table."""
        others = "---:" if self.has_numbers else "---"
        rule = ["---", *[others] * (len(self.columns) - 1)]
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.columns, rule, *self.rows))


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, what was measured, and whether that meets it."""

    target: str
    measured: str
    is_met: bool

    @property
    def row(self) -> tuple[str, str, str]:
        """The cells of its row."""
        return self.target, self.measured, "met" if self.is_met else "**missed**"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question and its answer: what was measured and how, tables, and targets."""

    title: str
    text: str
    tables: Sequence[Table]
    verdicts: Sequence[Verdict] = field(default_factory=tuple)
    notes: str = ""

    def render(self) -> str:
        """As Markdown, from its heading on."""
        parts = [f"## {self.title}", self.text, *(table.render() for table in self.tables)]
        if self.verdicts:
            parts.append(render_verdicts(self.verdicts))
        if self.notes:
            parts.append(self.notes)
        return "\n\n".join(parts)


def render_verdicts(verdicts: Sequence[Verdict]) -> str:
    """All targets as a table."""
    rows = [verdict.row for verdict in verdicts]
    return Table(("target", "measured", ""), rows, has_numbers=False).render()


def at_most(target: str, measured: Sequence[tuple[str, float]], limit: float) -> Verdict:
    """Met if every measured figure is at most the limit."""
    return Verdict(target, _show(measured), all(value <= limit for _, value in measured))


def at_least(target: str, measured: Sequence[tuple[str, float]], limit: float) -> Verdict:
    """Met if every measured figure is at least the limit."""
    return Verdict(target, _show(measured), all(value >= limit for _, value in measured))


def _show(measured: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in measured)
