"""HTTP on one port → Kinesis Video Streams and Connect from here, every other service from moto.

Ours are POST /getDataEndpoint, /listFragments, /getMediaForFragmentList, /getMedia, /putMedia and
the APIs that make, describe, list, tag and delete streams, GET /contacts/{InstanceId}/{ContactId},
POST /search-contacts, GET /instance/…, and the controls under /_local/; all else goes to moto's
server application, which tells S3 from SQS by the credential scope of the Authorization header.
Signatures are not checked.

The protocol is restJson1 (Smithy): JSON bodies, the error's type in `x-amzn-ErrorType`, media as
chunked bodies.
"""

import json
import re
import ssl
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from werkzeug.wrappers import Request, Response

from local.aws_chunked import AwsChunked
from local.behaviour import CONNECT_DEFAULTS, Api, Behaviour, decode_behaviour
from local.call import Call, simulate_call
from local.clients import REGION, local_client
from local.clock import Clock
from local.connect import Connect
from local.connections import is_closed
from local.faults import BrokenConnectionError, ServiceError
from local.http_server import BREAK_IN_HEADERS, CHUNKED_BODY, HttpServer
from local.kvs import KinesisVideo
from local.media_body import MediaBody, spoil
from local.moto_faults import (
    Environ,
    MotoFault,
    MotoFaults,
    StartResponse,
    WsgiApplication,
    decode_moto_faults,
    operation_of,
)
from local.pcm import synthetic_pcm
from local.s3_writes import S3Writes
from local.test_cases import TestCases

type Json = dict[str, Any]
type Handler = Callable[[Request], Response]
type Watcher = Callable[[Step], None]
type Invocation = Callable[[Any], Any]
"""A function's event → its answer; it raises what it raises."""

_ENDPOINT: Final = "local.endpoint"
_ENDPOINT_PATH: Final = re.compile(r"/endpoint/(\d+)(/.*)")
_QUOTA_TARGET: Final = "ServiceQuotasV20190624.GetServiceQuota"
_INVOCATION_PATH: Final = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_TEST_CASE_PATHS: Final = ("/test-cases", "/contact-flows", "/tags/arn")
_SHUTDOWN_POLL_S: Final = 0.02
_QUOTA_ERRORS: Final = frozenset(
    {"ClientLimitExceededException", "ConnectionLimitExceededException", "ThrottlingException"}
)


@dataclass(frozen=True, slots=True)
class Step:
    """One request on its way.

    Attributes:
        api: the operation; "" for those of S3 that have no key.
        has_effect: False when it has arrived, True when it is done and not yet answered.
    """

    api: str
    has_effect: bool


