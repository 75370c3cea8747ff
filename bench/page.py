"""What a page of recordings costs to make, to open and to hear.

The hour is two voices in turn, the caller's over the noise of a line. Making is measured by
processes, as in every other section; opening, sorting and the first sound by the page's own clock
in Chromium.
"""

import re
import shutil
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final, override

import numpy as np
from playwright.sync_api import Browser, Page

from bench.measure import MIB, WORK, Case, Launcher, cpu, peak, python, run_rounds, spread, wall
from bench.report import Section, Table, Verdict, at_most
from local.chromium import open_chromium
from local.demo_call import VOICES

RATE_HZ: Final = 8000
CALLS: Final = 200
HOUR_S: Final = 3600
NOISE_DBFS: Final = -70
MB: Final = 1_000_000
PIECE_S: Final = 60

FILE, FOLDER, LONG, MANY = "1 hour, one file", "1 hour, folder", "3 hours, folder", "200 calls"

_TEXT: Final = """\
`call-archive report`, and its page in headless Chromium {version}. The hour is stereo: the demo's \
two voices in turn, the caller's over noise of {noise} dBFS; the 200 calls are of 8 to 40 s. \
Opening is from the start of the navigation until the second frame after the load event, sorting \
from the click until the second frame after it, the first sound from the key until the player's \
clock runs. {rounds} rounds."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a browser measured of one page, s; each once a round."""

    opened: Sequence[float]
    answered: Sequence[float]
    screens: float


def measure_page(launcher: Launcher, rounds: int) -> Section:
    """Makes the pages, then opens them."""
    directory = WORK / "page"
    cases = _build_cases(directory)
    made = run_rounds(launcher, cases, rounds)
    with open_chromium("--mute-audio") as browser, _serve(directory) as address:
        version = browser.version
        look = partial(_look, browser, rounds=rounds)
        hour = look(f"{address}/hour.html", _first_sound)
        disk = look((directory / "hour/index.html").as_uri(), _first_sound)
        server = look(f"{address}/hour/index.html", _first_sound)
        many = look((directory / "many.html").as_uri(), _sort)
    file_mb = (directory / "hour.html").stat().st_size / MB
    rows = [
        (
            case.name,
            made.spread(case.name, wall).show(),
            made.spread(case.name, cpu).show(),
            made.spread(case.name, peak).show(0, MIB),
        )
        for case in cases
    ]
    seen = {
        FILE: hour,
        f"{FOLDER}, from the disk": disk,
        f"{FOLDER}, from a server": server,
        MANY: many,
    }
    section = Section(
        title="The page",
        text=_TEXT.format(version=version, noise=NOISE_DBFS, rounds=rounds),
        tables=[
            Table(("made", "wall s", "CPU s", "peak MiB"), rows),
            Table(("opened", "opens in s", "first sound, or sorted, s"), list(_seen_rows(seen))),
        ],
        verdicts=[
            at_most("1 hour in one file ≤ 18 MB", [("MB", file_mb)], 18),
            at_most("1 hour in one file ≤ 15 s of CPU", [("s", made.spread(FILE, cpu).median)], 15),
            at_most(
                "≤ 150 MiB of memory, whatever the length",
                [(case.name, made.spread(case.name, peak).median / MIB) for case in cases],
                150,
            ),
            _first_sounds(hour, disk, server),
            at_most("200 calls open in ≤ 1 s", [("s", spread(many.opened).median)], 1),
            at_most("200 calls sort in ≤ 0.2 s", [("s", spread(many.answered).median)], 0.2),
            at_most("200 calls are ≤ 2 screens high", [("screens", many.screens)], 2),
        ],
    )
    shutil.rmtree(directory, ignore_errors=True)
    return section


def _first_sounds(hour: _Seen, disk: _Seen, server: _Seen) -> Verdict:
    named = (("one file", hour), ("folder, disk", disk), ("folder, server", server))
    figures = [(name, spread(seen.answered).median) for name, seen in named]
    return at_most("first sound ≤ 1 s after Space", figures, 1)


def _seen_rows(seen: Mapping[str, _Seen]) -> Iterator[tuple[str, str, str]]:
    for name, one in seen.items():
        yield name, spread(one.opened).show(), spread(one.answered).show()


