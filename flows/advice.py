"""Our own advice: a flow → where a recording, or a caller, would be lost along its ways.

Every rule here looks at all ways that lead to an action: `states` gives the states in which it may
be reached.
"""

import json
from collections.abc import Callable, Iterator
from enum import StrEnum

from flows.contract import (
    ARCHIVE_NOW,
    ARCHIVE_PARAMETER,
    WHERE_IT_STARTS,
    answer_keys,
    is_flow_function,
)
from flows.document import Action, Branch, BranchKind, Finding, Flow, Level

CHAIN_SECONDS = 20
"""What all Lambda blocks without a prompt between them may take (Connect administrator guide)."""

EXTERNAL = "$.External."
_HEARD = frozenset(
    {
        "MessageParticipant",
        "MessageParticipantIteratively",
        "GetParticipantInput",
        "ConnectParticipantWithLexBot",
    }
)
_NO_ANSWER = ""


class Streaming(StrEnum):
    """How far media streaming has got."""

    NOT_STARTED = "not started"
    STARTED = "started"
    STOPPED = "stopped"


def check_advice(flow: Flow) -> Iterator[Finding]:
    """What Connect would take, and would not do what was meant."""
    yield from _check_streaming(flow)
    yield from _check_chains(flow)
    yield from _check_answers(flow)
    for action in flow.actions.values():
        yield from _check_invocation(action)
    yield from _check_saved(flow)
    yield from _check_old_paths(flow)
    yield from _check_entries(flow)


def states[State](
    flow: Flow, start: State, after: Callable[[Action, Branch, State], State]
) -> dict[str, set[State]]:
    """The states in which each action may be reached.

    Args:
        flow: the flow.
        start: the state before the first action.
        after: the state that an action leaves, by the branch it takes. There have to be finitely
            many.
    """
    found: dict[str, set[State]] = {}
    waiting = [(flow.start, start)] if flow.start in flow.actions else []
    while waiting:
        name, state = waiting.pop()
        if state in found.setdefault(name, set()):
            continue
        found[name].add(state)
        action = flow.actions[name]
        waiting += [(to.name, after(action, way, state)) for way, to in flow.ways(action)]
    return found


def _of_type(flow: Flow, action_type: str) -> Iterator[Action]:
    return (action for action in flow.actions.values() if action.type == action_type)


# ---------------------------------------------------------------------------- media streaming


def _is_stop(action: Action) -> bool:
    return action.parameters.get("MediaStreamingState") == "Disabled"


def _streaming_after(action: Action, branch: Branch, state: Streaming) -> Streaming:
    if action.type != "UpdateContactMediaStreamingBehavior":
        return state
    if _is_stop(action):
        return Streaming.STOPPED
    return state if branch.kind is BranchKind.ERROR else Streaming.STARTED


def _check_streaming(flow: Flow) -> Iterator[Finding]:
    reached = states(flow, Streaming.NOT_STARTED, _streaming_after)
    for action in _of_type(flow, "UpdateContactMediaStreamingBehavior"):
        if _is_stop(action) and Streaming.NOT_STARTED in reached.get(action.name, ()):
            yield Finding(
                "stop-before-start",
                action.name,
                "the flow can get here without having started media streaming",
                "Put Start media streaming before it, and connect that block's error past this one",
            )
        if not _is_stop(action) and "From" not in _directions(action):
            yield Finding(
                "not-from-caller",
                action.name,
                "what the caller says is not streamed",
                'Select "From the customer"',
            )
    for action in _of_type(flow, "InvokeLambdaFunction"):
        early = reached.get(action.name, set()) - {Streaming.STOPPED}
        if _wants_archive(action) and early:
            yield Finding(
                "archive-too-early",
                action.name,
                f"archive = now, but the flow can get here while streaming is {min(early)}",
                "Set archive = now only after Stop media streaming",
            )


def _directions(action: Action) -> str:
    return str(action.parameters.get("Participants"))


def _wants_archive(action: Action) -> bool:
    inputs = action.parameters.get("LambdaInvocationAttributes")
    return (
        is_flow_function(action.parameters.get("LambdaFunctionARN"))
        and isinstance(inputs, dict)
        and inputs.get(ARCHIVE_PARAMETER) == ARCHIVE_NOW
    )


# ------------------------------------------------------------------------------- Lambda blocks


def _seconds(action: Action) -> int:
    """How long the caller may wait at a block."""
    if action.type != "InvokeLambdaFunction":
        return 0
    if action.parameters.get("InvocationType") == "ASYNCHRONOUS":
        return 0
    limit = str(action.parameters.get("InvocationTimeLimitSeconds"))
    return int(limit) if limit.isascii() and limit.isdigit() else 0


def _silence_after(action: Action, _: Branch, state: int) -> int:
    if action.type in _HEARD:
        return 0
    return min(state + _seconds(action), CHAIN_SECONDS + 1)


def _check_chains(flow: Flow) -> Iterator[Finding]:
    for name, silences in states(flow, 0, _silence_after).items():
        action = flow.actions[name]
        if _seconds(action) and max(silences) + _seconds(action) > CHAIN_SECONDS:
            yield Finding(
                "lambda-chain",
                name,
                f"up to here, Lambda blocks may take more than {CHAIN_SECONDS} s without a prompt",
                "Put a prompt between them, or lower their time-outs",
                Level.WARNING,
            )


