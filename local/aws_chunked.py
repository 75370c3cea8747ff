"""S3's `aws-chunked` bodies → plain ones: what boto3 sends over TLS, and moto 5.2.5 does not check.

WSGI middleware in front of moto. A body in this coding is chunks as in HTTP, behind them a trailer
with its checksum. S3 refuses a body that is not what the checksum says (400 BadDigest) or not as
long as `x-amz-decoded-content-length` says (400 IncompleteBody), and keeps `aws-chunked` out of
the object's Content-Encoding. Source: S3 user guide, "Checking object integrity"; S3 API
reference, "Authenticating requests: trailers" and "Error responses".
"""

import base64
import io
import zlib
from collections.abc import Iterable
from typing import Final

from local.chunked import ChunkedDecoder
from local.moto_faults import Environ, StartResponse, WsgiApplication, build_s3_error

UNSIGNED: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
"""What `x-amz-content-sha256` says of such a body if its chunks are not signed: over TLS."""
_TRAILER: Final = "x-amz-checksum-crc32"


class AwsChunked:
    """Middleware in front of moto; see the module."""

    def __init__(self, moto: WsgiApplication) -> None:
        self._moto = moto

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        if environ.get("HTTP_X_AMZ_CONTENT_SHA256") != UNSIGNED:
            return self._moto(environ, start_response)
        decoder = ChunkedDecoder()
        try:
            body, _ = decoder.receive(environ["wsgi.input"].read())
        except ConnectionError:
            return build_s3_error(400, "IncompleteBody")(environ, start_response)
        length = environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH")
        if not decoder.is_finished or length != str(len(body)):
            return build_s3_error(400, "IncompleteBody")(environ, start_response)
        if environ.get("HTTP_X_AMZ_TRAILER") != _TRAILER:
            return build_s3_error(501, "NotImplemented")(environ, start_response)
        checksum = decoder.trailers.get(_TRAILER, "")
        if checksum != base64.b64encode(zlib.crc32(body).to_bytes(4)).decode():
            return build_s3_error(400, "BadDigest")(environ, start_response)
        return self._moto(_plain(environ, body, checksum), start_response)


def _plain(environ: Environ, body: bytes, checksum: str) -> Environ:
    """The same request with the checksum in its head."""
    codings = environ.get("HTTP_CONTENT_ENCODING", "").split(",")
    kept = ",".join(coding for coding in codings if coding.strip() != "aws-chunked")
    left_out = {
        "HTTP_CONTENT_ENCODING",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_X_AMZ_DECODED_CONTENT_LENGTH",
        "HTTP_X_AMZ_TRAILER",
        "wsgi.input_terminated",
    }
    return {
        **{name: value for name, value in environ.items() if name not in left_out},
        **({"HTTP_CONTENT_ENCODING": kept} if kept else {}),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_X_AMZ_CHECKSUM_CRC32": checksum,
        "HTTP_X_AMZ_CONTENT_SHA256": "UNSIGNED-PAYLOAD",
        "wsgi.input": io.BytesIO(body),
    }
