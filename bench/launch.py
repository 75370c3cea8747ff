"""A small process that starts the measured ones: requests on stdin, measurements on stdout.

Linux counts the peak memory of the process that starts another to the started one (exec keeps the
peak of what it replaces), so the launcher is the bare interpreter: about 10 MB, below which no peak
can be seen. `marshal`, because it is there without an import.
"""

import marshal
import os
import sys
import time

type Request = tuple[list[str], dict[str, str], str]
"""Command, environment, and the file that takes what the process prints."""

type Measurement = tuple[int, float, float, int]
"""Exit code, wall and CPU seconds, peak resident KiB."""


def main() -> None:
    """Measures processes until stdin ends."""
    while True:
        try:
            command, environment, log = marshal.load(sys.stdin.buffer)  # noqa: S302 - from measure
        except EOFError:
            return
        sys.stdout.buffer.write(marshal.dumps(_measure(command, environment, log)))
        sys.stdout.buffer.flush()


def _measure(command: list[str], environment: dict[str, str], log: str) -> Measurement:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    began_ns = time.perf_counter_ns()
    child = os.posix_spawn(command[0], command, environment, file_actions=actions)
    _, status, usage = os.wait4(child, 0)
    wall_s = (time.perf_counter_ns() - began_ns) / 1e9
    cpu_s = usage.ru_utime + usage.ru_stime
    return os.waitstatus_to_exitcode(status), wall_s, cpu_s, usage.ru_maxrss


if __name__ == "__main__":
    main()
