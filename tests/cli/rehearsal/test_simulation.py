"""`--simulate` against the local Connect: followed to the recording, and everything removed."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from call_archive_cli.app import app
from call_archive_cli.doctor import Verdict
from call_archive_cli.rehearsal.observation import Observer
from call_archive_cli.rehearsal.recorder import Audience
from call_archive_cli.rehearsal.redaction import Names
from call_archive_cli.rehearsal.simulated_flow import build_flow, build_test_case
from call_archive_cli.rehearsal.simulation import Simulation
from flows.check import check_flow
from local.behaviour import CallFault
from local.stack import NAME
from tests.cli.rehearsal.conftest import INSTANCE_ID, QUICK, World, step_of

SIMULATED = replace(QUICK, test_execution_ms=0)
FUNCTION = "arn:aws:lambda:eu-west-2:123456789012:function:call-archive-FlowFunction-1"


def simulation(world: World, audience: Audience | None = None, **options: Any) -> Simulation:
    return Simulation(
        world.plan(),
        audience or Audience(),
        **{"patience_s": 60.0, "described_s": 1.0, **options},
        sleep=lambda seconds: time.sleep(min(seconds, 0.05)),
    )


def things(world: World) -> list[str]:
    connect = world.client("connect")
    flows = connect.list_contact_flows(InstanceId=INSTANCE_ID)["ContactFlowSummaryList"]
    cases = connect.list_test_cases(InstanceId=INSTANCE_ID)["TestCaseSummaryList"]
    return [each["Name"] for each in (*flows, *cases)]


@pytest.fixture
def simulated(world: World) -> World:
    world.aws.behaviour = SIMULATED
    return world


def test_a_simulated_contact_is_followed_to_its_recording(simulated: World) -> None:
    report = simulation(simulated).run()
    assert {step.name: step.verdict for step in report.steps} == {
        "simulated flow": Verdict.GOOD,
        "simulated contact": Verdict.GOOD,
        "simulated media": Verdict.GOOD,
        "simulated recording": Verdict.GOOD,
        "cleaned up": Verdict.GOOD,
    }
    assert report.verdict.startswith("The simulated contact was archived")
    assert "trigger flow" in step_of(report, "simulated recording").seen
    assert things(simulated) == []
    assert simulated.objects() == []


def test_no_media_is_an_observation_and_nobodys_fault(simulated: World, tmp_path: Path) -> None:
    simulated.aws.behaviour = replace(SIMULATED, simulated_media=False)
    observer = Observer(tmp_path, Names(frozenset()))
    report = simulation(simulated, Audience(observed=observer.keep)).run()
    step = step_of(report, "simulated media")
    assert step.verdict is Verdict.UNKNOWN
    assert "no MediaStreams in a simulated contact" in step.seen
    assert report.is_good
    assert report.verdict.startswith("No recording was made of the simulated contact; 1 of 4")
    assert json.loads((tmp_path / "observations.json").read_text())["simulatedMedia"] is False
    assert things(simulated) == []


@pytest.mark.parametrize("accepted", ["Utterance", "TextUtterance", "neither"])
def test_either_name_of_spoken_input_is_tried(simulated: World, accepted: str) -> None:
    simulated.aws.behaviour = replace(SIMULATED, spoken_input=accepted)
    report = simulation(simulated).run()
    used = "DtmfInput" if accepted == "neither" else accepted
    assert step_of(report, "simulated flow").seen == f"made; the customer speaks by {used}"


def test_an_execution_that_does_not_end_is_stopped(simulated: World) -> None:
    simulated.aws.behaviour = replace(SIMULATED, test_execution_ms=3_600_000)
    report = simulation(simulated, patience_s=0.2).run()
    assert "was stopped" in step_of(report, "simulated contact").seen
    assert things(simulated) == []


def test_what_is_not_allowed_is_named(simulated: World) -> None:
    fault = CallFault("TestCases", "AccessDeniedException", 403, "no", times=1)
    simulated.aws.behaviour = replace(SIMULATED, call_faults=(fault,))
    report = simulation(simulated).run()
    assert "do not allow CreateContactFlow" in step_of(report, "simulated flow").seen
    assert not report.is_good


@pytest.mark.parametrize("step", ["simulated contact", "simulated media", "simulated recording"])
def test_ctrl_c_removes_flow_and_test_case(simulated: World, step: str) -> None:
    def begun(name: str) -> None:
        if name == step:
            raise KeyboardInterrupt

    assert simulation(simulated, Audience(begun=begun)).run().was_interrupted
    assert things(simulated) == []


def test_clean_finds_what_a_killed_simulation_left(simulated: World) -> None:
    class Killed(BaseException):
        pass

    def begun(name: str) -> None:
        if name == "simulated contact":
            raise Killed

    with pytest.raises(Killed):
        simulation(simulated, Audience(begun=begun)).run()
    assert len(things(simulated)) == 2
    told = CliRunner().invoke(app, ["--stack", NAME, "rehearse", "--clean", "--simulate"])
    assert told.exit_code == 0, told.stderr
    assert "2 flows and test cases removed" in told.stdout
    assert things(simulated) == []


def test_the_command_simulates(simulated: World) -> None:
    arguments = ["--stack", NAME, "rehearse", "--simulate", "--yes", "--json", "--wait", "60"]
    told = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert told.exit_code == 0, told.stdout
    assert "by documentation only" in told.stderr
    assert json.loads(told.stdout)["good"]


def test_botocore_refuses_the_times_that_the_service_sends(simulated: World) -> None:
    """Why the command reads summary and records itself; if this fails, it no longer has to."""
    connect = simulated.client("connect")
    flow = connect.create_contact_flow(
        InstanceId=INSTANCE_ID, Name="f", Type="CONTACT_FLOW", Content=json.dumps(build_flow("f:x"))
    )["ContactFlowId"]
    case = connect.create_test_case(
        InstanceId=INSTANCE_ID,
        Name="c",
        Content=json.dumps(build_test_case({"Type": "DtmfInput", "Properties": {"Value": 1}})),
        EntryPoint={"Type": "VOICE_CALL", "VoiceCallEntryPointParameters": {"FlowId": flow}},
    )["TestCaseId"]
    execution = connect.start_test_case_execution(InstanceId=INSTANCE_ID, TestCaseId=case)
    with pytest.raises((ValueError, ClientError)):
        connect.get_test_case_execution_summary(
            InstanceId=INSTANCE_ID,
            TestCaseId=case,
            TestCaseExecutionId=execution["TestCaseExecutionId"],
        )
    connect.delete_test_case(InstanceId=INSTANCE_ID, TestCaseId=case)
    connect.delete_contact_flow(InstanceId=INSTANCE_ID, ContactFlowId=flow)


def test_the_flow_is_one_that_the_checker_accepts() -> None:
    # A warning stays: the attributes of a simulated contact are not needed.
    found = [str(finding) for finding in check_flow(json.dumps(build_flow(FUNCTION)))]
    assert [finding for finding in found if " error " in finding] == []
