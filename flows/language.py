"""The flow language, as far as it is checked: what each type of action takes and where it leads.

Sources: Amazon Connect developer guide, "Flow language" (the page of each action), and what
CreateContactFlow and exported flows show where a page is silent. Types that are not here are left
alone.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

VERSION = "2019-10-30"
MAX_ACTIONS = 250
MAX_CHARACTERS = 256_000
MAX_IDENTIFIER = 50
FORBIDDEN_IN_IDENTIFIERS = frozenset("%:(\\/)=$,;[]{}")
FORBIDDEN_IDENTIFIERS = frozenset(
    {
        "__proto__",
        "constructor",
        "__defineGetter__",
        "__defineSetter__",
        "toString",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "valueOf",
    }
)
OPERATORS = frozenset(
    {
        "Equals",
        "TextStartsWith",
        "TextEndsWith",
        "TextContains",
        "NumberGreaterThan",
        "NumberGreaterOrEqualTo",
        "NumberLessThan",
        "NumberLessOrEqualTo",
    }
)

CATCH_ALL = "NoMatchingError"
NO_CONDITION = "NoMatchingCondition"
TIME_OUT = "InputTimeLimitExceeded"
PROMPTS = frozenset({"Text", "SSML", "PromptId", "Media"})

type Rule = Callable[[object], str]
"""A parameter's value → what it should be; "" if it is."""


def one_of(*allowed: str) -> Rule:
    """A fixed word; no JSONPath."""
    wanted = "must be " + " or ".join(f'"{word}"' for word in allowed)
    return lambda value: "" if value in allowed else wanted


def number(least: int, most: int) -> Rule:
    """A whole number, as the editor writes it ("8") or as JSON has it (8)."""

    def rule(value: object) -> str:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        is_number |= isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) is not None
        if is_number and least <= int(str(value)) <= most:
            return ""
        return f'must be a whole number from {least} to {most}, such as "{least}"'

    return rule


def count(value: object) -> str:
    """How often a Loop goes round: 0 to 100, or one JSONPath."""
    if not json_path(value) or not number(0, 100)(value):
        return ""
    return 'must be a whole number from 0 to 100, such as "3", or one JSONPath'


def text(value: object) -> str:
    """A string, with JSONPath anywhere in it or without."""
    return "" if isinstance(value, str) and value else "must be a string that is not empty"


def reference(value: object) -> str:
    """An ARN or id, or one JSONPath and nothing beside it."""
    if isinstance(value, str) and value and (value.startswith("$.") or "$." not in value):
        return ""
    return "must be an ARN or id, or one JSONPath and nothing beside it"


def json_path(value: object) -> str:
    """One JSONPath."""
    is_path = isinstance(value, str) and re.fullmatch(r"\$\.\S+", value) is not None
    return "" if is_path else "must be one JSONPath, such as $.Attributes.name"


def strings(value: object) -> str:
    """An object of strings."""
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return ""
    return "must be an object whose values are strings"


def some_object(value: object) -> str:
    """An object that is not looked into."""
    return "" if isinstance(value, dict) else "must be an object"


def some_list(value: object) -> str:
    """A list that is not looked into."""
    return "" if isinstance(value, list) else "must be a list"


def participants(value: object) -> str:
    """Whose audio is streamed: Connect knows the customer only."""
    wanted = 'must be [{"ParticipantType": "Customer", "MediaDirections": ["To", "From"]}]'
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        return wanted
    directions = value[0].get("MediaDirections")
    fits = (
        value[0].get("ParticipantType") == "Customer"
        and isinstance(directions, list)
        and directions
        and all(direction in ("To", "From") for direction in directions)
    )
    return "" if fits else wanted


def response(value: object) -> str:
    """How Connect reads a function's answer."""
    if isinstance(value, dict) and value.get("ResponseType") in ("STRING_MAP", "JSON"):
        return ""
    return 'must be {"ResponseType": "STRING_MAP"} or {"ResponseType": "JSON"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionType:
    """What one type of action takes and where it leads.

    Attributes:
        block: its name in the editor.
        required: parameters it has to have.
        optional: parameters it may have.
        one_of: of these, exactly one has to be there.
        at_most_one: of these, one or none.
        errors: error branches it has to have.
        more_errors: error branches it may have.
        conditions: operands of which each has to have a branch; None: conditions are its own
            matter; empty: it has none.
        ends: the flow ends here, with empty Transitions.
        may_end: the flow ends here on success; the branches are for failures.
        waits: holds the caller forever unless something interrupts it, so nothing has to follow.
    """

    block: str
    required: Mapping[str, Rule] = field(default_factory=dict)
    optional: Mapping[str, Rule] = field(default_factory=dict)
    one_of: frozenset[str] = frozenset()
    at_most_one: frozenset[str] = frozenset()
    errors: tuple[str, ...] = (CATCH_ALL,)
    more_errors: tuple[str, ...] = ()
    conditions: tuple[str, ...] | None = ()
    ends: bool = False
    may_end: bool = False
    waits: bool = False


_PROMPT: dict[str, Rule] = {"Text": text, "SSML": text, "PromptId": reference, "Media": some_object}
_QUEUE: dict[str, Rule] = {"QueueId": reference, "AgentId": reference}
_EITHER_QUEUE = frozenset(_QUEUE)
_ON = one_of("Enabled", "Disabled")

