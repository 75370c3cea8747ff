"""`write`: source → flow files, template.yaml, docs/flows.md. `fill`: flow files to import."""

import argparse
import json
import re
from pathlib import Path

from flows.blocks import FLOW_FUNCTION, QUEUE, Json
from flows.picture import mermaid
from flows.source import FLOWS

HERE = Path(__file__).parent
TEMPLATE = HERE.parent / "template.yaml"
GUIDE = HERE.parent / "docs" / "flows.md"
FUNCTION_ARN = re.compile(r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:function:[\w$-]+(:[\w$-]+)?")
QUEUE_ARN = re.compile(r"arn:aws[a-z-]*:connect:[a-z0-9-]+:[0-9]{12}:instance/[\w-]+/queue/[\w-]+")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m flows", description=__doc__)
    commands = parser.add_subparsers(required=True)
    write = commands.add_parser("write", help="write everything that is made of the source")
    write.set_defaults(run=_write)
    fill = commands.add_parser("fill", help="write flow files with these ARNs")
    fill.add_argument("--lambda-arn", required=True, type=_function_arn, metavar="ARN")
    fill.add_argument("--queue-arn", default="", type=_queue_arn, metavar="ARN")
    fill.add_argument("--to", default=Path("dist/flows"), type=Path, metavar="DIRECTORY")
    fill.set_defaults(run=_fill)
    arguments = parser.parse_args()
    arguments.run(arguments)


def flow_file(content: Json) -> str:
    """The text of a flow file."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def template_with_flows(template: str) -> str:
    """The template's text with the contents of its sample flows as they are in the source.

    Raises:
        ValueError: the template has no place for one of them.
    """
    for name, content in FLOWS.items():
        place = rf"(?P<begin>(?P<indent> *)# {name}\.json\n).*?(?P<end> *# end\n)"
        found = _only_place(place, template, f"template.yaml, {name}.json")
        template = template.replace(found[0], _embedded(found, content))
    return template


def guide_with_pictures(guide: str) -> str:
    """The guide's text with pictures of the flows as they are in the source.

    Raises:
        ValueError: the guide has no place for one of them.
    """
    for name, content in FLOWS.items():
        place = rf"(?P<begin><!-- {name} -->\n```mermaid\n).*?(?P<end>```\n)"
        found = _only_place(place, guide, f"docs/flows.md, {name}")
        guide = guide.replace(found[0], f"{found['begin']}{mermaid(content)}{found['end']}")
    return guide


def _only_place(pattern: str, text: str, where: str) -> re.Match[str]:
    places = list(re.finditer(pattern, text, re.DOTALL))
    if len(places) != 1:
        raise ValueError(f"{where}: there must be one place, and there are {len(places)}")
    return places[0]


def _embedded(place: re.Match[str], content: Json) -> str:
    """The content as a literal YAML block, a line for each action."""
    head = json.dumps({**content, "Actions": []}, ensure_ascii=False).removesuffix("]}")
    actions = [json.dumps(action, ensure_ascii=False) for action in content["Actions"]]
    indent = place["indent"]
    lines = [head, *(f"  {action}," for action in actions[:-1]), f"  {actions[-1]}]}}"]
    block = "".join(f"{indent}  {line}\n" for line in lines)
    return f"{place['begin']}{indent}- |-\n{block}{place['end']}"


def _write(_: argparse.Namespace) -> None:
    for name, content in FLOWS.items():
        (HERE / f"{name}.json").write_text(flow_file(content), encoding="utf-8")
    TEMPLATE.write_text(template_with_flows(TEMPLATE.read_text("utf-8")), encoding="utf-8")
    GUIDE.write_text(guide_with_pictures(GUIDE.read_text("utf-8")), encoding="utf-8")


def _fill(arguments: argparse.Namespace) -> None:
    arguments.to.mkdir(parents=True, exist_ok=True)
    for name, content in FLOWS.items():
        text = flow_file(content).replace(FLOW_FUNCTION, arguments.lambda_arn)
        if QUEUE in text and not arguments.queue_arn:
            print(f"{name}.json left out: it needs the ARN of a queue")
            continue
        path = arguments.to / f"{name}.json"
        path.write_text(text.replace(QUEUE, arguments.queue_arn), encoding="utf-8")
        print(path)


def _function_arn(text: str) -> str:
    return _matching(FUNCTION_ARN, text, "a function's ARN (the stack's output FlowFunctionArn)")


def _queue_arn(text: str) -> str:
    wanted = "a queue's ARN (arn:aws:connect:…:instance/…/queue/…)"
    return _matching(QUEUE_ARN, text, wanted) if text else ""


def _matching(pattern: re.Pattern[str], text: str, wanted: str) -> str:
    if not pattern.fullmatch(text):
        raise argparse.ArgumentTypeError(f"not {wanted}: {text}")
    return text


if __name__ == "__main__":
    main()
