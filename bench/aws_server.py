"""`python -m bench.aws_server SECONDS…`: the local AWS in a process that is not measured.

Holds one call of each length on its own stream. Says where it is in the first line it prints;
then takes a command a line (`quotas`, `no-quotas`, `requests`, `verify SECONDS`, `copy TIMES`,
`clear`) and answers each with a line, both JSON.
"""

import json
import sys
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3

from bench.bodies import BodySpec
from bench.verify import STEP_BYTES, WAV_HEADER_BYTES, verify_reads
from local.behaviour import CONNECT_DEFAULTS, UNLIMITED
from local.resources import Resources, build_environment, create_resources
from local.sample_events import build_sqs_event
from local.server import LocalAws

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CopySourceTypeDef

type Json = dict[str, Any]

RESOURCES = Resources(bucket="call-archive-bench")


class Desk:
    """What the commands do."""

    def __init__(self, aws: LocalAws, lengths_s: list[int]) -> None:
        self._aws = aws
        self._calls = {seconds: BodySpec(seconds=seconds).build_call() for seconds in lengths_s}
        self._s3 = boto3.client("s3", **aws.client_options)
        create_resources(aws.endpoint_url, RESOURCES)
        aws.place(*self._calls.values())
        aws.behaviour = UNLIMITED

    def introduce(self) -> Json:
        """Environment and events of the functions, and the size of each call."""
        environment = build_environment(self._aws.endpoint_url, RESOURCES)
        shortest = self._calls[min(self._calls)]
        return {
            "flow_environment": environment["FlowFunction"],
            "archive_environment": environment["ArchiveFunction"],
            "started_event": shortest.flow_event("started"),
            "stopped_event": shortest.flow_event("stopped"),
            "calls": {
                seconds: {
                    "event": build_sqs_event(call.archive_job(), call.stop_timestamp_ms + 1000),
                    "fragments": len(call.fragments),
                    "bytes": sum(fragment.size_bytes for fragment in call.fragments),
                }
                for seconds, call in self._calls.items()
            },
        }

    def obey(self, command: str) -> object:
        """Carries out one command."""
        name, _, argument = command.partition(" ")
        if name in ("quotas", "no-quotas"):
            self._aws.behaviour = CONNECT_DEFAULTS if name == "quotas" else UNLIMITED
            return None
        if name == "requests":
            return self._aws.requests
        if name == "verify":
            return verify_reads(self._recording(), int(argument))
        if name == "copy":
            return self._copy(int(argument))
        if name == "clear":
            self._clear()
            return None
        raise ValueError(f"unknown command: {name}")

    def _keys(self) -> list[str]:
        listing = self._s3.list_objects_v2(Bucket=RESOURCES.bucket)
        return [entry["Key"] for entry in listing.get("Contents", [])]

    def _recording(self) -> Iterator[bytes]:
        """The PCM of the only recording there is."""
        (key,) = [key for key in self._keys() if key.startswith("recordings/")]
        body = self._s3.get_object(Bucket=RESOURCES.bucket, Key=key)["Body"]
        body.read(WAV_HEADER_BYTES)
        while read := body.read(STEP_BYTES):
            yield read

    def _copy(self, times: int) -> Json:
        """Copies of the only manifest and its recording, as other contacts; the original's day."""
        manifest_key, recording_key = sorted(self._keys())
        body = self._s3.get_object(Bucket=RESOURCES.bucket, Key=manifest_key)["Body"].read()
        contact_id = json.loads(body)["contactId"]
        source: CopySourceTypeDef = {"Bucket": RESOURCES.bucket, "Key": recording_key}
        for _ in range(times):
            other = str(uuid.uuid4())
            self._s3.put_object(
                Bucket=RESOURCES.bucket,
                Key=manifest_key.replace(contact_id, other),
                Body=body.replace(contact_id.encode(), other.encode()),
            )
            self._s3.copy_object(
                Bucket=RESOURCES.bucket,
                Key=recording_key.replace(contact_id, other),
                CopySource=source,
            )
        return {"contact_id": contact_id, "day": json.loads(body)["startedAt"][:10]}

    def _clear(self) -> None:
        found = self._s3.list_object_versions(Bucket=RESOURCES.bucket)
        for entry in (*found.get("Versions", []), *found.get("DeleteMarkers", [])):
            self._s3.delete_object(
                Bucket=RESOURCES.bucket, Key=entry["Key"], VersionId=entry["VersionId"]
            )


def main() -> None:
    """Serves until stdin ends."""
    with LocalAws() as aws:
        desk = Desk(aws, [int(seconds) for seconds in sys.argv[1:]])
        print(json.dumps(desk.introduce()), flush=True)
        for line in sys.stdin:
            print(json.dumps(desk.obey(line.strip())), flush=True)


if __name__ == "__main__":
    main()
