"""SearchContacts and an instance's settings, as botocore sees them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.behaviour import CONNECT_DEFAULTS, UNLIMITED
from local.call import Call, simulate_call
from local.contact_search import SlowRate
from local.demo_call import INSTANCE_ARN, STREAM_ARN
from local.server import LocalAws

INSTANCE_ID = INSTANCE_ARN.rpartition("/")[2]
START = datetime(2026, 1, 1, 9, tzinfo=UTC)
WEEK = timedelta(weeks=1)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAws]:
    with LocalAws(UNLIMITED) as aws:
        yield aws


@pytest.fixture(scope="module")
def client(server: LocalAws) -> Any:
    return server.client("connect")


@pytest.fixture
def aws(server: LocalAws) -> LocalAws:
    server.reset()
    server.behaviour = UNLIMITED
    return server


def place(aws: LocalAws, count: int) -> list[Call]:
    calls = [
        simulate_call(
            bytes(16_000),
            None,
            contact_id=f"contact-{number:03}",
            instance_arn=INSTANCE_ARN,
            stream_arn=STREAM_ARN,
            start_ms=round(START.timestamp() * 1000) + number * 60_000,
            first_sequence=number * 1000 + 1,
        )
        for number in range(count)
    ]
    aws.place(*calls)
    return calls


def search(client: Any, **changes: Any) -> Any:
    time_range = {
        "Type": "DISCONNECT_TIMESTAMP",
        "StartTime": START,
        "EndTime": START + timedelta(hours=24),
    }
    request = {"InstanceId": INSTANCE_ID, "TimeRange": time_range | changes.pop("time", {})}
    return client.search_contacts(**request, **changes)


def refusal(client: Any, **changes: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as refused:
        search(client, **changes)
    answer = refused.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_pages_hold_each_contact_once_latest_first(aws: LocalAws, client: Any) -> None:
    calls = place(aws, 7)
    ids: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = search(client, MaxResults=3, **token)
        assert page["TotalCount"] == 7
        ids += [contact["Id"] for contact in page["Contacts"]]
        if "NextToken" not in page:
            break
        assert len(page["Contacts"]) == 3
        token = {"NextToken": page["NextToken"]}
    assert ids == [call.contact_id for call in reversed(calls)]


def test_summary_has_no_attributes_and_no_recordings(aws: LocalAws, client: Any) -> None:
    (one,) = place(aws, 1)
    (contact,) = search(client)["Contacts"]
    assert contact["InitialContactId"] == one.contact_id
    assert contact["Channel"] == "VOICE"
    assert contact["DisconnectTimestamp"].tzinfo is not None
    assert contact.keys().isdisjoint({"Attributes", "Recordings"})


def test_range_is_by_the_time_that_was_asked_for(aws: LocalAws, client: Any) -> None:
    place(aws, 3)
    # The first contact began two seconds before its streaming, and ended a second after.
    begun = {"Type": "INITIATION_TIMESTAMP", "EndTime": START}
    ended = {"Type": "DISCONNECT_TIMESTAMP", "EndTime": START}
    before = {"StartTime": START - timedelta(minutes=1)}
    assert search(client, time=begun | before)["TotalCount"] == 1
    assert search(client, time=ended | before)["TotalCount"] == 0
    assert search(client, time={"Type": "SCHEDULED_TIMESTAMP"})["Contacts"] == []


def test_channels_and_instance(aws: LocalAws, client: Any) -> None:
    place(aws, 2)
    assert search(client, SearchCriteria={"Channels": ["VOICE", "CHAT"]})["TotalCount"] == 2
    assert search(client, SearchCriteria={"Channels": ["CHAT"]})["TotalCount"] == 0
    other = client.search_contacts(
        InstanceId="0" * 36,
        TimeRange={"Type": "DISCONNECT_TIMESTAMP", "StartTime": START, "EndTime": START + WEEK},
    )
    assert other["Contacts"] == []


def test_refusals(aws: LocalAws, client: Any) -> None:
    assert search(client, time={"EndTime": START + 8 * WEEK})["Contacts"] == []
    too_long = {"EndTime": START + 8 * WEEK + timedelta(seconds=1)}
    assert refusal(client, time=too_long) == (400, "InvalidRequestException")
    reversed_range = {"EndTime": START - WEEK}
    assert refusal(client, time=reversed_range) == (400, "InvalidRequestException")
    assert refusal(client, time={"Type": "NOON"}) == (400, "InvalidParameterException")
    assert refusal(client, NextToken="!") == (400, "InvalidParameterException")


def test_quota_is_one_call_in_two_seconds(aws: LocalAws) -> None:
    impatient = boto3.client(
        "connect",
        **aws.client_options,
        config=Config(retries={"total_max_attempts": 1}),
    )
    aws.behaviour = CONNECT_DEFAULTS
    search(impatient)
    assert refusal(impatient) == (429, "ThrottlingException")


def test_slow_rate() -> None:
    now_s = 0.0
    rate = SlowRate(lambda: now_s)
    assert rate.admits(0.5)
    now_s = 1.9
    assert not rate.admits(0.5)
    now_s = 2.0
    assert rate.admits(0.5)
    assert not rate.admits(0.5)
    assert rate.admits(None)


def test_storage_configs(aws: LocalAws, client: Any) -> None:
    def configs(resource_type: str = "MEDIA_STREAMS") -> list[Any]:
        answer = client.list_instance_storage_configs(
            InstanceId=INSTANCE_ID, ResourceType=resource_type
        )
        return list(answer["StorageConfigs"])

    assert configs() == []
    aws.connect.instances.stream_media(INSTANCE_ID, RetentionPeriodHours=48)
    (config,) = configs()
    assert config["StorageType"] == "KINESIS_VIDEO_STREAM"
    assert config["KinesisVideoStreamConfig"]["RetentionPeriodHours"] == 48
    assert configs("CALL_RECORDINGS") == []
    described = client.describe_instance_storage_config(
        InstanceId=INSTANCE_ID,
        AssociationId=config["AssociationId"],
        ResourceType="MEDIA_STREAMS",
    )
    assert described["StorageConfig"] == config
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_instance_storage_config(
            InstanceId=INSTANCE_ID, AssociationId="none", ResourceType="MEDIA_STREAMS"
        )


def test_instances_are_those_that_are_set_up(aws: LocalAws, client: Any) -> None:
    def arns() -> list[str]:
        pages = client.get_paginator("list_instances").paginate(PaginationConfig={"PageSize": 1})
        return [instance["Arn"] for page in pages for instance in page["InstanceSummaryList"]]

    assert arns() == []
    aws.connect.instances.stream_media(INSTANCE_ID)
    aws.connect.instances.functions["b"] = []
    prefix = INSTANCE_ARN.removesuffix(INSTANCE_ID)
    assert arns() == [f"{prefix}{INSTANCE_ID}", f"{prefix}b"]


def test_lambda_functions_come_in_pages_of_25(aws: LocalAws, client: Any) -> None:
    functions = [f"arn:aws:lambda:eu-west-2:123456789012:function:f{n}" for n in range(60)]
    aws.connect.instances.functions[INSTANCE_ID] = functions
    pages = list(client.get_paginator("list_lambda_functions").paginate(InstanceId=INSTANCE_ID))
    assert [len(page["LambdaFunctions"]) for page in pages] == [25, 25, 10]
    assert [arn for page in pages for arn in page["LambdaFunctions"]] == functions
