"""The event of a flow's Lambda block, as Connect really sends it."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from call_archive.errors import RequestError
from call_archive.intake.flow_event import (
    NotStreaming,
    Streaming,
    build_job,
    contact_of,
    decode_flow_event,
)

EVENTS = Path(__file__).parents[2] / "events"
INSTANCE_ARN = "arn:aws:connect:eu-west-2:123456789012:instance/5f3b1c9e"
# Real, after Stop (facts: published capture).
AUDIO: dict[str, Any] = {
    "StreamARN": "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/ivr-kvs-connect-gbdemo-"
    "eu-west-2-contact-50a3a8d4-5f18-412a-b532-519c6fcd2c6d/1640168106910",
    "StartTimestamp": "1641312355374",
    "StartFragmentNumber": "91343852333181452199722691208580038832309429352",
    "StopTimestamp": "1641312369763",
    "StopFragmentNumber": "91343852333181452269047333408561337752981163966",
}
STOPPED = Streaming(
    contact_id="c-1",
    initial_contact_id="c-0",
    instance_arn=INSTANCE_ARN,
    stream_arn=AUDIO["StreamARN"],
    start_fragment_number=91343852333181452199722691208580038832309429352,
    start_timestamp_ms=1_641_312_355_374,
    stop_fragment_number=91343852333181452269047333408561337752981163966,
    stop_timestamp_ms=1_641_312_369_763,
    archive_now=False,
)


def event_of(audio: object, parameters: object = None, **contact: object) -> dict[str, Any]:
    return {
        "Details": {
            "ContactData": {
                "ContactId": "c-1",
                "InitialContactId": "c-0",
                "InstanceARN": INSTANCE_ARN,
                "MediaStreams": {"Customer": {"Audio": audio}},
                "Channel": "WEBRTC_API",
                "Queue": None,
                **contact,
            },
            "Parameters": {} if parameters is None else parameters,
        },
        "Name": "ContactFlowEvent",
    }


def audio_without(*keys: str, **changes: object) -> dict[str, Any]:
    return {key: value for key, value in AUDIO.items() if key not in keys} | changes


def test_a_stopped_stream() -> None:
    assert decode_flow_event(event_of(AUDIO)) == STOPPED
    assert STOPPED.is_stopped


def test_a_running_stream_has_no_stop_keys() -> None:
    streaming = decode_flow_event(event_of(audio_without("StopTimestamp", "StopFragmentNumber")))
    assert isinstance(streaming, Streaming)
    assert (streaming.stop_fragment_number, streaming.stop_timestamp_ms) == (None, None)
    assert not streaming.is_stopped


@pytest.mark.parametrize("absent", [None, ""])
def test_stop_keys_without_a_value_are_no_stop(absent: str | None) -> None:
    audio = audio_without(StopTimestamp=absent, StopFragmentNumber=absent)
    streaming = decode_flow_event(event_of(audio))
    assert isinstance(streaming, Streaming)
    assert not streaming.is_stopped


def test_the_stop_fragment_is_not_documented_and_may_be_missing() -> None:
    streaming = decode_flow_event(event_of(audio_without("StopFragmentNumber")))
    assert isinstance(streaming, Streaming)
    assert streaming.is_stopped
    assert streaming.stop_timestamp_ms == 1_641_312_369_763


def test_the_stop_fragment_alone_is_a_stop() -> None:
    streaming = decode_flow_event(event_of(audio_without("StopTimestamp")))
    assert isinstance(streaming, Streaming)
    assert streaming.is_stopped


@pytest.mark.parametrize("audio", [None, {}])
def test_streaming_never_started(audio: object) -> None:
    assert decode_flow_event(event_of(audio)) == NotStreaming()


@pytest.mark.parametrize(
    "media_streams", [None, {}, {"Customer": None}, {"Customer": {}}, {"Customer": {"Audio": None}}]
)
def test_every_level_of_media_streams_may_be_missing(media_streams: object) -> None:
    assert decode_flow_event(event_of(None, MediaStreams=media_streams)) == NotStreaming()
    event = event_of(None)
    del event["Details"]["ContactData"]["MediaStreams"]
    assert decode_flow_event(event) == NotStreaming()


@pytest.mark.parametrize(
    "noise",
    [
        {"Channel": "TASK", "InitiationMethod": "DISCONNECT"},
        {"Channel": None, "InitiationMethod": None, "CustomerEndpoint": None},
        {"CustomerEndpoint": "none", "Attributes": None, "References": 5},
    ],
)
def test_nothing_else_of_the_event_is_judged(noise: dict[str, object]) -> None:
    assert decode_flow_event(event_of(AUDIO, **noise)) == STOPPED


@pytest.mark.parametrize("initial", [None, ""])
def test_without_an_initial_contact_the_contact_is_the_first(initial: str | None) -> None:
    streaming = decode_flow_event(event_of(AUDIO, InitialContactId=initial))
    assert isinstance(streaming, Streaming)
    assert streaming.initial_contact_id == "c-1"


def test_the_doubled_colon_of_the_instance_is_mended() -> None:
    arn = "arn:aws::connect:eu-west-2:123456789012:instance/5f3b1c9e"
    assert decode_flow_event(event_of(AUDIO, InstanceARN=arn)) == STOPPED


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ("now", True),
        (" NOW ", True),
        ("later", False),
        ("", False),
        (None, False),
        (True, False),
        ({}, False),
    ],
)
def test_the_block_may_ask_to_archive_now(wish: object, expected: bool) -> None:
    streaming = decode_flow_event(event_of(AUDIO, {"archive": wish}))
    assert isinstance(streaming, Streaming)
    assert streaming.archive_now is expected


@pytest.mark.parametrize("parameters", [None, {}, {"other": "now"}])
def test_without_the_parameter_nothing_is_asked(parameters: object) -> None:
    assert decode_flow_event(event_of(AUDIO, parameters)) == STOPPED


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "event",
        5,
        {},
        {"Details": None},
        {"Details": []},
        {"Details": {}},
        {"Details": {"ContactData": None}},
        {"Details": {"ContactData": "c-1"}},
        {"Records": []},
    ],
)
def test_what_is_no_flow_event_is_refused(event: object) -> None:
    with pytest.raises(RequestError) as caught:
        decode_flow_event(event)
    assert caught.value.code == "NOT_A_FLOW_EVENT"


@pytest.mark.parametrize("level", ["MediaStreams", "Customer", "Audio"])
@pytest.mark.parametrize("value", ["x", 5, [], [{}], True])
def test_levels_of_the_wrong_type_are_refused(level: str, value: object) -> None:
    media_streams = {
        "MediaStreams": value,
        "Customer": {"Customer": value},
        "Audio": {"Customer": {"Audio": value}},
    }[level]
    with pytest.raises(RequestError):
        decode_flow_event(event_of(None, MediaStreams=media_streams))


MALFORMED: list[tuple[str, list[Any]]] = [
    # The first is the documentation's own sample.
    ("StreamARN", ["arn:aws:kinesisvideo::eu-west-2:111111111111:stream/x/1", None, "", 5, {}]),
    ("StartFragmentNumber", [None, "", "0", "12a", "9" * 129, 100, "1 "]),
    ("StartTimestamp", [None, "", "2022-01-04T16:05:55Z", "1641312355", "9" * 30, 1.5]),
    ("StopFragmentNumber", ["x", "-1", ["1"], 100]),
    ("StopTimestamp", ["soon", "1", [1]]),
]


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in MALFORMED for value in values]
)
def test_malformed_streams_are_refused(key: str, value: object) -> None:
    with pytest.raises(RequestError):
        decode_flow_event(event_of(audio_without(**{key: value})))


@pytest.mark.parametrize("key", ["ContactId", "InitialContactId", "InstanceARN"])
@pytest.mark.parametrize("value", ["../../other", "a/b", "c-1\n", 5, ["c-1"]])
def test_malformed_contacts_are_refused(key: str, value: object) -> None:
    with pytest.raises(RequestError):
        decode_flow_event(event_of(AUDIO, **{key: value}))


def test_the_documentations_short_fragment_numbers_are_numbers() -> None:
    audio = audio_without(StartFragmentNumber="100", StopFragmentNumber="1000")
    streaming = decode_flow_event(event_of(audio))
    assert isinstance(streaming, Streaming)
    assert (streaming.start_fragment_number, streaming.stop_fragment_number) == (100, 1000)


def test_the_event_is_left_as_it_was() -> None:
    event = event_of(AUDIO, {"archive": "now"})
    before = deepcopy(event)
    decode_flow_event(event)
    assert event == before


def test_the_job_carries_what_the_event_said() -> None:
    job = build_job(STOPPED, requested_at_ms=1_641_312_370_000)
    assert job.contact_ids == {"c-0", "c-1"}
    assert job.start_fragment_number == STOPPED.start_fragment_number
    assert job.stop_fragment_number == STOPPED.stop_fragment_number
    assert (job.start_timestamp_ms, job.stop_timestamp_ms) == (1_641_312_355_374, 1_641_312_369_763)
    assert job.requested_at_ms == 1_641_312_370_000


def test_an_event_that_stops_before_it_starts_makes_no_job() -> None:
    streaming = decode_flow_event(event_of(audio_without(StopTimestamp="1641312355373")))
    assert isinstance(streaming, Streaming)
    with pytest.raises(RequestError):
        build_job(streaming, requested_at_ms=1_641_312_370_000)


@pytest.mark.parametrize(
    ("name", "is_streaming", "is_stopped"),
    [
        ("flow-not-started", False, False),
        ("flow-started", True, False),
        ("flow-stopped-without-stop-keys", True, False),
        ("flow-stopped", True, True),
    ],
)
def test_sample_events(name: str, is_streaming: bool, is_stopped: bool) -> None:
    streaming = decode_flow_event(json.loads((EVENTS / f"{name}.json").read_text()))
    assert isinstance(streaming, Streaming) is is_streaming
    assert (isinstance(streaming, Streaming) and streaming.is_stopped) is is_stopped


def test_contact_is_known_also_where_the_rest_is_malformed() -> None:
    event = {"Details": {"ContactData": {"ContactId": "c-1", "MediaStreams": "malformed"}}}
    assert contact_of(event) == "c-1"


@pytest.mark.parametrize(
    "event", [None, [], {}, {"Details": []}, {"Details": {"ContactData": {"ContactId": "../x"}}}]
)
def test_contact_is_unknown_where_nothing_names_it(event: object) -> None:
    assert contact_of(event) is None
