"""The bucket and the queues that the template would make, in moto; and the functions' variables."""

import json
from dataclasses import dataclass
from typing import Any

from local.clients import REGION, local_client
from local.demo_call import INSTANCE_ARN

type Json = dict[str, Any]

ACCOUNT_ID = "123456789012"
# As in template.yaml: the queue hides a message for longer than a run of the function takes.
VISIBILITY_TIMEOUT_S = 660
MOST_RECEIVES = 15


@dataclass(frozen=True, slots=True)
class Resources:
    """The names of what is made."""

    bucket: str = "call-archive-local"
    queue: str = "call-archive-jobs"
    failed_queue: str = "call-archive-failed-jobs"


def create_resources(endpoint_url: str, resources: Resources) -> None:
    """Makes the bucket and both queues, the one redriving into the other."""
    create_with(local_client(endpoint_url, "s3"), local_client(endpoint_url, "sqs"), resources)


def create_with(s3: Any, sqs: Any, resources: Resources) -> None:  # noqa: ANN401 - boto3's clients
    """Creates the bucket and the queues with these clients."""
    s3.create_bucket(
        Bucket=resources.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    s3.put_bucket_versioning(Bucket=resources.bucket, VersioningConfiguration={"Status": "Enabled"})
    failed_url = sqs.create_queue(QueueName=resources.failed_queue)["QueueUrl"]
    failed = sqs.get_queue_attributes(QueueUrl=failed_url, AttributeNames=["QueueArn"])
    redrive = {
        "deadLetterTargetArn": failed["Attributes"]["QueueArn"],
        "maxReceiveCount": MOST_RECEIVES,
    }
    sqs.create_queue(
        QueueName=resources.queue,
        Attributes={
            "VisibilityTimeout": str(VISIBILITY_TIMEOUT_S),
            "RedrivePolicy": json.dumps(redrive),
        },
    )


def build_environment(endpoint_url: str, resources: Resources) -> dict[str, dict[str, str]]:
    """The variables of both functions, as `sam local invoke --env-vars` wants them."""
    queue_url = f"{endpoint_url}/{ACCOUNT_ID}"
    common = {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "ARCHIVE_BUCKET": resources.bucket,
        "ARCHIVE_PREFIX": "",
        "ARCHIVE_TRACKS": "customer",
        "CONNECT_INSTANCE_ARN": INSTANCE_ARN,
        "POWERTOOLS_SERVICE_NAME": "call-archive",
    }
    flow = {"ARCHIVE_QUEUE_URL": f"{queue_url}/{resources.queue}"}
    archive = {
        "FAILED_JOBS_QUEUE_URL": f"{queue_url}/{resources.failed_queue}",
        "MALLOC_ARENA_MAX": "1",
    }
    return {"FlowFunction": common | flow, "ArchiveFunction": common | archive}
