"""Each trigger as AWS delivers it: the template's rule and filter, and what they put in the queue.

The rule runs in moto's EventBridge. A pipe does not run anywhere here: its filter is matched by
`_matches`, after the rules of EventBridge's event patterns, and its template by what it says.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from local.call import Call
from local.demo_call import INSTANCE_ARN
from local.runtime import ACCOUNT_ID, EventSource, build_sqs_record
from tests.integration.journey import RESOURCES, SETTLES, Journey, call, caller
from tests.template.cloudformation import ACCOUNT, Json, deploy, of_type, pipe_message

RECORD_STREAM = "arn:aws:kinesis:eu-west-2:123456789012:stream/contact-records"
STACK = deploy({"ConnectInstanceArn": INSTANCE_ARN, "ContactRecordStreamArn": RECORD_STREAM})
EVENT_TYPES = ["Amazon Connect Contact Event", "Connect Customer Contact Event"]
SAVED_KEYS = ("streamArn", "startFragmentNumber", "startTimestamp")


def _source(journey: Journey) -> EventSource:
    url = journey.sqs.get_queue_url(QueueName=RESOURCES.queue)["QueueUrl"]
    return EventSource(journey.sqs, url, journey.function)


# ------------------------------------------------------------------ contact events


@pytest.fixture
def bus(mono: Journey) -> Any:
    """EventBridge with the template's rule and target."""
    events = mono.aws.client("events")
    (rule,) = of_type(STACK, "AWS::Events::Rule").values()
    pattern = json.dumps(rule["EventPattern"]).replace(ACCOUNT, ACCOUNT_ID)
    events.put_rule(Name="disconnect", EventPattern=pattern, State=rule["State"])
    queue_arn = f"arn:aws:sqs:eu-west-2:{ACCOUNT_ID}:{RESOURCES.queue}"
    (target,) = rule["Targets"]
    assert not target.keys() & {"Input", "InputPath", "InputTransformer"}
    events.put_targets(Rule="disconnect", Targets=[{"Id": target["Id"], "Arn": queue_arn}])
    return events


def _put(bus: Any, event: Json) -> None:
    answer = bus.put_events(
        Entries=[
            {
                "Source": event["source"],
                "DetailType": event["detail-type"],
                "Resources": event["resources"],
                "Detail": json.dumps(event["detail"]),
            }
        ]
    )
    assert answer["FailedEntryCount"] == 0


@pytest.mark.parametrize("detail_type", EVENT_TYPES)
@pytest.mark.parametrize("channel", ["VOICE", "Voice"])
@pytest.mark.parametrize("partition", ["arn:aws:", "arn:aws::"])
def test_contact_event_alone_archives_the_call(
    mono: Journey, bus: Any, detail_type: str, channel: str, partition: str
) -> None:
    event = mono.place(call()).contact_event("DISCONNECTED")
    event["detail-type"] = detail_type
    event["detail"]["channel"] = channel
    event["detail"]["instanceArn"] = INSTANCE_ARN.replace("arn:aws:", partition)
    _put(bus, event)
    assert _source(mono).poll() == 1
    assert mono.pcm() == caller()
    assert mono.manifest()["trigger"] == "contactEvent"
    assert mono.manifest()["instanceArn"] == INSTANCE_ARN


@pytest.mark.parametrize(
    "detail",
    [
        {"channel": "CHAT"},
        {"eventType": "INITIATED"},
        {"eventType": "COMPLETED"},
        {"instanceArn": INSTANCE_ARN.replace("5f3b", "0000")},
    ],
    ids=str,
)
def test_other_contact_events_never_reach_the_queue(
    mono: Journey, bus: Any, detail: dict[str, str]
) -> None:
    event = call().contact_event("DISCONNECTED")
    event["detail"] |= detail
    _put(bus, event)
    _put(bus, event | {"source": "my.connect"})
    assert mono.queued_jobs() == []


def _saved(one: Call) -> Call:
    """The call, its flow having saved FlowFunction's answer as contact attributes."""
    job = one.archive_job()
    return replace(one, attributes={key: str(job[key]) for key in SAVED_KEYS})


def _hide_recordings(journey: Journey, one: Call) -> None:
    journey.aws.connect.register(one, recordings_from_ms=10**15)


