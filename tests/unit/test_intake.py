"""Queue messages of all three kinds → archive jobs."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from call_archive.errors import NotYetError, RequestError
from call_archive.intake.contact import RECORDINGS_WAIT_MS, ArchiveRequest
from call_archive.intake.message import contact_of, read_request
from call_archive.job import ArchiveJob, Trigger, build_job_message, decode_job
from call_archive.reasons import Code

EVENTS = Path(__file__).parents[2] / "events"
INSTANCE_ARN = "arn:aws:connect:us-west-2:032998046382:instance/i-1"
STREAM_ARN = (
    "arn:aws:kinesisvideo:us-west-2:032998046382:stream/recording-connect-x-contact-"
    "3148efdd-9507-4148-8fab-9e336b74a038/1706169572895"
)
START_MS = 1_706_238_461_000  # 2024-01-26T03:07:41Z
STOP_MS = 1_706_238_492_000  # 2024-01-26T03:08:12Z
NOW_MS = STOP_MS + 30_000

# Real, of a contact record: Connect's own recording comes first.
S3_ENTRY: dict[str, Any] = {
    "FragmentStartNumber": None,
    "FragmentStopNumber": None,
    "Location": "bucket/connect/alias/CallRecordings/2024/01/26/x.wav",
    "MediaStreamType": "AUDIO",
    "StorageType": "S3",
    "StartTimestamp": None,
    "StopTimestamp": None,
    "Status": "AVAILABLE",
}
KVS_ENTRY: dict[str, Any] = {
    "FragmentStartNumber": "91343852333181432392682062659924109276236173057",
    "FragmentStopNumber": "91343852333181432546186627531311271605344142199",
    "Location": STREAM_ARN,
    "MediaStreamType": "VIDEO",
    "ParticipantType": "CUSTOMER",
    "StartTimestamp": "2024-01-26T03:07:41Z",
    "StopTimestamp": "2024-01-26T03:08:12Z",
    "Status": None,
    "StorageType": "KINESIS_VIDEO_STREAM",
}
RECORD: dict[str, Any] = {
    "ContactId": "c-1",
    "InitialContactId": "c-0",
    "InstanceARN": INSTANCE_ARN,
    "DisconnectTimestamp": "2024-01-26T03:08:13Z",
    "Attributes": {},
    "Recordings": [S3_ENTRY, KVS_ENTRY],
}
JOB = ArchiveJob(
    contact_id="c-1",
    initial_contact_id="c-0",
    instance_arn=INSTANCE_ARN,
    stream_arn=STREAM_ARN,
    start_fragment_number=91343852333181432392682062659924109276236173057,
    start_timestamp_ms=START_MS,
    stop_fragment_number=91343852333181432546186627531311271605344142199,
    stop_timestamp_ms=STOP_MS,
    requested_at_ms=STOP_MS + 1000,
)
SAVED: dict[str, str] = {
    "streamArn": STREAM_ARN,
    "startFragmentNumber": "100",
    "startTimestamp": str(START_MS),
    "stopFragmentNumber": "",
    "stopTimestamp": "",
    "archiveStatus": "PENDING",
}
EVENT: dict[str, Any] = {
    "source": "aws.connect",
    "detail-type": "Amazon Connect Contact Event",
    "detail": {
        "eventType": "DISCONNECTED",
        "contactId": "c-1",
        "initialContactId": "c-0",
        "instanceArn": INSTANCE_ARN,
        "channel": "VOICE",
        "disconnectTimestamp": "2024-01-26T03:08:13Z",
    },
}


@dataclass
class Connect:
    """DescribeContact, and the contacts it was asked for."""

    contact: Mapping[str, object] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def describe(self, instance_arn: str, contact_id: str) -> Mapping[str, object]:
        self.asked.append((instance_arn, contact_id))
        return self.contact


def serve_any(instance_arn: str) -> None:
    assert instance_arn == INSTANCE_ARN


def serve_none(instance_arn: str) -> None:
    raise RequestError(Code.FOREIGN_INSTANCE, instance_arn)


def order(
    message: object,
    connect: Connect | None = None,
    *,
    now_ms: int = NOW_MS,
    accept_partial: bool = False,
    check_instance: Callable[[str], None] = serve_any,
) -> ArchiveRequest:
    body = message if isinstance(message, str) else json.dumps(message)
    describe = (connect or Connect()).describe
    return read_request(
        body, describe, check_instance, now_ms=now_ms, sent_ms=now_ms, accept_partial=accept_partial
    )


def event(**detail: object) -> dict[str, Any]:
    return {**EVENT, "detail": {**EVENT["detail"], **detail}}


def record(*recordings: object, **changes: object) -> dict[str, Any]:
    return {**RECORD, "Recordings": list(recordings), **changes}


# ---------------------------------------------------------------------------------- ArchiveJobs


def test_an_archive_job() -> None:
    assert order(build_job_message(JOB)) == ArchiveRequest(Trigger.FLOW, (JOB,))


def test_an_archive_job_asks_connect_nothing() -> None:
    connect = Connect()
    order(build_job_message(JOB), connect)
    assert connect.asked == []


# ------------------------------------------------------------------------------- contact records


def test_the_real_contact_record() -> None:
    assert order(RECORD) == ArchiveRequest(Trigger.CONTACT_RECORD, (JOB,))


@pytest.mark.parametrize("recordings", [None, [], {}, "none", [None, 5, "x", []], [S3_ENTRY]])
def test_records_without_a_kvs_recording_are_done(recordings: object) -> None:
    assert order({**RECORD, "Recordings": recordings}) == ArchiveRequest(Trigger.CONTACT_RECORD, ())


def test_a_record_without_recordings() -> None:
    bare = {key: RECORD[key] for key in ("ContactId", "InstanceARN")}
    assert order(bare) == ArchiveRequest(Trigger.CONTACT_RECORD, ())


def test_the_storage_type_alone_tells_a_kvs_recording() -> None:
    """Connect's own recording may one day say where it starts."""
    filled = {**KVS_ENTRY, "StorageType": "S3", "Location": S3_ENTRY["Location"]}
    assert order(record(filled, KVS_ENTRY)).jobs == (JOB,)


