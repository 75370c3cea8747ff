"""What may be in S3 and in the queues after a fault: a whole recording, or nothing that claims one.

The truth is a call's PCM as it was said; what is looked at is read through S3's API alone.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from tests.integration.journey import RESOURCES, WAV_HEADER_BYTES, Journey

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Every object of the bucket at one moment."""

    recordings: dict[str, bytes]
    manifests: dict[str, Json]
    others: tuple[str, ...]


def read_bucket(s3: Any) -> Bucket:
    """All there is."""
    contents = s3.list_objects_v2(Bucket=RESOURCES.bucket).get("Contents", [])
    bodies = {
        entry["Key"]: s3.get_object(Bucket=RESOURCES.bucket, Key=entry["Key"])["Body"].read()
        for entry in contents
    }
    recordings = {key: body for key, body in bodies.items() if key.startswith("recordings/")}
    manifests = {
        key: json.loads(body) for key, body in bodies.items() if key.startswith("manifests/")
    }
    return Bucket(
        recordings, manifests, tuple(bodies.keys() - recordings.keys() - manifests.keys())
    )


def lies(bucket: Bucket, frames: bytes) -> list[str]:
    """What contradicts the rule that where a manifest is, the whole recording is.

    Args:
        bucket: of one call.
        frames: every frame of the recording, as it was said.
    """
    found = [f"third object: {key}" for key in bucket.others]
    found += [f"{len(bucket.manifests)} manifests"] if len(bucket.manifests) > 1 else []
    found += [f"{len(bucket.recordings)} recordings"] if len(bucket.recordings) > 1 else []
    if len(bucket.manifests) != 1:
        return found
    ((manifest_key, manifest),) = bucket.manifests.items()
    key = manifest_key.replace("manifests/", "recordings/").replace(".json", ".wav")
    wav = bucket.recordings.get(key)
    if wav is None:
        return [*found, "manifest without a recording"]
    if wav[WAV_HEADER_BYTES:] != frames:
        found.append("recording is not what was said")
    if manifest["complete"] is not True:
        found.append("manifest says incomplete")
    if manifest["bytes"] != len(wav) or manifest["sha256"] != hashlib.sha256(wav).hexdigest():
        found.append("manifest of another recording")
    return found


def assert_whole(journey: Journey, frames: bytes) -> None:
    """One recording, equal to the truth, and its manifest; nothing else."""
    bucket = read_bucket(journey.s3)
    assert lies(bucket, frames) == []
    assert (len(bucket.recordings), len(bucket.manifests)) == (1, 1)


def assert_nothing_said(journey: Journey, frames: bytes) -> None:
    """No manifest; a recording, if a run was stopped right behind it, is whole."""
    bucket = read_bucket(journey.s3)
    assert lies(bucket, frames) == []
    assert bucket.manifests == {}
    assert all(wav[WAV_HEADER_BYTES:] == frames for wav in bucket.recordings.values())
