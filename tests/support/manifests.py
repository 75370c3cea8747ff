"""Manifests as JSON, written by hand: what a version before knowledge was kept wrote."""

from typing import Any

from tests.support.arns import INSTANCE_ARN, STREAM_ARN

CONTACT_ID = "8c2b1f0e-6d1f-4c58-9a5e-0d6a4d1f7c21"
START = 91343852333181452199722691208580038832309429352
START_MS = 1_641_312_355_374  # 2022-01-04T16:05:55.374Z


def older_manifest(**changes: Any) -> dict[str, Any]:
    """A manifest of 15 fragments, as the first versions wrote it; changed at the top level."""
    return {
        "version": 1,
        "contactId": CONTACT_ID,
        "initialContactId": CONTACT_ID,
        "instanceArn": INSTANCE_ARN,
        "streamArn": STREAM_ARN,
        "recordingUri": f"s3://my-calls/recordings/year=2022/month=01/day=04/{CONTACT_ID}/"
        f"{START}.wav",
        "tracks": ["AUDIO_FROM_CUSTOMER"],
        "channels": 1,
        "sampleRateHz": 8000,
        "durationMs": 14_400,
        "startedAt": "2022-01-04T16:05:55.374Z",
        "endedAt": "2022-01-04T16:06:09.774Z",
        "bytes": 230_444,
        "sha256": "ab" * 32,
        "complete": True,
        "reasons": [],
        "fragments": {
            "listed": 15,
            "received": 15,
            "accepted": 15,
            "foreign": 0,
            "untagged": 0,
            "missing": [],
            "last": str(START + 14),
        },
        "gaps": [],
        "overlaps": [],
        "clockJumps": 0,
        "software": "call-archive 0.1.0",
        "rangeEnd": "2022-01-04T16:06:15.374Z",
        "archivedAt": "2022-01-04T16:06:25.374Z",
        "trigger": "flow",
        **changes,
    }
