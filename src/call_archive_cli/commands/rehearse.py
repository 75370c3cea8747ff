"""`rehearse`: a known call through the deployed stack, compared with what was said, and removed."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from call_archive_cli.exits import FOUND_WRONG, INTERRUPTED, USAGE, CommandError, confirm
from call_archive_cli.options import AsJson, InstanceArn, parse_contact_id
from call_archive_cli.session import Session, session_of

if TYPE_CHECKING:
    from call_archive_cli.rehearsal.plan import Plan
    from call_archive_cli.rehearsal.steps import Report, Step

_SIGNS: Final = {
    "good": "[green]✓[/]",
    "doubtful": "[yellow]![/]",
    "wrong": "[bold red]✗[/]",
    "unknown": "[dim]?[/]",
}


def rehearse(
    context: typer.Context,
    *,
    instance_arn: InstanceArn = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")
    ] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Send as fast as KVS accepts it, not in real time.")
    ] = False,
    contact: Annotated[
        str | None,
        typer.Option(
            "--contact",
            metavar="CONTACT_ID",
            parser=parse_contact_id,
            help="Also archive this real contact, as if its caller had hung up.",
        ),
    ] = None,
    clean: Annotated[
        bool, typer.Option("--clean", help="Only remove the leftovers of earlier rehearsals.")
    ] = False,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate", help="Let Amazon Connect simulate the contact, with its own flow."
        ),
    ] = False,
    patience: Annotated[
        float,
        typer.Option("--wait", min=1, metavar="SECONDS", help="Longest wait for the manifest."),
    ] = 300,
    observe: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Save the services' responses, without your account's data.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test the deployed stack with a call that is known sample by sample, then remove it.

    Creates a Kinesis video stream, sends three calls into it, lets the functions archive the middle
    one, and compares the recording with the audio that was sent. The voices are synthetic. Only
    --contact needs the role that the stack's parameter RedriveRoleArn names. Exit code 1: a step
    failed; it names the part of the set-up at fault.

    Examples:

      call-archive --stack call-archive rehearse

      call-archive --stack call-archive rehearse --yes --fast --json

      call-archive --stack call-archive rehearse --clean
    """
    from call_archive_cli.doctor import read_setup

    session = session_of(context)
    setup = read_setup(session, instance_arn)
    if clean:
        _clean(session, setup, with_simulations=simulate)
        return
    from call_archive_cli.rehearsal.journey import Journey
    from call_archive_cli.rehearsal.plan import make_plan
    from call_archive_cli.rehearsal.simulation import Simulation
    from call_archive_cli.rehearsal.stage import Options

    plan = make_plan(setup, session.stack)
    _introduce(plan, fast=fast, simulate=simulate, as_json=as_json)
    if dry_run:
        if plan.obstacles:
            raise typer.Exit(FOUND_WRONG)
        return
    _ask(plan, yes=yes)
    options = Options(
        fast=fast, patience_s=patience, contact_id=contact or "", observes=observe is not None
    )
    with _terminated_as_interrupted(), _progress() as audience:
        if observe is not None:
            audience.observed = _observer(plan, observe, contact or "").keep
        report = (
            Simulation(plan, audience, patience).run()
            if simulate
            else Journey(plan, options, audience).run()
        )
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        _print(report)
    if report.was_interrupted:
        raise typer.Exit(INTERRUPTED)
    if not report.is_good:
        raise typer.Exit(FOUND_WRONG)


def _clean(session: Session, setup: Any, *, with_simulations: bool) -> None:  # noqa: ANN401 - late
    from call_archive_cli.console import messages, results
    from call_archive_cli.rehearsal.leftovers import clean
    from call_archive_cli.rehearsal.plan import place_of
    from call_archive_cli.rehearsal.simulation import clean_simulations
    from call_archive_cli.rehearsal.steps import StepError

    if not setup.instance_arn:
        raise CommandError("the stack serves any instance: give --instance-arn", USAGE)
    place = place_of(setup, session.stack)
    if with_simulations:
        count = clean_simulations(setup, place)
        results().print(f"{count} flows and test cases removed", soft_wrap=True)
    try:
        told = clean(
            session.clients,
            place,
            tell=lambda text: messages.print(text, soft_wrap=True, markup=False),
        )
    except StepError as error:
        raise CommandError(f"{error.seen}; {error.fix}", FOUND_WRONG) from error
    results().print(told, soft_wrap=True, markup=False)


def _introduce(plan: "Plan", *, fast: bool, simulate: bool, as_json: bool) -> None:
    from call_archive_cli.console import messages, results

    console = messages if as_json else results()
    sentence = plan.simulation_sentence if simulate else plan.sentence(fast=fast)
    console.print(f"rehearse {sentence}", soft_wrap=True, markup=False)
    if plan.lock:
        console.print(
            f"The bucket's default lock keeps both objects ({plan.lock}): they cannot be removed "
            "before that.",
            soft_wrap=True,
            markup=False,
        )
    for finding in plan.obstacles:
        console.print(
            f"{finding.subject}: {finding.text}. {finding.fix}", soft_wrap=True, markup=False
        )


def _observer(plan: "Plan", directory: Path, contact_id: str) -> Any:  # noqa: ANN401 - loaded late
    from call_archive_cli.rehearsal.observation import Observer
    from call_archive_cli.rehearsal.redaction import Names

    if directory.exists() and any(directory.iterdir()):
        raise CommandError(f"{directory} is not empty: name another with --observe", USAGE)
    return Observer(directory, Names(frozenset((*plan.names, contact_id))))


def _ask(plan: "Plan", *, yes: bool) -> None:
    if yes:
        return
    question = "Continue, although the bucket keeps both objects?" if plan.lock else "Go on?"
    confirm(question, "nothing was made")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM and SIGHUP end the run as Ctrl-C does: with everything removed."""

    def interrupt(number: int, frame: object) -> None:
        del number, frame
        raise KeyboardInterrupt

    # Windows has no SIGHUP.
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress() -> Iterator[Any]:
    """What is said while it runs: each step when it is done, and a line that changes before."""
    from rich.markup import escape
    from rich.status import Status

    from call_archive_cli.console import messages
    from call_archive_cli.rehearsal.recorder import Audience

    status = Status("", console=messages)
    name = ""

    def begun(step: str) -> None:
        nonlocal name
        name = step
        status.update(f"{escape(step)} …")

    def done(step: "Step") -> None:
        # On a terminal the table says it, and until then the line that changes.
        if messages.is_terminal:
            return
        messages.print(
            f"{_SIGNS[step.verdict]} {escape(step.name)}: {escape(step.seen)} "
            f"({step.seconds:.1f} s)",
            soft_wrap=True,
        )

    if messages.is_terminal:
        status.start()
    try:
        yield Audience(
            begun=begun,
            progressed=lambda text: status.update(f"{escape(name)} … {escape(text)}"),
            done=done,
        )
    finally:
        status.stop()


def _print(report: "Report") -> None:
    from rich.markup import escape
    from rich.table import Table

    from call_archive_cli.console import results

    console = results()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", "step", "expected", "seen"):
        table.add_column(heading, overflow="fold")
    table.add_column("s", justify="right")
    for step in report.steps:
        table.add_row(
            _SIGNS[step.verdict],
            escape(step.name),
            escape(step.expected),
            escape(step.seen),
            f"{step.seconds:.1f}",
        )
    console.print(table)
    for step in report.steps:
        if step.fix:
            console.print(f"→ {escape(step.name)}: {escape(step.fix)}", soft_wrap=True)
    console.print(f"[bold]{escape(report.verdict)}[/]", soft_wrap=True)
