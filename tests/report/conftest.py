"""Recordings of known content, and Debian's Chromium to look at their page."""

import hashlib
import json
import os
import shutil
import tempfile
import wave
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from call_archive_cli.clients import Clients
from call_archive_cli.report.page import Cover, write_file
from call_archive_cli.report.sources import Problem, Recording, find_recordings
from local.chromium import open_chromium

REQUIRE = "CALL_ARCHIVE_REQUIRE_CHROMIUM"
CONTACT_ID = "0f0e0d0c-1111-2222-3333-444455556666"
STARTED_AT = "2026-01-01T09:00:00.000Z"
STARTED_MS = 1_767_258_000_000
MADE_AT = datetime(2026, 1, 2, tzinfo=UTC)
RATE_HZ = 8000

type Samples = np.ndarray[Any, np.dtype[np.int16]]


def tone(seconds: float, amplitude: float, hz: float = 440.0) -> Samples:
    """A sine; `amplitude` 1 is full scale."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.round(amplitude * 32767 * np.sin(2 * np.pi * hz * at)).astype(np.int16)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE_HZ), dtype=np.int16)


def write_wav(path: Path, *channels: Samples) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(len(channels))
        recording.setsampwidth(2)
        recording.setframerate(RATE_HZ)
        recording.writeframes(np.column_stack(channels).tobytes())
    return path


def fragment_number(server_ms: int, sequence: int = 7) -> str:
    """A fragment number as public samples show them: sequence, server time, random bits."""
    return str(((2**64 + sequence) << 92) | (server_ms << 28) | 12345)


def manifest(tracks: tuple[str, ...], duration_ms: int, **changes: Any) -> dict[str, Any]:
    """A manifest of version 1, as docs/architecture.md has it."""
    return {
        "version": 1,
        "contactId": CONTACT_ID,
        "initialContactId": CONTACT_ID,
        "instanceArn": "arn:aws:connect:eu-west-2:123456789012:instance/11111111-2222",
        "streamArn": "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/a-connect-b/1",
        "recordingUri": "s3://bucket/recordings/one.wav",
        "tracks": list(tracks),
        "channels": len(tracks),
        "sampleRateHz": RATE_HZ,
        "durationMs": duration_ms,
        "startedAt": STARTED_AT,
        "endedAt": STARTED_AT,
        "bytes": 44,
        "sha256": "0" * 64,
        "complete": True,
        "reasons": [],
        "fragments": {
            "listed": 10,
            "received": 10,
            "accepted": 10,
            "foreign": 0,
            "untagged": 0,
            "missing": [],
            "last": fragment_number(STARTED_MS + duration_ms * 9 // 10, 17),
        },
        "gaps": [],
        "overlaps": [],
        "clockJumps": 0,
        "software": "call-archive 0.1.0",
        "archivedAt": "2026-01-01T09:01:00.000Z",
        "trigger": "flow",
    } | changes


def write_call(directory: Path, name: str, *channels: Samples, **changes: Any) -> Path:
    """A recording and the manifest beside it."""
    tracks = tuple(
        changes.pop("tracks", ("AUDIO_FROM_CUSTOMER", "AUDIO_TO_CUSTOMER")[: len(channels)])
    )
    duration_ms = len(channels[0]) * 1000 // RATE_HZ
    wav = write_wav(directory / f"{name}.wav", *channels)
    content = wav.read_bytes()
    proved = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    described = manifest(tracks, duration_ms, **(proved | changes))
    wav.with_suffix(".json").write_text(json.dumps(described))
    return wav


def find(*names: Path | str, clients: Clients | None = None) -> list[Recording | Problem]:
    """Everything that the names lead to."""
    scratch = Path(tempfile.mkdtemp(prefix="call-archive-test-"))
    try:
        return list(find_recordings(clients or Clients(), map(str, names), scratch))
    finally:
        shutil.rmtree(scratch)


def write_page(directory: Path, **cover: Any) -> Path:
    """The page, in one file, of the recordings in a directory."""
    recordings, made = split(find(directory)), Cover(made_at=MADE_AT, **cover)
    write_file(recordings, made, directory / "page.html")
    return directory / "page.html"


def split(found: list[Recording | Problem]) -> list[Recording]:
    """The recordings of what was found."""
    return [one for one in found if isinstance(one, Recording)]


def problems(found: list[Recording | Problem]) -> dict[str, str]:
    """The problems of what was found: file name and text."""
    return {Path(one.name).name: one.text for one in found if isinstance(one, Problem)}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser a module: Playwright's event loop runs in this thread until it is closed."""
    if shutil.which("chromium") is None:
        if os.environ.get(REQUIRE) == "1":
            pytest.fail("there is no chromium on PATH (Debian: apt install chromium)")
        pytest.skip("there is no chromium on PATH: the page was not looked at")
    with open_chromium() as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[BrowserContext]:
    """Its own window, in the light theme; no page in it may log an error or request anything."""
    context = chromium.new_context(
        viewport={"width": 1180, "height": 900}, color_scheme="light", reduced_motion="reduce"
    )
    complaints: list[str] = []
    requests: list[str] = []
    context.on("weberror", lambda event: complaints.append(str(event.error)))
    context.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    context.on("request", lambda request: requests.append(request.url))
    yield context
    context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "blob:"))] == []


def open_page(page_file: Path, browser: BrowserContext, moment: str = "") -> Page:
    """A page in its own tab."""
    page = browser.new_page()
    page.goto(page_file.as_uri() + moment)
    return page


def until(page: Page, expression: str) -> None:
    """Waits for a fact of the page; Playwright's own waiting would need `unsafe-eval`."""
    for _ in range(400):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    pytest.fail(f"it never came to be: {expression}")
