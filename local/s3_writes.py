"""What S3 does with conditional writes and finished uploads, and moto 5.2.5 does not.

WSGI middleware in front of moto; it asks moto what it needs to know with its own requests. All
writes of objects are done one after the other, so that a condition holds until its write is done.

* If-Match on CompleteMultipartUpload: 412 PreconditionFailed if the object is another one, 404
  NoSuchKey if there is none (S3 user guide, "Conditional write behavior"). The upload outlives a
  412, but not a 409 (seen by Elasticsearch, github.com/elastic/elasticsearch/pull/138569).
* 409 ConditionalRequestConflict on CompleteMultipartUpload: with If-Match, although it names the
  object that is there, if any other write reached the key since the upload was created; with
  If-None-Match if an object was deleted there since then (both recorded on AWS).
* A CompleteMultipartUpload that comes again is answered as the first time, also if its condition
  has come to fail by its own object (observed on S3: github.com/minio/minio/issues/13318,
  github.com/adobe/S3Mock/issues/2586). moto does so only while the object is the upload's.
* A legal hold that Create names is the object's once it is completed (S3 API reference,
  CreateMultipartUpload); 400 InvalidRequest in a bucket without Object Lock.
* An upload that does not exist: 404 NoSuchUpload (S3 API reference); moto fails with 500.
"""

import io
import re
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs

from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Response

from local.moto_faults import Environ, StartResponse, WsgiApplication, build_s3_error, operation_of

_HOLD = "HTTP_X_AMZ_OBJECT_LOCK_LEGAL_HOLD"
_HELD = b"<LegalHold><Status>ON</Status></LegalHold>"
_UPLOAD_ID = re.compile(rb"<UploadId>([^<]+)</UploadId>")


@dataclass(frozen=True, slots=True)
class _Begun:
    """How often a key had been written, and deleted, when an upload was created."""

    writes: int
    deletes: int
    is_held: bool


class S3Writes:
    """Middleware in front of moto; see the module."""

    def __init__(self, moto: WsgiApplication) -> None:
        self._moto = moto
        self._lock = threading.Lock()
        self._finished: dict[str, Response] = {}
        self._begun: dict[str, _Begun] = {}
        self._writes: Counter[str] = Counter()
        self._deletes: Counter[str] = Counter()

    def reset(self) -> None:
        """Forgets the uploads, and what was written."""
        with self._lock:
            for known in (self._finished, self._begun, self._writes, self._deletes):
                known.clear()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        operation = operation_of(environ)
        if environ["REQUEST_METHOD"] == "DELETE" and not operation:
            operation = "DeleteObject"
        answer = {
            "CreateMultipartUpload": self._create,
            "CompleteMultipartUpload": self._complete,
            "PutObject": self._put,
            "DeleteObject": self._delete,
        }.get(operation)
        if answer is None:
            return self._moto(environ, start_response)
        with self._lock:
            response = answer(environ)
        return response(environ, start_response)

    def _create(self, environ: Environ) -> Response:
        is_held = environ.get(_HOLD) == "ON"
        if is_held and not self._has_lock(environ):
            return build_s3_error(400, "InvalidRequest")
        response, key = self._pass_on(environ), environ["PATH_INFO"]
        if named := _UPLOAD_ID.search(response.data):
            self._begun[named[1].decode()] = _Begun(self._writes[key], self._deletes[key], is_held)
        return response

    def _put(self, environ: Environ) -> Response:
        response = self._pass_on(environ)
        if response.status_code == 200 and "tagging" not in environ["QUERY_STRING"]:
            self._writes[environ["PATH_INFO"]] += 1
        return response

    def _delete(self, environ: Environ) -> Response:
        response = self._pass_on(environ)
        if response.status_code < 300 and "tagging" not in environ["QUERY_STRING"]:
            self._deletes[environ["PATH_INFO"]] += 1
        return response

    def _complete(self, environ: Environ) -> Response:
        (upload_id,) = parse_qs(environ["QUERY_STRING"])["uploadId"]
        response = (
            self._finished.get(upload_id)
            or self._refuse(environ)
            or self._refuse_conflict(environ, upload_id)
        )
        if response is None:
            response = self._pass_on(environ)
            if response.status_code == 200:
                self._finished[upload_id] = response
                self._writes[environ["PATH_INFO"]] += 1
                if upload_id in self._begun and self._begun[upload_id].is_held:
                    self._ask("PUT", "legal-hold", environ, _HELD)
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return response

    def _refuse(self, environ: Environ) -> Response | None:
        """The answer to a Complete that must not be; None if it may."""
        if self._ask("GET", environ["QUERY_STRING"], environ).status_code == 404:
            return build_s3_error(404, "NoSuchUpload")
        wanted = environ.get("HTTP_IF_MATCH")
        if wanted is None:
            return None
        existing = self._ask("HEAD", "", environ)
        if existing.status_code == 404:
            return build_s3_error(404, "NoSuchKey")
        is_same = existing.headers["ETag"].strip('"') == wanted.strip('"')
        return None if is_same else build_s3_error(412, "PreconditionFailed")

    def _refuse_conflict(self, environ: Environ, upload_id: str) -> Response | None:
        """409 if the key was written, or deleted, since the upload was created; it ends the upload.

        None if nothing forbids it.
        """
        key = environ["PATH_INFO"]
        begun = self._begun.get(upload_id)
        if begun is None:
            return None
        was_written = "HTTP_IF_MATCH" in environ and self._writes[key] != begun.writes
        was_deleted = "HTTP_IF_NONE_MATCH" in environ and self._deletes[key] != begun.deletes
        if not was_written and not was_deleted:
            return None
        self._ask("DELETE", environ["QUERY_STRING"], environ)
        return build_s3_error(409, "ConditionalRequestConflict")

    def _has_lock(self, environ: Environ) -> bool:
        bucket = "/" + environ["PATH_INFO"].split("/")[1]
        asked = environ | {"PATH_INFO": bucket, "RAW_URI": f"{bucket}?object-lock"}
        return self._ask("GET", "object-lock", asked).status_code == 200

    def _ask(self, method: str, query: str, environ: Environ, body: bytes = b"") -> Response:
        """What moto answers to another request for the same key."""
        kept = {
            name: value
            for name, value in environ.items()
            if not name.startswith(("HTTP_IF_", "HTTP_X_AMZ_CHECKSUM", "werkzeug.request"))
        }
        return self._pass_on(
            kept
            | {
                "REQUEST_METHOD": method,
                "QUERY_STRING": query,
                "CONTENT_LENGTH": str(len(body)),
                "wsgi.input": io.BytesIO(body),
            }
        )

    def _pass_on(self, environ: Environ) -> Response:
        body, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
        return Response(b"".join(body), status=status, headers=headers)
