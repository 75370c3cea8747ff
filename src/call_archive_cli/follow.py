"""A live stream → one contact's audio, as it is spoken.

Like AWS's Java sample (LMSDemo, LMSExample, LMSFrameProcessor), but includes the first fragment,
continues after the 45 minutes of a GetMedia call, and stops when the contact changes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from call_archive.aws.faults import stream_fault
from call_archive.errors import MediaError, StreamFaultError
from call_archive.fields import region_of
from call_archive.media.likeness import MediaFragment, decode_audio
from call_archive.media.pcm import SAMPLE_RATE_HZ, Direction, Piece
from call_archive.reasons import Code
from call_archive.recording.selection import ContactSelection
from call_archive.recording.timeline import Timeline
from call_archive.recording.wav import Mix, build_mixer
from call_archive_cli.exits import drop_output
from call_archive_cli.live import (
    LiveFragment,
    LiveSource,
    LiveStream,
    StreamIsQuietError,
    TimeLimitError,
)
from call_archive_cli.streams import NOT_THERE, fetch_fragment

if TYPE_CHECKING:
    from collections.abc import Buffer, Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from mypy_boto3_kinesis_video_media import KinesisVideoMediaClient

    from call_archive_cli.clients import Clients

INTERRUPTED: Final = "interrupted"


class Sink(Protocol):
    """Takes frames of PCM."""

    def write(self, pcm: Buffer) -> None:
        """The next frames."""


@dataclass(frozen=True, slots=True)
class FollowedContact:
    """Whose fragments are taken; their end is not known."""

    contact_ids: frozenset[str]
    stop_fragment_number: None = None


@dataclass(frozen=True, slots=True)
class End:
    """Why following ended.

    Attributes:
        why: in words.
        failure: what KVS or the file refused after audio had come; None if nothing was refused.
    """

    why: str = "the stream ended"
    failure: StreamFaultError | BotoCoreError | OSError | None = None


@dataclass(slots=True)
class LeftOut:
    """What is not in the audio.

    Attributes:
        skipped: fragments before the contact's first one.
        untagged: of those, fragments without a ContactId.
        unreadable: why fragments of the contact could not be read, one reason each.
    """

    skipped: int = 0
    untagged: int = 0
    unreadable: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Follower:
    """Passes one contact's audio from a stream to a sink.

    Attributes:
        contact_id: whose; "" until the first fragment with a ContactId has arrived.
        behind_now_ms: how far behind the stream's newest fragment the last one was.
        end: why it ended.
        left_out: what is not in the audio.
    """

    directions: tuple[Direction, ...]
    contact_id: str = ""
    behind_now_ms: int | None = None
    end: End = End()
    left_out: LeftOut = field(init=False, default_factory=LeftOut)
    _timeline: Timeline = field(init=False)
    _mix_columns: Mix = field(init=False)
    _selection: ContactSelection | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._timeline = Timeline(self.directions)
        self._mix_columns = build_mixer(len(self.directions))

    @property
    def length_ms(self) -> int:
        """The length of the longest track so far."""
        return self._timeline.samples * 1000 // SAMPLE_RATE_HZ

    @property
    def gaps(self) -> int:
        """Holes that were filled with silence."""
        return len(self._timeline.gaps)

    @property
    def fragments(self) -> int:
        """Fragments of the contact."""
        return self._selection.counts.accepted if self._selection else 0

    def record(self, fragments: Iterable[LiveFragment]) -> Iterator[bytes | bytearray]:
        """The contact's PCM, in frames as soon as they are known; ends with the contact."""
        for media in self._select(iter(fragments)):
            try:
                audio = decode_audio(media.fragment, self.directions)
            except MediaError as error:
                self.left_out.unreadable.append(str(error.reason))
                continue
            if audio is not None:
                yield from self._mix(self._timeline.place(audio, media.server_timestamp_ms))

    def finish(self) -> Iterator[bytes | bytearray]:
        """The silence that brings both tracks to one length."""
        yield from self._mix(self._timeline.finish())

    def _select(self, fragments: Iterator[LiveFragment]) -> Iterator[MediaFragment]:
        first = next(filter(self._is_first, fragments), None)
        if first is None:
            return
        (self.contact_id,) = first.media.contact_ids
        self._selection = ContactSelection(FollowedContact(first.media.contact_ids))
        own = self._until_contact_changes(itertools.chain((first,), fragments))
        yield from self._selection.select(own)

    def _is_first(self, live: LiveFragment) -> bool:
        """Whether the contact's fragments begin here; without a ContactId nothing is proved."""
        ids = live.media.contact_ids
        is_first = ids == {self.contact_id} if self.contact_id else len(ids) == 1
        self.left_out.skipped += not is_first
        self.left_out.untagged += not ids
        return is_first

    def _until_contact_changes(self, fragments: Iterable[LiveFragment]) -> Iterator[MediaFragment]:
        for live in fragments:
            if live.media.contact_ids - {self.contact_id}:
                self.end = End("another contact's audio begins")
                return
            self.behind_now_ms = live.behind_now_ms
            yield live.media

    def _mix(self, pieces: dict[Direction, list[Piece]]) -> Iterator[bytes | bytearray]:
        columns = [pieces[direction] for direction in self.directions]
        return self._mix_columns(columns)


