"""A live stream → one contact's audio, as it is spoken.

What AWS's Java sample (LMSDemo, LMSExample, LMSFrameProcessor) does, with the first fragment
included, across the 45 minutes of a GetMedia call, and only until the contact changes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import ClientError

from call_archive import aws
from call_archive.errors import MediaError, StreamFaultError
from call_archive.job import region_of
from call_archive.kvs import fault
from call_archive.matroska import Direction, MediaFragment, decode_audio
from call_archive.selection import ContactSelection
from call_archive.timeline import Timeline
from call_archive.wav import Piece, StereoMixer, write_mono
from call_archive_cli.clients import live_media_client
from call_archive_cli.live import LiveFragment, LiveStream, StreamIsQuietError
from call_archive_cli.streams import fetch_fragment

if TYPE_CHECKING:
    from collections.abc import Buffer, Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from mypy_boto3_kinesis_video_media import KinesisVideoMediaClient
    from mypy_boto3_kinesis_video_media.type_defs import StartSelectorTypeDef


class Sink(Protocol):
    """Takes frames of PCM."""

    def write(self, pcm: Buffer) -> None:
        """The next frames."""


@dataclass(frozen=True, slots=True)
class FollowedContact:
    """Whose fragments are taken; where they end is not known."""

    contact_ids: frozenset[str]
    stop_fragment_number: None = None


@dataclass(slots=True)
class Follower:
    """One contact's audio on its way from a stream to a sink.

    Attributes:
        contact_id: whose; "" until the first fragment with a ContactId has come.
        samples: audio so far, of a channel.
        behind_now_ms: how far behind the stream's newest fragment the last one was.
        skipped: fragments before the contact's first one.
        ended_by: why it ended, in words.
        unreadable: why fragments of the contact could not be read, one reason each.
    """

    directions: tuple[Direction, ...]
    contact_id: str = ""
    behind_now_ms: int | None = None
    skipped: int = 0
    ended_by: str = ""
    unreadable: list[str] = field(default_factory=list)
    _timeline: Timeline = field(init=False)
    _mixer: StereoMixer = field(default_factory=StereoMixer)
    _selection: ContactSelection | None = None

    def __post_init__(self) -> None:
        self._timeline = Timeline(self.directions)

    @property
    def samples(self) -> int:
        """Samples of the longest track so far."""
        return self._timeline.samples

    @property
    def gaps(self) -> int:
        """Holes that were filled with silence."""
        return len(self._timeline.gaps)

    @property
    def fragments(self) -> int:
        """Fragments of the contact."""
        return self._selection.accepted if self._selection else 0

    def record(self, fragments: Iterable[LiveFragment]) -> Iterator[bytes | bytearray]:
        """The contact's PCM, frame by frame as far as it is known; ends with the contact."""
        for media in self._select(iter(fragments)):
            try:
                audio = decode_audio(media.fragment, self.directions)
            except MediaError as error:
                self.unreadable.append(error.reason)
                continue
            if audio is not None:
                yield from self._mix(self._timeline.place(audio, media.server_timestamp_ms))

    def finish(self) -> Iterator[bytes | bytearray]:
        """What brings both tracks to one length."""
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
        """Whether the contact's fragments begin here; one without a ContactId proves nothing."""
        ids = live.media.contact_ids
        is_first = ids == {self.contact_id} if self.contact_id else len(ids) == 1
        self.skipped += not is_first
        return is_first

    def _until_contact_changes(self, fragments: Iterable[LiveFragment]) -> Iterator[MediaFragment]:
        for live in fragments:
            if live.media.contact_ids - {self.contact_id}:
                self.ended_by = "another contact's audio begins"
                return
            self.behind_now_ms = live.behind_now_ms
            yield live.media

    def _mix(self, pieces: dict[Direction, list[Piece]]) -> Iterator[bytes | bytearray]:
        columns = [pieces[direction] for direction in self.directions]
        return self._mixer.mix(*columns) if len(columns) > 1 else write_mono(columns[0])


def follow_into(
    follower: Follower,
    fragments: Iterable[LiveFragment],
    open_sink: Callable[[str], AbstractContextManager[Sink]],
    report: Callable[[Follower], None],
) -> None:
    """Writes the contact's audio until the contact changes, nothing comes, or Ctrl-C.

    Args:
        follower: what was found, also after the end.
        fragments: of the stream, live.
        open_sink: opens the file, given the contact id; called when there is audio.
        report: told of every fragment.

    Raises:
        StreamFaultError: KVS refuses, or no fragment of the contact ever came.
        OSError: the file cannot be written.
    """
    pcm = _quietly(follower, follower.record(fragments))
    head = next(pcm, None)
    if head is None:
        whose = f"contact {follower.contact_id}" if follower.contact_id else "any contact"
        raise StreamFaultError(
            "NO_AUDIO", f"no audio of {whose} came: {follower.ended_by or 'the stream ended'}"
        )
    with open_sink(follower.contact_id) as sink:
        try:
            for frames in itertools.chain((head,), pcm):
                sink.write(frames)
                report(follower)
        except KeyboardInterrupt:
            follower.ended_by = "interrupted"
        for frames in follower.finish():
            sink.write(frames)


def _quietly(follower: Follower, pcm: Iterator[bytes | bytearray]) -> Iterator[bytes | bytearray]:
    """The PCM; a stream on which nothing more comes is an end like any other."""
    try:
        yield from pcm
    except StreamIsQuietError:
        follower.ended_by = "nothing more came"


def open_live(stream_arn: str, idle_s: float) -> LiveStream:
    """The stream, live; it is quiet when nothing came for `idle_s`."""
    return LiveStream(stream_arn, partial(_open_client, stream_arn, idle_s))


def from_fragment(live: LiveStream, number: int) -> Iterator[LiveFragment]:
    """The stream from the given fragment on, inclusive: GetMedia itself begins behind it.

    Raises:
        StreamFaultError: KVS does not have the fragment, keeps no archive, or refuses.
    """
    yield LiveFragment(fetch_fragment(live.stream_arn, number), None)
    live.last = number
    yield from live.follow(
        {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": str(number)}
    )


def from_selector(live: LiveStream, selector: StartSelectorTypeDef) -> Iterator[LiveFragment]:
    """The stream from a time on, from its first fragment, or from this moment."""
    return live.follow(selector)


def _open_client(stream_arn: str, idle_s: float) -> KinesisVideoMediaClient:
    region = region_of(stream_arn)
    try:
        endpoint = aws.kinesis_video_client(region).get_data_endpoint(
            StreamARN=stream_arn, APIName="GET_MEDIA"
        )["DataEndpoint"]
    except ClientError as error:
        raise fault("GetDataEndpoint", error) from error
    return live_media_client(region, endpoint, idle_s)
