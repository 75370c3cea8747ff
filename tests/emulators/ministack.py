"""MiniStack, an independent implementation of AWS, as a process: TLS and IAM enforced, on loopback.

It is young, so its version is pinned, and it lives in its own environment (`.emulators/venv`,
made by `make emulators`).
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boto3.session import Session

from local.clients import REGION
from tests.support.certificates import make_certificate

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".emulators/venv/bin/python"
ACCOUNT_ID = "123456789012"
START_S = 30


@dataclass(frozen=True)
class MiniStack:
    """A running emulator.

    Attributes:
        endpoint_url: of every service.
        certificate: what a client has to trust.
    """

    endpoint_url: str
    certificate: Path

    @property
    def variables(self) -> Mapping[str, str]:
        """What a process needs to talk to it."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CA_BUNDLE": str(self.certificate),
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint_url,
        }

    def client(self, service: str) -> Any:
        """A boto3 client of one of its services."""
        make: Any = Session("test", "test", region_name=REGION).client
        return make(service, endpoint_url=self.endpoint_url, verify=str(self.certificate))


@contextmanager
def running(directory: Path) -> Iterator[MiniStack]:
    """Starts it, and ends it with everything that it started."""
    tls = make_certificate(directory)
    port = _free_port()
    endpoint_url = f"https://localhost:{port}"
    environment = {
        **os.environ,
        "AUTH": "true",
        "AWS_CA_BUNDLE": str(tls.certificate),
        "AWS_ENDPOINT_URL": endpoint_url,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
        "MINISTACK_REGION": REGION,
        "MINISTACK_SSL_CERT": str(tls.certificate),
        "MINISTACK_SSL_KEY": str(tls.key),
        "SFTP_ENABLED": "0",
        "TMPDIR": str(directory),
        "USE_SSL": "1",
    }
    with (directory / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            [PYTHON, "-m", "ministack"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_port(port, process)
        yield MiniStack(endpoint_url, tls.certificate)
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise RuntimeError(f"MiniStack ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"MiniStack does not answer on port {port} after {START_S} s")
