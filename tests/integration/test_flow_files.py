"""The sample flows, walked block by block, with the real functions behind them."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.call import Call
from local.runtime import FLOW_HANDLER, EventSource, Function
from local.sample_events import build_sqs_event
from tests.integration.flow_interpreter import HANGS_UP, TIME_OUT, FlowRun
from tests.integration.journey import (
    RESOURCES,
    SETTLES,
    Journey,
    call,
    caller,
    flow_environment,
    neighbours,
)

type Json = dict[str, Any]

FLOWS = Path(__file__).parents[2] / "flows"
STARTS = {"streamArn", "startFragmentNumber", "startTimestamp"}
CATCH_ALL = "NoMatchingError"
LEADS_TO = {
    "Note NOT_STREAMING": {"Start media streaming": CATCH_ALL},
    "Note START_NOT_REPORTED": {"Report the start": CATCH_ALL},
    "Note STOP_NOT_REPORTED": {"Queue the archive job": CATCH_ALL},
    "voicemail: Apologise": {"Start media streaming": CATCH_ALL},
    "whole-call: Apologise": {"Set the queue": CATCH_ALL},
    "payment: Apologise": {"Start media streaming": CATCH_ALL},
    "Note STOP_NOT_PROVED": {"Report the stop": CATCH_ALL},
    "Ask again": {"Has streaming stopped": "NoMatchingCondition"},
    "Say that it takes a moment": {"Has streaming stopped": "NoMatchingCondition"},
    "Say that all lines are busy": {"Transfer to the queue": "QueueAtCapacity"},
}
"""What has to fail for the flow to come to a block."""


def content(name: str) -> Json:
    loaded: Json = json.loads((FLOWS / f"{name}.json").read_text())
    return loaded


def error_branches() -> list[tuple[str, str]]:
    """Flow and action, for every action with an error branch."""
    return [
        (name, action["Identifier"])
        for name in ("voicemail", "whole-call", "payment")
        for action in content(name)["Actions"]
        if action["Transitions"].get("Errors")
    ]


def poll(journey: Journey) -> int:
    queue = journey.sqs.get_queue_url(QueueName=RESOURCES.queue)["QueueUrl"]
    return EventSource(journey.sqs, queue, journey.function).poll()


def hears_of_the_end(journey: Journey, one: Call, *, recordings: bool) -> bool:
    """ArchiveFunction gets the contact event; DescribeContact names the stream, or never does."""
    never_ms = one.stop_timestamp_ms + 10**12
    journey.aws.place(one, *neighbours(one))
    journey.aws.connect.register(one, recordings_from_ms=None if recordings else never_ms)
    message = build_sqs_event(one.contact_event("DISCONNECTED"), one.stop_timestamp_ms + 2000)
    message["Records"][0]["attributes"]["ApproximateReceiveCount"] = str(SETTLES)
    answer: Json = journey.function.invoke(message)
    return not answer["batchItemFailures"]


@pytest.mark.parametrize("stop_is_late", [False, True])
@pytest.mark.parametrize("keys", [["#"], [TIME_OUT], ["5", "#"], ["5", "7", TIME_OUT]])
def test_message_is_archived(
    mono: Journey, flow_function: Function, keys: list[str], stop_is_late: bool
) -> None:
    one = mono.place(call())
    run = FlowRun(content("voicemail"), one, flow_function, keys, stop_is_late=stop_is_late).run()
    assert run.end == "disconnected"
    assert poll(mono) == 1
    assert mono.pcm() == caller()
    manifest = mono.manifest()
    assert manifest["complete"] is True
    assert run.attributes == {
        "streamArn": one.stream_arn,
        "startFragmentNumber": str(one.start_fragment_number),
        "startTimestamp": str(one.start_timestamp_ms),
        "archiveStatus": "QUEUED",
        "archiveUri": manifest["recordingUri"],
        "reason": "",
    }


def test_blocks_run_in_this_order(mono: Journey, flow_function: Function) -> None:
    run = FlowRun(content("voicemail"), call(), flow_function, ["#"]).run()
    assert run.path == [
        "Set logging",
        "Start media streaming",
        "Report the start",
        "Save where it starts",
        "Take the message",
        "Stop media streaming",
        "Queue the archive job",
        "Save the result",
        "Say goodbye",
        "Disconnect",
    ]
    before, after = (e["Details"] for e in run.invocations)
    assert before["Parameters"] == {}
    assert "StopTimestamp" not in before["ContactData"]["MediaStreams"]["Customer"]["Audio"]
    assert after["Parameters"] == {"archive": "now"}


@pytest.mark.parametrize("flow", ["voicemail", "whole-call"])
def test_caller_who_hangs_up_is_archived_by_what_the_flow_saved(
    mono: Journey, flow_function: Function, flow: str
) -> None:
    run = FlowRun(content(flow), call(), flow_function, [HANGS_UP]).run()
    assert run.end in {HANGS_UP, "transferred"}
    assert run.attributes.keys() == STARTS
    assert mono.queued_jobs() == []
    assert hears_of_the_end(mono, run.contact(), recordings=False)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


@pytest.mark.parametrize("key", sorted(STARTS))
def test_every_saved_attribute_is_needed(mono: Journey, flow_function: Function, key: str) -> None:
    run = FlowRun(content("voicemail"), call(), flow_function, [HANGS_UP]).run()
    del run.attributes[key]
    hears_of_the_end(mono, run.contact(), recordings=False)
    assert mono.keys() == []


def test_whole_call_is_transferred_while_it_streams(mono: Journey, flow_function: Function) -> None:
    run = FlowRun(content("whole-call"), call(), flow_function).run()
    assert (run.end, run.streaming) == ("transferred", "started")
    assert mono.queued_jobs() == []
    assert hears_of_the_end(mono, run.contact(), recordings=True)
    assert mono.pcm() == caller()


@pytest.mark.parametrize(("flow", "action"), error_branches())
def test_whatever_fails_the_caller_is_let_go_or_goes_on(
    mono: Journey, flow_function: Function, flow: str, action: str
) -> None:
    failing = LEADS_TO.get(action) or LEADS_TO.get(f"{flow}: {action}", {})
    keys = ["5", "#"] if action == "Keep listening" else ["#"]
    run = FlowRun(
        content(flow), call(), flow_function, keys, failing={**failing, action: CATCH_ALL}
    ).run()
    assert action in run.path
    is_lost = {"Set the queue", "Transfer to the queue"} & ({action} | failing.keys())
    assert run.end == ("disconnected" if flow != "whole-call" or is_lost else "transferred")
    assert set(run.entries) <= {"stopped"}
    assert (
        run.heard or action in {"Apologise", "Say that all lines are busy"} or flow == "whole-call"
    )


@pytest.mark.parametrize(
    ("action", "noted", "queued"),
    [
        ("Start media streaming", "NOT_STREAMING", False),
        ("Report the start", "START_NOT_REPORTED", True),
        ("Queue the archive job", "STOP_NOT_REPORTED", False),
    ],
)
def test_what_failed_is_on_the_contact_record(
    mono: Journey, flow_function: Function, action: str, noted: str, queued: bool
) -> None:
    run = FlowRun(
        content("voicemail"), call(), flow_function, ["#"], failing={action: CATCH_ALL}
    ).run()
    assert run.attributes["archiveError"] == noted
    assert bool(mono.queued_jobs()) == queued


def test_full_queue_is_told(mono: Journey, flow_function: Function) -> None:
    full = {"Transfer to the queue": "QueueAtCapacity"}
    run = FlowRun(content("whole-call"), call(), flow_function, failing=full).run()
    assert run.end == "disconnected"
    assert "busy" in run.heard[-1]


def test_nothing_streamed_is_told_before_anything_is_said(
    mono: Journey, flow_function: Function
) -> None:
    failing = {"Start media streaming": CATCH_ALL}
    run = FlowRun(content("voicemail"), call(), flow_function, ["#"], failing=failing).run()
    assert run.invocations == []
    (heard,) = run.heard
    assert heard.startswith("Sorry")


def test_function_that_raises_takes_the_error_branch(mono: Journey, tmp_path: Path) -> None:
    environment = flow_environment(mono.aws)
    environment["ARCHIVE_QUEUE_URL"] += "-that-is-not-there"
    with Function(FLOW_HANDLER, environment, tmp_path / "log", 8) as broken:
        run = FlowRun(content("voicemail"), call(), broken, ["#"]).run()
    assert run.end == "disconnected"
    assert run.attributes["archiveError"] == "STOP_NOT_REPORTED"
    assert "Thank you" in run.heard[-1]


# ------------------------------------------------------------------ payment

CARD = "4111111111111111"


def test_digits_are_taken_while_nothing_is_streamed(mono: Journey, flow_function: Function) -> None:
    run = FlowRun(content("payment"), mono.place(call()), flow_function, [CARD]).run()
    assert (run.end, run.entries) == ("disconnected", ["stopped"])
    assert CARD not in str(run.attributes)
    assert run.path.index("Set logging off") < run.path.index("Take the card number")
    assert len(mono.queued_jobs()) == 2


def test_a_late_stop_is_waited_for_and_never_assumed(
    mono: Journey, flow_function: Function
) -> None:
    late = FlowRun(content("payment"), call(), flow_function, [CARD], stop_is_late=True).run()
    assert late.entries == []
    assert late.attributes["archiveError"] == "STOP_NOT_PROVED"
    assert late.path.count("Report the stop") == 3
    assert late.heard[-1].startswith("Sorry")


@pytest.mark.parametrize("entered", [TIME_OUT, HANGS_UP])
def test_streaming_starts_again_only_after_the_entry(
    mono: Journey, flow_function: Function, entered: str
) -> None:
    run = FlowRun(content("payment"), call(), flow_function, [entered]).run()
    assert ("Start again" in run.path) == (entered == TIME_OUT)
