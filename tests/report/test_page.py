"""The page in Chromium: it draws, plays, seeks, listens to keys, sorts, and asks for nothing."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from call_archive_cli.clients import Clients
from call_archive_cli.report.page import build_page
from call_archive_cli.report.sources import open_recordings
from tests.report.conftest import (
    STARTED_MS,
    fragment_number,
    manifest,
    silence,
    tone,
    write_call,
    write_wav,
)

MADE_AT = datetime(2026, 1, 2, tzinfo=UTC)
SECONDS = 20


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Two calls: one of both sides with a gap, an overlap and a missing fragment, one whole."""
    loud_late = np.concatenate([silence(10), tone(10, 0.3)])
    loud_early = np.concatenate([tone(10, 0.3, 700), silence(10)])
    fragments = manifest((), SECONDS * 1000)["fragments"] | {
        "missing": [fragment_number(STARTED_MS + 15_000)]
    }
    write_call(
        tmp_path,
        "a",
        loud_late,
        loud_early,
        complete=False,
        reasons=["NOT_DELIVERED: KVS leaves it out"],
        fragments=fragments,
        gaps=[{"atMs": 5000, "lengthMs": 2000, "track": "AUDIO_FROM_CUSTOMER"}],
        overlaps=[{"atMs": 12_000, "lengthMs": 64, "track": "AUDIO_TO_CUSTOMER"}],
    )
    write_call(
        tmp_path, "b", tone(4, 0.2), contactId="short-call", startedAt="2026-01-02T00:00:00Z"
    )
    return tmp_path


@pytest.fixture
def opened(calls: Path, browser: BrowserContext) -> Page:
    return open_page(calls, browser)


def open_page(calls: Path, browser: BrowserContext) -> Page:
    """The page of the recordings in a directory."""
    with open_recordings(Clients(), [str(calls)]) as recordings:
        (calls / "page.html").write_text(build_page(recordings, MADE_AT), encoding="utf-8")
    page = browser.new_page()
    page.goto((calls / "page.html").as_uri())
    until(page, "calls.every((call) => call.wave.getDuration() > 0)")
    return page


def until(page: Page, expression: str) -> None:
    """Waits for a fact of the page; its own waiting would need `unsafe-eval`."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"it never came to be: {expression}")


def now(page: Page, call: int = 0) -> float:
    """What the player's clock shows, s."""
    minutes, seconds = page.locator(".now").nth(call).inner_text().split(":")
    return int(minutes) * 60 + float(seconds)


def ink(page: Page, call: int, lane: int) -> list[int]:
    """Painted pixels in each tenth of a lane of the waveform."""
    painted: list[int] = page.evaluate(
        """([call, lane]) => {
          const shadow = calls[call].wave.getWrapper().getRootNode();
          const canvas = shadow.querySelectorAll(".canvases canvas")[lane];
          const { width, height } = canvas;
          const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
          const tenths = Array(10).fill(0);
          for (let i = 3; i < pixels.length; i += 4)
            if (pixels[i] > 64) tenths[Math.floor((10 * (((i - 3) / 4) % width)) / width)] += 1;
          return tenths;
        }""",
        [call, lane],
    )
    return painted


def test_draws_each_side_where_it_is_loud(opened: Page) -> None:
    customer, agent = ink(opened, 0, 0), ink(opened, 0, 1)
    assert min(customer[6:]) > 5 * max(customer[:4])
    assert min(agent[:4]) > 5 * max(agent[6:])
    assert customer[7] == pytest.approx(agent[2], rel=0.1)


def test_says_what_is_wrong(opened: Page) -> None:
    first = opened.locator("article").nth(0)
    expect(first.locator(".badge")).to_have_text("incomplete")
    expect(first).to_contain_text("1 gap, 1 overlap, 1 missing fragment")
    expect(first).to_contain_text("NOT_DELIVERED: KVS leaves it out")
    expect(opened.locator("article").nth(1).locator(".badge")).to_have_text("complete")


def test_marks_lie_where_they_are(opened: Page) -> None:
    regions: list[dict[str, Any]] = opened.evaluate(
        """() => {
          const wave = calls[0].wave.getWrapper().getBoundingClientRect();
          return calls[0].regions.getRegions().map((region) => {
            const box = region.element.getBoundingClientRect();
            return { at: (box.left - wave.left) / wave.width, width: box.width / wave.width };
          });
        }"""
    )
    places = sorted(round(region["at"] * SECONDS, 1) for region in regions)
    assert places == pytest.approx([5, 12, 15], abs=0.1)
    gap = min(regions, key=lambda region: float(region["at"]))
    assert gap["width"] * SECONDS == pytest.approx(2, abs=0.1)