def _build_cases(directory: Path) -> list[Case]:
    """The recordings, and the commands that make pages of them."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "calls").mkdir(parents=True)
    _write_call(directory / "hour.wav", HOUR_S)
    _write_call(directory / "long.wav", 3 * HOUR_S)
    for place in range(CALLS):
        _write_call(directory / "calls" / f"{place:03}.wav", 8 + place * 13 % 33)
    report = partial(python, "-m", "call_archive_cli", "report", "--overwrite")

    def case(name: str, source: str, output: str) -> Case:
        command = report(str(directory / source), "-o", str(directory / output))
        return Case(name=name, command=command)

    return [
        case(FILE, "hour.wav", "hour.html"),
        case(FOLDER, "hour.wav", "hour"),
        case(LONG, "long.wav", "long"),
        case(MANY, "calls", "many.html"),
    ]


def _write_call(path: Path, seconds: int) -> None:
    """Two voices in turn; a caller's line has noise, an agent's has none, as in a real call."""
    random = np.random.default_rng(seconds)
    voices = [_voice(name) for name in ("caller", "agent")]
    with wave.open(str(path), "wb") as recording:
        recording.setparams((2, 2, RATE_HZ, 0, "NONE", ""))
        for start_s in range(0, seconds, PIECE_S):
            samples = RATE_HZ * min(PIECE_S, seconds - start_s)
            at = start_s * RATE_HZ + np.arange(samples)
            noise = random.normal(0, 32768 * 10 ** (NOISE_DBFS / 20), (samples, 2)) * (1, 0)
            spoken = np.column_stack([voice[at % len(voice)] for voice in voices])
            recording.writeframes(
                np.clip(np.round(spoken + noise), -32768, 32767).astype("<i2").tobytes()
            )


def _voice(name: str) -> np.ndarray[Any, np.dtype[np.int16]]:
    with wave.open(str(VOICES / f"{name}.wav")) as recording:
        return np.frombuffer(recording.readframes(recording.getnframes()), dtype="<i2")


def _look(browser: Browser, address: str, answer: Callable[[Page], float], *, rounds: int) -> _Seen:
    """Opens a page as often as there are rounds, each time in a window without a cache."""
    opened, answered, screens = [], [], 0.0
    for _ in range(rounds + 1):
        context = browser.new_context(viewport={"width": 1180, "height": 900})
        page = context.new_page()
        page.goto(address, timeout=0)
        opened.append(page.evaluate(_AFTER_TWO_FRAMES) / 1000)
        screens = page.evaluate("document.documentElement.scrollHeight / innerHeight")
        answered.append(answer(page))
        context.close()
    return _Seen(opened[1:], answered[1:], screens)


_AFTER_TWO_FRAMES: Final = """() => new Promise((resolve) =>
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now()))))"""


def _first_sound(page: Page) -> float:
    """From the key until the clock of the player runs, s."""
    page.evaluate(
        """() => {
          window.firstSound = new Promise((resolve) => {
            addEventListener("keydown", (event) => {
              const look = () => {
                if (player.media.currentTime > 0) resolve(performance.now() - event.timeStamp);
                else setTimeout(look, 1);
              };
              look();
            }, { once: true, capture: true });
          });
        }"""
    )
    page.keyboard.press("Space")
    return float(page.evaluate("window.firstSound")) / 1000


def _sort(page: Page) -> float:
    """From the click on a heading until the rows are seen in their new order, s."""
    page.evaluate(
        """() => {
          window.sorted = new Promise((resolve) => {
            addEventListener("click", (event) => {
              requestAnimationFrame(() => requestAnimationFrame(
                () => resolve(performance.now() - event.timeStamp)));
            }, { once: true, capture: true });
          });
        }"""
    )
    page.get_by_role("button", name="Length").click()
    return float(page.evaluate("window.sorted")) / 1000


@contextmanager
def _serve(directory: Path) -> Iterator[str]:
    """A web server that answers range requests; its address."""
    handler = partial(_Ranges, directory=directory)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Ranges(SimpleHTTPRequestHandler):
    @override
    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        length = path.stat().st_size
        first, last = int(wanted[1]), min(int(wanted[2] or length), length - 1)
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {first}-{last}/{length}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        with path.open("rb") as content:
            content.seek(first)
            left = last - first + 1
            try:
                while left and (piece := content.read(min(left, MIB))):
                    self.wfile.write(piece)
                    left -= len(piece)
            except (BrokenPipeError, ConnectionResetError):
                return

    @override
    def log_message(self, format: str, *arguments: object) -> None:
        del format, arguments
