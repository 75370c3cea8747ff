"""boto3 against the simulated services, over HTTP."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ResponseStreamingError

from local.behaviour import UNLIMITED, Behaviour, BodyFault, CallFault
from local.call import Call, simulate_call
from local.pcm import synthetic_pcm
from local.resources import Resources, create_resources
from local.server import LocalAws, LocalServer

INSTANCE_ARN = (
    "arn:aws:connect:eu-west-2:123456789012:instance/5f3b1c9e-2d47-4a86-9c01-7be0d2a4f611"
)
STREAM_ARN = (
    "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/t-connect-t-contact-1/1640168106910"
)
START = datetime(2026, 1, 1, 9, tzinfo=UTC)
ONCE = Config(retries={"total_max_attempts": 1})


def make_call(seconds: float = 20, **changes: Any) -> Call:
    arguments: dict[str, Any] = {
        "contact_id": "8c2b1f0e-6d1f-4c58-9a5e-0d6a4d1f7c21",
        "instance_arn": INSTANCE_ARN,
        "stream_arn": STREAM_ARN,
        "start_ms": round(START.timestamp() * 1000),
    }
    return simulate_call(
        synthetic_pcm(seconds, 1), synthetic_pcm(seconds, 2), **arguments | changes
    )


CALL = make_call()
NUMBERS = [str(fragment.number) for fragment in CALL.fragments]
DOCUMENTS = b"".join(fragment.document() for fragment in CALL.fragments)
SELECTOR: Any = {
    "FragmentSelectorType": "SERVER_TIMESTAMP",
    "TimestampRange": {"StartTimestamp": START, "EndTimestamp": START + timedelta(minutes=1)},
}


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws


@pytest.fixture
def aws(server: LocalAws) -> LocalAws:
    """The call, which ended half a minute ago, and the service's own behaviour."""
    server.reset()
    server.behaviour = Behaviour()
    server.place(CALL)
    return server


def client(aws: LocalAws, service: str, api: str = "") -> Any:
    options = aws.client_options
    if api:
        kvs: Any = boto3.client("kinesisvideo", **options, config=ONCE)
        endpoint = kvs.get_data_endpoint(StreamARN=STREAM_ARN, APIName=api)["DataEndpoint"]
        options["endpoint_url"] = endpoint
        kvs.close()
    return boto3.client(service, **options, config=ONCE)  # type: ignore[call-overload] # a literal in the stubs


@pytest.fixture
def archive(aws: LocalAws) -> Iterator[Any]:
    archive = client(aws, "kinesis-video-archived-media", "LIST_FRAGMENTS")
    yield archive
    archive.close()


@pytest.fixture
def live(aws: LocalAws) -> Iterator[Any]:
    live = client(aws, "kinesis-video-media", "GET_MEDIA")
    yield live
    live.close()


def get_media(archive: Any, numbers: list[str]) -> bytes:
    answer = archive.get_media_for_fragment_list(StreamARN=STREAM_ARN, Fragments=numbers)
    try:
        body: bytes = answer["Payload"].read()
    finally:
        answer["Payload"].close()
    return body


