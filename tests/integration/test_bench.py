"""The benchmarks that run the functions: their own servers answer all that a function asks."""

from pathlib import Path

from bench.bodies import MINUTE_S
from bench.cold_start import FIRST_LISTING, FIRST_REQUESTS, build_archive
from bench.measure import Launcher
from bench.servers import AwsServer, first_call_server
from bench.soon import run_staggered


def test_a_cold_start_arrives_at_the_request_that_ends_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with (
        AwsServer((MINUTE_S,)) as aws,
        first_call_server(FIRST_REQUESTS[FIRST_LISTING], pid_file) as url,
        Launcher() as launcher,
    ):
        sample = launcher.measure(build_archive(FIRST_LISTING, aws, url, pid_file))
    assert sample.cpu_s > 0


def test_calls_that_end_one_by_one_are_archived() -> None:
    soon = run_staggered(2, over_s=1, workers=1, begin_in_s=1)
    assert len(soon.seconds) == 2
    assert min(soon.seconds) > 0
    assert soon.runs >= 2
