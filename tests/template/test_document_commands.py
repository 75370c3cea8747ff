"""Every command of every document exists as it is written: program, options, names and values.

What needs an account is compared with the models that the AWS CLI is made of, `sam` and
`call-archive` with their own parsers, `make` with the Makefile.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import click
import jmespath
import pytest
from botocore import xform_name
from botocore.exceptions import UnknownServiceError
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.session import Session
from botocore.validate import ParamValidator
from samcli.cli.command import _SAM_CLI_COMMAND_PACKAGES as SAM_PACKAGES
from typer._click.exceptions import BadParameter, MissingParameter, UsageError
from typer.main import get_command

from call_archive_cli.app import app
from tests.template.cloudformation import deploy, load
from tests.template.documents import PLACEHOLDER, ROOT, Command, commands, names

MAKEFILE: Final = (ROOT / "Makefile").read_text()
STACK: Final = deploy(
    {"ContactRecordStreamArn": "arn:aws:kinesis:eu-west-2:111122223333:stream/contact-records"}
)
VARIABLES: Final = {
    "docs/using-recordings.md": {"BUCKET": "BUCKET", "CONTACT_ID": "CONTACT_ID"},
}
SESSION: Final = Session()
GLOBAL_OPTIONS: Final = {"query", "output", "region", "profile", "cli-input-json"}
# The AWS CLI's own commands, which no API has.
OWN_COMMANDS: Final = {
    ("s3", "ls"): {"recursive"},
    ("s3", "cp"): {"recursive"},
    ("s3", "rm"): set[str](),
    ("s3", "presign"): {"expires-in"},
    ("configure", "get"): set[str](),
}
# Their options are not checked.
OTHER_PROGRAMS: Final = frozenset(
    {"base64", "cp", "curl", "cut", "date", "espeak-ng", "git", "grep", "jq", "python", "python3"}
    | {"rm", "sed", "sha256sum", "sleep", "sox", "tr", "uv"}
)


@pytest.fixture(scope="module")
def all_commands(tmp_path_factory: pytest.TempPathFactory) -> tuple[Command, ...]:
    folder = tmp_path_factory.mktemp("documents")
    found = [
        command
        for name in names()
        for command in commands(name, (ROOT / name).read_text(), folder, **VARIABLES.get(name, {}))
    ]
    return tuple(dict.fromkeys(found))


def test_each_command_exists(all_commands: tuple[Command, ...]) -> None:
    assert len(all_commands) > 150
    wrong = [f"{command}\n    {fault}" for command in all_commands for fault in faults(command)]
    assert not wrong, "\n".join(wrong)


def test_the_deployment_guide_begins_with_the_quick_start(
    all_commands: tuple[Command, ...],
) -> None:
    """Both give the same commands, so that neither is corrected alone."""

    def of(name: str) -> list[str]:
        return [
            " ".join(command.words).replace("--region eu-west-2", "--region REGION")
            for command in all_commands
            if command.document == name and command.is_whole
        ]

    _, *steps = of("README.md")
    assert of("docs/deployment.md")[:5] == steps[:5]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("aws connect list-instance", "no operation list-instance"),
        ("aws conect list-instances", "no service conect"),
        ("aws connect list-functions", "no operation list-functions"),
        ("aws connect list-instances --max-result 1", "no option --max-result"),
        ("aws connect list-lambda-functions", "--instance-id is missing"),
        ("aws connect list-instances --query Instances[].Id", "no field Instances"),
        ("aws cloudwatch set-alarm-state --alarm-name a --state-reason b --state-value RED", "RED"),
        ("aws s3 list", "no operation list"),
        ("aws s3 ls --recurse", "no option --recurse"),
        ("aws cloudformation wait stack-made --stack-name a", "no waiter stack-made"),
        ("make tests", "no target tests"),
        ("make demo CALER=a.wav", "no variable CALER"),
        ("sam deploy --guide", "no option --guide"),
        ("sam local invok", "no command local invok"),
        ("sam deploy --parameter-overrides Track=both", "no parameter Track"),
        ("sam deploy --template-file template.yaml --parameter-overrides A=b", "no parameter A"),
        ("sam deploy --parameter-overrides Tracks=all", "Tracks is never all"),
        ("call-archive lst", "No such command 'lst'"),
        ("call-archive list --dya 2026-01-01", "No such option"),
        ("call-archive erase", "Missing parameter"),
        ("python -m local.demos", "no module local.demos"),
        ("pytest tests/unit/test_none.py", "no file tests/unit/test_none.py"),
        ("ffprove a.wav", "no program ffprove"),
    ],
)
def test_what_does_not_exist_is_found(words: str, fault: str) -> None:
    (found,) = faults(Command("document.md", tuple(words.split()), is_whole=True))
    assert fault in found


def faults(command: Command) -> Iterator[str]:
    """What is wrong with a command, in words."""
    program, *words = command.words
    match program:
        case "aws":
            yield from _aws_faults(command, *words)
        case "make":
            yield from _make_faults(words)
        case "sam":
            yield from _sam_faults(words)
        case "call-archive":
            yield from _own_faults(words, is_whole=command.is_whole)
        case "python" | "python3" if words[0] == "-m":
            if find_spec(words[1]) is None:
                yield f"no module {words[1]}"
        case "pytest":
            yield from (f"no file {w}" for w in words if "/" in w and not (ROOT / w).exists())
        case _ if program not in OTHER_PROGRAMS:
            yield f"no program {program}"


# ------------------------------------------------------------------ make, sam, call-archive


def _make_faults(words: list[str]) -> Iterator[str]:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    for word in words:
        variable, equals, _ = word.partition("=")
        if not equals and word not in targets:
            yield f"no target {word}"
        elif equals and not re.search(rf"\$[({{]?[({{]{variable}\b|\$\${variable}\b", MAKEFILE):
            yield f"no variable {variable}"


def _sam_faults(words: list[str]) -> Iterator[str]:
    command: click.Command | None = _sam_command(words[0])
    rest = iter(words[1:])
    while isinstance(command, click.Group):
        name = next(rest, None)
        if name is None:
            return
        command = command.get_command(click.Context(command), name)
    if command is None:
        yield f"no command {' '.join(words)}"
        return
    known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    given = [*rest]
    yield from (f"no option {w}" for w in given if w.startswith("-") and w not in known)
    yield from _override_faults(given)


def _sam_command(name: str) -> click.Command | None:
    """A command as SAM's own main finds it; its group gives it only to a running `sam`."""
    packages = [p for p in SAM_PACKAGES if p.split(".")[2] == name]
    return import_module(packages[0]).cli if packages else None


