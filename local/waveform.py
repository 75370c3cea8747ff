"""WAV → a picture of its waveform, one row a channel, with its gaps marked."""

import wave
from array import array
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from call_archive.moments import format_utc
from call_archive.recording.manifest import Manifest

_POINTS = 2000
_NAMES = {"AUDIO_FROM_CUSTOMER": "from customer", "AUDIO_TO_CUSTOMER": "to customer"}


def draw_waveform(recording: Path, manifest: Manifest, picture: Path) -> None:
    """Draws a recording's channels over its time axis into a PNG."""
    mpl.use("Agg")
    with wave.open(str(recording)) as wav:
        channels, rate_hz = wav.getnchannels(), wav.getframerate()
        samples = array("h", wav.readframes(wav.getnframes()))
    figure = Figure(figsize=(11, 1 + 2 * channels), layout="constrained")
    rows = figure.subplots(channels, 1, sharex=True, squeeze=False)[:, 0]
    for channel, (axes, track) in enumerate(zip(rows, manifest.tracks, strict=True)):
        lows, highs, times_s = _envelope(samples[channel::channels], rate_hz)
        axes.fill_between(times_s, lows, highs, step="mid", linewidth=0.3, color=f"C{channel}")
        for gap in manifest.gaps:
            if gap.track == track:
                end_ms = gap.at_ms + gap.length_ms
                axes.axvspan(gap.at_ms / 1000, end_ms / 1000, color="C3", alpha=0.3)
        axes.set(ylabel=_NAMES[track], ylim=(-32768, 32767), yticks=[0])
        axes.margins(x=0)
    rows[-1].set_xlabel("seconds")
    figure.suptitle(f"{manifest.contact_id}  ·  {format_utc(manifest.started_at_ms)}", fontsize=10)
    figure.savefig(picture, dpi=120)


def _envelope(samples: "array[int]", rate_hz: int) -> tuple[list[int], list[int], list[float]]:
    """The lowest and the highest sample of each of up to 2000 stretches, and their times."""
    step = max(1, len(samples) // _POINTS)
    starts = range(0, len(samples), step)
    stretches = [samples[start : start + step] for start in starts]
    return (
        [min(stretch) for stretch in stretches],
        [max(stretch) for stretch in stretches],
        [start / rate_hz for start in starts],
    )
