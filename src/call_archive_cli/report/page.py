"""Recordings → a page: one HTML file that needs nothing else, or a folder of a page and its audio.

The page holds facts as JSON, waveforms as one byte for each column and side, and audio as base64;
its script draws what is on the screen, so an hour costs what a minute costs. Everything is written
as it is made: memory does not grow with the length of a call.
"""

import base64
import hashlib
import io
import json
import re
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

import jinja2
from markupsafe import Markup

from call_archive import __version__
from call_archive_cli.report.audio import FLAC_LIMIT_MS, Form, write_audio
from call_archive_cli.report.marks import build_marks, summary
from call_archive_cli.report.measure import COLUMNS_PER_S, SILENT_DBFS, Channel, Measured, measure
from call_archive_cli.report.sources import Problem, Recording, State
from call_archive_cli.words import clock, count, manifest_lines, track_name

RATE_HZ: Final = 8000
PIECE: Final = 3 * 65_536
"""Bytes that become base64 at a time: a multiple of three, so that the pieces join."""

MINUS: Final = "\N{MINUS SIGN}"
SCRIPTS: Final = ("waveform.js", "player.js", "list.js", "page.js")
PAGE_NAME: Final = "index.html"
AUDIO_FOLDER: Final = "audio"
_AUDIO_NAME: Final = re.compile(r"\d{4,}-[A-Za-z0-9-]+\.wav")

BADGES: Final = {
    State.COMPLETE: "complete",
    State.INCOMPLETE: "incomplete",
    State.DIFFERENT: "does not match its manifest",
    State.UNDESCRIBED: "no manifest",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """What a page says of itself.

    Attributes:
        note: a sentence from its author; "" for none.
        problems: files that are not in it, or not as a reader expects.
    """

    made_at: datetime
    note: str = ""
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A recording and its place in the page."""

    id: str
    recording: Recording

    @property
    def title(self) -> str:
        """The contact's id, or the file's name."""
        manifest = self.recording.manifest
        return manifest.contact_id if manifest else Path(self.recording.name).stem


def total_ms(recordings: Sequence[Recording]) -> int:
    """The length of all recordings together."""
    return sum(recording.samples * 1000 // RATE_HZ for recording in recordings)


def write_file(recordings: Sequence[Recording], cover: Cover, target: Path) -> Form:
    """Writes one file that holds its audio: lossless up to ten minutes, else compressed.

    Raises:
        OSError, soundfile.LibsndfileError: a recording cannot be read, or the page not written.
    """
    form = Form.FLAC if total_ms(recordings) <= FLAC_LIMIT_MS else Form.VORBIS
    _write(recordings, cover, target, form)
    return form


def write_folder(recordings: Sequence[Recording], cover: Cover, folder: Path) -> Path:
    """Writes a folder: `index.html`, and the recordings themselves in `audio/`, no others.

    Raises:
        OSError, soundfile.LibsndfileError: a recording cannot be read, or the page not written.
    """
    page, audio = folder / PAGE_NAME, folder / AUDIO_FOLDER
    audio.mkdir(parents=True, exist_ok=True)
    before = [path for path in audio.iterdir() if _AUDIO_NAME.fullmatch(path.name)]
    _write(recordings, cover, page, Form.WAV)
    names = {_audio_name(call, place) for place, call in enumerate(_in_order(recordings), start=1)}
    for path in before:
        if path.name not in names:
            path.unlink()
    return page


def is_page_folder(folder: Path) -> bool:
    """Whether an earlier page is there, which a new one may replace."""
    return (folder / PAGE_NAME).is_file() and (folder / AUDIO_FOLDER).is_dir()


def _audio_name(call: Call, place: int) -> str:
    return f"{place:04}-{_slug(call.title)}.wav"


def _write(recordings: Sequence[Recording], cover: Cover, target: Path, form: Form) -> None:
    """The page appears whole or not at all."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="call-archive-") as scratch,
            partial.open("w", encoding="utf-8") as page,
        ):
            _write_page(
                recordings, cover, page, _Audio(form, Path(scratch), target.parent / AUDIO_FOLDER)
            )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Audio:
    """How audio gets into the page, or beside it."""

    form: Form
    scratch: Path
    folder: Path

    def put(self, call: Call, place: int, page: TextIO) -> str:
        """Puts a call's audio where the page finds it; its address, "" if the page holds it."""
        if self.form is Form.WAV:
            name = _audio_name(call, place)
            write_audio(call.recording.wav, self.folder / name, self.form)
            return f"{AUDIO_FOLDER}/{name}"
        encoded = self.scratch / "audio"
        write_audio(call.recording.wav, encoded, self.form)
        with encoded.open("rb") as content:
            _write_script(page, f"audio-{call.id}", content)
        return ""