def _override_faults(words: list[str]) -> Iterator[str]:
    """`--parameter-overrides NAME=VALUE …` against the template's parameters."""
    if "--parameter-overrides" not in words:
        return
    template = ROOT / "template.yaml"
    if "--template-file" in words:
        template = ROOT / words[words.index("--template-file") + 1]
    parameters = load(template)["Parameters"]
    for word in words[words.index("--parameter-overrides") + 1 :]:
        name, _, value = word.partition("=")
        if name not in parameters:
            yield f"no parameter {name}"
        elif value not in parameters[name].get("AllowedValues", [value]):
            yield f"{name} is never {value}"


def _own_faults(words: list[str], *, is_whole: bool) -> Iterator[str]:
    """Parses the line as the command does; nothing behind the parser runs."""
    group: Any = get_command(app)
    for command in (group, *group.commands.values()):
        command.callback = lambda **_: None
        for parameter in command.params:
            parameter.callback = None
    try:
        group.main([*words], prog_name="call-archive", standalone_mode=False)
    except MissingParameter as error:
        if is_whole:
            yield str(error)
    except BadParameter as error:
        # A value is not judged in a line whose values are shortened, or stand for the reader's.
        if not any(map(_is_placeholder, words)):
            yield str(error)
    except UsageError as error:
        if is_whole and str(error) != "Missing command.":
            yield str(error)


def _is_placeholder(word: str) -> bool:
    return "…" in word or re.fullmatch("[A-Z_]+", word) is not None


# ------------------------------------------------------------------ aws


