"""`python -m local.demo`: one call from the flow to S3, on this machine, with everything shown.

Starts the local AWS, places a call between those of two other contacts, invokes FlowFunction with
the started and the stopped contact event, lets ArchiveFunction take the job from the queue, and
compares the recording with what was said. Recording and manifest are side by side in the output
directory, with the proof in words: `call-archive report` makes a page of them.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import boto3

from call_archive.moments import format_utc
from call_archive.recording.manifest import Manifest, decode_manifest
from local.call import Call
from local.demo_call import VOICES, demo_calls
from local.pcm import read_wav_pair
from local.resources import Resources, build_environment, create_resources
from local.runtime import ARCHIVE_HANDLER, FLOW_HANDLER, EventSource, Function
from local.server import LocalAws
from local.waveform import draw_waveform

WAV_HEADER_BYTES = 44
ENDED_MS_AGO = 30_000
PATIENCE_S = 120
RESOURCES = Resources(bucket="call-archive-demo")


@dataclass(frozen=True, slots=True)
class Demo:
    """What the steps of the demo share; `environment` is both functions', as in the template."""

    aws: LocalAws
    environment: Mapping[str, dict[str, str]]
    output: Path

    @property
    def log(self) -> Path:
        """Where the functions' logs and metrics go."""
        return self.output / "functions.log"

    def run_flow(self, call: Call) -> None:
        """FlowFunction, as the flow invokes it after Start and after Stop media streaming."""
        with Function(FLOW_HANDLER, self.environment["FlowFunction"], self.log, 8) as flow:
            for state in ("started", "stopped"):
                answer = flow.invoke(call.flow_event(state))
                _say(
                    f"FlowFunction, streaming {state}. The flow gets", json.dumps(answer, indent=2)
                )

    def run_archive(self) -> None:
        """ArchiveFunction, with what the queue holds for it."""
        variables = self.environment["ArchiveFunction"]
        queue_url = self.environment["FlowFunction"]["ARCHIVE_QUEUE_URL"]
        sqs = boto3.client("sqs", **self.aws.client_options)
        with Function(ARCHIVE_HANDLER, variables, self.log) as archive:
            source = EventSource(sqs, queue_url, archive)
            deadline_s = time.monotonic() + PATIENCE_S
            while not source.poll() and time.monotonic() < deadline_s:
                pass

    def fetch(self) -> Manifest | None:
        """Brings recording and manifest from S3; the manifest, None if nothing was archived."""
        s3 = boto3.client("s3", **self.aws.client_options)
        listing = s3.list_objects_v2(Bucket=RESOURCES.bucket).get("Contents", [])
        for entry in listing:
            name = "recording.wav" if entry["Key"].endswith(".wav") else "recording.json"
            s3.download_file(RESOURCES.bucket, entry["Key"], str(self.output / name))
        if not listing:
            return None
        return decode_manifest((self.output / "recording.json").read_bytes())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; 0 if the recording is byte for byte what was said."""
    options = _build_parser().parse_args(arguments)
    try:
        return _run(options)
    except (OSError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--caller", type=Path, default=VOICES / "caller.wav")
    parser.add_argument("--agent", type=Path, default=VOICES / "agent.wav")
    parser.add_argument("--tracks", choices=("customer", "both"), default="both")
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    return parser


def _run(options: argparse.Namespace) -> int:
    caller, agent = read_wav_pair(options.caller, options.agent)
    began_s = time.monotonic()
    _empty(options.output)
    with LocalAws() as aws:
        environment = build_environment(aws.endpoint_url, RESOURCES)
        environment["ArchiveFunction"]["ARCHIVE_TRACKS"] = options.tracks
        demo = Demo(aws, environment, options.output)
        create_resources(aws.endpoint_url, RESOURCES)
        call = _place_calls(aws, options, length_ms=len(caller) // 16)
        demo.run_flow(call)
        demo.run_archive()
        manifest = demo.fetch()
    if manifest is None:
        print(f"demo: nothing was archived; see {demo.log}", file=sys.stderr)
        return 1
    recording = options.output / "recording.wav"
    draw_waveform(recording, manifest, options.output / "waveform.png")
    said = caller if options.tracks == "customer" else _interleave(caller, agent)
    is_equal = recording.read_bytes()[WAV_HEADER_BYTES:] == said
    _say("ArchiveFunction. The manifest says", _summarise(manifest))
    proof = _prove(manifest, said, is_equal=is_equal)
    (options.output / "proof.txt").write_text(f"{proof}\n")
    _say("Files", "\n".join(f"  {path}" for path in sorted(options.output.iterdir())))
    _say("The proof", f"  {proof}")
    print(f"\n{time.monotonic() - began_s:.1f} s from the start of the local AWS to here")
    return 0 if is_equal else 1


def _place_calls(aws: LocalAws, options: argparse.Namespace, length_ms: int) -> Call:
    """Puts three contacts' calls on one stream, the last of them just over; the middle one."""
    start_ms = time.time_ns() // 1_000_000 - length_ms - ENDED_MS_AGO
    calls = demo_calls(options.caller, options.agent, start_ms)
    aws.place(*calls, ended_s_ago=None)
    contacts = "\n".join(
        f"  contact {call.contact_id}: {len(call.fragments):4} fragments, "
        f"{(call.stop_timestamp_ms - call.start_timestamp_ms) / 1000:6.1f} s"
        for call in calls
    )
    _say("One Kinesis video stream, three contacts' calls; the demo archives the second", contacts)
    return calls[1]


def _empty(output: Path) -> None:
    """An empty directory for the demo's files.

    Raises:
        ValueError: the directory holds files that no demo made.
    """
    if output.exists() and any(output.iterdir()) and not (output / "functions.log").exists():
        raise ValueError(f"{output} is not empty: name another with --output")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)


def _summarise(manifest: Manifest) -> str:
    fragments = manifest.fragments
    facts = {
        "contact": manifest.contact_id,
        "recording": manifest.recording_uri,
        "audio": f"{manifest.duration_ms / 1000:.3f} s, {manifest.channels} channel(s)",
        "from": format_utc(manifest.started_at_ms),
        "fragments": f"{fragments.listed} listed, {fragments.accepted} accepted, "
        f"{fragments.foreign} foreign, {len(fragments.missing)} missing",
        "gaps": f"{len(manifest.gaps)}, overlaps {len(manifest.overlaps)}",
        "sha256": manifest.sha256,
        "complete": "yes" if manifest.is_complete else "; ".join(manifest.reasons),
    }
    return "\n".join(f"  {name:10} {fact}" for name, fact in facts.items())


def _prove(manifest: Manifest, said: bytes, *, is_equal: bool) -> str:
    """What the recording was compared with, and the result; the page shows it, too."""
    verdict = "byte for byte" if is_equal else "NOT"
    sides = "the caller" if manifest.channels == 1 else "the caller (left) and the agent (right)"
    return (
        "Isolation: three contacts' calls are on one stream, one right behind the other. The "
        f"recording is {verdict} what was said in the second: {len(said):,} bytes of PCM of "
        f"{sides}, no other contact's."
    )


def _interleave(left: bytes, right: bytes) -> bytes:
    frames = bytearray(len(left) * 2)
    frames[0::4], frames[1::4] = left[0::2], left[1::2]
    frames[2::4], frames[3::4] = right[0::2], right[1::2]
    return bytes(frames)


def _say(title: str, text: str) -> None:
    print(f"\n{title}:\n{text}")


if __name__ == "__main__":
    sys.exit(main())
