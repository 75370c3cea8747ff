"""docs/schemas and the code agree: on what is written, on what is read, on what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from call_archive.errors import ArchiveError
from call_archive.job import build_job_message, decode_job
from call_archive.media.pcm import Direction
from call_archive.recording.manifest import encode_manifest, read_manifest
from tests.support.manifests import older_manifest
from tests.support.schemas import FOLDER, document, schema
from tests.support.stretch import Kind, Media, body_of, new_world

MANIFEST, JOB, ANSWER = schema("manifest"), schema("archive-job"), schema("flow-answer")
VALUES: tuple[Any, ...] = (None, "x", "1", 1, -1, 1.5, True, [], {}, [1], ["1"], {"a": 1})


def test_every_schema_is_tested_here() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {"manifest", "archive-job", "flow-answer"}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("media", Media)
def test_manifests_that_are_written(kind: Kind, media: Media) -> None:
    world = new_world(media, tuple(Direction))
    world.play(kind)
    manifest = world.archive.bucket.manifest
    MANIFEST.validate(manifest)
    assert manifest is not None
    described = document("manifest")["properties"]
    assert manifest.keys() == described.keys()
    assert manifest["fragments"].keys() == described["fragments"]["properties"].keys()
    assert encode_manifest(read_manifest(manifest)) == manifest


def test_older_manifests_and_unknown_keys() -> None:
    MANIFEST.validate(older_manifest())
    MANIFEST.validate(older_manifest(mood="good"))


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("key", older_manifest())
def test_schema_refuses_what_the_decoder_refuses(key: str, value: object) -> None:
    document = older_manifest(**{key: value})
    if isinstance(value, str) and key.endswith(("At", "End")):
        return  # jsonschema checks times only with another package
    try:
        read_manifest(document)
    except ArchiveError:
        assert not MANIFEST.is_valid(document)
    else:
        MANIFEST.validate(document)


def jobs() -> list[dict[str, Any]]:
    written = [json.loads(body_of(kind, Media.WHOLE)) for kind in Kind]
    return [job for job in written if job.get("kind") == "ArchiveJob"]


@pytest.mark.parametrize("job", jobs(), ids=lambda job: str(len(job)))
def test_jobs_that_are_queued(job: dict[str, Any]) -> None:
    JOB.validate(job)
    JOB.validate(job | {"mood": "good"})
    decoded = decode_job(job)
    JOB.validate(build_job_message(decoded))
    JOB.validate(build_job_message(replace(decoded, stop_timestamp_ms=None)))


@pytest.mark.parametrize("key", ["kind", "version", "contactId", "startFragmentNumber"])
def test_jobs_without_what_they_need(key: str) -> None:
    job = jobs()[0]
    del job[key]
    assert not JOB.is_valid(job)


def test_answers_to_the_flow() -> None:
    """The function's own are validated in tests/integration/test_flow_limits.py."""
    answer = dict.fromkeys(document("flow-answer")["required"], "")
    answer["archiveStatus"] = "NONE"
    ANSWER.validate(answer)
    assert not ANSWER.is_valid({**answer, "reason": None})
    assert not ANSWER.is_valid({"mediaStreaming": "STARTED"})