class LocalApplication:
    """The WSGI application: ours by path, moto's by default.

    Attributes:
        watcher: receives every step of every request, and holds it until it returns; a request is
            dropped by raising ConnectionError.
        is_stopping: set when no client is to be held any longer.
        invocations: functions that run, by name; Lambda's Invoke finds them here.
    """

    def __init__(self, kvs: KinesisVideo, connect: Connect, clock: Clock) -> None:
        self._kvs = kvs
        self._connect = connect
        self._clock = clock
        self._lock = threading.Lock()
        self._moto: S3Writes | None = None
        self._counts: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self.watcher: Watcher | None = None
        self.is_stopping = threading.Event()
        self.invocations: dict[str, Invocation] = {}
        self.test_cases = TestCases(
            clock,
            lambda: kvs.faults,
            lambda call: place(call, kvs, connect),
            lambda call: connect.register(call, is_streamed=False),
            lambda name, event: self.invocations[name](event),
            self._prefix_of,
        )
        self.moto_faults = MotoFaults(self._call_moto)
        self._routes: dict[tuple[str, str], tuple[str, Handler]] = {
            ("POST", "/getDataEndpoint"): ("GetDataEndpoint", self._get_data_endpoint),
            ("POST", "/describeStream"): ("DescribeStream", self._describe_stream),
            ("POST", "/listFragments"): ("ListFragments", self._list_fragments),
            ("POST", "/getMediaForFragmentList"): (
                "GetMediaForFragmentList",
                self._get_media_for_fragment_list,
            ),
            ("POST", "/getMedia"): ("GetMedia", self._get_media),
            ("POST", "/putMedia"): ("PutMedia", self._put_media),
            ("POST", "/createStream"): ("CreateStream", _json_api(kvs.streams.create)),
            ("POST", "/deleteStream"): ("DeleteStream", _json_api(kvs.streams.delete)),
            ("POST", "/listStreams"): ("ListStreams", _json_api(kvs.streams.list)),
            ("POST", "/tagStream"): ("TagStream", _json_api(kvs.streams.tag)),
            ("POST", "/listTagsForStream"): ("ListTagsForStream", _json_api(kvs.streams.list_tags)),
            ("POST", _QUOTA_TARGET): ("GetServiceQuota", self._get_service_quota),
            ("POST", "/search-contacts"): ("SearchContacts", self._search_contacts),
            ("PUT", "/_local/behaviour"): ("", self._put_behaviour),
            ("PUT", "/_local/moto-faults"): ("", self._put_moto_faults),
            ("GET", "/_local/requests"): ("", lambda _: _json_response(self.requests)),
            ("GET", "/_local/refusals"): ("", lambda _: _json_response(self.refusals)),
            ("POST", "/_local/calls"): ("", self._post_call),
        }

    @property
    def requests(self) -> dict[str, int]:
        """How often each API was called; moto's by service: `S3 PUT`, `SQS SendMessage`."""
        with self._lock:
            return dict(self._counts)

    @property
    def refusals(self) -> dict[str, int]:
        """How many calls of each of our APIs a quota has refused."""
        with self._lock:
            return dict(self._refusals)

    def reset(self) -> None:
        """Forgets the counts, test cases, and what moto holds."""
        self.test_cases.reset()
        self.moto_faults.faults = ()
        with self._lock:
            self._counts.clear()
            self._refusals.clear()
            if self._moto is not None:
                self._moto.reset()
            # Another server in this process may have filled it.
            if "moto.moto_server" in sys.modules:
                _reset_moto()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        endpoint = _ENDPOINT_PATH.fullmatch(environ["PATH_INFO"])
        if endpoint:
            environ[_ENDPOINT], environ["PATH_INFO"] = int(endpoint[1]), endpoint[2]
        api, handler = self._route(environ)
        if api:
            with self._lock:
                self._counts[api] += 1
        watcher = self.watcher
        if watcher is None:
            return self._answer(api, handler, environ, start_response)
        step = Step(operation_of(environ) if handler is None else api, has_effect=False)
        watcher(step)
        answer = self._answer(api, handler, environ, start_response)
        watcher(replace(step, has_effect=True))
        return answer

    def _answer(
        self,
        api: str,
        handler: Handler | None,
        environ: Environ,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        if handler is None:
            return self.moto_faults(environ, start_response)
        self._strike(api, environ)
        try:
            if _ENDPOINT in environ:
                self._kvs.use_endpoint(environ[_ENDPOINT])
            response = handler(Request(environ))
        except ServiceError as error:
            if error.error_type in _QUOTA_ERRORS:
                with self._lock:
                    self._refusals[api] += 1
            response = _error_response(error)
        response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
        return response(environ, start_response)

    def _strike(self, api: str, environ: Environ) -> None:
        """Breaks the connection, or moves the clock, if a fault says so."""
        faults = self._kvs.faults
        if (clock_fault := faults.clock_fault(api)) is not None:
            self._clock.advance_ms(clock_fault.advance_ms)
        if (fault := faults.connection_fault(api)) is None:
            return
        if fault.stage == "start":
            raise BrokenConnectionError(fault.kind)
        environ[BREAK_IN_HEADERS] = fault.kind

    def _route(self, environ: Environ) -> tuple[str, Handler | None]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        known = self._routes.get((method, environ.get("HTTP_X_AMZ_TARGET") or path))
        if known is not None:
            return known
        invoked = _INVOCATION_PATH.fullmatch(path)
        if method == "POST" and invoked and invoked[1] in self.invocations:
            function = self.invocations[invoked[1]]
            return "LAMBDA Invoke", lambda request: _invoke(function, request)
        # An S3 bucket may be called "contacts": the signed service decides.
        is_connect = "/connect/aws4_request" in environ.get("HTTP_AUTHORIZATION", "")
        if method == "GET" and is_connect and path.startswith("/contacts/"):
            return "DescribeContact", self._describe_contact
        if method == "GET" and is_connect and (known := self._route_instance(path)):
            return known
        if is_connect and path.startswith(_TEST_CASE_PATHS):
            return "TestCases", self._test_case
        return _name_other_call(environ), None

    def _route_instance(self, path: str) -> tuple[str, Handler] | None:
        """The instances, and what one has: storage configs, functions."""
        instances = self._connect.instances
        match path.split("/")[1:]:
            case ["instance"]:
                return "ListInstances", lambda request: _json_response(
                    instances.list_instances(request.args)
                )
            case ["instance", instance_id, "storage-configs"]:
                return "ListInstanceStorageConfigs", lambda request: _json_response(
                    instances.list_storage(instance_id, request.args)
                )
            case ["contact", "associated", instance_id]:
                return "ListAssociatedContacts", lambda request: _json_response(
                    self._connect.search.list_associated(instance_id, request.args)
                )
            case ["instance", instance_id, "storage-config", association_id]:
                return "DescribeInstanceStorageConfig", lambda request: _json_response(
                    instances.describe_storage(instance_id, association_id, request.args)
                )
            case ["instance", instance_id, "lambda-functions"]:
                return "ListLambdaFunctions", lambda request: _json_response(
                    instances.list_functions(instance_id, request.args)
                )
        return None

    def _call_moto(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return self._moto_application()(environ, start_response)

    def _moto_application(self) -> WsgiApplication:
        # Importing moto takes two seconds, so it waits for the first call of S3 or SQS.
        with self._lock:
            if self._moto is None:
                from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - see above
                    DomainDispatcherApplication,
                    create_backend_app,
                )

                self._moto = S3Writes(AwsChunked(DomainDispatcherApplication(create_backend_app)))
            return self._moto

    def _get_data_endpoint(self, request: Request) -> Response:
        answer = self._kvs.get_data_endpoint(_body(request), request.host_url.rstrip("/"))
        return self._json_answer("GetDataEndpoint", answer)

    def _describe_stream(self, request: Request) -> Response:
        return _json_response(self._kvs.describe_stream(_body(request)))

    def _list_fragments(self, request: Request) -> Response:
        return self._json_answer("ListFragments", self._kvs.list_fragments(_body(request)))

    def _get_media_for_fragment_list(self, request: Request) -> Response:
        return _media_response(self._kvs.get_media_for_fragment_list(_body(request)))

    def _get_media(self, request: Request) -> Response:
        connection = request.environ["werkzeug.socket"]
        body = self._kvs.get_media(
            _body(request), lambda: self.is_stopping.is_set() or is_closed(connection)
        )
        return _media_response(body)

    def _put_media(self, request: Request) -> Response:
        body = request.environ.get(CHUNKED_BODY)
        if body is None:
            raise ServiceError(400, "InvalidArgumentException", "The body has to be chunked.")
        headers = {name.lower(): value for name, value in request.headers}
        session = self._kvs.put_media(headers, body, self.is_stopping.is_set)
        response = _media_response(session)
        response.content_type = "application/json"
        return response

    def _get_service_quota(self, request: Request) -> Response:
        try:
            return _json_response(self._kvs.streams.get_quota(_body(request)))
        except ServiceError as error:
            response = _error_response(error)
            # Service Quotas' protocol has the type in the body.
            response.set_data(json.dumps({"__type": error.error_type, "message": error.message}))
            return response

    def _describe_contact(self, request: Request) -> Response:
        instance_id, _, contact_id = request.path.removeprefix("/contacts/").partition("/")
        contact = self._connect.describe_contact(instance_id, contact_id)
        return self._json_answer("DescribeContact", contact)

    def _test_case(self, request: Request) -> Response:
        answer = self.test_cases.answer(request.method, request.path, _body(request))
        if answer is None:
            raise ServiceError(404, "ResourceNotFoundException", request.path)
        return _json_response(answer)

    def _prefix_of(self, instance_id: str) -> str:
        configs = self._connect.instances.storage.get(instance_id) or [{}]
        video = configs[0].get("KinesisVideoStreamConfig") or {}
        return str(video.get("Prefix", "call-archive-connect-demo-contact-"))

    def _json_answer(self, api: Api, answer: Json) -> Response:
        """An answer in JSON, with the faults of its body."""
        whole = _json_response(answer)
        if not self._kvs.faults.body_faults(api):
            return whole
        pieces = spoil(self._kvs.faults, api, [whole.get_data()])
        return Response(pieces, content_type="application/json", direct_passthrough=True)

    def _search_contacts(self, request: Request) -> Response:
        return _json_response(self._connect.search.search(_body(request)))

    def _put_behaviour(self, request: Request) -> Response:
        try:
            self._kvs.behaviour = decode_behaviour(_body(request))
        except (ValueError, TypeError) as error:
            raise ServiceError(400, "ValidationException", str(error)) from error
        return _json_response({})

    def _put_moto_faults(self, request: Request) -> Response:
        try:
            self.moto_faults.faults = decode_moto_faults(json.loads(request.get_data()))
        except ValueError as error:
            raise ServiceError(400, "ValidationException", str(error)) from error
        return _json_response({})

    def _post_call(self, request: Request) -> Response:
        """Places a synthetic call that ended just now; answers with its flow event."""
        wanted = _body(request)
        try:
            seconds, seed = float(wanted.get("seconds", 10)), int(wanted.get("seed", 0))
            call = simulate_call(
                synthetic_pcm(seconds, seed),
                synthetic_pcm(seconds, seed + 1),
                contact_id=wanted["contactId"],
                instance_arn=wanted["instanceArn"],
                stream_arn=wanted["streamArn"],
                start_ms=int(
                    wanted.get("startTimestamp", self._clock.now_ms() - seconds * 1000 - 5000)
                ),
                first_sequence=int(wanted.get("firstSequence", 1)),
                seed=seed,
            )
        except (KeyError, ValueError) as error:
            raise ServiceError(400, "ValidationException", repr(error)) from error
        place(call, self._kvs, self._connect)
        return _json_response(call.flow_event("stopped"))


def place(call: Call, kvs: KinesisVideo, connect: Connect, *, retention_hours: int = 24) -> None:
    """Puts a call on its stream, which is added if need be, and makes its contact known."""
    kvs.add_stream(call.stream_arn, retention_hours=retention_hours)
    kvs.put(call.stream_arn, call.fragments)
    connect.register(call)


@dataclass(frozen=True, slots=True)
class Tls:
    """What makes a server speak TLS.

    Attributes:
        certificate: PEM, for every host that the server listens on; what its clients have to trust.
        key: PEM, the certificate's.
    """

    certificate: Path
    key: Path

    def build_context(self) -> ssl.SSLContext:
        """The server's side."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


class LocalServer:
    """Both services and their HTTP server, on one or several addresses.

    `wrap` puts middleware in front of everything; with `tls` the server speaks HTTPS alone.

    Attributes:
        clock: the services' time.
        kvs: Kinesis Video Streams.
        connect: Amazon Connect.
    """

    def __init__(
        self,
        hosts: Sequence[str] = ("127.0.0.1",),
        port: int = 0,
        behaviour: Behaviour = CONNECT_DEFAULTS,
        clock: Clock | None = None,
        wrap: Callable[[WsgiApplication], WsgiApplication] = lambda application: application,
        tls: Tls | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.kvs = KinesisVideo(self.clock, behaviour)
        self.connect = Connect(self.clock, lambda: self.kvs.faults)
        self._application = LocalApplication(self.kvs, self.connect, self.clock)
        self._wrapped = wrap(self._application)
        self._hosts = hosts
        self._port = port
        self._tls = tls
        self._servers: list[HttpServer] = []
        self._threads: list[threading.Thread] = []

    @property
    def behaviour(self) -> Behaviour:
        """How the services behave; may be replaced at any time."""
        return self.kvs.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self.kvs.behaviour = behaviour

    @property
    def application(self) -> LocalApplication:
        """What answers."""
        return self._application

    @property
    def requests(self) -> dict[str, int]:
        """How often each API was called."""
        return self._application.requests

    @property
    def refusals(self) -> dict[str, int]:
        """How many calls of each API a quota has refused."""
        return self._application.refusals

    @property
    def port(self) -> int:
        """The port, also when 0 was asked for."""
        return self._servers[0].port

    def endpoint_url(self, host: str | None = None) -> str:
        """The address at `host`, the first one by default."""
        return f"{'https' if self._tls else 'http'}://{host or self._hosts[0]}:{self.port}"

    def start(self) -> None:
        """Listens.

        Raises:
            OSError: an address is not available.
        """
        port = self._port
        context = self._tls.build_context() if self._tls else None
        try:
            for host in self._hosts:
                server = HttpServer(
                    host,
                    port,
                    self._wrapped,
                    lambda: self.behaviour.requests_per_connection,
                    context,
                )
                self._servers.append(server)
                port = server.port
        except OSError:
            self.stop()
            raise
        for server in self._servers:
            thread = threading.Thread(
                target=server.serve_forever, args=(_SHUTDOWN_POLL_S,), daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Ends live media and stops listening."""
        self._application.is_stopping.set()
        for server in self._servers[: len(self._threads)]:
            server.shutdown()
        for thread in self._threads:
            thread.join()
        for server in self._servers:
            server.server_close()
        self._servers, self._threads = [], []

    def reset(self) -> None:
        """Forgets streams, contacts, counts, and what moto holds; the behaviour stays."""
        self.clock.start()
        self.kvs.reset()
        self.connect.reset()
        self._application.reset()


class LocalAws:
    """A LocalServer for the time of a `with`, on a free loopback port.

    moto keeps its state for the process: two of these at once share their buckets and queues.
    """

    def __init__(
        self,
        behaviour: Behaviour = CONNECT_DEFAULTS,
        clock: Clock | None = None,
        wrap: Callable[[WsgiApplication], WsgiApplication] = lambda application: application,
        tls: Tls | None = None,
    ) -> None:
        self._server = LocalServer(behaviour=behaviour, clock=clock, wrap=wrap, tls=tls)
        self._trusted = str(tls.certificate) if tls else ""
        self.kvs = self._server.kvs
        self.connect = self._server.connect
        self.clock = self._server.clock

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._server.reset()

    @property
    def endpoint_url(self) -> str:
        """`http://127.0.0.1:PORT`, or `https:`."""
        return self._server.endpoint_url()

    @property
    def application(self) -> LocalApplication:
        """What answers, for a caller without a network."""
        return self._server.application

    @property
    def client_options(self) -> Json:
        """Keyword arguments that make a boto3 client talk to this."""
        return {
            "endpoint_url": self.endpoint_url,
            "region_name": REGION,
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            **({"verify": self._trusted} if self._trusted else {}),
        }

    def client(self, service: str) -> Any:  # noqa: ANN401 - a client by its name
        """The process's boto3 client of one of its services."""
        return local_client(self.endpoint_url, service, self._trusted)

    @property
    def behaviour(self) -> Behaviour:
        """How the services behave; may be replaced at any time."""
        return self._server.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._server.behaviour = behaviour

    @property
    def moto_faults(self) -> tuple[MotoFault, ...]:
        """The trouble with S3 and SQS; may be replaced at any time."""
        return self._server.application.moto_faults.faults

    @moto_faults.setter
    def moto_faults(self, faults: Iterable[MotoFault]) -> None:
        self._server.application.moto_faults.faults = faults

    @property
    def watcher(self) -> Watcher | None:
        """Called at every step of every request; see LocalApplication."""
        return self._server.application.watcher

    @watcher.setter
    def watcher(self, watcher: Watcher | None) -> None:
        self._server.application.watcher = watcher

    @property
    def invocations(self) -> dict[str, Invocation]:
        """Functions that Lambda's Invoke finds, by name."""
        return self._server.application.invocations

    @property
    def requests(self) -> dict[str, int]:
        """How often each API was called."""
        return self._server.requests

    @property
    def refusals(self) -> dict[str, int]:
        """How many calls of each API a quota has refused."""
        return self._server.refusals

    def place(
        self, *calls: Call, retention_hours: int = 24, ended_s_ago: float | None = 30
    ) -> None:
        """Puts calls on their streams and registers their contacts.

        Args:
            calls: in any order.
            retention_hours: of the streams.
            ended_s_ago: sets the clock so that the last of them ended so long ago; None leaves the
                clock alone.
        """
        if ended_s_ago is not None:
            self.clock.set_ms(max(call.end_ms for call in calls) + round(ended_s_ago * 1000))
        for call in calls:
            place(call, self.kvs, self.connect, retention_hours=retention_hours)

    def reset(self) -> None:
        """Forgets streams, contacts, counts, buckets and queues."""
        self._server.reset()


def _name_other_call(environ: Environ) -> str:
    """The service that signed, and its method or operation: `S3 PUT`, `SQS ReceiveMessage`."""
    service = environ.get("HTTP_AUTHORIZATION", "").partition("/aws4_request")[0].rpartition("/")[2]
    operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    return f"{service.upper()} {operation or environ['REQUEST_METHOD']}"


def _body(request: Request) -> Json:
    try:
        body = json.loads(request.get_data() or b"{}")
    except ValueError as error:
        raise ServiceError(400, "SerializationException", str(error)) from error
    if not isinstance(body, dict):
        raise ServiceError(400, "SerializationException", "the body is not an object")
    return body


def _invoke(function: Invocation, request: Request) -> Response:
    """Lambda's Invoke, synchronous; an exception is an answer with a mark."""
    event = json.loads(request.get_data() or b"null")
    try:
        return _json_response(function(event))
    except ServiceError:
        # Lambda's own refusal, not the function's.
        raise
    except Exception as error:  # noqa: BLE001 - as Lambda's runtime does
        kind, _, text = str(error).partition(": ")
        response = _json_response({"errorType": kind, "errorMessage": text})
        response.headers["X-Amz-Function-Error"] = "Unhandled"
        return response


def _json_api(api: Callable[[Json], Json]) -> Handler:
    """An operation whose request and answer are JSON bodies."""
    return lambda request: _json_response(api(_body(request)))


def _json_response(body: object) -> Response:
    return Response(json.dumps(body), content_type="application/json")


def _error_response(error: ServiceError) -> Response:
    response = Response(
        json.dumps({"Message": error.message}),
        status=error.status,
        content_type="application/json",
    )
    response.headers["x-amzn-ErrorType"] = error.error_type
    return response


def _media_response(body: MediaBody) -> Response:
    response = Response(_after_headers(body), content_type="video/webm", direct_passthrough=True)
    response.call_on_close(body.close)
    return response


def _after_headers(body: MediaBody) -> Iterator[bytes]:
    # Sends the headers: a client of GetMedia gets its answer before there is a fragment.
    yield b""
    yield from body


def _reset_moto() -> None:
    from moto.moto_api._internal.models import moto_api_backend  # noqa: PLC0415 - as for the application

    moto_api_backend.reset()
