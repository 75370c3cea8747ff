"""Amazon Connect's simulated contacts: flows and test cases that are made, run and removed.

Starting an execution runs the flow at once, block by block: media streaming makes a call on a
stream, Lambda blocks invoke the functions that run here. Whether a simulated contact's audio
reaches media streaming is not documented: `Behaviour.simulated_media` decides. Times of summary and
records are epoch milliseconds, as the service really sends them.

Sources: the service model of Connect in botocore (paths, names, required members); test contents
that were published by people who ran them.
"""

import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from local.call import Call, simulate_call
from local.clients import REGION
from local.clock import Clock
from local.contact import ACCOUNT
from local.faults import FaultPlan, ServiceError
from local.pcm import synthetic_pcm

type Json = dict[str, Any]

CONTENT_VERSION: Final = "2019-10-30"
SECONDS: Final = 6.0
_MOST_BLOCKS: Final = 50


@dataclass(slots=True)
class _Execution:
    started_ms: int
    records: list[Json]
    is_stopped: bool = False


@dataclass(slots=True)
class TestCases:
    """Flows, test cases and executions of all instances.

    Attributes:
        stream: puts a call on its stream and makes its contact known.
        register: makes the contact of a call known that was not streamed.
        invoke: invokes a function by its name; raises what it raises.
        prefix: of an instance's streams.
    """

    # pytest takes classes of this name for tests.
    __test__ = False

    clock: Clock
    faults: Callable[[], FaultPlan]
    stream: Callable[[Call], None]
    register: Callable[[Call], None]
    invoke: Callable[[str, Json], Any]
    prefix: Callable[[str], str]
    _flows: dict[str, Json] = field(default_factory=dict)
    _cases: dict[str, Json] = field(default_factory=dict)
    _executions: dict[str, _Execution] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._flows.clear()
            self._cases.clear()
            self._executions.clear()

    def answer(self, method: str, path: str, body: Json) -> Json | None:
        """The answer to one of our requests; None if it is another one."""
        self.faults().refuse("TestCases")
        _, folder, *ids = path.split("/")
        if folder == "tags":
            return {"tags": self._tags(unquote("/".join(ids)))}
        if folder in ("contact-flows", "contact-flows-summary"):
            return self._answer_things(self._flows, "ContactFlow", method, ids, body)
        if ids[2:]:
            return self._answer_execution(method, ids, body)
        return self._answer_things(self._cases, "TestCase", method, ids, body)

    def _answer_things(
        self, things: dict[str, Json], kind: str, method: str, ids: list[str], body: Json
    ) -> Json | None:
        if method == "DELETE":
            return self._delete(things, ids[-1])
        if method == "GET":
            return {f"{kind}SummaryList": self._summaries(things, ids[0])}
        if kind == "TestCase":
            spoken = self.faults().behaviour.spoken_input
            _check_content(json.loads(body["Content"]), frozenset(("DtmfInput", spoken)))
        return self._create(things, kind, ids[0], body)

    def _answer_execution(self, method: str, ids: list[str], body: Json) -> Json | None:
        del body
        match [method, *ids]:
            case ["PUT", instance_id, case_id, "start-execution"]:
                return self._start(instance_id, case_id)
            case ["POST", _, _, execution_id, "stop-execution"]:
                self._execution(execution_id).is_stopped = True
                return {}
            case ["GET", _, _, execution_id, "summary"]:
                return self._summary(execution_id)
            case ["GET", _, _, execution_id, "records"]:
                return {"ExecutionRecords": self._execution(execution_id).records}
        return None

    def _create(self, things: dict[str, Json], kind: str, instance_id: str, body: Json) -> Json:
        if any(thing["Name"] == body["Name"] for thing in things.values()):
            raise ServiceError(409, "DuplicateResourceException", "the name is in use")
        thing_id = str(uuid.uuid4())
        folder = "contact-flow" if kind == "ContactFlow" else "test-case"
        arn = f"arn:aws:connect:{REGION}:{ACCOUNT}:instance/{instance_id}/{folder}/{thing_id}"
        with self._lock:
            things[thing_id] = {**body, "Id": thing_id, "Arn": arn, "InstanceId": instance_id}
        return {f"{kind}Id": thing_id, f"{kind}Arn": arn}

    def _delete(self, things: dict[str, Json], thing_id: str) -> Json:
        with self._lock:
            if things.pop(thing_id, None) is None:
                raise _missing(thing_id)
        return {}

    def _summaries(self, things: dict[str, Json], instance_id: str) -> list[Json]:
        with self._lock:
            return [
                {name: thing[name] for name in ("Id", "Arn", "Name")}
                for thing in things.values()
                if thing["InstanceId"] == instance_id
            ]

    def _tags(self, arn: str) -> dict[str, str]:
        for thing in (*self._flows.values(), *self._cases.values()):
            if thing["Arn"] == arn:
                return dict(thing.get("Tags") or {})
        raise _missing(arn)

    def _execution(self, execution_id: str) -> _Execution:
        try:
            return self._executions[execution_id]
        except KeyError:
            raise _missing(execution_id) from None

    def _start(self, instance_id: str, case_id: str) -> Json:
        case = self._cases.get(case_id)
        if case is None:
            raise _missing(case_id)
        flow_id = case["EntryPoint"]["VoiceCallEntryPointParameters"]["FlowId"]
        flow = self._flows.get(flow_id.rpartition("/")[2])
        if flow is None:
            raise _missing(flow_id)
        contact_id = str(uuid.uuid4())
        run = _FlowRun(self, instance_id, contact_id, json.loads(flow["Content"]))
        texts = run.play()
        now_ms = self.clock.now_ms()
        execution_id = str(uuid.uuid4())
        self._executions[execution_id] = _Execution(
            now_ms, [_record(contact_id, text, now_ms) for text in texts]
        )
        return {"TestCaseExecutionId": execution_id, "TestCaseId": case_id, "Status": "INITIATED"}

    def _summary(self, execution_id: str) -> Json:
        execution = self._execution(execution_id)
        elapsed_ms = self.clock.now_ms() - execution.started_ms
        is_over = elapsed_ms >= self.faults().behaviour.test_execution_ms
        status = "PASSED" if is_over else "IN_PROGRESS"
        count = len(execution.records)
        return {
            "StartTime": execution.started_ms,
            "Status": "STOPPED" if execution.is_stopped else status,
            "ObservationSummary": {
                "TotalObservations": count,
                "ObservationsPassed": count if is_over else 0,
                "ObservationsFailed": 0,
            },
        }


