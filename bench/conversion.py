"""Body → the customer's audio in a file, with our stages and with other readers of Matroska."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from shutil import which
from typing import Final

from bench.bodies import BodySpec, make_body
from bench.measure import MIB, WORK, Case, Launcher, Rounds, cpu, peak, python, run_rounds, wall
from bench.report import Section, Table, Verdict, at_least, at_most
from bench.verify import WAV_HEADER_BYTES, verify_copy, verify_mono, verify_stereo

MONO: Final = "Call Archive, mono"
STEREO: Final = "Call Archive, stereo"
CAT: Final = "cat"
FFMPEG: Final = "ffmpeg -c copy"
FFMPEG_STEREO: Final = "ffmpeg, both tracks joined"
PYAV: Final = "PyAV demux"
EBMLITE: Final = "ebmlite walk"
KVSPARSER: Final = "kvsparser"

_BARE_HEADER: Final = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact")
"""A WAV header of 44 bytes, without a list of names."""

RIVALS_PYTHON: Final = WORK / "venv" / "bin" / "python"

_TEXT = """\
A media body of {minutes} minutes ({megabytes:.0f} MB: two tracks, fragments of 1,024 ms, blocks \
of 1,024 bytes) in a file, page cache warm, to the customer's audio in another file; whole \
processes, interpreter start included. `Call Archive` is `python -m bench.convert`: the deployed \
stages (framing, tags, selection by contact, timeline, WAV) between two files, without network, \
hash and upload. `cat` copies the body and understands nothing; its peak is the launcher's.

FFmpeg and PyAV cannot open what Connect sends: CodecID `A_AAC` without an Audio element ends in \
“sample rate not set”. They get the same call with TrackEntries that say what the payload is \
(`A_PCM/INT/LIT`, 8,000 Hz, 1 channel, 16 bit). Neither they nor the other two look at whose audio \
it is, or at timestamps.

Ratios are to `{copy}` of the same round, which copies one track. Stereo is compared with ffmpeg \
doing the same work: both tracks into one stereo WAV (`-filter_complex amerge`, which takes less \
time than `join`)."""


def build_convert_command(body: Path, output: Path, tracks: str = "customer") -> tuple[str, ...]:
    """Our stages as a process."""
    return python("-m", "bench.convert", str(body), str(output), "--tracks", tracks)


def check_tools() -> None:
    """Looks for what the conversion is compared with.

    Raises:
        FileNotFoundError: it is not there.
    """
    _find("ffmpeg")
    if not RIVALS_PYTHON.exists():
        raise FileNotFoundError(f"{RIVALS_PYTHON} is missing: `make bench` makes it")


def measure_conversion(
    launcher: Launcher, rounds: int, *, seconds: int, without: frozenset[str] = frozenset()
) -> Section:
    """Measures all tools but those in `without`, and checks what each wrote."""
    spec = BodySpec(seconds=seconds)
    cases = [case for case in _build_cases(spec) if case.name not in without]
    measured = run_rounds(launcher, cases, rounds)
    outputs = {case.name: case.output for case in cases if case.output is not None}
    verdicts = {name: _verifier(name, spec)(output) for name, output in outputs.items()}
    for output in outputs.values():
        output.unlink()
    size_bytes = spec.path.stat().st_size
    return Section(
        title="Body to customer WAV",
        text=_TEXT.format(minutes=seconds // 60, megabytes=size_bytes / 1e6, copy=FFMPEG),
        tables=[_tabulate(measured, verdicts)],
        verdicts=_judge(measured),
    )


def _build_cases(spec: BodySpec) -> Sequence[Case]:
    connect = make_body(spec)
    honest = make_body(BodySpec(seconds=spec.seconds, honest_tracks=True))

    def output(name: str) -> Path:
        path = WORK / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def rival(name: str, module: str, body: Path, out: Path) -> Case:
        command = (str(RIVALS_PYTHON), "-m", f"bench.rivals.{module}", str(body), str(out))
        return Case(name=name, command=command, output=out)

    mono, stereo, copy = map(output, ("mono.wav", "stereo.wav", "copy.mkv"))
    pcm, joined = output("ffmpeg.pcm"), output("ffmpeg.wav")
    ffmpeg = (_find("ffmpeg"), "-v", "quiet", "-i", str(honest))
    one_track = ("-map", "0:a:0", "-c", "copy", "-f", "s16le")
    both_tracks = ("-filter_complex", "[0:a:0][0:a:1]amerge", "-c:a", "pcm_s16le", *_BARE_HEADER)
    return (
        Case(name=MONO, command=build_convert_command(connect, mono), output=mono),
        Case(name=STEREO, command=build_convert_command(connect, stereo, "both"), output=stereo),
        Case(name=CAT, command=_shell(f"exec cat '{connect}' > '{copy}'"), output=copy),
        Case(name=FFMPEG, command=(*ffmpeg, *one_track, str(pcm)), output=pcm),
        Case(name=FFMPEG_STEREO, command=(*ffmpeg, *both_tracks, str(joined)), output=joined),
        rival(PYAV, "pyav_demux", honest, output("pyav.pcm")),
        rival(EBMLITE, "ebmlite_walk", connect, output("ebmlite.pcm")),
        rival(KVSPARSER, "kvsparser_walk", connect, output("kvsparser.pcm")),
    )


def _shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def _find(tool: str) -> str:
    """The path of a tool: posix_spawn does not look for it."""
    path = which(tool)
    if path is None:
        raise FileNotFoundError(f"{tool} is not on PATH")
    return path


def _verifier(name: str, spec: BodySpec) -> Callable[[Path], str]:
    if name in (STEREO, FFMPEG_STEREO):
        return partial(verify_stereo, seconds=spec.seconds)
    if name == CAT:
        return partial(verify_copy, original=spec.path)
    header_bytes = WAV_HEADER_BYTES if name == MONO else 0
    return partial(verify_mono, seconds=spec.seconds, header_bytes=header_bytes)


def _tabulate(measured: Rounds, verdicts: Mapping[str, str]) -> Table:
    columns = ("process", "wall s", "CPU s", "peak MiB", "wall ×", "CPU ×", "output")
    rows = [
        (
            name,
            measured.spread(name, wall).show(),
            measured.spread(name, cpu).show(),
            measured.spread(name, peak).show(0, MIB),
            measured.ratio(name, FFMPEG, wall).show(),
            measured.ratio(name, FFMPEG, cpu).show(),
            verdicts[name],
        )
        for name in measured.samples
    ]
    return Table(columns, rows)


def _judge(measured: Rounds) -> Sequence[Verdict]:
    def ratios(name: str, reference: str) -> list[tuple[str, float]]:
        return [
            ("wall", measured.ratio(name, reference, wall).median),
            ("CPU", measured.ratio(name, reference, cpu).median),
        ]

    verdicts = [
        at_most(f"mono ≤ 1.0 × {FFMPEG}", ratios(MONO, FFMPEG), 1.0),
        at_most(f"stereo ≤ 1.0 × {FFMPEG_STEREO}", ratios(STEREO, FFMPEG_STEREO), 1.0),
    ]
    for name, times in ((EBMLITE, 5), (KVSPARSER, 25), (PYAV, 1.8)):
        if name in measured.samples:
            target = f"mono ≥ {times} × as fast as {name}"
            verdicts.append(at_least(target, ratios(name, MONO), times))
    return verdicts
