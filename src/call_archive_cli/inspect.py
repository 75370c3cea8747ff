"""A media body or a range of a stream → its content and its problems, in words."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from call_archive.errors import MediaError
from call_archive.limits import MIN_TIMESTAMP_MS
from call_archive.media.fragments import Ending, read_fragments
from call_archive.media.likeness import MediaFragment, decode_audio, decode_fragment
from call_archive.media.matroska import decode_tags, decode_track_names
from call_archive.media.pcm import SAMPLE_BYTES, Direction, FragmentAudio
from call_archive.recording.clock import JITTER_NS
from call_archive.recording.listing import FetchedFragment, ListedFragment, MissingFragment
from call_archive_cli.streams import describe_stream, moment, open_reader

if TYPE_CHECKING:
    from call_archive_cli.clients import Clients

READ_BYTES: Final = 65_536
NS_PER_MS: Final = 1_000_000
CLOCK_OFF_MS: Final = 5_000
"""How far the producer's clock may differ from the server's without a finding."""

MOST_ROWS: Final = 1_000
"""Runs that are kept; `--json` has every fragment."""

MOST_CONTACTS: Final = 1_000
MOST_KINDS: Final = 20
"""Different problems, codes or names that are listed; more are counted together."""

EBML_MAGIC: Final = bytes.fromhex("1A45DFA3")
_OWN_TAGS: Final = ("AWS_KINESISVIDEO_", "ContactId")


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedFragment:
    """One fragment, in figures.

    Attributes:
        number: "" if the tags leave it out.
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


type Report = Callable[[InspectedFragment], None]


@dataclass(slots=True)
class Run:
    """Fragments in a row that are alike: they differ in nothing but their time.

    Attributes:
        first: the place of its first fragment, from 1.
        last: of its last one.
        fragment: the first one.
        length_ms: of all.
    """

    first: int
    last: int
    fragment: InspectedFragment
    length_ms: int

    def goes_on_with(self, fragment: InspectedFragment) -> bool:
        """Whether the fragment is like those of the run, and follows without a gap."""
        return not fragment.gap_ms and _likeness(self.fragment) == _likeness(fragment)


@dataclass(slots=True)
class ContactFigures:
    """Figures of one contact.

    Attributes:
        start_ms: of its first fragment that has audio.
        first: the number of its first fragment; "" if none has one.
        last: of its last one.
    """

    fragments: int = 0
    length_ms: int = 0
    start_ms: int | None = None
    first: str = ""
    last: str = ""

    def add(self, fragment: InspectedFragment) -> None:
        """Counts a fragment."""
        self.fragments += 1
        self.length_ms += fragment.length_ms or 0
        if self.start_ms is None:
            self.start_ms = fragment.start_ms
        self.first = self.first or fragment.number
        self.last = fragment.number or self.last


@dataclass(slots=True)
class Unreadable:
    """What could not be read: error documents, problems, fragments that the body's end cut."""

    faults: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    cut: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Times:
    """What the clocks say.

    Attributes:
        gaps_ms: how many, and their length in all.
        overlaps_ms: the same.
        offsets_ms: the producer's clock less the server's, of the first fragments.
        is_relative: the producer counts from its own beginning.
    """

    gaps_ms: list[int] = field(default_factory=lambda: [0, 0])
    overlaps_ms: list[int] = field(default_factory=lambda: [0, 0])
    offsets_ms: list[int] = field(default_factory=list)
    is_relative: bool = False


@dataclass(slots=True)
class Figures:
    """Counts over all fragments, from which the findings are made."""

    fragments: int = 0
    readable: int = 0
    with_audio: int = 0
    untagged: int = 0
    strange_tracks: set[str] = field(default_factory=set)
    unreadable: Unreadable = field(default_factory=Unreadable)
    times: Times = field(default_factory=Times)


