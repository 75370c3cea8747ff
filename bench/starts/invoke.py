"""`invoke.py MODULE EVENT`: imports a handler's module and calls it once, as a cold start does.

Ends without tearing the interpreter down: Lambda does not either. Where BENCH_PID_FILE is set, the
process says first who it is, for a server that ends it at the request it waits for.
"""

import json
import os
import sys
from importlib import import_module
from types import SimpleNamespace

CONTEXT = SimpleNamespace(
    function_name="bench",
    function_version="$LATEST",
    memory_limit_in_mb=512,
    aws_request_id="8a6d1f7c-0000-4000-8000-000000000000",
    invoked_function_arn="arn:aws:lambda:eu-west-2:123456789012:function:bench",
    get_remaining_time_in_millis=lambda: 600_000,
)


def main() -> None:
    """One cold start."""
    _, module, event_file = sys.argv
    pid_file = os.environ.get("BENCH_PID_FILE")
    if pid_file:
        with open(pid_file, "w") as out:  # noqa: PTH123 - pathlib costs a start 5 ms
            out.write(str(os.getpid()))
    with open(event_file) as text:  # noqa: PTH123 - pathlib costs a start 5 ms
        event = json.load(text)
    answer = import_module(module).handler(event, CONTEXT)
    print(json.dumps(answer), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
