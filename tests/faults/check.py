"""What was sent and what is left → a verdict, by plain reading: wave, struct, json, hashlib.

Nothing of the code under test is used, and nothing of the encoder: where a sample belongs is
worked out here from the samples and the plan's `Delivery`.
"""

import hashlib
import io
import json
import struct
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.faults.drive import Outcome
from tests.faults.plan import Plan

type Json = dict[str, Any]

WRONGS: Final = (
    "lost",
    "foreign samples",
    "wrong samples",
    "duplicates",
    "incomplete and not said",
    "ended nowhere",
    "left behind",
    "function errors",
)
"""What must never happen."""

_BYTES_PER_MS: Final = 16
_STEP: Final = 320


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a call.

    Attributes:
        result: `complete`, `incomplete`, `told` (no recording, and the failed-jobs queue says why),
            or `not streamed`.
        wrongs: which of WRONGS happened, and how it showed.
    """

    result: str
    wrongs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Said:
    """One fragment's samples of one track, and where they belong, in bytes."""

    fragment: int
    at: int
    pcm: bytes


def judge(plan: Plan, outcome: Outcome) -> Verdict:
    """The verdict on one call."""
    wrongs = [("function errors", error) for error in outcome.errors]
    if not outcome.ended:
        wrongs.append(("ended nowhere", "messages are still in the queue"))
    if outcome.uploads:
        wrongs.append(("left behind", f"{outcome.uploads} multipart uploads"))
    recordings = [key for key in outcome.objects if key.endswith(".wav")]
    manifests = [key for key in outcome.objects if key.endswith(".json")]
    if len(recordings) > 1 or len(manifests) > 1:
        wrongs.append(("duplicates", f"{len(recordings)} recordings, {len(manifests)} manifests"))
    # S3 may take a recording and no manifest: readers begin at the manifest, and a job tells of it.
    is_told = bool(plan.moto_faults and outcome.failed and not manifests)
    if len(recordings) != len(manifests) and not is_told:
        wrongs.append(("left behind", "a recording without a manifest, or the reverse"))
    result = "told" if outcome.failed else "not streamed"
    if recordings and manifests:
        manifest = json.loads(outcome.objects[manifests[0]])
        result = "complete" if manifest["complete"] is True else "incomplete"
        wrongs += _judge_recording(plan, outcome, manifest, outcome.objects[recordings[0]])
    elif plan.is_streamed and not outcome.failed:
        wrongs.append(("lost", "no recording, and nobody is told"))
    wrongs += _judge_failures(plan, outcome)
    return Verdict(result, tuple(wrongs))


def _judge_failures(plan: Plan, outcome: Outcome) -> Iterator[tuple[str, str]]:
    for body, attributes in outcome.failed:
        if not attributes.get("code") or not attributes.get("reason"):
            yield "incomplete and not said", "a failed job without its reason"
        if plan.call.contact_id not in json.dumps(body):
            yield "lost", "a failed job that is not the message that came"


def _judge_recording(
    plan: Plan, outcome: Outcome, manifest: Json, content: bytes
) -> Iterator[tuple[str, str]]:
    channels = _read_channels(content, 2 if plan.tracks == "both" else 1)
    sides = (plan.customer, plan.agent)[: len(channels)]
    said = [list(_said(side, plan)) for side in sides]
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        yield "wrong samples", "the manifest's hash is another recording's"
    if manifest["complete"]:
        expected = _whole(said)
        if channels != expected:
            at = _first_difference(b"".join(channels), b"".join(expected))
            foreign = _has_foreign(plan, channels)
            kind = "foreign samples" if foreign else "wrong samples"
            yield kind, f"complete, and differs from what was said at byte {at}"
        return
    codes = [attributes.get("code") for _, attributes in outcome.failed]
    if not manifest["reasons"] or "INCOMPLETE" not in codes:
        yield "incomplete and not said", f"reasons {manifest['reasons']}, failed jobs {codes}"
    heard = _align(channels, said)
    if heard is None:
        kind = "foreign samples" if _has_foreign(plan, channels) else "wrong samples"
        yield kind, "incomplete, and holds what was not said, or not there"
        return
    silent = {piece.fragment for piece in said[0] if any(piece.pcm)} - heard
    fragments = manifest["fragments"]
    named = set(map(int, fragments["missing"]))
    unnamed = [at for at in sorted(silent) if _number(plan, at) not in named]
    if len(unnamed) > fragments["untagged"] + len(manifest["reasons"]) - bool(named):
        yield "incomplete and not said", f"fragments {unnamed} are silent and not named"


