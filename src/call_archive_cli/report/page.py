"""Measured recordings → one HTML page that needs nothing else: no network, no other file.

The waveform, its cursor, time axis and marks are wavesurfer.js's: the library that most pages
with audio use, kept well for a decade, small enough to carry along, and able to draw peaks that
were measured beforehand, so that nothing is decoded before somebody listens. Audio is in the page
as FLAC: lossless, half of a WAV, played by every browser.
"""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jinja2
import soundfile
from markupsafe import Markup

from call_archive import __version__
from call_archive_cli.report.marks import Mark, build_marks, summary
from call_archive_cli.report.measure import SILENT_DBFS, Channel, Measured, measure
from call_archive_cli.report.sources import Recording
from call_archive_cli.words import clock, manifest_lines, track_name

FLAC_BLOCK: Final = 65_536
MINUS: Final = "\N{MINUS SIGN}"
SCRIPTS: Final = (
    "vendor/wavesurfer.min.js",
    "vendor/regions.min.js",
    "vendor/timeline.min.js",
    "vendor/hover.min.js",
    "page.js",
)
# Vendored scripts and ours are inline; nothing is ever loaded but the audio that the page holds.
POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "media-src blob:; connect-src blob:; img-src data:"
)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a call, for the page."""

    name: str
    channel: Channel
    talk_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSection:
    """One recording, for the page."""

    id: str
    recording: Recording
    title: str
    started_at: str
    measured: Measured
    sides: list[Side]
    both_percent: float
    silence_percent: float
    marks: list[Mark]
    lines: list[tuple[str, str]]
    audio: str

    @property
    def is_complete(self) -> bool | None:
        """None where no manifest says."""
        manifest = self.recording.manifest
        return None if manifest is None else bool(manifest["complete"])

    @property
    def drawing(self) -> dict[str, object]:
        """What the page's script draws."""
        return {
            "id": self.id,
            "durationMs": self.measured.duration_ms,
            "peaks": [side.channel.peaks for side in self.sides],
            "marks": [asdict(mark) for mark in self.marks],
        }


def build_page(recordings: Sequence[Recording], made_at: datetime) -> str:
    """The page.

    Raises:
        ValueError, soundfile.LibsndfileError: a file is no recording.
    """
    sections = [
        build_section(place, recording) for place, recording in enumerate(recordings, start=1)
    ]
    sections.sort(key=lambda section: section.started_at)
    return _template().render(
        sections=sections,
        drawings=_script_json([section.drawing for section in sections]),
        made_at=made_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        total=clock(sum(section.measured.duration_ms for section in sections)),
        version=__version__,
        policy=POLICY,
        style=_own_file("page.css"),
        scripts=[_own_file(name) for name in SCRIPTS],
    )


def build_section(place: int, recording: Recording) -> CallSection:
    """One recording's part of the page."""
    measured = measure(recording.wav)
    manifest = recording.manifest
    names = _side_names(manifest, len(measured.channels))
    return CallSection(
        id=f"call-{place}",
        recording=recording,
        title=manifest["contactId"] if manifest else Path(recording.name).stem,
        started_at=manifest["startedAt"] if manifest else "",
        measured=measured,
        sides=[
            Side(name, channel, _percent(channel.talk_ms, measured.duration_ms))
            for name, channel in zip(names, measured.channels, strict=True)
        ],
        both_percent=_percent(measured.both_ms, measured.duration_ms),
        silence_percent=_percent(measured.silence_ms, measured.duration_ms),
        marks=build_marks(manifest) if manifest else [],
        lines=list(manifest_lines(manifest)) if manifest else [],
        audio=base64.b64encode(_flac(recording.wav)).decode(),
    )


def _side_names(manifest: Any, channels: int) -> list[str]:  # noqa: ANN401 - JSON
    if manifest and len(manifest["tracks"]) == channels:
        return [track_name(direction) for direction in manifest["tracks"]]
    return [f"channel {number}" for number in range(1, channels + 1)]


def _flac(wav: Path) -> bytes:
    flac = io.BytesIO()
    with (
        soundfile.SoundFile(wav) as source,
        soundfile.SoundFile(
            flac, "w", source.samplerate, source.channels, "PCM_16", format="FLAC"
        ) as target,
    ):
        for block in source.blocks(FLAC_BLOCK, dtype="int16"):
            target.write(block)
    return flac.getvalue()


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0


def _script_json(value: object) -> Markup:
    """JSON that may stand inside a script element, whatever its strings hold."""
    text = json.dumps(value, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def _own_file(name: str) -> Markup:
    return Markup(_file(name))  # noqa: S704 - ours, and not made of anything that came in


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["clock"] = clock
    environment.filters["dbfs"] = _dbfs
    environment.filters["summary"] = summary
    environment.globals["talk_path"] = talk_path
    return environment.from_string(_file("page.html.j2"))


def _dbfs(level: float) -> str:
    return "none" if level <= SILENT_DBFS else f"{level:.1f} dBFS".replace("-", MINUS)


def talk_path(channel: Channel, duration_ms: int) -> str:
    """An SVG path that fills the talk spurts of a lane 1000 wide and 1 high."""
    return "".join(_talk_boxes(channel, max(1, duration_ms)))


def _talk_boxes(channel: Channel, duration_ms: int) -> Iterator[str]:
    for talk in channel.talks:
        start, end = (1000 * ms / duration_ms for ms in (talk.start_ms, talk.end_ms))
        yield f"M{start:.2f} 0H{end:.2f}V1H{start:.2f}Z"
