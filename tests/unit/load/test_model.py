"""The capacity model's arithmetic, with figures worked out by hand."""

import math
from pathlib import Path

import pytest

from bench.load.model import (
    CallNeeds,
    cost_of_1000_calls,
    describe_calls_per_s,
    doubling_ages_s,
    drain_s,
    estimate_demand,
    look_ages_s,
    most_contacts_per_hour,
    percentile,
    quotas,
)
from bench.load.settings import read_settings

NEEDS = CallNeeds(
    duration_s=0.9,
    fragments=313,
    media_bytes=10_000_000,
    data_endpoints=2,
    s3_writes=2,
    s3_reads=2,
)


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1), (1, 1), (10, 1), (11, 2), (50, 5), (95, 10), (100, 10)]
)
def test_a_percentile_is_one_of_the_values(percent: float, value: float) -> None:
    assert percentile([10, 2, 3, 4, 5, 6, 7, 8, 9, 1], percent) == value


def test_a_percentile_of_one_value() -> None:
    assert {percentile([7.5], percent) for percent in (0, 50, 100)} == {7.5}


def test_demand_of_nine_thousand_calls_of_five_minutes() -> None:
    demand = estimate_demand(9_000, duration_s=0.5, mean_call_s=300)
    assert demand.ends_per_s == 30
    assert demand.archive_runs == 15
    assert demand.maximum_concurrency == 30
    assert demand.flow_runs == 60
    assert demand.reserved_for_flow == 120


def test_a_maximum_concurrency_below_two_cannot_be_set() -> None:
    assert estimate_demand(1, duration_s=0.9, mean_call_s=300).maximum_concurrency == 2


def test_a_backlog_goes_with_what_is_left_beside_what_arrives() -> None:
    """An hour at 3 a second is 10,800; 10 workers at 1 s leave 7 a second for it."""
    assert drain_s(3600, 3, concurrency=10, duration_s=1) == pytest.approx(10_800 / 7)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_backlog_stays_where_nothing_is_left(concurrency: int) -> None:
    assert math.isinf(drain_s(3600, 3, concurrency=concurrency, duration_s=1))


def test_twice_the_runs_drain_an_outage_in_as_long_again() -> None:
    demand = estimate_demand(9_000, duration_s=0.5, mean_call_s=300)
    assert drain_s(3600, demand.ends_per_s, demand.maximum_concurrency, 0.5) == pytest.approx(3600)


def test_looks_of_the_deployed_code_at_a_contact_that_was_never_streamed() -> None:
    assert look_ages_s(10) == [10, 100, 600]
    assert look_ages_s(250) == [250, 600]
    assert look_ages_s(700) == [700]


def test_doubling_delays_look_eight_times() -> None:
    assert doubling_ages_s(10, 600, 5) == [10, 15, 25, 45, 85, 165, 325, 645]


def test_describe_contact_of_a_busy_centre() -> None:
    """10,000 contacts an hour, 3,000 of them with one look and 7,000 with three: 24,000 looks."""
    assert describe_calls_per_s(10_000, streamed=0.3, looks=3) == pytest.approx(24_000 / 3600)
    assert most_contacts_per_hour(streamed=0.3, looks=3) == pytest.approx(36_000 / 2.4)


def test_cost_of_a_thousand_calls() -> None:
    drivers = cost_of_1000_calls(NEEDS, memory_mb=256)
    assert drivers["Lambda, GB-seconds"] == pytest.approx((225, 225 * 0.0000166667))
    assert drivers["KVS, GB consumed"] == pytest.approx((10, 0.085))
    assert drivers["S3, PUT requests"] == pytest.approx((2000, 0.01))


def test_use_of_quotas_by_nine_thousand_calls() -> None:
    demand = estimate_demand(9_000, duration_s=0.5, mean_call_s=300)
    used = {
        quota.name: quota.used(demand) for quota in quotas(NEEDS, looks=3, wait_s=600, streamed=0.5)
    }
    assert used["GetDataEndpoint a second, account"] == 60
    assert used["DescribeContact a second, contact events on, every contact streamed"] == 30
    # As many contacts that were not streamed as were: one look and three looks.
    assert used["DescribeContact a second, contact events on, 50% streamed"] == 120
    assert used["SQS messages in flight, contact events on, 50% streamed"] == 18_015
    assert used["S3 PUT a second, prefix"] == 60


def test_settings_are_the_templates() -> None:
    settings = read_settings()
    assert settings.maximum_concurrency >= 2
    assert {settings.archive_memory_mb, settings.flow_memory_mb} <= set(range(128, 10_241))
    assert settings.queue_delay_s == 2


def test_the_document_counts_with_the_deployed_maximum_concurrency() -> None:
    """`make load` writes the table; a default that changes has to reach it."""
    document = (Path(__file__).parents[3] / "docs/capacity.md").read_text()
    _, _, table = document.partition("| backlog | runs a second |")
    rows = [line.strip("| ").split(" | ") for line in table.partition("\n\n")[0].splitlines()[2:]]
    deployed = read_settings().maximum_concurrency
    of_1000 = {row[1]: row for row in rows if row[0] == "1,000"}
    *_, runs_per_s, drained_min, _ = of_1000[str(deployed)]
    duration_s = deployed / float(runs_per_s)
    # The document rounds the rate.
    expected_min = drain_s(3600, 1000 / 300, deployed, duration_s) / 60
    assert float(drained_min) == pytest.approx(expected_min, rel=0.03)
    assert f"**MaximumConcurrency**, {deployed} by default," in document