def test_every_kvs_recording_is_a_job() -> None:
    second = {**KVS_ENTRY, "FragmentStartNumber": "7", "FragmentStopNumber": "9"}
    jobs = order(record(second, S3_ENTRY, KVS_ENTRY)).jobs
    assert [job.start_fragment_number for job in jobs] == [7, JOB.start_fragment_number]


@pytest.mark.parametrize("key", ["FragmentStartNumber", "StartTimestamp"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_recording_that_is_not_filled_yet_is_asked_of_connect(
    key: str, value: str | None
) -> None:
    unfilled = record({**KVS_ENTRY, key: value})
    assert (
        order(unfilled, Connect({"Recordings": [KVS_ENTRY]})).jobs == order(record(KVS_ENTRY)).jobs
    )
    with pytest.raises(NotYetError):
        order(unfilled, Connect({"Recordings": [{**KVS_ENTRY, key: value}]}), now_ms=STOP_MS + 2000)


@pytest.mark.parametrize("key", ["FragmentStartNumber", "StartTimestamp"])
def test_a_recording_that_is_never_filled_is_refused(key: str) -> None:
    unfilled = {"Recordings": [{**KVS_ENTRY, key: None}]}
    later_ms = STOP_MS + RECORDINGS_WAIT_MS + 2000
    with pytest.raises(RequestError) as caught:
        order(record({**KVS_ENTRY, key: None}), Connect(unfilled), now_ms=later_ms)
    assert caught.value.code == "UNFILLED_RECORDING"


def test_a_recording_without_its_stop() -> None:
    unstopped = {**KVS_ENTRY, "FragmentStopNumber": None, "StopTimestamp": None}
    (job,) = order(record(unstopped)).jobs
    assert (job.stop_fragment_number, job.stop_timestamp_ms) == (None, None)
    assert job.end_bound_ms == STOP_MS + 1000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Location", "arn:aws:kinesisvideo::us-west-2:1:stream/x/1"),
        ("Location", None),
        ("Location", STREAM_ARN.replace("032998046382", "123456789012")),
        ("FragmentStartNumber", "many"),
        ("FragmentStartNumber", 5),
        ("FragmentStopNumber", "1"),
        ("StopTimestamp", "2024-01-26T03:07:40Z"),
        ("StartTimestamp", "1999-01-26T03:07:41Z"),
    ],
)
def test_malformed_recordings_are_refused_and_the_others_archived(key: str, value: object) -> None:
    taken = order(record({**KVS_ENTRY, key: value}, KVS_ENTRY))
    assert taken.jobs == order(record(KVS_ENTRY)).jobs
    assert len(taken.refusals) == 1


