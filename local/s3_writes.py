"""What S3 does with conditional writes and finished uploads, and moto 5.2.5 does not.

WSGI middleware in front of moto; it asks moto what it needs to know by requests of its own. All
writes of objects are done one after the other, so that a condition holds until its write is done.

* If-Match on CompleteMultipartUpload: 412 PreconditionFailed where another object is there, 404
  NoSuchKey where none is (S3 user guide, "Conditional write behavior"). The upload outlives a 412,
  but not a 409 (seen by Elasticsearch, github.com/elastic/elasticsearch/pull/138569).
* A CompleteMultipartUpload that comes again is answered as the first time, also if its condition
  has come to fail by its own object (observed on S3: github.com/minio/minio/issues/13318,
  github.com/adobe/S3Mock/issues/2586). moto does so only while the object is the upload's.
* An upload that is not there: 404 NoSuchUpload (S3 API reference), where moto fails with 500.
"""

import io
import threading
from collections.abc import Iterable
from urllib.parse import parse_qs

from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Response

from local.moto_faults import Environ, StartResponse, WsgiApplication, build_s3_error, operation_of


class S3Writes:
    """Middleware in front of moto; see the module."""

    def __init__(self, moto: WsgiApplication) -> None:
        self._moto = moto
        self._lock = threading.Lock()
        self._finished: dict[str, Response] = {}

    def reset(self) -> None:
        """Forgets the finished uploads."""
        with self._lock:
            self._finished.clear()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        operation = operation_of(environ)
        if operation not in ("PutObject", "CompleteMultipartUpload"):
            return self._moto(environ, start_response)
        with self._lock:
            if operation == "PutObject":
                response = self._pass_on(environ)
            else:
                response = self._complete(environ)
        return response(environ, start_response)

    def _complete(self, environ: Environ) -> Response:
        (upload_id,) = parse_qs(environ["QUERY_STRING"])["uploadId"]
        response = self._finished.get(upload_id) or self._refuse(environ)
        if response is None:
            response = self._pass_on(environ)
            if response.status_code == 200:
                self._finished[upload_id] = response
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return response

    def _refuse(self, environ: Environ) -> Response | None:
        """The answer to a Complete that must not be; None where it may."""
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

    def _ask(self, method: str, query: str, environ: Environ) -> Response:
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
                "CONTENT_LENGTH": "0",
                "wsgi.input": io.BytesIO(),
            }
        )

    def _pass_on(self, environ: Environ) -> Response:
        body, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
        return Response(b"".join(body), status=status, headers=headers)
