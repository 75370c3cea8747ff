"""`erase`: everything of a contact, for good."""

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from call_archive_cli.exits import FOUND_WRONG, USAGE, CommandError, confirm
from call_archive_cli.options import AsJson, Bucket, InstanceArn, Prefix, parse_contact_id
from call_archive_cli.session import Session, session_of

if TYPE_CHECKING:
    from call_archive_cli.erasure import Erasure, Found, Receipt, Related

LONGEST_RUN_S: Final = 900
"""Lambda's own limit, used if ArchiveFunction's timeout is unknown."""

TEMPLATE_RUN_S: Final = 600
"""ArchiveFunction's timeout in the template."""

SPARE_S: Final = 60
"""For a request that S3 still carries out after the run that sent it has ended."""

_REASON: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _parse_reason(text: str) -> str:
    if not _REASON.fullmatch(text):
        raise typer.BadParameter(
            "a code of letters, digits, _ . and -, at most 64: it is kept always, so no personal "
            "data"
        )
    return text


ContactArguments = Annotated[
    list[str],
    typer.Argument(metavar="CONTACT_ID...", parser=parse_contact_id, show_default=False),
]
Only = Annotated[
    bool, typer.Option("--only", help="Do not erase contacts that share the initial contact.")
]
ReasonCode = Annotated[
    str,
    typer.Option(
        "--reason",
        metavar="CODE",
        parser=_parse_reason,
        help="Why, as a code that is kept: a ticket's number, no personal data.",
    ),
]