@pytest.mark.parametrize("key", ["ContactId", "InitialContactId", "InstanceARN"])
@pytest.mark.parametrize("value", ["a/b", 5, ["c-1"], "x y"])
def test_malformed_records_are_refused(key: str, value: object) -> None:
    with pytest.raises(RequestError):
        order({**RECORD, key: value})


@pytest.mark.parametrize(
    "ended", [None, "", "null", "soon", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
def test_a_record_that_does_not_say_when_it_ended_ended_by_now(ended: str | None) -> None:
    unstopped = {**KVS_ENTRY, "FragmentStopNumber": None, "StopTimestamp": None}
    (job,) = order(record(unstopped, DisconnectTimestamp=ended)).jobs
    assert (job.requested_at_ms, job.end_is_known) == (NOW_MS, False)
    assert decode_job(build_job_message(job)) == job


@pytest.mark.parametrize("initial", [None, "", "null"])
def test_a_record_without_an_initial_contact_is_its_own(initial: str | None) -> None:
    (job,) = order({**RECORD, "InitialContactId": initial}).jobs
    assert job.contact_ids == {"c-1"}


def test_what_the_flow_saved_stands_in_for_recordings() -> None:
    (job,) = order(record(S3_ENTRY, Attributes=SAVED)).jobs
    assert job.start_fragment_number == 100
    assert (job.stop_fragment_number, job.stop_timestamp_ms) == (None, None)
    assert job.contact_ids == {"c-0", "c-1"}


@pytest.mark.parametrize(
    ("began", "jobs"),
    [("2022-01-04T16:05:00Z", 1), ("2024-01-26T03:07:40Z", 1), ("2024-01-26T03:09:00Z", 0)],
)
def test_attributes_of_the_contact_before_a_transfer_are_not_archived_twice(
    began: str, jobs: int
) -> None:
    transferred = record(S3_ENTRY, Attributes=SAVED, InitiationTimestamp=began)
    assert len(order(transferred).jobs) == jobs


def test_first_contact_may_have_been_streamed_before_connect_says_it_began() -> None:
    first = record(S3_ENTRY, Attributes=SAVED, InitiationTimestamp="2024-01-26T03:09:00Z")
    first["InitialContactId"] = first["ContactId"]
    assert len(order(first).jobs) == 1


def test_recordings_are_better_than_what_the_flow_saved() -> None:
    assert order({**RECORD, "Attributes": SAVED}).jobs == (JOB,)


@pytest.mark.parametrize(
    "attributes", [None, {}, [], "x", {"streamArn": STREAM_ARN}, {"startFragmentNumber": ""}]
)
def test_attributes_of_other_flows_are_ignored(attributes: object) -> None:
    assert order(record(S3_ENTRY, Attributes=attributes)).jobs == ()


@pytest.mark.parametrize("key", ["streamArn", "startFragmentNumber", "startTimestamp"])
def test_saved_attributes_are_checked_like_any_job(key: str) -> None:
    with pytest.raises(RequestError):
        order(record(Attributes={**SAVED, key: "x/../y"}))


def test_a_record_in_a_kinesis_envelope() -> None:
    """As EventBridge Pipes hands a Kinesis record over."""
    envelope = {
        "eventSource": "aws:kinesis",
        "partitionKey": "c-1",
        "data": base64.b64encode(json.dumps(RECORD).encode()).decode(),
    }
    assert order(envelope) == ArchiveRequest(Trigger.CONTACT_RECORD, (JOB,))


@pytest.mark.parametrize(
    "content",
    ["*", "é", "YWJj", "YWJ", "bnVsbA==", base64.b64encode(b"\xff\xfe").decode(), "", "W10="],
)
def test_malformed_envelopes_are_refused(content: str) -> None:
    with pytest.raises(RequestError):
        order({"eventSource": "aws:kinesis", "data": content})


# -------------------------------------------------------------------------------- contact events


def test_an_ended_contact_is_looked_up() -> None:
    connect = Connect({"Recordings": [S3_ENTRY, KVS_ENTRY]})
    assert order(EVENT, connect) == ArchiveRequest(Trigger.CONTACT_EVENT, (JOB,))
    assert connect.asked == [(INSTANCE_ARN, "c-1")]


@pytest.mark.parametrize("name", ["Amazon Connect Contact Event", "Connect Customer Contact Event"])
@pytest.mark.parametrize("event_type", ["DISCONNECTED", "COMPLETED"])
@pytest.mark.parametrize("channel", ["VOICE", "Voice"])
def test_both_names_both_ends_and_both_spellings(name: str, event_type: str, channel: str) -> None:
    ended = {**event(eventType=event_type, channel=channel), "detail-type": name}
    assert order(ended, Connect({"Recordings": [KVS_ENTRY]})).jobs == (JOB,)


@pytest.mark.parametrize(
    "detail",
    [
        {"eventType": "INITIATED"},
        {"eventType": "CONNECTED_TO_AGENT"},
        {"eventType": None},
        {"eventType": ["DISCONNECTED"]},
        {"channel": "CHAT"},
        {"channel": "TASK"},
        {"channel": "EMAIL"},
    ],
)
def test_other_events_ask_for_nothing(detail: dict[str, object]) -> None:
    connect = Connect({"Recordings": [KVS_ENTRY]})
    assert order(event(**detail), connect) == ArchiveRequest(Trigger.CONTACT_EVENT, ())
    assert connect.asked == []


def test_the_doubled_colon_of_documentation_samples_is_mended() -> None:
    doubled = "arn:aws::connect:us-west-2:032998046382:instance/i-1"
    connect = Connect({"Recordings": [KVS_ENTRY]})
    assert order(event(instanceArn=doubled), connect).jobs == (JOB,)


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=-8))], ids=["utc", "pacific_standard_time"]
)
def test_times_as_boto3_gives_them(zone: timezone) -> None:
    entry = {
        **KVS_ENTRY,
        "StartTimestamp": datetime(2024, 1, 26, 3, 7, 41, tzinfo=UTC).astimezone(zone),
        "StopTimestamp": datetime(2024, 1, 26, 3, 8, 12, tzinfo=UTC).astimezone(zone),
    }
    assert order(EVENT, Connect({"Recordings": [entry]})).jobs == (JOB,)


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        ("2024-01-26T03:07:41", "2024-01-26T03:08:12"),
        ("2024-01-25T19:07:41-08:00", "2024-01-26T03:08:12.000Z"),
        (datetime(2024, 1, 26, 3, 7, 41), datetime(2024, 1, 26, 3, 8, 12)),  # noqa: DTZ001 - the trap
    ],
)
def test_times_without_a_zone_are_utc(start: object, stop: object) -> None:
    entry = {**KVS_ENTRY, "StartTimestamp": start, "StopTimestamp": stop}
    assert order(EVENT, Connect({"Recordings": [entry]})).jobs == (JOB,)