def _write_page(recordings: Sequence[Recording], cover: Cover, page: TextIO, audio: _Audio) -> None:
    calls = _in_order(recordings)
    style, scripts = _file("page.css"), "\n".join(_file(name) for name in SCRIPTS)
    head, _, tail = (
        _template()
        .render(
            title=calls[0].title if len(calls) == 1 else f"{len(calls)} recordings",
            heading=f"{count(len(calls), 'recording')}, {clock(total_ms(recordings))}",
            cover=cover,
            made_at=cover.made_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            version=__version__,
            policy=_policy(style, scripts, audio.form),
            is_list=len(calls) > 1,
            style=Markup(style),  # noqa: S704 - ours
            scripts=Markup(scripts),  # noqa: S704 - ours
        )
        .partition("<!-- calls -->")
    )
    page.write(head)
    rows = []
    for place, call in enumerate(calls, start=1):
        measured = measure(call.recording.wav)
        address = audio.put(call, place, page)
        peaks = b"".join(channel.peaks for channel in measured.channels)
        _write_script(page, f"peaks-{call.id}", io.BytesIO(peaks))
        facts = _facts(call, measured) | {"audio": _audio_facts(call, audio.form, address)}
        _write_json(page, f"facts-{call.id}", facts)
        rows.append(_row(call, measured, facts))
    _write_json(page, "rows", rows)
    page.write(tail)


def _in_order(recordings: Sequence[Recording]) -> list[Call]:
    """By start; each with an id that a link can name, the same in every page of the call."""
    taken: dict[str, int] = {}
    calls = []
    for recording in sorted(
        recordings, key=lambda one: (not one.started_at, one.started_at, one.name)
    ):
        call = Call("", recording)
        slug = f"call-{_slug(call.title)}"
        taken[slug] = taken.get(slug, 0) + 1
        calls.append(Call(slug if taken[slug] == 1 else f"{slug}.{taken[slug]}", recording))
    return calls


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", text)[:64].strip("-") or "unnamed"


def _facts(call: Call, measured: Measured) -> dict[str, Any]:
    """Everything that is shown when a call is opened."""
    recording = call.recording
    marks = []
    if recording.manifest and recording.state is not State.DIFFERENT:
        marks = build_marks(recording.manifest)
    return {
        "durationMs": measured.duration_ms,
        "columnsPerS": COLUMNS_PER_S,
        "summary": _summary(recording, summary(marks)),
        "statement": _statement(recording),
        "sides": [
            {
                "name": name,
                "talkPercent": _percent(channel.talk_ms, measured.duration_ms),
                "speech": _dbfs(channel.speech_dbfs),
                "peak": _dbfs(channel.peak_dbfs),
                "clipped": channel.clipped,
                "talks": [[talk.start_ms, talk.end_ms] for talk in channel.talks],
            }
            for name, channel in zip(_side_names(recording), measured.channels, strict=True)
        ],
        "bothPercent": _percent(measured.both_ms, measured.duration_ms),
        "silencePercent": _percent(measured.silence_ms, measured.duration_ms),
        "marks": [asdict(mark) for mark in marks],
        "lines": list(manifest_lines(recording.manifest)) if recording.manifest else [],
    }


