"""`python -m bench.archive`: `list`, `get` and `verify` on an archive of many recordings; prints.

The archive is a bucket of the local AWS, whose own CPU time is not counted. `verify` is also
continued from a state file that says that all is sound.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from bench.measure import MIB, WORK, Case, Launcher, Sample, python
from bench.report import Section, Table
from bench.servers import Json, ServerProcess
from local.clients import REGION

RECORDINGS: Final = 100_000
DAYS: Final = 50
_COLUMNS: Final = ("command", "wall, s", "CPU, s", "peak, MiB", "recordings a CPU second")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures every command once."""
    parser = argparse.ArgumentParser(prog="python -m bench.archive", description=__doc__)
    parser.add_argument("--recordings", type=int, nargs="+", default=(RECORDINGS,))
    parser.add_argument("--days", type=int, default=DAYS, help="over which they are spread")
    options = parser.parse_args(arguments)
    with Launcher() as launcher:
        for recordings in options.recordings:
            print(f"\n{measure_archive(launcher, recordings, options.days).render()}", flush=True)
    return 0


def measure_archive(launcher: Launcher, recordings: int, days: int) -> Section:
    """Every command, once, on an archive of that size."""
    with ServerProcess("bench.archive_server", str(recordings), str(days)) as server:
        rows = []
        for case in _cases(server.introduction):
            sample = launcher.measure(case)
            rows.append(_row(case.name, sample, recordings))
            print(f"{rows[-1]}", file=sys.stderr, flush=True)
    return Section(
        title=f"The command on {recordings:,} recordings",
        text=f"{days} days, a recording of 0.1 s each: what is measured is the requests.",
        tables=[Table(_COLUMNS, rows)],
    )


def _cases(place: Json) -> Iterator[Case]:
    environment = {
        "AWS_ENDPOINT_URL": place["endpoint"],
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    state = WORK / "verified.jsonl"
    state.unlink(missing_ok=True)
    bucket = ("--bucket", place["bucket"])
    contact, day = place["contact"], "2026-01-01"
    commands = {
        "list of a day": ("list", *bucket, "--day", day),
        "list of a contact": ("list", *bucket, "--contact", contact),
        "list of everything": ("list", *bucket, "--all", "--json"),
        "get of a contact": ("get", contact, *bucket, "-o", str(WORK / "got"), "--overwrite"),
        "verify of a day": ("verify", *bucket, "--day", day),
        "verify of everything": ("verify", *bucket, "--all", "--state", str(state)),
        "verify, continued": ("verify", *bucket, "--all", "--state", str(state)),
    }
    for name, arguments in commands.items():
        command = python("-m", "call_archive_cli", *arguments)
        yield Case(name=name, command=command, environment=environment)


def _row(name: str, sample: Sample, recordings: int) -> tuple[str, ...]:
    rate = f"{recordings / sample.cpu_s:,.0f}" if "everything" in name else ""
    peak = f"{sample.peak_bytes / MIB:,.0f}"
    return name, f"{sample.wall_s:,.1f}", f"{sample.cpu_s:,.1f}", peak, rate


if __name__ == "__main__":
    sys.exit(main())