@pytest.mark.parametrize("contact", [{}, {"Recordings": None}, {"Recordings": [S3_ENTRY]}])
@pytest.mark.parametrize("accept_partial", [False, True])
def test_connect_may_need_a_while_to_show_the_recording(
    contact: dict[str, object], accept_partial: bool
) -> None:
    with pytest.raises(NotYetError) as caught:
        order(EVENT, Connect(contact), accept_partial=accept_partial)
    assert caught.value.retryable


def test_after_ten_minutes_the_contact_was_never_streamed() -> None:
    late_ms = STOP_MS + 1000 + 600_000
    assert order(EVENT, Connect(), now_ms=late_ms) == ArchiveRequest(Trigger.CONTACT_EVENT, ())
    with pytest.raises(NotYetError):
        order(EVENT, Connect(), now_ms=late_ms - 1)


@pytest.mark.parametrize(
    ("age_s", "retry_after_s"),
    [(0, 100), (10, 90), (99, 1), (100, 500), (250, 350), (599, 1)],
)
@pytest.mark.parametrize("contact", [{}, {"Recordings": [S3_ENTRY]}, {"Attributes": {"a": "b"}}])
def test_a_contact_without_a_sign_of_streaming_is_looked_at_three_times(
    contact: dict[str, object], age_s: int, retry_after_s: int
) -> None:
    with pytest.raises(NotYetError) as caught:
        order(EVENT, Connect(contact), now_ms=STOP_MS + 1000 + age_s * 1000)
    assert caught.value.retry_after_s == retry_after_s


