"""template.yaml and parameter values → a stack in moto.

moto's CloudFormation makes what it knows. What it leaves out of these, and the types that it does
not know, are made by their services' own APIs, whose parameters botocore checks: CloudFormation's
properties are those APIs' parameters, but for what is written here. What no service makes is in
`Stack.missing`.
"""

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moto.cloudformation.parsing import get_model_map

from local.resources import ACCOUNT_ID
from local.server import LocalAws
from tests.template.cloudformation import (
    CODE_BUCKET,
    CODE_KEY,
    REGION,
    TEMPLATE,
    Json,
    deploy_stack,
    translate,
)

STACK_NAME = "call-archive"
NOT_IN_MOTO = "not-made-by-moto"
# As Fn::Sub writes it: ${LogicalId} or ${LogicalId.Attribute}.
_REFERENCE = re.compile(r"\$\{(\w+)(?:\.\w+)?\}")


@dataclass
class Stack:
    """A stack in moto.

    Attributes:
        resources: by logical id, with all references resolved to what moto made.
        outputs: by name.
        missing: types that neither moto nor this module makes.
    """

    aws: LocalAws
    resources: dict[str, Json]
    physical: dict[str, str]
    outputs: dict[str, str]
    missing: set[str] = field(default_factory=set)

    def client(self, service: str) -> Any:
        """A boto3 client for the account of the stack."""
        return self.aws.client(service)


def create_stack(
    aws: LocalAws, parameters: Mapping[str, str | int], template: Path = TEMPLATE
) -> Stack:
    """Makes the stack, in an empty moto."""
    aws.reset()
    upload_code(aws.client("s3"))
    stack = deploy_to_moto(aws, translate(parameters, template), parameters, "create_stack")
    for name in stack.resources:
        complete(stack, name)
    return stack


def update_stack(aws: LocalAws, parameters: Mapping[str, str | int]) -> Stack:
    """Updates the stack to this template, as far as moto's CloudFormation makes its resources."""
    return deploy_to_moto(aws, translate(parameters), parameters, "update_stack")


def deploy_to_moto(
    aws: LocalAws, translated: Json, parameters: Mapping[str, str | int], operation: str
) -> Stack:
    """What moto's CloudFormation makes of the translated template."""
    known = {
        name: resource
        for name, resource in translated["Resources"].items()
        if resource["Type"] in get_model_map()
    }
    unknown = translated["Resources"].keys() - known.keys()
    names = {
        f"Name{number}": reference
        for number, reference in enumerate(sorted(references_to(known, translated["Resources"])))
    }
    formation = aws.client("cloudformation")
    getattr(formation, operation)(
        StackName=STACK_NAME,
        TemplateBody=json.dumps(
            {
                **translated,
                "Resources": without(known, unknown),
                "Outputs": {
                    **without(translated["Outputs"], unknown),
                    **{name: ask(reference, known) for name, reference in names.items()},
                },
            }
        ),
        Parameters=[
            {"ParameterKey": name, "ParameterValue": str(value)}
            for name, value in parameters.items()
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    (made,) = formation.describe_stacks(StackName=STACK_NAME)["Stacks"]
    assert made["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    answers = {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]}
    physical = {names[name]: value for name, value in answers.items() if name in names}
    deployed = deploy_stack(translated, parameters, {**physical, "AWS::AccountId": ACCOUNT_ID})
    outputs = {name: value for name, value in answers.items() if name not in names}
    return Stack(aws, deployed.resources, physical, outputs)


def upload_code(s3: Any) -> None:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("call_archive/__init__.py", "")
    s3.create_bucket(Bucket=CODE_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=CODE_BUCKET, Key=CODE_KEY, Body=package.getvalue())


def without(value: Any, unknown: set[str]) -> Any:
    """The template's part, with a text wherever it names what moto does not make."""
    if isinstance(value, list):
        return [without(item, unknown) for item in value]
    if isinstance(value, str):
        return _REFERENCE.sub(lambda m: NOT_IN_MOTO if m[1] in unknown else m[0], value)
    if not isinstance(value, dict):
        return value
    if value.get("Ref") in unknown:
        return NOT_IN_MOTO
    if attribute_of(value).partition(".")[0] in unknown:
        return NOT_IN_MOTO
    return {key: without(item, unknown) for key, item in value.items()}


def attribute_of(value: Json) -> str:
    argument = value.get("Fn::GetAtt", "")
    return argument if isinstance(argument, str) else ".".join(argument)


def references_to(known: Mapping[str, Json], resources: Json) -> set[str]:
    """Every `LogicalId` of these and every `LogicalId.Attribute` that the template uses."""
    used = {name for name in attributes_in(resources) if name.partition(".")[0] in known}
    return used | known.keys()


def ask(reference: str, known: Mapping[str, Json]) -> Json:
    """An output that says what moto made of a reference."""
    name, _, attribute = reference.partition(".")
    output: Json = {"Value": {"Fn::GetAtt": [name, attribute]} if attribute else {"Ref": name}}
    return output | {key: known[name][key] for key in ("Condition",) if key in known[name]}


def attributes_in(value: Any) -> set[str]:
    if isinstance(value, list):
        return {name for item in value for name in attributes_in(item)}
    if isinstance(value, str):
        return {
            part.partition("}")[0]
            for part in value.split("${")[1:]
            if "." in part.partition("}")[0]
        }
    if not isinstance(value, dict):
        return set()
    own = {attribute_of(value)} - {""}
    return own | {name for item in value.values() for name in attributes_in(item)}


def complete(stack: Stack, name: str) -> None:
    """Makes what moto's CloudFormation does not make of a resource."""
    resource = stack.resources[name]
    finish = FINISHERS.get(resource["Type"])
    if finish is not None:
        finish(stack, name, resource["Properties"])
    elif resource["Type"] not in get_model_map():
        stack.missing.add(resource["Type"])


def finish_bucket(stack: Stack, name: str, properties: Json) -> None:
    s3, bucket = stack.client("s3"), stack.physical[name]
    s3.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration=properties["VersioningConfiguration"]
    )
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration=properties["PublicAccessBlockConfiguration"],
    )
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls=properties["OwnershipControls"]
    )
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={
            "Rules": [to_api_rule(rule) for rule in properties["LifecycleConfiguration"]["Rules"]]
        },
    )
    if "ObjectLockConfiguration" in properties:
        lock_bucket(stack, bucket, properties["ObjectLockConfiguration"])


