"""`python -m bench.first_call_server PATH PID_FILE`: ends a cold start at the request it waits for.

A loopback server that answers ArchiveFunction's first requests: S3 has neither a tombstone nor a
manifest, and the data endpoint is the server itself. When a request for PATH arrives, it kills the
process that PID_FILE names: what that process has used until then is what it took to get there.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import override

NO_SUCH_KEY = b"<Error><Code>NoSuchKey</Code><Message>There is no manifest.</Message></Error>"


class _FirstCalls(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """S3: the contact is not erased."""
        self._answer(404, b"", "application/xml")

    def do_GET(self) -> None:
        """S3: the manifest is not there."""
        self._answer(404, NO_SUCH_KEY, "application/xml")

    def do_POST(self) -> None:
        """KVS: ends the measured process, or tells it where to go on."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == sys.argv[1]:
            os.kill(int(Path(sys.argv[2]).read_text()), signal.SIGKILL)
            self.close_connection = True
            return
        endpoint = {"DataEndpoint": f"http://{self.headers['Host']}"}
        self._answer(200, json.dumps(endpoint).encode(), "application/json")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def main() -> None:
    """Serves until it is terminated; prints its port first."""
    # A thread each: a connection to S3 stays open while the one to KVS is made.
    server = ThreadingHTTPServer(("127.0.0.1", 0), _FirstCalls)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