@pytest.mark.parametrize(
    "contact", [{"Recordings": [{**KVS_ENTRY, "StartTimestamp": None}]}, {"Attributes": SAVED}]
)
def test_a_contact_that_was_streamed_comes_back_like_any_job(contact: dict[str, object]) -> None:
    with pytest.raises(NotYetError) as caught:
        order(EVENT, Connect(contact))
    assert caught.value.retry_after_s is None


def test_recordings_are_waited_for_before_the_flows_attributes_are_used() -> None:
    connect = Connect({"Recordings": [S3_ENTRY], "Attributes": SAVED})
    with pytest.raises(NotYetError):
        order(EVENT, connect)
    (settled,) = order(EVENT, connect, accept_partial=True).jobs
    (late,) = order(EVENT, connect, now_ms=STOP_MS + 700_000).jobs
    assert settled == late
    assert settled.start_fragment_number == 100


@pytest.mark.parametrize("detail", [None, "x", 5, [], ["eventType"]])
def test_contact_events_without_detail_are_refused(detail: object) -> None:
    with pytest.raises(RequestError):
        order({**EVENT, "detail": detail})


@pytest.mark.parametrize("key", ["contactId", "instanceArn"])
@pytest.mark.parametrize("value", [None, "", "a/b", 5, []])
def test_malformed_contact_events_are_refused(key: str, value: object) -> None:
    with pytest.raises(RequestError):
        order(event(**{key: value}))


# ---------------------------------------------------------------------------------- what is none


@pytest.mark.parametrize("message", [build_job_message(JOB), EVENT, RECORD])
def test_an_instance_that_is_not_served_is_refused_before_connect_is_asked(
    message: dict[str, object],
) -> None:
    connect = Connect({"Recordings": [KVS_ENTRY]})
    with pytest.raises(RequestError) as caught:
        order(message, connect, check_instance=serve_none)
    assert caught.value.code == "FOREIGN_INSTANCE"
    assert connect.asked == []


