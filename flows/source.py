"""The sample flows. Each reads top to bottom; `aside` is where errors lead.

Whatever fails, the caller hears something, and is disconnected or reaches an agent. What failed
is in the flow's log, and as the contact attribute `archiveError` on the contact record.
"""

from flows.blocks import (
    QUEUE,
    Block,
    Json,
    build_flow,
    compare,
    disconnect,
    invoke_flow_function,
    listen,
    loop,
    save,
    save_answer,
    say,
    set_logging,
    set_queue,
    start_media_streaming,
    stop_media_streaming,
    store_entry,
    transfer_to_queue,
)
from flows.contract import WHERE_IT_STARTS

THE_RESULT = ("archiveStatus", "archiveUri", "reason")

MESSAGE_SECONDS = 180
"""The longest that the editor lets a block wait for a key."""


def note(code: str, then: str) -> Block:
    """What went wrong, as a contact attribute; the call goes on, whether or not it was saved."""
    return save(f"Note {code}", {"archiveError": code}, then=then, otherwise=then)


def say_at_last(name: str, text: str) -> Block:
    """The last words before the call is disconnected."""
    return say(name, text, then="Disconnect", otherwise="Disconnect")


VOICEMAIL = build_flow(
    main=[
        set_logging("Set logging"),
        start_media_streaming("Start media streaming", otherwise="Note NOT_STREAMING"),
        invoke_flow_function("Report the start", otherwise="Note START_NOT_REPORTED"),
        save_answer("Save where it starts", *WHERE_IT_STARTS, otherwise="Take the message"),
        listen(
            "Take the message",
            "Please leave your message now. When you have finished, press the pound key, also "
            "called hash, or hang up.",
            seconds=MESSAGE_SECONDS,
            keys={"#": "Stop media streaming"},
            other_key="Keep listening",
            time_out="Stop media streaming",
            # A prompt that fails still leaves the caller a chance to speak.
            otherwise="Keep listening",
        ),
        stop_media_streaming("Stop media streaming", otherwise="Queue the archive job"),
        invoke_flow_function(
            "Queue the archive job", archive="now", otherwise="Note STOP_NOT_REPORTED"
        ),
        save_answer("Save the result", *THE_RESULT, otherwise="Say goodbye"),
        say("Say goodbye", "Thank you for your message. Goodbye.", otherwise="Disconnect"),
        disconnect("Disconnect"),
    ],
    aside=[
        note("NOT_STREAMING", then="Apologise"),
        say_at_last(
            "Apologise",
            "Sorry, we cannot take your message at the moment. Please call again later.",
        ),
        note("START_NOT_REPORTED", then="Take the message"),
        listen(
            "Keep listening",
            "Please continue.",
            seconds=MESSAGE_SECONDS,
            keys={"#": "Stop media streaming"},
            other_key="Keep listening",
            time_out="Stop media streaming",
            otherwise="Stop media streaming",
        ),
        note("STOP_NOT_REPORTED", then="Say goodbye"),
    ],
)

WHOLE_CALL = build_flow(
    main=[
        set_logging("Set logging"),
        start_media_streaming("Start media streaming", otherwise="Note NOT_STREAMING"),
        invoke_flow_function("Report the start", otherwise="Note START_NOT_REPORTED"),
        save_answer("Save where it starts", *WHERE_IT_STARTS, otherwise="Announce the recording"),
        say(
            "Announce the recording",
            "This call is recorded. Please hold the line.",
            otherwise="Set the queue",
        ),
        set_queue("Set the queue", QUEUE, otherwise="Apologise"),
        transfer_to_queue(
            "Transfer to the queue", full="Say that all lines are busy", otherwise="Apologise"
        ),
        disconnect("Disconnect"),
    ],
    aside=[
        note("NOT_STREAMING", then="Set the queue"),
        note("START_NOT_REPORTED", then="Announce the recording"),
        say_at_last(
            "Apologise", "Sorry, we cannot connect you at the moment. Please call again later."
        ),
        say_at_last(
            "Say that all lines are busy", "Sorry, all our lines are busy. Please call again later."
        ),
    ],
)

CARD_SECONDS = 60
CARD_DIGITS = 19
"""The longest primary account number (ISO/IEC 7812)."""

PAYMENT = build_flow(
    main=[
        set_logging("Set logging"),
        start_media_streaming("Start media streaming", otherwise="Note NOT_STREAMING"),
        invoke_flow_function("Report the start", otherwise="Note START_NOT_REPORTED"),
        save_answer("Save where it starts", *WHERE_IT_STARTS, otherwise="Announce the recording"),
        say(
            "Announce the recording",
            "This call is recorded. The recording pauses while you enter your card number.",
            otherwise="Stop media streaming",
        ),
        stop_media_streaming("Stop media streaming", otherwise="Note STOP_NOT_PROVED"),
        # At least 3 s: Stop is asynchronous, and its success branch proves nothing.
        say(
            "Announce the pause",
            "One moment, please. We are pausing the recording, so that your card number is not "
            "part of it.",
            otherwise="Report the stop",
        ),
        invoke_flow_function("Report the stop", otherwise="Note STOP_NOT_PROVED"),
        compare(
            "Has streaming stopped",
            "$.External.mediaStreaming",
            {"STOPPED": "Set logging off"},
            otherwise="Ask again",
        ),
        set_logging("Set logging off", "Disabled"),
        store_entry(
            "Take the card number",
            "Please enter your card number, then press the pound key, also called hash.",
            seconds=CARD_SECONDS,
            digits=CARD_DIGITS,
            otherwise="Set logging on without an entry",
        ),
        set_logging("Set logging on"),
        start_media_streaming("Start again", otherwise="Queue the archive job"),
        invoke_flow_function("Report the second start", otherwise="Say thank you"),
        save_answer("Save the second start", *WHERE_IT_STARTS, otherwise="Say thank you"),
        say(
            "Say thank you",
            "Thank you. The recording continues.",
            otherwise="Stop the second time",
        ),
        stop_media_streaming("Stop the second time", otherwise="Queue the archive job"),
        invoke_flow_function("Queue the archive job", archive="now", otherwise="Say goodbye"),
        say("Say goodbye", "Goodbye.", otherwise="Disconnect"),
        disconnect("Disconnect"),
    ],
    aside=[
        note("NOT_STREAMING", then="Apologise"),
        note("START_NOT_REPORTED", then="Announce the recording"),
        loop("Ask again", 2, again="Say that it takes a moment", done="Note STOP_NOT_PROVED"),
        say(
            "Say that it takes a moment",
            "This takes a moment longer. Thank you for your patience.",
            then="Report the stop",
            otherwise="Report the stop",
        ),
        note("STOP_NOT_PROVED", then="Apologise"),
        set_logging("Set logging on without an entry", then="Start again"),
        say_at_last("Apologise", "Sorry, we cannot take your payment by phone at the moment."),
    ],
)

FLOWS: dict[str, Json] = {"voicemail": VOICEMAIL, "whole-call": WHOLE_CALL, "payment": PAYMENT}
"""File name without `.json`, and value of the template's parameter SampleFlow → content."""
