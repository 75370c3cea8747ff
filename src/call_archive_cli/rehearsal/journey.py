"""One rehearsed call through a deployed stack, step by step; everything is removed afterwards.

Each step is recorded with what was expected, what was seen and how long it took. The first that
fails ends the run; what was made is removed all the same, also after Ctrl-C.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from call_archive.fields import instance_id_of
from call_archive.job import ArchiveJob, build_job_message
from call_archive.keys import manifest_key, recording_key
from call_archive_cli.backfill import PastContact, build_event
from call_archive_cli.doctor import FORBIDDEN, Verdict
from call_archive_cli.rehearsal.comparison import Archived, compare
from call_archive_cli.rehearsal.flow_event import Streamed, build_flow_event
from call_archive_cli.rehearsal.leftovers import TAG, clean, clean_command
from call_archive_cli.rehearsal.matroska import build_head
from call_archive_cli.rehearsal.observation import Questions
from call_archive_cli.rehearsal.put_media import PATIENCE_S as SILENCE_S
from call_archive_cli.rehearsal.put_media import PutMediaError, Taken, Target, put_media
from call_archive_cli.rehearsal.recorder import (
    POLICY,
    Audience,
    NotedError,
    Recorder,
    as_step_error,
)
from call_archive_cli.rehearsal.script import (
    FAST_S,
    FRAGMENT_MS,
    Said,
    Script,
    build_script,
    duration_ms,
    read_voices,
)
from call_archive_cli.rehearsal.steps import Report, Step, StepError
from call_archive_cli.rehearsal.waiting import Facts, diagnose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from call_archive_cli.rehearsal.plan import Plan

ACTIVE_S: Final = 120.0
LISTED_S: Final = 90.0
PATIENCE_S: Final = 300.0
_POLL_S: Final = 1.0
LOOK_S: Final = 5.0
_CONNECTION_TRIES: Final = 5
_PASSING: Final = frozenset(("ConnectionLimitExceededException", "ResourceNotFoundException"))
_MISSING: Final = frozenset(("404", "NoSuchKey", "NotFound"))


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a rehearsal.

    Attributes:
        fast: as fast as KVS takes fragments, with times in the past; otherwise in real time.
        patience_s: how long to wait for the manifest.
        contact_id: a real contact to archive as after a hang-up; "" for none.
        fast_s: between two fragments, if fast.
        silence_s: how long PutMedia may say nothing.
        look_s: between two checks of the queues, the logs and the function.
        observes: ask Kinesis Video what only a real account can answer.
    """

    fast: bool = False
    fast_s: float = FAST_S
    silence_s: float = SILENCE_S
    look_s: float = LOOK_S
    observes: bool = False
    patience_s: float = PATIENCE_S
    contact_id: str = ""


@dataclass(slots=True)
class _Made:
    """What a run has made and not removed yet.

    Attributes:
        stream_arn: of its stream; "" until Kinesis Video has answered.
        endpoints: the stream's data endpoints, by the operation.
        is_begun: there may be a stream, whether or not the answer has arrived.
        is_queued: there may be a job of it in the queue.
    """

    stream_arn: str = ""
    endpoints: dict[str, str] = field(default_factory=dict)
    is_begun: bool = False
    is_queued: bool = False


