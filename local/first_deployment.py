"""`make deploy`, the first time: a few questions → samconfig.local.toml, which `sam deploy` reads.

`sam deploy --guided` asks for every parameter of the template and writes into the tracked
samconfig.toml. Here only that is asked which most stacks need; everything else keeps its default
and can be added to the file. Answers are checked by the template's own patterns.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from samcli.yamlhelper import yaml_parse

ROOT: Final = Path(__file__).parents[1]
ANSWERS: Final = ROOT / "samconfig.local.toml"
# SQS takes 80 characters in a queue's name, and `-failed-jobs` has 12.
MAX_STACK_NAME_CHARACTERS: Final = 68

type Check = Callable[[str], str]
"""What is wrong with an answer; "" for nothing."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `name` is the template's parameter, or `stack_name` or `region`."""

    name: str
    text: str
    default: str
    check: Check


def main() -> None:
    """Asks on the terminal."""
    template = yaml_parse((ROOT / "template.yaml").read_text())
    try:
        answers = ask(template["Parameters"], input, print)
    except (EOFError, KeyboardInterrupt):
        sys.exit("\nnothing was deployed, and no answer was kept")
    ANSWERS.write_text(build_config(answers))
    print(f"\nThe answers are in {ANSWERS.name}, which git ignores; change them there.")


def ask(
    parameters: Mapping[str, Any], read: Callable[[str], str], say: Callable[[str], object]
) -> dict[str, str]:
    """The answers by name; a question is asked again until its answer can be right."""
    answers: dict[str, str] = {}
    for question in questions(parameters, answers):
        shown = f" [{question.default}]" if question.default else ""
        while True:
            answer = read(f"{question.text}{shown}: ").strip() or question.default
            wrong = question.check(answer)
            if not wrong:
                break
            say(f"  {wrong}")
        answers[question.name] = answer
    # An instance's stack belongs in the instance's region.
    return {"region": region_of(answers["ConnectInstanceArn"])} | answers


def questions(parameters: Mapping[str, Any], answers: Mapping[str, str]) -> Iterator[Question]:
    """The questions, each made when the answers before it are known."""

    def of_parameter(name: str, text: str) -> Question:
        return Question(
            name, text, str(parameters[name]["Default"]), lambda a: check(parameters[name], a)
        )

    yield Question("stack_name", "Name of the stack", "call-archive", check_stack_name)
    yield of_parameter(
        "ConnectInstanceArn", "ARN of the Amazon Connect instance (empty: any of the account)"
    )
    region = region_of(answers["ConnectInstanceArn"])
    if not region:
        yield Question("region", "Region", "", check_region)
    yield of_parameter(
        "MediaKmsKeyArn", "ARN of the customer managed key of live media streaming (empty: AWS's)"
    )
    yield of_parameter("Tracks", "Tracks (customer: the caller only, both: stereo)")
    if region:
        flows = ", ".join(parameters["SampleFlow"]["AllowedValues"])
        yield of_parameter("SampleFlow", f"A sample flow ({flows})")
        if answers["SampleFlow"] == "whole-call":
            yield Question(
                "SampleFlowQueueArn",
                "ARN of the queue that takes its calls",
                "",
                lambda a: check(parameters["SampleFlowQueueArn"], a) or ("" if a else "a queue"),
            )
    yield of_parameter("AlarmEmail", "E-mail address for alarms (empty: nobody)")


def region_of(instance_arn: str) -> str:
    """The region in an instance's ARN; "" without an ARN."""
    return instance_arn.split(":")[3] if instance_arn else ""


def check_region(region: str) -> str:
    """What cannot be a region."""
    return "" if re.fullmatch(r"[a-z]{2,4}(-[a-z]+)+-[0-9]", region) else "a region, as eu-west-2"


def check_stack_name(name: str) -> str:
    """What CloudFormation, or SQS with the queues' names, would refuse."""
    if len(name) > MAX_STACK_NAME_CHARACTERS:
        return (
            f"a stack name has at most {MAX_STACK_NAME_CHARACTERS} characters, because the name of "
            f"the queue of failed jobs is built from it: this one has {len(name)}"
        )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        return "a stack name has letters, digits and hyphens, and begins with a letter"
    return ""


def check(parameter: Mapping[str, Any], answer: str) -> str:
    """What the template would refuse."""
    allowed = parameter.get("AllowedValues")
    if allowed and answer not in allowed:
        return f"one of {', '.join(allowed)}"
    if not re.search(parameter.get("AllowedPattern", ""), answer) or set(answer) & set("\"\\'"):
        return str(parameter.get("ConstraintDescription", "this does not look right"))
    return ""


def build_config(answers: Mapping[str, str]) -> str:
    """The text of samconfig.local.toml."""
    given = {k: v for k, v in answers.items() if v and k not in ("stack_name", "region")}
    overrides = [f"{name}={value}" for name, value in given.items()]
    lines = [
        "# Your answers: `make deploy` reads them, and git ignores the file. Add parameters of",
        "# docs/deployment.md as NAME=VALUE, or delete the file to be asked again.",
        "version = 0.1",
        "",
        "[default.deploy.parameters]",
        f"stack_name = {json.dumps(answers['stack_name'])}",
        f"region = {json.dumps(answers['region'])}",
        'capabilities = "CAPABILITY_IAM"',
        "confirm_changeset = true",
        "resolve_s3 = true",
        "parameter_overrides = [",
        *(f"  {json.dumps(override, ensure_ascii=False)}," for override in overrides),
        "]",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
