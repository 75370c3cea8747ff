"""The page in Chromium: it draws, plays, seeks, mixes, listens to keys, and asks for nothing."""

import base64
import io
import json
import re
import shutil
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, override

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from call_archive_cli.report.page import Cover, write_folder
from tests.report.conftest import (
    MADE_AT,
    RATE_HZ,
    STARTED_MS,
    find,
    fragment_number,
    manifest,
    open_page,
    silence,
    split,
    tone,
    until,
    write_call,
    write_page,
    write_wav,
)

SECONDS = 20
HOSTILE = "<img src=x onerror=alert(1)></script><script>document.title='taken'</script>"
CALLS = 200


def write_first(directory: Path, **changes: Any) -> Path:
    """20 s of both sides: a lost fragment, an overlap; the customer late, the agent early."""
    loud_late = np.concatenate([silence(10), tone(10, 0.3)])
    loud_early = np.concatenate([tone(10, 0.3, 700), silence(10)])
    fragments = manifest((), SECONDS * 1000)["fragments"] | {
        "listed": SECONDS,
        "missing": [fragment_number(STARTED_MS + 5_500)],
        "last": fragment_number(STARTED_MS + 19_000, 27),
    }
    sides = ("AUDIO_FROM_CUSTOMER", "AUDIO_TO_CUSTOMER")
    return write_call(
        directory,
        "a",
        loud_late,
        loud_early,
        **{
            "complete": False,
            "reasons": ["NOT_DELIVERED: KVS leaves it out"],
            "fragments": fragments,
            "gaps": [{"atMs": 5000, "lengthMs": 2000, "track": side} for side in sides],
            "overlaps": [{"atMs": 12_000, "lengthMs": 64, "track": "AUDIO_TO_CUSTOMER"}],
        }
        | changes,
    )


@pytest.fixture(scope="session")
def one_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("one")
    write_first(directory)
    return write_page(directory)


@pytest.fixture(scope="session")
def two_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("two")
    write_first(directory)
    write_call(
        directory,
        "b",
        tone(4, 0.2),
        contactId="8c2b1f0e-6d1f-4c58-9a5e-0d6a4d1f7c21",
        startedAt="2026-01-02T09:00:00Z",
    )
    return write_page(directory)


@pytest.fixture(scope="session")
def many_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("many")
    for place in range(CALLS):
        write_call(
            directory,
            f"{place:03}",
            tone(0.5 + place % 7 / 10, 0.2),
            contactId=f"{place * 7919 % 65_536:08x}-6d1f-4c58-9a5e-0d6a4d1f{place:04x}",
            startedAt=f"2026-01-01T{9 + place // 60:02}:{place % 60:02}:00Z",
            complete=place % 10 != 3,
            reasons=["NOT_DELIVERED: KVS leaves it out"] if place % 10 == 3 else [],
        )
    damaged = directory / "017.wav"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    return write_page(directory)


@pytest.fixture
def one(one_page: Path, browser: BrowserContext) -> Page:
    return open_page(one_page, browser)


@pytest.fixture
def two(two_pages: Path, browser: BrowserContext) -> Page:
    return open_page(two_pages, browser)


@pytest.fixture
def many(many_pages: Path, browser: BrowserContext) -> Page:
    return open_page(many_pages, browser)


class Ranges(SimpleHTTPRequestHandler):
    """A web server that answers range requests, as those outside the standard library do."""

    @override
    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        first = int(wanted[1])
        last = min(int(wanted[2] or len(content)), len(content) - 1)
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(content[first : last + 1])

    @override
    def log_message(self, format: str, *arguments: object) -> None:
        del format, arguments


def now(page: Page) -> float:
    """What the player's clock shows, s."""
    minutes, seconds = page.locator("#now").inner_text().split(":")
    return int(minutes) * 60 + float(seconds)


