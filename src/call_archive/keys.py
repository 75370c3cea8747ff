"""The archive's layout: a job → the object keys of its recording and its manifest.

Equal jobs give equal keys. Every id in a key was checked when the job was made (`fields`).
"""

from call_archive.job import ArchiveJob
from call_archive.moments import to_datetime


def recording_key(prefix: str, job: ArchiveJob) -> str:
    """The S3 key of the job's WAV."""
    return f"{prefix}recordings/{_key_tail(job)}.wav"


def manifest_key(prefix: str, job: ArchiveJob) -> str:
    """The S3 key of the job's manifest."""
    return f"{prefix}manifests/{_key_tail(job)}.json"


def _key_tail(job: ArchiveJob) -> str:
    date = to_datetime(job.start_timestamp_ms)
    return (
        f"year={date:%Y}/month={date:%m}/day={date:%d}/{job.contact_id}/{job.start_fragment_number}"
    )
