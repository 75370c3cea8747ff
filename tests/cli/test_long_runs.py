"""What long runs depend on: threads, bounded sorting, ledgers, objects that come and go."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from hypothesis import given
from hypothesis import strategies as st

from call_archive_cli.archive import CallArchive, Entry
from call_archive_cli.exits import CommandError
from call_archive_cli.ledger import Ledger
from call_archive_cli.spill import sort_rows
from call_archive_cli.threads import Pool, ahead
from tests.cli.archive import START, build_manifest, wav
from tests.integration.journey import CONTACT_ID, caller

TAIL = f"year=2026/month=01/day=01/{CONTACT_ID}/{START}"
ENTRY = Entry(TAIL, f"manifests/{TAIL}.json", f"recordings/{TAIL}.wav", "etag")


def test_only_so_much_is_read_ahead() -> None:
    lock, on_the_way, most = threading.Lock(), 0, 0

    def things() -> Iterator[int]:
        nonlocal on_the_way, most
        for thing in range(200):
            with lock:
                on_the_way += 1
                most = max(most, on_the_way)
            yield thing

    with Pool(4) as pool:
        for expected, result in enumerate(ahead(pool, lambda thing: thing * 2, things(), 10)):
            assert result == expected * 2
            with lock:
                on_the_way -= 1
    assert most <= 10


def test_nobody_waits_for_work_that_is_not_wanted_any_more() -> None:
    never = threading.Event()
    with Pool(2) as pool:
        results = ahead(pool, lambda thing: never.wait() if thing else thing, range(8), 4)
        assert next(results) == 0
        results.close()
    assert not never.is_set()


def test_failure_comes_where_its_result_would() -> None:
    with Pool(2) as pool:
        results = ahead(pool, lambda thing: 1 // thing, (1, 0), 4)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3))), st.integers(1, 20))
def test_rows_are_sorted_however_little_is_in_memory(rows: list[Any], run: int) -> None:
    assert list(sort_rows(rows, run)) == sorted(rows)


def lines(path: Path) -> Ledger[int]:
    return Ledger(path, lambda line: int(line["n"]), "this command")


@given(st.integers(0, 3), st.integers(0, 11))
def test_line_that_was_not_finished_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, whole: int, cut: int
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "state"
    path.write_text('{"n": 1}\n' * whole + '{"n": 1}\n'[:cut])
    expected = whole + (cut >= len('{"n": 1}'))
    ledger = lines(path)
    assert list(ledger.read()) == [1] * expected
    ledger.prepare()
    ledger.write([{"n": 2}])
    assert list(ledger.read()) == [1] * expected + [2]


@pytest.mark.parametrize("text", ["buy milk\n", "buy milk", '{"n": 1}\n{"m": 1}\n{"n": 1}', "[]\n"])
def test_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes"
    path.write_text(text)
    with pytest.raises(CommandError, match=r"notes:\d is not a line of this command"):
        list(lines(path).read())
    assert path.read_text() == text


class Bucket:
    """S3, as far as one object is read; `before` is called before each request."""

    def __init__(self, before: Callable[["Bucket", str], None] = lambda bucket, key: None) -> None:
        self.objects = {ENTRY.recording_key: wav(caller())}
        self.put_manifest()
        self.requests: list[str] = []
        self.cut: set[int] = set()
        self.before = before

    def put_manifest(self) -> None:
        body = self.objects[ENTRY.recording_key]
        manifest = build_manifest(CONTACT_ID, ENTRY.recording_key, body)
        self.objects[ENTRY.manifest_key] = json.dumps(manifest).encode()

    def s3(self) -> "Bucket":
        return self

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        self.requests.append(Key)
        self.before(self, Key)
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        body = self.objects[Key]
        whole = len(body) if len(self.requests) not in self.cut else len(body) // 2
        return {"Body": StreamingBody(io.BytesIO(body[:whole]), len(body))}

    def archive(self, while_waiting: Callable[[], None] = lambda: None) -> CallArchive:
        clients: Any = self
        return CallArchive(clients, "bucket", "", sleep=lambda _: while_waiting())


def test_body_that_breaks_off_is_read_again() -> None:
    bucket = Bucket()
    bucket.cut = {1, 3, 4}
    checked = bucket.archive().verify(ENTRY)
    assert (checked.damage, checked.unread) == ("", "")
    assert len(bucket.requests) == 5


def test_body_that_always_breaks_off_is_no_damage() -> None:
    bucket = Bucket()
    bucket.cut = {2, 3, 4}
    checked = bucket.archive().verify(ENTRY)
    assert checked.damage == ""
    assert checked.unread


def test_recording_that_is_replaced_meanwhile_is_not_damaged() -> None:
    def replace(bucket: Bucket, key: str) -> None:
        # Between the manifest and the recording.
        if len(bucket.requests) == 2:
            bucket.objects[ENTRY.recording_key] = wav(caller()[:-320])
            bucket.put_manifest()

    bucket = Bucket(replace)
    assert bucket.archive().verify(ENTRY).damage == ""
    assert len(bucket.requests) == 4


def test_recording_that_is_replaced_before_its_manifest_is_not_damaged() -> None:
    bucket = Bucket()
    bucket.objects[ENTRY.recording_key] = wav(caller()[:-320])
    assert bucket.archive(bucket.put_manifest).verify(ENTRY).damage == ""


def test_recording_that_is_deleted_meanwhile_is_gone() -> None:
    def delete(bucket: Bucket, key: str) -> None:
        bucket.objects.clear()

    assert Bucket(delete).archive().verify(ENTRY).is_gone
    assert list(Bucket(delete).archive().find([ENTRY])) == []


def test_recording_whose_manifest_comes_while_it_is_looked_at_is_sound() -> None:
    bucket = Bucket()
    manifest = bucket.objects.pop(ENTRY.manifest_key)
    archive = bucket.archive(lambda: bucket.objects.update({ENTRY.manifest_key: manifest}))
    assert archive.verify(ENTRY).damage == ""
