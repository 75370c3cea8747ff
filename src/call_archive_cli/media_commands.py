"""`follow`, `fetch` and `inspect`: what is in a stream, on the way to a file or on the screen."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from call_archive.errors import ArchiveError, StreamFaultError
from call_archive.intake.message import Order
from call_archive.job import ArchiveJob, Trigger
from call_archive.media.pcm import SAMPLE_RATE_HZ
from call_archive_cli.arguments import (
    DIRECTIONS,
    InstanceArn,
    StreamArn,
    Track,
    parse_contact_id,
    parse_fragment_number,
    parse_moment,
    parse_stream_arn,
)
from call_archive_cli.audio_file import AudioFormat, check_output, open_audio
from call_archive_cli.exits import (
    FOUND_WRONG,
    REFUSED,
    USAGE,
    CommandError,
    escape,
    failures_as_lines,
    messages,
    print_failure,
    print_warning,
    results,
)
from call_archive_cli.fetch import StreamRange, build_range_job, fetch_job, find_jobs
from call_archive_cli.follow import (
    Follower,
    follow_into,
    from_fragment,
    open_live,
)
from call_archive_cli.inspect import Inspection, inspect_file, inspect_stream
from call_archive_cli.inspection_table import contact_lines, fragment_table
from call_archive_cli.live import LiveFragment, LiveStream
from call_archive_cli.stop import Stop
from call_archive_cli.streams import HOUR_MS, moment, now_ms
from call_archive_cli.words import clock, count, manifest_table

IDLE_S = 300.0
"""Longer than most callers are on hold, should Connect send nothing then."""

Fragment = Annotated[
    int | None,
    typer.Option(
        "--fragment",
        metavar="NUMBER",
        parser=parse_fragment_number,
        help="Begin with this fragment, inclusive.",
    ),
]
Moment = Annotated[
    int | None,
    typer.Option(
        metavar="TIME", parser=parse_moment, help="ISO 8601 (UTC by default), or epoch ms."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def follow(
    *,
    stream_arn: StreamArn = None,
    fragment: Fragment = None,
    start_time: Moment = None,
    now: Annotated[bool, typer.Option("--now", help="Begin at this moment.")] = False,
    earliest: Annotated[
        bool, typer.Option("--earliest", help="Begin with the oldest fragment.")
    ] = False,
    contact: Annotated[
        str | None,
        typer.Option(
            metavar="CONTACT_ID",
            parser=parse_contact_id,
            help="Whose audio; by default the first contact's that comes.",
        ),
    ] = None,
    track: Annotated[
        Track, typer.Option(help="Whose voice; both gives stereo, the customer left.")
    ] = Track.CUSTOMER,
    audio_format: Annotated[
        AudioFormat, typer.Option("--format", help="WAV, or bare 16-bit little-endian PCM.")
    ] = AudioFormat.WAV,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="- is standard output. \\[default: CONTACT_ID.wav]",
        ),
    ] = None,
    idle: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="End when nothing came for so long.")
    ] = IDLE_S,
    skip_start: Annotated[
        bool,
        typer.Option(
            "--skip-start", help="Go on without the first fragment where KVS does not keep it."
        ),
    ] = False,
    overwrite: Overwrite = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Write a live stream's audio to a file or a player, as it is spoken.

    Begins with the given fragment, goes on across the 45 minutes of a GetMedia call, ends when
    the contact changes, when nothing more comes, or on Ctrl-C or SIGTERM; the file is valid at any
    moment.

    Examples:

      call-archive follow --stream-arn ARN --fragment 9134385… -o call.wav

      call-archive follow --stream-arn ARN --now --track both -o - | ffplay -nodisp -

      call-archive follow --stream-arn ARN --earliest --format raw -o call.raw
    """
    with failures_as_lines(), Stop() as stop:
        if output is not None:
            check_output(output, overwrite=overwrite)
        live = open_live(_required(stream_arn, "--stream-arn"), idle, stop.waiting)
        fragments = _live_fragments(
            live,
            Beginning(fragment, start_time, now, earliest),
            skip_start=skip_start,
        )
        follower = Follower(DIRECTIONS[track], contact_id=contact or "")
        with _progress(follower, quiet=quiet or not messages.is_terminal) as report:
            follow_into(
                follower,
                fragments,
                lambda contact_id: open_audio(
                    output or f"{contact_id}.{audio_format}",
                    audio_format,
                    len(DIRECTIONS[track]),
                    overwrite=overwrite,
                ),
                report,
            )
        messages.print(_follow_summary(follower, live), soft_wrap=True)
        if follower.failure is not None:
            raise follower.failure
        if follower.unreadable:
            raise typer.Exit(FOUND_WRONG)


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where to begin, as somebody asks for it."""

    fragment: int | None
    start_time: int | None
    now: bool
    earliest: bool


def _live_fragments(
    live: LiveStream, beginning: Beginning, *, skip_start: bool
) -> Iterator[LiveFragment]:
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
    print_warning(f"{error}; the recording begins behind it, about a second later")


def _refuse(error: StreamFaultError) -> None:
    raise CommandError(
        f"{error}; --skip-start goes on without it, about a second is lost"
    ) from error


@contextmanager
def _progress(follower: Follower, *, quiet: bool) -> Iterator[Callable[[Follower], None]]:
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


def _figures(follower: Follower) -> str:
    lag_ms = follower.behind_now_ms
    return "  ".join(
        (
            clock(follower.samples * 1000 // SAMPLE_RATE_HZ),
            "" if lag_ms is None else f"{lag_ms / 1000:.1f} s behind now",
            count(follower.gaps, "gap"),
        )
    )


def _follow_summary(follower: Follower, live: LiveStream) -> str:
    parts = [
        f"contact {follower.contact_id}: {clock(follower.samples * 1000 // SAMPLE_RATE_HZ)}",
        count(follower.fragments, "fragment"),
        count(follower.gaps, "gap"),
        count(live.calls, "GetMedia call"),
    ]
    if follower.skipped:
        untagged = f" ({follower.untagged:,} without a ContactId)" if follower.untagged else ""
        parts.append(f"{count(follower.skipped, 'fragment')} before it left out{untagged}")
    if follower.unreadable:
        parts.append(f"{count(len(follower.unreadable), 'fragment')} unreadable")
    return f"{', '.join(parts)}; ended because {follower.ended_by or 'the stream ended'}"


def fetch(
    *,
    contact: Annotated[
        str | None,
        typer.Argument(metavar="CONTACT_ID", parser=parse_contact_id, show_default=False),
    ] = None,
    instance_arn: InstanceArn = None,
    stream_arn: StreamArn = None,
    start: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", parser=parse_fragment_number, help="The first fragment, inclusive."
        ),
    ] = None,
    stop: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            parser=parse_fragment_number,
            help="The last fragment, inclusive. \\[default: as long as the contact's go on]",
        ),
    ] = None,
    track: Annotated[
        Track, typer.Option(help="Whose voice; both gives stereo, the customer left.")
    ] = Track.CUSTOMER,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIRECTORY", help="Where the files go.")
    ] = Path(),
    as_json: AsJson = False,
) -> None:
    """Fetch a contact's recording, or a range of a stream, to this machine; print its manifest.

    The same selection, clock and manifest as in the archive. Files: DIRECTORY/CONTACT_ID/START.wav
    and .json. Exit code 1: the recording is not complete; its manifest says why.

    Examples:

      call-archive fetch 3148efdd-9507-4148-8fab-9e336b74a038 --instance-arn ARN

      call-archive fetch --stream-arn ARN --start 91343852… --stop 91343853… -o /tmp/calls
    """
    with failures_as_lines():
        if contact is not None and stream_arn is None:
            order = find_jobs(contact, _required(instance_arn, "--instance-arn"))
        else:
            wanted = StreamRange(
                stream_arn=_required(stream_arn, "CONTACT_ID or --stream-arn"),
                start=_required(start, "--start"),
                stop=stop,
                contact_id=contact,
                instance_arn=instance_arn,
            )
            order = Order(Trigger.CLI, (build_range_job(wanted),))
        failures: list[ArchiveError] = [*order.refusals]
        manifests = list(_fetch_each(order.jobs, output, track, failures))
        if as_json:
            typer.echo(json.dumps(manifests, indent=2))
        for manifest in () if as_json else manifests:
            results().print(manifest_table(manifest))
        for failure in failures:
            print_failure(failure)
        if failures:
            raise typer.Exit(REFUSED)
        if not all(manifest["complete"] for manifest in manifests):
            raise typer.Exit(FOUND_WRONG)


def _fetch_each(
    jobs: Iterable[ArchiveJob], directory: Path, track: Track, failures: list[ArchiveError]
) -> Iterator[dict[str, object]]:
    """The manifests; a recording that cannot be had does not keep the others back."""
    for job in jobs:
        try:
            yield _fetch(job, directory, track)
        except ArchiveError as failure:
            failures.append(failure)


def _fetch(job: ArchiveJob, directory: Path, track: Track) -> dict[str, object]:
    with messages.status(f"fetching contact {job.contact_id}"):
        archive = fetch_job(job, directory, DIRECTIONS[track])
    manifest: dict[str, object] = json.loads(archive.manifest.read_bytes())
    return manifest


def inspect(
    *,
    sources: Annotated[list[str], typer.Argument(metavar="FILE|STREAM_ARN...", show_default=False)],
    from_time: Annotated[
        int | None,
        typer.Option(
            "--from",
            metavar="TIME",
            parser=parse_moment,
            help="Of a stream, by KVS's clock. \\[default: an hour ago]",
        ),
    ] = None,
    to_time: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="TIME", parser=parse_moment, help="Up to here. \\[default: now]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is in a saved media body, or in a stream: fragments, contacts, tracks, tags, gaps.

    Says in words what is wrong: retention, key, no audio, another contact's audio, cut bodies,
    error documents, clocks. Exit code 1: something is. Fragments that are alike share a row;
    --json has each of them, with all its tags.

    Examples:

      call-archive inspect body.mkv

      call-archive inspect ARN --from 2026-11-23T09:00:00Z --to 2026-11-23T09:10:00Z --json
    """
    with failures_as_lines():
        to_ms = to_time or now_ms()
        inspections = {
            source: _inspect(source, from_time or to_ms - HOUR_MS, to_ms) for source in sources
        }
        if as_json:
            typer.echo(json.dumps(list(_as_json(inspections)), indent=2))
        else:
            for source, inspection in inspections.items():
                _print_inspection(source, inspection)
        if any(inspection.findings for inspection in inspections.values()):
            raise typer.Exit(FOUND_WRONG)


def _inspect(source: str, from_ms: int, to_ms: int) -> Inspection:
    if source.startswith("arn:"):
        return inspect_stream(parse_stream_arn(source), from_ms, to_ms)
    return inspect_file(Path(source))


def _as_json(inspections: dict[str, Inspection]) -> Iterator[dict[str, object]]:
    for source, inspection in inspections.items():
        yield {
            "source": source,
            "contacts": dict(inspection.contacts()),
            "findings": inspection.findings,
            "fragments": [fragment.as_json() for fragment in inspection.fragments],
        }


def _print_inspection(source: str, inspection: Inspection) -> None:
    console = results()
    console.print(f"[bold]{escape(source)}[/]", soft_wrap=True)
    if inspection.fragments:
        console.print(fragment_table(inspection))
        for line in contact_lines(inspection):
            console.print(line, soft_wrap=True)
    for finding in inspection.findings:
        console.print(f"[bold yellow]![/] {escape(finding)}", soft_wrap=True)


def _required[T](value: T | None, name: str) -> T:
    if value is None:
        raise CommandError(f"{name} is missing", USAGE)
    return value
