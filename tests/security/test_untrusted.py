"""For any input: no key leaves the prefix, and no other instance or stream is served.

And nothing that is read back from S3 is believed, or read, without bounds.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from call_archive.aws.s3_archive import S3Archive
from call_archive.errors import ArchiveError, RequestError, StorageFaultError
from call_archive.fields import check_instance
from call_archive.intake.flow_event import Streaming, build_job, decode_flow_event
from call_archive.intake.message import read_request
from call_archive.job import ArchiveJob
from call_archive.keys import manifest_key, recording_key
from call_archive.limits import MAX_MANIFEST_BYTES
from call_archive.recording.manifest import decode_manifest
from tests.support.manifests import older_manifest

NOW_MS = 1_767_258_000_000
ACCOUNT = "123456789012"
INSTANCE = f"arn:aws:connect:eu-west-2:{ACCOUNT}:instance/5f3b1c9e"
STREAM = f"arn:aws:kinesisvideo:eu-west-2:{ACCOUNT}:stream/x-connect-y/1640168106910"
# A key that a listing, a shell, a URL and Athena read as it is.
KEY = re.compile(
    r"(recordings|manifests)/year=\d{4}/month=\d\d/day=\d\d/[A-Za-z0-9][A-Za-z0-9_-]*/\d+\.(wav|json)"
)

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def mostly[T](usual: st.SearchStrategy[T], odd: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """The odd one time out of eight, so that whole messages pass."""
    return st.integers(0, 7).flatmap(lambda number: odd if number == 7 else usual)


PIECES = st.sampled_from(
    [
        "..",
        "/",
        "\\",
        "%2e",
        "%2F",
        "\x00",
        "\n",
        "\u2028",
        "é",
        "a",
        "-",
        "_",
        "=",
        "?",
        "*",
        "${",
        "٣",
    ]
)
ODD_IDS = st.text() | st.lists(PIECES, max_size=6).map("".join)
IDS = mostly(st.uuids().map(str), ODD_IDS)
DIGITS = mostly(st.integers(1, 10**60).map(str), ODD_IDS)
REGIONS = st.sampled_from(["eu-west-2", "us-east-1", "..", "eu-west-2.evil.example", ""])
ACCOUNTS = st.sampled_from([ACCOUNT, "210987654321", ""])
INSTANCES = mostly(
    st.just(INSTANCE),
    st.builds("arn:aws:connect:{}:{}:instance/{}".format, REGIONS, ACCOUNTS, IDS),
)
STREAMS = mostly(
    st.just(STREAM),
    st.builds("arn:aws:kinesisvideo:{}:{}:stream/{}/1".format, REGIONS, ACCOUNTS, IDS),
)
TIMES = mostly(st.integers(NOW_MS - 10**7, NOW_MS), st.integers())
PREFIXES = st.sampled_from(["", "calls/", "a/b=c/"])


def iso(timestamp_ms: int) -> str:
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC).isoformat()
    return str(timestamp_ms)


RECORDINGS = st.lists(
    st.fixed_dictionaries(
        {
            "StorageType": st.just("KINESIS_VIDEO_STREAM"),
            "Location": STREAMS,
            "FragmentStartNumber": DIGITS,
            "StartTimestamp": TIMES.map(iso),
        }
    ),
    max_size=2,
)
ATTRIBUTES = st.fixed_dictionaries(
    {"streamArn": STREAMS, "startFragmentNumber": DIGITS, "startTimestamp": TIMES.map(str)}
)
FLOW_EVENTS = st.builds(
    lambda contact, instance, stream, number, time: {
        "Details": {
            "ContactData": {
                "ContactId": contact,
                "InstanceARN": instance,
                "MediaStreams": {
                    "Customer": {
                        "Audio": {
                            "StreamARN": stream,
                            "StartFragmentNumber": number,
                            "StartTimestamp": str(time),
                        }
                    }
                },
            }
        }
    },
    IDS,
    INSTANCES,
    STREAMS,
    DIGITS,
    TIMES,
)
JOBS = st.fixed_dictionaries(
    {
        "kind": st.just("ArchiveJob"),
        "version": st.just(1),
        "contactId": IDS,
        "instanceArn": INSTANCES,
        "streamArn": STREAMS,
        "startFragmentNumber": DIGITS,
        "startTimestamp": TIMES,
        "requestedAt": TIMES,
    }
)
RECORDS = st.fixed_dictionaries(
    {"ContactId": IDS, "InstanceARN": INSTANCES, "Recordings": RECORDINGS, "Attributes": ATTRIBUTES}
)
CONTACT_EVENTS = st.builds(
    lambda contact, instance: {
        "detail-type": "Amazon Connect Contact Event",
        "detail": {"eventType": "DISCONNECTED", "contactId": contact, "instanceArn": instance},
    },
    IDS,
    INSTANCES,
)


def assert_stays_at_home(job: ArchiveJob, prefix: str) -> None:
    for key in (recording_key(prefix, job), manifest_key(prefix, job)):
        assert key.startswith(prefix)
        assert KEY.fullmatch(key.removeprefix(prefix))
        assert len(key.encode()) <= 1024  # what S3 takes
    assert job.instance_arn.split(":")[3:5] == job.stream_arn.split(":")[3:5]


@SETTINGS
@given(FLOW_EVENTS, PREFIXES)
def test_no_flow_event_leads_out_of_the_prefix(event: object, prefix: str) -> None:
    try:
        streaming = decode_flow_event(event)
        assert isinstance(streaming, Streaming)
        job = build_job(streaming, NOW_MS)
    except RequestError:
        return
    assert_stays_at_home(job, prefix)


@SETTINGS
@given(
    JOBS | RECORDS | CONTACT_EVENTS,
    st.fixed_dictionaries({"Recordings": RECORDINGS, "Attributes": ATTRIBUTES}),
    PREFIXES,
)
def test_no_message_leads_out_of_the_prefix(
    message: Mapping[str, Any], contact: Mapping[str, Any], prefix: str
) -> None:
    asked: list[tuple[str, str]] = []

    def describe(*about: str) -> Mapping[str, Any]:
        asked.append(about)  # type: ignore[arg-type] # instance and contact
        return contact

    def check(instance: str) -> None:
        check_instance(instance, INSTANCE, ACCOUNT)

    try:
        order = read_request(
            json.dumps(message), describe, check, now_ms=NOW_MS, sent_ms=NOW_MS, accept_partial=True
        )
    except ArchiveError:
        order = None
    for job in order.jobs if order else ():
        assert_stays_at_home(job, prefix)
        assert job.instance_arn == INSTANCE
    # Connect is asked of contacts of our instance only, and the id is one segment of its path.
    for instance, contact_id in asked:
        assert instance == INSTANCE
        assert re.fullmatch(r"[A-Za-z0-9_-]+", contact_id)


@SETTINGS
@given(INSTANCES)
def test_one_instance_is_served_where_one_is_named(instance: str) -> None:
    with suppress(RequestError):
        check_instance(instance, INSTANCE, ACCOUNT)
        assert instance == INSTANCE


@pytest.mark.parametrize(("account", "served"), [(ACCOUNT, True), ("210987654321", False)])
def test_instances_of_the_account_are_served_where_none_is_named(
    account: str, served: bool
) -> None:
    instance = INSTANCE.replace(ACCOUNT, account)
    if served:
        check_instance(instance, "", ACCOUNT)
    else:
        with pytest.raises(RequestError, match="not served"):
            check_instance(instance, "", ACCOUNT)


# ------------------------------------------------------------------ manifests are read back

MANIFEST = json.dumps(older_manifest())


def test_a_manifest_has_bounds() -> None:
    longest = MANIFEST.ljust(MAX_MANIFEST_BYTES).encode()
    assert decode_manifest(longest).is_complete
    with pytest.raises(StorageFaultError):
        decode_manifest(longest + b" ")


class EndlessBody:
    """An object at the manifest's key that never ends."""

    def __init__(self) -> None:
        self.bytes_read = 0

    def read(self, amount: int | None = None) -> bytes:
        assert amount is not None, "all of it was asked for"
        self.bytes_read += amount
        return b" " * amount

    def close(self) -> None:
        """As a body's."""


def test_no_more_of_it_is_read() -> None:
    body = EndlessBody()
    answer = {"Body": body, "ETag": "m", "Metadata": {}}
    client: Any = SimpleNamespace(get_object=lambda **_: answer)
    with pytest.raises(StorageFaultError) as caught:
        S3Archive(client, "bucket", "recordings/a.wav", "manifests/a.json", "i-1").look()
    assert caught.value.code == "FOREIGN_MANIFEST"
    assert body.bytes_read <= MAX_MANIFEST_BYTES + 1


@pytest.mark.parametrize(
    "forged",
    [
        {"last": "9" * 5000},
        {"last": "1e999"},
        {"accepted": "٣" * 5000},
        {"accepted": {}},
        {"last": None},
        {"last": float("inf")},
        {"last": float("nan")},
    ],
)
def test_forged_numbers_are_no_manifest(forged: dict[str, object]) -> None:
    manifest = json.loads(MANIFEST)
    manifest["fragments"] |= forged
    with pytest.raises(StorageFaultError):
        decode_manifest(json.dumps(manifest).encode())
