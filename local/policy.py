"""IAM policy documents and one request → allowed or denied, and by which statement.

What is implemented is what the template uses: Effect, Principal, Action, Resource, and Condition
with string, ARN, Bool and Null operators, `IfExists` included. Anything else is refused with an
error, so that no policy is judged by halves. moto's `IAMPolicy` is no substitute: it leaves out
conditions and resource-based policies.

Source: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition
operators".
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

type Statement = Mapping[str, Any]

_ELEMENTS = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """A request to be judged: who wants to do what.

    Attributes:
        principal: the ARN of the IAM role, or a service's name such as `events.amazonaws.com`.
        action: such as `s3:PutObject`.
        resource: an ARN.
        context: condition keys that the request carries.
    """

    principal: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_service(self) -> bool:
        """Whether an AWS service calls in its own name."""
        return not self.principal.startswith("arn:")

    def key(self, name: str) -> str | None:
        """A condition key's value; the principal's keys follow from the principal."""
        if name == "aws:PrincipalArn":
            return None if self.is_service else self.principal
        if name == "aws:PrincipalIsAWSService":
            return str(self.is_service).lower()
        return self.context.get(name)


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not.

    Attributes:
        sid: of the statement that decided; "" if none speaks of the request.
    """

    is_allowed: bool
    sid: str


def decide(
    request: AccessRequest,
    identity_statements: Iterable[Statement],
    resource_statements: Iterable[Statement] = (),
) -> Decision:
    """One account's evaluation: an explicit Deny wins, then any Allow, else no.

    Args:
        request: what is wanted.
        identity_statements: of the principal's own policies.
        resource_statements: of the resource's policy.

    Raises:
        NotImplementedError: a statement uses what is not implemented here.
    """
    matching = [s for s in identity_statements if _covers(s, request)]
    matching += [
        s for s in resource_statements if _names(s["Principal"], request) and _covers(s, request)
    ]
    for effect in ("Deny", "Allow"):
        for statement in matching:
            if statement["Effect"] == effect:
                return Decision(effect == "Allow", statement.get("Sid", ""))
    return Decision(is_allowed=False, sid="")


def as_list(value: object) -> list[Any]:
    """A policy element, which may be written without its list."""
    return value if isinstance(value, list) else [value]


def _covers(statement: Statement, request: AccessRequest) -> bool:
    if unknown := statement.keys() - _ELEMENTS:
        raise NotImplementedError(f"policy elements {sorted(unknown)}")
    return (
        any(
            _like(request.action.lower(), action.lower()) for action in as_list(statement["Action"])
        )
        and any(_like(request.resource, pattern) for pattern in as_list(statement["Resource"]))
        and _holds(statement.get("Condition", {}), request)
    )


def _names(principal: Any, request: AccessRequest) -> bool:  # noqa: ANN401 - JSON
    if principal == "*":
        return True
    kind = "Service" if request.is_service else "AWS"
    return request.principal in as_list(principal.get(kind, []))


def _holds(condition: Mapping[str, Mapping[str, Any]], request: AccessRequest) -> bool:
    return all(
        _holds_for(operator, request.key(key), [str(v) for v in as_list(expected)])
        for operator, keys in condition.items()
        for key, expected in keys.items()
    )


def _holds_for(operator: str, value: str | None, expected: Sequence[str]) -> bool:
    """One operator on one key. A key that is missing satisfies negated operators and `IfExists`."""
    if operator == "Null":
        return str(value is None).lower() in expected
    name = operator.removesuffix("IfExists")
    is_negated = "Not" in name
    match = _OPERATORS.get(name.replace("Not", ""))
    if match is None:
        raise NotImplementedError(f"condition operator {operator}")
    if value is None:
        return is_negated or operator != name
    return is_negated != any(match(value, pattern) for pattern in expected)


def _like(value: str, pattern: str) -> bool:
    """`*` is any text, `?` any one character."""
    return _compile(pattern).fullmatch(value) is not None


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    if "${" in pattern:
        raise NotImplementedError(f"policy variables: {pattern}")
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(c) or re.escape(c) for c in pattern), re.DOTALL)


def _arn_like(value: str, pattern: str) -> bool:
    """Each of the six parts by itself: a `*` does not reach over a colon."""
    values, patterns = value.split(":", 5), pattern.split(":", 5)
    return len(values) == len(patterns) and all(map(_like, values, patterns))


def _equal(value: str, expected: str) -> bool:
    return value == expected


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": _equal,
    "StringLike": _like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": lambda value, expected: value.lower() == expected.lower(),
}
