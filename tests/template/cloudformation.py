"""template.yaml and parameter values → the resources that CloudFormation would make.

SAM's own translator expands the serverless resources; the rest of this module does what
CloudFormation does then: conditions, and the functions that the template uses. A resource's Ref
becomes `<LogicalId>` and its attribute `<LogicalId.Attribute>`.
"""

import json
import re
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from boto3.session import Session
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

type Json = dict[str, Any]

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
# What stacks that are deployed were made from: the template at commit 2b783d8.
LAST_RELEASE = Path(__file__).with_name("last_release.yaml")
REGION = "eu-west-2"
ACCOUNT = "111122223333"
CODE_BUCKET = "packages"
CODE_KEY = "call-archive.zip"
PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "call-archive",
}
_NO_VALUE = object()
_REFERENCE = re.compile(r"\$\{([A-Za-z0-9:.]+)\}")


def load(path: Path = TEMPLATE) -> Json:
    """The template as it is written; the caller's own to change."""
    return deepcopy(_parsed(path))


@cache
def _parsed(path: Path) -> Json:
    template: Json = yaml_parse(path.read_text())
    return template


@cache
def _session() -> Session:
    return Session(region_name=REGION)


@dataclass(frozen=True)
class Deployed:
    """What a stack would be.

    Attributes:
        resources: by logical id, without those whose condition is false.
        outputs: by name, likewise.
        references: what a resource or an output refers to, as `LogicalId` or `LogicalId.Attribute`;
            parameters and pseudo parameters left out.
    """

    resources: dict[str, Json]
    outputs: dict[str, Json]
    references: dict[str, set[str]]


def deploy(
    parameters: Mapping[str, str | int], physical: Mapping[str, str] | None = None
) -> dict[str, Json]:
    """Resources by logical id, as they are with these parameters and the defaults of the others.

    `physical` has what references give, by `LogicalId`, `LogicalId.Attribute` or pseudo parameter.
    """
    return deploy_stack(translate(parameters), parameters, physical).resources


def refusals(parameters: Mapping[str, str | int]) -> list[str]:
    """What CloudFormation says against these parameters, by the template's Rules."""
    translated = translate(parameters)
    stack = _build_stack(translated, parameters, {})
    return [
        assertion["AssertDescription"]
        for rule in translated["Rules"].values()
        if stack.resolve(rule["RuleCondition"])
        for assertion in rule["Assertions"]
        if not stack.resolve(assertion["Assert"])
    ]


def translate(parameters: Mapping[str, str | int], path: Path = TEMPLATE) -> Json:
    """The template as CloudFormation gets it, with its intrinsic functions."""
    template = load(path)
    unknown = parameters.keys() - template["Parameters"].keys()
    assert not unknown, f"no such parameters: {unknown}"
    # `sam package` does this to a local path.
    template["Globals"]["Function"]["CodeUri"] = f"s3://{CODE_BUCKET}/{CODE_KEY}"
    translated: Json = Translator(
        managed_policy_map={}, sam_parser=Parser(), boto_session=_session()
    ).translate(sam_template=template, parameter_values=values_of(template, parameters))
    return translated


def values_of(template: Json, parameters: Mapping[str, str | int]) -> dict[str, str]:
    """Every parameter's value: the one given, or the default."""
    defaults = {name: str(p.get("Default", "")) for name, p in template["Parameters"].items()}
    return defaults | {name: str(value) for name, value in parameters.items()}


def deploy_stack(
    translated: Json,
    parameters: Mapping[str, str | int],
    physical: Mapping[str, str] | None = None,
) -> Deployed:
    """The translated template without conditions and intrinsic functions.

    Args:
        translated: by `translate`.
        parameters: the values that differ from the defaults.
        physical: values of `LogicalId` and `LogicalId.Attribute`, where they are known.
    """
    stack = _build_stack(translated, parameters, physical or {})
    references: dict[str, set[str]] = {}

    def resolve_all(section: str) -> dict[str, Json]:
        resolved = {}
        for name, part in translated.get(section, {}).items():
            if "Condition" in part and not stack.holds(part["Condition"]):
                continue
            stack.references = set()
            resolved[name] = stack.resolve(part)
            references[f"{section}.{name}"] = stack.references
        return resolved

    return Deployed(resolve_all("Resources"), resolve_all("Outputs"), references)


