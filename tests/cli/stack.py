"""A deployed stack in moto: the resources that `doctor` reads, under the template's names."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3

from local.clients import REGION
from local.demo_call import INSTANCE_ARN
from local.server import LocalAws

type Json = dict[str, Any]

NAME = "call-archive"
INSTANCE_ID = INSTANCE_ARN.rpartition("/")[2]
BUCKET = "call-archive-of-stack"
PREFIX = "calls/"
PARAMETERS = {
    "ConnectInstanceArn": INSTANCE_ARN,
    "StreamPrefix": "call-archive",
    "MediaKmsKeyArn": "",
    "ArchiveBucketName": "",
    "ArchivePrefix": PREFIX,
}


@cache
def _client(endpoint_url: str, service: str) -> Any:
    session = boto3.Session("test", "test", region_name=REGION)
    return session.client(service, endpoint_url=endpoint_url)  # type: ignore[call-overload] # a name


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


TEMPLATE: Json = {
    "Parameters": {name: {"Type": "String"} for name in PARAMETERS},
    "Resources": {
        "ArchiveBucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": BUCKET}},
        "ArchiveQueue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "stack-jobs"}},
        "FailedJobsQueue": {
            "Type": "AWS::SQS::Queue",
            "Properties": {"QueueName": "stack-failed-jobs"},
        },
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}},
        },
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


@dataclass(frozen=True)
class Stack:
    """The stack, its resources by logical id, and what AWS is asked to break them."""

    aws: LocalAws
    resources: dict[str, str]

    def client(self, service: str) -> Any:
        return _client(self.aws.endpoint_url, service)


def deploy(aws: LocalAws, **parameters: str) -> Stack:
    """A stack of which nothing is wrong, on an instance that streams and knows FlowFunction."""
    client = _client(aws.endpoint_url, "cloudformation")
    client.create_stack(
        StackName=NAME,
        TemplateBody=json.dumps(TEMPLATE),
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in (PARAMETERS | parameters).items()
        ],
    )
    resources = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in client.list_stack_resources(StackName=NAME)["StackResourceSummaries"]
        if "PhysicalResourceId" in resource
    }
    _set_up_bucket(_client(aws.endpoint_url, "s3"))
    functions = _client(aws.endpoint_url, "lambda")
    flow = functions.get_function(FunctionName=resources["FlowFunction"])
    aws.connect.instances.stream_media(INSTANCE_ID)
    aws.connect.instances.functions[INSTANCE_ID] = [flow["Configuration"]["FunctionArn"]]
    return Stack(aws, resources)


def _set_up_bucket(s3: Any) -> None:
    """What moto's CloudFormation leaves out."""
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