TYPES: dict[str, ActionType] = {
    # ---- what archiving a call needs
    "UpdateContactMediaStreamingBehavior": ActionType(
        block="Start or Stop media streaming",
        required={
            "MediaStreamingState": _ON,
            "MediaStreamType": one_of("Audio"),
            "Participants": participants,
        },
    ),
    "InvokeLambdaFunction": ActionType(
        block="Invoke AWS Lambda function",
        required={"LambdaFunctionARN": reference, "InvocationTimeLimitSeconds": number(1, 8)},
        optional={
            "InvocationType": one_of("SYNCHRONOUS", "ASYNCHRONOUS"),
            "LambdaInvocationAttributes": some_object,
            "ResponseValidation": response,
        },
    ),
    "UpdateContactAttributes": ActionType(
        block="Set contact attributes",
        required={"Attributes": strings},
        optional={"TargetContact": one_of("Current", "Related")},
    ),
    "UpdateFlowLoggingBehavior": ActionType(
        block="Set logging behavior", required={"FlowLoggingBehavior": _ON}, errors=()
    ),
    # ---- what the caller hears and does
    "MessageParticipant": ActionType(
        block="Play prompt",
        optional=_PROMPT,
        one_of=PROMPTS,
        # The documentation's own example has none.
        errors=(),
        more_errors=(CATCH_ALL,),
    ),
    "MessageParticipantIteratively": ActionType(
        block="Loop prompts",
        required={"Messages": some_list},
        optional={"InterruptFrequencySeconds": number(1, 86_400)},
        errors=(),
        more_errors=(CATCH_ALL,),
        conditions=None,
        waits=True,
    ),
    # `StoreInput` makes it a menu or a store of digits: check.py knows both.
    "GetParticipantInput": ActionType(
        block="Get or Store customer input",
        required={"InputTimeLimitSeconds": number(1, 180)},
        optional=_PROMPT
        | {
            "StoreInput": one_of("True", "False"),
            "InputValidation": some_object,
            "InputEncryption": some_object,
            "DTMFConfiguration": some_object,
        },
        at_most_one=PROMPTS,
        more_errors=(NO_CONDITION, TIME_OUT, "InvalidPhoneNumber"),
        conditions=None,
    ),
    "ConnectParticipantWithLexBot": ActionType(
        block="Get customer input (Amazon Lex)",
        optional=_PROMPT
        | {
            "LexV2Bot": some_object,
            "LexBot": some_object,
            "LexSessionAttributes": some_object,
            "LexInitializationData": some_object,
            "LexTimeoutSeconds": some_object,
        },
        at_most_one=PROMPTS,
        errors=(NO_CONDITION, CATCH_ALL),
        more_errors=(TIME_OUT,),
        conditions=None,
    ),
    "UpdateContactTextToSpeechVoice": ActionType(
        block="Set voice",
        required={"TextToSpeechVoice": text},
        optional={"TextToSpeechEngine": text, "TextToSpeechStyle": text},
        errors=(),
        more_errors=(CATCH_ALL,),
    ),
    # ---- where the call goes
    "UpdateContactTargetQueue": ActionType(
        block="Set working queue", optional=_QUEUE, one_of=_EITHER_QUEUE
    ),
    "TransferContactToQueue": ActionType(
        block="Transfer to queue", errors=("QueueAtCapacity", CATCH_ALL), may_end=True
    ),
    "DequeueContactAndTransferToQueue": ActionType(
        block="Transfer to queue, out of a queue",
        optional=_QUEUE,
        at_most_one=_EITHER_QUEUE,
        errors=("QueueAtCapacity", CATCH_ALL),
        may_end=True,
    ),
    "TransferToFlow": ActionType(
        block="Transfer to flow", required={"ContactFlowId": reference}, may_end=True
    ),
    "TransferContactToAgent": ActionType(block="Transfer to agent", errors=(), ends=True),
    "UpdateContactEventHooks": ActionType(
        block="Set disconnect, hold, queue or whisper flow", required={"EventHooks": strings}
    ),
    "UpdateContactRecordingBehavior": ActionType(
        block="Set recording and analytics behavior",
        required={"RecordingBehavior": some_object},
        optional={"AnalyticsBehavior": some_object},
        errors=(),
        more_errors=(CATCH_ALL,),
    ),
    "UpdateContactRecordingAndAnalyticsBehavior": ActionType(
        block="Set recording, analytics and processing behavior",
        optional={
            "VoiceBehavior": some_object,
            "ChatBehavior": some_object,
            "ScreenRecordingBehavior": some_object,
        },
        at_most_one=frozenset(("VoiceBehavior", "ChatBehavior")),
        errors=(),
        more_errors=(CATCH_ALL, "ChannelMismatch"),
    ),
    "InvokeFlowModule": ActionType(
        block="Invoke module", required={"FlowModuleId": reference}, conditions=None
    ),
    # ---- which way the flow takes
    "Compare": ActionType(
        block="Check contact attributes",
        required={"ComparisonValue": json_path},
        errors=(NO_CONDITION,),
        more_errors=(CATCH_ALL,),
        conditions=None,
    ),
    "CheckHoursOfOperation": ActionType(
        block="Check hours of operation",
        optional={"HoursOfOperationId": reference},
        conditions=("True", "False"),
    ),
    "Loop": ActionType(
        block="Loop",
        required={"LoopCount": count},
        errors=(),
        more_errors=(CATCH_ALL,),
        conditions=("ContinueLooping", "DoneLooping"),
    ),
    "DistributeByPercentage": ActionType(
        block="Distribute by percentage", errors=(NO_CONDITION,), conditions=None
    ),
    # ---- the ends
    "DisconnectParticipant": ActionType(block="Disconnect / hang up", errors=(), ends=True),
    "EndFlowExecution": ActionType(block="End flow / Resume", errors=(), ends=True),
    "EndFlowModuleExecution": ActionType(block="Return", errors=(), ends=True),
}
