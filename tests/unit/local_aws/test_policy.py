"""The evaluator, by the examples of the IAM user guide."""

from typing import Any

import pytest

from local.policy import AccessRequest, decide

ROLE = "arn:aws:iam::123456789012:role/writer"
OBJECT = "arn:aws:s3:::bucket/calls/a.wav"


def ask(
    action: str = "s3:PutObject", resource: str = OBJECT, principal: str = ROLE, **context: str
) -> AccessRequest:
    keys = {name.replace("_", ":", 1): value for name, value in context.items()}
    return AccessRequest(principal=principal, action=action, resource=resource, context=keys)


def allow(**elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*", **elements}


def deny(**elements: Any) -> dict[str, Any]:
    return allow(**elements) | {"Effect": "Deny", "Sid": "No"}


def is_allowed(request: AccessRequest, *statements: dict[str, Any]) -> bool:
    return decide(request, statements).is_allowed


def test_nothing_is_allowed_by_itself() -> None:
    assert not is_allowed(ask())


def test_an_explicit_deny_wins() -> None:
    assert decide(ask(), [allow(), deny()]).sid == "No"
    assert not is_allowed(ask(), allow(), deny())


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("s3:PutObject", True),
        ("S3:putobject", True),
        ("s3:Put*", True),
        (["s3:GetObject", "s3:PutObject"], True),
        ("s3:PutObjec", False),
        ("s3:PutObjectTagging", False),
    ],
)
def test_actions(action: object, expected: bool) -> None:
    assert is_allowed(ask(), allow(Action=action)) is expected


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (OBJECT, True),
        ("arn:aws:s3:::bucket/calls/*", True),
        ("arn:aws:s3:::bucket/calls/?.wav", True),
        ("arn:aws:s3:::bucket/*", True),
        ("arn:aws:s3:::bucket", False),
        ("arn:aws:s3:::bucket/Calls/*", False),
        ("arn:aws:s3:::bucket/calls/[a].wav", False),
    ],
)
def test_resources(resource: str, expected: bool) -> None:
    assert is_allowed(ask(), allow(Resource=resource)) is expected


@pytest.mark.parametrize(
    ("operator", "expected", "without_the_key"),
    [
        ("StringEquals", True, False),
        ("StringLike", True, False),
        ("StringNotEquals", False, True),
        ("StringNotLike", False, True),
        ("StringEqualsIfExists", True, True),
        ("StringLikeIfExists", True, True),
        ("StringNotEqualsIfExists", False, True),
    ],
)
def test_string_conditions(operator: str, expected: bool, without_the_key: bool) -> None:
    statement = allow(Condition={operator: {"s3:prefix": ["other", "calls/"]}})
    assert is_allowed(ask(s3_prefix="calls/"), statement) is expected
    assert is_allowed(ask(), statement) is without_the_key


def test_an_arn_is_compared_part_by_part() -> None:
    statement = allow(Condition={"ArnLike": {"aws:SourceArn": "arn:aws:events:*:1:rule/*"}})
    assert is_allowed(ask(aws_SourceArn="arn:aws:events:eu-west-2:1:rule/x"), statement)
    assert not is_allowed(ask(aws_SourceArn="arn:aws:events:eu-west-2:9:a:1:rule/x"), statement)


def test_several_conditions_all_have_to_hold() -> None:
    condition = {"StringEquals": {"s3:prefix": "a"}, "Bool": {"aws:SecureTransport": "true"}}
    statement = allow(Condition=condition)
    assert is_allowed(ask(s3_prefix="a", aws_SecureTransport="True"), statement)
    assert not is_allowed(ask(s3_prefix="a", aws_SecureTransport="false"), statement)
    assert not is_allowed(ask(s3_prefix="b", aws_SecureTransport="true"), statement)


def test_null_asks_whether_a_key_is_there() -> None:
    statement = allow(Condition={"Null": {"s3:prefix": "false"}})
    assert is_allowed(ask(s3_prefix=""), statement)
    assert not is_allowed(ask(), statement)


def test_a_resource_policy_names_whom_it_speaks_of() -> None:
    service = {"Service": "events.amazonaws.com"}
    statement = allow(Principal=service)
    assert decide(ask(principal="events.amazonaws.com"), (), [statement]).is_allowed
    assert not decide(ask(principal="sns.amazonaws.com"), (), [statement]).is_allowed
    assert not decide(ask(), (), [statement]).is_allowed
    assert decide(ask(), (), [allow(Principal={"AWS": [ROLE]})]).is_allowed
    assert not decide(ask(), [allow()], [deny(Principal="*")]).is_allowed


def test_the_principal_is_a_condition_key() -> None:
    others = deny(
        Principal="*",
        Condition={
            "ArnNotLike": {"aws:PrincipalArn": [ROLE]},
            "Bool": {"aws:PrincipalIsAWSService": "false"},
        },
    )
    everybody = allow(Principal="*")
    for principal, expected in ((ROLE, True), ("events.amazonaws.com", True), (f"{ROLE}2", False)):
        request = ask(principal=principal)
        assert decide(request, (), [everybody, others]).is_allowed is expected


@pytest.mark.parametrize(
    "statement",
    [
        allow(NotAction="s3:*"),
        allow(Condition={"DateLessThan": {"aws:CurrentTime": "2020-01-01"}}),
        allow(Resource="arn:aws:s3:::${aws:username}/*"),
    ],
)
def test_what_is_not_implemented_is_not_guessed(statement: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError):
        is_allowed(ask(), statement)
