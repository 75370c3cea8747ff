"""Arbitrary JSON gives a value, RequestError or NotYetError; what passes is well formed."""

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from call_archive.errors import NotYetError, RequestError, StorageFaultError
from call_archive.intake.flow_event import NotStreaming, Streaming, build_job, decode_flow_event
from call_archive.intake.message import read_request
from call_archive.job import build_job_message, decode_job
from call_archive.keys import manifest_key, recording_key
from call_archive.recording.manifest import decode_manifest
from tests.support.arns import INSTANCE_ARN, STREAM_ARN

NOW_MS = 1_767_258_000_000

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        [
            "c-1",
            "100",
            "1000",
            str(NOW_MS),
            INSTANCE_ARN,
            STREAM_ARN,
            "2025-12-31T23:00:00Z",
            "2025-12-31T23:10:00+14:00",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "KINESIS_VIDEO_STREAM",
            "VOICE",
            "now",
        ]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)


def odd(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with these keys; each may be missing, or anything at all."""
    return st.fixed_dictionaries({}, optional={key: like | JSON for key, like in fields.items()})


NUMBERS = st.integers(1, 10**50).map(str)
TIMES = st.integers(NOW_MS - 10**8, NOW_MS + 10**8)
ISO_TIMES = st.datetimes().map(lambda time: time.isoformat() + "Z")
AUDIO = odd(
    StreamARN=st.just(STREAM_ARN),
    StartFragmentNumber=NUMBERS,
    StartTimestamp=TIMES.map(str),
    StopFragmentNumber=NUMBERS,
    StopTimestamp=TIMES.map(str),
)
FLOW_EVENTS = odd(
    Details=odd(
        ContactData=odd(
            ContactId=st.just("c-1"),
            InitialContactId=st.just("c-0"),
            InstanceARN=st.just(INSTANCE_ARN),
            MediaStreams=odd(Customer=odd(Audio=AUDIO)),
        ),
        Parameters=odd(archive=st.just("now")),
    )
)
JOBS = odd(
    kind=st.just("ArchiveJob"),
    version=st.just(1),
    contactId=st.just("c-1"),
    initialContactId=st.just("c-0"),
    instanceArn=st.just(INSTANCE_ARN),
    streamArn=st.just(STREAM_ARN),
    startFragmentNumber=NUMBERS,
    startTimestamp=TIMES,
    stopFragmentNumber=NUMBERS,
    stopTimestamp=TIMES,
    requestedAt=TIMES,
)
RECORDINGS = st.lists(
    odd(
        StorageType=st.sampled_from(["S3", "KINESIS_VIDEO_STREAM"]),
        Location=st.just(STREAM_ARN),
        FragmentStartNumber=NUMBERS,
        FragmentStopNumber=NUMBERS,
        StartTimestamp=ISO_TIMES,
        StopTimestamp=ISO_TIMES,
    ),
    max_size=3,
)
ATTRIBUTES = odd(
    streamArn=st.just(STREAM_ARN),
    startFragmentNumber=NUMBERS,
    startTimestamp=TIMES.map(str),
    stopTimestamp=TIMES.map(str),
)
CONTACTS = odd(Recordings=RECORDINGS, Attributes=ATTRIBUTES)
RECORDS = odd(
    ContactId=st.just("c-1"),
    InitialContactId=st.just("c-0"),
    InstanceARN=st.just(INSTANCE_ARN),
    DisconnectTimestamp=ISO_TIMES,
    Recordings=RECORDINGS,
    Attributes=ATTRIBUTES,
)
CONTACT_EVENTS = st.fixed_dictionaries(
    {
        "detail-type": st.just("Amazon Connect Contact Event"),
        "detail": odd(
            eventType=st.just("DISCONNECTED"),
            channel=st.just("VOICE"),
            contactId=st.just("c-1"),
            instanceArn=st.just(INSTANCE_ARN),
            disconnectTimestamp=ISO_TIMES,
        )
        | JSON,
    }
)
ENVELOPES = st.fixed_dictionaries(
    {
        "eventSource": st.just("aws:kinesis"),
        "data": RECORDS.map(lambda record: base64.b64encode(json.dumps(record).encode()).decode())
        | JSON,
    }
)


@given(FLOW_EVENTS | JSON)
def test_any_flow_event(event: object) -> None:
    try:
        streaming = decode_flow_event(event)
    except RequestError:
        return
    assert isinstance(streaming, NotStreaming | Streaming)
    if isinstance(streaming, Streaming):
        with suppress(RequestError):
            job = build_job(streaming, NOW_MS)
            assert decode_job(build_job_message(job)) == job


@given(JOBS | RECORDS | CONTACT_EVENTS | ENVELOPES | JSON, CONTACTS, st.booleans())
def test_any_queue_message(
    message: object, contact: Mapping[str, object], accept_partial: bool
) -> None:
    try:
        order = read_request(
            json.dumps(message),
            lambda _instance, _contact: contact,
            lambda _instance: None,
            now_ms=NOW_MS,
            sent_ms=NOW_MS,
            accept_partial=accept_partial,
        )
    except (RequestError, NotYetError):
        return
    for job in order.jobs:
        assert decode_job(build_job_message(job)) == job
        assert recording_key("p/", job).count("/") == manifest_key("p/", job).count("/") == 6
        assert job.start_timestamp_ms <= job.end_bound_ms


@given(st.text(max_size=200))
def test_any_text(body: str) -> None:
    with suppress(RequestError):
        read_request(
            body, lambda *_: {}, lambda _: None, now_ms=NOW_MS, sent_ms=NOW_MS, accept_partial=False
        )


@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_object_at_the_manifests_key(document: bytes) -> None:
    with suppress(StorageFaultError):
        decode_manifest(document)