def ink(page: Page, lane: int) -> list[int]:
    """Painted pixels in each tenth of a lane of the waveform."""
    painted: list[int] = page.evaluate(
        """(lane) => {
          const canvas = document.querySelector("#seek canvas");
          const scale = canvas.height / canvas.clientHeight;
          const [top, height] = [lane * 92 * scale, 84 * scale];
          const copy = document.createElement("canvas");
          Object.assign(copy, { width: canvas.width, height: canvas.height });
          const context = copy.getContext("2d", { willReadFrequently: true });
          context.drawImage(canvas, 0, 0);
          const pixels = context.getImageData(0, top, canvas.width, height).data;
          const tenths = Array(10).fill(0);
          for (let i = 3; i < pixels.length; i += 4)
            if (pixels[i] > 128)
              tenths[Math.floor((10 * (((i - 3) / 4) % canvas.width)) / canvas.width)] += 1;
          return tenths;
        }""",
        lane,
    )
    return painted


def loudness(page: Page) -> tuple[float, float]:
    """The largest sample that goes to the left and to the right ear, in a while of playing."""
    left, right = page.evaluate(
        """async () => {
          const { context, merger } = player.graph;
          const splitter = context.createChannelSplitter(2);
          merger.connect(splitter);
          const meters = [0, 1].map((ear) => {
            const meter = context.createAnalyser();
            splitter.connect(meter, ear);
            return meter;
          });
          // What was on its way before a change is not measured.
          await new Promise((resolve) => setTimeout(resolve, 300));
          const largest = [0, 0];
          const samples = new Float32Array(2048);
          // A busy machine is late with its sound: half a second from the first of it, or three.
          const began = performance.now();
          let heard = null;
          while (performance.now() - (heard ?? began + 2500) < 500) {
            await new Promise(requestAnimationFrame);
            if (heard === null && Math.max(...largest) > 0.01) heard = performance.now();
            meters.forEach((meter, ear) => {
              meter.getFloatTimeDomainData(samples);
              largest[ear] = Math.max(largest[ear], ...samples.map(Math.abs));
            });
          }
          merger.disconnect(splitter);
          return largest;
        }"""
    )
    return left, right


# What is seen


def test_draws_each_side_where_it_is_loud(one: Page) -> None:
    customer, agent = ink(one, 0), ink(one, 1)
    assert min(customer[6:]) > 5 * max(customer[4:5])
    assert min(agent[4:5]) > 5 * max(agent[7:])
    assert customer[8] == pytest.approx(agent[4], rel=0.1)


def test_says_what_is_wrong(one: Page) -> None:
    expect(one.locator("#badge")).to_have_text("incomplete")
    expect(one.locator("main")).to_contain_text("1 place with lost audio, 1 overlap")
    expect(one.locator("main")).to_contain_text("NOT_DELIVERED: KVS leaves it out")
    expect(one.locator("#marks li")).to_have_count(2)
    expect(one.locator("#marks li").first).to_contain_text(
        "was not delivered: 2 s of silence at 0:05.000, both sides"
    )
    expect(one.locator("#statement")).to_contain_text("bytes and sha256 are those of the manifest")


def test_a_damaged_recording_is_not_called_complete(
    tmp_path: Path, browser: BrowserContext
) -> None:
    wav = write_call(tmp_path, "a", tone(10, 0.3), tone(10, 0.3))
    wav.write_bytes(wav.read_bytes()[:100_000])
    page = open_page(write_page(tmp_path), browser)
    expect(page.locator("#badge")).to_have_text("does not match its manifest")
    expect(page.locator("#statement")).to_contain_text(
        "it has 100,000 bytes, its manifest says 320,044"
    )
    assert "no gaps" not in page.locator("main").inner_text()


def test_recording_without_a_manifest(tmp_path: Path, browser: BrowserContext) -> None:
    write_wav(tmp_path / "bare.wav", tone(1, 0.3))
    page = open_page(write_page(tmp_path, note="A case's number"), browser)
    expect(page.locator("#badge")).to_have_text("no manifest")
    expect(page.locator("main")).to_contain_text("nothing says whose it is")
    expect(page.get_by_text("A case's number")).to_be_visible()
    assert "no gaps" not in page.locator("main").inner_text()
    page.keyboard.press("Space")
    until(page, "player.media.currentTime > 0.1")


