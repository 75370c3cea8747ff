"""A call → one sample input for each trigger, as files for `sam local invoke`.

Shapes: the Connect flow event, and the event of an SQS event source mapping (Lambda developer
guide), whose `Records` have string attributes.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.call import Call
from local.demo_call import QUEUE_ARN

type Json = dict[str, Any]


def build_sample_events(call: Call) -> dict[str, Json]:
    """File name → event."""
    return {
        "flow-not-started.json": call.flow_event("not_started"),
        "flow-started.json": call.flow_event("started"),
        "flow-stopped.json": call.flow_event("stopped"),
        "flow-stopped-without-stop-keys.json": call.flow_event(
            "stopped_without_stop_keys", {"archive": "now"}
        ),
        "archive-job.json": build_sqs_event(call.archive_job(), call.stop_timestamp_ms + 1000),
        "contact-disconnected.json": build_sqs_event(
            call.contact_event("DISCONNECTED"), call.stop_timestamp_ms + 2000
        ),
        "contact-record.json": build_sqs_event(
            call.contact_record(), call.stop_timestamp_ms + 65_000
        ),
    }


def build_sqs_event(body: Mapping[str, Any], sent_ms: int, queue_arn: str = QUEUE_ARN) -> Json:
    """The event of a batch of one message; the same body gives the same ids."""
    text = json.dumps(body, separators=(",", ":"))
    return {
        "Records": [
            {
                "messageId": str(uuid.uuid5(uuid.NAMESPACE_OID, text)),
                "receiptHandle": hashlib.sha512(text.encode()).hexdigest(),
                "body": text,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": str(sent_ms),
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "ApproximateFirstReceiveTimestamp": str(sent_ms + 1),
                },
                "messageAttributes": {},
                # SQS itself digests the body with MD5.
                "md5OfBody": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
                "eventSource": "aws:sqs",
                "eventSourceARN": queue_arn,
                "awsRegion": queue_arn.split(":")[3],
            }
        ]
    }


def write_sample_events(call: Call, directory: Path) -> list[Path]:
    """Writes the files and returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, event in build_sample_events(call).items():
        path = directory / name
        path.write_text(json.dumps(event, indent=2) + "\n", encoding="utf-8")
        paths.append(path)
    return paths
