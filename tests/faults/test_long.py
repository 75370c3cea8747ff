"""A long call whose every body is reset on the way: hours of fragments, and each once."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from local.behaviour import UNLIMITED, BodyFault
from local.call import simulate_call
from local.demo_call import INSTANCE_ARN, STREAM_ARN
from local.pcm import SyntheticPcm, synthetic_pcm
from tests.integration.journey import CONTACT_ID, RESOURCES, START_MS, WAV_HEADER_BYTES, Journey

MIB = 1_048_576


def _slices(pcm: SyntheticPcm) -> Iterator[bytes]:
    for start in range(0, len(pcm), MIB):
        yield pcm[start : start + MIB]


@pytest.mark.parametrize(
    "hours", [0.2, pytest.param(12, marks=pytest.mark.long)], ids=lambda hours: f"{hours}h"
)
def test_hours_of_bodies_that_are_reset(mono_process: Journey, hours: float) -> None:
    said = synthetic_pcm(hours * 3600, seed=5)
    one = simulate_call(
        said,
        None,
        contact_id=CONTACT_ID,
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=START_MS,
        first_sequence=4001,
    )
    mono_process.aws.place(one)
    # A body holds 250 fragments, 4 MB of one track.
    mono_process.aws.behaviour = replace(
        UNLIMITED, page_limit=700, body_faults=(BodyFault(3_000_000, "reset", times=None),)
    )
    assert mono_process.archive(one)
    manifest = mono_process.manifest()
    assert manifest["complete"] is True
    assert manifest["fragments"]["accepted"] == len(one.fragments)
    assert (manifest["gaps"], manifest["overlaps"]) == ([], [])
    (key,) = [key for key in mono_process.keys() if key.endswith(".wav")]  # noqa: SIM118 - our own method
    body = mono_process.s3.get_object(Bucket=RESOURCES.bucket, Key=key)["Body"]
    body.read(WAV_HEADER_BYTES)
    heard, expected = hashlib.sha256(), hashlib.sha256()
    for piece in body.iter_chunks(MIB):
        heard.update(piece)
    for piece in _slices(said):
        expected.update(piece)
    assert heard.digest() == expected.digest()
