"""ArchiveFunction's handler, with what the invocation and its process have used so far.

Runs inside the measured process (`local.runtime.Function`), because only the process itself can
read its CPU time to the microsecond, threads that have ended included.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from call_archive import archive_handler

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: object, context: "LambdaContext") -> dict[str, object]:
    """The handler's answer and the measurement of this invocation."""
    began_s = time.process_time()
    answer = archive_handler.handler(event, context)
    ended_s = time.process_time()
    return {
        "answer": answer,
        "cpu_s": ended_s - began_s,
        "cpu_since_start_s": ended_s,
        "peak_bytes": _peak_bytes(),
    }


def _peak_bytes() -> int:
    """VmHWM: the most memory that this process has had resident (proc(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status does not say VmHWM")