@dataclass(slots=True)
class _FlowRun:
    """One contact going through a flow."""

    service: TestCases
    instance_id: str
    contact_id: str
    content: Json
    call: Call | None = None
    state: str = "not_started"

    def play(self) -> list[str]:
        """Runs it to its end; what the contact has heard."""
        return list(self._play())

    def _play(self) -> Iterator[str]:
        actions = {action["Identifier"]: action for action in self.content["Actions"]}
        at = self.content["StartAction"]
        for _ in range(_MOST_BLOCKS):
            action = actions[at]
            kind, parameters = action["Type"], action.get("Parameters") or {}
            if kind in ("MessageParticipant", "GetParticipantInput"):
                yield str(parameters["Text"])
            transitions = action.get("Transitions") or {}
            if kind == "DisconnectParticipant":
                return
            at = self._do(kind, parameters, transitions)

    def _do(self, kind: str, parameters: Json, transitions: Json) -> str:
        errors = {each["ErrorType"]: each["NextAction"] for each in transitions.get("Errors", [])}
        if kind == "GetParticipantInput":
            return str(errors["InputTimeLimitExceeded"])
        if kind == "UpdateContactMediaStreamingBehavior":
            self._stream(parameters["MediaStreamingState"])
        elif kind == "InvokeLambdaFunction":
            name = parameters["LambdaFunctionARN"].rpartition(":")[2]
            given = parameters.get("LambdaInvocationAttributes") or {}
            try:
                self.service.invoke(name, self._event(given))
            except Exception:  # noqa: BLE001 - a function that fails is the block's error branch
                return str(errors["NoMatchingError"])
        return str(transitions["NextAction"])

    def _stream(self, wanted: str) -> None:
        if not self.service.faults().behaviour.simulated_media:
            return
        if wanted == "Disabled":
            self.state = "stopped"
            return
        self.state = "started"
        call = self._call()
        self.service.stream(call)

    def _call(self) -> Call:
        if self.call is None:
            now_ms = self.service.clock.now_ms()
            name = f"{self.service.prefix(self.instance_id)}{uuid.uuid4()}"
            created_ms = now_ms - 60_000
            self.call = simulate_call(
                synthetic_pcm(SECONDS, 1),
                synthetic_pcm(SECONDS, 2),
                contact_id=self.contact_id,
                instance_arn=f"arn:aws:connect:{REGION}:{ACCOUNT}:instance/{self.instance_id}",
                stream_arn=f"arn:aws:kinesisvideo:{REGION}:{ACCOUNT}:stream/{name}/{created_ms}",
                start_ms=now_ms - round(SECONDS * 1000) - 5000,
            )
        return self.call

    def _event(self, given: Mapping[str, str]) -> Json:
        call = self._call()
        if self.state == "not_started":
            self.service.register(call)
        state: Any = self.state
        event = call.flow_event(state, given)
        event["Details"]["ContactData"]["SegmentAttributes"] = {
            "connect:ValidationTestType": {"ValueString": "EXPERIENCE_VALIDATION"}
        }
        return event


def _record(contact_id: str, text: str, now_ms: int) -> Json:
    content = {
        "Type": "OBSERVATION",
        "Identifier": str(uuid.uuid4()),
        "Status": "PASSED",
        "ContactId": contact_id,
        "Event": {"Type": "MessageReceived", "Properties": {"Text": text}},
    }
    return {
        "ObservationId": content["Identifier"],
        "Status": "PASSED",
        "Timestamp": now_ms,
        "Record": json.dumps(content),
    }


def _check_content(content: Json, instructions: frozenset[str]) -> None:
    """What publishing a test case validates, as people who ran into it have written down."""
    if content.get("Version") != CONTENT_VERSION:
        raise _invalid("Version")
    observations = content.get("Observations") or []
    for observation in observations:
        if "Usage" in observation:
            raise _invalid("Usage")
        event = observation["Event"]
        if event["Type"] == "MessageReceived" and not event["Properties"].get("Text"):
            raise _invalid("Text")
        for action in observation.get("Actions") or []:
            if "Transitions" in action:
                raise _invalid("Transitions of an action")
            instruction = (action["Parameters"].get("Instruction") or {}).get("Type")
            if instruction is not None and instruction not in instructions:
                raise _invalid(f"Instruction {instruction}")
    last = observations[-1].get("Actions") or [] if observations else []
    if not any(action["Type"] == "TestControl" for action in last):
        raise _invalid("EndTest")


def _invalid(what: str) -> ServiceError:
    return ServiceError(400, "InvalidTestCaseException", f"Invalid test case: {what}")


def _missing(what: str) -> ServiceError:
    return ServiceError(404, "ResourceNotFoundException", f"Not found: {what}")
