"""`call-archive report`: what it writes, what it warns of, how it ends."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from call_archive_cli.app import app
from tests.report.conftest import tone, write_call, write_wav


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)], catch_exceptions=False)


def test_one_bad_file_is_a_warning_and_a_line_of_the_page(tmp_path: Path) -> None:
    write_call(tmp_path / "calls", "good", tone(1, 0.3))
    (tmp_path / "calls/empty.wav").write_bytes(b"")
    cut = write_call(tmp_path / "calls", "cut", tone(1, 0.3))
    cut.write_bytes(cut.read_bytes()[:5000])
    answer = run(tmp_path / "calls", tmp_path / "no.wav", "-o", tmp_path / "page.html")
    assert answer.exit_code == 0
    words = " ".join(answer.stderr.split())
    assert "empty.wav: left out: it is empty (0 bytes)" in words
    assert "cut.wav: it has 5,000 bytes, its manifest says 16,044" in words
    assert "no.wav: there is no such file or directory" in words
    assert "2 recordings" in words
    page = (tmp_path / "page.html").read_text()
    assert "left out: it is empty (0 bytes)" in page
    assert "does not match its manifest" in page


def test_no_recording_is_no_page(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    answer = run(tmp_path / "empty.wav", "-o", tmp_path / "page.html")
    assert answer.exit_code == 1
    assert "there is no recording for a page" in answer.stderr
    assert not (tmp_path / "page.html").exists()


def test_a_directory_is_a_folder_with_the_recordings(tmp_path: Path) -> None:
    wav = write_call(tmp_path, "one", tone(1, 0.3))
    answer = run(wav, "-o", tmp_path / "folder")
    assert answer.exit_code == 0
    (copy,) = (tmp_path / "folder/audio").iterdir()
    assert copy.read_bytes() == wav.read_bytes()
    assert (tmp_path / "folder/index.html").is_file()


@pytest.mark.parametrize("minutes", [10, 11])
def test_more_than_ten_minutes_are_said_to_be_compressed(tmp_path: Path, minutes: int) -> None:
    wav = write_wav(tmp_path / "long.wav", tone(60 * minutes, 0.1))
    answer = run(wav, "-o", tmp_path / "page.html")
    assert ("compressed" in answer.stderr) == (minutes > 10)


def test_what_is_in_the_way_is_not_replaced(tmp_path: Path) -> None:
    wav = write_call(tmp_path, "one", tone(1, 0.3))
    (tmp_path / "page.html").mkdir()
    assert run(wav, "-o", tmp_path / "page.html").exit_code == 2
    assert run(wav, "-o", wav).exit_code == 2
    assert run(wav, "-o", tmp_path).exit_code == 2
    assert run(wav, "-o", "-").exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.json", "one.wav", "page.html"]


def test_a_page_is_replaced_only_if_somebody_says_so(tmp_path: Path) -> None:
    wav, page = write_call(tmp_path, "one", tone(1, 0.3)), tmp_path / "page.html"
    page.write_text("mine")
    answer = run(wav, "-o", page)
    assert answer.exit_code == 2
    assert "already exists: give --overwrite" in " ".join(answer.stderr.split())
    assert page.read_text() == "mine"
    assert run(wav, "-o", page, "--overwrite").exit_code == 0
    assert "<html" in page.read_text()
    assert "no such directory" in run(wav, "-o", tmp_path / "no/page.html").stderr


def test_the_same_folder_again_is_the_new_one(tmp_path: Path) -> None:
    first = write_call(tmp_path, "one", tone(1, 0.3))
    second = write_call(tmp_path, "two", tone(2, 0.3), contactId="another")
    run(first, second, "-o", tmp_path / "folder")
    (tmp_path / "folder/audio/mine.wav").touch()
    assert run(second, "-o", tmp_path / "folder").exit_code == 2
    assert len(list((tmp_path / "folder/audio").iterdir())) == 3
    assert run(second, "-o", tmp_path / "folder", "--overwrite").exit_code == 0
    there = sorted(path.name for path in (tmp_path / "folder/audio").iterdir())
    assert there == ["0001-another.wav", "mine.wav"]