def erase(
    context: typer.Context,
    contact_ids: ContactArguments,
    *,
    only: Only = False,
    reason: ReasonCode = "REQUESTED",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be erased; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait; the receipt is then not final.")
    ] = False,
    instance_arn: InstanceArn = None,
    bucket: Bucket = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Erase contacts for good: every version and open upload; later runs publish nothing.

    Writes a tombstone for each contact, removes everything, waits until every earlier run has ended
    (ArchiveFunction's timeout plus a minute), removes again and checks. The receipt is then final.
    After an interruption, the same command continues. Contacts that share the initial contact are
    erased, too. If a contact is held, nothing is erased. Exit code 1: it is held, or the receipt is
    not final.

    Examples:

      call-archive --stack call-archive erase CONTACT_ID --dry-run

      call-archive --stack call-archive erase CONTACT_ID --reason TICKET-4711
    """
    from call_archive_cli.console import print_warning
    from call_archive_cli.erasure import Receipt

    session = session_of(context)
    erasure = build_erasure(session, bucket, prefix, instance_arn, only=only)
    found = erasure.find(contact_ids)
    _print_found(found, is_json=as_json and not dry_run, as_json=as_json and dry_run)
    if dry_run:
        return
    if found.held:
        raise CommandError(
            f"{', '.join(found.held)} is held, so nothing was changed; "
            "`call-archive release` ends a hold",
            FOUND_WRONG,
        )
    if not yes:
        confirm("Erase all of this for good?", "nothing was erased")
    receipt = Receipt(by=_principal(session), at=datetime.now(UTC), reason=reason)
    try:
        erasure.run(contact_ids, receipt, waits=not no_wait)
    except BaseException:
        if receipt.tombstones:
            _print_receipt(receipt, erasure, found.notes, as_json=as_json)
            print_warning("not final: run the same command again")
        raise
    if replicas := erasure_notes(session, bucket, prefix):
        receipt.notes.append(replicas)
    _print_receipt(receipt, erasure, found.notes, as_json=as_json)
    if not receipt.is_final:
        raise typer.Exit(FOUND_WRONG)


def build_erasure(
    session: Session,
    bucket: str | None,
    prefix: str | None,
    instance_arn: str | None,
    *,
    only: bool,
) -> "Erasure":
    """Builds the erasure for the named archive."""
    from call_archive_cli.console import messages
    from call_archive_cli.erasure import Erasure, Related
    from call_archive_cli.relatives import RelativesOf
    from call_archive_cli.stored import S3Store

    archive = session.archive(bucket, prefix)

    def alone(ids: frozenset[str]) -> "Related":
        return Related(ids, ("--only: related contacts were not looked for",))

    def sleep(seconds: float) -> None:
        messages.print(
            f"waiting {seconds:,.0f} s, until no run is left that began before", soft_wrap=True
        )
        archive.sleep(seconds)

    return Erasure(
        S3Store(session.clients, archive.bucket, archive.prefix),
        alone if only else RelativesOf(archive, session.instance_arn(instance_arn)),
        wait_s=_run_timeout_s(session) + SPARE_S,
        sleep=sleep,
    )


def erasure_notes(session: Session, bucket: str | None, prefix: str | None) -> str:
    """Other places of the bucket's objects, as far as S3 shows them."""
    from call_archive_cli.stored import S3Store

    archive = session.archive(bucket, prefix)
    return S3Store(session.clients, archive.bucket, archive.prefix).replicas()


def verify_erased(
    session: Session, bucket: str | None, prefix: str | None, contact: str | None, *, as_json: bool
) -> None:
    """`verify --erased`: whether the bucket still holds anything of an erased contact.

    Raises:
        CommandError: the named contact is not erased.
        typer.Exit: something is left, or a run that began before may still publish.
    """
    from call_archive_cli.console import results
    from call_archive_cli.stored import S3Store, contact_of, hash_of
    from call_archive_cli.words import count

    archive = session.archive(bucket, prefix)
    store = S3Store(session.clients, archive.bucket, archive.prefix)
    ages_s = store.marks("tombstones")
    if contact and hash_of(contact) not in ages_s:
        raise CommandError(f"{contact} has no tombstone: it is not erased", FOUND_WRONG)
    left: dict[str, list[str]] = {}
    versions = store.versions([contact]) if contact else store.all_versions()
    for key in (*(v.key for v in versions), *(u.key for u in store.uploads())):
        owner = contact_of(key)
        if owner == contact or (not contact and hash_of(owner) in ages_s):
            left.setdefault(owner, []).append(key)
    asked_s = [ages_s[hash_of(contact)]] if contact else list(ages_s.values())
    wait_s = max(0.0, _run_timeout_s(session) + SPARE_S - min(asked_s)) if asked_s else 0.0
    if as_json:
        document = {"erased": len(asked_s), "left": left, "finalInSeconds": round(wait_s)}
        typer.echo(json.dumps(document, indent=2))
    else:
        for owner, keys in sorted(left.items()):
            what = count(len(keys), "version")
            results().print(
                f"{owner}: {what} {'is' if len(keys) == 1 else 'are'} left; run `call-archive "
                f"erase {owner}`",
                soft_wrap=True,
            )
        told = count(len(asked_s), "erased contact") if asked_s else "no contact is erased"
        if asked_s and not left:
            told += f": nothing of {'it' if len(asked_s) == 1 else 'them'} is left"
        if wait_s:
            told += (
                f", but runs that began before may still publish for {wait_s:,.0f} s: look again "
                "then"
            )
        results().print(told, soft_wrap=True)
    if left or wait_s:
        raise typer.Exit(FOUND_WRONG)


def _run_timeout_s(session: Session) -> int:
    from botocore.exceptions import ClientError

    from call_archive_cli.console import print_warning
    from call_archive_cli.errors import describe

    if not session.stack:
        return LONGEST_RUN_S
    try:
        # One that was lowered a minute ago does not end the runs that began before.
        return max(session.deployment.run_timeout_s, TEMPLATE_RUN_S)
    except ClientError as error:
        print_warning(
            f"ArchiveFunction's timeout cannot be asked, so Lambda's longest counts, "
            f"{LONGEST_RUN_S} s: {describe(error)}"
        )
    except KeyError as error:
        raise CommandError(
            f"stack {session.stack} has no ArchiveFunction: is it Call Archive's?", USAGE
        ) from error
    return LONGEST_RUN_S


def _principal(session: Session) -> str:
    """Who erases: the caller's ARN from STS."""
    arn: str = session.clients.named("sts").get_caller_identity()["Arn"]
    return arn


def _print_found(found: "Found", *, is_json: bool, as_json: bool) -> None:
    from call_archive_cli.console import messages, print_warning, results
    from call_archive_cli.words import count

    if as_json:
        document = {
            "contacts": sorted(found.contact_ids),
            "held": list(found.held),
            "versions": [
                {"key": v.key, "versionId": v.version_id, "deleteMarker": v.is_marker}
                for v in found.versions
            ],
            "uploads": [u.key for u in found.uploads],
            "notes": list(found.notes),
        }
        typer.echo(json.dumps(document, indent=2))
        return
    console = messages if is_json else results()

    def tell(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    for contact_id in sorted(found.contact_ids):
        own = [version for version in found.versions if version.contact_id == contact_id]
        real = [version for version in own if not version.is_marker]
        markers = len(own) - len(real)
        tell(
            f"{contact_id}  {'' if contact_id in found.asked else 'related  '}"
            f"{count(len(real), 'version')} of {count(len({v.key for v in real}), 'object')}"
            f"{f', {count(markers, "delete marker")}' if markers else ''}"
            f"{'  HELD' if contact_id in found.held else ''}"
        )
    if found.uploads:
        tell(f"{count(len(found.uploads), 'open upload')}")
    for note in found.notes:
        print_warning(note)


def _print_receipt(
    receipt: "Receipt", erasure: "Erasure", told: tuple[str, ...], *, as_json: bool
) -> None:
    from call_archive_cli.console import print_warning, results
    from call_archive_cli.erasure import NOT_REACHED
    from call_archive_cli.words import count

    if as_json:
        typer.echo(json.dumps(receipt.as_json(), indent=2))
        return

    def tell(text: str) -> None:
        results().print(text, soft_wrap=True, markup=False)

    tell(
        f"{count(len(receipt.tombstones), 'contact')} erased: "
        f"{count(len(receipt.removed), 'version')} removed, "
        f"{count(len(receipt.aborted), 'upload')} aborted, by {receipt.by}"
    )
    for what, why in sorted(receipt.kept.items()):
        print_warning(f"{what} stays: {why}")
    if receipt.is_final:
        tell(
            f"final: nothing is left, and no run is left that began before the tombstones "
            f"({erasure.wait_s:,.0f} s)"
        )
    elif receipt.kept:
        tell("NOT final: S3 keeps some of it")
    else:
        tell(
            f"NOT final: runs that began before may still publish for {receipt.wait_s:,.0f} s; "
            "run the same command again then"
        )
    for note in dict.fromkeys(receipt.notes):
        if note not in told:
            print_warning(note)
    tell("not reached by this command:")
    for what in NOT_REACHED:
        tell(f"  * {what}")