@dataclass(slots=True)
class Journey:
    """One run of a plan."""

    plan: Plan
    options: Options = field(default_factory=Options)
    audience: Audience = field(default_factory=Audience)
    sleep: Callable[[float], None] = time.sleep
    report: Report = field(init=False)
    script: Script = field(init=False)
    _recorder: Recorder = field(init=False)
    _made: _Made = field(init=False, default_factory=_Made)

    def __post_init__(self) -> None:
        self._write_script()
        self.report = Report(self.plan.place.stack, self.script.archived.contact_id)
        self._recorder = Recorder(self.report, self.audience)

    def run(self) -> Report:
        """Runs all steps; a failure is reported by its step and not raised."""
        try:
            self._look()
            self._make_stream()
            taken = self._speak()
            streamed = self._await_listing(taken)
            self._invoke(streamed)
            self._compare(streamed, self._await_manifest(streamed))
            if self.options.contact_id:
                self._hang_up(self.options.contact_id)
        except StepError:
            pass
        except KeyboardInterrupt:
            self.report.was_interrupted = True
        self._clean_up()
        return self.report

    # ------------------------------------------------------------------------------------- steps

    def _look(self) -> None:
        with self._recorder.step(
            "set-up", "as doctor wants it", spent_s=self.plan.looked_s
        ) as step:
            wrong = self.plan.wrong
            doubtful = [each for each in self.plan.findings if each.verdict is not Verdict.GOOD]
            step.seen = f"{len(self.plan.findings) - len(doubtful)} of {len(self.plan.findings)}"
            step.seen += " findings are good"
            for finding in [*wrong, *(each for each in doubtful if each not in wrong)]:
                step.seen += f"; {finding.subject}: {finding.text}"
                step.fix = step.fix or finding.fix
            if wrong:
                raise NotedError(
                    step.seen,
                    wrong[0].subject,
                    wrong[0].fix,
                    is_fatal=bool(self.plan.obstacles),
                )
            if any(each.verdict is not Verdict.GOOD for each in doubtful):
                step.verdict = Verdict.UNKNOWN

    def _make_stream(self) -> None:
        plan = self.plan
        kinesis_video = self._kinesis_video()
        with self._recorder.step("stream", f"ACTIVE, {plan.retention_hours} h, tagged") as step:
            request: dict[str, Any] = {
                "StreamName": plan.stream_name,
                "DataRetentionInHours": plan.retention_hours,
                "Tags": {TAG: plan.place.stack},
            }
            if plan.kms_key:
                request["KmsKeyId"] = plan.kms_key
            # From here on there may be a stream, whether or not its answer arrives.
            self._made.is_begun = True
            try:
                self._made.stream_arn = kinesis_video.create_stream(**request)["StreamARN"]
            except ClientError:
                self._made.is_begun = False
                raise
            began = time.monotonic()
            while (status := self._status()) != "ACTIVE":
                if time.monotonic() - began > ACTIVE_S:
                    raise StepError(
                        f"the stream is {status} after {ACTIVE_S:.0f} s", "Kinesis Video Streams"
                    )
                self._recorder.audience.progressed(f"the stream is {status}")
                self.sleep(_POLL_S)
            step.seen = "ACTIVE"
            self._observe("secondsToActive", round(time.monotonic() - began, 2))

    def _status(self) -> str:
        described = self._kinesis_video().describe_stream(StreamARN=self._made.stream_arn)
        return str(described["StreamInfo"]["Status"])

    def _speak(self) -> Taken:
        """Says all three calls, one request each."""
        self._write_script()
        everything = Taken()
        count = sum(len(call.timecodes_ms) for call in self.script.calls)
        with self._recorder.step("speak", f"{count} fragments of 3 contacts persisted") as step:
            target = Target(
                self._endpoint("PUT_MEDIA"),
                self.plan.place.region,
                self.plan.stream_name,
                self.plan.setup.clients.session.get_credentials(),
            )
            for call in self.script.calls:
                taken = self._say(
                    target,
                    call,
                    lambda taken: self._recorder.audience.progressed(
                        f"{len(everything.persisted) + len(taken.persisted)} of {count} persisted"
                    ),
                )
                everything.numbers |= taken.numbers
                everything.persisted |= taken.persisted
                everything.first_word_s = everything.first_word_s or taken.first_word_s
            step.seen = f"{len(everything.persisted)} persisted"
            self._observe("codec", "A_AAC over raw PCM was accepted")
            self._observe("secondsToFirstAcknowledgement", everything.first_word_s)
        return everything

    def _say(self, target: Target, call: Said, on_taken: Callable[[Taken], None]) -> Taken:
        """One call. KVS may take a moment to notice that the session before has ended.

        It may also not know a stream yet that it has just called ACTIVE.
        """
        for tries_left in reversed(range(_CONNECTION_TRIES)):
            try:
                return put_media(
                    target,
                    call.starts_ms,
                    self._pieces(call),
                    call.timecodes_ms,
                    patience_s=self.options.silence_s,
                    on_taken=on_taken,
                )
            except PutMediaError as error:
                if error.code not in _PASSING or not tries_left:
                    raise
                self.sleep(_POLL_S)
        raise AssertionError

    def _write_script(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        starts_ms = now_ms - duration_ms() - FRAGMENT_MS if self.options.fast else now_ms
        self.script = build_script(
            read_voices(), self.plan.run_id, self.plan.instance_id, starts_ms
        )

    def _pieces(self, call: Said) -> Iterator[tuple[float, bytes]]:
        """When each piece of a call is due, by the monotonic clock."""
        yield 0.0, build_head(bytes.fromhex(self.plan.run_id.replace("-", "")))
        offset_s = time.monotonic() - time.time()
        began = time.monotonic()
        for index, piece in enumerate(call.fragments()):
            # KVS takes five fragments a second, also of a call that begins too late.
            due = began + index * self.options.fast_s
            if not self.options.fast:
                # A fragment is whole when its last block has been spoken.
                due = max(due, (call.timecodes_ms[index] + FRAGMENT_MS) / 1000 + offset_s)
            yield due, piece

    def _await_listing(self, taken: Taken) -> Streamed:
        calls = self.script.calls
        wanted = set(taken.numbers.values())
        with self._recorder.step("listed", f"{len(wanted)} fragments") as step:
            began = time.monotonic()
            while True:
                listed = self._list(calls[0].starts_ms, calls[-1].ends_ms)
                if wanted <= listed.keys():
                    break
                if time.monotonic() - began > LISTED_S:
                    raise StepError(
                        f"{len(wanted & listed.keys())} of {len(wanted)} after {LISTED_S:.0f} s",
                        "Kinesis Video Streams",
                        "run rehearse again; the archive waits up to 25 minutes for a listing",
                    )
                self._recorder.audience.progressed(
                    f"{len(wanted & listed.keys())} of {len(wanted)} listed"
                )
                self.sleep(_POLL_S)
            step.seen = f"{len(listed)} listed"
            self._observe("secondsToListed", round(time.monotonic() - began, 2))
            if self.options.observes:
                self._recorder.audience.progressed("asking what only a real account can answer")
                Questions(
                    self.plan.setup.clients,
                    self.plan.place.region,
                    self._made.stream_arn,
                    self._endpoint,
                    self._recorder.audience.observed,
                ).ask(
                    list(listed.values()), _ms(min(e["ServerTimestamp"] for e in listed.values()))
                )
            said = self.script.archived
            first, last = (
                taken.numbers[at] for at in (said.timecodes_ms[0], said.timecodes_ms[-1])
            )
            return Streamed(
                contact_id=said.contact_id,
                instance_arn=self.plan.setup.instance_arn,
                stream_arn=self._made.stream_arn,
                start_fragment_number=first,
                # By KVS's clock, which is the one that ListFragments is asked by.
                start_timestamp_ms=_ms(listed[first]["ServerTimestamp"]),
                stop_fragment_number=last,
                stop_timestamp_ms=_ms(listed[last]["ServerTimestamp"]) + FRAGMENT_MS,
            )

    def _list(self, from_ms: int, to_ms: int) -> dict[str, Any]:
        """Entries of ListFragments by number; by the producer's clock, which is this machine's."""
        client = self.plan.setup.clients.archived_media(
            self.plan.place.region, self._endpoint("LIST_FRAGMENTS")
        )
        pages = list(
            client.get_paginator("list_fragments").paginate(
                StreamARN=self._made.stream_arn,
                FragmentSelector={
                    "FragmentSelectorType": "PRODUCER_TIMESTAMP",
                    "TimestampRange": {
                        "StartTimestamp": datetime.fromtimestamp(from_ms / 1000, UTC),
                        "EndTimestamp": datetime.fromtimestamp(to_ms / 1000, UTC),
                    },
                },
            )
        )
        entries = [entry for page in pages for entry in page.get("Fragments") or []]
        self._recorder.audience.observed("list-fragments.json", entries)
        return {entry["FragmentNumber"]: entry for entry in entries}

    def _invoke(self, streamed: Streamed) -> None:
        archived = (
            f"s3://{self.plan.place.bucket}/{recording_key(self._prefix, self._job(streamed))}"
        )
        for name, is_stopped, wanted in (
            ("flow, after Start", False, {"mediaStreaming": "STARTED", "archiveStatus": "PENDING"}),
            ("flow, after Stop", True, {"mediaStreaming": "STOPPED", "archiveStatus": "QUEUED"}),
        ):
            with self._recorder.step(name, ", ".join(wanted.values())) as step:
                try:
                    event = build_flow_event(streamed, is_stopped=is_stopped)
                    self._recorder.audience.observed(
                        f"flow-event-{'stop' if is_stopped else 'start'}.json", event
                    )
                    answer = self._call_flow_function(event)
                    self._recorder.audience.observed(
                        f"flow-answer-{'stop' if is_stopped else 'start'}.json", dict(answer)
                    )
                except ClientError as error:
                    if error.response["Error"]["Code"] not in FORBIDDEN:
                        raise
                    step.seen = "your credentials do not allow Invoke of FlowFunction"
                    step.fix, step.verdict = POLICY, Verdict.UNKNOWN
                    if is_stopped:
                        self._queue(build_job_message(self._job(streamed)))
                        step.seen += "; the job was queued without it"
                else:
                    self._check_answer(
                        answer,
                        wanted
                        | {
                            "streamArn": streamed.stream_arn,
                            "startFragmentNumber": streamed.start_fragment_number,
                            "archiveUri": archived,
                            "reason": "",
                        },
                    )
                    step.seen = ", ".join(str(answer[key]) for key in wanted)
                self._made.is_queued = self._made.is_queued or is_stopped

    def _call_flow_function(self, event: dict[str, Any]) -> Mapping[str, Any]:
        name = self.plan.setup.resources["FlowFunction"]
        answer = self.plan.setup.client("lambda").invoke(
            FunctionName=name, Payload=json.dumps(event).encode()
        )
        told = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise StepError(
                f"FlowFunction failed: {told.get('errorType')}: {told.get('errorMessage')}",
                "FlowFunction, or ArchiveQueue's policy",
                f"look at the log group {self.plan.setup.resources.get('FlowLogGroup', '')}",
            )
        if not isinstance(told, dict):
            raise StepError(f"FlowFunction answered {told!r}", "FlowFunction")
        return told

    def _check_answer(self, answer: Mapping[str, Any], wanted: Mapping[str, str]) -> None:
        for key, value in wanted.items():
            if answer.get(key) != value:
                raise StepError(
                    f"{key} is {answer.get(key)!r}; {answer.get('reason')}".rstrip("; "),
                    "FlowFunction",
                    "deploy the stack again; docs/troubleshooting.md explains the reason",
                )

    def _queue(self, message: Mapping[str, object]) -> None:
        self.plan.setup.clients.sqs().send_message(
            QueueUrl=self.plan.setup.resources["ArchiveQueue"], MessageBody=json.dumps(message)
        )

    def _await_manifest(self, streamed: Streamed) -> bytes:
        key = manifest_key(self._prefix, self._job(streamed))
        with self._recorder.step("archived", "a manifest that says complete") as step:
            facts = Facts(log_group=self.plan.setup.resources.get("ArchiveLogGroup", ""))
            facts.failed_before = self._messages("FailedJobsQueue")[0]
            began = looked = time.monotonic()
            since_ms = time.time_ns() // 1_000_000 - 60_000
            while True:
                body = self._read(key)
                if body is not None and json.loads(body).get("complete") is True:
                    break
                waited_s = time.monotonic() - began
                if time.monotonic() - looked >= self.options.look_s:
                    looked = time.monotonic()
                    self._collect(facts, streamed.contact_id, since_ms)
                    self._recorder.audience.progressed(f"{waited_s:.0f} s; {facts.progress}")
                if facts.failure is not None or waited_s > self.options.patience_s:
                    self._collect(facts, streamed.contact_id, since_ms)
                    raise diagnose(facts, waited_s)
                self.sleep(_POLL_S)
            self._made.is_queued = False
            step.seen = f"complete, {time.monotonic() - began:.0f} s after the flow"
            return body

    def _collect(self, facts: Facts, contact_id: str, since_ms: int) -> None:
        facts.waiting, facts.in_flight = self._messages("ArchiveQueue")
        facts.failed = self._messages("FailedJobsQueue")[0]
        setup = self.plan.setup
        try:
            reserved = setup.client("lambda").get_function_concurrency(
                FunctionName=setup.resources["ArchiveFunction"]
            )
            facts.reserved = reserved.get("ReservedConcurrentExecutions", -1)
        except ClientError:
            facts.reserved = None
        try:
            facts.lines = self._log_lines(facts.log_group, contact_id, since_ms)
        except ClientError:
            facts.may_read_logs = False

    def _messages(self, logical_id: str) -> tuple[int | None, int | None]:
        """Waiting and in flight; unknown if it may not be asked."""
        names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesDelayed",
            "ApproximateNumberOfMessagesNotVisible",
        ]
        try:
            attributes = self.plan.setup.client("sqs").get_queue_attributes(
                QueueUrl=self.plan.setup.resources[logical_id], AttributeNames=names
            )["Attributes"]
        except ClientError:
            return None, None
        waiting, delayed, in_flight = (int(attributes.get(name, 0)) for name in names)
        return waiting + delayed, in_flight

    def _log_lines(self, group: str, contact_id: str, since_ms: int) -> list[Mapping[str, Any]]:
        pages = (
            self.plan.setup.client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=group, startTime=since_ms, filterPattern=f'"{contact_id}"')
        )
        lines: list[Mapping[str, Any]] = []
        for page in pages:
            for event in page["events"]:
                try:
                    line = json.loads(event["message"])
                except ValueError:
                    continue
                if isinstance(line, dict):
                    lines.append(line)
        return lines

    def _read(self, key: str) -> bytes | None:
        try:
            answer = self.plan.setup.clients.s3().get_object(Bucket=self.plan.place.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise
        body: bytes = answer["Body"].read()
        return body

    def _compare(self, streamed: Streamed, manifest: bytes) -> None:
        setup, job = self.plan.setup, self._job(streamed)
        key = setup.parameters.get("ArchiveKmsKeyArn", "")
        began = time.monotonic()
        try:
            checks = list(
                compare(
                    self._fetch(job, manifest),
                    self.script,
                    stereo=setup.parameters.get("Tracks") == "both",
                    instance_id=instance_id_of(setup.instance_arn),
                    encryption=f"aws:kms {key}" if key else "",
                )
            )
        except (ClientError, BotoCoreError, OSError) as error:
            step = Step("recording", "both objects can be read")
            step.fail(as_step_error(error))
            self._recorder.record(step, began)
            raise StepError(step.seen) from error
        for check in checks:
            step = Step(check.name, check.expected, check.seen, fix=check.fix)
            step.convicts = check.convicts
            if not check.is_good:
                step.verdict = Verdict.UNKNOWN if check.is_good is None else Verdict.WRONG
            self._recorder.record(step, began)
            began = time.monotonic()

    def _fetch(self, job: ArchiveJob, manifest: bytes) -> Archived:
        s3, bucket = self.plan.setup.clients.s3(), self.plan.place.bucket
        keys = (recording_key(self._prefix, job), manifest_key(self._prefix, job))
        answers = [s3.get_object(Bucket=bucket, Key=key) for key in keys]
        recording: bytes = answers[0]["Body"].read()
        encryption = [
            " ".join(filter(None, (answer.get("ServerSideEncryption"), answer.get("SSEKMSKeyId"))))
            for answer in answers
        ]
        try:
            tags = [
                {
                    tag["Key"]: tag["Value"]
                    for tag in s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
                }
                for key in keys
            ]
        except ClientError as error:
            if error.response["Error"]["Code"] not in FORBIDDEN:
                raise
            return Archived(json.loads(manifest), recording, None, (encryption[0], encryption[1]))
        return Archived(
            json.loads(manifest), recording, (tags[0], tags[1]), (encryption[0], encryption[1])
        )

    def _hang_up(self, contact_id: str) -> None:
        """A real contact, as if its caller had hung up: its contact event goes into the queue."""
        with self._recorder.step("hang-up", "an archived contact") as step:
            arn = self.plan.setup.instance_arn
            connect = self.plan.setup.clients.connect(self.plan.place.region)
            contact = connect.describe_contact(
                InstanceId=instance_id_of(arn), ContactId=contact_id
            )["Contact"]
            if "DisconnectTimestamp" not in contact:
                raise StepError("the contact has not ended", "", "name a contact that has ended")
            self._observe_contact(contact)
            past = PastContact(
                contact_id,
                str(contact.get("InitialContactId") or contact_id),
                contact["InitiationTimestamp"],
                contact["DisconnectTimestamp"],
            )
            self._queue(build_event(past, arn))
            began = time.monotonic()
            day = contact["InitiationTimestamp"].date()
            while not (keys := self._manifests_of(contact_id, day)):
                waited_s = time.monotonic() - began
                if waited_s > self.options.patience_s:
                    facts = Facts(log_group=self.plan.setup.resources.get("ArchiveLogGroup", ""))
                    self._collect(facts, contact_id, time.time_ns() // 1_000_000 - 600_000)
                    raise diagnose(facts, waited_s)
                self._recorder.audience.progressed(f"{waited_s:.0f} s")
                self.sleep(_POLL_S)
            step.seen = f"s3://{self.plan.place.bucket}/{keys[0]}"

    def _observe_contact(self, contact: Any) -> None:  # noqa: ANN401 - DescribeContact's answer
        self._recorder.audience.observed("describe-contact.json", contact)

    def _manifests_of(self, contact_id: str, day: Any) -> list[str]:  # noqa: ANN401 - a date
        listed = self.plan.setup.clients.s3().list_objects_v2(
            Bucket=self.plan.place.bucket,
            Prefix=f"{self._prefix}manifests/{day:year=%Y/month=%m/day=%d}/{contact_id}/",
        )
        return [entry["Key"] for entry in listed.get("Contents", [])]

    # ------------------------------------------------------------------------------- the way out

    def _clean_up(self) -> None:
        if not self._made.is_begun:
            return
        stack = self.plan.place.stack
        with self._recorder.step("cleaned up", "nothing is left", is_last=True) as step:
            try:
                step.seen = clean(
                    self.plan.setup.clients,
                    self.plan.place,
                    self.plan.run_id,
                    sleep=self.sleep,
                    tell=self._recorder.audience.progressed,
                )
            except ClientError:
                # What may not be listed may still be deleted.
                if self._made.stream_arn:
                    self._kinesis_video().delete_stream(StreamARN=self._made.stream_arn)
                raise
            if self._made.is_queued:
                step.seen += "; its job is still in a queue, and will fail without its stream"
                step.verdict = Verdict.UNKNOWN
                step.fix = f"{clean_command(stack)} in a few minutes; look at FailedJobsQueue, too"

    # --------------------------------------------------------------------------------- the parts

    @property
    def _prefix(self) -> str:
        return self.plan.place.prefix

    def _job(self, streamed: Streamed) -> ArchiveJob:
        return ArchiveJob(
            contact_id=streamed.contact_id,
            initial_contact_id=streamed.contact_id,
            instance_arn=streamed.instance_arn,
            stream_arn=streamed.stream_arn,
            start_fragment_number=int(streamed.start_fragment_number),
            start_timestamp_ms=streamed.start_timestamp_ms,
            stop_fragment_number=int(streamed.stop_fragment_number),
            stop_timestamp_ms=streamed.stop_timestamp_ms,
            requested_at_ms=max(time.time_ns() // 1_000_000, streamed.stop_timestamp_ms),
        )

    def _kinesis_video(self) -> Any:  # noqa: ANN401 - boto3
        return self.plan.setup.clients.kinesis_video(self.plan.place.region)

    def _endpoint(self, api: str) -> str:
        if api not in self._made.endpoints:
            answer = self._kinesis_video().get_data_endpoint(
                StreamARN=self._made.stream_arn, APIName=api
            )
            self._made.endpoints[api] = answer["DataEndpoint"]
        return self._made.endpoints[api]

    def _observe(self, name: str, value: object) -> None:
        self._recorder.audience.observed("observations.json", {name: value})


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
