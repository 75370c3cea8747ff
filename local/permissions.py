"""Requests of a person at a terminal → the IAM permissions that they need.

The services that the functions themselves use are in `authorization.py`; here are those that only
the command asks: stack, functions, logs, rule, key, instance, and the making of streams.

Source: service authorization reference. Which resource CreateStream is judged on before its stream
has a creation time is not documented; here it is zero.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote

type Environ = dict[str, Any]
type Permission = tuple[str, str, dict[str, str]]

STREAM_ACTIONS: Final = {
    "/createStream": "CreateStream",
    "/deleteStream": "DeleteStream",
    "/listStreams": "ListStreams",
    "/listTagsForStream": "ListTagsForStream",
    "/tagStream": "TagStream",
    "/putMedia": "PutMedia",
}
SERVICES: Final = frozenset(("cloudformation", "lambda", "logs", "events", "kms", "servicequotas"))
_FUNCTION: Final = re.compile(r"/\d{4}-\d\d-\d\d/functions/([^/]+)(/[a-z]*)?")
_FUNCTION_ACTIONS: Final = {
    "": "GetFunction",
    "/policy": "GetPolicy",
    "/invocations": "InvokeFunction",
    "/concurrency": "GetFunctionConcurrency",
}
# Where the JSON protocol's request names its resource, and how that is written in an ARN.
_NAMED: Final[Mapping[str, tuple[str, str]]] = {
    "FilterLogEvents": ("logGroupName", "log-group:{}"),
    "DescribeRule": ("Name", "rule/{}"),
    "DescribeKey": ("KeyId", "key/{}"),
}


def permissions_of(
    service: str, region: str, account_id: str, environ: Environ, body: bytes
) -> Iterator[Permission]:
    """The permissions of a request to one of `SERVICES`."""
    arn = f"arn:aws:{service}:{region}:{account_id}"
    if service == "cloudformation":
        form = parse_qs(body.decode())
        name = form.get("StackName", [""])[0]
        yield f"cloudformation:{form['Action'][0]}", f"{arn}:stack/{name}/0", {}
    elif service == "lambda":
        yield _of_function(arn, unquote(environ["PATH_INFO"]))
    else:
        action = environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2]
        if service == "servicequotas":
            yield f"{service}:{action}", "*", {}
            return
        field, form_of_name = _NAMED.get(action, ("", "{}"))
        named = str(json.loads(body).get(field, "")).rpartition("key/")[2]
        yield f"{service}:{action}", f"{arn}:{form_of_name.format(named)}", {}


def stream_of(region: str, account_id: str, environ: Environ, body: bytes) -> str:
    """The ARN that a request about a stream is judged on; `*` if it is about all of them."""
    if environ["PATH_INFO"] == "/listStreams":
        return "*"
    asked = {} if environ["PATH_INFO"] == "/putMedia" else json.loads(body)
    if arn := asked.get("StreamARN") or environ.get("HTTP_X_AMZN_STREAM_ARN"):
        return str(arn)
    name = asked.get("StreamName") or environ.get("HTTP_X_AMZN_STREAM_NAME")
    return f"arn:aws:kinesisvideo:{region}:{account_id}:stream/{name}/0"


def instance_permission(region: str, account_id: str, path: str) -> Permission:
    """What a GET of Amazon Connect needs: of a contact, or of an instance's settings."""
    parts = path.split("/")[1:]
    if parts == ["instance"]:
        return "connect:ListInstances", "*", {}
    arn = f"arn:aws:connect:{region}:{account_id}:instance/{parts[1]}"
    match parts:
        case ["contact", "associated", instance_id]:
            instance = f"arn:aws:connect:{region}:{account_id}:instance/{instance_id}"
            return "connect:ListAssociatedContacts", f"{instance}/contact/*", {}
        case ["contacts", _, contact_id]:
            return "connect:DescribeContact", f"{arn}/contact/{contact_id}", {}
        case ["instance", _, "storage-configs"]:
            return "connect:ListInstanceStorageConfigs", arn, {}
        case ["instance", _, "lambda-functions"]:
            return "connect:ListLambdaFunctions", arn, {}
    return "connect:*", arn, {}


def _of_function(arn: str, path: str) -> Permission:
    if path.rstrip("/").endswith("/event-source-mappings"):
        return "lambda:ListEventSourceMappings", "*", {}
    found = _FUNCTION.fullmatch(path)
    action = _FUNCTION_ACTIONS.get(found[2] or "", "*") if found else "*"
    return f"lambda:{action}", f"{arn}:function:{found[1] if found else ''}", {}
