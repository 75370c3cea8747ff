"""What the steps of one rehearsal share: its plan, its script, what was made, and the calls."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from call_archive.job import ArchiveJob
from call_archive.moments import now_ms
from call_archive_cli.rehearsal.put_media import PATIENCE_S as SILENCE_S
from call_archive_cli.rehearsal.script import (
    FAST_S,
    FRAGMENT_MS,
    Script,
    build_script,
    duration_ms,
    read_voices,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from call_archive_cli.rehearsal.flow_event import Streamed
    from call_archive_cli.rehearsal.plan import Plan
    from call_archive_cli.rehearsal.recorder import Recorder

POLL_S: Final = 1.0
PATIENCE_S: Final = 300.0
LOOK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a rehearsal.

    Attributes:
        fast: as fast as KVS takes fragments, with times in the past; otherwise in real time.
        patience_s: how long to wait for the manifest.
        contact_id: a real contact to archive as after a hang-up; "" for none.
        fast_s: between two fragments, if fast.
        silence_s: how long PutMedia may say nothing.
        look_s: between two checks of the queues, the logs and the function.
        observes: ask Kinesis Video what only a real account can answer.
    """

    fast: bool = False
    fast_s: float = FAST_S
    silence_s: float = SILENCE_S
    look_s: float = LOOK_S
    observes: bool = False
    patience_s: float = PATIENCE_S
    contact_id: str = ""


@dataclass(slots=True)
class Made:
    """What a run has made and not removed yet.

    Attributes:
        stream_arn: of its stream; "" until Kinesis Video has answered.
        endpoints: the stream's data endpoints, by the operation.
        is_begun: there may be a stream, whether or not the answer has arrived.
        is_queued: there may be a job of it in the queue.
    """

    stream_arn: str = ""
    endpoints: dict[str, str] = field(default_factory=dict)
    is_begun: bool = False
    is_queued: bool = False


@dataclass(slots=True)
class Stage:
    """One run of a plan.

    Attributes:
        script: what is said; written again right before it is spoken, because it has times.
    """

    plan: Plan
    options: Options
    recorder: Recorder
    script: Script
    sleep: Callable[[float], None] = time.sleep
    made: Made = field(default_factory=Made)

    def kinesis_video(self) -> Any:  # noqa: ANN401 - boto3
        """The client of the control API."""
        return self.plan.setup.clients.kinesis_video(self.plan.place.region)

    def endpoint(self, api: str) -> str:
        """The data endpoint of the run's stream for an operation."""
        if api not in self.made.endpoints:
            answer = self.kinesis_video().get_data_endpoint(
                StreamARN=self.made.stream_arn, APIName=api
            )
            self.made.endpoints[api] = answer["DataEndpoint"]
        return self.made.endpoints[api]

    def progressed(self, text: str) -> None:
        """Tells the audience something while it waits."""
        self.recorder.audience.progressed(text)

    def observed(self, name: str, content: object) -> None:
        """Keeps a file for `--observe`."""
        self.recorder.audience.observed(name, content)

    def measured(self, name: str, value: object) -> None:
        """Keeps one observation for `--observe`."""
        self.observed("observations.json", {name: value})


def write_script(plan: Plan, options: Options) -> Script:
    """What is said, from now on, or up to now if it is said fast."""
    starts_ms = now_ms() - (duration_ms() + FRAGMENT_MS if options.fast else 0)
    return build_script(read_voices(), plan.run_id, plan.instance_id, starts_ms)


def job_of(streamed: Streamed) -> ArchiveJob:
    """The job of a contact whose streaming has stopped."""
    return ArchiveJob(
        contact_id=streamed.contact_id,
        initial_contact_id=streamed.contact_id,
        instance_arn=streamed.instance_arn,
        stream_arn=streamed.stream_arn,
        start_fragment_number=int(streamed.start_fragment_number),
        start_timestamp_ms=streamed.start_timestamp_ms,
        stop_fragment_number=int(streamed.stop_fragment_number),
        stop_timestamp_ms=streamed.stop_timestamp_ms,
        requested_at_ms=max(now_ms(), streamed.stop_timestamp_ms),
    )
