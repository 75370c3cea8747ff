"""Settings from an environment that is handed over, never from the test's own."""

import pytest

from call_archive.config import (
    ArchiveLocation,
    ArchiveSettings,
    FlowSettings,
    Tracks,
    read_archive_settings,
    read_flow_settings,
)
from call_archive.errors import ConfigurationError
from tests.support.arns import INSTANCE_ARN

ENVIRONMENT = {
    "ARCHIVE_BUCKET": "my-calls",
    "ARCHIVE_PREFIX": "calls/",
    "ARCHIVE_QUEUE_URL": "https://sqs.eu-west-2.amazonaws.com/123456789012/jobs",
    "FAILED_JOBS_QUEUE_URL": "http://127.0.0.1:4566/123456789012/failed",
    "ARCHIVE_TRACKS": "both",
    "CONNECT_INSTANCE_ARN": INSTANCE_ARN,
}
LOCATION = ArchiveLocation(bucket="my-calls", prefix="calls/", instance_arn=INSTANCE_ARN)


def test_the_flow_functions_settings() -> None:
    assert read_flow_settings(ENVIRONMENT) == FlowSettings(
        location=LOCATION,
        archive_queue_url="https://sqs.eu-west-2.amazonaws.com/123456789012/jobs",
    )


def test_the_archive_functions_settings() -> None:
    assert read_archive_settings(ENVIRONMENT) == ArchiveSettings(
        location=LOCATION,
        failed_jobs_queue_url="http://127.0.0.1:4566/123456789012/failed",
        tracks=Tracks.BOTH,
        region="",
    )


def test_what_may_be_left_out() -> None:
    least = {name: ENVIRONMENT[name] for name in ("ARCHIVE_BUCKET", "FAILED_JOBS_QUEUE_URL")}
    settings = read_archive_settings(least)
    assert settings.location == ArchiveLocation(bucket="my-calls", prefix="", instance_arn="")
    assert settings.tracks is Tracks.CUSTOMER


def test_empty_tracks_are_the_customers() -> None:
    settings = read_archive_settings({**ENVIRONMENT, "ARCHIVE_TRACKS": ""})
    assert settings.tracks is Tracks.CUSTOMER


@pytest.mark.parametrize("prefix", ["", "a", "calls/2026/", "Team_A.(1)='x'*!-"])
def test_prefixes(prefix: str) -> None:
    assert read_flow_settings({**ENVIRONMENT, "ARCHIVE_PREFIX": prefix}).location.prefix == prefix


MALFORMED = [
    ("ARCHIVE_BUCKET", ["", "a", "My-Calls", "calls/x", "-calls", "c" * 64, "calls\n"]),
    ("ARCHIVE_PREFIX", ["/", "/calls", "a b", "a\n", "ü", "x" * 513, "a?b"]),
    ("ARCHIVE_QUEUE_URL", ["", "jobs", "arn:aws:sqs:eu-west-2:123456789012:jobs"]),
]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in MALFORMED for value in values]
)
def test_malformed_settings_are_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        read_flow_settings({**ENVIRONMENT, name: value})


@pytest.mark.parametrize("name", ["ARCHIVE_BUCKET", "ARCHIVE_QUEUE_URL"])
def test_missing_settings_are_refused_by_name(name: str) -> None:
    environment = {key: value for key, value in ENVIRONMENT.items() if key != name}
    with pytest.raises(ConfigurationError, match=name):
        read_flow_settings(environment)


@pytest.mark.parametrize("tracks", ["agent", "BOTH", "customer ", "both,customer"])
def test_unknown_tracks_are_refused(tracks: str) -> None:
    with pytest.raises(ConfigurationError, match="ARCHIVE_TRACKS"):
        read_archive_settings({**ENVIRONMENT, "ARCHIVE_TRACKS": tracks})


def test_the_archive_function_needs_its_failed_jobs_queue() -> None:
    environment = {**ENVIRONMENT, "FAILED_JOBS_QUEUE_URL": ""}
    with pytest.raises(ConfigurationError, match="FAILED_JOBS_QUEUE_URL"):
        read_archive_settings(environment)
