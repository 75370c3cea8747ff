"""Marked secrets go in everywhere, in good events and bad; none comes out where others read along.

What may hold them: the body of a message in an encrypted queue, which is the message as it came,
and the samples of a recording. What may not: logs, metrics, answers, attributes of messages, object
keys, object metadata, manifests.
"""

import base64
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.wrappers import Response

from local.behaviour import Api, Behaviour, CallFault, FragmentFault
from local.call import Call, Delivery, StoredFragment
from local.encoder import Layout, encode_behind_now_tags
from local.runtime import FunctionError
from local.sample_events import build_sqs_event
from tests.integration.journey import GIVES_UP, SETTLES
from tests.security.world import FULL, START_MS, World

type Json = dict[str, Any]
type Path_ = tuple[str | int, ...]

NUMBER = "447700900461"
NAME = "Sekretname"
HOSTILE = (
    f"{NAME} +{NUMBER} sip:{NAME}@example.com\r\n\x1b[31m\x9b31m\u2028"
    f'{{"_aws":{{"CloudWatchMetrics":[{{"Namespace":"{NAME}"}}]}},"level":"ERROR"}}\n'
)
HOSTILE_CODE = f"{NAME} {NUMBER} <x>"
"""What fits into a header."""
AUDIO = b"\x01Sekretpcm\x02\x03\x04\x05\x06"
RATE_FREE = Behaviour(describe_contact_calls_per_s=None, data_endpoint_calls_per_s=None)
NAMESPACE = "CallArchive"


