"""The first `make deploy`: few questions, clear refusals, and a file that SAM reads."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from samcli.cli.types import CfnParameterOverridesType
from samcli.lib.config.samconfig import SamConfig

from local.first_deployment import ANSWERS, ask, build_config
from tests.template.cloudformation import TEMPLATE, load

INSTANCE = "arn:aws:connect:us-east-1:123456789012:instance/0f8a3b1c-5d2e-4f60-9a71-b2c3d4e5f607"


def dialogue(*lines: str) -> tuple[dict[str, str], list[str], list[str]]:
    """The answers, what was asked, and what was said against an answer."""
    typed, asked, said = iter(lines), list[str](), list[str]()

    def read(prompt: str) -> str:
        asked.append(prompt)
        return next(typed)

    answers = ask(load()["Parameters"], read, lambda text: said.append(str(text)))
    assert not list(typed)
    return answers, asked, said


def test_few_questions_and_every_one_has_a_default_but_the_instance() -> None:
    answers, asked, said = dialogue("", INSTANCE, "", "", "", "")
    assert len(asked) == 6
    assert said == []
    assert answers["stack_name"] == "call-archive"
    assert answers["region"] == "us-east-1"
    assert "ConnectInstanceArn" in answers


def test_without_an_instance_the_region_is_asked() -> None:
    answers, _, said = dialogue("", "", "europe", "eu-west-2", "", "", "")
    assert answers["region"] == "eu-west-2"
    assert said == ["  a region, as eu-west-2"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("c" * 69, "", INSTANCE, "", "", "", ""), "68 characters"),
        (("my_calls", "", INSTANCE, "", "", "", ""), "letters, digits and hyphens"),
        (("", "my-instance", INSTANCE, "", "", "", ""), "an instance ARN such as"),
        (("", INSTANCE, "", "stereo", "both", "", ""), "customer, both"),
        (("", INSTANCE, "", "", "", 'a"b@example.com', ""), "an e-mail address, or empty"),
    ],
)
def test_a_wrong_answer_is_asked_again(lines: Sequence[str], words: str) -> None:
    _, _, said = dialogue(*lines)
    (sentence,) = said
    assert words in sentence


def test_the_file_is_what_sam_deploy_reads(tmp_path: Path) -> None:
    answers, _, _ = dialogue("calls", INSTANCE, "", "both", "voicemail", "me@example.com")
    (tmp_path / ANSWERS.name).write_text(build_config(answers))
    config = SamConfig(tmp_path, ANSWERS.name)  # type: ignore[no-untyped-call] # SAM has no types
    read = config.get_all(["deploy"], "parameters")  # type: ignore[no-untyped-call] # SAM has no types
    assert (read["stack_name"], read["region"]) == ("calls", "us-east-1")
    assert read["resolve_s3"] is True
    overrides = CfnParameterOverridesType().convert(read["parameter_overrides"], None, None)
    assert overrides == {
        "ConnectInstanceArn": INSTANCE,
        "Tracks": "both",
        "SampleFlow": "voicemail",
        "AlarmEmail": "me@example.com",
    }


def test_the_file_is_not_tracked() -> None:
    assert ANSWERS.parent == TEMPLATE.parent
    assert f"/{ANSWERS.name}" in (TEMPLATE.parent / ".gitignore").read_text().splitlines()
