"""`--simulate`: a contact that Amazon Connect itself simulates, followed to its recording.

Written from the documentation; it has not been run on AWS yet. Whether a simulated contact's audio
reaches media streaming is unknown; if it does not, that is an observation and not a failure.

The two answers that hold times are read by a signed GET of our own: the service sends epoch
milliseconds, which botocore takes for seconds and refuses.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from call_archive.fields import instance_id_of
from call_archive_cli.doctor import Verdict
from call_archive_cli.rehearsal.leftovers import TAG, remove_contact
from call_archive_cli.rehearsal.recorder import Audience, Recorder
from call_archive_cli.rehearsal.simulated_flow import (
    INSTRUCTIONS,
    NAME,
    build_flow,
    build_test_case,
)
from call_archive_cli.rehearsal.steps import Report, StepError
from call_archive_cli.rehearsal.waiting import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from call_archive.recording.manifest import Manifest
    from call_archive_cli.doctor import Setup
    from call_archive_cli.rehearsal.leftovers import Place
    from call_archive_cli.rehearsal.plan import Plan

EXECUTION_S: Final = 300.0
DESCRIBED_S: Final = 120.0
_POLL_S: Final = 2.0
_OVER: Final = frozenset(("PASSED", "FAILED", "STOPPED"))
_REFUSED: Final = "InvalidTestCaseException"


@dataclass(slots=True)
class _Made:
    """What Amazon Connect has made for a simulation; "" if it has not yet."""

    case_id: str = ""
    execution_id: str = ""
    contact_id: str = ""


@dataclass(slots=True)
class Simulation:
    """One simulated contact."""

    plan: Plan
    audience: Audience = field(default_factory=Audience)
    patience_s: float = 300.0
    described_s: float = DESCRIBED_S
    sleep: Callable[[float], None] = time.sleep
    report: Report = field(init=False)
    _recorder: Recorder = field(init=False)
    _made: _Made = field(init=False, default_factory=_Made)

    def __post_init__(self) -> None:
        self.report = Report(
            self.plan.place.stack, "", proved="No recording was made of the simulated contact"
        )
        self._recorder = Recorder(self.report, self.audience)

    def run(self) -> Report:
        """Runs all steps; a failure is reported by its step and not raised."""
        try:
            self._make()
            self._execute()
            if self._was_streamed():
                self._await_recording()
        except StepError:
            pass
        except KeyboardInterrupt:
            self.report.was_interrupted = True
        self._clean_up()
        return self.report

    @property
    def _instance_id(self) -> str:
        return instance_id_of(self.plan.setup.instance_arn)

    @property
    def _connect(self) -> Any:  # noqa: ANN401 - boto3; the stubs do not know all operations
        return self.plan.setup.clients.connect(self.plan.place.region)

    def _make(self) -> None:
        name, tags = f"{NAME} {self.plan.run_id}", {TAG: self.plan.place.stack}
        with self._recorder.step("simulated flow", "a flow and a test case for it") as step:
            function = self.plan.setup.client("lambda").get_function(
                FunctionName=self.plan.setup.resources["FlowFunction"]
            )["Configuration"]["FunctionArn"]
            flow_id = self._connect.create_contact_flow(
                InstanceId=self._instance_id,
                Name=name,
                Type="CONTACT_FLOW",
                Content=json.dumps(build_flow(function)),
                Tags=tags,
            )["ContactFlowId"]
            for instruction in INSTRUCTIONS:
                try:
                    self._made.case_id = self._connect.create_test_case(
                        InstanceId=self._instance_id,
                        Name=name,
                        Content=json.dumps(build_test_case(instruction)),
                        EntryPoint={
                            "Type": "VOICE_CALL",
                            "VoiceCallEntryPointParameters": {"FlowId": flow_id},
                        },
                        Status="PUBLISHED",
                        Tags=tags,
                    )["TestCaseId"]
                except ClientError as error:
                    is_last = instruction is INSTRUCTIONS[-1]
                    if error.response["Error"]["Code"] != _REFUSED or is_last:
                        raise
                else:
                    step.seen = f"made; the customer speaks by {instruction['Type']}"
                    self._observe(spokenInput={"code": instruction["Type"]})
                    return

    def _execute(self) -> None:
        with self._recorder.step("simulated contact", "the test case is over") as step:
            self._made.execution_id = self._connect.start_test_case_execution(
                InstanceId=self._instance_id,
                TestCaseId=self._made.case_id,
                ClientToken=str(uuid.uuid4()),
            )["TestCaseExecutionId"]
            began = time.monotonic()
            while (status := str(self._get("summary").get("Status"))) not in _OVER:
                if time.monotonic() - began > min(EXECUTION_S, self.patience_s):
                    self._stop()
                    status = f"{status} after {time.monotonic() - began:.0f} s, and was stopped"
                    break
                self.audience.progressed(f"the test case is {status}")
                self.sleep(_POLL_S)
            records = self._get("records").get("ExecutionRecords") or []
            self.audience.observed("execution-records.json", [_decode(each) for each in records])
            self._made.contact_id = next(_contact_ids([_decode(each) for each in records]), "")
            self.report.contact_id = self._made.contact_id
            step.seen = status
            if not self._made.contact_id:
                raise StepError(
                    f"the test case is {status}, and its records name no contact",
                    "",
                    "run it again with --observe, and send us execution-records.json",
                    Verdict.UNKNOWN,
                )

    def _was_streamed(self) -> bool:
        """Whether DescribeContact shows a stream; it may take a while to."""
        with self._recorder.step("simulated media", "the contact's audio on a stream") as step:
            began = time.monotonic()
            while True:
                contact = self._connect.describe_contact(
                    InstanceId=self._instance_id, ContactId=self._made.contact_id
                )["Contact"]
                streams = [
                    each
                    for each in contact.get("Recordings") or []
                    if each.get("StorageType") == "KINESIS_VIDEO_STREAM"
                ]
                waited_s = time.monotonic() - began
                if streams or waited_s > self.described_s:
                    break
                self.audience.progressed(f"{waited_s:.0f} s; no recording is shown yet")
                self.sleep(_POLL_S)
            self.audience.observed("describe-contact.json", contact)
            self._observe(simulatedMedia=bool(streams), secondsToRecordings=round(waited_s, 1))
            if streams:
                step.seen = f"shown after {waited_s:.0f} s"
                return True
            step.seen = (
                f"no MediaStreams in a simulated contact, {waited_s:.0f} s after it; this says "
                "something about Amazon Connect's simulation, not about your set-up"
            )
            step.verdict = Verdict.UNKNOWN
            return False

    def _await_recording(self) -> None:
        with self._recorder.step("simulated recording", "a manifest that says complete") as step:
            began = time.monotonic()
            while not (found := list(self._manifests())):
                if time.monotonic() - began > self.patience_s:
                    raise StepError(
                        f"no manifest after {self.patience_s:.0f} s",
                        "FlowFunction or ArchiveFunction",
                        "run rehearse without --simulate: it names the part",
                    )
                self.audience.progressed(f"{time.monotonic() - began:.0f} s")
                self.sleep(_POLL_S)
            manifest = found[0]
            step.seen = f"{manifest.duration_ms} ms, trigger {manifest.trigger}"
            self.report.proved = "The simulated contact was archived, and its manifest is complete"
            if not manifest.is_complete:
                raise StepError(
                    f"incomplete: {'; '.join(manifest.reasons)}",
                    "the recording",
                    "docs/troubleshooting.md explains each reason",
                )

    def _manifests(self) -> Iterator[Manifest]:
        s3, place = self.plan.setup.clients.s3(), self.plan.place
        today = datetime.now(UTC).date()
        for day in (today, today - timedelta(days=1)):
            prefix = (
                f"{place.prefix}manifests/{day:year=%Y/month=%m/day=%d}/{self._made.contact_id}/"
            )
            listed = s3.list_objects_v2(Bucket=place.bucket, Prefix=prefix)
            for entry in listed.get("Contents", []):
                answer = s3.get_object(Bucket=place.bucket, Key=entry["Key"])
                yield read_manifest(answer["Body"].read()).manifest

    def _stop(self) -> None:
        self._connect.stop_test_case_execution(
            InstanceId=self._instance_id,
            TestCaseId=self._made.case_id,
            TestCaseExecutionId=self._made.execution_id,
            ClientToken=str(uuid.uuid4()),
        )

    def _clean_up(self) -> None:
        with self._recorder.step("cleaned up", "nothing is left", is_last=True) as step:
            clean_simulations(self.plan.setup, self.plan.place, self.plan.run_id)
            if self._made.contact_id:
                remove_contact(self.plan.setup.clients, self.plan.place, self._made.contact_id)
            step.seen = "flow, test case and recording are removed"

    def _get(self, what: str) -> dict[str, Any]:
        """Summary or records, by a signed GET."""
        clients = self.plan.setup.clients
        url = "/".join(
            (
                self._connect.meta.endpoint_url,
                *(
                    "test-cases",
                    self._instance_id,
                    self._made.case_id,
                    self._made.execution_id,
                    what,
                ),
            )
        )
        request = AWSRequest("GET", url)
        # The stubs say that there may be none; calls were made with them before.
        credentials = cast("Any", clients.session.get_credentials())
        SigV4Auth(credentials, "connect", self.plan.place.region).add_auth(request)
        answer = URLLib3Session().send(request.prepare())
        body = json.loads(answer.content or b"{}")
        if answer.status_code != 200:
            code = answer.headers.get("x-amzn-ErrorType", "").partition(":")[0]
            told = {"Code": code or str(answer.status_code), "Message": body.get("Message", "")}
            operation = "GetTestCaseExecutionSummary"
            if what == "records":
                operation = "ListTestCaseExecutionRecords"
            raise ClientError({"Error": told}, operation)  # type: ignore[typeddict-item] # no metadata
        found: dict[str, Any] = body
        return found

    def _observe(self, **facts: Any) -> None:  # noqa: ANN401 - JSON
        self.audience.observed("observations.json", facts)


def clean_simulations(setup: Setup, place: Place, run_id: str = "") -> int:
    """Removes flows and test cases of one run, or of all runs of the stack; how many.

    A thing is a rehearsal's if both its name and its tag say so.

    Raises:
        ClientError: Amazon Connect refuses.
    """
    connect: Any = setup.clients.connect(place.region)
    instance_id = instance_id_of(setup.instance_arn)
    removed = 0
    for kind, operation, delete, key in (
        ("TestCaseSummaryList", "list_test_cases", connect.delete_test_case, "TestCaseId"),
        (
            "ContactFlowSummaryList",
            "list_contact_flows",
            connect.delete_contact_flow,
            "ContactFlowId",
        ),
    ):
        for page in connect.get_paginator(operation).paginate(InstanceId=instance_id):
            for thing in page[kind]:
                if not thing.get("Name", "").startswith(f"{NAME} {run_id}"):
                    continue
                tags = connect.list_tags_for_resource(resourceArn=thing["Arn"])["tags"]
                if tags.get(TAG) == place.stack:
                    delete(InstanceId=instance_id, **{key: thing["Id"]})
                    removed += 1
    return removed


def _decode(record: Any) -> Any:  # noqa: ANN401 - JSON
    """A record with its own JSON in place of the text that holds it."""
    if not isinstance(record, dict):
        return record
    try:
        return {**record, "Record": json.loads(record["Record"])}
    except (KeyError, TypeError, ValueError):
        return record


def _contact_ids(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Every ContactId, however deep it is: the record's form is not documented."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name.lower() == "contactid" and isinstance(each, str) and each:
                yield each
            else:
                yield from _contact_ids(each)
    elif isinstance(value, list):
        for each in value:
            yield from _contact_ids(each)