class Inspection:
    """What was found in one body or range, gathered fragment by fragment.

    Only what a person can read is kept, whatever the number of fragments: `report` gets each one.

    Attributes:
        runs: at most `MOST_ROWS`, in the order of the body, or by number.
        contacts: ContactId → its figures; "" for fragments without one; at most `MOST_CONTACTS`.
        findings: what is wrong, a sentence each, with what to do.
    """

    def __init__(self, report: Callable[[InspectedFragment], None] = lambda _: None) -> None:
        self.runs: list[Run] = []
        self.contacts: dict[str, ContactFigures] = {}
        self.findings: list[str] = []
        self.figures = Figures()
        self._report = report
        self._before: InspectedFragment | None = None
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
        self._add(
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
        """Adds a fragment that is listed but not delivered."""
        self._add(InspectedFragment(number=str(missing.number), problem=str(missing.reason)))

    def note(self, finding: str) -> None:
        """Adds a finding of the whole."""
        self.findings.append(finding)

    def conclude(self, if_empty: str) -> None:
        """Adds the findings that the fragments give; without any, only `if_empty`."""
        self.findings += _conclude(self.figures, self.contacts) if self.runs else [if_empty]

    def _add(self, fragment: InspectedFragment) -> None:
        self._report(fragment)
        self.figures.fragments += 1
        place = self.figures.fragments
        if self.runs and self.runs[-1].last == place - 1 and self.runs[-1].goes_on_with(fragment):
            self.runs[-1].last = place
            self.runs[-1].length_ms += fragment.length_ms or 0
        elif len(self.runs) < MOST_ROWS:
            self.runs.append(Run(place, place, fragment, fragment.length_ms or 0))
        _count(self.figures, fragment, self._before)
        if not fragment.fault and not fragment.problem:
            self._before = fragment
        if not fragment.fault:
            for contact_id in fragment.contact_ids or [""]:
                if contact_id in self.contacts or len(self.contacts) < MOST_CONTACTS:
                    self.contacts.setdefault(contact_id, ContactFigures()).add(fragment)

    def _gap_ms(self, audio: FragmentAudio | None) -> int | None:
        if audio is None:
            return None
        before, self._end_ns = self._end_ns, audio.end_ns
        if before is None or abs(audio.start_ns - before) < JITTER_NS:
            return None if before is None else 0
        return (audio.start_ns - before) // NS_PER_MS


def _likeness(fragment: InspectedFragment) -> tuple[object, ...]:
    return (
        fragment.contact_ids,
        fragment.length_ms,
        fragment.tracks,
        fragment.samples,
        fragment.fault,
        fragment.problem,
        fragment.ending == Ending.TRUNCATED,
    )


def _count(figures: Figures, fragment: InspectedFragment, before: InspectedFragment | None) -> None:
    _count_one(figures.unreadable.faults, fragment.fault)
    _count_one(figures.unreadable.problems, fragment.problem)
    if fragment.ending == Ending.TRUNCATED and len(figures.unreadable.cut) < MOST_KINDS:
        figures.unreadable.cut.append(fragment.number or "?")
    if fragment.fault or fragment.problem:
        return
    figures.readable += 1
    figures.with_audio += bool(fragment.samples)
    figures.untagged += not fragment.contact_ids
    if len(figures.strange_tracks) < MOST_KINDS:
        figures.strange_tracks |= set(fragment.tracks.values()) - set(Direction)
    if fragment.gap_ms and before is not None and before.contact_ids == fragment.contact_ids:
        holes = figures.times.gaps_ms if fragment.gap_ms > 0 else figures.times.overlaps_ms
        holes[0] += 1
        holes[1] += abs(fragment.gap_ms)
    if (
        fragment.start_ms is not None
        and fragment.server_timestamp_ms is not None
        and len(figures.times.offsets_ms) < MOST_ROWS
    ):
        figures.times.offsets_ms.append(fragment.start_ms - fragment.server_timestamp_ms)
    if figures.readable == 1:
        figures.times.is_relative = (fragment.start_ms or 0) < MIN_TIMESTAMP_MS


def _count_one(counts: Counter[str], what: str) -> None:
    if what:
        counts[what if what in counts or len(counts) < MOST_KINDS else "others"] += 1


def inspect_body(file: BinaryIO, report: Report = lambda _: None) -> Inspection:
    """Inspects a saved body of GetMedia or GetMediaForFragmentList."""
    inspection = Inspection(report)
    head = file.read(READ_BYTES)
    if stranger := _stranger(head):
        inspection.note(stranger)
        return inspection
    try:
        for fragment in read_fragments(chain((head,), iter(lambda: file.read(READ_BYTES), b""))):
            inspection.take(decode_fragment(fragment))
    except MediaError as error:
        inspection.note(f"{error.reason}: what follows could not be read")
    inspection.conclude("there is no fragment in this file: it was cut, or is not a media body")
    return inspection


def _stranger(head: bytes) -> str:
    """What a file is if it is not a media body; "" if it may be one."""
    if not head:
        return "the file is empty: KVS sent nothing, or nothing was saved"
    if head.startswith((b"RIFF", b"RF64")):
        return "this is a WAV, a recording, not a media body: a player or `report` shows what it is"
    if head[:1] in b"{[":
        return "this is JSON, not a media body: perhaps an error response of KVS"
    if not head.startswith(EBML_MAGIC[: len(head)]):
        return "this is not a media body: it does not begin with an EBML header (1A 45 DF A3)"
    return ""


def inspect_file(path: Path, report: Report = lambda _: None) -> Inspection:
    """Inspects a saved media body in a file.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return inspect_body(file, report)


def inspect_stream(
    clients: "Clients", stream_arn: str, from_ms: int, to_ms: int, report: Report = lambda _: None
) -> Inspection:
    """Inspects a time range of a stream, by the server's clock.

    Raises:
        StreamFaultError: KVS refuses, for example because the retention is 0.
    """
    inspection = Inspection(report)
    retention_hours = describe_stream(clients, stream_arn).retention_hours
    if retention_hours == 0:
        inspection.note(
            "the stream's retention is 0: KVS keeps no archive, so nothing can be shown or "
            "fetched; set 24 h in the Connect console under Data storage, Live media streaming"
        )
        return inspection
    reader = open_reader(clients, stream_arn)
    listed = sorted(set(reader.list_fragments(from_ms, to_ms)), key=_number)
    for delivery in reader.fetch(listed):
        _take(inspection, delivery)
    inspection.conclude(
        f"no fragment came from {moment(from_ms):%Y-%m-%d %H:%M:%S} to "
        f"{moment(to_ms):%Y-%m-%d %H:%M:%S} UTC: nothing was streamed then, or it is older than "
        f"the stream's retention of {retention_hours} h; give --from and --to to search elsewhere"
    )
    return inspection


def _number(listed: ListedFragment) -> int:
    return listed.number


def _take(inspection: Inspection, delivery: FetchedFragment) -> None:
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


def _conclude(figures: Figures, contacts: Mapping[str, ContactFigures]) -> Iterator[str]:
    yield from _fault_findings(figures)
    if not figures.readable:
        return
    if not figures.with_audio:
        yield "no fragment holds audio: streaming was not started for this participant"
        return
    yield from _contact_findings(figures, contacts)
    yield from _time_findings(figures)


def _fault_findings(figures: Figures) -> Iterator[str]:
    for code, times in figures.unreadable.faults.items():
        advice = (
            "KVS cannot use the stream's KMS key: allow kms:Decrypt, and enable the key"
            if code.startswith("45")
            else "try again: a second or third request often succeeds"
        )
        yield f"error document {code} in place of {times} fragment(s): {advice}"
    for problem, times in figures.unreadable.problems.items():
        yield f"{times} fragment(s) cannot be read: {problem}"
    if cut := ", ".join(figures.unreadable.cut):
        yield f"the body ends inside fragment {cut}: the connection was cut"


def _contact_findings(figures: Figures, contacts: Mapping[str, ContactFigures]) -> Iterator[str]:
    owners = sum(bool(contact_id) for contact_id in contacts)
    if owners > 1:
        more = " or more" if len(contacts) == MOST_CONTACTS else ""
        yield (
            f"the audio of {owners}{more} contacts is in here: a stream is reused for the next "
            "call, so every fragment has to be judged by its ContactId"
        )
    if figures.untagged:
        yield f"{figures.untagged} fragment(s) carry no ContactId, so their contact is unknown"
    if figures.strange_tracks:
        names = ", ".join(sorted(figures.strange_tracks)) or "(none)"
        yield f"tracks of unknown names: {names}"


def _time_findings(figures: Figures) -> Iterator[str]:
    number, total_ms = figures.times.gaps_ms
    if number:
        yield f"{number} gap(s), {total_ms:,} ms in all"
    number, total_ms = figures.times.overlaps_ms
    if number:
        yield f"{number} overlap(s) or repeats, {total_ms:,} ms in all"
    offsets = figures.times.offsets_ms
    if offsets and abs(offset := offsets[len(offsets) // 2]) > CLOCK_OFF_MS:
        kind = "is relative" if figures.times.is_relative else "is off"
        yield f"the producer's clock {kind}: {offset:,} ms from the server's"