def _check_invocation(action: Action) -> Iterator[Finding]:
    if action.type != "InvokeLambdaFunction":
        return
    if not is_flow_function(action.parameters.get("LambdaFunctionARN")):
        return
    response = action.parameters.get("ResponseValidation")
    kind = response.get("ResponseType") if isinstance(response, dict) else None
    if kind != "STRING_MAP":
        yield Finding(
            "response-type",
            action.name,
            f"the response type is {kind or 'missing'}",
            "Choose STRING_MAP; choose JSON only if Connect refuses the response",
            Level.WARNING,
        )


# ---------------------------------------------------------------------------------- the answer


def _answer_after(action: Action, branch: Branch, state: str) -> str:
    if action.type != "InvokeLambdaFunction":
        return state
    if branch.kind is BranchKind.ERROR:
        return _NO_ANSWER
    return str(action.parameters.get("LambdaFunctionARN"))


def _read_keys(action: Action) -> dict[str, str]:
    """Contact attribute → key of `$.External`."""
    attributes = action.parameters.get("Attributes")
    return {
        name: value.removeprefix(EXTERNAL)
        for name, value in (attributes if isinstance(attributes, dict) else {}).items()
        if isinstance(value, str) and value.startswith(EXTERNAL)
    }


def _check_answers(flow: Flow) -> Iterator[Finding]:
    answered = states(flow, _NO_ANSWER, _answer_after)
    for action in _of_type(flow, "UpdateContactAttributes"):
        keys, functions = _read_keys(action), answered.get(action.name, set())
        if keys and _NO_ANSWER in functions:
            yield Finding(
                "no-answer",
                action.name,
                f"it reads {EXTERNAL}*, but the flow can get here without a function's response",
                "Put it directly after the Lambda block, and connect that block's error past it",
            )
        unknown = sorted(set(keys.values()) - answer_keys())
        if unknown and any(is_flow_function(function) for function in functions):
            yield Finding(
                "unknown-key",
                action.name,
                f"FlowFunction does not return {', '.join(unknown)}",
                f"It returns {', '.join(sorted(answer_keys()))}",
            )


def _check_saved(flow: Flow) -> Iterator[Finding]:
    invocations = [
        action
        for action in _of_type(flow, "InvokeLambdaFunction")
        if is_flow_function(action.parameters.get("LambdaFunctionARN"))
    ]
    saved = {
        name
        for action in _of_type(flow, "UpdateContactAttributes")
        for name, key in _read_keys(action).items()
        if name == key
    }
    missing = [key for key in WHERE_IT_STARTS if key not in saved]
    if invocations and missing:
        yield Finding(
            "not-saved",
            invocations[0].name,
            f"{', '.join(missing)}: not saved as a contact attribute of that name",
            "Save it after this block: if the caller hangs up, it may be all that is known",
            Level.WARNING,
        )


# ------------------------------------------------------------------------------ old JSONPath


OLD_PATH = "$.MediaStreams.Customer.Audio.StartPosition"
"""What older documentation calls the start fragment's number."""


def _check_old_paths(flow: Flow) -> Iterator[Finding]:
    for action in flow.actions.values():
        if "MediaStreams.Customer.Audio.StartPosition" in json.dumps(action.parameters):
            yield Finding(
                "old-path",
                action.name,
                f"it reads {OLD_PATH}, which Connect leaves empty",
                "Read $.MediaStreams.Customer.Audio.StartFragmentNumber",
            )


# ------------------------------------------------------------------- what the caller enters


class Proof(StrEnum):
    """What is known of media streaming when a caller enters digits."""

    NOT_STARTED = "media streaming was never started"
    STREAMING = "media is streaming"
    STOPPING = "Stop media streaming has run, which does not prove that streaming has stopped"
    ANSWERED = "FlowFunction has answered, and nothing looks at mediaStreaming"
    STOPPED = "streaming has stopped, and FlowFunction says so"


STOPPED_ANSWERS = frozenset(("Equals STOPPED", "Equals NOT_STARTED"))
_SAFE = frozenset((Proof.NOT_STARTED, Proof.STOPPED))


def _proof_after(action: Action, branch: Branch, state: Proof) -> Proof:
    match action.type:
        case "UpdateContactMediaStreamingBehavior":
            if not _is_stop(action):
                return state if branch.kind is BranchKind.ERROR else Proof.STREAMING
            return state if state is Proof.NOT_STARTED else Proof.STOPPING
        case "InvokeLambdaFunction" if state in (Proof.STOPPING, Proof.ANSWERED):
            is_ours = is_flow_function(action.parameters.get("LambdaFunctionARN"))
            has_answered = is_ours and branch.kind is not BranchKind.ERROR
            return Proof.ANSWERED if has_answered else Proof.STOPPING
        case "Compare" if state is Proof.ANSWERED:
            looks = action.parameters.get("ComparisonValue") == f"{EXTERNAL}mediaStreaming"
            says = branch.kind is BranchKind.CONDITION and branch.name in STOPPED_ANSWERS
            return Proof.STOPPED if looks and says else state
    return state


def _check_entries(flow: Flow) -> Iterator[Finding]:
    reached = states(flow, Proof.NOT_STARTED, _proof_after)
    for action in _of_type(flow, "GetParticipantInput"):
        is_encrypted = "InputEncryption" in action.parameters
        unsafe = sorted(reached.get(action.name, set()) - _SAFE)
        if unsafe and (is_encrypted or action.parameters.get("StoreInput") == "True"):
            yield Finding(
                "entry-is-recorded",
                action.name,
                f"it stores what the caller enters, and {unsafe[0]}",
                "Put Stop media streaming, a prompt of 3 s and FlowFunction before it, and go on "
                "only if $.External.mediaStreaming is STOPPED",
                Level.ERROR if is_encrypted else Level.WARNING,
            )
