"""The stack deployed in moto, and a call that passes through it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.behaviour import CONNECT_DEFAULTS
from local.call import simulate_call
from local.demo_call import CONTACT_ID, INSTANCE_ARN, START_MS, STREAM_ARN
from local.pcm import synthetic_pcm
from local.resources import ACCOUNT_ID, Resources, build_environment
from local.runtime import ARCHIVE_HANDLER, FLOW_HANDLER, EventSource, Function
from local.server import LocalAws
from tests.template.cloudformation import REGION, Json
from tests.template.deployer import Stack, create_stack

ARCHIVE_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:key/66666666-7777-8888-9999-000000000000"
FULL: dict[str, str | int] = {
    "ConnectInstanceArn": INSTANCE_ARN,
    "StreamPrefix": "call-archive",
    "ContactRecordStreamArn": f"arn:aws:kinesis:{REGION}:{ACCOUNT_ID}:stream/contact-records",
    "ArchivePrefix": "calls/",
    "ArchiveKmsKeyArn": ARCHIVE_KEY,
    "RetentionDays": 365,
    "Tracks": "both",
    "AlarmEmail": "on-call@example.com",
}
SETTINGS: dict[str, dict[str, str | int]] = {
    "minimal": {},
    "full": FULL,
    "own bucket": {"ArchiveBucketName": "a-bucket-that-exists"},
    "no table, no events": {"AthenaTable": "false", "ArchiveOnDisconnect": "false"},
}


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws


@pytest.fixture(scope="module", params=SETTINGS)
def stack(request: pytest.FixtureRequest, aws: LocalAws) -> Stack:
    return create_stack(aws, SETTINGS[request.param])


def attributes(stack: Stack, queue: str) -> Json:
    answer = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.physical[queue], AttributeNames=["All"]
    )
    found: Json = answer["Attributes"]
    return found


class TestWhatStands:
    def test_only_what_moto_has_no_api_for_is_missing(self, stack: Stack) -> None:
        assert {name.split("::")[1] for name in stack.missing} <= {"Connect", "Logs"}

    def test_jobs_that_keep_failing_are_moved(self, stack: Stack) -> None:
        jobs, failed = attributes(stack, "ArchiveQueue"), attributes(stack, "FailedJobsQueue")
        assert json.loads(jobs["RedrivePolicy"]) == {
            "deadLetterTargetArn": failed["QueueArn"],
            "maxReceiveCount": 15,
        }
        assert (jobs["VisibilityTimeout"], jobs["DelaySeconds"]) == ("660", "2")
        assert (jobs["MessageRetentionPeriod"], failed["MessageRetentionPeriod"]) == (
            "345600",
            "1209600",
        )

    def test_queues_are_reached_over_tls_only(self, stack: Stack) -> None:
        for queue in ("ArchiveQueue", "FailedJobsQueue"):
            found = attributes(stack, queue)
            denied = [s for s in json.loads(found["Policy"])["Statement"] if s["Effect"] == "Deny"]
            assert {"Bool": {"aws:SecureTransport": "false"}} in [s["Condition"] for s in denied]
            assert {s["Resource"] for s in denied} == {found["QueueArn"]}

    def test_bucket_is_private_versioned_and_cleans_up(self, stack: Stack) -> None:
        if stack.outputs["ArchiveBucket"] == SETTINGS["own bucket"]["ArchiveBucketName"]:
            types = {resource["Type"] for resource in stack.resources.values()}
            assert not types & {"AWS::S3::Bucket", "AWS::S3::BucketPolicy"}
            return
        s3, bucket = stack.client("s3"), stack.physical["ArchiveBucket"]
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        blocked = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        assert all(blocked.values())
        assert len(blocked) == 4
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert {rule["ID"]: rule["Status"] for rule in rules}["abort-incomplete-uploads"] == (
            "Enabled"
        )
        policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        assert f"arn:aws:s3:::{bucket}/*" in policy["Statement"][0]["Resource"]

    def test_functions_are_told_where_everything_is(self, stack: Stack) -> None:
        functions = stack.client("lambda")
        flow, archive = (
            functions.get_function_configuration(FunctionName=stack.physical[name])
            for name in ("FlowFunction", "ArchiveFunction")
        )
        assert (flow["Timeout"], flow["MemorySize"]) == (8, 512)
        assert (archive["Timeout"], archive["MemorySize"]) == (600, 256)
        bucket = stack.outputs["ArchiveBucket"]
        told = flow["Environment"]["Variables"]
        assert told["ARCHIVE_QUEUE_URL"] == stack.outputs["ArchiveQueueUrl"]
        assert told["ARCHIVE_BUCKET"] == bucket
        told = archive["Environment"]["Variables"]
        assert told["FAILED_JOBS_QUEUE_URL"] == stack.outputs["FailedJobsQueueUrl"]
        assert told["ARCHIVE_BUCKET"] == bucket

    def test_each_function_has_its_own_role(self, stack: Stack) -> None:
        iam = stack.client("iam")
        for function, role in (("FlowFunction", "FlowRole"), ("ArchiveFunction", "ArchiveRole")):
            found = stack.client("lambda").get_function_configuration(
                FunctionName=stack.physical[function]
            )
            assert found["Role"] == stack.physical[f"{role}.Arn"]
            names = iam.list_role_policies(RoleName=stack.physical[role])["PolicyNames"]
            assert len(names) == 1

    def test_archive_function_takes_jobs_from_its_queue(self, stack: Stack) -> None:
        (mapping,) = stack.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        assert mapping["EventSourceArn"] == stack.physical["ArchiveQueue.Arn"]
        assert mapping["FunctionArn"] == stack.outputs["ArchiveFunctionArn"]
        assert mapping["BatchSize"] == 1

    def test_failed_jobs_raise_an_alarm(self, stack: Stack) -> None:
        alarms = stack.client("cloudwatch").describe_alarms()["MetricAlarms"]
        watched = {
            dimension["Value"]
            for alarm in alarms
            if alarm.get("Namespace") == "AWS/SQS"
            for dimension in alarm["Dimensions"]
        }
        assert stack.physical["FailedJobsQueue.QueueName"] in watched


class TestSettings:
    def test_key_retention_and_records(self, aws: LocalAws) -> None:
        stack = create_stack(aws, FULL)
        s3, bucket = stack.client("s3"), stack.physical["ArchiveBucket"]
        encryption = s3.get_bucket_encryption(Bucket=bucket)
        (rule,) = encryption["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"] == {
            "SSEAlgorithm": "aws:kms",
            "KMSMasterKeyID": ARCHIVE_KEY,
        }
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert {r["Expiration"]["Days"] for r in rules if "Days" in r.get("Expiration", {})} == {
            365
        }
        (pipe,) = stack.client("pipes").list_pipes()["Pipes"]
        assert pipe["Source"] == FULL["ContactRecordStreamArn"]
        assert pipe["Target"] == stack.physical["ArchiveQueue.Arn"]

    def test_events_can_be_off(self, aws: LocalAws) -> None:
        stack = create_stack(aws, SETTINGS["no table, no events"])
        rule = stack.client("events").describe_rule(Name=stack.physical["DisconnectRule"])
        assert rule["State"] == "DISABLED"
        assert not stack.client("glue").get_databases()["DatabaseList"]

    def test_table_and_queries_are_there_to_be_used(self, aws: LocalAws) -> None:
        stack = create_stack(aws, {"ArchivePrefix": "calls/"})
        table = stack.client("glue").get_table(DatabaseName="call_archive", Name="manifests")
        bucket = stack.physical["ArchiveBucket"]
        assert table["Table"]["StorageDescriptor"]["Location"] == f"s3://{bucket}/calls/manifests/"
        assert table["Table"]["Parameters"]["storage.location.template"] == (
            f"s3://{bucket}/calls/manifests/year=${{year}}/month=${{month}}/day=${{day}}/"
        )
        athena = stack.client("athena")
        for query_id in athena.list_named_queries()["NamedQueryIds"]:
            query = athena.get_named_query(NamedQueryId=query_id)["NamedQuery"]
            assert query["Database"] == "call_archive"


def test_a_call_goes_through_what_was_deployed(aws: LocalAws, tmp_path: Path) -> None:
    """Flow event → FlowFunction → the stack's queue → ArchiveFunction → the stack's bucket."""
    stack = create_stack(aws, SETTINGS["minimal"])
    make_local(stack)
    call = place(aws)
    sqs = stack.client("sqs")
    with (
        Function(FLOW_HANDLER, variables(stack, "FlowFunction"), tmp_path / "flow") as flow,
        Function(ARCHIVE_HANDLER, variables(stack, "ArchiveFunction"), tmp_path / "a") as archive,
    ):
        answer = flow.invoke(call.flow_event("stopped"))
        assert answer["archiveStatus"] == "QUEUED"
        source = EventSource(sqs, stack.outputs["ArchiveQueueUrl"], archive)
        assert source.poll(wait_s=20) == 1
    assert kept(stack) == expected_keys(call.start_fragment_number, "minimal")
    assert answer["archiveUri"] == f"s3://{stack.outputs['ArchiveBucket']}/{kept(stack)[1]}"


def test_an_event_of_a_hang_up_reaches_the_queue_and_becomes_a_recording(
    aws: LocalAws, tmp_path: Path
) -> None:
    """EventBridge's pattern and target, then the function, as for a caller who hung up."""
    stack = create_stack(aws, FULL)
    make_local(stack)
    call = place(aws)
    detail = {
        "eventType": "DISCONNECTED",
        "channel": "VOICE",
        "contactId": CONTACT_ID,
        "initialContactId": CONTACT_ID,
        "instanceArn": INSTANCE_ARN,
        "disconnectTimestamp": "2026-01-01T09:00:20Z",
    }
    others = (detail | {"eventType": "INITIATED"}, detail | {"channel": "CHAT"})
    for published in (*others, detail):
        publish(stack, published)
    sqs, url = stack.client("sqs"), stack.outputs["ArchiveQueueUrl"]
    with Function(ARCHIVE_HANDLER, variables(stack, "ArchiveFunction"), tmp_path / "a") as archive:
        assert EventSource(sqs, url, archive).poll(wait_s=20) == 1
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == "0"
    assert counts["ApproximateNumberOfMessagesDelayed"] == "0"
    assert kept(stack) == expected_keys(call.start_fragment_number, "full")


