"""The documents in which Connect tells of a contact, and the files made of them."""

import json
from pathlib import Path

from local.call import Call
from local.contact import Contact
from local.demo_call import CONTACT_ID, START_MS, demo_calls
from local.sample_events import build_sample_events, write_sample_events


def audio(contact: Contact, state: str) -> dict[str, str] | None:
    event = contact.flow_event(state)  # type: ignore[arg-type] # JSON by name
    streams: dict[str, dict[str, dict[str, str] | None]] = event["Details"]["ContactData"][
        "MediaStreams"
    ]
    return streams["Customer"]["Audio"]


def test_media_stream_values_are_strings(call: Call) -> None:
    assert audio(call, "stopped") == {
        "StreamARN": call.stream_arn,
        "StartTimestamp": str(call.start_timestamp_ms),
        "StartFragmentNumber": str(call.start_fragment_number),
        "StopTimestamp": str(call.stop_timestamp_ms),
        "StopFragmentNumber": str(call.stop_fragment_number),
    }


def test_stop_keys_are_absent_before_the_stop(call: Call) -> None:
    assert audio(call, "not_started") is None
    for state in ("started", "stopped_without_stop_keys"):
        assert sorted(audio(call, state) or {}) == [
            "StartFragmentNumber",
            "StartTimestamp",
            "StreamARN",
        ]


def test_parameters_are_the_blocks_own(call: Call) -> None:
    assert call.flow_event("started", {"archive": "now"})["Details"]["Parameters"] == {
        "archive": "now"
    }


def test_the_stream_is_not_the_first_of_the_recordings(call: Call) -> None:
    for recordings in (
        call.contact_record()["Recordings"],
        call.describe_contact()["Contact"]["Recordings"],
    ):
        assert [entry["StorageType"] for entry in recordings] == ["S3", "KINESIS_VIDEO_STREAM"]
        assert recordings[1]["Location"] == call.stream_arn
        assert recordings[1]["FragmentStartNumber"] == str(call.start_fragment_number)


def test_the_contact_event_names_no_stream(call: Call) -> None:
    event = call.contact_event()

    assert event["detail"]["contactId"] == call.contact_id
    assert "kinesisvideo" not in json.dumps(event)


def test_phone_numbers_are_fictional(call: Call) -> None:
    contact = call.flow_event()["Details"]["ContactData"]

    assert contact["CustomerEndpoint"]["Address"].startswith("+441632960")
    assert contact["SystemEndpoint"]["Address"].startswith("+15550100")


def test_the_fixed_call_is_fixed() -> None:
    before, fixed, after = demo_calls()

    assert fixed.contact_id == fixed.initial_contact_id == CONTACT_ID
    assert fixed.start_timestamp_ms == START_MS
    assert fixed.start_fragment_number == 91343852333181452199722691242388315377601508574
    assert fixed.stop_fragment_number == 91343852333181452269047333442369614378029222707
    assert before.end_ms <= fixed.fragments[0].server_timestamp_ms
    assert fixed.end_ms <= after.fragments[0].server_timestamp_ms
    assert before.fragments[-1].number < fixed.fragments[0].number
    assert fixed.fragments[-1].number < after.fragments[0].number
    assert len({call.contact_id for call in (before, fixed, after)}) == 3


def test_committed_events_are_what_the_fixed_call_gives(tmp_path: Path) -> None:
    committed = Path(__file__).parents[3] / "events"

    for path in write_sample_events(demo_calls()[1], tmp_path):
        assert (committed / path.name).read_text() == path.read_text(), path.name


def test_sqs_events_hold_one_record_whose_attributes_are_strings() -> None:
    fixed = demo_calls()[1]
    events = build_sample_events(fixed)
    bodies = {}
    for name in ("archive-job.json", "contact-disconnected.json", "contact-record.json"):
        (record,) = events[name]["Records"]
        assert all(isinstance(value, str) for value in record["attributes"].values())
        assert record["attributes"]["ApproximateReceiveCount"] == "1"
        bodies[name] = json.loads(record["body"])

    assert bodies["archive-job.json"] == fixed.archive_job()
    assert bodies["archive-job.json"]["kind"] == "ArchiveJob"
    assert bodies["contact-disconnected.json"]["detail"]["eventType"] == "DISCONNECTED"
    assert bodies["contact-record.json"]["Recordings"]
