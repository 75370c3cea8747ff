"""S3 and SQS requests on their way to moto → the same requests, some of them with trouble.

A fault says which call it strikes, what the client sees of it, and whether the service has done
what it was asked: an answer that is lost after its effect is what makes a client repeat itself.
`MotoFaults` is WSGI middleware; it counts each operation's calls from when the faults were set.

Sources: S3 API reference, "Error responses" (codes and their XML) and "CompleteMultipartUpload" (an
error inside of 200 OK); SQS API reference, "Making AWS JSON protocol requests" (`__type`).
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args
from xml.sax.saxutils import escape

from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Request, Response

from local.faults import BrokenConnectionError

type Environ = dict[str, Any]
type StartResponse = Callable[..., Any]
type WsgiApplication = Callable[[Environ, StartResponse], Iterable[bytes]]

Operation = Literal[
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "PutObject",
    "GetObject",
    "HeadObject",
    "SendMessage",
    "SendMessageBatch",
    "ReceiveMessage",
    "DeleteMessage",
    "ChangeMessageVisibility",
]
Answer = Literal[
    "InternalError",
    "SlowDown",
    "ServiceUnavailable",
    "AccessDenied",
    "PreconditionFailed",
    "ConditionalRequestConflict",
    "NoSuchUpload",
    "error_in_200",
    "none",
    "reset",
    "cut",
]

_STATUS: Final[Mapping[str, int]] = {
    "InternalError": 500,
    "SlowDown": 503,
    "ServiceUnavailable": 503,
    "AccessDenied": 403,
    "PreconditionFailed": 412,
    "ConditionalRequestConflict": 409,
    "NoSuchUpload": 404,
    "error_in_200": 200,
}


@dataclass(frozen=True, slots=True)
class MotoFault:
    """Trouble with one operation.

    Attributes:
        answer: an error code; or `error_in_200`, InternalError as the body of 200 OK; `none`, the
            client waits until it gives up; `reset`, the connection is reset without an answer;
            `cut`, the answer's body is reset in its middle.
        takes_effect: whether the service has done what it was asked before it answers so; always
            true of `cut`.
        times: how often; None is forever.
        first_call: the operation's first call that is struck, counted from 1.
    """

    operation: Operation
    answer: Answer
    takes_effect: bool = False
    times: int | None = 1
    first_call: int = 1

    def __post_init__(self) -> None:
        """Refuses names that the middleware would never meet."""
        if self.operation not in get_args(Operation) or self.answer not in get_args(Answer):
            raise ValueError(f"no such fault: {self.operation} {self.answer}")


def decode_moto_faults(values: object) -> tuple[MotoFault, ...]:
    """Faults from JSON: a list of objects with MotoFault's fields.

    Raises:
        ValueError: it is something else, or a name is unknown.
    """
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ValueError("the faults have to be a list of objects")
    names = {field.name for field in fields(MotoFault)}
    unknown = {name for value in values for name in value} - names
    if unknown:
        raise ValueError(f"MotoFault has no {', '.join(sorted(unknown))}")
    try:
        return tuple(MotoFault(**value) for value in values)
    except TypeError as error:
        raise ValueError(str(error)) from error


def operation_of(environ: Environ) -> str:
    """The operation that a request to S3 or SQS asks for; "" for one that has no faults."""
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return str(target.rpartition(".")[2])
    _, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
    if not key:
        return ""
    method = environ["REQUEST_METHOD"]
    query = {pair.partition("=")[0] for pair in environ["QUERY_STRING"].split("&")}
    for asked_by, name, operation in _MULTIPART:
        if method == asked_by and name in query:
            return operation
    return {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject"}.get(method, "")


_MULTIPART: Final[Sequence[tuple[str, str, Operation]]] = (
    ("POST", "uploads", "CreateMultipartUpload"),
    ("PUT", "partNumber", "UploadPart"),
    ("POST", "uploadId", "CompleteMultipartUpload"),
    ("DELETE", "uploadId", "AbortMultipartUpload"),
)


class MotoFaults:
    """Middleware: strikes the calls that its faults name, and passes the others on."""

    def __init__(self, application: WsgiApplication) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._faults: tuple[MotoFault, ...] = ()
        self._calls: Counter[str] = Counter()
        self._used: Counter[MotoFault] = Counter()

    @property
    def faults(self) -> tuple[MotoFault, ...]:
        """What strikes; setting it starts all counts again."""
        return self._faults

    @faults.setter
    def faults(self, faults: Iterable[MotoFault]) -> None:
        with self._lock:
            self._faults = tuple(faults)
            self._calls.clear()
            self._used.clear()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        fault = self._strike(operation_of(environ))
        if fault is None:
            return self._application(environ, start_response)
        if fault.takes_effect or fault.answer == "cut":
            body, status, headers = run_wsgi_app(self._application, environ, buffered=True)
            response = Response(b"".join(body), status=status, headers=headers)
        else:
            # What is not read would reset the connection before its answer is.
            Request(environ).get_data()
            response = Response()
        if fault.answer in _STATUS:
            return _refusal(fault)(environ, start_response)
        return self._spoil(fault, response, start_response)

    def _strike(self, operation: str) -> MotoFault | None:
        with self._lock:
            self._calls[operation] += 1
            for fault in self._faults:
                is_due = fault.operation == operation and self._calls[operation] >= fault.first_call
                if is_due and (fault.times is None or self._used[fault] < fault.times):
                    self._used[fault] += 1
                    return fault
        return None

    def _spoil(
        self, fault: MotoFault, response: Response, start_response: StartResponse
    ) -> Iterable[bytes]:
        if fault.answer == "cut":
            body = response.get_data()
            start_response(response.status, list(response.headers))
            yield body[: len(body) // 2]
        raise BrokenConnectionError("stall" if fault.answer == "none" else "reset")


def _refusal(fault: MotoFault) -> Response:
    code = "InternalError" if fault.answer == "error_in_200" else fault.answer
    status = _STATUS[fault.answer]
    if fault.operation.endswith(("Message", "Visibility")):
        body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": code})
        return Response(body, status=status, content_type="application/x-amz-json-1.0")
    return build_s3_error(status, code)


def build_s3_error(status: int, code: str) -> Response:
    """S3's way to say no; its answer to HEAD has no body, so there the status is all."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(code)}</Message></Error>"
    )
    return Response(body, status=status, content_type="application/xml")
