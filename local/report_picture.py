"""`python -m local.report_picture FILE.png`: the picture of a page in README.

The demo's call is fetched from the local AWS twice, once whole and once with a fragment that is
never delivered; `call-archive report` makes a page of both, and Chromium takes the picture.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from local.behaviour import FragmentFault
from local.chromium import open_chromium
from local.clients import REGION
from local.demo_call import CONTACT_ID, INSTANCE_ARN, demo_calls
from local.server import LocalAws

LOST: Final = 5
"""Which of the call's fragments is never delivered."""

WIDTH: Final = 1180
HEIGHT: Final = 900
CURSOR_KEYS: Final = ("n", "ArrowLeft", "Shift+ArrowRight")


def main(arguments: Sequence[str]) -> int:
    """Writes the picture; 2 if there is no Chromium."""
    if len(arguments) != 1 or shutil.which("chromium") is None:
        print("usage: python -m local.report_picture FILE.png (needs chromium)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="call-archive-") as scratch:
        page = _build_page(Path(scratch))
        _take_picture(page, Path(arguments[0]))
    return 0


def _build_page(scratch: Path) -> Path:
    before, call, after = demo_calls()
    with LocalAws() as aws:
        aws.place(before, call, after)
        environment = os.environ | {
            "AWS_ENDPOINT_URL": aws.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
        }
        _call_archive(environment, *_fetch(scratch / "whole"))
        lost = FragmentFault(call.fragments[LOST].number, kind="left_out", times=None)
        aws.behaviour = replace(aws.behaviour, fragment_faults=(lost,))
        _call_archive(environment, *_fetch(scratch / "lost"))
    page = scratch / "calls.html"
    _call_archive(
        environment, "report", str(scratch / "whole"), str(scratch / "lost"), "-o", str(page)
    )
    return page


def _fetch(directory: Path) -> tuple[str, ...]:
    options = ("--instance-arn", INSTANCE_ARN, "--track", "both", "-o", str(directory))
    return ("fetch", CONTACT_ID, *options)


def _call_archive(environment: dict[str, str], *arguments: str) -> None:
    """The command; 1 is a recording that says itself that it is not complete."""
    command = [sys.executable, "-m", "call_archive_cli", *arguments]
    code = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    if code.returncode not in (0, 1):
        raise subprocess.CalledProcessError(code.returncode, command)


def _take_picture(page_file: Path, target: Path) -> None:
    with open_chromium() as browser:
        page = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, timezone_id="Asia/Manila"
        )
        page.goto(page_file.as_uri())
        page.locator(".calls .incomplete").click()
        for key in CURSOR_KEYS:
            page.keyboard.press(key)
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