def code_and_status(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_the_data_endpoint_is_the_one_the_client_used(aws: LocalAws) -> None:
    kvs = client(aws, "kinesisvideo")

    answer = kvs.get_data_endpoint(StreamARN=STREAM_ARN, APIName="GET_MEDIA")

    assert answer["DataEndpoint"] == aws.endpoint_url
    assert aws.requests["GetDataEndpoint"] == 1
    kvs.close()


def test_describe_stream(aws: LocalAws) -> None:
    kvs = client(aws, "kinesisvideo")

    stream = kvs.describe_stream(StreamName=CALL.stream_name)["StreamInfo"]

    assert stream["StreamARN"] == STREAM_ARN
    assert stream["DataRetentionInHours"] == 24
    assert stream["CreationTime"].tzinfo is not None
    kvs.close()


@pytest.mark.parametrize("page_size", [1, 7, 1000])
def test_the_paginator_lists_each_fragment_once(archive: Any, page_size: int) -> None:
    pages = archive.get_paginator("list_fragments").paginate(
        StreamARN=STREAM_ARN,
        FragmentSelector=SELECTOR,
        PaginationConfig={"PageSize": page_size},
    )
    listed = [entry for page in pages for entry in page["Fragments"]]

    assert sorted(entry["FragmentNumber"] for entry in listed) == NUMBERS
    assert [entry["FragmentNumber"] for entry in listed] != NUMBERS
    by_number = {entry["FragmentNumber"]: entry for entry in listed}
    first = CALL.fragments[0]
    assert by_number[NUMBERS[0]] == {
        "FragmentNumber": NUMBERS[0],
        "FragmentSizeInBytes": first.size_bytes,
        "FragmentLengthInMilliseconds": 896,
        "ServerTimestamp": datetime.fromtimestamp(first.server_timestamp_ms / 1000, UTC),
        "ProducerTimestamp": datetime.fromtimestamp(first.producer_timestamp_ms / 1000, UTC),
    }


def test_media_is_a_stream_of_documents(archive: Any) -> None:
    answer = archive.get_media_for_fragment_list(StreamARN=STREAM_ARN, Fragments=NUMBERS)

    assert answer["ContentType"] == "video/webm"
    assert b"".join(answer["Payload"].iter_chunks(10_000)) == DOCUMENTS


def test_five_sessions_at_once_and_then_five_more(archive: Any) -> None:
    for _ in range(2):
        with ThreadPoolExecutor(5) as pool:
            bodies = list(pool.map(lambda _: get_media(archive, NUMBERS), range(5)))

        assert bodies == [DOCUMENTS] * 5


def test_a_session_too_many(aws: LocalAws, archive: Any) -> None:
    aws.behaviour = Behaviour(fragments_per_s=None)
    answers = [
        archive.get_media_for_fragment_list(StreamARN=STREAM_ARN, Fragments=NUMBERS * 40)
        for _ in range(5)
    ]

    with pytest.raises(ClientError) as error:
        get_media(archive, NUMBERS)

    assert code_and_status(error) == ("ClientLimitExceededException", 400)
    for answer in answers:
        answer["Payload"].close()


def test_fragments_too_many_a_second(aws: LocalAws, archive: Any) -> None:
    aws.behaviour = Behaviour(fragments_per_s=len(NUMBERS), listed_fragments_per_s=1000)
    listing = {"StreamARN": STREAM_ARN, "FragmentSelector": SELECTOR, "MaxResults": 1000}

    get_media(archive, NUMBERS)
    with pytest.raises(ClientError) as media:
        get_media(archive, NUMBERS[:1])
    archive.list_fragments(**listing)
    with pytest.raises(ClientError) as listed:
        archive.list_fragments(**listing)

    assert code_and_status(media) == ("ClientLimitExceededException", 400)
    assert code_and_status(listed) == ("ClientLimitExceededException", 400)
    assert aws.refusals == {"GetMediaForFragmentList": 1, "ListFragments": 1}


def test_errors_are_what_botocore_expects(aws: LocalAws, archive: Any) -> None:
    with pytest.raises(ClientError, match="Fragment numbers are invalid") as unknown_number:
        get_media(archive, ["1"])
    with pytest.raises(ClientError) as unknown_stream:
        archive.list_fragments(StreamARN=STREAM_ARN + "0", FragmentSelector=SELECTOR)
    aws.clock.advance_ms(25 * 3_600_000)
    with pytest.raises(ClientError, match="outside of the stream retention period") as too_old:
        archive.list_fragments(StreamARN=STREAM_ARN, FragmentSelector=SELECTOR)
    aws.behaviour = Behaviour(
        call_faults=(CallFault("ListFragments", "NotAuthorizedException", 401, "no"),)
    )
    with pytest.raises(ClientError) as not_authorized:
        archive.list_fragments(StreamARN=STREAM_ARN, FragmentSelector=SELECTOR)

    assert code_and_status(unknown_number) == ("InvalidArgumentException", 400)
    assert code_and_status(unknown_stream) == ("ResourceNotFoundException", 404)
    assert code_and_status(too_old) == ("InvalidArgumentException", 400)
    assert code_and_status(not_authorized) == ("NotAuthorizedException", 401)


def test_a_body_that_ends_early(aws: LocalAws, archive: Any) -> None:
    aws.behaviour = Behaviour(body_faults=(BodyFault(100_001),))

    assert get_media(archive, NUMBERS) == DOCUMENTS[:100_001]


def test_a_connection_that_is_reset(aws: LocalAws, archive: Any) -> None:
    aws.behaviour = Behaviour(body_faults=(BodyFault(100_001, "reset"),))

    with pytest.raises(ResponseStreamingError, match="reset by peer"):
        get_media(archive, NUMBERS)
    assert get_media(archive, NUMBERS) == DOCUMENTS


@pytest.mark.parametrize("write_bytes", [777, None])
def test_the_size_of_writes_is_the_services_business(
    aws: LocalAws, archive: Any, write_bytes: int | None
) -> None:
    aws.behaviour = Behaviour(body_write_bytes=write_bytes)

    assert get_media(archive, NUMBERS[:3]) == DOCUMENTS[: 3 * CALL.fragments[0].size_bytes]


def test_get_media_begins_after_the_number_and_waits(aws: LocalAws, live: Any) -> None:
    aws.behaviour = Behaviour(get_media_limit_s=1.0)
    now_ms = aws.clock.now_ms()
    following = make_call(2, first_sequence=1001, start_ms=now_ms - 10_000)
    selector = {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": NUMBERS[-2]}
    answer = live.get_media(StreamARN=STREAM_ARN, StartSelector=selector)
    begin = time.monotonic()

    timer = threading.Timer(0.3, aws.kvs.put, (STREAM_ARN, following.fragments))
    timer.start()
    with answer["Payload"] as payload:
        body = payload.read()
    timer.join()

    assert time.monotonic() - begin >= 0.6
    assert NUMBERS[-2].encode() not in body
    for number in [NUMBERS[-1], *(str(fragment.number) for fragment in following.fragments)]:
        # In the fragment's tags and in the continuation token.
        assert body.count(number.encode()) == 2
    assert body.count(b"AWS_KINESISVIDEO_MILLIS_BEHIND_NOW") == 1 + len(following.fragments)


def test_a_client_that_leaves_frees_its_connection(aws: LocalAws, live: Any) -> None:
    aws.behaviour = replace(UNLIMITED, get_media_connections=1)
    now: Any = {"StartSelectorType": "NOW"}
    answer = live.get_media(StreamARN=STREAM_ARN, StartSelector=now)
    with pytest.raises(ClientError) as error:
        live.get_media(StreamARN=STREAM_ARN, StartSelector=now)

    answer["Payload"].close()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            answer = live.get_media(StreamARN=STREAM_ARN, StartSelector=now)
            break
        except ClientError:
            time.sleep(0.02)
    answer["Payload"].close()

    assert code_and_status(error) == ("ConnectionLimitExceededException", 400)
    assert time.monotonic() < deadline


def test_the_pace_is_25_megabytes_a_second(aws: LocalAws, archive: Any) -> None:
    """This quota makes wait; that of fragments a second refuses."""
    aws.behaviour = Behaviour(fragments_per_s=None)
    begin = time.monotonic()

    body = get_media(archive, NUMBERS * 12)

    # A twentieth of a second is free, and as much may be owed at the end.
    assert time.monotonic() - begin >= len(body) / 25e6 - 0.1


def test_describe_contact(aws: LocalAws) -> None:
    connect = client(aws, "connect")
    instance_id = CALL.instance_id

    contact = connect.describe_contact(InstanceId=instance_id, ContactId=CALL.contact_id)["Contact"]
    with pytest.raises(ClientError) as unknown:
        connect.describe_contact(InstanceId=instance_id, ContactId="nobody")
    aws.behaviour = Behaviour(recordings_delay_ms=3_600_000)
    too_soon = connect.describe_contact(InstanceId=instance_id, ContactId=CALL.contact_id)
    connect.close()

    recording = contact["Recordings"][1]
    assert recording["StorageType"] == "KINESIS_VIDEO_STREAM"
    assert recording["FragmentStartNumber"] == NUMBERS[0]
    assert recording["StartTimestamp"] == START
    assert code_and_status(unknown) == ("ResourceNotFoundException", 404)
    assert too_soon["Contact"]["Recordings"] == []


def test_describe_contact_is_throttled(aws: LocalAws) -> None:
    connect = client(aws, "connect")
    request = {"InstanceId": CALL.instance_id, "ContactId": CALL.contact_id}

    for _ in range(10):
        connect.describe_contact(**request)
    with pytest.raises(ClientError) as error:
        connect.describe_contact(**request)
    connect.close()

    assert code_and_status(error) == ("ThrottlingException", 429)
    assert aws.refusals == {"DescribeContact": 1}


def test_s3_and_sqs_are_behind_the_same_address(aws: LocalAws) -> None:
    s3, sqs = client(aws, "s3"), client(aws, "sqs")
    s3.create_bucket(
        Bucket="contacts", CreateBucketConfiguration={"LocationConstraint": "eu-west-2"}
    )

    s3.put_object(Bucket="contacts", Key="a/b.wav", Body=b"RIFF", Metadata={"contact": "1"})
    with pytest.raises(ClientError) as exists:
        s3.put_object(Bucket="contacts", Key="a/b.wav", Body=b"", IfNoneMatch="*")
    stored = s3.get_object(Bucket="contacts", Key="a/b.wav")
    queue_url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    sqs.send_message(QueueUrl=queue_url, MessageBody="job")
    counted = {"S3 PUT": 3, "S3 GET": 1, "SQS CreateQueue": 1, "SQS SendMessage": 1}
    assert counted.items() <= aws.requests.items()
    (message,) = sqs.receive_message(QueueUrl=queue_url)["Messages"]

    with stored["Body"] as body:
        assert body.read() == b"RIFF"
    assert stored["Metadata"] == {"contact": "1"}
    assert code_and_status(exists) == ("PreconditionFailed", 412)
    assert queue_url.startswith(aws.endpoint_url)
    assert message["Body"] == "job"
    aws.reset()
    assert s3.list_buckets()["Buckets"] == []
    s3.close()
    sqs.close()


def call_control(aws: LocalAws, method: str, path: str, body: object = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - our own address
        aws.endpoint_url + path, json.dumps(body).encode() if body else None, method=method
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310 - our own address
        return json.load(response)


def test_another_process_controls_the_services(aws: LocalAws, archive: Any) -> None:
    call_control(aws, "PUT", "/_local/behaviour", {"listing_delay_ms": 86_400_000})
    assert (
        archive.list_fragments(StreamARN=STREAM_ARN, FragmentSelector=SELECTOR)["Fragments"] == []
    )
    assert call_control(aws, "GET", "/_local/requests")["ListFragments"] == 1
    call_control(aws, "PUT", "/_local/behaviour", {"listing_delay_ms": 0})
    event = call_control(
        aws,
        "POST",
        "/_local/calls",
        {
            "contactId": "another",
            "instanceArn": INSTANCE_ARN,
            "streamArn": STREAM_ARN,
            "firstSequence": 9001,
            "seconds": 3,
        },
    )

    audio = event["Details"]["ContactData"]["MediaStreams"]["Customer"]["Audio"]
    assert get_media(archive, [audio["StartFragmentNumber"]])


def test_two_addresses_have_one_port_and_one_state() -> None:
    server = LocalServer(("127.0.0.1", "127.0.0.2"))
    server.start()
    try:
        server.kvs.add_stream(STREAM_ARN)
        for host in ("127.0.0.1", "127.0.0.2"):
            kvs = boto3.client(
                "kinesisvideo",
                endpoint_url=server.endpoint_url(host),
                region_name="eu-west-2",
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
            answer = kvs.get_data_endpoint(StreamARN=STREAM_ARN, APIName="GET_MEDIA")
            assert answer["DataEndpoint"] == server.endpoint_url(host)
            kvs.close()
    finally:
        server.stop()


def test_starting_is_quick() -> None:
    begin = time.monotonic()
    with LocalAws():
        pass

    assert time.monotonic() - begin < 1


def test_serve_says_what_is_there_and_stops_when_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = tmp_path / "env.json"
    command = [sys.executable, "-m", "local", "serve", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--write-env", str(environment)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if line.startswith("Ready"):
                break
        process.terminate()
        rest, _ = process.communicate(timeout=10)

    assert any("8c2b1f0e-6d1f-4c58-9a5e-0d6a4d1f7c21" in line for line in printed)
    assert rest == "Stopped.\n"
    assert process.returncode == 0
    variables = json.loads(environment.read_text())
    assert sorted(variables) == ["ArchiveFunction", "FlowFunction"]
    assert variables["FlowFunction"]["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{port}"


def test_an_address_in_use_is_an_error_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "local", "serve", "--port", str(port)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr.startswith("local: ")
    assert "Address already in use" in done.stderr
    assert "shows who has it" in done.stderr


def test_what_another_local_aws_left_is_forgotten() -> None:
    with LocalAws() as first, LocalAws() as second:
        create_resources(first.endpoint_url, Resources(bucket="left-behind"))
        second.reset()
        create_resources(second.endpoint_url, Resources(bucket="left-behind"))
