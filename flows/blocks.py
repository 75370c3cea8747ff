"""Blocks of a flow, written as a list that reads top to bottom → the flow language's JSON.

A block continues with the next one in its list unless `then` names another; `otherwise` is where
its errors lead. Source: Amazon Connect flow language, and flows exported by the editor, which use a
friendly name as identifier, strings for numbers, and `Metadata` for what only the editor reads.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

type Json = dict[str, Any]

FLOW_FUNCTION = "${FlowFunctionArn}"
"""Stands for the function's ARN: CloudFormation's Fn::Sub and `make flow-files` fill it in."""
QUEUE = "${SampleFlowQueueArn}"
"""Stands for the ARN of the queue, in the same way."""

_COLUMN_PX = 260
_ROW_PX = 240
_FIRST_X, _FIRST_Y = 200, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One action.

    Attributes:
        name: identifier and title in the editor.
        then: the block behind it; "" is the next one in the list.
        errors: error type → block.
        keys: what the caller presses → block.
        ends: the flow ends here.
        editor: what only the editor reads.
    """

    name: str
    type: str
    parameters: Json = field(default_factory=dict)
    then: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    ends: bool = False
    editor: Json = field(default_factory=dict)


def set_logging(name: str, state: str = "Enabled", *, then: str = "") -> Block:
    """Errors of the later blocks show in CloudWatch, or nothing of them."""
    return Block(
        name=name,
        type="UpdateFlowLoggingBehavior",
        parameters={"FlowLoggingBehavior": state},
        then=then,
    )


def start_media_streaming(name: str, *, otherwise: str) -> Block:
    """From here on Connect copies the caller's audio, both ways, into a Kinesis video stream."""
    return _media_streaming(name, "Enabled", otherwise)


def stop_media_streaming(name: str, *, otherwise: str) -> Block:
    """The most that Connect copies."""
    return _media_streaming(name, "Disabled", otherwise)


def _media_streaming(name: str, state: str, otherwise: str) -> Block:
    return Block(
        name=name,
        type="UpdateContactMediaStreamingBehavior",
        parameters={
            "MediaStreamingState": state,
            "MediaStreamType": "Audio",
            "Participants": [{"ParticipantType": "Customer", "MediaDirections": ["To", "From"]}],
        },
        errors={"NoMatchingError": otherwise},
        editor={"toCustomer": True, "fromCustomer": True},
    )


def invoke_flow_function(name: str, *, otherwise: str, **inputs: str) -> Block:
    """Invokes FlowFunction; its response is `$.External` until the next Lambda block."""
    return Block(
        name=name,
        type="InvokeLambdaFunction",
        parameters={
            "LambdaFunctionARN": FLOW_FUNCTION,
            "InvocationTimeLimitSeconds": "8",
            "InvocationType": "SYNCHRONOUS",
            **({"LambdaInvocationAttributes": inputs} if inputs else {}),
            "ResponseValidation": {"ResponseType": "STRING_MAP"},
        },
        errors={"NoMatchingError": otherwise},
        editor={"dynamicMetadata": dict.fromkeys(inputs, False)},
    )


def save_answer(name: str, *keys: str, otherwise: str) -> Block:
    """Keeps keys of the answer as contact attributes of the same names."""
    block = save(name, {key: f"$.External.{key}" for key in keys}, otherwise=otherwise)
    block.editor["parameters"] = {"Attributes": {key: {"useDynamic": True} for key in keys}}
    block.editor["dynamicParams"] = list(keys)
    return block


def save(name: str, attributes: Mapping[str, str], *, otherwise: str, then: str = "") -> Block:
    """Keeps contact attributes, on the contact record, too."""
    return Block(
        name=name,
        type="UpdateContactAttributes",
        parameters={"Attributes": dict(attributes), "TargetContact": "Current"},
        then=then,
        errors={"NoMatchingError": otherwise},
        editor={"dynamicParams": []},
    )


def say(name: str, text: str, *, otherwise: str, then: str = "") -> Block:
    """The caller hears a text."""
    return Block(
        name=name,
        type="MessageParticipant",
        parameters={"Text": text},
        then=then,
        errors={"NoMatchingError": otherwise},
    )


def listen(
    name: str,
    text: str,
    *,
    seconds: int,
    keys: Mapping[str, str],
    other_key: str,
    time_out: str,
    otherwise: str,
) -> Block:
    """The caller hears a prompt and has this many seconds after it; a key ends it at once.

    Args:
        name: identifier and title.
        text: what is heard first; plain text, which every voice can say.
        seconds: until time is up; the editor takes at most 180.
        keys: key → block.
        other_key: where any other key leads.
        time_out: where time-out leads.
        otherwise: where errors lead.
    """
    return Block(
        name=name,
        type="GetParticipantInput",
        parameters={"StoreInput": "False", "InputTimeLimitSeconds": str(seconds), "Text": text},
        then=other_key,
        errors={
            "InputTimeLimitExceeded": time_out,
            "NoMatchingCondition": other_key,
            "NoMatchingError": otherwise,
        },
        keys=keys,
        editor={
            "conditionMetadata": [
                {"id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{name} {key}")), "value": key}
                for key in keys
            ]
        },
    )


