"""What the stack is for, each as one function that asserts what came out.

To prove a new permission of a role: name it in `PROVED_BY` with the journey that fails without it.
"""

import json
from dataclasses import replace

from call_archive.keys import hold_key
from local.behaviour import FragmentFault
from local.pcm import synthetic_pcm
from tests.integration.journey import SETTLES, WAV_HEADER_BYTES
from tests.security.world import SECONDS, World
from tests.support.sqs import pass_time

HOLD_MS = 12_000
"""The first delay is 5 s; the queue's own timeout is 660 s."""
LONG_CALL_S = 700
"""More than two parts of 5 MiB."""


def flow_stops(world: World) -> None:
    """The flow reports the stop, the event source runs the job, and the queue is empty."""
    call = world.place()
    answer = world.invoke_flow(call.flow_event("stopped"))
    assert answer["archiveStatus"] == "QUEUED"
    assert world.source.poll() == 1
    pcm = synthetic_pcm(SECONDS, 1)
    assert world.recording(call)[WAV_HEADER_BYTES:] == pcm[0 : len(pcm)]
    assert world.manifest(call)["complete"] is True
    assert answer["archiveUri"] == world.manifest(call)["recordingUri"]
    assert world.drain(world.queue_url) == []


def flow_starts(world: World) -> None:
    """The flow asks before the stop: an answer, and nothing is queued."""
    assert world.invoke_flow(world.place().flow_event("started"))["archiveStatus"] == "PENDING"
    assert world.drain(world.queue_url) == []


def caller_hangs_up(world: World) -> None:
    """EventBridge's contact event is in the queue."""
    call = world.place()
    world.sqs.send_message(
        QueueUrl=world.queue_url, MessageBody=json.dumps(call.contact_event("DISCONNECTED"))
    )
    assert world.source.poll() == 1
    assert world.manifest(call)["trigger"] == "contactEvent"


def contact_record_arrives(world: World) -> None:
    """The pipe puts a contact record into the queue."""
    call = world.place()
    world.pipe(call.contact_record())
    assert world.source.poll() == 1
    assert world.manifest(call)["trigger"] == "contactRecord"


def contact_record_cannot_be_delivered(world: World) -> None:
    """The pipe reports where the record is that it could not deliver."""
    sqs = world.client("ContactRecordRole", "sqs")
    sqs.send_message(QueueUrl=world.failed_queue_url, MessageBody="{}")
    assert len(world.drain(world.failed_queue_url)) == 1


def job_is_repeated(world: World) -> None:
    """The second run of a job finds a complete manifest, and writes nothing."""
    call = world.place()
    assert world.invoke_archive(call.archive_job())
    world.authorization.checks.clear()
    assert world.invoke_archive(call.archive_job())
    assert "s3:PutObject" not in {check.action for check in world.authorization.checks}
    assert world.drain(world.failed_queue_url) == []


def partial_gets_better(world: World) -> None:
    """A fragment that comes late: a partial recording, then a complete one over it."""
    call = world.place()
    fault = FragmentFault(call.fragments[2].number, kind="error", times=None)
    world.aws.behaviour = replace(world.aws.behaviour, fragment_faults=(fault,))
    assert not world.invoke_archive(call.archive_job(), receives=SETTLES)
    assert world.manifest(call)["complete"] is False
    world.aws.behaviour = replace(world.aws.behaviour, fragment_faults=())
    assert world.invoke_archive(call.archive_job(), receives=SETTLES + 1)
    assert world.manifest(call)["complete"] is True


def job_comes_back(world: World) -> None:
    """What is not listed yet brings the message back in seconds."""
    call = world.place(ended_s_ago=0)
    world.aws.behaviour = replace(world.aws.behaviour, listing_delay_ms=60_000)
    world.sqs.send_message(QueueUrl=world.queue_url, MessageBody=json.dumps(call.archive_job()))
    assert world.source.poll() == 0
    world.aws.behaviour = replace(world.aws.behaviour, listing_delay_ms=0)
    assert pass_time(world.queue_url.rpartition("/")[2]) < HOLD_MS
    assert world.source.poll(wait_s=0) == 1
    assert world.manifest(call)["complete"] is True


def job_fails(world: World) -> None:
    """A job that no retry can fix is in the failed-jobs queue with its reason."""
    call = world.place()
    job = call.archive_job() | {"startFragmentNumber": "none"}
    assert world.invoke_archive(job)
    (failed,) = world.drain(world.failed_queue_url)
    assert failed["MessageAttributes"]["code"]["StringValue"] == "MALFORMED_FRAGMENT_NUMBER"


def long_call(world: World) -> None:
    """A recording of several parts."""
    call = world.place(seconds=LONG_CALL_S)
    assert world.invoke_archive(call.archive_job())
    assert world.manifest(call)["bytes"] == LONG_CALL_S * 16_000 + WAV_HEADER_BYTES
    assert world.uploads() == []
    (recording,) = [
        key for key in world.object_keys() if call.contact_id in key and key.endswith(".wav")
    ]
    tags = world.s3.get_object_tagging(Bucket=world.bucket, Key=recording)["TagSet"]
    assert {"Key": "complete", "Value": "true"} in tags