def test_plays_and_pauses(opened: Page) -> None:
    opened.locator(".play").first.click()
    until(opened, "calls[0].media.currentTime > 0.3")
    assert opened.evaluate("!calls[0].media.paused")
    expect(opened.locator(".play").first).to_have_accessible_name("Pause")
    opened.keyboard.press("Space")
    until(opened, "calls[0].media.paused")
    left = opened.locator(".here").first.evaluate("element => parseFloat(element.style.left)")
    assert left == pytest.approx(100 * now(opened) / SECONDS, abs=1)
    assert now(opened) > 0.2


def test_one_call_plays_at_a_time(opened: Page) -> None:
    opened.locator(".play").nth(0).click()
    until(opened, "!calls[0].media.paused")
    opened.locator(".play").nth(1).click()
    until(opened, "calls[0].media.paused && !calls[1].media.paused")


def test_click_seeks(opened: Page) -> None:
    box = opened.locator(".wave").first.bounding_box()
    assert box is not None
    opened.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 20)
    until(opened, "calls[0].media.currentTime > 1")
    assert now(opened) == pytest.approx(15, abs=0.1)
    opened.locator(".talks").first.click(position={"x": box["width"] * 0.25, "y": 5})
    until(opened, "calls[0].media.currentTime < 10")
    assert now(opened) == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize(
    ("keys", "expected_s"),
    [
        ("5", 10.0),
        ("5 ArrowRight", 15.0),
        ("5 Shift+ArrowLeft", 9.0),
        ("9 ArrowRight", 20.0),
        ("1 ArrowLeft", 0.0),
        ("End", 20.0),
        ("9 Home", 0.0),
        ("n", 5.0),
        ("n n", 12.0),
        ("n n n p", 12.0),
    ],
)
def test_keys_seek(opened: Page, keys: str, expected_s: float) -> None:
    for key in keys.split():
        opened.keyboard.press(key)
        opened.wait_for_timeout(150)
    assert now(opened) == pytest.approx(expected_s, abs=0.05)


def test_keys_choose_a_call(opened: Page) -> None:
    opened.keyboard.press("j")
    expect(opened.locator("article.current h2")).to_have_text("short-call")
    opened.keyboard.press("5")
    opened.wait_for_timeout(200)
    assert now(opened, 1) == pytest.approx(2, abs=0.05)
    opened.keyboard.press("k")
    expect(opened.locator("article.current h2")).not_to_have_text("short-call")


def test_help_speed_and_zoom(opened: Page) -> None:
    expect(opened.locator("#key-help")).to_be_hidden()
    opened.keyboard.press("?")
    expect(opened.locator("#key-help")).to_be_visible()
    opened.keyboard.press("s")
    expect(opened.locator(".speed").first).to_have_text("1.5\N{MULTIPLICATION SIGN}")
    wide = "calls[0].wave.getWrapper().scrollWidth"
    before = opened.evaluate(wide)
    opened.keyboard.press("+")
    until(opened, f"{wide} > {before} * 1.5")
    opened.keyboard.press("-")
    until(opened, f"{wide} <= {before} + 2")


def test_list_is_sorted_by_its_headings(opened: Page) -> None:
    heading = opened.get_by_role("button", name="Length")
    heading.click()
    assert opened.locator(".calls tbody tr td:nth-child(3)").all_inner_texts() == [
        "0:04.000",
        "0:20.000",
    ]
    assert opened.locator("article h2").first.inner_text() == "short-call"
    heading.click()
    assert opened.locator(".calls tbody tr td:nth-child(3)").first.inner_text() == "0:20.000"


def test_themes(opened: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = opened.evaluate(ground)
    opened.emulate_media(color_scheme="dark")
    dark = opened.evaluate(ground)
    assert light != dark
    opened.locator("#theme").click()
    opened.locator("#theme").click()
    expect(opened.locator("#theme")).to_have_text("Theme: light")
    assert opened.evaluate(ground) == light


def test_what_a_manifest_says_is_only_text(tmp_path: Path, browser: BrowserContext) -> None:
    trap = "<img src=x onerror=alert(1)></script><script>document.title='taken'</script>"
    write_call(
        tmp_path,
        "a",
        tone(1, 0.3),
        contactId=trap,
        complete=False,
        reasons=[trap],
        gaps=[{"atMs": 1, "lengthMs": 20, "track": trap}],
    )
    page = open_page(tmp_path, browser)
    assert page.title() != "taken"
    assert page.locator("article img").count() == 0
    expect(page.locator("h2")).to_have_text(trap)


def test_recording_without_a_manifest(tmp_path: Path, browser: BrowserContext) -> None:
    write_wav(tmp_path / "bare.wav", tone(1, 0.3))
    page = open_page(tmp_path, browser)
    expect(page.locator("article")).to_contain_text("no manifest")
    page.keyboard.press("Space")
    until(page, "calls[0].media.currentTime > 0.1")


def test_phone_has_no_sideways_scroll(opened: Page) -> None:
    opened.set_viewport_size({"width": 390, "height": 800})
    opened.wait_for_timeout(300)
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
