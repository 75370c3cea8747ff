"""`follow`: a live stream to a file or a player."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from call_archive.errors import StreamFaultError
from call_archive_cli.exits import FOUND_WRONG, USAGE, CommandError
from call_archive_cli.files import STDOUT
from call_archive_cli.options import (
    AsJson,
    AudioFormat,
    Overwrite,
    Stream,
    Track,
    TrackOption,
    parse_contact_id,
    parse_fragment_number,
    parse_moment,
    required,
)
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive_cli.follow import Follower
    from call_archive_cli.live import LiveFragment, LiveStream

IDLE_S: Final = 300.0
"""Longer than most callers are on hold, in case Connect then sends nothing."""


def follow(
    context: typer.Context,
    *,
    stream: Stream = None,
    fragment: Annotated[
        int | None,
        typer.Option(
            "--fragment",
            metavar="NUMBER",
            parser=parse_fragment_number,
            help="Begin with this fragment, inclusive.",
        ),
    ] = None,
    start_time: Annotated[
        int | None,
        typer.Option(
            metavar="TIME", parser=parse_moment, help="ISO 8601 (UTC by default), or epoch ms."
        ),
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Begin now.")] = False,
    earliest: Annotated[
        bool, typer.Option("--earliest", help="Begin with the oldest fragment.")
    ] = False,
    contact: Annotated[
        str | None,
        typer.Option(
            metavar="CONTACT_ID",
            parser=parse_contact_id,
            help="Whose audio. [default: the first contact's]",
        ),
    ] = None,
    track: TrackOption = Track.CUSTOMER,
    audio_format: Annotated[
        AudioFormat, typer.Option("--format", help="WAV, or bare 16-bit little-endian PCM.")
    ] = AudioFormat.WAV,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="- is standard output. [default: CONTACT_ID.wav]",
        ),
    ] = None,
    idle: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="End after this long without audio.")
    ] = IDLE_S,
    limit: Annotated[
        float | None,
        typer.Option("--limit", min=1, metavar="SECONDS", help="Time limit. [default: none]"),
    ] = None,
    skip_start: Annotated[
        bool,
        typer.Option(
            "--skip-start", help="Continue without the first fragment if KVS no longer has it."
        ),
    ] = False,
    overwrite: Overwrite = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a live stream's audio to a file or a player, as it is spoken.

    Begins with the given fragment and continues after the 45 minutes of a GetMedia call. Ends when
    the contact changes, when no more audio arrives, or on Ctrl-C or SIGTERM. The file is valid at
    any moment. --json prints the summary as JSON, on standard error if the audio goes to standard
    output.

    Examples:

      call-archive follow --stream NAME --fragment 9134385… -o call.wav

      call-archive follow --stream ARN --now -o - | ffplay -nodisp -

      call-archive follow --stream ARN --earliest --format raw -o call.raw
    """
    from call_archive_cli.audio_file import check_output, open_audio
    from call_archive_cli.console import messages
    from call_archive_cli.follow import Follower, follow_into, open_live
    from call_archive_cli.stop import Stop
    from call_archive_cli.streams import directions_of, find_stream

    clients = session_of(context).clients
    with Stop() as stop:
        if output is not None:
            check_output(output, overwrite=overwrite)
        stream_arn = find_stream(clients, required(stream, "--stream"))
        live = open_live(clients, stream_arn, idle, limit, stop.waiting)
        fragments = _live_fragments(
            live, Beginning(fragment, start_time, now, earliest), skip_start=skip_start
        )
        follower = Follower(directions_of(track), contact_id=contact or "")
        with _progress(follower, quiet=quiet or not messages.is_terminal) as show:
            follow_into(
                follower,
                fragments,
                lambda contact_id: open_audio(
                    output or f"{contact_id}.{audio_format}",
                    audio_format,
                    len(follower.directions),
                    overwrite=overwrite,
                ),
                show,
            )
        if as_json:
            summary = json.dumps(_as_json(follower, live, stream_arn), indent=2)
            typer.echo(summary, err=output == STDOUT)
        else:
            messages.print(_summary(follower, live), soft_wrap=True)
        if follower.end.failure is not None:
            raise follower.end.failure
        if follower.left_out.unreadable:
            raise typer.Exit(FOUND_WRONG)


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where to begin."""

    fragment: int | None
    start_time: int | None
    now: bool
    earliest: bool


def _live_fragments(
    live: "LiveStream", beginning: Beginning, *, skip_start: bool
) -> Iterator["LiveFragment"]:
    from call_archive_cli.follow import from_fragment
    from call_archive_cli.streams import moment

    match beginning:
        case Beginning(int(fragment), None, False, False):
            return from_fragment(live, fragment, _skip if skip_start else _refuse)
        case Beginning(None, int(start_time), False, False):
            return live.follow(
                {"StartSelectorType": "SERVER_TIMESTAMP", "StartTimestamp": moment(start_time)}
            )
        case Beginning(None, None, True, False):
            return live.follow({"StartSelectorType": "NOW"})
        case Beginning(None, None, False, True):
            return live.follow({"StartSelectorType": "EARLIEST"})
    raise CommandError("give one of --fragment, --start-time, --now and --earliest", USAGE)


def _skip(error: StreamFaultError) -> None:
    from call_archive_cli.console import print_warning

    print_warning(f"{error}; the recording begins after it, about a second later")


def _refuse(error: StreamFaultError) -> None:
    raise CommandError(
        f"{error}; --skip-start continues without it and loses about a second"
    ) from error


@contextmanager
def _progress(follower: "Follower", *, quiet: bool) -> Iterator[Callable[["Follower"], None]]:
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from call_archive_cli.console import messages

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        console=messages,
        transient=True,
        disable=quiet,
    )
    with bar:
        task = bar.add_task(_figures(follower), total=None)
        yield lambda _: bar.update(task, description=_figures(follower))


def _figures(follower: "Follower") -> str:
    from call_archive_cli.words import clock, count

    lag_ms = follower.behind_now_ms
    return "  ".join(
        (
            clock(follower.length_ms),
            "" if lag_ms is None else f"{lag_ms / 1000:.1f} s behind now",
            count(follower.gaps, "gap"),
        )
    )


def _summary(follower: "Follower", live: "LiveStream") -> str:
    from call_archive_cli.words import clock, count

    parts = [
        f"contact {follower.contact_id}: {clock(follower.length_ms)}",
        count(follower.fragments, "fragment"),
        count(follower.gaps, "gap"),
        count(live.calls, "GetMedia call"),
    ]
    left_out = follower.left_out
    if left_out.skipped:
        untagged = f" ({left_out.untagged:,} without a ContactId)" if left_out.untagged else ""
        parts.append(f"{count(left_out.skipped, 'fragment')} before it left out{untagged}")
    if left_out.unreadable:
        parts.append(f"{count(len(left_out.unreadable), 'fragment')} unreadable")
    return f"{', '.join(parts)}; ended because {follower.end.why}"


def _as_json(follower: "Follower", live: "LiveStream", stream_arn: str) -> dict[str, Any]:
    """The summary for `--json`."""
    from call_archive_cli.errors import describe

    left_out, failure = follower.left_out, follower.end.failure
    return {
        "contactId": follower.contact_id,
        "streamArn": stream_arn,
        "tracks": list(follower.directions),
        "durationMs": follower.length_ms,
        "fragments": follower.fragments,
        "gaps": follower.gaps,
        "getMediaCalls": live.calls,
        "leftOut": {
            "before": left_out.skipped,
            "untagged": left_out.untagged,
            "unreadable": left_out.unreadable,
        },
        "ended": follower.end.why,
        "failure": None if failure is None else describe(failure),
    }
