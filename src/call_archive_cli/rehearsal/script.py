"""Two voices → what three contacts say, fragment by fragment, and what has to be in the recording.

Every fragment holds 16 blocks of both tracks, 1.024 s, so that the three calls end with whole
fragments and the recording can be compared sample by sample. The middle contact is the one to
archive; the others are there to be left out. The one before speaks backwards and the one behind has
its samples inverted, so that no two of them have a second in common.
"""

import wave
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, NamedTuple

from call_archive_cli.rehearsal.matroska import (
    FROM_CUSTOMER,
    TO_CUSTOMER,
    TRACK_NUMBERS,
    Block,
    build_fragment,
)

PREFIX: Final = "rehearsal-"
"""What every contact id of a rehearsal begins with."""

BLOCKS: Final = 16
BLOCK_BYTES: Final = 1024
BLOCK_MS: Final = 64
FRAGMENT_MS: Final = BLOCKS * BLOCK_MS
FRAGMENT_BYTES: Final = BLOCKS * BLOCK_BYTES
FRAGMENTS: Final = (8, 11, 8)
"""Of the three calls: 8.2, 11.3 and 8.2 s."""

ARCHIVED: Final = 1
FAST_S: Final = 0.22
"""Between two fragments with --fast: KVS takes five a second."""

_PAUSE_MS: Final = 500
_INVERTED: Final = bytes(range(255, -1, -1))
"""Every bit of a sample turned over: its negative, less one."""

_FIRST_FRAGMENT: Final = (2, 0, 5)


class Voices(NamedTuple):
    """PCM of the customer and of the agent: 8 kHz, 16-bit little-endian, mono, of one length."""

    customer: bytes
    agent: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """One contact's call.

    Attributes:
        starts_ms: when its first block was spoken, since the epoch.
    """

    contact_id: str
    instance_id: str
    starts_ms: int
    voices: Voices

    @property
    def timecodes_ms(self) -> list[int]:
        """When each of its fragments starts."""
        count = len(self.voices.customer) // FRAGMENT_BYTES
        return [self.starts_ms + index * FRAGMENT_MS for index in range(count)]

    @property
    def ends_ms(self) -> int:
        """When its last block ends."""
        return self.timecodes_ms[-1] + FRAGMENT_MS

    def fragments(self) -> Iterator[bytes]:
        """Each fragment, encoded."""
        # As Connect tags its fragments; the values of both AUDIO_* tags are constants.
        tags = {
            "ContactId": self.contact_id,
            "InstanceId": self.instance_id,
            "MimeType": "audio/L16;rate=8000;channels=1;",
            FROM_CUSTOMER: "1",
            TO_CUSTOMER: "2",
            "Events": "[]",
        }
        for index, timecode_ms in enumerate(self.timecodes_ms):
            yield build_fragment(timecode_ms, self._blocks(index * FRAGMENT_BYTES), tags)

    def _blocks(self, start: int) -> Iterator[Block]:
        for place in range(BLOCKS):
            at = start + place * BLOCK_BYTES
            for name, pcm in zip(TRACK_NUMBERS, self.voices, strict=True):
                yield Block(TRACK_NUMBERS[name], place * BLOCK_MS, pcm[at : at + BLOCK_BYTES])


@dataclass(frozen=True, slots=True)
class Script:
    """What is said on one stream, in order."""

    run_id: str
    calls: tuple[Said, ...]

    @property
    def archived(self) -> Said:
        """The call that is to be archived."""
        return self.calls[ARCHIVED]

    @property
    def others(self) -> tuple[Said, ...]:
        """Those of which nothing may be in the recording."""
        return tuple(call for call in self.calls if call is not self.archived)

    def expected_pcm(self, *, stereo: bool) -> bytes:
        """The samples of the recording: the customer's, or customer left and agent right."""
        customer, agent = self.archived.voices
        if not stereo:
            return customer
        return b"".join(
            customer[at : at + 2] + agent[at : at + 2] for at in range(0, len(customer), 2)
        )


def contact_ids(run_id: str) -> list[str]:
    """The ids of a run's three contacts."""
    return [f"{PREFIX}{run_id}-{place}" for place in range(1, len(FRAGMENTS) + 1)]


def duration_ms() -> int:
    """From the first block of the first call to the last of the last one."""
    return sum(FRAGMENTS) * FRAGMENT_MS + (len(FRAGMENTS) - 1) * _PAUSE_MS


def build_script(voices: Voices, run_id: str, instance_id: str, starts_ms: int) -> Script:
    """The calls of one run, the first of which begins at `starts_ms`."""
    spoken = (
        Voices(_reverse(voices.customer), _reverse(voices.agent)),
        voices,
        Voices(voices.customer.translate(_INVERTED), voices.agent.translate(_INVERTED)),
    )
    calls = []
    for place, (contact_id, count) in enumerate(zip(contact_ids(run_id), FRAGMENTS, strict=True)):
        speaking = spoken[place]
        start = _FIRST_FRAGMENT[place] * FRAGMENT_BYTES
        stop = start + count * FRAGMENT_BYTES
        cut = Voices(speaking.customer[start:stop], speaking.agent[start:stop])
        calls.append(Said(contact_id, instance_id, starts_ms, cut))
        starts_ms = calls[-1].ends_ms + _PAUSE_MS
    return Script(run_id, tuple(calls))


def read_voices() -> Voices:
    """The two voices of the package; both are synthesized, not a person's."""
    return Voices(_read("caller.wav"), _read("agent.wav"))


def _reverse(pcm: bytes) -> bytes:
    """The samples, last first; two bytes each, whatever the machine's byte order."""
    return array("H", pcm)[::-1].tobytes()


def _read(name: str) -> bytes:
    with (
        files(__package__).joinpath("voices", name).open("rb") as file,
        wave.open(file, "rb") as voice,
    ):
        return bytes(voice.readframes(voice.getnframes()))
