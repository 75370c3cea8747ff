"""The committed flow files and the template are what the source makes; what is to be imported."""

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from flows.__main__ import (
    GUIDE,
    HERE,
    TEMPLATE,
    flow_file,
    guide_with_pictures,
    template_with_flows,
)
from flows.picture import mermaid
from flows.source import FLOWS

ROOT = HERE.parent
FUNCTION = "arn:aws:lambda:eu-west-2:123456789012:function:call-archive-FlowFunction-1A2B3C"
QUEUE = (
    "arn:aws:connect:eu-west-2:123456789012:instance/5f3b1c9e-2d47-4a86-9c01-7be0d2a4f611"
    "/queue/11111111-2222-3333-4444-555555555555"
)


@pytest.mark.parametrize("name", FLOWS)
def test_file_is_what_the_source_makes(name: str) -> None:
    assert (HERE / f"{name}.json").read_text() == flow_file(FLOWS[name]), "run `make flows`"


def test_template_is_what_the_source_makes() -> None:
    assert TEMPLATE.read_text() == template_with_flows(TEMPLATE.read_text()), "run `make flows`"


def test_pictures_are_of_the_source() -> None:
    assert GUIDE.read_text() == guide_with_pictures(GUIDE.read_text()), "run `make flows`"


def test_text_without_a_place_for_a_flow_is_refused() -> None:
    with pytest.raises(ValueError, match=r"template\.yaml, voicemail\.json: .* there are 0"):
        template_with_flows("Resources: {}\n")
    with pytest.raises(ValueError, match=r"docs/flows\.md, voicemail: .* there are 0"):
        guide_with_pictures("# Flows\n")


def test_picture_has_every_way_through_a_flow() -> None:
    lines = mermaid(FLOWS["whole-call"]).splitlines()
    assert "flowchart TD" in lines
    nodes = dict(re.findall(r'(b\d+)\["(.+)"\]', "\n".join(lines)))
    assert set(nodes.values()) == {a["Identifier"] for a in FLOWS["whole-call"]["Actions"]}
    arrows = {
        (nodes[source], label, nodes.get(target, target))
        for source, label, target in re.findall(
            r'^ +(b\d+) -(?:->|[-.] "(.+)" (?:-->|\.->)) (\w+)', "\n".join(lines), re.MULTILINE
        )
    }
    assert ("Set logging", "", "Start media streaming") in arrows
    assert ("Start media streaming", "error", "Note NOT_STREAMING") in arrows
    assert ("Transfer to the queue", "full", "Say that all lines are busy") in arrows
    assert ("Transfer to the queue", "", "queue") in arrows


@pytest.mark.parametrize("name", FLOWS)
def test_blocks_do_not_lie_on_each_other_in_the_editor(name: str) -> None:
    metadata = FLOWS[name]["Metadata"]["ActionMetadata"]
    assert metadata.keys() == {action["Identifier"] for action in FLOWS[name]["Actions"]}
    places = [entry["position"] for entry in metadata.values()]
    for one, other in combinations(places, 2):
        # A block of the editor is about 200 wide and, with three branches, 220 high.
        assert abs(one["x"] - other["x"]) >= 220 or abs(one["y"] - other["y"]) >= 220


def fill(to: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows", "fill", "--to", str(to), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_filled_files_hold_the_arns_and_nothing_to_fill_in(tmp_path: Path) -> None:
    assert fill(tmp_path, "--lambda-arn", FUNCTION, "--queue-arn", QUEUE).returncode == 0
    assert {path.stem for path in tmp_path.iterdir()} == FLOWS.keys()
    for path in tmp_path.iterdir():
        text = path.read_text()
        assert "${" not in text
        expected = {a["Identifier"] for a in FLOWS[path.stem]["Actions"]}
        assert {a["Identifier"] for a in json.loads(text)["Actions"]} == expected
        assert FUNCTION in text
    assert QUEUE in (tmp_path / "whole-call.json").read_text()


def test_without_a_queue_the_flow_that_needs_one_is_left_out(tmp_path: Path) -> None:
    done = fill(tmp_path, "--lambda-arn", FUNCTION, "--queue-arn", "")
    assert {path.name for path in tmp_path.iterdir()} == {"voicemail.json", "payment.json"}
    assert "whole-call.json left out" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--lambda-arn", ""],
        ["--lambda-arn", "FlowFunction"],
        ["--lambda-arn", FUNCTION, "--queue-arn", "BasicQueue"],
    ],
)
def test_what_is_no_arn_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    done = fill(tmp_path, *arguments)
    assert done.returncode == 2
    assert "not a" in done.stderr
    assert list(tmp_path.iterdir()) == []
