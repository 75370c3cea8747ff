"""The benchmarks' own services answer everything that the functions ask before the last request."""

from pathlib import Path

from bench.bodies import MINUTE_S
from bench.cold_start import FIRST_LISTING, FIRST_REQUESTS, build_archive
from bench.measure import Launcher
from bench.servers import AwsServer, first_call_server


def test_a_cold_start_arrives_at_the_request_that_ends_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with (
        AwsServer((MINUTE_S,)) as aws,
        first_call_server(FIRST_REQUESTS[FIRST_LISTING], pid_file) as url,
        Launcher() as launcher,
    ):
        sample = launcher.measure(build_archive(FIRST_LISTING, aws, url, pid_file))
    assert sample.cpu_s > 0