def _read_channels(content: bytes, count: int) -> list[bytes]:
    with wave.open(io.BytesIO(content)) as recording:
        if recording.getparams()[:3] != (count, 2, 8000):
            return [b"not the recording's format"] * count
        frames = recording.readframes(recording.getnframes())
    samples = struct.unpack(f"<{len(frames) // 2}h", frames)
    return [
        struct.pack(f"<{len(samples) // count}h", *samples[channel::count])
        for channel in range(count)
    ]


def _said(side: bytes, plan: Plan) -> Iterator[_Said]:
    """Where each of a side's fragments belongs; lost ones are left out."""
    delivery = plan.delivery
    length = max(len(plan.customer), len(plan.agent))
    block = delivery.block_bytes
    blocks = round(delivery.fragment_ms * _BYTES_PER_MS / block)
    index, start, at = 0, 0, 0
    while start < length:
        at += delivery.holes_ms.get(index, 0) * _BYTES_PER_MS
        if index in delivery.without_cluster:
            index += 1
            continue
        missing = block - delivery.short_blocks.get(index, block)
        stop = min(start + blocks * block - missing, length)
        if index not in delivery.lost:
            pcm = _gridded(side[start:stop], blocks // 2 * block, block, missing)
            yield _Said(index, at, pcm)
        at += stop - start + missing
        index, start = index + 1, stop


def _gridded(pcm: bytes, short_at: int, block: int, missing: int) -> bytes:
    """A fragment with the silence that a short block leaves behind it."""
    if not missing or len(pcm) <= short_at:
        return pcm
    end = short_at + block - missing
    return pcm[:end] + bytes(missing) + pcm[end:] if len(pcm) > end else pcm


def _whole(said: Sequence[Sequence[_Said]]) -> list[bytes]:
    """The channels of a recording that holds everything."""
    origin = said[0][0].at
    end = max(piece.at + len(piece.pcm) for side in said for piece in side)
    return [_lay(side, origin, end) for side in said]


def _lay(side: Sequence[_Said], origin: int, end: int) -> bytes:
    channel = bytearray(end - origin)
    for piece in side:
        begin = piece.at - origin
        channel[begin : begin + len(piece.pcm)] = piece.pcm
    return bytes(channel)


def _align(channels: Sequence[bytes], said: Sequence[Sequence[_Said]]) -> set[int] | None:
    """The fragments that are heard, if all audio but silence is right; None if it is not.

    An incomplete recording begins with any of the fragments.
    """
    end = max(piece.at + len(piece.pcm) for side in said for piece in side)
    for first in said[0]:
        truth = [_lay_from(side, first.at, end) for side in said]
        pairs = list(zip(channels, truth, strict=True))
        if all(_is_part(channel, expected) for channel, expected in pairs):
            begin = first.at
            return {
                piece.fragment
                for piece in said[0]
                if piece.at >= begin and any(channels[0][piece.at - begin :][: len(piece.pcm)])
            }
    return None


def _lay_from(side: Sequence[_Said], origin: int, end: int) -> bytes:
    return _lay([piece for piece in side if piece.at >= origin], origin, end)


def _is_part(channel: bytes, expected: bytes) -> bool:
    """Whether every sample is the expected one, or silence."""
    if len(channel) > len(expected):
        return False
    for at in range(0, len(channel), _STEP):
        step, right = channel[at : at + _STEP], expected[at : at + _STEP]
        if step in (right[: len(step)], bytes(len(step))):
            continue
        for sample in range(0, len(step), 2):
            heard = step[sample : sample + 2]
            if heard not in (right[sample : sample + 2], b"\0\0"):
                return False
    return True


def _has_foreign(plan: Plan, channels: Sequence[bytes]) -> bool:
    """Whether a neighbour's samples are in it: their audio carries its seed every 1,024 bytes."""
    markers = [
        struct.pack("<II", (seed + other) & 0xFFFF_FFFF, position)
        for seed in plan.neighbour_seeds
        for other in (0, 1_000_000_007)
        for position in range(32)
    ]
    return any(marker in channel for marker in markers for channel in channels)


def _number(plan: Plan, index: int) -> int:
    """The fragment number of the index in the call, from 0, lost ones counted."""
    lost = sum(1 for at in plan.delivery.lost if at < index)
    return plan.call.fragments[index - lost].number


def _first_difference(one: bytes, other: bytes) -> int:
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return at
    return min(len(one), len(other))