def _build_stack(
    translated: Json, parameters: Mapping[str, str | int], physical: Mapping[str, str]
) -> "_Stack":
    names = values_of(translated, parameters) | PSEUDO_PARAMETERS | dict(physical)
    return _Stack(names, translated["Parameters"].keys(), translated.get("Conditions", {}))


def of_type(resources: Mapping[str, Json], resource_type: str) -> dict[str, Json]:
    """The properties of the resources of one type, by logical id."""
    return {
        logical_id: resource["Properties"]
        for logical_id, resource in resources.items()
        if resource["Type"] == resource_type
    }


def pipe_message(pipe: Json, record: Json) -> str:
    """What a pipe sends of a Kinesis record (EventBridge user guide, "Input transformation")."""
    template: str = pipe["TargetParameters"]["InputTemplate"]
    return re.sub(r"<\$\.data\.(\w+)>", lambda path: json.dumps(record[path[1]]), template)


class _Stack:
    def __init__(
        self, names: Mapping[str, str], parameters: Collection[str], conditions: Json
    ) -> None:
        self._names = names
        self._parameters = parameters
        self._conditions = conditions
        self.references: set[str] = set()

    def holds(self, condition: str) -> bool:
        """Whether a named condition is true."""
        return self._decide(self._conditions[condition])

    def resolve(self, value: Any) -> Any:
        """The value without intrinsic functions."""
        if isinstance(value, list):
            resolved = (self.resolve(item) for item in value)
            return [item for item in resolved if item is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if name == "Condition" and isinstance(argument, str):
                return self.holds(argument)
            function = getattr(self, "_" + name.replace("Fn::", "").lower(), None)
            if function and (name.startswith("Fn::") or name == "Ref"):
                return function(argument)
        pairs = ((key, self.resolve(item)) for key, item in value.items())
        return {key: item for key, item in pairs if item is not _NO_VALUE}

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name not in PSEUDO_PARAMETERS and name not in self._parameters:
            self.references.add(name)
        return self._names.get(name, f"<{name}>")

    def _getatt(self, argument: str | list[str]) -> Any:
        return self._ref(argument if isinstance(argument, str) else ".".join(argument))

    def _if(self, argument: list[Any]) -> Any:
        condition, then, otherwise = argument
        return self.resolve(then if self.holds(condition) else otherwise)

    def _equals(self, argument: list[Any]) -> bool:
        left, right = (str(self.resolve(side)) for side in argument)
        return left == right

    def _not(self, argument: list[Any]) -> bool:
        return not self._decide(argument[0])

    def _and(self, argument: list[Any]) -> bool:
        return all(self._decide(part) for part in argument)

    def _or(self, argument: list[Any]) -> bool:
        return any(self._decide(part) for part in argument)

    def _decide(self, argument: Json) -> bool:
        """A condition, or the name of one."""
        if argument.keys() == {"Condition"}:
            return self.holds(argument["Condition"])
        return bool(self.resolve(argument))

    def _join(self, argument: list[Any]) -> str:
        separator, parts = argument
        return str(separator).join(self.resolve(parts))

    def _split(self, argument: list[Any]) -> list[str]:
        separator, text = argument
        return str(self.resolve(text)).split(separator)

    def _sub(self, argument: str | list[Any]) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else argument
        own = self.resolve(own)
        resolved = _REFERENCE.sub(lambda m: str(own.get(m[1]) or self._ref(m[1])), text)
        # ${!name} means ${name} itself.
        return resolved.replace("${!", "${")
