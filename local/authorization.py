"""WSGI middleware: each signed request → the permissions it needs, judged by the role's policies.

In front of the whole local AWS: the credential scope of the Authorization header tells the service,
method, path, query and body tell action and resource, moto's STS tells whose credentials they
are, moto's IAM what that role may do. A request that is denied gets the service's own answer, and
every permission that was asked for is recorded. The signature is computed again; an administrator's
key (the one that tests use to look at things) is let through.

Services ask for permissions in the caller's name: the KMS key of a bucket or stream, and
`s3:ListBucket` before S3 admits that a key does not exist. Sources: S3 user guide, "Required
permissions for Amazon S3 API operations", "Multipart upload API and permissions" and "Conditional
writes"; service authorization reference; KVS developer guide, "Data protection".
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from werkzeug.wrappers import Request, Response

from local.permissions import (
    SERVICES,
    STREAM_ACTIONS,
    instance_permission,
    permissions_of,
    stream_of,
)
from local.policy import AccessRequest, Decision, Statement, as_list, decide

type Json = dict[str, Any]
type Environ = dict[str, Any]
type Permission = tuple[str, str, dict[str, str]]
"""Action, resource, and the condition keys that come with the request."""

PARTITION: Final = "aws"
ADMINISTRATOR: Final = "test"

_KVS_ACTIONS: Final = {
    "/getDataEndpoint": "GetDataEndpoint",
    "/describeStream": "DescribeStream",
    "/listFragments": "ListFragments",
    "/getMediaForFragmentList": "GetMediaForFragmentList",
    "/getMedia": "GetMedia",
}
_ALL_KVS_ACTIONS: Final = _KVS_ACTIONS | STREAM_ACTIONS
_KVS_MEDIA: Final = ("GetMediaForFragmentList", "GetMedia")
_S3_HEADERS: Final = {
    "x-amz-server-side-encryption": "s3:x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm": (
        "s3:x-amz-server-side-encryption-customer-algorithm"
    ),
}
# Method and sub-resource → the IAM action without its service, and what is asked of the KMS key.
_S3_OPERATIONS: Final[Mapping[tuple[str, str], tuple[str, tuple[str, ...]]]] = {
    ("GET", ""): ("GetObject", ("Decrypt",)),
    ("HEAD", ""): ("GetObject", ()),
    ("PUT", ""): ("PutObject", ("GenerateDataKey",)),
    ("POST", "uploads"): ("PutObject", ("GenerateDataKey",)),
    ("PUT", "uploadId"): ("PutObject", ("Decrypt",)),
    ("POST", "uploadId"): ("PutObject", ("GenerateDataKey", "Decrypt")),
    ("DELETE", "uploadId"): ("AbortMultipartUpload", ()),
    ("GET", "tagging"): ("GetObjectTagging", ()),
    ("PUT", "tagging"): ("PutObjectTagging", ()),
    ("PUT", "legal-hold of a version"): ("PutObjectLegalHold", ()),
    ("GET", "legal-hold of a version"): ("GetObjectLegalHold", ()),
    ("GET", "retention of a version"): ("GetObjectRetention", ()),
    ("PUT", "tagging of a version"): ("PutObjectVersionTagging", ()),
    ("DELETE", " of a version"): ("DeleteObjectVersion", ()),
}
_BUCKET_SETTINGS: Final = {
    "publicAccessBlock": "GetBucketPublicAccessBlock",
    "lifecycle": "GetLifecycleConfiguration",
    "object-lock": "GetBucketObjectLockConfiguration",
    "versions": "ListBucketVersions",
    "uploads": "ListBucketMultipartUploads",
    "replication": "GetReplicationConfiguration",
}
_LISTING_PARAMETERS: Final = frozenset(
    (
        "list-type",
        "prefix",
        "delimiter",
        "max-keys",
        "encoding-type",
        "continuation-token",
        "start-after",
    )
)


@dataclass(frozen=True, slots=True)
class Check:
    """One permission that was asked for.

    Attributes:
        role: the role's name.
        sid: of the statement that decided; "" if none did.
    """

    role: str
    action: str
    resource: str
    is_allowed: bool
    sid: str


@dataclass(frozen=True, slots=True)
class _Scope:
    """The Authorization header, taken apart (AWS Signature Version 4)."""

    access_key: str
    region: str
    service: str
    signed_headers: frozenset[str]
    signature: str


@dataclass(frozen=True, slots=True)
class _Caller:
    """A role in a session of AssumeRole."""

    role_arn: str
    secret_key: str
    token: str
    statements: tuple[Statement, ...]

    @property
    def role(self) -> str:
        return self.role_arn.rpartition("/")[2]


@dataclass(slots=True)
class Authorization:
    """Who may do what, and what was asked for.

    Attributes:
        account_id: the account of roles and queues.
        kms_keys: the start of a bucket's or stream's ARN → the ARN of its KMS key.
        resource_policies: queue or bucket ARN → its statements.
        is_secure: what `aws:SecureTransport` says; the local AWS represents one behind TLS.
        checks: every permission asked for, in order.
    """

    account_id: str
    kms_keys: Mapping[str, str] = field(default_factory=dict)
    resource_policies: Mapping[str, Iterable[Statement]] = field(default_factory=dict)
    is_secure: bool = True
    checks: list[Check] = field(default_factory=list)

    def wrap(self, application: Any) -> Any:  # noqa: ANN401 - WSGI
        """The application behind this."""

        def authorized(environ: Environ, start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI
            if environ["PATH_INFO"].startswith("/_local/"):
                return application(environ, start_response)  # type: ignore[no-any-return] # WSGI
            refusal = self._refuse(environ)
            if refusal is not None:
                return refusal(environ, start_response)
            if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
                return application(environ, start_response)  # type: ignore[no-any-return] # WSGI
            response = Response.from_app(application, environ)
            if response.status_code == 404:
                response = self._refuse_missing(environ) or response
            return response(environ, start_response)

        return authorized

    def _refuse(self, environ: Environ) -> Response | None:
        """The answer to a request that may not go on."""
        scope = _decode_scope(environ.get("HTTP_AUTHORIZATION", ""))
        if scope is None:
            return _denial("", environ, "MissingAuthenticationToken", "the request is not signed")
        if scope.access_key == ADMINISTRATOR:
            return None
        body = _buffer(environ) if scope.service != "s3" else b""
        caller = self._find(scope.access_key)
        if caller is None or environ.get("HTTP_X_AMZ_SECURITY_TOKEN") != caller.token:
            return _denial(scope.service, environ, "InvalidClientTokenId", "unknown credentials")
        if _sign(environ, scope, caller, body) != scope.signature:
            return _denial(scope.service, environ, "SignatureDoesNotMatch", "the signature differs")
        return self._check(caller, scope.service, environ, self._permissions(scope, environ, body))

    def _refuse_missing(self, environ: Environ) -> Response | None:
        """A key that does not exist gives 403 to a caller without permission to list the bucket."""
        scope = _decode_scope(environ.get("HTTP_AUTHORIZATION", ""))
        caller = self._find(scope.access_key) if scope else None
        bucket, key = _bucket_and_key(environ)
        if scope is None or caller is None or scope.service != "s3" or not key:
            return None
        listing: Permission = ("s3:ListBucket", f"arn:{PARTITION}:s3:::{bucket}", {})
        return self._check(caller, "s3", environ, [listing])

    def _check(
        self, caller: _Caller, service: str, environ: Environ, permissions: Iterable[Permission]
    ) -> Response | None:
        for action, resource, context in permissions:
            decision = self._decide(caller, action, resource, context)
            self.checks.append(
                Check(caller.role, action, resource, decision.is_allowed, decision.sid)
            )
            if not decision.is_allowed:
                message = f"{caller.role_arn} is not authorized to perform: {action} on {resource}"
                return _denial(service, environ, "AccessDenied", message)
        return None

    def _decide(
        self, caller: _Caller, action: str, resource: str, context: Mapping[str, str]
    ) -> Decision:
        request = AccessRequest(
            principal=caller.role_arn,
            action=action,
            resource=resource,
            context={"aws:SecureTransport": str(self.is_secure).lower(), **context},
        )
        # A bucket's policy speaks of its objects, too.
        owner = resource.partition("/")[0] if ":s3:::" in resource else resource
        return decide(request, caller.statements, self.resource_policies.get(owner, ()))

    def _permissions(self, scope: _Scope, environ: Environ, body: bytes) -> Iterator[Permission]:
        match scope.service:
            case "s3":
                yield from self._s3_permissions(environ)
            case "sqs":
                action = environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2]
                asked = json.loads(body)
                name = asked.get("QueueName") or asked["QueueUrl"].rpartition("/")[2]
                queue = f"arn:{PARTITION}:sqs:{scope.region}:{self.account_id}:{name}"
                yield f"sqs:{action}", queue, {}
            case "kinesisvideo":
                action = _ALL_KVS_ACTIONS[environ["PATH_INFO"]]
                stream = stream_of(scope.region, self.account_id, environ, body)
                yield f"kinesisvideo:{action}", stream, {}
                if action in _KVS_MEDIA:
                    yield from self._key_permissions(stream, "Decrypt")
                elif action == "PutMedia":
                    yield from self._key_permissions(stream, "GenerateDataKey")
            case "connect":
                yield instance_permission(scope.region, self.account_id, environ["PATH_INFO"])
            case service if service in SERVICES:
                yield from permissions_of(service, scope.region, self.account_id, environ, body)
            case _:
                # None of our roles has any business there.
                yield f"{scope.service}:*", "*", {}

    def _s3_permissions(self, environ: Environ) -> Iterator[Permission]:
        bucket, key = _bucket_and_key(environ)
        query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
        resource = f"arn:{PARTITION}:s3:::{bucket}" + (f"/{key}" if key else "")
        name, key_actions = _s3_operation(environ["REQUEST_METHOD"], key, query)
        headers = Request(environ).headers
        context = {
            name: headers[header] for header, name in _S3_HEADERS.items() if header in headers
        }
        if "prefix" in query:
            context["s3:prefix"] = query["prefix"][0]
        yield f"s3:{name}", resource, context
        if name == "PutObject" and "If-Match" in headers:
            yield "s3:GetObject", resource, {}
        if name == "PutObject" and "x-amz-tagging" in headers:
            yield "s3:PutObjectTagging", resource, {}
        if name == "PutObject" and "x-amz-object-lock-legal-hold" in headers:
            yield "s3:PutObjectLegalHold", resource, {}
        yield from self._key_permissions(resource, *key_actions)

    def _key_permissions(self, resource: str, *actions: str) -> Iterator[Permission]:
        for start, key in self.kms_keys.items():
            if resource.startswith(start):
                service, region = resource.split(":")[2], key.split(":")[3]
                via = {"kms:ViaService": f"{service}.{region}.amazonaws.com"}
                yield from ((f"kms:{action}", key, via) for action in actions)

    def _find(self, access_key: str) -> _Caller | None:
        # moto takes two seconds to import, and only requests of roles need these.
        from moto.iam.models import iam_backends  # noqa: PLC0415 - see above
        from moto.sts.models import sts_backends  # noqa: PLC0415 - see above

        session = sts_backends[self.account_id][PARTITION].get_assumed_role_from_access_key(
            access_key
        )
        if session is None:
            return None
        role = iam_backends[self.account_id][PARTITION].get_role_by_arn(session.role_arn)
        return _Caller(
            role.arn,
            session.secret_access_key,
            session.session_token,
            tuple(
                statement
                for document in role.policies.values()
                for statement in as_list(json.loads(document)["Statement"])
            ),
        )


def _s3_operation(
    method: str, key: str, query: Mapping[str, list[str]]
) -> tuple[str, tuple[str, ...]]:
    """The IAM action of an S3 request, and what S3 then asks of the bucket's KMS key.

    A bucket's own settings, and whatever no function has to do with, become an action that exists
    in no policy.
    """
    if key:
        names = ("tagging", "legal-hold", "retention", "uploadId", "uploads")
        about = next((name for name in names if name in query), "")
        if "versionId" in query:
            about += " of a version"
        return _S3_OPERATIONS.get((method, about), (f"{method.title()}Object", ()))
    setting = next((name for name in _BUCKET_SETTINGS if method == "GET" and name in query), "")
    if setting:
        return _BUCKET_SETTINGS[setting], ()
    # HeadBucket asks for no more than that the bucket may be listed.
    is_listing = method in ("GET", "HEAD") and query.keys() <= _LISTING_PARAMETERS
    return ("ListBucket" if is_listing else f"{method.title()}Bucket"), ()


def _bucket_and_key(environ: Environ) -> tuple[str, str]:
    path = unquote(environ["RAW_URI"].partition("?")[0])
    bucket, _, key = path.removeprefix("/").partition("/")
    return bucket, key


def _decode_scope(header: str) -> _Scope | None:
    algorithm, _, rest = header.partition(" ")
    if algorithm != "AWS4-HMAC-SHA256":
        return None
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    access_key, _, region, service, _ = fields["Credential"].split("/")
    signed = frozenset(fields["SignedHeaders"].split(";"))
    return _Scope(access_key, region, service, signed, fields["Signature"])


def _sign(environ: Environ, scope: _Scope, caller: _Caller, body: bytes) -> str:
    """The signature that the request should have, by botocore's own signer."""
    from botocore.auth import S3SigV4Auth, SigV4Auth  # noqa: PLC0415 - as moto
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - as moto
    from botocore.credentials import Credentials  # noqa: PLC0415 - as moto

    received = Request(environ).headers
    request = AWSRequest(
        method=environ["REQUEST_METHOD"],
        url=f"http://{environ['HTTP_HOST']}{environ['RAW_URI']}",
        headers={
            name: text for name, text in received.items() if name.lower() in scope.signed_headers
        },
    )
    request.context["timestamp"] = received["X-Amz-Date"]
    if "X-Amz-Content-SHA256" not in request.headers:
        request.data = body
    credentials = Credentials(scope.access_key, caller.secret_key, caller.token)
    signer = S3SigV4Auth if scope.service == "s3" else SigV4Auth
    auth = signer(credentials, scope.service, scope.region)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return auth.signature(text, request)


def _buffer(environ: Environ) -> bytes:
    """The body, which the application behind can read again."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _denial(service: str, environ: Environ, code: str, message: str) -> Response:
    # An unread body would turn the closing of the connection into a reset.
    Request(environ).get_data(cache=False)
    if service == "s3":
        body = f"<Error><Code>{code}</Code><Message>Access Denied</Message></Error>"
        if environ["REQUEST_METHOD"] == "HEAD":
            body = ""
        return Response(body, status=403, content_type="application/xml")
    if service == "cloudformation":
        said = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        body = f"<ErrorResponse>{said}</ErrorResponse>"
        return Response(body, status=403, content_type="text/xml")
    error = f"{code}Exception" if code == "AccessDenied" else code
    response = Response(
        json.dumps({"__type": error, "message": message}),
        status=403,
        content_type="application/json",
    )
    response.headers["x-amzn-ErrorType"] = error
    if service == "sqs":
        # SQS keeps the codes of its query protocol.
        response.headers["x-amzn-query-error"] = f"{code};Sender"
    return response