def _row(call: Call, measured: Measured, facts: dict[str, Any]) -> dict[str, Any]:
    """What the list shows of a call."""
    state = call.recording.state
    first: Channel = measured.channels[0]
    reasons = [text for heading, text in facts["lines"] if heading == "because"]
    return {
        "id": call.id,
        "title": call.title,
        "startedAt": call.recording.started_at,
        "durationMs": measured.duration_ms,
        "state": state,
        "badge": BADGES[state],
        "marks": len(facts["marks"]),
        "talkPercent": facts["sides"][0]["talkPercent"],
        "silencePercent": facts["silencePercent"],
        "speechDbfs": first.speech_dbfs,
        "speech": _dbfs(first.speech_dbfs),
        "words": " ".join([call.recording.name, *reasons]),
    }


def _summary(recording: Recording, marks: str) -> str:
    if recording.state in (State.COMPLETE, State.INCOMPLETE):
        return marks
    return ""


def _statement(recording: Recording) -> str:
    """What was checked, and what that means."""
    match recording.state:
        case State.COMPLETE | State.INCOMPLETE:
            return "Checked when this page was made: bytes and sha256 are those of the manifest."
        case State.DIFFERENT:
            return (
                f"This file does not match its manifest: {recording.damage}. So what the manifest "
                "says, of completeness and of gaps, is not about this file."
            )
        case State.UNDESCRIBED if recording.damage:
            return (
                f"{recording.name}: there is no manifest beside this file, and it is damaged: "
                f"{recording.damage}."
            )
        case State.UNDESCRIBED:
            return (
                f"{recording.name}: there is no manifest beside this file, so nothing says whose "
                "it is or whether it is complete. The file itself is not cut short."
            )


def _side_names(recording: Recording) -> list[str]:
    manifest = recording.manifest
    if manifest and len(manifest.tracks) == recording.channels:
        return [track_name(direction) for direction in manifest.tracks]
    return [f"channel {number}" for number in range(1, recording.channels + 1)]


def _audio_facts(call: Call, form: Form, address: str) -> dict[str, str | int]:
    """How the page's script gets the audio, and what a person has to know of it."""
    name = Path(call.recording.name).name
    size_bytes = call.recording.wav.stat().st_size
    note = ""
    if form is Form.VORBIS:
        manifest = call.recording.manifest
        sha256 = f", sha256 {manifest.sha256}" if manifest else ""
        what = "verified recording" if call.recording.state is not State.DIFFERENT else "recording"
        note = (
            "The audio in this page is compressed (Vorbis), the sides apart. "
            f"The {what if manifest else 'recording'} is {call.recording.name}{sha256}."
        )
    return {"type": form, "src": address, "note": note, "fileName": name, "bytes": size_bytes}


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0


def _dbfs(level: float) -> str:
    return "none" if level <= SILENT_DBFS else f"{level:.1f} dBFS".replace("-", MINUS)


def _write_script(page: TextIO, name: str, content: BinaryIO) -> None:
    """Bytes as base64, in an element that no browser runs."""
    page.write(f'<script type="text/plain" id="{name}">')
    with closing(content):
        while piece := content.read(PIECE):
            page.write(base64.b64encode(piece).decode())
    page.write("</script>\n")


def _write_json(page: TextIO, name: str, value: object) -> None:
    page.write(f'<script type="application/json" id="{name}">{_script_json(value)}</script>\n')


def _script_json(value: object) -> str:
    """JSON that may be inside a script element, whatever its strings hold."""
    text = json.dumps(value, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _policy(style: str, scripts: str, form: Form) -> str:
    """Nothing is loaded but the page's own audio; nothing runs but the page's own script."""
    # Of a folder's page on the disk, a person may choose the recording: then it is a blob, too.
    media = "'self' blob:" if form is Form.WAV else "blob:"
    return (
        f"default-src 'none'; script-src '{_hash(scripts)}'; style-src '{_hash(style)}'; "
        f"media-src {media}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_file("page.html.j2"))