def test_saved_attributes_stand_in_for_recordings_that_connect_never_shows(
    mono: Journey, bus: Any
) -> None:
    one = mono.place(_saved(call()))
    _hide_recordings(mono, one)
    event = one.contact_event("DISCONNECTED")
    # Impossible, so the call ended when the event came: DescribeContact may yet show them.
    event["detail"]["disconnectTimestamp"] = "2999-01-01T00:00:00Z"
    _put(bus, event)
    (queued,) = mono.queued_jobs()
    assert not _run_now(mono, queued["body"], receives=1)
    assert mono.keys() == []
    assert _run_now(mono, queued["body"], receives=SETTLES)
    assert mono.pcm() == caller()
    assert mono.manifest()["trigger"] == "contactEvent"


def test_contact_that_was_never_streamed_is_asked_for_and_let_go(mono: Journey, bus: Any) -> None:
    one = mono.place(call())
    _hide_recordings(mono, one)
    _put(bus, one.contact_event("DISCONNECTED"))
    assert _source(mono).poll() == 1
    assert mono.keys() == []
    assert mono.failed_jobs() == []
    assert mono.queued_jobs() == []
    assert mono.aws.requests["DescribeContact"] == 1
    assert "ListFragments" not in mono.aws.requests


def _run_now(journey: Journey, body: Json, receives: int) -> bool:
    """Hands the message over as one that was sent this moment."""
    message = journey.sqs.send_message(
        QueueUrl=_source(journey).queue_url, MessageBody=json.dumps(body)
    )
    assert message["MessageId"]
    (record,) = _receive(journey)
    record["attributes"]["ApproximateReceiveCount"] = str(receives)
    return not journey.function.invoke({"Records": [record]})["batchItemFailures"]


def _receive(journey: Journey) -> list[Json]:
    source = _source(journey)
    received = journey.sqs.receive_message(
        QueueUrl=source.queue_url, MessageSystemAttributeNames=["All"]
    )["Messages"]
    region = journey.sqs.meta.region_name
    return [build_sqs_record(message, source.queue_url, region) for message in received]


# ------------------------------------------------------------------ contact records


def _matches(pattern: Mapping[str, Any], event: Any) -> bool:
    """Whether an event pattern of exact values matches; of an array, any element may.

    Source: EventBridge user guide, "Event patterns", and the Event Ruler's README.
    """
    if isinstance(event, list):
        return any(_matches(pattern, element) for element in event)
    if not isinstance(event, Mapping):
        return False
    return all(
        _matches(wanted, event.get(key))
        if isinstance(wanted, Mapping)
        else event.get(key) in wanted
        for key, wanted in pattern.items()
    )


def _through_the_pipe(record: Json) -> Json | None:
    """What the template's pipe makes of a record; None if its filter stops it."""
    (pipe,) = of_type(STACK, "AWS::Pipes::Pipe").values()
    (chosen,) = pipe["SourceParameters"]["FilterCriteria"]["Filters"]
    if not _matches(json.loads(chosen["Pattern"]), {"data": record}):
        return None
    message: Json = json.loads(pipe_message(pipe, record))
    return message


def test_contact_record_alone_archives_the_call(mono: Journey) -> None:
    piped = _through_the_pipe(mono.place(call()).contact_record())
    assert piped is not None
    assert mono.run(piped)
    assert mono.pcm() == caller()
    assert mono.manifest()["trigger"] == "contactRecord"


def test_contact_records_without_a_video_stream_are_stopped() -> None:
    record = call().contact_record()
    only_s3 = [r for r in record["Recordings"] if r["StorageType"] == "S3"]
    assert _through_the_pipe({**record, "Recordings": only_s3}) is None
    assert _through_the_pipe({**record, "Recordings": None}) is None
    assert _through_the_pipe({**record, "Recordings": []}) is None


# ------------------------------------------------------------------ the flow, and all of them


def test_flows_job_alone_archives_the_call(mono: Journey) -> None:
    one = mono.place(call())
    mono.aws.connect.reset()
    assert mono.archive(one)
    assert mono.pcm() == caller()
    assert mono.manifest()["trigger"] == "flow"


@pytest.mark.parametrize("first", ["event", "record", "flow"])
def test_whoever_is_first_the_others_find_it_done(mono: Journey, bus: Any, first: str) -> None:
    one = mono.place(call())
    _put(bus, one.contact_event("DISCONNECTED"))
    (queued,) = mono.queued_jobs()
    messages = {
        "event": queued["body"],
        "record": one.contact_record(),
        "flow": one.archive_job(),
    }
    assert mono.run(messages.pop(first))
    before = mono.wav(), mono.manifest()
    for message in messages.values():
        assert mono.run(message)
    assert (mono.wav(), mono.manifest()) == before
    assert len(mono.keys()) == 2
