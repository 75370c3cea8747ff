"""The command `call-archive`: how soon it says something, and how long it takes in all."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.archive_function import archive_once
from bench.bodies import MINUTE_S
from bench.measure import Spread, base_environment, spread
from bench.report import Section, Table, at_most
from bench.servers import AwsServer

CALLS: Final = 200
CALL_S: Final = 5 * MINUTE_S
HELP, LIST, VERIFY = "--help", f"list, a day of {CALLS} recordings", "verify, one recording"
MOST_HELP_S: Final = 0.3

_TEXT: Final = """\
`call-archive`, from the start of its process to the first byte that it prints, and to its end. S3 \
is the local AWS in another process, over loopback HTTP, whose time is in the figures of `list` \
and `verify`. The recordings are of {minutes} minutes; `verify` downloads one and hashes it."""

type Run = tuple[float, float, float]
"""Seconds to the first byte and to the end, and seconds of CPU."""


def measure_tool(rounds: int) -> Section:
    """Runs each command in turn, as often as there are rounds, and once before."""
    with AwsServer((CALL_S,)) as server:
        archive_once(server, server.calls[CALL_S])
        day = server.ask(f"copy {CALLS - 1}")
        environment = base_environment() | server.introduction["archive_environment"]
        where = ("--bucket", environment["ARCHIVE_BUCKET"], "--day", day["day"])
        commands = {
            HELP: ("--help",),
            LIST: ("list", *where),
            VERIFY: ("verify", *where, "--contact", day["contact_id"]),
        }
        runs = [
            {name: _run(arguments, environment) for name, arguments in commands.items()}
            for _ in range(rounds + 1)
        ][1:]
    first, whole, cpu = (_by_command(runs, place) for place in range(3))
    return Section(
        title="The command",
        text=_TEXT.format(minutes=CALL_S // MINUTE_S),
        tables=[
            Table(
                ("call-archive", "first byte, s", "all of it, s", "CPU s"),
                [
                    (name, first[name].show(), whole[name].show(), cpu[name].show())
                    for name in commands
                ],
            )
        ],
        verdicts=[
            at_most(
                f"{HELP}: first byte in ≤ {MOST_HELP_S} s", [("s", first[HELP].median)], MOST_HELP_S
            )
        ],
    )


def _by_command(runs: Sequence[Mapping[str, Run]], place: int) -> Mapping[str, Spread]:
    return {name: spread(run[name][place] for run in runs) for name in runs[0]}


def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Runs the command once.

    Raises:
        RuntimeError: it failed.
    """
    command = (str(Path(sys.executable).with_name("call-archive")), *arguments)
    began_s = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
    )
    if process.stdout is None:
        raise RuntimeError("the command has no pipe")
    process.stdout.read(1)
    first_s = time.perf_counter() - began_s
    while process.stdout.read(65_536):
        pass
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return first_s, time.perf_counter() - began_s, usage.ru_utime + usage.ru_stime
