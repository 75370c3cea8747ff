"""`explain`: what happened to one contact, and what to do."""

import json

import typer

from call_archive_cli.exits import FOUND_WRONG
from call_archive_cli.options import AsJson, Bucket, ContactArgument, InstanceArn, Prefix
from call_archive_cli.session import session_of


def explain(
    context: typer.Context,
    contact_id: ContactArgument,
    *,
    instance_arn: InstanceArn = None,
    bucket: Bucket = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Explain one contact: streamed, kept, archived, failed, erased, held; and what to do.

    Asks Amazon Connect, the stream, the bucket, the queue of failed jobs and the log, and changes
    nothing; failed jobs that it looks at are hidden from others for half a minute. A source that
    refuses is named, and the others are still asked. Exit code 1: there is something to do.

    Examples:

      call-archive --stack call-archive explain CONTACT_ID
    """
    from call_archive_cli.console import results
    from call_archive_cli.explanation import Explainer

    session = session_of(context)
    archive = session.archive(bucket, prefix)
    deployment = session.deployment if session.stack else None
    explainer = Explainer(archive, deployment, session.instance_arn(instance_arn))
    known, parts = explainer.explain(contact_id)
    if as_json:
        typer.echo(json.dumps({"contactId": contact_id, **dict(parts)}, indent=2))
    else:
        for heading, lines in parts:
            results().print(f"{heading}:", style="bold")
            for line in lines:
                results().print(f"  {line}", soft_wrap=True, markup=False)
    if known.unread or not parts[-1][1][0].startswith("Nothing: "):
        raise typer.Exit(FOUND_WRONG)
