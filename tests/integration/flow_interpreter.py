"""A flow's JSON and a caller's script → what the caller hears and what Connect knows afterwards.

As much of Connect as the sample flows need. The call is simulated and placed elsewhere; here only
the flow runs: which block comes next, what FlowFunction receives, what is kept of its answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from local.call import Call
from local.contact import FlowState
from local.runtime import Function, FunctionError

type Json = dict[str, Any]

HANGS_UP = "hangs up"
TIME_OUT = ""
"""A caller who presses nothing until time is up."""
_EXTERNAL = "$.External."


@dataclass
class FlowRun:
    """One contact in a flow.

    Attributes:
        call: the contact's call; its attributes are those that the flow has set so far.
        flow_function: what the Lambda blocks invoke.
        caller: what the caller does, one entry for each block that waits for a key.
        failing: action → the error whose branch it takes.
        stop_is_late: a Lambda block right behind Stop media streaming sees no Stop keys yet.
        entries: how far streaming had got at each entry that the flow stored.
    """

    content: Json
    call: Call
    flow_function: Function
    caller: Sequence[str] = ()
    failing: Mapping[str, str] = field(default_factory=dict)
    stop_is_late: bool = False
    path: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    invocations: list[Json] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    external: dict[str, str] = field(default_factory=dict)
    streaming: FlowState = "not_started"
    queue: str = ""
    entries: list[FlowState] = field(default_factory=list)
    end: str = ""

    def run(self) -> "FlowRun":
        """Walks the flow to its end."""
        actions = {action["Identifier"]: action for action in self.content["Actions"]}
        script = iter(self.caller)
        name = self.content["StartAction"]
        while name:
            assert len(self.path) < 50, f"the flow goes in circles: {self.path}"
            self.path.append(name)
            action = actions[name]
            outcome = self.failing.get(name) or self._perform(action, script)
            name = "" if outcome is None else _follow(action["Transitions"], outcome)
        assert self.end, f"the flow stops at {self.path[-1]}, and the caller hears nothing more"
        return self

    def contact(self) -> Call:
        """The call, with the contact attributes that the flow has left."""
        return replace(self.call, attributes=dict(self.attributes))

    def _perform(self, action: Json, script: Iterator[str]) -> str | None:
        """Does what a block does; the error, the key, "" for neither, None if the flow ends."""
        parameters = action["Parameters"]
        match action["Type"]:
            case "UpdateContactMediaStreamingBehavior":
                self._stream(parameters["MediaStreamingState"])
            case "InvokeLambdaFunction":
                return self._invoke(parameters)
            case "UpdateContactAttributes":
                self.attributes |= {
                    key: self._value(value) for key, value in parameters["Attributes"].items()
                }
            case "MessageParticipant":
                self.heard.append(parameters["Text"])
            case "GetParticipantInput":
                return self._listen(parameters, next(script))
            case "UpdateContactTargetQueue":
                self.queue = parameters["QueueId"]
            case "TransferContactToQueue" | "DisconnectParticipant":
                self._leave(action)
                return None
            case other:
                return self._choose(other, action)
        return ""

    def _leave(self, action: Json) -> None:
        is_transfer = action["Type"] == "TransferContactToQueue"
        assert self.queue or not is_transfer, "no queue has been set"
        self.end = "transferred" if is_transfer else "disconnected"

    def _choose(self, kind: str, action: Json) -> str:
        match kind:
            case "Compare":
                return self._value(action["Parameters"]["ComparisonValue"])
            case "Loop":
                times = int(action["Parameters"]["LoopCount"])
                return self._go_round(action["Identifier"], times)
            case other:
                assert other == "UpdateFlowLoggingBehavior"
                return ""

    def _stream(self, state: str) -> None:
        if state == "Enabled":
            self.streaming = "started"
        elif self.streaming == "started":
            self.streaming = "stopped_without_stop_keys" if self.stop_is_late else "stopped"

    def _invoke(self, parameters: Json) -> str:
        assert parameters["ResponseValidation"] == {"ResponseType": "STRING_MAP"}
        inputs = parameters.get("LambdaInvocationAttributes", {})
        event = self.contact().flow_event(self.streaming, inputs)
        self.invocations.append(event)
        try:
            answer = self.flow_function.invoke(event)
        except FunctionError:
            self.external = {}
            return "NoMatchingError"
        assert all(isinstance(value, str) for value in answer.values())
        self.external = answer
        return ""

    def _listen(self, parameters: Json, key: str) -> str | None:
        self.heard.append(parameters["Text"])
        if parameters["StoreInput"] == "True":
            return self._store(key)
        if key == HANGS_UP:
            self.end = HANGS_UP
            return None
        return key or "InputTimeLimitExceeded"

    def _store(self, key: str) -> str | None:
        """Connect's log and `$.StoredCustomerInput` hold what was entered: here, when it was."""
        if key == HANGS_UP:
            self.end = HANGS_UP
            return None
        self.entries.append(self.streaming)
        return "" if key else "NoMatchingError"

    def _go_round(self, name: str, times: int) -> str:
        rounds = self.path.count(name)
        return "ContinueLooping" if rounds <= times else "DoneLooping"

    def _value(self, value: str) -> str:
        if not value.startswith(_EXTERNAL):
            return value
        return self.external[value.removeprefix(_EXTERNAL)]


def _follow(transitions: Mapping[str, Any], outcome: str) -> str:
    """The next action: the condition's, the error's, else NextAction."""
    errors = {entry["ErrorType"]: str(entry["NextAction"]) for entry in transitions["Errors"]}
    conditions = {
        entry["Condition"]["Operands"][0]: str(entry["NextAction"])
        for entry in transitions["Conditions"]
    }
    if not outcome:
        return str(transitions["NextAction"])
    if outcome in conditions or outcome in errors:
        return {**errors, **conditions}[outcome]
    return errors["NoMatchingCondition"]