def test_what_others_wrote_is_only_text(tmp_path: Path, browser: BrowserContext) -> None:
    gaps = [{"atMs": 1, "lengthMs": 20, "track": HOSTILE}]
    for name in ("a", "b"):
        write_call(
            tmp_path,
            name,
            tone(1, 0.3),
            tone(1, 0.3),
            contactId=HOSTILE,
            complete=False,
            reasons=[HOSTILE],
            gaps=gaps,
            tracks=[HOSTILE, HOSTILE],
        )
    page = open_page(write_page(tmp_path, note=HOSTILE), browser)
    assert page.title() != "taken"
    assert page.locator("img").count() == 0
    expect(page.locator("#call-title")).to_contain_text(HOSTILE)
    expect(page.locator("#manifest")).to_contain_text(HOSTILE)
    expect(page.locator("#legend")).to_contain_text(HOSTILE)


def test_zoom_shows_a_word(one: Page) -> None:
    for _ in range(6):
        one.keyboard.press("+")
    assert one.evaluate("wave.spanMs") == 1500
    one.keyboard.press("7")
    assert ink(one, 0)[5] > 5 * ink(one, 1)[5]
    for _ in range(6):
        one.keyboard.press("-")
    assert one.evaluate("wave.isWhole()")


def test_local_time_is_beside_utc(chromium: Browser, one_page: Path) -> None:
    context = chromium.new_context(timezone_id="Asia/Manila", locale="en-US")
    page = open_page(one_page, context)
    expect(page.locator("#started")).to_contain_text("2026-01-01 09:00:00 UTC")
    expect(page.locator("#started")).to_contain_text("17:00:00 GMT+8")
    context.close()


# What is heard


def test_plays_and_pauses(one: Page) -> None:
    play = one.locator("#play")
    expect(play).to_have_accessible_name("Play call of 09:00, 0f0e0d0c")
    play.click()
    until(one, "player.media.currentTime > 0.3")
    expect(play).to_have_accessible_name("Pause call of 09:00, 0f0e0d0c")
    one.keyboard.press("Space")
    until(one, "player.media.paused")
    assert now(one) == pytest.approx(one.evaluate("player.media.currentTime"), abs=0.05)


def test_click_seeks(one: Page) -> None:
    box = one.locator("#seek").bounding_box()
    assert box is not None
    one.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 20)
    assert now(one) == pytest.approx(15, abs=0.1)
    one.locator(".talks").click(position={"x": box["width"] * 0.25, "y": 10})
    assert now(one) == pytest.approx(5, abs=0.1)
    one.get_by_role("button", name="10 seconds on").click()
    assert now(one) == pytest.approx(15, abs=0.1)
    one.locator("#marks button").first.click()
    assert now(one) == 5


def test_sides_are_mixed_swapped_and_muted(one: Page) -> None:
    one.locator("#voices").select_option("swapped")
    one.keyboard.press("6")
    one.locator("#play").click()
    until(one, "player.isPlaying")
    left, right = loudness(one)
    assert right > 0.2
    assert left < 0.001
    one.locator("#voices").select_option("middle")
    left, right = loudness(one)
    assert left == right > 0.1
    one.get_by_role("button", name="Mute the customer").click()
    assert max(loudness(one)) < 0.001
    one.get_by_role("button", name="Mute the customer").click()
    one.locator("#voices").select_option("apart")
    left, right = loudness(one)
    assert left > 0.2
    assert right < 0.001


def test_speed_keeps_the_pitch_and_says_its_value(one: Page) -> None:
    one.get_by_label("Speed").select_option("1.5")
    one.locator("#play").click()
    until(one, "player.isPlaying")
    assert one.evaluate("[player.media.playbackRate, player.media.preservesPitch]") == [1.5, True]
    one.locator("h1").click()
    one.keyboard.press("<")
    expect(one.locator("#message")).to_have_text("Speed 1.25")
    assert one.evaluate("player.media.playbackRate") == 1.25
    one.get_by_label("Volume").fill("30")
    assert one.evaluate("player.media.volume") == 0.3


