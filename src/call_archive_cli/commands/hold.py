"""`hold` and `release`: everything of a contact has to be kept, or no longer."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from call_archive_cli.commands.erase import ContactArguments, Only, ReasonCode, build_erasure
from call_archive_cli.exits import FOUND_WRONG
from call_archive_cli.options import AsJson, Bucket, InstanceArn, Prefix
from call_archive_cli.session import Session, session_of

if TYPE_CHECKING:
    from call_archive_cli.holds import Holding, Holds


NoWait = Annotated[
    bool, typer.Option("--no-wait", help="End now; a run that began before is not covered.")
]


def hold(
    context: typer.Context,
    contact_ids: ContactArguments,
    *,
    only: Only = False,
    reason: ReasonCode = "REQUESTED",
    no_wait: NoWait = False,
    instance_arn: InstanceArn = None,
    bucket: Bucket = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Keep everything of contacts: a legal hold on every version, and on what runs publish later.

    A hold wins over erasing, over lifecycle rules and over anybody who deletes a version. The
    bucket needs S3 Object Lock. Waits until no run is left that began before. Exit code 1: a
    contact is erased, or a run that began before may still publish.

    Examples:

      call-archive --stack call-archive hold CONTACT_ID --reason CASE-17
    """
    from call_archive_cli.holds import Holding

    done = Holding()
    holds = _holds(session_of(context), bucket, prefix, instance_arn, only=only)
    holds.hold(contact_ids, done, reason=reason, waits=not no_wait)
    _print(done, is_held=True, as_json=as_json)
    if not done.is_settled:
        raise typer.Exit(FOUND_WRONG)


def release(
    context: typer.Context,
    contact_ids: ContactArguments,
    *,
    only: Only = False,
    no_wait: NoWait = False,
    instance_arn: InstanceArn = None,
    bucket: Bucket = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """End the hold of contacts: remove the marker, and take the legal hold off every version.

    Waits until no run is left that began before, because such a run may still write a version with
    a legal hold. A lock with a date (a retention) stays. Lifecycle rules count again from when an
    object was written: what is old enough expires within a day or two. Exit code 1: with --no-wait,
    a run that began before may still hold something.

    Examples:

      call-archive --stack call-archive release CONTACT_ID
    """
    from call_archive_cli.holds import Holding

    done = Holding()
    holds = _holds(session_of(context), bucket, prefix, instance_arn, only=only)
    holds.release(contact_ids, done, waits=not no_wait)
    _print(done, is_held=False, as_json=as_json)
    if not done.is_settled:
        raise typer.Exit(FOUND_WRONG)


def _holds(
    session: Session,
    bucket: str | None,
    prefix: str | None,
    instance_arn: str | None,
    *,
    only: bool,
) -> "Holds":
    from call_archive_cli.holds import Holds
    from call_archive_cli.stored import S3Store

    erasure = build_erasure(session, bucket, prefix, instance_arn, only=only)
    archive = session.archive(bucket, prefix)
    store = S3Store(session.clients, archive.bucket, archive.prefix)
    return Holds(store, erasure.relatives, erasure.wait_s, erasure.sleep)


def _print(done: "Holding", *, is_held: bool, as_json: bool) -> None:
    from call_archive_cli.console import print_warning, results
    from call_archive_cli.words import count

    if as_json:
        typer.echo(json.dumps(done.as_json(is_held=is_held), indent=2))
        return
    what = "held" if is_held else "released"
    results().print(
        f"{', '.join(sorted(done.contact_ids))} {what}: {count(done.versions, 'version')}, of "
        f"which {len(done.changed):,} changed",
        soft_wrap=True,
        markup=False,
    )
    if not done.is_settled:
        what = "publish" if is_held else "publish with a hold"
        results().print(
            f"NOT settled: runs that began before may still {what} for {done.wait_s:,.0f} s; run "
            "the same command again then",
            soft_wrap=True,
        )
    for note in done.notes:
        print_warning(note)
