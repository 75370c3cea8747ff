"""One rehearsed call through a deployed stack, step by step; everything is removed afterwards.

Each step is recorded with what was expected, what was seen and how long it took. The first that
fails ends the run; what was made is still removed, also after Ctrl-C. The steps themselves
are in `speaking`, `invoking`, `waiting` and `comparing`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from call_archive_cli.doctor import Verdict
from call_archive_cli.rehearsal.comparing import compare_with_script
from call_archive_cli.rehearsal.invoking import invoke
from call_archive_cli.rehearsal.leftovers import clean, clean_command, delete_unseen
from call_archive_cli.rehearsal.recorder import Audience, NotedError, Recorder
from call_archive_cli.rehearsal.speaking import await_listing, make_stream, speak
from call_archive_cli.rehearsal.stage import Options, Stage, write_script
from call_archive_cli.rehearsal.steps import Report, StepError
from call_archive_cli.rehearsal.waiting import await_manifest, hang_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from call_archive_cli.rehearsal.plan import Plan


@dataclass(slots=True)
class Journey:
    """One run of a plan."""

    plan: Plan
    options: Options = field(default_factory=Options)
    audience: Audience = field(default_factory=Audience)
    sleep: Callable[[float], None] = time.sleep
    report: Report = field(init=False)
    _stage: Stage = field(init=False)

    def __post_init__(self) -> None:
        script = write_script(self.plan, self.options)
        self.report = Report(self.plan.place.stack, script.archived.contact_id)
        recorder = Recorder(self.report, self.audience)
        self._stage = Stage(self.plan, self.options, recorder, script, self.sleep)

    def run(self) -> Report:
        """Runs all steps; a failure is reported by its step and not raised."""
        stage = self._stage
        try:
            look(stage)
            make_stream(stage)
            taken = speak(stage)
            streamed = await_listing(stage, taken)
            invoke(stage, streamed)
            stored = await_manifest(stage, streamed)
            compare_with_script(stage, streamed, stored.manifest)
            if self.options.contact_id:
                hang_up(stage, self.options.contact_id)
        except StepError:
            pass
        except KeyboardInterrupt:
            self.report.was_interrupted = True
        clean_up(stage)
        return self.report


def look(stage: Stage) -> None:
    """What `doctor` found; only what no rehearsal can do without ends the run."""
    plan = stage.plan
    with stage.recorder.step("set-up", "as doctor wants it", spent_s=plan.looked_s) as step:
        wrong = plan.wrong
        doubtful = [each for each in plan.findings if each.verdict is not Verdict.GOOD]
        step.seen = f"{len(plan.findings) - len(doubtful)} of {len(plan.findings)}"
        step.seen += " findings are good"
        for finding in [*wrong, *(each for each in doubtful if each not in wrong)]:
            step.seen += f"; {finding.subject}: {finding.text}"
            step.fix = step.fix or finding.fix
        if wrong:
            raise NotedError(
                step.seen, wrong[0].subject, wrong[0].fix, is_fatal=bool(plan.obstacles)
            )
        if doubtful:
            step.verdict = Verdict.UNKNOWN


def clean_up(stage: Stage) -> None:
    """Removes what was made."""
    plan, made = stage.plan, stage.made
    if not made.is_begun:
        return
    with stage.recorder.step("cleaned up", "nothing is left", is_last=True) as step:
        try:
            step.seen = clean(
                plan.setup.clients,
                plan.place,
                plan.run_id,
                sleep=stage.sleep,
                tell=stage.progressed,
            )
        except ClientError:
            # What may not be listed may still be deleted.
            if made.stream_arn:
                delete_unseen(stage.kinesis_video(), made.stream_arn, stage.sleep)
            raise
        if made.is_queued:
            step.seen += "; its job is still in a queue, and will fail without its stream"
            step.verdict = Verdict.UNKNOWN
            step.fix = (
                f"{clean_command(plan.place.stack)} in a few minutes; look at FailedJobsQueue, too"
            )