def publish(stack: Stack, detail: Json) -> None:
    entry = {
        "Source": "aws.connect",
        "DetailType": "Amazon Connect Contact Event",
        "Detail": json.dumps(detail),
    }
    answer = stack.client("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0


def place(aws: LocalAws) -> Any:
    aws.behaviour = CONNECT_DEFAULTS
    call = simulate_call(
        synthetic_pcm(6, seed=1),
        synthetic_pcm(6, seed=2),
        contact_id=CONTACT_ID,
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=START_MS,
        first_sequence=4001,
    )
    aws.place(call)
    return call


def variables(stack: Stack, function: str) -> dict[str, str]:
    """The deployed function's environment, and where the local AWS is."""
    answer = stack.client("lambda").get_function_configuration(
        FunctionName=stack.physical[function]
    )
    told: dict[str, str] = answer["Environment"]["Variables"]
    local = build_environment(stack.aws.endpoint_url, Resources())[function]
    return told | {name: value for name, value in local.items() if name.startswith("AWS_")}


def make_local(stack: Stack) -> None:
    """Takes away what does not work on one machine.

    The bucket's policy refuses what does not come over TLS, as the local AWS does not; the queue's
    delay of ten seconds would be waited for; and moto would run the function in Docker for each
    message, which `EventSource` does here.
    """
    stack.client("sqs").set_queue_attributes(
        QueueUrl=stack.outputs["ArchiveQueueUrl"], Attributes={"DelaySeconds": "0"}
    )
    stack.client("s3").delete_bucket_policy(Bucket=stack.outputs["ArchiveBucket"])
    functions = stack.client("lambda")
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)


def kept(stack: Stack) -> list[str]:
    s3: Any = stack.aws.client("s3")
    listing = s3.list_objects_v2(Bucket=stack.outputs["ArchiveBucket"])
    return [entry["Key"] for entry in listing.get("Contents", [])]


def expected_keys(start_fragment_number: int, setting: str) -> list[str]:
    prefix = SETTINGS[setting].get("ArchivePrefix", "")
    tail = f"year=2026/month=01/day=01/{CONTACT_ID}/{start_fragment_number}"
    return [f"{prefix}manifests/{tail}.json", f"{prefix}recordings/{tail}.wav"]
