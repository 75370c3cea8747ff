"""`python -m local serve` and `python -m local events DIRECTORY`: the services and sample events.

`serve` puts the fixed call on its stream, makes the bucket and the queues, and says in plain words
what is there. Its clock runs as if that call had ended 30 seconds before the start (signatures are
not checked, and moto uses the machine's own time), and the stream's retention is KVS's longest, so
the call stays for as long as the server runs. With --deploy there is a stack, too, whose functions
run, and the clock is the machine's.
"""

import argparse
import errno
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from local.call import Call
from local.clock import Clock
from local.demo_call import START_MS, demo_calls
from local.resources import Resources, build_environment, create_resources
from local.sample_events import write_sample_events
from local.server import LocalServer, place

LONGEST_RETENTION_HOURS = 87_600
ENDED_MS_AGO = 30_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status."""
    parser = _build_parser()
    options = parser.parse_args(arguments)
    try:
        if options.command == "events":
            return _write_events(options)
        return _serve(options)
    except (OSError, ValueError) as error:
        print(f"local: {error}{_advice(error)}", file=sys.stderr, flush=True)
        return 1


def _advice(error: Exception) -> str:
    """What to do if another process has the port."""
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return (
            "; perhaps another `make local-aws`: `ss -ltnp` or `lsof -iTCP -sTCP:LISTEN` shows who "
            "has it; end that, or give another --port"
        )
    return ""


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve Connect, KVS, S3 and SQS on one port")
    serve.add_argument("--host", action="append", help="address to listen on; may be repeated")
    serve.add_argument("--port", type=int, default=4566)
    serve.add_argument("--bucket", default="call-archive-local")
    serve.add_argument("--queue", default="call-archive-jobs")
    serve.add_argument("--failed-queue", default="call-archive-failed-jobs")
    serve.add_argument("--write-env", type=Path, help="file for `sam local --env-vars`")
    serve.add_argument(
        "--deploy",
        type=Path,
        metavar="DIRECTORY",
        help="deploy a stack, too, and run both functions; their logs go there",
    )
    _add_call_options(serve)
    events = commands.add_parser("events", help="write one sample event for each trigger")
    events.add_argument("directory", type=Path)
    _add_call_options(events)
    return parser


def _add_call_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--caller", type=Path, help="WAV of the customer: 8 kHz, 16 bit, mono")
    parser.add_argument("--agent", type=Path, help="WAV of the agent, of the same length")
    parser.add_argument(
        "--contact-time",
        type=_epoch_ms,
        default=START_MS,
        help="when media streaming started, ISO 8601 (default: the time that events/ have)",
    )


def _epoch_ms(text: str) -> int:
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _write_events(options: argparse.Namespace) -> int:
    _, call, _ = demo_calls(options.caller, options.agent, options.contact_time)
    for path in write_sample_events(call, options.directory):
        print(path)
    return 0


def _serve(options: argparse.Namespace) -> int:
    hosts = options.host or ["127.0.0.1"]
    calls = demo_calls(options.caller, options.agent, options.contact_time)
    resources = Resources(options.bucket, options.queue, options.failed_queue)
    clock = Clock()
    if options.deploy is None:
        clock.set_ms(calls[1].end_ms + ENDED_MS_AGO)
    server = LocalServer(hosts, options.port, clock=clock)
    stop_requested = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop_requested.set())
    server.start()
    try:
        for call in calls:
            place(call, server.kvs, server.connect, retention_hours=LONGEST_RETENTION_HOURS)
        server.connect.instances.stream_media(
            calls[1].instance_id, RetentionPeriodHours=LONGEST_RETENTION_HOURS
        )
        create_resources(server.endpoint_url(), resources)
        if options.write_env:
            environment = build_environment(_container_url(server, hosts), resources)
            _write_whole(options.write_env, json.dumps(environment, indent=2) + "\n")
        print(_describe(server, hosts, calls[1], resources, options.write_env), flush=True)
        with _deployed(server, options.deploy):
            print("Ready. Ctrl-C stops it.", flush=True)
            stop_requested.wait()
    finally:
        server.stop()
    print("Stopped.", flush=True)
    return 0


@contextmanager
def _deployed(server: LocalServer, directory: Path | None) -> Iterator[None]:
    """A stack whose functions run, if one is requested."""
    if directory is None:
        yield
        return
    # Imported here: moto's CloudFormation takes a second, and `events` needs none of it.
    from local.deployed import RunningStack  # noqa: PLC0415 - see above
    from local.stack import deploy_with_key  # noqa: PLC0415 - see above

    directory.mkdir(parents=True, exist_ok=True)
    stack = deploy_with_key(server.endpoint_url(), server.connect)
    with RunningStack(
        stack, server.endpoint_url(), server.application.invocations, directory
    ) as running:
        print(f"Deployed, with both functions running: the stack {running.stack.name}. Prove it by")
        print(f"  call-archive --stack {running.stack.name} rehearse")
        yield


def _write_whole(path: Path, text: str) -> None:
    # Who waits for the file to appear must not find half of it.
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _container_url(server: LocalServer, hosts: Sequence[str]) -> str:
    # A container reaches the docker bridge's gateway, not the loopback; and the address stays an
    # IP, because botocore puts the bucket into a host name wherever there is one.
    reachable = [host for host in hosts if not host.startswith("127.")]
    return server.endpoint_url((reachable or list(hosts))[0])


def _describe(
    server: LocalServer,
    hosts: Sequence[str],
    call: Call,
    resources: Resources,
    environment: Path | None,
) -> str:
    own, containers = server.endpoint_url(hosts[0]), _container_url(server, hosts)
    lines = [
        "Connect, Kinesis Video Streams, S3 and SQS are here, in eu-west-2, for any credentials.",
        "For commands on this machine (aws, call-archive):",
        f"  export AWS_ENDPOINT_URL={own}",
        "  export AWS_DEFAULT_REGION=eu-west-2 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any",
        "AWS CLI 1 ignores AWS_ENDPOINT_URL for SQS: use AWS CLI 2, or add --endpoint-url.",
    ]
    if environment:
        lines.append(f"For functions in containers, which `sam local` reads from {environment}:")
        lines.append(f"  {containers}")
    lines += [
        "On the stream, between the calls of two other contacts:",
        f"  contact   {call.contact_id}",
        f"  instance  {call.instance_arn}",
        f"  stream    {call.stream_arn}",
        f"  from      {call.start_fragment_number}  ({call.start_timestamp_ms})",
        f"  to        {call.stop_fragment_number}  ({call.stop_timestamp_ms})",
        f"  fragments {len(call.fragments)}",
        "Empty, for the recording and the jobs:",
        f"  bucket    {resources.bucket}",
        f"  queues    {resources.queue}, {resources.failed_queue}",
        "Controls:",
        "  PUT  /_local/behaviour   how the services behave: a JSON object of fields of Behaviour",
        "                           (local/behaviour.py); the other fields get their defaults:",
        f"    curl -X PUT {own}/_local/behaviour -d '{{\"listing_delay_ms\": 60000}}'",
        f"    curl -X PUT {own}/_local/behaviour -d '{{}}'      # back to the defaults",
        "  GET  /_local/requests    the requests to Connect and Kinesis Video Streams so far",
        "  POST /_local/calls       a call that has just ended, as JSON:",
        "                           contactId, instanceArn, streamArn, seconds",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
