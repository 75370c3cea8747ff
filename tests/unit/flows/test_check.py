"""Each rule is broken once, and found; what is right is left alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.check import check_flow
from flows.contract import answer_keys
from flows.document import Finding, Level
from tests.unit.flows.samples import action, flow, new_console, old_console, queue_flow

type Json = dict[str, Any]

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "flows").glob("*.json"))
FUNCTION = "arn:aws:lambda:eu-west-2:123456789012:function:call-archive-FlowFunction-1A2B3C"


def check(content: Json) -> list[Finding]:
    return check_flow(json.dumps(content))


def voicemail() -> Json:
    loaded: Json = json.loads((ROOT / "flows" / "voicemail.json").read_text())
    return loaded


def find(content: Json, name: str) -> Json:
    found: Json = next(a for a in content["Actions"] if a["Identifier"] == name)
    return found


def rules(content: Json) -> set[tuple[str, str]]:
    return {(finding.rule, finding.action) for finding in check(content)}


# ---------------------------------------------------------------------------- what is right


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_sample_flows_are_clean(file: Path) -> None:
    assert check_flow(file.read_text()) == []


@pytest.mark.parametrize("sample", [old_console, queue_flow])
def test_flows_as_others_export_them_are_clean(sample: Callable[[], Json]) -> None:
    assert check(sample()) == []


def test_type_that_is_not_known_is_a_warning() -> None:
    (finding,) = check(new_console())
    assert (finding.rule, finding.action, finding.level) == ("type", "Module", Level.WARNING)


# ---------------------------------------------------------------------------- what is wrong


def parameters(name: str, **changed: Any) -> Callable[[Json], None]:
    def change(content: Json) -> None:
        find(content, name)["Parameters"] |= changed

    return change


def without(name: str, parameter: str) -> Callable[[Json], None]:
    def change(content: Json) -> None:
        del find(content, name)["Parameters"][parameter]

    return change


def errors(name: str, *types: str) -> Callable[[Json], None]:
    def change(content: Json) -> None:
        find(content, name)["Transitions"]["Errors"] = [
            {"ErrorType": error, "NextAction": "Disconnect"} for error in types
        ]

    return change


def leads(name: str, target: str) -> Callable[[Json], None]:
    def change(content: Json) -> None:
        find(content, name)["Transitions"]["NextAction"] = target

    return change


def error_leads(name: str, target: str) -> Callable[[Json], None]:
    def change(content: Json) -> None:
        for error in find(content, name)["Transitions"]["Errors"]:
            error["NextAction"] = target

    return change


def key(name: str, operand: str, operator: str = "Equals") -> Callable[[Json], None]:
    def change(content: Json) -> None:
        condition = {"Operator": operator, "Operands": [operand]}
        find(content, name)["Transitions"]["Conditions"] = [
            {"NextAction": "Disconnect", "Condition": condition}
        ]

    return change


def put(**changed: Any) -> Callable[[Json], None]:
    return lambda content: content.update(changed)


def add(*actions: Json) -> Callable[[Json], None]:
    return lambda content: content["Actions"].extend(actions)


def ends(name: str) -> Json:
    return action(name, "DisconnectParticipant", {})


def renamed(content: Json, to: str) -> None:
    text = json.dumps(content).replace('"Apologise"', json.dumps(to))
    content.update(json.loads(text))


LOG = "Set logging"
START = "Start media streaming"
REPORT = "Report the start"
SAVE = "Save where it starts"
TAKE = "Take the message"
STOP = "Stop media streaming"
BYE = "Say goodbye"
SAY = {"Text": "Hello."}
BROKEN: list[tuple[str, str, Callable[[Json], None]]] = [
    ("version", "", put(Version="2023-01-01")),
    ("start", "", put(StartAction="nowhere")),
    ("actions", "", put(Actions=[])),
    ("actions", "", put(Actions={})),
    ("actions", "", add(*(ends(f"end {n}") for n in range(240)))),
    ("shape", "", add({"Type": "DisconnectParticipant"})),
    ("shape", "", add({"Identifier": "x"})),
    ("shape", "", lambda content: content["Actions"].append("x")),
    ("shape", "", add(ends("x") | {"Parameters": []})),
    ("shape", "", add(ends("x") | {"Transitions": {"Errors": [{"ErrorType": "x"}]}})),
    ("size", "", parameters(BYE, Text="x" * 256_000)),
    ("identifier", "Disconnect", add(ends("Disconnect"))),
    ("identifier", "x" * 51, lambda content: renamed(content, "x" * 51)),
    ("identifier", "a (b)", lambda content: renamed(content, "a (b)")),
    ("identifier", "constructor", lambda content: renamed(content, "constructor")),
    ("unreachable", "x", add(ends("x"))),
    ("target", LOG, leads(LOG, "nowhere")),
    ("target", BYE, error_leads(BYE, "nowhere")),
    ("dead-end", BYE, leads(BYE, "")),
    ("endless", BYE, leads(BYE, BYE)),
    ("ends", "Disconnect", leads("Disconnect", "Apologise")),
    # each kind of parameter
    ("parameter", LOG, parameters(LOG, FlowLoggingBehavior="On")),
    ("parameter", LOG, without(LOG, "FlowLoggingBehavior")),
    ("parameter", BYE, parameters(BYE, Voice="Joanna")),
    ("parameter", BYE, parameters(BYE, SSML="<speak/>")),
    ("parameter", BYE, without(BYE, "Text")),
    ("parameter", BYE, parameters(BYE, Text="")),
    ("parameter", REPORT, parameters(REPORT, InvocationTimeLimitSeconds="9")),
    ("parameter", REPORT, parameters(REPORT, InvocationTimeLimitSeconds=0)),
    ("parameter", REPORT, parameters(REPORT, InvocationTimeLimitSeconds="")),
    ("parameter", REPORT, without(REPORT, "LambdaFunctionARN")),
    ("parameter", REPORT, parameters(REPORT, LambdaFunctionARN="a $.b")),
    ("parameter", REPORT, parameters(REPORT, ResponseValidation="JSON")),
    ("parameter", SAVE, parameters(SAVE, Attributes={"a": 1})),
    ("parameter", SAVE, parameters(SAVE, TargetContact="Next")),
    ("parameter", START, parameters(START, Participants=[])),
    (
        "parameter",
        START,
        parameters(START, Participants=[{"ParticipantType": "Agent", "MediaDirections": ["From"]}]),
    ),
    ("parameter", START, parameters(START, MediaStreamType="Video")),
    ("parameter", TAKE, parameters(TAKE, InputTimeLimitSeconds="181")),
    ("parameter", TAKE, parameters(TAKE, StoreInput=False)),
    ("parameter", TAKE, parameters(TAKE, StoreInput="True")),
    ("parameter", TAKE, parameters(TAKE, InputValidation={})),
    # error branches, of every type that the sample flows use
    ("error-branch", START, errors(START)),
    ("error-branch", REPORT, errors(REPORT)),
    ("error-branch", SAVE, errors(SAVE)),
    ("error-branch", TAKE, errors(TAKE, "NoMatchingError")),
    ("error-branch", TAKE, errors(TAKE, "NoMatchingError", "NoMatchingCondition")),
    ("error-branch", LOG, errors(LOG, "NoMatchingError")),
    ("error-branch", BYE, errors(BYE, "TimeLimitExceeded")),
    ("condition", TAKE, key(TAKE, "12")),
    ("condition", TAKE, key(TAKE, "1", "NumberLessThan")),
    ("condition", TAKE, key(TAKE, "1", "Is")),
    ("condition", BYE, key(BYE, "1")),
    # our own advice
    ("stop-before-start", STOP, error_leads(START, STOP)),
    ("stop-before-start", STOP, leads(LOG, STOP)),
    (
        "archive-too-early",
        REPORT,
        parameters(REPORT, LambdaInvocationAttributes={"archive": "now"}),
    ),
    (
        "not-from-caller",
        START,
        parameters(
            START, Participants=[{"ParticipantType": "Customer", "MediaDirections": ["To"]}]
        ),
    ),
    ("no-answer", SAVE, error_leads(REPORT, SAVE)),
    ("no-answer", SAVE, leads(START, SAVE)),
    (
        "unknown-key",
        SAVE,
        parameters(SAVE, Attributes={"a": "$.External.streamArn", "b": "$.External.uri"}),
    ),
    (
        "not-saved",
        REPORT,
        parameters(
            SAVE,
            Attributes={
                "streamArn": "$.External.streamArn",
                "startTimestamp": "$.External.startTimestamp",
                "start": "$.External.startFragmentNumber",
            },
        ),
    ),
    (
        "old-path",
        "Save where it starts",
        parameters(
            "Save where it starts",
            Attributes={"x": "$.MediaStreams.Customer.Audio.StartPosition"},
        ),
    ),
    ("entry-is-recorded", TAKE, parameters(TAKE, StoreInput="True", InputValidation={})),
    ("entry-is-recorded", TAKE, parameters(TAKE, InputEncryption={"EncryptionKeyId": "k"})),
    ("response-type", REPORT, without(REPORT, "ResponseValidation")),
    ("response-type", REPORT, parameters(REPORT, ResponseValidation={"ResponseType": "JSON"})),
]


@pytest.mark.parametrize(
    ("rule", "name", "spoil"), BROKEN, ids=[f"{n}-{case[0]}" for n, case in enumerate(BROKEN)]
)
def test_each_rule_is_found_when_it_is_broken(
    rule: str, name: str, spoil: Callable[[Json], None]
) -> None:
    content = voicemail()
    assert (rule, name) not in rules(content)
    spoil(content)
    assert (rule, name) in rules(content)


def test_every_rule_of_the_checker_is_broken_here() -> None:
    sources = [(ROOT / "flows" / f"{module}.py").read_text() for module in ("rules", "advice")]
    named = {
        line.strip().strip('",')
        for source in sources
        for before, line in zip(source.splitlines(), source.splitlines()[1:], strict=False)
        if before.strip().endswith("Finding(") and line.strip().startswith('"')
    }
    assert named <= {rule for rule, _, _ in BROKEN} | {"type", "lambda-chain"}
    assert len(named) > 10


type Place = tuple[Json | list[Any], Any]


def places(content: Any) -> list[Place]:
    """Every value in a JSON document, by what holds it and the key."""
    keys = content if isinstance(content, dict) else range(len(content))
    inner = [(content, key) for key in keys]
    return inner + [
        place
        for holder, key in inner
        if isinstance(holder[key], dict | list)
        for place in places(holder[key])
    ]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(where=st.integers(min_value=0), value=ANY_JSON)
def test_whatever_is_put_in_gives_findings_and_never_an_exception(where: int, value: Any) -> None:
    content = voicemail()
    everywhere = places(content)
    holder, name = everywhere[where % len(everywhere)]
    holder[name] = value
    for finding in check(content):
        assert finding.problem
        assert finding.remedy


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "null", '"x"', "1"])
def test_what_is_no_flow_is_told(text: str) -> None:
    (finding,) = check_flow(text)
    assert finding.rule == "json"


LEGACY: Json = {
    "modules": [{"id": "1", "type": "StartMediaStreaming", "branches": [], "parameters": []}],
    "version": "1",
    "type": "contactFlow",
    "start": "1",
}


def test_an_export_in_the_old_form_is_recognised() -> None:
    (finding,) = check_flow(json.dumps(LEGACY))
    assert "old form" in finding.problem
    assert "describe-contact-flow" in finding.remedy


def test_the_answer_of_describe_contact_flow_is_checked_as_its_flow() -> None:
    content = voicemail()
    answer = {"ContactFlow": {"Arn": "a", "Content": json.dumps(content)}}
    assert check_flow(json.dumps(answer)) == []
    find(content, "Say goodbye")["Parameters"] = {}
    answer["ContactFlow"]["Content"] = json.dumps(content)
    assert check_flow(json.dumps(answer)) == check_flow(json.dumps(content))
    answer["ContactFlow"]["Content"] = json.dumps(LEGACY)
    assert "old form" in check_flow(json.dumps(answer))[0].problem


@pytest.mark.parametrize("inner", [None, 1, "{", "[]", {}])
def test_an_answer_without_a_flow_is_told(inner: object) -> None:
    (finding,) = check_flow(json.dumps({"ContactFlow": {"Content": inner}}))
    assert "ContactFlow.Content" in finding.problem


# ------------------------------------------------------------------ what the caller enters


def payment() -> Json:
    content: Json = json.loads((ROOT / "flows/payment.json").read_text())
    return content


CARD = "Take the card number"


def skipping(name: str, target: str) -> Callable[[Json], None]:
    def change(content: Json) -> None:
        for one in content["Actions"]:
            transitions = one["Transitions"]
            for way in (transitions, *transitions.get("Errors", ())):
                if way.get("NextAction") == name:
                    way["NextAction"] = target

    return change


def starts_again_first(content: Json) -> None:
    skipping("Set logging off", "Start again")(content)
    leads("Save the second start", CARD)(content)


@pytest.mark.parametrize(
    "spoil",
    [
        # nothing asks whether the stop has taken effect
        skipping("Report the stop", "Set logging off"),
        # the answer is not looked at
        skipping("Has streaming stopped", "Set logging off"),
        # something else is looked at
        parameters("Has streaming stopped", ComparisonValue="$.External.archiveStatus"),
        # any answer will do
        error_leads("Has streaming stopped", "Set logging off"),
        # the function failed
        error_leads("Report the stop", "Set logging off"),
        # streaming starts again before the entry
        starts_again_first,
        # another function answers last
        parameters("Report the stop", LambdaFunctionARN="arn:aws:lambda:eu-west-2:1:function:x"),
    ],
    ids=[
        "nobody-asks",
        "nobody-looks",
        "looks-elsewhere",
        "any-answer",
        "function-failed",
        "starts-again",
        "another-function",
    ],
)
def test_an_entry_without_a_proved_stop_is_found(spoil: Callable[[Json], None]) -> None:
    content = payment()
    assert "entry-is-recorded" not in {finding.rule for finding in check(content)}
    spoil(content)
    assert ("entry-is-recorded", CARD) in rules(content)


# ------------------------------------------------------------------------------ along the ways


def invoke(name: str, to: str, seconds: str = "8", **more: Any) -> Json:
    return action(
        name,
        "InvokeLambdaFunction",
        {"LambdaFunctionARN": "arn:aws:lambda:x", "InvocationTimeLimitSeconds": seconds, **more},
        next=to,
        errors={"NoMatchingError": to},
    )


def test_three_lambda_blocks_of_8_s_are_too_much_for_a_listening_caller() -> None:
    chain = flow(invoke("a", "b"), invoke("b", "c"), invoke("c", "end"), ends("end"))
    assert rules(chain) == {("lambda-chain", "c")}


def test_prompt_between_them_starts_the_count_anew() -> None:
    prompt = action("say", "MessageParticipant", SAY, next="c")
    chain = flow(invoke("a", "b"), invoke("b", "say"), prompt, invoke("c", "end"), ends("end"))
    assert check(chain) == []


def test_20_s_are_allowed() -> None:
    chain = flow(invoke("a", "b"), invoke("b", "c"), invoke("c", "end", "4"), ends("end"))
    assert check(chain) == []


def test_invocation_that_nobody_waits_for_takes_no_time() -> None:
    waits_not = {"InvocationType": "ASYNCHRONOUS"}
    chain = flow(invoke("a", "b"), invoke("b", "c"), invoke("c", "end", **waits_not), ends("end"))
    assert check(chain) == []


def test_lambda_block_that_is_tried_again_without_a_prompt_is_a_chain() -> None:
    again = invoke("a", "end")
    again["Transitions"]["Errors"][0]["NextAction"] = "a"
    assert rules(flow(again, ends("end"))) == {("lambda-chain", "a")}


def test_answers_of_other_functions_are_not_judged() -> None:
    save = action(
        "save",
        "UpdateContactAttributes",
        {"Attributes": {"tier": "$.External.tier"}},
        next="end",
        errors={"NoMatchingError": "end"},
    )
    lookup = invoke("look up", "save")
    lookup["Transitions"]["Errors"][0]["NextAction"] = "end"
    assert check(flow(lookup, save, ends("end"))) == []


def test_function_is_known_by_the_arn_that_the_stack_gives_it() -> None:
    content = json.loads(json.dumps(voicemail()).replace("${FlowFunctionArn}", FUNCTION))
    assert check(content) == []
    find(content, "Save where it starts")["Parameters"]["Attributes"]["b"] = "$.External.uri"
    assert ("unknown-key", "Save where it starts") in rules(content)


def test_keys_are_those_that_flow_function_answers() -> None:
    # Of the contract with the flow, docs/architecture.md.
    assert answer_keys() == {
        "mediaStreaming",
        "streamArn",
        "startFragmentNumber",
        "startTimestamp",
        "stopFragmentNumber",
        "stopTimestamp",
        "archiveStatus",
        "archiveUri",
        "reason",
    }


# -------------------------------------------------------------------------- the command line


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.check", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_command_says_file_action_what_and_what_to_do(tmp_path: Path) -> None:
    content = voicemail()
    parameters("Report the start", InvocationTimeLimitSeconds="9")(content)
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(content))
    done = run(str(file), str(FILES[0]))
    assert done.returncode == 1
    assert done.stdout == (
        f"{file}: [Report the start] error (parameter): InvocationTimeLimitSeconds must be a whole "
        'number from 1 to 8, such as "1". Correct the value.\n'
        f"{FILES[0]}: nothing found\n"
    )


def test_warnings_alone_are_no_failure(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(json.dumps(new_console()))
    done = run(str(file))
    assert done.returncode == 0
    assert "warning (type)" in done.stdout


def test_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    noise = tmp_path / "noise.json"
    noise.write_bytes(b"\xff\xfe")
    done = run(str(noise), str(tmp_path / "missing.json"))
    assert done.returncode == 1
    assert [line.split(" error ")[1][:6] for line in done.stdout.splitlines()] == ["(file)"] * 2
    assert done.stderr == ""


def test_command_without_a_file_shows_its_usage() -> None:
    assert run().returncode == 2
