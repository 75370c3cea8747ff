"""template.yaml and parameter values → the resources that CloudFormation would make.

SAM's own translator expands the serverless resources; the rest of this module does what
CloudFormation does then: conditions, and the functions that the template uses. A resource's Ref
becomes `<LogicalId>` and its attribute `<LogicalId.Attribute>`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boto3.session import Session
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

type Json = dict[str, Any]

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
REGION = "eu-west-2"
ACCOUNT = "111122223333"
PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "call-archive",
}
_NO_VALUE = object()
_REFERENCE = re.compile(r"\$\{([A-Za-z0-9:.]+)\}")


def load() -> Json:
    """The template as it is written."""
    template: Json = yaml_parse(TEMPLATE.read_text())
    return template


def deploy(parameters: Mapping[str, str | int]) -> dict[str, Json]:
    """Resources by logical id, as they are with these parameters and the defaults of the others."""
    translated, stack = _translate(parameters)
    return {
        logical_id: stack.resolve(resource)
        for logical_id, resource in translated["Resources"].items()
        if "Condition" not in resource or stack.holds(resource["Condition"])
    }


def refusals(parameters: Mapping[str, str | int]) -> list[str]:
    """What CloudFormation says against these parameters, by the template's Rules."""
    translated, stack = _translate(parameters)
    return [
        assertion["AssertDescription"]
        for rule in translated["Rules"].values()
        if stack.resolve(rule["RuleCondition"])
        for assertion in rule["Assertions"]
        if not stack.resolve(assertion["Assert"])
    ]


def _translate(parameters: Mapping[str, str | int]) -> tuple[Json, "_Stack"]:
    template = load()
    unknown = parameters.keys() - template["Parameters"].keys()
    assert not unknown, f"no such parameters: {unknown}"
    # `sam package` does this to a local path.
    template["Globals"]["Function"]["CodeUri"] = "s3://packages/call-archive.zip"
    names = {name: str(p["Default"]) for name, p in template["Parameters"].items()}
    names |= {name: str(value) for name, value in parameters.items()}
    translated = Translator(
        managed_policy_map={}, sam_parser=Parser(), boto_session=Session(region_name=REGION)
    ).translate(sam_template=template, parameter_values=dict(names))
    return translated, _Stack(names | PSEUDO_PARAMETERS, translated.get("Conditions", {}))


def of_type(resources: Mapping[str, Json], resource_type: str) -> dict[str, Json]:
    """The properties of the resources of one type, by logical id."""
    return {
        logical_id: resource["Properties"]
        for logical_id, resource in resources.items()
        if resource["Type"] == resource_type
    }


class _Stack:
    def __init__(self, names: Mapping[str, str], conditions: Json) -> None:
        self._names = names
        self._conditions = conditions

    def holds(self, condition: str) -> bool:
        """Whether a named condition is true."""
        return bool(self.resolve(self._conditions[condition]))

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
        return _NO_VALUE if name == "AWS::NoValue" else self._names.get(name, f"<{name}>")

    def _getatt(self, argument: str | list[str]) -> str:
        return f"<{argument if isinstance(argument, str) else '.'.join(argument)}>"

    def _if(self, argument: list[Any]) -> Any:
        condition, then, otherwise = argument
        return self.resolve(then if self.holds(condition) else otherwise)

    def _equals(self, argument: list[Any]) -> bool:
        left, right = (str(self.resolve(side)) for side in argument)
        return left == right

    def _not(self, argument: list[Any]) -> bool:
        return not self.resolve(argument[0])

    def _and(self, argument: list[Any]) -> bool:
        return all(self.resolve(argument))

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
        # ${!name} stands for ${name} itself.
        return resolved.replace("${!", "${")
