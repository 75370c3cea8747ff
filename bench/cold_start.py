"""Cold starts: a process up to its first answer or first request, and boto3 alone beside it."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.archive_function import POWERTOOLS
from bench.bodies import MINUTE_S
from bench.measure import (
    MIB,
    ROOT,
    WORK,
    Case,
    Launcher,
    Rounds,
    Spread,
    cpu,
    peak,
    python,
    run_rounds,
    wall,
)
from bench.report import Section, Table, at_most
from bench.servers import AwsServer, first_call_server

STARTED: Final = "FlowFunction, STARTED answered"
QUEUED: Final = "FlowFunction, job QUEUED"
FIRST_CALL: Final = "ArchiveFunction, GetDataEndpoint arrives"
FIRST_LISTING: Final = "ArchiveFunction, ListFragments arrives"
BARE: Final = "import boto3"
BARE_SQS: Final = "import boto3, SQS client"
BARE_MEDIA: Final = "import boto3, KVS, archived media and S3 clients"

REFERENCES: Final = {
    STARTED: BARE,
    QUEUED: BARE_SQS,
    FIRST_CALL: BARE_MEDIA,
    FIRST_LISTING: BARE_MEDIA,
}
LIMITS: Final = {STARTED: 0.6, QUEUED: 1.3, FIRST_CALL: 1.1}

FIRST_REQUESTS: Final = {FIRST_CALL: "/getDataEndpoint", FIRST_LISTING: "/listFragments"}
KILLED: Final = -9

_TEXT = """\
Whole processes from exec on, without Lambda's own runtime: bytecode there, credentials in the \
environment, `AWS_EC2_METADATA_DISABLED=true`, nothing torn down at the end. The job is QUEUED \
over loopback HTTP by the local SQS (moto) in another process, whose time is in the wall time. \
ArchiveFunction is ended by a loopback server when the request arrives there; by then it has \
looked for a tombstone and a manifest in S3. GetDataEndpoint is its first call of KVS, \
ListFragments the first one for which the third client is there. Ratios are to the process named, \
in the same round."""


def measure_cold_starts(launcher: Launcher, rounds: int) -> Section:
    """Measures the starts of both functions."""
    with ExitStack() as servers:
        aws = servers.enter_context(AwsServer((MINUTE_S,)))
        pid_file = WORK / "first-call.pid"
        urls = {
            name: servers.enter_context(first_call_server(path, pid_file))
            for name, path in FIRST_REQUESTS.items()
        }
        measured = run_rounds(
            launcher,
            [
                _build_bare(BARE),
                _build_flow(STARTED, aws, "started_event"),
                _build_bare(BARE_SQS, "sqs"),
                _build_flow(QUEUED, aws, "stopped_event"),
                _build_bare_media(),
                *(build_archive(name, aws, url, pid_file) for name, url in urls.items()),
            ],
            rounds,
        )
    return Section(
        title="Cold starts",
        text=_TEXT,
        tables=[_tabulate(measured)],
        verdicts=[
            at_most(
                f"{name} ≤ {limit} × {REFERENCES[name]}",
                [
                    ("wall", measured.ratio(name, REFERENCES[name], wall).median),
                    ("CPU", measured.ratio(name, REFERENCES[name], cpu).median),
                ],
                limit,
            )
            for name, limit in LIMITS.items()
        ],
    )


def measure_boto3(launcher: Launcher, rounds: int) -> Spread:
    """CPU seconds of boto3 and ArchiveFunction's clients alone."""
    return run_rounds(launcher, [_build_bare_media()], rounds).spread(BARE_MEDIA, cpu)


def _build_bare_media() -> Case:
    return _build_bare(BARE_MEDIA, "kinesisvideo", "kinesis-video-archived-media", "s3")


def _build_bare(name: str, *services: str) -> Case:
    return Case(
        name=name, command=_script("bare.py", *services), environment=_lambda_environment({})
    )


def _build_flow(name: str, aws: AwsServer, event: str) -> Case:
    words = name.partition(", ")[2].split()
    status = next(word for word in words if word.isupper())
    return Case(
        name=name,
        command=_script(
            "invoke.py",
            "call_archive.flow_handler",
            _write_event(event, aws.introduction[event]),
        ),
        environment=_lambda_environment(aws.introduction["flow_environment"]),
        check=_expect(f'"{status}"'),
    )


def build_archive(name: str, aws: AwsServer, url: str, pid_file: Path) -> Case:
    """ArchiveFunction, until `url`, a `first_call_server` with `pid_file`, ends it."""
    return Case(
        name=name,
        command=_script(
            "invoke.py",
            "call_archive.archive_handler",
            _write_event("archive_event", aws.calls[MINUTE_S].event),
        ),
        environment=_lambda_environment(
            {
                **aws.introduction["archive_environment"],
                "AWS_ENDPOINT_URL": url,
                "BENCH_PID_FILE": str(pid_file),
            }
        ),
        exit_code=KILLED,
    )


def _script(name: str, *arguments: str) -> tuple[str, ...]:
    return python(str(ROOT / "bench" / "starts" / name), *arguments)


def _lambda_environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {
        "PYTHONPATH": str(ROOT / "src"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_SESSION_TOKEN": "test",
        "AWS_REGION": "eu-west-2",
        "AWS_DEFAULT_REGION": "eu-west-2",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        **POWERTOOLS,
        **variables,
    }


def _write_event(name: str, event: object) -> str:
    path = WORK / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(event))
    return str(path)


def _expect(text: str) -> Callable[[Path], None]:
    """A check that the last line printed, the answer, holds a text."""

    def check(log: Path) -> None:
        answer = log.read_text().splitlines()[-1]
        if text not in answer:
            raise RuntimeError(f"{text} is not in the answer: {answer}")

    return check


def _tabulate(measured: Rounds) -> Table:
    rows = [
        (
            name,
            measured.spread(name, wall).show(3),
            measured.spread(name, cpu).show(3),
            measured.spread(name, peak).show(0, MIB),
            _ratio(measured, name),
        )
        for name in measured.samples
    ]
    return Table(("process", "wall s", "CPU s", "peak MiB", "wall × / CPU ×"), rows)


def _ratio(measured: Rounds, name: str) -> str:
    reference = REFERENCES.get(name)
    if reference is None:
        return ""
    by_wall, by_cpu = (measured.ratio(name, reference, metric) for metric in (wall, cpu))
    return f"{by_wall.show()} / {by_cpu.show()}"