def _aws_faults(command: Command, service: str, name: str = "", *words: str) -> Iterator[str]:
    options, values = _options(words)
    if service in {"s3", "configure"}:
        known = OWN_COMMANDS.get((service, name))
        if known is None:
            yield f"no operation {name}"
        else:
            yield from (f"no option --{option}" for option in options - known - GLOBAL_OPTIONS)
        return
    try:
        model = _model(service)
    except UnknownServiceError:
        yield f"no service {service}"
        return
    if name == "wait":
        waiters = SESSION.get_waiter_model(service)
        waiting = {xform_name(waiter, "-"): waiter for waiter in waiters.waiter_names}
        if words[0] not in waiting:
            yield f"no waiter {words[0]}"
            return
        name = xform_name(waiters.get_waiter(waiting[words[0]]).operation, "-")
    operations = {xform_name(operation, "-"): operation for operation in model.operation_names}
    if name not in operations:
        yield f"no operation {name}"
        return
    yield from _call_faults(command, model.operation_model(operations[name]), options, values)


@cache
def _model(service: str) -> ServiceModel:
    return SESSION.get_service_model({"s3api": "s3"}.get(service, service))


def _options(words: tuple[str, ...]) -> tuple[set[str], dict[str, list[str]]]:
    values: dict[str, list[str]] = {}
    name = ""
    for word in words:
        if re.match(r"--[a-z]", word):
            name = word.removeprefix("--")
            values[name] = []
        elif name:
            values[name].append(word)
    return set(values), values


def _call_faults(
    command: Command, operation: OperationModel, options: set[str], values: dict[str, list[str]]
) -> Iterator[str]:
    shape = operation.input_shape
    members = {} if shape is None else {xform_name(n, "-"): m for n, m in shape.members.items()}
    switches = {f"no-{name}" for name, member in members.items() if member.type_name == "boolean"}
    yield from (f"no option --{o}" for o in options - set(members) - switches - GLOBAL_OPTIONS)
    required = {xform_name(n, "-") for n in shape.required_members} if shape else set()
    if command.is_whole and "cli-input-json" not in options:
        yield from (f"--{option} is missing" for option in sorted(required - options))
    for name in sorted(options & set(members)):
        yield from _value_faults(members[name], values[name])
    for query in values.get("query", [])[:1] if "query" not in members else []:
        fields = {*_fields(jmespath.compile(query).parsed)}
        yield from (f"no field {f}" for f in sorted(fields - _names(operation.output_shape)))


def _value_faults(shape: Shape, words: list[str]) -> Iterator[str]:
    """An enumeration has the value; JSON has the shape of the argument."""
    if len(words) == 1 and words[0][:1] in {"{", "["} and shape.type_name in {"structure", "list"}:
        report = ParamValidator().validate(json.loads(words[0]), shape)
        if report.has_errors():
            yield report.generate_report()
        return
    member: Any = shape
    if shape.type_name == "list":
        member = shape.member  # type: ignore[attr-defined] # a list's
    allowed = getattr(member, "enum", None)
    if allowed:
        yield from (f"{w} is none of {allowed}" for w in words if w not in {*allowed, PLACEHOLDER})


def _fields(node: dict[str, Any]) -> Iterator[str]:
    """Every field that a JMESPath expression reads."""
    if node["type"] == "field":
        yield node["value"]
    for child in node.get("children", []):
        if isinstance(child, dict):
            yield from _fields(child)


def _names(shape: Shape | None, seen: frozenset[str] = frozenset()) -> set[str]:
    """Every name in an answer."""
    if shape is None or shape.name in seen:
        return set()
    seen |= {shape.name}
    match shape.type_name:
        case "structure":
            members = shape.members  # type: ignore[attr-defined] # a structure's
            inner = [_names(member, seen) for member in members.values()]
            return {*members}.union(*inner)
        case "list":
            return _names(shape.member, seen)  # type: ignore[attr-defined] # a list's
        case "map":
            names_of_keys = {"QueueArn"}
            return names_of_keys | _names(shape.value, seen)  # type: ignore[attr-defined] # a map's
    return set()


def test_resources_that_are_named_are_of_the_stack(all_commands: tuple[Command, ...]) -> None:
    named = {
        words[words.index("--logical-resource-id") + 1]
        for words in (command.words for command in all_commands)
        if "--logical-resource-id" in words
    }
    assert named
    assert named <= STACK.keys()