def upload_is_given_up(world: World) -> None:
    """A long call whose end does not come: what was uploaded is removed."""
    call = world.place(seconds=LONG_CALL_S)
    fault = FragmentFault(call.fragments[-2].number, kind="error", times=None)
    world.aws.behaviour = replace(world.aws.behaviour, fragment_faults=(fault,))
    assert not world.invoke_archive(call.archive_job())
    assert not [key for key in world.object_keys() if call.contact_id in key]
    assert world.uploads() == []


def call_is_held(world: World) -> None:
    """An operator has put the contact under a hold: so is what is published of it later."""
    call = world.place()
    world.s3.put_object(
        Bucket=world.bucket, Key=hold_key(world.prefix, call.contact_id), Body=b"{}"
    )
    world.invoke_flow(call.flow_event("stopped"))
    assert world.source.poll() == 1
    for folder in ("recordings", "manifests"):
        (key,) = (key for key in world.object_keys(f"{folder}/") if call.contact_id in key)
        held = world.s3.get_object_legal_hold(Bucket=world.bucket, Key=key)
        assert held["LegalHold"] == {"Status": "ON"}


JOURNEYS = {
    journey.__name__: journey
    for journey in (
        flow_starts,
        flow_stops,
        caller_hangs_up,
        job_is_repeated,
        partial_gets_better,
        job_comes_back,
        job_fails,
        long_call,
        upload_is_given_up,
        call_is_held,
    )
}
RECORD_JOURNEYS = {
    journey.__name__: journey
    for journey in (contact_record_arrives, contact_record_cannot_be_delivered)
}

PROVED_BY = {
    ("FlowRole", "QueueJobs", "sqs:SendMessage"): flow_stops,
    ("ArchiveRole", "TakeJobs", "sqs:ReceiveMessage"): flow_stops,
    ("ArchiveRole", "TakeJobs", "sqs:DeleteMessage"): flow_stops,
    ("ArchiveRole", "TakeJobs", "sqs:GetQueueAttributes"): flow_stops,
    ("ArchiveRole", "TakeJobs", "sqs:ChangeMessageVisibility"): job_comes_back,
    ("ArchiveRole", "ReportFailedJobs", "sqs:SendMessage"): job_fails,
    ("ArchiveRole", "ReadMedia", "kinesisvideo:GetDataEndpoint"): flow_stops,
    ("ArchiveRole", "ReadMedia", "kinesisvideo:ListFragments"): flow_stops,
    ("ArchiveRole", "ReadMedia", "kinesisvideo:GetMediaForFragmentList"): flow_stops,
    ("ArchiveRole", "DecryptMedia", "kms:Decrypt"): flow_stops,
    ("ArchiveRole", "DescribeContacts", "connect:DescribeContact"): caller_hangs_up,
    ("ArchiveRole", "WriteRecordings", "s3:PutObject"): flow_stops,
    ("ArchiveRole", "WriteRecordings", "s3:PutObjectTagging"): flow_stops,
    ("ArchiveRole", "WriteRecordings", "s3:PutObjectVersionTagging"): long_call,
    ("ArchiveRole", "WriteRecordings", "s3:GetObject"): job_is_repeated,
    ("ArchiveRole", "WriteRecordings", "s3:AbortMultipartUpload"): upload_is_given_up,
    ("ArchiveRole", "WriteManifests", "s3:PutObject"): flow_stops,
    ("ArchiveRole", "WriteManifests", "s3:PutObjectTagging"): flow_stops,
    ("ArchiveRole", "WriteManifests", "s3:GetObject"): job_is_repeated,
    ("ArchiveRole", "ReadTombstones", "s3:GetObject"): flow_stops,
    ("ArchiveRole", "ReadHolds", "s3:GetObject"): call_is_held,
    ("ArchiveRole", "HoldRecordings", "s3:PutObjectLegalHold"): call_is_held,
    ("ArchiveRole", "HoldManifests", "s3:PutObjectLegalHold"): call_is_held,
    ("ArchiveRole", "TellMissingFromForbidden", "s3:ListBucket"): flow_stops,
    ("ArchiveRole", "EncryptRecordings", "kms:GenerateDataKey"): flow_stops,
    ("ArchiveRole", "EncryptRecordings", "kms:Decrypt"): long_call,
    ("ContactRecordRole", "QueueRecords", "sqs:SendMessage"): contact_record_arrives,
    (
        "ContactRecordRole",
        "ReportUndeliverableRecords",
        "sqs:SendMessage",
    ): contact_record_cannot_be_delivered,
}

# What a service does by itself with a role that it was given: nothing here can show it.
USED_BY_THE_SERVICE = {
    # Lambda writes the logs (Lambda developer guide, "Defining Lambda function permissions with an
    # execution role") and the traces ("Visualize Lambda function invocations using AWS X-Ray").
    *(
        (role, sid, action)
        for role in ("FlowRole", "ArchiveRole")
        for sid, action in (
            ("WriteLogs", "logs:CreateLogStream"),
            ("WriteLogs", "logs:PutLogEvents"),
            ("Trace", "xray:PutTraceSegments"),
            ("Trace", "xray:PutTelemetryRecords"),
        )
    ),
    # EventBridge user guide, "Amazon Kinesis stream as a source": what the execution role needs.
    ("ContactRecordRole", "DecryptRecords", "kms:Decrypt"),
    *(
        ("ContactRecordRole", "ReadRecords", f"kinesis:{name}")
        for name in (
            "DescribeStream",
            "DescribeStreamSummary",
            "GetRecords",
            "GetShardIterator",
            "ListShards",
        )
    ),
}
