"""State that the commands of one run share: the AWS clients and the named stack."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from call_archive_cli.clients import Clients
from call_archive_cli.exits import USAGE, CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    import typer

    from call_archive_cli.archive import CallArchive
    from call_archive_cli.deployment import Deployment

    type MakeClients = Callable[[str | None, str | None], Clients]


@dataclass
class Session:
    """One run of the command.

    Attributes:
        stack: the name of the deployed stack; "" if none was given.
    """

    clients: Clients = field(default_factory=Clients)
    stack: str = ""

    @cached_property
    def deployment(self) -> Deployment:
        """The deployed stack.

        Raises:
            CommandError: no stack was named.
        """
        from call_archive_cli.deployment import Deployment  # noqa: PLC0415 - loads botocore

        if not self.stack:
            raise CommandError("give --stack STACK_NAME", USAGE)
        return Deployment(self.clients, self.stack)

    def output(self, name: str, given: str | None, option: str) -> str:
        """The given value, or else the output of the stack.

        Raises:
            CommandError: neither is there.
        """
        if given:
            return given
        if not self.stack:
            raise CommandError(f"give {option}, or --stack STACK_NAME", USAGE)
        return self.deployment.output(name)

    def instance_arn(self, given: str | None) -> str:
        """The given Connect instance, or else the stack's; "" if neither names one."""
        if given or not self.stack:
            return given or ""
        return self.deployment.parameters.get("ConnectInstanceArn", "")

    def archive(self, bucket: str | None, prefix: str | None) -> CallArchive:
        """The named archive; the stack provides what was not given.

        Raises:
            CommandError: neither `--bucket` nor `--stack` was given.
        """
        from call_archive_cli.archive import CallArchive  # noqa: PLC0415 - loads botocore

        if prefix is None and self.stack:
            prefix = self.deployment.parameters.get("ArchivePrefix", "")
        return CallArchive(
            self.clients, self.output("ArchiveBucket", bucket, "--bucket"), prefix or ""
        )


def open_session(
    context: typer.Context, profile: str | None, region: str | None, stack: str | None
) -> None:
    """Gives the context its session; an embedder may have put another maker of clients there."""
    make: MakeClients = context.obj or Clients
    context.obj = Session(make(profile, region), stack or "")


def session_of(context: typer.Context) -> Session:
    """The session of the run."""
    session: Session = context.obj
    return session
