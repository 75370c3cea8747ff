"""A deployed stack in moto: what the template's resources are to who looks at them from outside.

moto's CloudFormation makes a small template of resources with the real one's logical ids, outputs
and parameters. Nothing runs; `local/deployed.py` makes the functions run.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from local.clients import local_client
from local.connect import Connect
from local.demo_call import INSTANCE_ARN

type Json = dict[str, Any]

NAME: Final = "call-archive"
BUCKET: Final = "call-archive-of-stack"
PREFIX: Final = "calls/"
PARAMETERS: Final = {
    "ConnectInstanceArn": INSTANCE_ARN,
    "StreamPrefix": "call-archive",
    "MediaKmsKeyArn": "",
    "ArchiveBucketName": "",
    "ArchivePrefix": PREFIX,
    "ArchiveKmsKeyArn": "",
    "ArchiveEncryptionHeader": "none",
    "Tracks": "customer",
    "AlarmEmail": "",
    "AlarmTopicArn": "",
    "RedriveRoleArn": "",
    "ObjectLock": "no",
    "ObjectLockMode": "none",
    "ObjectLockDays": "0",
}


def _function() -> Json:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Runtime": "python3.13",
            "Handler": "module.handler",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Code": {"ZipFile": "pass"},
        },
    }


TEMPLATE: Final[Json] = {
    "Parameters": {name: {"Type": "String"} for name in PARAMETERS},
    "Resources": {
        "ArchiveBucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "BucketName": BUCKET,
                "VersioningConfiguration": {"Status": "Enabled"},
            },
        },
        "ArchiveQueue": {
            "Type": "AWS::SQS::Queue",
            "Properties": {"QueueName": "stack-jobs", "VisibilityTimeout": 660},
        },
        "FailedJobsQueue": {
            "Type": "AWS::SQS::Queue",
            "Properties": {"QueueName": "stack-failed-jobs"},
        },
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}},
        },
        "FlowLogGroup": {"Type": "AWS::Logs::LogGroup", "Properties": {}},
        "ArchiveLogGroup": {"Type": "AWS::Logs::LogGroup", "Properties": {}},
        "FlowFunction": _function(),
        "ArchiveFunction": _function(),
        "ArchiveFunctionJobs": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "FunctionName": {"Ref": "ArchiveFunction"},
                "EventSourceArn": {"Fn::GetAtt": ["ArchiveQueue", "Arn"]},
            },
        },
        "FlowPermission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "FunctionName": {"Ref": "FlowFunction"},
                "Action": "lambda:InvokeFunction",
                "Principal": "connect.amazonaws.com",
                "SourceArn": {"Ref": "ConnectInstanceArn"},
            },
        },
        "DisconnectRule": {
            "Type": "AWS::Events::Rule",
            "Properties": {"State": "ENABLED", "EventPattern": {"source": ["aws.connect"]}},
        },
    },
    "Outputs": {
        "ArchiveBucket": {"Value": {"Ref": "ArchiveBucket"}},
        "ArchiveQueueUrl": {"Value": {"Ref": "ArchiveQueue"}},
        "FailedJobsQueueUrl": {"Value": {"Ref": "FailedJobsQueue"}},
    },
}


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """A stack: its resources by logical id, and the parameters that it was deployed with."""

    name: str
    resources: dict[str, str]
    parameters: dict[str, str]


def deploy_with_key(endpoint_url: str, connect: Connect, **parameters: str) -> DeployedStack:
    """Deploys a stack whose streams use a KMS key of the account's own."""
    key = local_client(endpoint_url, "kms").create_key()["KeyMetadata"]["Arn"]
    stack = deploy_stack(endpoint_url, connect, MediaKmsKeyArn=key, **parameters)
    connect.instances.stream_media(
        INSTANCE_ARN.rpartition("/")[2],
        EncryptionConfig={"EncryptionType": "KMS", "KeyId": key},
    )
    return stack


def deploy_stack(endpoint_url: str, connect: Connect, **parameters: str) -> DeployedStack:
    """A stack of which nothing is wrong, on an instance that streams and knows FlowFunction."""
    client = local_client(endpoint_url, "cloudformation")
    chosen = PARAMETERS | parameters
    client.create_stack(
        StackName=NAME,
        TemplateBody=json.dumps(TEMPLATE),
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value} for name, value in chosen.items()
        ],
    )
    resources = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in client.list_stack_resources(StackName=NAME)["StackResourceSummaries"]
        if "PhysicalResourceId" in resource
    }
    _set_up_bucket(endpoint_url)
    flow = local_client(endpoint_url, "lambda").get_function(FunctionName=resources["FlowFunction"])
    instance_id = INSTANCE_ARN.rpartition("/")[2]
    connect.instances.stream_media(instance_id)
    connect.instances.functions[instance_id] = [flow["Configuration"]["FunctionArn"]]
    return DeployedStack(NAME, resources, chosen)


def _set_up_bucket(endpoint_url: str) -> None:
    """What moto's CloudFormation leaves out."""
    s3 = local_client(endpoint_url, "s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    algorithm = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(
        Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [algorithm]}
    )
    s3.put_public_access_block(
        Bucket=BUCKET,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        },
    )
    rule = {
        "ID": "abort-incomplete-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
