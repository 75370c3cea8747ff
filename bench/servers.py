"""The servers that measured functions talk to, each in its own process, for a `with`."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.measure import ROOT, python

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A call on the local KVS and the event that archives it."""

    seconds: int
    event: Json
    fragments: int
    size_bytes: int


class ServerProcess:
    """One of our modules in its own process: a command a line, a JSON answer a line.

    Attributes:
        introduction: what it said before the first command.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = python("-m", module, *arguments)
        self.introduction: Json = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.introduction = self._read_answer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _, _ = self._process.communicate()

    def ask(self, command: str) -> Any:  # noqa: ANN401 - JSON
        """The answer to a command.

        Raises:
            RuntimeError: the process has ended.
        """
        if self._process.stdin is None:
            raise RuntimeError("the local AWS has no pipes")
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._read_answer()

    def _read_answer(self) -> Any:  # noqa: ANN401 - JSON
        if self._process.stdout is None:
            raise RuntimeError("the local AWS has no pipes")
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the local AWS has ended")
        return json.loads(answer)


class AwsServer(ServerProcess):
    """`bench.aws_server`, and its commands.

    Attributes:
        introduction: the environments and events of the functions.
        calls: by their length in seconds.
    """

    def __init__(self, lengths_s: Sequence[int]) -> None:
        super().__init__("bench.aws_server", *map(str, lengths_s))
        self.calls: Mapping[int, PlacedCall] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        self.calls = {
            int(seconds): PlacedCall(int(seconds), call["event"], call["fragments"], call["bytes"])
            for seconds, call in self.introduction["calls"].items()
        }
        return self

    def limit(self, *, quotas: bool) -> None:
        """Makes the services as fast as KVS's quotas allow, or as they can be."""
        self.ask("quotas" if quotas else "no-quotas")

    def count_requests(self) -> int:
        """How many requests all services have had so far."""
        counts: Mapping[str, int] = self.ask("requests")
        return sum(counts.values())

    def check_recording(self, call: PlacedCall) -> None:
        """Checks the only recording, then removes it.

        Raises:
            RuntimeError: it is not what was said.
        """
        verdict = self.ask(f"verify {call.seconds}")
        if verdict != "exact":
            raise RuntimeError(f"the recording of {call.seconds} s: {verdict}")
        self.ask("clear")


@contextmanager
def first_call_server(path: str, pid_file: Path) -> Iterator[str]:
    """The URL of a server that ends the process named in `pid_file` when `path` is asked for."""
    process = subprocess.Popen(
        python("-m", "bench.first_call_server", path, str(pid_file)),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the server has no pipe")
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
