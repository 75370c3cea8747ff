"""Steps as they happen: each is timed, told and recorded, and a failure is put into words."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from call_archive.errors import ArchiveError
from call_archive_cli.doctor import FORBIDDEN
from call_archive_cli.errors import describe
from call_archive_cli.rehearsal.leftovers import clean_command
from call_archive_cli.rehearsal.put_media import PutMediaError
from call_archive_cli.rehearsal.steps import Report, Step, StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLICY: Final = "give your role docs/policies/rehearse.json"
_QUEUE_ROLE: Final = "use the role that the stack's parameter RedriveRoleArn names"
_KEY_ERRORS: Final = range(4500, 4507)


@dataclass(slots=True)
class Audience:
    """Callbacks for progress.

    Attributes:
        begun: a step begins; its name.
        progressed: something to say while one waits; "" is nothing.
        done: a step is over.
        observed: a file for `--observe`: its name and what is in it.
    """

    begun: Callable[[str], None] = lambda _: None
    progressed: Callable[[str], None] = lambda _: None
    done: Callable[[Step], None] = lambda _: None
    observed: Callable[[str, Any], None] = lambda _name, _content: None


@dataclass(frozen=True, slots=True)
class Recorder:
    """Adds steps to a report, and calls the audience."""

    report: Report
    audience: Audience

    @contextmanager
    def step(
        self, name: str, expected: str, *, is_last: bool = False, spent_s: float = 0.0
    ) -> Iterator[Step]:
        """Records a step; a failure ends the run, but for the last step's.

        Args:
            name: of the step.
            expected: what should be seen.
            is_last: it is the cleaning.
            spent_s: what was spent on it before.

        Raises:
            StepError: the step has failed.
            KeyboardInterrupt: the user ended it.
        """
        step = Step(name, expected)
        began = time.monotonic() - spent_s
        self.audience.begun(name)
        try:
            yield step
        except NotedError as noted:
            step.fail(noted)
            if noted.is_fatal:
                raise
        except StepError as error:
            step.fail(error)
            if not is_last:
                raise
        except (ClientError, BotoCoreError, OSError, PutMediaError, ArchiveError) as error:
            failure = as_step_error(error)
            step.fail(failure)
            if not is_last:
                raise failure from error
        except KeyboardInterrupt:
            step.fail(StepError("interrupted"))
            if not is_last:
                raise
            self.report.was_interrupted = True
            step.fix = clean_command(self.report.stack)
        finally:
            self.record(step, began)

    def record(self, step: Step, began: float) -> None:
        """A step that is over; it began then, by the monotonic clock."""
        step.seconds = round(time.monotonic() - began, 1)
        self.report.steps.append(step)
        self.audience.done(step)


class NotedError(StepError):
    """A step has failed; the run continues unless that is fatal."""

    def __init__(self, seen: str, convicts: str, fix: str, *, is_fatal: bool) -> None:
        super().__init__(seen, convicts, fix)
        self.is_fatal = is_fatal


def as_step_error(error: Exception) -> StepError:
    """What a refusal, a lost connection or PutMedia's answer says of the set-up."""
    if isinstance(error, PutMediaError):
        return _of_put_media(error)
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        if code in FORBIDDEN:
            return StepError(
                f"your credentials do not allow {error.operation_name}",
                "your permissions",
                _QUEUE_ROLE if error.operation_name == "SendMessage" else POLICY,
            )
        return StepError(describe(error), error.operation_name)
    if isinstance(error, OSError):
        return StepError(
            f"the connection was lost: {describe(error) or type(error).__name__}",
            "the network between this machine and AWS",
            "run rehearse again",
        )
    return StepError(describe(error))


def _of_put_media(error: PutMediaError) -> StepError:
    if error.code in FORBIDDEN:
        return StepError("your credentials do not allow PutMedia", "your permissions", POLICY)
    if error.error_id in _KEY_ERRORS:
        return StepError(
            str(error),
            "the key of the streams",
            "KMS console, the key: enable it, and let your role use it (kms:GenerateDataKey, "
            "kms:Decrypt)",
        )
    return StepError(str(error), "PutMedia", "run rehearse again; docs/rehearsal.md names the ids")
