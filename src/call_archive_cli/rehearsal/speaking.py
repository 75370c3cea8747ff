"""The first steps: a stream is made, three calls are spoken into it, and KVS lists them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from call_archive.moments import to_datetime, to_ms
from call_archive_cli.rehearsal.flow_event import Streamed
from call_archive_cli.rehearsal.leftovers import TAG
from call_archive_cli.rehearsal.matroska import build_head
from call_archive_cli.rehearsal.observation import Questions
from call_archive_cli.rehearsal.put_media import PutMediaError, Taken, Target, put_media
from call_archive_cli.rehearsal.script import FRAGMENT_MS, Said
from call_archive_cli.rehearsal.stage import POLL_S, Stage, write_script
from call_archive_cli.rehearsal.steps import StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACTIVE_S: Final = 120.0
LISTED_S: Final = 90.0
_CONNECTION_TRIES: Final = 5
_PASSING: Final = frozenset(("ConnectionLimitExceededException", "ResourceNotFoundException"))


def make_stream(stage: Stage) -> None:
    """Creates the stream, and waits until it is ACTIVE."""
    plan, made = stage.plan, stage.made
    kinesis_video = stage.kinesis_video()
    with stage.recorder.step("stream", f"ACTIVE, {plan.retention_hours} h, tagged") as step:
        request: dict[str, Any] = {
            "StreamName": plan.stream_name,
            "DataRetentionInHours": plan.retention_hours,
            "Tags": {TAG: plan.place.stack},
        }
        if plan.kms_key:
            request["KmsKeyId"] = plan.kms_key
        # From here on there may be a stream, whether or not its answer arrives.
        made.is_begun = True
        try:
            made.stream_arn = kinesis_video.create_stream(**request)["StreamARN"]
        except ClientError:
            made.is_begun = False
            raise
        began = time.monotonic()
        while (status := _status(stage)) != "ACTIVE":
            if time.monotonic() - began > ACTIVE_S:
                raise StepError(
                    f"the stream is {status} after {ACTIVE_S:.0f} s", "Kinesis Video Streams"
                )
            stage.progressed(f"the stream is {status}")
            stage.sleep(POLL_S)
        step.seen = "ACTIVE"
        stage.measured("secondsToActive", round(time.monotonic() - began, 2))


def _status(stage: Stage) -> str:
    described = stage.kinesis_video().describe_stream(StreamARN=stage.made.stream_arn)
    return str(described["StreamInfo"]["Status"])


def speak(stage: Stage) -> Taken:
    """Says all three calls, one request each."""
    stage.script = write_script(stage.plan, stage.options)
    everything = Taken()
    count = sum(len(call.timecodes_ms) for call in stage.script.calls)
    with stage.recorder.step("speak", f"{count} fragments of 3 contacts persisted") as step:
        target = Target(
            stage.endpoint("PUT_MEDIA"),
            stage.plan.place.region,
            stage.plan.stream_name,
            stage.plan.setup.clients.session.get_credentials(),
        )
        for call in stage.script.calls:
            taken = _say(
                stage,
                target,
                call,
                lambda taken: stage.progressed(
                    f"{len(everything.persisted) + len(taken.persisted)} of {count} persisted"
                ),
            )
            everything.numbers |= taken.numbers
            everything.persisted |= taken.persisted
            everything.first_word_s = everything.first_word_s or taken.first_word_s
        step.seen = f"{len(everything.persisted)} persisted"
        stage.measured("codec", "A_AAC over raw PCM was accepted")
        stage.measured("secondsToFirstAcknowledgement", everything.first_word_s)
    return everything


def _say(stage: Stage, target: Target, call: Said, on_taken: Callable[[Taken], None]) -> Taken:
    """One call. KVS may take a moment to notice that the session before has ended.

    It may also not know a stream yet that it has just called ACTIVE.
    """
    for tries_left in reversed(range(_CONNECTION_TRIES)):
        try:
            return put_media(
                target,
                call.starts_ms,
                _pieces(stage, call),
                call.timecodes_ms,
                patience_s=stage.options.silence_s,
                on_taken=on_taken,
            )
        except PutMediaError as error:
            if error.code not in _PASSING or not tries_left:
                raise
            stage.sleep(POLL_S)
    raise AssertionError


def _pieces(stage: Stage, call: Said) -> Iterator[tuple[float, bytes]]:
    """When each piece of a call is due, by the monotonic clock."""
    yield 0.0, build_head(bytes.fromhex(stage.plan.run_id.replace("-", "")))
    offset_s = time.monotonic() - time.time()
    began = time.monotonic()
    for index, piece in enumerate(call.fragments()):
        # KVS takes five fragments a second, also of a call that begins too late.
        due = began + index * stage.options.fast_s
        if not stage.options.fast:
            # A fragment is whole when its last block has been spoken.
            due = max(due, (call.timecodes_ms[index] + FRAGMENT_MS) / 1000 + offset_s)
        yield due, piece


def await_listing(stage: Stage, taken: Taken) -> Streamed:
    """Waits until KVS lists what it persisted; returns what was streamed of the middle contact."""
    calls = stage.script.calls
    wanted = set(taken.numbers.values())
    with stage.recorder.step("listed", f"{len(wanted)} fragments") as step:
        began = time.monotonic()
        while True:
            listed = _list(stage, calls[0].starts_ms, calls[-1].ends_ms)
            if wanted <= listed.keys():
                break
            if time.monotonic() - began > LISTED_S:
                raise StepError(
                    f"{len(wanted & listed.keys())} of {len(wanted)} after {LISTED_S:.0f} s",
                    "Kinesis Video Streams",
                    "run rehearse again; the archive waits up to 25 minutes for a listing",
                )
            stage.progressed(f"{len(wanted & listed.keys())} of {len(wanted)} listed")
            stage.sleep(POLL_S)
        step.seen = f"{len(listed)} listed"
        stage.measured("secondsToListed", round(time.monotonic() - began, 2))
        if stage.options.observes:
            _ask_questions(stage, list(listed.values()))
        said = stage.script.archived
        first, last = (taken.numbers[at] for at in (said.timecodes_ms[0], said.timecodes_ms[-1]))
        return Streamed(
            contact_id=said.contact_id,
            instance_arn=stage.plan.setup.instance_arn,
            stream_arn=stage.made.stream_arn,
            start_fragment_number=first,
            # By KVS's clock, which is the one that ListFragments is asked by.
            start_timestamp_ms=to_ms(listed[first]["ServerTimestamp"]),
            stop_fragment_number=last,
            stop_timestamp_ms=to_ms(listed[last]["ServerTimestamp"]) + FRAGMENT_MS,
        )


def _list(stage: Stage, from_ms: int, until_ms: int) -> dict[str, Any]:
    """Entries of ListFragments by number; by the producer's clock, which is this machine's."""
    client = stage.plan.setup.clients.archived_media(
        stage.plan.place.region, stage.endpoint("LIST_FRAGMENTS")
    )
    pages = list(
        client.get_paginator("list_fragments").paginate(
            StreamARN=stage.made.stream_arn,
            FragmentSelector={
                "FragmentSelectorType": "PRODUCER_TIMESTAMP",
                "TimestampRange": {
                    "StartTimestamp": to_datetime(from_ms),
                    "EndTimestamp": to_datetime(until_ms),
                },
            },
        )
    )
    entries = [entry for page in pages for entry in page.get("Fragments") or []]
    stage.observed("list-fragments.json", entries)
    return {entry["FragmentNumber"]: entry for entry in entries}


def _ask_questions(stage: Stage, listed: list[Any]) -> None:
    """Asks KVS what only a real account can answer."""
    stage.progressed("asking what only a real account can answer")
    Questions(
        stage.plan.setup.clients,
        stage.plan.place.region,
        stage.made.stream_arn,
        stage.endpoint,
        stage.observed,
    ).ask(listed, to_ms(min(entry["ServerTimestamp"] for entry in listed)))
