"""The sample flows. Each reads top to bottom; `aside` is where errors lead.

Whatever fails, the caller hears something, and is disconnected or goes on to an agent. What failed
is in the flow's log, and as the contact attribute `archiveError` on the contact record.
"""

from flows.blocks import (
    QUEUE,
    Json,
    build_flow,
    disconnect,
    invoke_flow_function,
    listen,
    save,
    save_answer,
    say,
    set_logging,
    set_queue,
    start_media_streaming,
    stop_media_streaming,
    transfer_to_queue,
)
from flows.contract import WHERE_IT_STARTS

WHAT_BECAME_OF_IT = ("archiveStatus", "archiveUri", "reason")

MESSAGE_SECONDS = 180
"""The longest that the editor lets a block wait for a key."""

VOICEMAIL = build_flow(
    main=[
        set_logging("Set logging"),
        start_media_streaming("Start media streaming", otherwise="Note NOT_STREAMING"),
        invoke_flow_function("Report the start", otherwise="Note START_NOT_REPORTED"),
        save_answer("Save where it starts", *WHERE_IT_STARTS, otherwise="Take the message"),
        listen(
            "Take the message",
            "<speak>Please leave your message after the tone. When you have finished, press the "
            'hash key, or hang up. <say-as interpret-as="expletive">beep</say-as></speak>',
            seconds=MESSAGE_SECONDS,
            keys={"#": "Stop media streaming"},
            other_key="Go on listening",
            otherwise="Stop media streaming",
        ),
        stop_media_streaming("Stop media streaming", otherwise="Queue the archive job"),
        invoke_flow_function(
            "Queue the archive job", archive="now", otherwise="Note STOP_NOT_REPORTED"
        ),
        save_answer("Save what became of it", *WHAT_BECAME_OF_IT, otherwise="Say goodbye"),
        say("Say goodbye", "Thank you for your message. Goodbye.", otherwise="Disconnect"),
        disconnect("Disconnect"),
    ],
    aside=[
        save(
            "Note NOT_STREAMING",
            {"archiveError": "NOT_STREAMING"},
            then="Apologise",
            otherwise="Apologise",
        ),
        say(
            "Apologise",
            "Sorry, we cannot take your message at the moment. Please call again later.",
            then="Disconnect",
            otherwise="Disconnect",
        ),
        save(
            "Note START_NOT_REPORTED",
            {"archiveError": "START_NOT_REPORTED"},
            then="Take the message",
            otherwise="Take the message",
        ),
        listen(
            "Go on listening",
            '<speak><break time="1s"/></speak>',
            seconds=MESSAGE_SECONDS,
            keys={"#": "Stop media streaming"},
            other_key="Go on listening",
            otherwise="Stop media streaming",
        ),
        save(
            "Note STOP_NOT_REPORTED",
            {"archiveError": "STOP_NOT_REPORTED"},
            then="Say goodbye",
            otherwise="Say goodbye",
        ),
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
        transfer_to_queue("Transfer to the queue", full="Say all are busy", otherwise="Apologise"),
        disconnect("Disconnect"),
    ],
    aside=[
        save(
            "Note NOT_STREAMING",
            {"archiveError": "NOT_STREAMING"},
            then="Set the queue",
            otherwise="Set the queue",
        ),
        save(
            "Note START_NOT_REPORTED",
            {"archiveError": "START_NOT_REPORTED"},
            then="Announce the recording",
            otherwise="Announce the recording",
        ),
        say(
            "Apologise",
            "Sorry, we cannot connect you at the moment. Please call again later.",
            then="Disconnect",
            otherwise="Disconnect",
        ),
        say(
            "Say all are busy",
            "Sorry, all our lines are busy. Please call again later.",
            then="Disconnect",
            otherwise="Disconnect",
        ),
    ],
)

FLOWS: dict[str, Json] = {"voicemail": VOICEMAIL, "whole-call": WHOLE_CALL}
"""File name without `.json`, and value of the template's parameter SampleFlow → content."""
