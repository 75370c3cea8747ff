"""Flows in the shapes in which public projects export theirs, re-written small.

`old_console`: UUIDs, `Conditions` and `Errors` everywhere, prompts without an error branch, no
`TargetContact`, no `Parameters` on a transfer. `new_console`: friendly names, empty lists left out,
annotations. `queue_flow`: prompts without an end.
"""

from typing import Any

type Json = dict[str, Any]


def action(name: str, kind: str, parameters: Json | None = None, **transitions: Any) -> Json:
    """One action; `next`, `errors` (type → target) and `keys` (operand → target)."""
    written: Json = {}
    if "next" in transitions:
        written["NextAction"] = transitions["next"]
    if "keys" in transitions:
        written["Conditions"] = [
            {"NextAction": to, "Condition": {"Operator": "Equals", "Operands": [operand]}}
            for operand, to in transitions["keys"].items()
        ]
    if "errors" in transitions:
        written["Errors"] = [
            {"NextAction": to, "ErrorType": error} for error, to in transitions["errors"].items()
        ]
    entry: Json = {"Identifier": name, "Type": kind, "Transitions": written}
    return entry if parameters is None else entry | {"Parameters": parameters}


def flow(*actions: Json) -> Json:
    """A flow that starts at its first action."""
    return {
        "Version": "2019-10-30",
        "StartAction": actions[0]["Identifier"],
        "Metadata": {"entryPointPosition": {"x": 15, "y": 15}, "snapToGrid": False},
        "Actions": list(actions),
    }


def old_console() -> Json:
    """Voicemail by media streaming, with another project's function."""
    start, wait, stop, ask, queue, bye, log, other = (
        f"{digit * 8}-0000-4000-8000-000000000000" for digit in "12345678"
    )
    function = "arn:aws:lambda:us-east-1:123456789012:function:saveVoicemail"
    media: Json = {
        "MediaStreamType": "Audio",
        "Participants": [{"ParticipantType": "Customer", "MediaDirections": ["From"]}],
    }
    wait_errors = dict.fromkeys(
        ("NoMatchingError", "NoMatchingCondition", "InputTimeLimitExceeded"), stop
    )
    return flow(
        action(
            log, "UpdateFlowLoggingBehavior", {"FlowLoggingBehavior": "Enabled"}, next=start,
            errors={}, keys={},
        ),
        action(
            start, "UpdateContactMediaStreamingBehavior",
            {"MediaStreamingState": "Enabled", **media},
            next=other, errors={"NoMatchingError": queue}, keys={},
        ),
        action(
            other, "InvokeLambdaFunction",
            {"LambdaFunctionARN": function, "InvocationTimeLimitSeconds": "3"},
            next=ask, errors={"NoMatchingError": ask}, keys={},
        ),
        action(
            ask, "UpdateContactAttributes", {"Attributes": {"mail": "$.CustomerEndpoint.Address"}},
            next=wait, errors={"NoMatchingError": wait}, keys={},
        ),
        action(
            wait, "GetParticipantInput",
            {"SSML": "<speak><break time='5s'/></speak>", "StoreInput": "False",
             "InputTimeLimitSeconds": "60"},
            next=stop, errors=wait_errors, keys={},
        ),
        action(
            stop, "UpdateContactMediaStreamingBehavior",
            {"MediaStreamingState": "Disabled", **media},
            next=bye, errors={"NoMatchingError": bye}, keys={},
        ),
        action(
            queue, "TransferContactToQueue", next=bye,
            errors={"NoMatchingError": bye, "QueueAtCapacity": bye}, keys={},
        ),
        action(bye, "DisconnectParticipant", {}),
    )  # fmt: skip


def new_console() -> Json:
    """A menu, a stored number, hours, a loop, and a transfer."""
    errors = {"NoMatchingError": "***End***"}
    menu_errors = dict.fromkeys(
        ("InputTimeLimitExceeded", "NoMatchingCondition", "NoMatchingError"), "Try three times"
    )
    content = flow(
        action("Set voice", "UpdateContactTextToSpeechVoice",
               {"TextToSpeechVoice": "Joanna", "TextToSpeechEngine": "Neural"}, next="Open?"),
        action("Open?", "CheckHoursOfOperation", {}, next="***End***",
               keys={"True": "Menu", "False": "***End***"}, errors=errors),
        action("Menu", "GetParticipantInput",
               {"Text": "Press 1.", "StoreInput": "False", "InputTimeLimitSeconds": "5"},
               next="Try three times", keys={"1": "Number"}, errors=menu_errors),
        action("Try three times", "Loop", {"LoopCount": "3"}, next="***End***",
               keys={"ContinueLooping": "Menu", "DoneLooping": "***End***"}),
        action("Number", "GetParticipantInput",
               {"Text": "Your number?", "StoreInput": "True", "InputTimeLimitSeconds": "10",
                "InputValidation": {"CustomValidation": {"MaximumLength": "8"}},
                "DTMFConfiguration": {"InputTerminationSequence": "#"}},
               next="Known?", errors=errors),
        action("Known?", "Compare", {"ComparisonValue": "$.StoredCustomerInput"},
               next="Module", keys={"Timeout": "***End***"},
               errors={"NoMatchingCondition": "Module"}),
        action("Module", "SomethingOfNextYear", {"FlowModuleId": "m"}, next="Queue", errors=errors),
        action("Queue", "UpdateContactTargetQueue", {"QueueId": "$.FlowAttributes.queue"},
               next="Transfer", errors=errors),
        action("Transfer", "TransferContactToQueue", {}, next="***End***",
               errors={"QueueAtCapacity": "***End***", "NoMatchingError": "***End***"}),
        action("***End***", "DisconnectParticipant", {}),
    )  # fmt: skip
    content["Metadata"]["Annotations"] = [{"type": "default", "content": "A note."}]
    return content


def queue_flow() -> Json:
    """What a caller hears in a queue, until an agent takes the call."""
    return flow(
        action(
            "Music", "MessageParticipantIteratively",
            {"Messages": [{"Text": "Please hold."}], "InterruptFrequencySeconds": "30"},
            keys={"MessagesInterrupted": "Sorry"}, errors={},
        ),
        action("Sorry", "MessageParticipant", {"Text": "Still busy."}, next="Music", errors={}),
    )  # fmt: skip
