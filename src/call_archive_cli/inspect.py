"""A media body or a range of a stream → what is in it, and in words what is wrong with it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from call_archive.errors import MediaError
from call_archive.limits import MIN_TIMESTAMP_MS
from call_archive.media.fragments import Ending, read_fragments
from call_archive.media.likeness import MediaFragment, decode_audio, decode_fragment
from call_archive.media.matroska import decode_tags, decode_track_names
from call_archive.media.pcm import SAMPLE_BYTES, Direction, FragmentAudio
from call_archive.recording.clock import JITTER_NS
from call_archive.recording.listing import Delivery, ListedFragment, MissingFragment
from call_archive_cli.streams import describe_stream, open_reader

if TYPE_CHECKING:
    from call_archive_cli.clients import Clients

READ_BYTES: Final = 65_536
NS_PER_MS: Final = 1_000_000
CLOCK_OFF_MS: Final = 5_000
"""How far the producer's clock may be off the server's before it is worth a word."""

EBML_MAGIC: Final = bytes.fromhex("1A45DFA3")
_OWN_TAGS: Final = ("AWS_KINESISVIDEO_", "ContactId")


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedFragment:
    """One fragment, in figures.

    Attributes:
        number: "" where the tags leave it out.
        contact_ids: of its ContactId tags.
        server_timestamp_ms: when KVS received it.
        start_ms: of its first block, on the producer's clock.
        length_ms: from there to the end of its last block.
        gap_ms: between the end of the fragment before it and its start; negative for an overlap.
        tracks: number and Name of each TrackEntry.
        samples: of each direction.
        tags: the others.
        ending: whole, open or truncated.
        fault: code of an error document.
        problem: why it cannot be read.
    """

    number: str = ""
    contact_ids: list[str] = field(default_factory=list)
    server_timestamp_ms: int | None = None
    start_ms: int | None = None
    length_ms: int | None = None
    gap_ms: int | None = None
    tracks: dict[int, str] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 0
    ending: str = ""
    fault: str = ""
    problem: str = ""

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


class Inspection:
    """What was found in one body or range, gathered fragment by fragment.

    Attributes:
        fragments: in the order of the body, or by number.
        findings: what is wrong, a sentence each, with what to do.
    """

    def __init__(self) -> None:
        self.fragments: list[InspectedFragment] = []
        self.findings: list[str] = []
        self._end_ns: int | None = None

    def take(self, media: MediaFragment) -> None:
        """Adds a fragment."""
        try:
            tags = dict(decode_tags(media.fragment))
            tracks = dict(decode_track_names(media.fragment))
            audio = decode_audio(media.fragment, tuple(Direction))
            problem = ""
        except MediaError as error:
            tags, tracks, audio, problem = {}, {}, None, str(error.reason)
        self.fragments.append(
            InspectedFragment(
                number="" if media.number is None else str(media.number),
                contact_ids=sorted(media.contact_ids),
                server_timestamp_ms=media.server_timestamp_ms,
                start_ms=None if audio is None else audio.start_ns // NS_PER_MS,
                length_ms=None if audio is None else (audio.end_ns - audio.start_ns) // NS_PER_MS,
                gap_ms=self._gap_ms(audio),
                tracks=tracks,
                samples=_samples(audio),
                tags={name: tags[name] for name in tags if not name.startswith(_OWN_TAGS)},
                size_bytes=len(media.fragment.document),
                ending=media.fragment.ending,
                fault=media.fault_code,
                problem=problem,
            )
        )

    def miss(self, missing: MissingFragment) -> None:
        """Adds a fragment that is listed and does not come."""
        self.fragments.append(
            InspectedFragment(number=str(missing.number), problem=str(missing.reason))
        )

    def note(self, finding: str) -> None:
        """Adds a finding of the whole."""
        self.findings.append(finding)

    def conclude(self) -> None:
        """Adds the findings that the fragments give."""
        self.findings += _conclude(self.fragments)

    def contacts(self) -> Counter[str]:
        """ContactId → fragments; "" for those without."""
        return Counter(
            contact_id
            for fragment in self.fragments
            if not fragment.fault
            for contact_id in fragment.contact_ids or [""]
        )

    def _gap_ms(self, audio: FragmentAudio | None) -> int | None:
        if audio is None:
            return None
        before, self._end_ns = self._end_ns, audio.end_ns
        if before is None or abs(audio.start_ns - before) < JITTER_NS:
            return None if before is None else 0
        return (audio.start_ns - before) // NS_PER_MS


def inspect_body(file: BinaryIO) -> Inspection:
    """What a saved body of GetMedia or GetMediaForFragmentList holds."""
    inspection = Inspection()
    head = file.read(READ_BYTES)
    if stranger := _stranger(head):
        inspection.note(stranger)
        return inspection
    try:
        for fragment in read_fragments(chain((head,), iter(lambda: file.read(READ_BYTES), b""))):
            inspection.take(decode_fragment(fragment))
    except MediaError as error:
        inspection.note(f"{error.reason}: what follows could not be read")
    inspection.conclude()
    return inspection


def _stranger(head: bytes) -> str:
    """What a file is that begins so, and is no media body; "" for one that may be."""
    if not head:
        return "the file is empty: KVS sent nothing, or nothing was saved"
    if head.startswith((b"RIFF", b"RF64")):
        return "this is a WAV, a recording, not a media body: a player or `report` shows what it is"
    if head[:1] in b"{[":
        return "this is JSON, not a media body: perhaps the error that KVS answered"
    if not head.startswith(EBML_MAGIC[: len(head)]):
        return "this is no media body: it does not begin with an EBML header (1A 45 DF A3)"
    return ""


def inspect_file(path: Path) -> Inspection:
    """As `inspect_body`.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return inspect_body(file)