def test_audio_in_the_page_is_the_recording(one: Page, one_page: Path) -> None:
    with one.expect_download() as wanted:
        one.get_by_role("button", name="Download WAV").click()
    assert wanted.value.suggested_filename == "a.wav"
    downloaded = Path(wanted.value.path()).read_bytes()
    assert downloaded == (one_page.parent / "a.wav").read_bytes()


def test_compressed_page_keeps_the_sides_apart(tmp_path: Path, browser: BrowserContext) -> None:
    """More than ten minutes, in which only the customer makes a sound."""
    minute = np.concatenate([tone(30, 0.5, 440), silence(31)])
    wav = write_call(tmp_path, "long", np.tile(minute, 10), silence(610))
    page_file = write_page(tmp_path)
    page = open_page(page_file, browser)
    expect(page.locator("#audio-note")).to_contain_text("compressed")
    expect(page.locator("#audio-note")).to_contain_text(str(wav))
    expect(page.locator("#audio-note")).to_contain_text(
        json.loads(wav.with_suffix(".json").read_text())["sha256"]
    )
    expect(page.locator("#download")).to_be_hidden()
    page.locator("#voices").select_option("swapped")
    page.keyboard.press("5")
    page.locator("#play").click()
    until(page, "player.isPlaying")
    page.evaluate("player.seek(306000)")
    until(page, "player.media.currentTime > 306.3")
    left, right = loudness(page)
    assert right > 0.3
    assert left < 0.001


