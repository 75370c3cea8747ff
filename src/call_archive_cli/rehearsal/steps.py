"""What a rehearsal did and saw, step by step, and what that says of the set-up."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from call_archive_cli.doctor import Verdict


class StepError(Exception):
    """A step has failed.

    Attributes:
        seen: what was seen instead of what was expected.
        convicts: the part of the set-up that is at fault; "" if it is not known.
        fix: what to do.
        verdict: UNKNOWN if nothing is proved to be wrong.
    """

    def __init__(
        self, seen: str, convicts: str = "", fix: str = "", verdict: Verdict = Verdict.WRONG
    ) -> None:
        super().__init__(seen)
        self.seen = seen
        self.convicts = convicts
        self.fix = fix
        self.verdict = verdict


@dataclass(slots=True)
class Step:
    """One thing that was done.

    Attributes:
        convicts: the part of the set-up that a failure convicts.
        fix: what to do; "" if nothing has to be done.
    """

    name: str
    expected: str
    seen: str = ""
    seconds: float = 0.0
    verdict: Verdict = Verdict.GOOD
    convicts: str = ""
    fix: str = ""

    def fail(self, error: StepError) -> None:
        """Takes over what an error says."""
        self.seen, self.verdict = error.seen, error.verdict
        self.convicts, self.fix = error.convicts, error.fix


@dataclass(slots=True)
class Report:
    """A whole run.

    Attributes:
        contact_id: of the contact that was to be archived.
        was_interrupted: the user ended it early.
        proved: what a run without a failure has shown.
    """

    stack: str
    contact_id: str
    steps: list[Step] = field(default_factory=list)
    was_interrupted: bool = False
    proved: str = "The call was archived exactly as it was spoken"

    @property
    def is_good(self) -> bool:
        """Whether everything was done and nothing was found wrong."""
        return not self.was_interrupted and all(
            step.verdict is not Verdict.WRONG for step in self.steps
        )

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.was_interrupted:
            return "Interrupted: nothing is proved."
        wrong = [step for step in self.steps if step.verdict is Verdict.WRONG]
        if wrong:
            at_fault = wrong[0].convicts or wrong[0].name
            return f"The rehearsal failed at {wrong[0].name}: {at_fault}."
        unproved = sum(step.verdict is not Verdict.GOOD for step in self.steps)
        if unproved:
            return (
                f"{self.proved}; {unproved} of {len(self.steps)} steps could not be proved or ask "
                "for a look."
            )
        return f"{self.proved}, and nothing is left behind."

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "stack": self.stack,
            "contactId": self.contact_id,
            "good": self.is_good,
            "verdict": self.verdict,
            "steps": [asdict(step) for step in self.steps],
        }