BAD_BODIES = {
    "empty": "",
    "not_json": "{",
    "null": "null",
    "number": "5",
    "list": "[]",
    "text": '"ArchiveJob"',
    "empty_object": "{}",
    "other_kind": '{"kind": "Job"}',
    "other_detail_type": '{"detail-type": "EC2 Instance State-change Notification"}',
    "detail_type_list": '{"detail-type": ["Amazon Connect Contact Event"]}',
    "half_a_record": '{"ContactId": "c-1"}',
    "lone_surrogate": '{"kind": "\ud800"}',
    "huge_number": '{"kind": ' + "9" * 5000 + "}",
    "deep_list": "[" * 200_000,
    "deep_object": '{"a":' * 200_000,
    "huge": '{"kind": "' + "x" * 1_048_576 + '"}',
    "huge_in_utf_8": '{"kind": "' + "é" * 524_288 + '"}',
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_messages_of_no_kind_are_refused(name: str) -> None:
    with pytest.raises(RequestError) as caught:
        order(BAD_BODIES[name])
    assert not caught.value.retryable


def test_a_huge_message_is_named_as_such() -> None:
    with pytest.raises(RequestError) as caught:
        order(BAD_BODIES["huge_in_utf_8"])
    assert caught.value.code == "MESSAGE_TOO_LARGE"


def test_what_a_pipe_says_of_records_that_it_did_not_deliver_is_named_as_such() -> None:
    batch = {"shardId": "shardId-000000000000", "startSequenceNumber": "4955", "batchSize": 3}
    with pytest.raises(RequestError) as caught:
        order({"version": "1.0", "KinesisBatchInfo": batch})
    assert caught.value.code == "UNDELIVERED_BATCH"
    assert not caught.value.retryable


@pytest.mark.parametrize("name", ["archive-job", "contact-disconnected", "contact-record"])
def test_sample_events(name: str) -> None:
    (message,) = json.loads((EVENTS / f"{name}.json").read_text())["Records"]
    stream = STREAM_ARN.replace("us-west-2:032998046382", "eu-west-2:123456789012")
    recording = {**KVS_ENTRY, "Location": stream}
    connect = Connect({"Recordings": [recording]})
    (job,) = order(message["body"], connect, check_instance=lambda _: None).jobs
    assert job.contact_id == "8c2b1f0e-6d1f-4c58-9a5e-0d6a4d1f7c21"


# ------------------------------------------------------------------ whose message it is


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "ArchiveJob", "contactId": "c-1", "streamArn": "malformed"},
        {"detail-type": "Amazon Connect Contact Event", "detail": {"contactId": "c-1"}},
        {"ContactId": "c-1", "InstanceARN": None},
        {
            "eventSource": "aws:kinesis",
            "data": base64.b64encode(b'{"ContactId": "c-1"}').decode(),
        },
    ],
)
def test_contact_is_known_also_where_the_rest_is_malformed(body: dict[str, Any]) -> None:
    assert contact_of(json.dumps(body)) == "c-1"


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", "null", '{"contactId": "../x"}', '{"detail": []}', "[" * 100_000]
)
def test_contact_is_unknown_where_nothing_names_it(body: str) -> None:
    assert contact_of(body) is None


# ------------------------------------------------------------------ what a pipe may make of null


@pytest.mark.parametrize("empty", ["", " ", "null", '"null"'])
def test_a_pipe_may_leave_the_place_of_null_empty(empty: str) -> None:
    """What EventBridge Pipes put for null into an input template is not documented."""
    fields = {key: json.dumps(value) for key, value in RECORD.items()}
    fields |= {"InitialContactId": empty, "DisconnectTimestamp": empty}
    body = "{" + ", ".join(f'"{key}": {value}' for key, value in fields.items()) + "}"
    (job,) = order(body).jobs
    assert job.contact_ids == {"c-1"}


def test_what_looks_empty_inside_a_string_is_left_alone() -> None:
    odd = 'x\\":,}\\\\'
    body = json.dumps({**RECORD, "odd": odd})[:-1] + ', "InitialContactId": }'
    (job,) = order(body).jobs
    assert job == replace(JOB, initial_contact_id="c-1")


@pytest.mark.parametrize("body", ['{"a": ,', '{"a" ,}', '{"a": "b', "{:}", '{"a": "\\'])
def test_what_is_no_json_stays_refused(body: str) -> None:
    with pytest.raises(RequestError) as caught:
        order(body)
    assert caught.value.code == "MALFORMED_MESSAGE"


def test_a_message_of_quotes_takes_no_time() -> None:
    with pytest.raises(RequestError):
        order('{"a": ' + '\\"' * 400_000)