def test_compressed_page_plays_what_it_shows(tmp_path: Path, browser: BrowserContext) -> None:
    """Every second has its own pitch, and half of every minute is silent."""
    second = np.arange(RATE_HZ * 620) // RATE_HZ
    phase = np.cumsum(300 + 4 * second) / RATE_HZ
    pitches = np.where(second % 61 < 30, 0.3 * 32767 * np.sin(2 * np.pi * phase), 0)
    write_call(tmp_path, "long", np.round(pitches).astype(np.int16), silence(620))
    page = open_page(write_page(tmp_path), browser)
    page.locator("#voices").select_option("middle")
    page.locator("#play").click()
    for second_s in (310, 10, 306):
        page.evaluate(f"player.seek({second_s * 1000})")
        until(page, f"player.media.currentTime > {second_s + 1} && !player.media.seeking")
        clock_s, pitch_hz = page.evaluate(
            """async () => {
              const { context, merger } = player.graph;
              const meter = context.createAnalyser();
              Object.assign(meter, { fftSize: 16384, smoothingTimeConstant: 0 });
              merger.connect(meter);
              await new Promise((resolve) => setTimeout(resolve, 500));
              const loud = new Float32Array(meter.frequencyBinCount);
              meter.getFloatFrequencyData(loud);
              const now = player.media.currentTime;
              merger.disconnect(meter);
              return [now, (loud.indexOf(Math.max(...loud)) * context.sampleRate) / 16384];
            }"""
        )
        # What is heard is of the last third of a second; the pitch is exact to half a second.
        assert (pitch_hz - 300) / 4 == pytest.approx(clock_s - 0.4, abs=1.2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder form of one call."""
    wav = write_first(tmp_path)
    write_folder(split(find(wav)), Cover(made_at=MADE_AT), tmp_path / "folder")
    (copy,) = (tmp_path / "folder/audio").iterdir()
    assert copy.read_bytes() == wav.read_bytes()
    return tmp_path / "folder"


def plays_and_seeks(page: Page) -> None:
    page.keyboard.press("5")
    page.keyboard.press("Space")
    until(page, "player.media.currentTime > 10.2")
    page.keyboard.press("1")
    until(page, "player.media.currentTime > 2.1 && player.media.currentTime < 9")


def test_folder_plays_from_the_disk(folder: Path, browser: BrowserContext) -> None:
    page = open_page(folder / "index.html", browser)
    plays_and_seeks(page)
    expect(page.locator("#audio-note")).to_contain_text("audio/0001-0f0e0d0c")
    expect(page.locator("#download")).to_be_hidden()


def test_folder_on_the_disk_mixes_the_file_that_is_chosen(
    folder: Path, browser: BrowserContext, tmp_path: Path
) -> None:
    page = open_page(folder / "index.html", browser)
    page.keyboard.press("6")
    expect(page.locator("#voices")).to_be_disabled()
    chosen = page.get_by_label("choose that file")
    chosen.set_input_files(write_wav(tmp_path / "other.wav", tone(1, 0.3)))
    expect(page.locator("#message")).to_contain_text("This is another file")
    expect(page.locator("#voices")).to_be_disabled()
    (recording,) = (folder / "audio").iterdir()
    chosen.set_input_files(recording)
    expect(page.locator("#choice")).to_be_hidden()
    page.locator("#voices").select_option("swapped")
    assert now(page) == 12
    page.locator("#play").click()
    until(page, "player.isPlaying")
    left, right = loudness(page)
    assert right > 0.2
    assert left < 0.001


def test_folder_plays_and_mixes_from_a_web_server(folder: Path, chromium: Browser) -> None:
    handler = partial(Ranges, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        context = chromium.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        page.locator("#voices").select_option("swapped")
        page.locator("h1").click()
        plays_and_seeks(page)
        page.evaluate("player.seek(11000)")
        until(page, "player.media.currentTime > 11.3")
        left, right = loudness(page)
        assert right > 0.2
        assert left < 0.001
        with page.expect_download() as wanted:
            page.get_by_role("button", name="Download WAV").click()
        (copy,) = (folder / "audio").iterdir()
        assert Path(wanted.value.path()).read_bytes() == copy.read_bytes()
        context.close()
        server.shutdown()


# Keys


@pytest.mark.parametrize(
    ("keys", "expected_s"),
    [
        ("5 ArrowRight", 15.0),
        ("5 Shift+ArrowLeft", 9.0),
        ("5 j", 0.0),
        ("2 l", 14.0),
        ("9 ArrowRight", 20.0),
        ("End", 20.0),
        ("9 Home", 0.0),
        ("n n", 12.0),
        ("n n n p", 5.0),
    ],
)
def test_keys_seek(one: Page, keys: str, expected_s: float) -> None:
    for key in keys.split():
        one.keyboard.press(key)
    assert now(one) == pytest.approx(expected_s, abs=0.001)


def test_a_journey_by_keyboard_alone(two: Page) -> None:
    """What has the focus, what is seen and what is played are one call."""
    keyboard = two.keyboard
    until(two, "current.title.startsWith('0f0e')")
    for _ in range(20):
        keyboard.press("Tab")
        if two.evaluate("document.activeElement.textContent.startsWith('8c2b')"):
            break
    keyboard.press("Enter")
    expect(two.locator("#call-title")).to_contain_text("8c2b1f0e-6d1f-4c58")
    expect(two.locator("[aria-current=true]")).to_contain_text("8c2b")
    assert two.evaluate("document.activeElement.id") == "call"
    expect(two.locator("#seek")).to_be_in_viewport()
    keyboard.press("Space")
    until(two, "player.isPlaying && player.call.title.startsWith('8c2b')")
    keyboard.press("Space")
    keyboard.press("5")
    keyboard.press("ArrowRight")
    assert now(two) == 4
    keyboard.press("Shift+P")
    expect(two.locator("#call-title")).to_contain_text("0f0e0d0c")
    assert now(two) == 0
    while two.evaluate("document.activeElement.id") != "seek":
        keyboard.press("Tab")
    keyboard.press("ArrowRight")
    keyboard.press("PageUp")
    keyboard.press("ArrowLeft")
    assert now(two) == 15
    expect(two.locator("#seek")).to_have_attribute("aria-valuetext", "15 seconds of 20 seconds")
    while two.evaluate("document.activeElement.id") != "play":
        keyboard.press("Tab")
    keyboard.press("Enter")
    until(two, "player.isPlaying && player.call.title.startsWith('0f0e')")


def test_a_click_in_the_list_then_space_plays_that_call(two: Page) -> None:
    two.locator(".calls tbody tr").nth(1).click()
    two.keyboard.press("Space")
    until(two, "player.isPlaying && player.call.title.startsWith('8c2b')")
    two.get_by_role("button", name="Play call of 09:00, 0f0e0d0c").click()
    until(two, "player.isPlaying && player.call.title.startsWith('0f0e')")
    expect(two.locator("#call-title")).to_contain_text("0f0e0d0c")
    two.keyboard.press("Space")
    until(two, "!player.isPlaying")


def test_keys_can_be_switched_off(one: Page) -> None:
    one.keyboard.press("?")
    one.get_by_label("Use these keys").uncheck()
    one.locator("h1").click()
    for key in ("5", "n", "Space"):
        one.keyboard.press(key)
    assert now(one) == 0
    assert not one.evaluate("player.isPlaying")
    one.locator("#seek").focus()
    one.keyboard.press("ArrowRight")
    assert now(one) == 5


def test_typing_is_no_shortcut(two: Page) -> None:
    two.keyboard.press("/")
    two.keyboard.type("8c2b 5")
    assert now(two) == 0
    expect(two.locator("#shown")).to_have_text("1 of 2 calls")
    expect(two.locator(".calls tbody tr")).to_have_count(1)


# Links


@pytest.mark.parametrize(
    ("moment", "title", "expected_s"),
    [
        ("#t=8.2", "0f0e0d0c", 8.2),
        ("#call-8c2b1f0e-6d1f-4c58-9a5e-0d6a4d1f7c21&t=1.5", "8c2b1f0e", 1.5),
        ("#call-8c2b1f0e-6d1f-4c58-9a5e-0d6a4d1f7c21", "8c2b1f0e", 0),
        ("#call-nobody&t=x", "0f0e0d0c", 0),
    ],
)
def test_link_to_a_moment(
    two_pages: Path, browser: BrowserContext, moment: str, title: str, expected_s: float
) -> None:
    page = open_page(two_pages, browser, moment)
    expect(page.locator("#call-title")).to_contain_text(title)
    assert now(page) == expected_s


def test_the_page_gives_such_a_link(two: Page) -> None:
    two.keyboard.press("5")
    two.get_by_role("button", name="Link to this moment").click()
    two.wait_for_url(re.compile(r"#call-0f0e0d0c.*&t=10\.0$"))


# Many calls


def test_rows_are_made_when_they_are_scrolled_to(many: Page) -> None:
    rows = many.locator(".calls tbody tr")
    assert rows.count() == 40
    assert many.evaluate("document.documentElement.scrollHeight <= 2 * innerHeight")
    many.locator(".scroll").evaluate("element => { element.scrollTop = element.scrollHeight; }")
    until(many, "document.querySelectorAll('.calls tbody tr').length > 40")
    expect(many.locator(".calls")).to_have_attribute("aria-rowcount", str(CALLS + 1))


def test_list_is_sorted_searched_and_filtered(many: Page) -> None:
    lengths = many.locator(".calls tbody tr td:nth-child(4)")
    heading = many.get_by_role("button", name="Length")
    heading.click()
    assert lengths.first.inner_text() == "0:00.309"
    heading.click()
    assert lengths.first.inner_text() == "0:01.100"
    expect(many.locator("th[aria-sort=descending]")).to_have_text("Length")
    many.get_by_label("Incomplete only").check()
    expect(many.locator("#shown")).to_have_text("21 of 200 calls")
    many.get_by_label("Search").fill("does not match")
    expect(many.locator("#shown")).to_have_text("1 of 200 calls")


def test_a_call_far_down_is_found_by_its_link(many_pages: Path, browser: BrowserContext) -> None:
    page = open_page(many_pages, browser, "#call-0000e391-6d1f-4c58-9a5e-0d6a4d1f00bf")
    expect(page.locator("[aria-current=true]")).to_be_in_viewport()


# For all readers


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page_name", ["one_page", "many_pages"])
def test_axe_finds_nothing(
    request: pytest.FixtureRequest, browser: BrowserContext, page_name: str, scheme: Any
) -> None:
    page = open_page(request.getfixturevalue(page_name), browser)
    page.emulate_media(color_scheme=scheme)
    page.keyboard.press("?")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_no_live_region_speaks_with_every_frame(one: Page) -> None:
    one.evaluate(
        """() => {
          window.spoken = 0;
          const count = () => { window.spoken += 1; };
          const text = { childList: true, characterData: true, subtree: true };
          for (const live of document.querySelectorAll("[role=status], [aria-live], output"))
            new MutationObserver(count).observe(live, text);
          const words = { attributes: true, attributeFilter: ["aria-valuetext"] };
          new MutationObserver(count).observe(document.getElementById("seek"), words);
        }"""
    )
    one.keyboard.press("Space")
    until(one, "player.media.currentTime > 1")
    assert one.evaluate("window.spoken") <= 5


@pytest.mark.parametrize("width", [320, 390])
@pytest.mark.parametrize("page_name", ["one_page", "many_pages"])
def test_phone_has_no_sideways_scroll(
    request: pytest.FixtureRequest, browser: BrowserContext, page_name: str, width: int
) -> None:
    page = open_page(request.getfixturevalue(page_name), browser)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#call-title .short").is_visible()
    assert page.locator(".player").bounding_box()["height"] < 160  # type: ignore[index]


def test_print_has_facts_and_no_controls(one: Page) -> None:
    one.emulate_media(media="print")
    expect(one.locator(".player")).to_be_hidden()
    for seen in ("#legend", "#marks", ".manifest", "#badge", "#seek canvas"):
        expect(one.locator(seen)).to_be_visible()
    for button in one.locator("button").all():
        assert not button.is_visible() or button.evaluate(
            "b => Boolean(b.closest('#marks, thead'))"
        )


def test_print_of_many_has_every_row(many: Page) -> None:
    many.emulate_media(media="print")
    until(many, f"document.querySelectorAll('.calls tbody tr').length === {CALLS}")


def test_themes(one: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = one.evaluate(ground)
    one.emulate_media(color_scheme="dark")
    assert one.evaluate(ground) != light
    one.locator("#theme").click()
    one.locator("#theme").click()
    expect(one.locator("#theme")).to_have_text("Theme: light")
    assert one.evaluate(ground) == light


def test_policy_lets_nothing_in_or_out(chromium: Browser, one_page: Path) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', one_page.read_text())
    assert policy is not None
    assert "unsafe" not in policy[1]
    assert "default-src &#39;none&#39;" in policy[1]
    context = chromium.new_context()
    page = open_page(one_page, context)
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "document.title = 'taken'";
          document.body.append(script, Object.assign(new Image(), { src: "http://127.0.0.1:9/" }));
        }"""
    )
    assert page.title() != "taken"
    assert "refused" in page.evaluate("fetch('http://127.0.0.1:9/').catch(() => 'refused')")
    context.close()


# Bytes


def audio_of(page_file: Path) -> bytes:
    (encoded,) = re.findall(r'id="audio-[^"]+">([^<]+)<', page_file.read_text())
    return base64.b64decode(encoded)


def test_short_page_is_lossless(tmp_path: Path) -> None:
    left, right = tone(2, 0.3), tone(2, 0.4, 600)
    write_call(tmp_path, "one", left, right)
    heard, rate_hz = soundfile.read(io.BytesIO(audio_of(write_page(tmp_path))), dtype="int16")
    assert rate_hz == 8000
    assert np.array_equal(heard, np.column_stack([left, right]))


def test_a_page_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    wav = write_call(tmp_path, "one", tone(1, 0.3))
    recordings = split(find(wav))
    wav.unlink()
    with pytest.raises((OSError, RuntimeError)):
        write_folder(recordings, Cover(made_at=MADE_AT), tmp_path / "folder")
    assert list((tmp_path / "folder").glob("*.html")) == []
    assert list((tmp_path / "folder").glob(".*")) == []
    shutil.rmtree(tmp_path / "folder")