def inspect_stream(clients: "Clients", stream_arn: str, from_ms: int, to_ms: int) -> Inspection:
    """What a stream holds of a time, by the server's clock.

    Raises:
        StreamFaultError: KVS refuses; it does not keep an archive, for one.
    """
    inspection = Inspection()
    if describe_stream(clients, stream_arn).retention_hours == 0:
        inspection.note(
            "the stream's retention is 0: KVS keeps no archive, so nothing can be shown or "
            "fetched; set 24 h in the Connect console under Data storage, Live media streaming"
        )
        return inspection
    reader = open_reader(clients, stream_arn)
    listed = sorted(set(reader.list_fragments(from_ms, to_ms)), key=_number)
    for delivery in reader.fetch(listed):
        _take(inspection, delivery)
    inspection.conclude()
    return inspection


def _number(listed: ListedFragment) -> int:
    return listed.number


def _take(inspection: Inspection, delivery: Delivery) -> None:
    if isinstance(delivery, MissingFragment):
        inspection.miss(delivery)
    else:
        inspection.take(delivery.media)


def _samples(audio: FragmentAudio | None) -> dict[str, int]:
    if audio is None:
        return {}
    return {
        str(direction): sum(len(span.pcm) // SAMPLE_BYTES for span in spans)
        for direction, spans in audio.spans.items()
    }


def _conclude(fragments: list[InspectedFragment]) -> Iterator[str]:
    media = [fragment for fragment in fragments if not fragment.fault and not fragment.problem]
    if not fragments:
        yield "there is no fragment: nothing was streamed, or retention has removed it"
        return
    yield from _fault_findings(fragments)
    if not media:
        return
    if not any(fragment.samples for fragment in media):
        yield "no fragment holds audio: streaming was not started for this participant"
        return
    yield from _contact_findings(media)
    yield from _time_findings(media)


def _fault_findings(fragments: list[InspectedFragment]) -> Iterator[str]:
    for code, times in Counter(f.fault for f in fragments if f.fault).items():
        advice = (
            "KVS cannot use the stream's KMS key: allow kms:Decrypt, and enable the key"
            if code.startswith("45")
            else "ask again: it is often gone at the second or third try"
        )
        yield f"error document {code} in place of {times} fragment(s): {advice}"
    for problem, times in Counter(f.problem for f in fragments if f.problem).items():
        yield f"{times} fragment(s) cannot be read: {problem}"
    cut = [f.number or "?" for f in fragments if f.ending == Ending.TRUNCATED]
    if cut:
        yield f"the body ends inside fragment {', '.join(cut)}: the connection was cut"


def _contact_findings(media: list[InspectedFragment]) -> Iterator[str]:
    owners = {contact_id for fragment in media for contact_id in fragment.contact_ids}
    if len(owners) > 1:
        yield (
            f"the audio of {len(owners)} contacts is in here: a stream is used again for the next "
            "call, so every fragment has to be judged by its ContactId"
        )
    untagged = sum(not fragment.contact_ids for fragment in media)
    if untagged:
        yield f"{untagged} fragment(s) carry no ContactId: they do not say whose they are"
    names = {name for fragment in media for name in fragment.tracks.values()}
    unknown = names - set(Direction)
    if unknown:
        yield f"tracks of unknown names: {', '.join(sorted(unknown)) or '(none)'}"


def _time_findings(media: list[InspectedFragment]) -> Iterator[str]:
    inside = [
        after.gap_ms
        for before, after in pairwise(media)
        if after.gap_ms and before.contact_ids == after.contact_ids
    ]
    holes = [gap_ms for gap_ms in inside if gap_ms > 0]
    if holes:
        yield f"{len(holes)} gap(s), {sum(holes):,} ms in all"
    overlaps = [-gap_ms for gap_ms in inside if gap_ms < 0]
    if overlaps:
        yield f"{len(overlaps)} overlap(s) or repeats, {sum(overlaps):,} ms in all"
    offsets = [
        f.start_ms - f.server_timestamp_ms
        for f in media
        if f.start_ms is not None and f.server_timestamp_ms is not None
    ]
    if offsets and abs(offset := offsets[len(offsets) // 2]) > CLOCK_OFF_MS:
        kind = "is relative" if (media[0].start_ms or 0) < MIN_TIMESTAMP_MS else "is off"
        yield f"the producer's clock {kind}: {offset:,} ms from the server's"