def traces_of(secret: bytes) -> Iterator[str]:
    """Ways in which bytes show in text: as they are, in hex, and in base64 at any offset."""
    yield secret.decode("latin-1")
    yield secret.hex()
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + secret + bytes(3)).decode()
        # The ends depend on the neighbours.
        yield text[4 : 4 * (len(secret) // 3)]


TRACES = [
    trace.lower()
    for secret in (NUMBER.encode(), NAME.encode(), AUDIO)
    for trace in traces_of(secret)
]


def leaks(text: str) -> list[str]:
    return [trace for trace in TRACES if trace in text.lower()]


class Spite:
    """Middleware: a service that fails, and says what it should not."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[], Response]] = {}

    def wrap(self, application: Any) -> Any:
        def spiteful(environ: Any, start_response: Any) -> Any:
            scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
            is_ours = len(scope) > 3 and scope[0] != "test"
            answer = self.answers.get(scope[3]) if is_ours else None
            return (answer() if answer else application)(environ, start_response)

        return spiteful


@pytest.fixture(scope="module")
def spite() -> Spite:
    return Spite()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, spite: Spite) -> Iterator[World]:
    logs = tmp_path_factory.mktemp("logs")
    debug = {
        "POWERTOOLS_LOG_LEVEL": "DEBUG",
        "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
        # Powertools, when a handler raises before it counts anything: two lines that are no JSON.
        "PYTHONWARNINGS": "ignore:No application metrics",
    }
    with World(FULL, logs, spite.wrap, **debug) as world:
        yield world


@pytest.fixture
def world(stack: World, spite: Spite) -> Iterator[World]:
    """The stack; whatever a test does, nothing private has come out of it in the end."""
    stack.clear()
    stack.aws.behaviour = RATE_FREE
    spite.answers.clear()
    for log in stack.logs.iterdir():
        log.write_text("")
    yield stack
    spite.answers.clear()
    lines = [line for log in stack.logs.iterdir() for line in log.read_text().splitlines()]
    for text in (*lines, *_said(stack)):
        assert leaks(text) == [], text
    for line in lines:
        assert_is_one_of_our_lines(line)


def _said(world: World) -> Iterator[str]:
    """Everything beside the logs that anybody without a right to the call can see."""
    for message in (*world.drain(world.failed_queue_url), *world.drain(world.queue_url)):
        yield json.dumps(message.get("MessageAttributes", {}), ensure_ascii=False)
    for key in world.object_keys():
        head = world.s3.head_object(Bucket=world.bucket, Key=key)
        yield json.dumps([key, head["Metadata"], head["ContentType"]])
        tags = world.s3.get_object_tagging(Bucket=world.bucket, Key=key)["TagSet"]
        yield json.dumps(tags)
        if key.endswith(".json"):
            yield world.read(key).decode()


def assert_is_one_of_our_lines(line: str) -> None:
    """One JSON object a line, without anything that a terminal or CloudWatch obeys."""
    assert line.isascii()
    assert line.isprintable()
    assert line.startswith("{"), line
    entry = json.loads(line)
    if "_aws" in entry:
        assert [m["Namespace"] for m in entry["_aws"]["CloudWatchMetrics"]] == [NAMESPACE]
    else:
        assert entry["service"].startswith("stack-")


# ------------------------------------------------------------------ what goes in


def paths(value: object, path: Path_ = ()) -> Iterator[Path_]:
    """Where the leaves are."""
    children: Any = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    for key, child in children:
        if isinstance(child, dict | list) and child:
            yield from paths(child, (*path, key))
        else:
            yield (*path, key)


def placed(document: Json, path: Path_, value: object) -> Json:
    """A copy with the value at a path."""
    result: Any = copy.deepcopy(document)
    parent = result
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return result  # type: ignore[no-any-return] # JSON


def variants(document: Json, understood: frozenset[str]) -> Iterator[Json]:
    """With a secret in every field that is not needed; then in each leaf alone, and as a key."""
    full = document
    for path in paths(document):
        if path[-1] not in understood:
            full = placed(full, path, HOSTILE)
        yield placed(document, path, HOSTILE)
        yield (
            placed(document, (*path[:-1], HOSTILE), HOSTILE)
            if isinstance(path[-1], str)
            else document
        )
    yield full


UNDERSTOOD = frozenset(
    (
        "ContactId",
        "InitialContactId",
        "InstanceARN",
        "StreamARN",
        "StartFragmentNumber",
        "StartTimestamp",
        "StopFragmentNumber",
        "StopTimestamp",
        "FragmentStartNumber",
        "FragmentStopNumber",
        "Location",
        "StorageType",
        "DisconnectTimestamp",
        "contactId",
        "initialContactId",
        "instanceArn",
        "disconnectTimestamp",
        "eventType",
        "channel",
        "detail-type",
        "kind",
        "version",
        "streamArn",
        "startFragmentNumber",
        "startTimestamp",
        "stopFragmentNumber",
        "stopTimestamp",
        "requestedAt",
        "Id",
    )
)
"""Keys without which a message is no message."""

ATTRIBUTES = {"card": HOSTILE, HOSTILE: NUMBER, "streamArn": HOSTILE}


def tagged_fragment(fragment: StoredFragment) -> StoredFragment:
    tags = encode_behind_now_tags(0, HOSTILE)
    return replace(fragment, encode=lambda more: fragment.encode(tags + more))


def secret_call(world: World, **fields: Any) -> Call:
    """A call with secrets in its audio and in every field of a stream that can hold them."""
    layout = Layout(title=HOSTILE, application=HOSTILE)
    call = world.place(
        customer=AUDIO * 6000, delivery=Delivery(layout=layout), attributes=ATTRIBUTES, **fields
    )
    tagged = replace(call, fragments=tuple(map(tagged_fragment, call.fragments)))
    world.aws.place(tagged)
    return tagged


def run(world: World, message: Any, receives: int = 1) -> None:
    world.invoke_archive(message, receives)


# ------------------------------------------------------------------ the tests


@pytest.mark.parametrize(
    "state", ["not_started", "started", "stopped", "stopped_without_stop_keys"]
)
def test_flow_events(world: World, state: Any) -> None:
    event = secret_call(world).flow_event(state, {"archive": "now"})
    for variant in variants(event, UNDERSTOOD):
        answer = world.invoke_flow(variant)
        assert leaks(json.dumps(answer)) == []


def test_contact_records(world: World) -> None:
    for variant in variants(secret_call(world).contact_record(), UNDERSTOOD):
        run(world, variant)


def test_contact_events(world: World) -> None:
    for variant in variants(secret_call(world).contact_event(), UNDERSTOOD):
        run(world, variant)


def test_jobs(world: World) -> None:
    call = secret_call(world)
    for variant in variants(call.archive_job(), UNDERSTOOD):
        run(world, variant)
    assert world.manifest(call)["complete"] is True


class Leaky(Call):
    """A contact of which DescribeContact tells more."""

    __slots__ = ()

    described: Json

    def describe_contact(self) -> Json:
        return LEAKY[self.contact_id]


LEAKY: dict[str, Json] = {}


def test_answers_of_describe_contact(world: World) -> None:
    call = secret_call(world)
    fields = {name: getattr(call, name) for name in call.__dataclass_fields__}
    everything = call.describe_contact()
    everything["Contact"] |= {
        "CustomerEndpoint": {"Address": f"+{NUMBER}", "Type": "TELEPHONE_NUMBER"},
        "SystemEndpoint": {"Address": f"+{NUMBER}", "Type": "TELEPHONE_NUMBER"},
        "Name": NAME,
        "Description": HOSTILE,
        "CustomerId": HOSTILE,
        "DisconnectDetails": {"PotentialDisconnectIssue": HOSTILE},
        "SegmentAttributes": {"sip": {"ValueString": HOSTILE}},
    }
    for variant in variants(everything, UNDERSTOOD):
        LEAKY[call.contact_id] = variant
        world.aws.connect.register(Leaky(**fields))
        run(world, call.contact_event(), receives=SETTLES)


def test_messages_that_are_none(world: World) -> None:
    for body in (HOSTILE, json.dumps(HOSTILE), json.dumps([HOSTILE]), '{"a":' * 2000 + HOSTILE):
        event = build_sqs_event({}, START_MS, world.names["ArchiveQueue.Arn"])
        event["Records"][0] |= {"body": body, "messageId": "m-1"}
        world.archive.invoke(event)
    with pytest.raises(FunctionError) as caught:
        world.archive.invoke({HOSTILE: HOSTILE})
    assert leaks(str(caught.value)) == []


@pytest.mark.parametrize("kind", ["exception", "error"])
@pytest.mark.parametrize("receives", [SETTLES, GIVES_UP])
def test_error_documents_in_the_media(world: World, kind: Any, receives: int) -> None:
    call = secret_call(world)
    number = call.fragments[2].number
    fault = FragmentFault(number, kind=kind, code=HOSTILE, detail=HOSTILE, times=None)
    world.aws.behaviour = replace(RATE_FREE, fragment_faults=(fault,))
    run(world, call.archive_job(), receives)
    assert world.manifest(call)["complete"] is False


@pytest.mark.parametrize(
    "api", ["GetDataEndpoint", "ListFragments", "GetMediaForFragmentList", "DescribeContact"]
)
@pytest.mark.parametrize("error_type", ["AccessDeniedException", HOSTILE_CODE])
def test_refusals_of_kvs_and_connect(world: World, api: Api, error_type: str) -> None:
    call = secret_call(world)
    fault = CallFault(api, error_type=error_type, status=400, message=HOSTILE, times=None)
    world.aws.behaviour = replace(RATE_FREE, call_faults=(fault,))
    for receives in (1, SETTLES, GIVES_UP):
        run(world, call.contact_event(), receives)


def s3_error(code: str) -> Response:
    body = f"<Error><Code>{code}</Code><Message>{NAME} {NUMBER}</Message></Error>"
    return Response(body, 400, content_type="application/xml")


def sqs_error(code: str) -> Response:
    response = Response(json.dumps({"__type": code, "message": HOSTILE}), 400)
    response.headers["x-amzn-query-error"] = f"{code};Sender"
    return response


@pytest.mark.parametrize("code", ["AccessDenied", f"{NAME} {NUMBER}"])
def test_refusals_of_s3(world: World, spite: Spite, code: str) -> None:
    call = secret_call(world)
    spite.answers["s3"] = lambda: s3_error(code)
    for receives in (1, GIVES_UP):
        run(world, call.archive_job(), receives)


@pytest.mark.parametrize("code", ["AccessDenied", HOSTILE_CODE])
def test_refusals_of_sqs(world: World, spite: Spite, code: str) -> None:
    call = secret_call(world)
    spite.answers["sqs"] = lambda: sqs_error(code)
    with pytest.raises(FunctionError) as caught:
        world.invoke_flow(call.flow_event("stopped"))
    assert leaks(str(caught.value)) == []
    for receives in (1, GIVES_UP):
        run(world, {"kind": HOSTILE}, receives)
        run(world, call.contact_event(), receives)


@pytest.mark.parametrize(
    "document", [HOSTILE.encode(), json.dumps({HOSTILE: HOSTILE}).encode(), b"\xff" + AUDIO]
)
def test_what_lies_at_a_manifests_key(world: World, document: bytes) -> None:
    call = secret_call(world)
    run(world, call.archive_job())
    (key,) = (k for k in world.object_keys("manifests/") if call.contact_id in k)
    (recording,) = (k for k in world.object_keys("recordings/") if call.contact_id in k)
    world.s3.put_object(
        Bucket=world.bucket, Key=key, Body=document, Metadata={"recording-etag": "x"}
    )
    run(world, call.archive_job())
    world.s3.delete_object(Bucket=world.bucket, Key=key)
    world.s3.delete_object(Bucket=world.bucket, Key=recording)


def test_what_the_pipe_sends_of_a_record_holds_no_secret(world: World) -> None:
    record = secret_call(world).contact_record()
    for path in paths(record):
        if path[0] != "Recordings" and path[-1] not in UNDERSTOOD:
            record = placed(record, path, HOSTILE)
    world.pipe(record)
    (message,) = world.drain(world.queue_url)
    assert leaks(message["Body"]) == []
    assert json.loads(message["Body"])["ContactId"] == record["ContactId"]


def test_a_failed_message_is_kept_as_it_came(world: World) -> None:
    record = secret_call(world).contact_record() | {"InstanceARN": "none", "Attributes": ATTRIBUTES}
    run(world, record)
    (failed,) = world.drain(world.failed_queue_url)
    assert json.loads(failed["Body"]) == record
    assert leaks(json.dumps(failed["MessageAttributes"])) == []


def test_the_traces_are_found_where_there_are_any(tmp_path: Path) -> None:
    recording = base64.b64encode(b"RIFF" + AUDIO * 3).decode()
    for text in (HOSTILE, NUMBER, recording, f"pcm={AUDIO.hex()}", repr(NAME)):
        assert leaks(text)
    assert leaks("a log line") == []