def store_entry(name: str, text: str, *, seconds: int, digits: int, otherwise: str) -> Block:
    """The caller enters digits and ends with #; the flow reads them as `$.StoredCustomerInput`."""
    return Block(
        name=name,
        type="GetParticipantInput",
        parameters={
            "StoreInput": "True",
            "InputTimeLimitSeconds": str(seconds),
            "Text": text,
            "InputValidation": {"CustomValidation": {"MaximumLength": str(digits)}},
            "DTMFConfiguration": {"InputTerminationSequence": "#"},
        },
        errors={"NoMatchingError": otherwise},
    )


def compare(name: str, path: str, values: Mapping[str, str], *, otherwise: str) -> Block:
    """Which way to go by a value that the flow knows: value → block; any other leads otherwise."""
    return Block(
        name=name,
        type="Compare",
        parameters={"ComparisonValue": path},
        then=otherwise,
        errors={"NoMatchingCondition": otherwise},
        keys=values,
    )


def loop(name: str, times: int, *, again: str, done: str) -> Block:
    """That many times again, then done."""
    return Block(
        name=name,
        type="Loop",
        parameters={"LoopCount": str(times)},
        then=done,
        keys={"ContinueLooping": again, "DoneLooping": done},
    )


def set_queue(name: str, queue: str, *, otherwise: str) -> Block:
    """Which queue a transfer goes to."""
    return Block(
        name=name,
        type="UpdateContactTargetQueue",
        parameters={"QueueId": queue},
        errors={"NoMatchingError": otherwise},
    )


def transfer_to_queue(name: str, *, full: str, otherwise: str) -> Block:
    """On success the flow ends here, and media streaming continues."""
    return Block(
        name=name,
        type="TransferContactToQueue",
        then=otherwise,
        errors={"QueueAtCapacity": full, "NoMatchingError": otherwise},
    )


def disconnect(name: str) -> Block:
    """Hangs up."""
    return Block(name=name, type="DisconnectParticipant", ends=True)


def build_flow(main: Sequence[Block], aside: Sequence[Block]) -> Json:
    """The flow's content.

    Args:
        main: what happens when all goes well; each block leads to the next.
        aside: where errors lead; each has a `then`. In the editor they are below.
    """
    following = [block.name for block in main[1:]] + [""]
    actions = [_action(block, after) for block, after in zip(main, following, strict=True)]
    actions += [_action(block, "") for block in aside]
    places = _places(main, aside)
    return {
        "Version": "2019-10-30",
        "StartAction": main[0].name,
        "Metadata": {
            "entryPointPosition": {"x": 20, "y": _FIRST_Y},
            "ActionMetadata": {
                block.name: {"position": places[block.name], "isFriendlyName": True, **block.editor}
                for block in (*main, *aside)
            },
        },
        "Actions": actions,
    }


def _action(block: Block, following: str) -> Json:
    return {
        "Identifier": block.name,
        "Type": block.type,
        "Parameters": block.parameters,
        "Transitions": {} if block.ends else _transitions(block, following),
    }


def _transitions(block: Block, following: str) -> Json:
    return {
        "NextAction": block.then or following,
        "Conditions": [
            {"NextAction": target, "Condition": {"Operator": "Equals", "Operands": [key]}}
            for key, target in block.keys.items()
        ],
        "Errors": [
            {"NextAction": target, "ErrorType": error} for error, target in block.errors.items()
        ],
    }


def _places(main: Sequence[Block], aside: Sequence[Block]) -> dict[str, dict[str, int]]:
    """Main blocks in one row; the others below the first block that leads to them."""
    columns = {block.name: column for column, block in enumerate(main)}
    taken = {(column, 0) for column in columns.values()}
    places = {name: _place(column, 0) for name, column in columns.items()}
    for block in aside:
        column = min(
            (columns[other.name] for other in (*main, *aside) if _leads(other, block, columns)),
            default=0,
        )
        row = next(row for row in _rows() if (column, row) not in taken)
        columns[block.name] = column
        taken.add((column, row))
        places[block.name] = _place(column, row)
    return places


def _leads(source: Block, target: Block, columns: Mapping[str, int]) -> bool:
    targets = (source.then, *source.errors.values(), *source.keys.values())
    return source.name in columns and target.name in targets


def _rows() -> Iterator[int]:
    row = 1
    while True:
        yield row
        row += 1


def _place(column: int, row: int) -> dict[str, int]:
    return {"x": _FIRST_X + column * _COLUMN_PX, "y": _FIRST_Y + row * _ROW_PX}
