"""Debian's Chromium without a window, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, sync_playwright

_QUIET: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)


@contextmanager
def open_chromium(*arguments: str) -> Iterator[Browser]:
    """A browser; Playwright's event loop runs in this thread until it is closed.

    Raises:
        FileNotFoundError: there is no chromium on PATH.
    """
    executable = shutil.which("chromium")
    if executable is None:
        raise FileNotFoundError("chromium is not on PATH (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*_QUIET, *arguments])
        yield browser
        browser.close()
