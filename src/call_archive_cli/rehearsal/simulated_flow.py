"""What `--simulate` makes in an instance: a flow that streams its caller, and a test case for it.

The flow starts media streaming, invokes FlowFunction, says known sentences, listens, stops, invokes
FlowFunction again and disconnects. Every error branch leads on, so that the contact always ends.

Sources: "Flow language" and "Testing language" of Amazon Connect; published test cases, whose
authors found which parts of the documentation's example are refused (its version, `Usage`,
transitions inside actions). Spoken input has two names in the sources, so both are tried.
"""

from typing import Any, Final

type Json = dict[str, Any]

NAME: Final = "call-archive rehearsal"
"""What every flow and test case of a rehearsal begins with."""

VERSION: Final = "2019-10-30"
SENTENCES: Final = (
    "This is a rehearsal of Call Archive. One, two, three, four, five. After this sentence, "
    "please say something."
)
GOODBYE: Final = "Thank you. The rehearsal is over."
SPOKEN: Final = "One, two, three. This is the customer of a rehearsal."
INSTRUCTIONS: Final[tuple[Json, ...]] = (
    {"Type": "Utterance", "Properties": {"Value": SPOKEN}},
    {"Type": "TextUtterance", "Properties": {"Value": SPOKEN}},
    {"Type": "DtmfInput", "Properties": {"Value": 1}},
)
"""Ways to speak, the one to try first in front; the last is no speech, but was seen to work."""

_LISTEN_S: Final = "8"


def build_flow(function_arn: str) -> Json:
    """The flow's content."""

    def streaming(name: str, state: str, following: str, otherwise: str = "") -> Json:
        parameters = {
            "MediaStreamingState": state,
            "MediaStreamType": "Audio",
            "Participants": [{"ParticipantType": "Customer", "MediaDirections": ["To", "From"]}],
        }
        kind = "UpdateContactMediaStreamingBehavior"
        return _block(name, kind, parameters, following, otherwise)

    def report(name: str, following: str, **attributes: str) -> Json:
        parameters: Json = {
            "LambdaFunctionARN": function_arn,
            "InvocationTimeLimitSeconds": "8",
            "ResponseValidation": {"ResponseType": "STRING_MAP"},
        }
        if attributes:
            parameters["LambdaInvocationAttributes"] = attributes
        return _block(name, "InvokeLambdaFunction", parameters, following)

    listen: Json = {
        "Identifier": "listen",
        "Type": "GetParticipantInput",
        "Parameters": {
            "Text": SENTENCES,
            "StoreInput": "False",
            "InputTimeLimitSeconds": _LISTEN_S,
        },
        "Transitions": {
            "NextAction": "stop",
            "Errors": [
                {"ErrorType": kind, "NextAction": "stop"}
                for kind in ("InputTimeLimitExceeded", "NoMatchingCondition", "NoMatchingError")
            ],
            "Conditions": [],
        },
    }
    return {
        "Version": VERSION,
        "StartAction": "start",
        "Metadata": {},
        "Actions": [
            # What was never started is not stopped.
            streaming("start", "Enabled", "report-start", "goodbye"),
            report("report-start", "listen"),
            listen,
            streaming("stop", "Disabled", "report-stop"),
            report("report-stop", "goodbye", archive="now"),
            _block("goodbye", "MessageParticipant", {"Text": GOODBYE}, "disconnect"),
            {
                "Identifier": "disconnect",
                "Type": "DisconnectParticipant",
                "Parameters": {},
                "Transitions": {},
            },
        ],
    }


def build_test_case(instruction: Json) -> Json:
    """The test case's content: hear the sentences, speak, hear the goodbye, end."""
    speak = {
        "Identifier": "speak",
        "Type": "SendInstruction",
        "Actor": "Customer",
        "Parameters": {
            "ActionType": "SendInstruction",
            "Actor": "Customer",
            "Instruction": instruction,
        },
    }
    end = {
        "Identifier": "end",
        "Type": "TestControl",
        "Parameters": {"ActionType": "TestControl", "Command": {"Type": "EndTest"}},
    }
    return {
        "Version": VERSION,
        "Metadata": {},
        "Observations": [
            _observation("begin", _event("begun", "TestInitiated", {}), [], "sentences"),
            _observation("sentences", _heard("heard", "This is a rehearsal"), [speak], "goodbye"),
            _observation("goodbye", _heard("heard-goodbye", "rehearsal is over"), [end]),
        ],
    }


def _block(name: str, kind: str, parameters: Json, following: str, otherwise: str = "") -> Json:
    return {
        "Identifier": name,
        "Type": kind,
        "Parameters": parameters,
        "Transitions": {
            "NextAction": following,
            "Errors": [{"ErrorType": "NoMatchingError", "NextAction": otherwise or following}],
            "Conditions": [],
        },
    }


def _event(name: str, kind: str, properties: Json) -> Json:
    return {"Identifier": name, "Type": kind, "Actor": "System", "Properties": properties}


def _heard(name: str, text: str) -> Json:
    event = _event(name, "MessageReceived", {"Text": text})
    return {**event, "MatchingCriteria": "Inclusion"}


def _observation(name: str, event: Json, actions: list[Json], following: str = "") -> Json:
    return {
        "Identifier": name,
        "Event": event,
        "Actions": actions,
        "Transitions": {"NextObservations": [following] if following else []},
    }
