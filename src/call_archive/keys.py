"""The archive's layout: a job → the object keys of its recording and its manifest.

Equal jobs give equal keys. Every id in a key was checked when the job was made (`fields`).
"""

from datetime import UTC, datetime

from call_archive.job import ArchiveJob


def recording_key(prefix: str, job: ArchiveJob) -> str:
    """The S3 key of the job's WAV."""
    return f"{prefix}recordings/{_key_tail(job)}.wav"


def manifest_key(prefix: str, job: ArchiveJob) -> str:
    """The S3 key of the job's manifest."""
    return f"{prefix}manifests/{_key_tail(job)}.json"


def _key_tail(job: ArchiveJob) -> str:
    date = datetime.fromtimestamp(job.start_timestamp_ms / 1000, UTC)
    return (
        f"year={date:%Y}/month={date:%m}/day={date:%d}/{job.contact_id}/{job.start_fragment_number}"
    )
