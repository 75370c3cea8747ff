"""A dozen kills at named points: a bounded form of `python -m tests.faults.kill_campaign`."""

from collections.abc import Iterator

import pytest

from local.server import LocalAws
from tests.faults.kill_campaign import (
    UNDELETED,
    Campaign,
    Point,
    Scenario,
    Tally,
    open_campaign,
)

ROUNDS: dict[str, tuple[Scenario, list[Point]]] = {
    "while the parts are uploaded": (
        "parts",
        [
            Point("CreateMultipartUpload", has_effect=True),
            Point("UploadPart", 1, has_effect=True),
            Point("UploadPart", 3),
        ],
    ),
    "before and after the recording is published": (
        "parts",
        [
            Point("CompleteMultipartUpload"),
            Point("CompleteMultipartUpload", has_effect=True),
            Point("PutObject"),
        ],
    ),
    "around the manifest": (
        "parts",
        [Point("HeadObject"), Point("PutObject", has_effect=True), UNDELETED],
    ),
    "with a recording in one piece": (
        "one piece",
        [Point("PutObject", 1, has_effect=True), Point("PutObject", 2)],
    ),
    "while a partial recording is replaced": (
        "replacing",
        [Point("CompleteMultipartUpload"), Point("CompleteMultipartUpload", has_effect=True)],
    ),
}


@pytest.fixture(scope="module")
def prepared(shared_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    log = tmp_path_factory.mktemp("kills") / "functions.log"
    with open_campaign(shared_aws, log, seed=1) as campaign:
        yield campaign


@pytest.fixture
def campaign(prepared: Campaign) -> Campaign:
    """With nothing counted."""
    prepared.tally = Tally()
    return prepared


@pytest.mark.parametrize(("scenario", "points"), ROUNDS.values(), ids=ROUNDS)
def test_killed_runs_are_followed_by_one_that_publishes(
    campaign: Campaign, scenario: Scenario, points: list[Point]
) -> None:
    campaign.round(scenario, points)
    tally = campaign.tally
    assert dict(tally.kills) == {f"{scenario}: {point}": 1 for point in points}
    assert tally.is_clean, tally.details


def test_flow_function_that_is_killed_around_its_message(campaign: Campaign) -> None:
    campaign.round_of_flow()
    tally = campaign.tally
    assert tally.kills.total() + tally.survived == 2
    assert tally.is_clean, tally.details
