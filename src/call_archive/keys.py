"""The archive's layout: a job → the object keys of its recording and its manifest.

Equal jobs give equal keys. Every id in a key was checked when the job was created (`fields`). The
mark of an erased or held contact has the hash of the contact id in its key, because the mark
outlives the contact's data.
"""

import hashlib
from dataclasses import replace

from call_archive.job import ArchiveJob
from call_archive.moments import to_datetime

_DAY_MS = 86_400_000
_MIDNIGHT_MS = 2_000


def recording_key(prefix: str, job: ArchiveJob) -> str:
    """The S3 key of the job's WAV."""
    return f"{prefix}recordings/{_key_tail(job)}.wav"


def manifest_key(prefix: str, job: ArchiveJob) -> str:
    """The S3 key of the job's manifest."""
    return f"{prefix}manifests/{_key_tail(job)}.json"


def across_midnight(job: ArchiveJob) -> ArchiveJob | None:
    """The job with the other day's keys, if it starts within two seconds of midnight, UTC.

    Connect may round a start time, or cut it to the second: two triggers then name two days.
    """
    into_day_ms = job.start_timestamp_ms % _DAY_MS
    midnight_ms = job.start_timestamp_ms - into_day_ms
    if into_day_ms < _MIDNIGHT_MS:
        return replace(job, start_timestamp_ms=midnight_ms - 1)
    if into_day_ms >= _DAY_MS - _MIDNIGHT_MS:
        return replace(job, start_timestamp_ms=midnight_ms + _DAY_MS)
    return None


def tombstone_key(prefix: str, contact_id: str) -> str:
    """The S3 key of a contact's tombstone: everything of the contact is erased for good."""
    return f"{prefix}tombstones/{_hash(contact_id)}.json"


def hold_key(prefix: str, contact_id: str) -> str:
    """The S3 key of a contact's hold: everything of the contact has to be kept."""
    return f"{prefix}holds/{_hash(contact_id)}.json"


def _hash(contact_id: str) -> str:
    return hashlib.sha256(contact_id.encode()).hexdigest()


def _key_tail(job: ArchiveJob) -> str:
    date = to_datetime(job.start_timestamp_ms)
    return (
        f"year={date:%Y}/month={date:%m}/day={date:%d}/{job.contact_id}/{job.start_fragment_number}"
    )