def follow_into(
    follower: Follower,
    fragments: Iterable[LiveFragment],
    open_sink: Callable[[str], AbstractContextManager[Sink]],
    report: Callable[[Follower], None],
) -> None:
    """Writes the contact's audio until the contact changes, audio stops, or the user stops it.

    Args:
        follower: collects the results, also for after the end.
        fragments: of the stream, live.
        open_sink: opens the file, given the contact id; called when there is audio.
        report: called for every frame.

    Raises:
        StreamFaultError: KVS refuses, or no fragment of the contact arrived.
        OSError: the file cannot be made.
        KeyboardInterrupt: before there was any audio.
    """
    pcm = _until_end(follower, follower.record(fragments))
    head = next(pcm, None)
    if head is None:
        raise _nothing(follower)
    try:
        with open_sink(follower.contact_id) as sink:
            _write(sink, follower, itertools.chain((head,), pcm), report)
    except BrokenPipeError:
        follower.end = replace(follower.end, why="the output was closed")
        drop_output()


def _write(
    sink: Sink,
    follower: Follower,
    pcm: Iterable[bytes | bytearray],
    report: Callable[[Follower], None],
) -> None:
    """Writes everything, including the final silence; a full disk ends it."""
    try:
        for frames in pcm:
            sink.write(frames)
            report(follower)
        for frames in follower.finish():
            sink.write(frames)
    except BrokenPipeError:
        raise
    except OSError as error:
        follower.end = End("the file cannot be written", error)


def _until_end(follower: Follower, pcm: Iterator[bytes | bytearray]) -> Iterator[bytes | bytearray]:
    """The PCM; however it ends, earlier audio is kept."""
    try:
        yield from pcm
    except StreamIsQuietError:
        follower.end = End("no more audio arrived")
    except TimeLimitError:
        follower.end = End("the time limit was reached")
    except KeyboardInterrupt:
        follower.end = End(INTERRUPTED)
    except (StreamFaultError, BotoCoreError) as error:
        follower.end = End("KVS refused to continue", error)


def _nothing(follower: Follower) -> BaseException:
    """Why there is no audio."""
    if follower.end.why == INTERRUPTED:
        return KeyboardInterrupt()
    if follower.end.failure is not None:
        return follower.end.failure
    whose = f"contact {follower.contact_id}" if follower.contact_id else "any contact"
    untagged = follower.left_out.untagged
    unnamed = f" ({untagged} fragments name no contact)" if untagged else ""
    return StreamFaultError(
        Code.NO_AUDIO,
        f"no audio of {whose} came{unnamed}: {follower.end.why}",
    )


def open_live(
    clients: Clients,
    stream_arn: str,
    idle_s: float,
    limit_s: float | None,
    waiting: Callable[[], AbstractContextManager[None]],
) -> LiveStream:
    """The live stream; it is quiet if nothing arrived for `idle_s`, and ends after `limit_s`."""
    return LiveStream(
        LiveSource(
            stream_arn,
            open_client=partial(_open_client, clients, stream_arn),
            fetch_fragment=partial(fetch_fragment, clients, stream_arn),
            idle_s=idle_s,
            limit_s=limit_s,
            waiting=waiting,
        )
    )


def from_fragment(
    live: LiveStream, number: int, on_lost_start: Callable[[StreamFaultError], None]
) -> Iterator[LiveFragment]:
    """The stream from the given fragment, inclusive; GetMedia itself begins after it.

    Args:
        live: the stream.
        number: of the fragment.
        on_lost_start: called if the fragment is not available: raises, or accepts the rest.

    Raises:
        StreamFaultError: KVS refuses.
    """
    try:
        with live.source.waiting():
            first = live.source.fetch_fragment(number)
    except StreamFaultError as error:
        if error.code not in NOT_THERE:
            raise
        on_lost_start(error)
    else:
        yield LiveFragment(first, None)
    live.last = number
    yield from live.follow(
        {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": str(number)}
    )


def _open_client(clients: Clients, stream_arn: str, idle_s: float) -> KinesisVideoMediaClient:
    region = region_of(stream_arn)
    try:
        endpoint = clients.kinesis_video(region).get_data_endpoint(
            StreamARN=stream_arn, APIName="GET_MEDIA"
        )["DataEndpoint"]
    except ClientError as error:
        raise stream_fault("GetDataEndpoint", error) from error
    return clients.live_media(region, endpoint, idle_s)