def lock_bucket(stack: Stack, bucket: str, lock: Json) -> None:
    """Object Lock, which moto's CloudFormation leaves out; the API wants a number of days."""
    default = lock.get("Rule", {}).get("DefaultRetention")
    rule = {"DefaultRetention": default | {"Days": int(default["Days"])}} if default else None
    stack.client("s3").put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={
            "ObjectLockEnabled": lock["ObjectLockEnabled"],
            **({"Rule": rule} if rule else {}),
        },
    )


def to_api_rule(rule: Json) -> Json:
    """A lifecycle rule as the API wants it: filter and expiration are structures there."""
    same = ("Status", "AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration")
    api: Json = {key: rule[key] for key in same if key in rule}
    expiration: Json = {}
    if "ExpirationInDays" in rule:
        expiration["Days"] = int(rule["ExpirationInDays"])
    if "ExpiredObjectDeleteMarker" in rule:
        expiration["ExpiredObjectDeleteMarker"] = rule["ExpiredObjectDeleteMarker"]
    if expiration:
        api["Expiration"] = expiration
    return {"ID": rule["Id"], "Filter": {"Prefix": rule.get("Prefix", "")}, **api}


def put_bucket_policy(stack: Stack, _: str, properties: Json) -> None:
    stack.client("s3").put_bucket_policy(
        Bucket=properties["Bucket"], Policy=json.dumps(properties["PolicyDocument"])
    )


def put_queue_policy(stack: Stack, _: str, properties: Json) -> None:
    for url in properties["Queues"]:
        stack.client("sqs").set_queue_attributes(
            QueueUrl=url, Attributes={"Policy": json.dumps(properties["PolicyDocument"])}
        )


def put_topic_policy(stack: Stack, _: str, properties: Json) -> None:
    for arn in properties["Topics"]:
        stack.client("sns").set_topic_attributes(
            TopicArn=arn,
            AttributeName="Policy",
            AttributeValue=json.dumps(properties["PolicyDocument"]),
        )


def put_alarm(stack: Stack, name: str, properties: Json) -> None:
    stack.client("cloudwatch").put_metric_alarm(**{"AlarmName": name} | properties)


def create_pipe(stack: Stack, name: str, properties: Json) -> None:
    stack.client("pipes").create_pipe(**{"Name": name} | properties)


def create_database(stack: Stack, name: str, properties: Json) -> None:
    stack.client("glue").create_database(**properties)
    stack.physical[name] = properties["DatabaseInput"]["Name"]


def create_table(stack: Stack, _: str, properties: Json) -> None:
    stack.client("glue").create_table(**as_strings(properties, stack.physical))


def create_query(stack: Stack, _: str, properties: Json) -> None:
    stack.client("athena").create_named_query(**as_strings(properties, stack.physical))


def as_strings(properties: Json, physical: Mapping[str, str]) -> Json:
    """References to what this module made a moment ago."""
    names = {f"<{name}>": value for name, value in physical.items()}
    return {
        key: names.get(value, value) if isinstance(value, str) else value
        for key, value in properties.items()
    }


FINISHERS: dict[str, Callable[[Stack, str, Json], None]] = {
    "AWS::S3::Bucket": finish_bucket,
    "AWS::S3::BucketPolicy": put_bucket_policy,
    "AWS::SQS::QueuePolicy": put_queue_policy,
    "AWS::SNS::TopicPolicy": put_topic_policy,
    "AWS::CloudWatch::Alarm": put_alarm,
    "AWS::Pipes::Pipe": create_pipe,
    "AWS::Glue::Database": create_database,
    "AWS::Glue::Table": create_table,
    "AWS::Athena::NamedQuery": create_query,
}
