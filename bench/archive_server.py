"""`python -m bench.archive_server RECORDINGS DAYS`: a bucket full of recordings, not measured.

The objects are put into moto's bucket directly, without a request each: 100,000 recordings take
seconds. An object is read directly as well, and a listing looks at its own keys only, as S3's does:
moto's looks at every key of the bucket. Says where it is in the first line that it prints, and ends
with its stdin.
"""

import hashlib
import io
import json
import sys
import wave
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from werkzeug.wrappers import Response

from local.clients import REGION
from local.contact import ACCOUNT
from local.moto_faults import Environ, StartResponse, WsgiApplication
from local.server import LocalAws

BUCKET: Final = "call-archive-bench"
FIRST_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)
START: Final = 91343852333181452199722691242388315377601508574
SECONDS: Final = 0.1


def main(arguments: list[str]) -> None:
    """Serves the bucket until stdin ends."""
    recordings, days = map(int, arguments)
    with LocalAws(wrap=_reading_objects) as aws:
        aws.client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        last = fill(recordings, days)
        place = {"endpoint": aws.endpoint_url, "bucket": BUCKET, "contact": last}
        print(json.dumps(place), flush=True)
        sys.stdin.read()


def _reading_objects(application: WsgiApplication) -> WsgiApplication:
    """Answers GET of an object at once; moto's way to it takes longer than the client measured."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        is_object = environ["REQUEST_METHOD"] == "GET" and path.startswith(f"/{BUCKET}/")
        key = path.removeprefix(f"/{BUCKET}/")
        found = _backend().get_object(BUCKET, key) if is_object and key else None
        if found is None:
            return application(environ, start_response)
        headers = [("ETag", found.etag), ("Content-Length", str(found.contentsize))]
        return Response(found.value, headers=headers)(environ, start_response)

    return answer


def _backend() -> Any:  # noqa: ANN401 - moto's S3Backend
    # Imported here: it takes two seconds.
    from moto.s3.models import s3_backends  # noqa: PLC0415 - see above

    return s3_backends[ACCOUNT]["aws"]


def fill(recordings: int, days: int) -> str:
    """Puts that many recordings and their manifests into the bucket, evenly over the days.

    Returns:
        The contact of the last one.
    """
    backend = _backend()
    wav = _build_wav()
    contact_id = ""
    for number, started in enumerate(_times(recordings, days)):
        contact_id = f"{number:08x}-0000-4000-8000-000000000000"
        tail = f"{started:year=%Y/month=%m/day=%d}/{contact_id}/{START + number}"
        manifest = _build_manifest(contact_id, tail, started, wav)
        backend.put_object(BUCKET, f"recordings/{tail}.wav", wav, disable_notification=True)
        backend.put_object(BUCKET, f"manifests/{tail}.json", manifest, disable_notification=True)
    backend.list_objects = _Listing(sorted(backend.get_bucket(BUCKET).keys)).list_objects
    return contact_id


class _Listing:
    """moto's `list_objects` for the sorted keys of a bucket that does not change."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def list_objects(
        self,
        bucket: Any,  # noqa: ANN401 - moto's
        prefix: str | None,
        delimiter: str | None,
        **_: object,
    ) -> tuple[list[Any], list[str], bool, None]:
        """Keys and folders that begin with the prefix."""
        start = prefix or ""
        keys, folders = [], []
        place = bisect_left(self._names, start)
        while place < len(self._names) and (name := self._names[place]).startswith(start):
            end = name.find(delimiter, len(start)) if delimiter else -1
            if end == -1:
                keys.append(bucket.keys[name])
                place += 1
            else:
                folders.append(name[: end + 1])
                place = bisect_left(self._names, f"{name[:end]}\uffff", place)
        return keys, folders, False, None


def _times(recordings: int, days: int) -> Iterator[datetime]:
    a_day = -(-recordings // days)
    for number in range(recordings):
        day, of_day = divmod(number, a_day)
        yield FIRST_DAY + timedelta(days=day, seconds=of_day * 86_000 // a_day)


def _build_wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(8000)
        recording.writeframes(bytes(round(SECONDS * 16_000)))
    return file.getvalue()


def _build_manifest(contact_id: str, tail: str, started: datetime, wav: bytes) -> bytes:
    """A manifest as ArchiveFunction writes it, of version 1."""
    ended = started + timedelta(seconds=SECONDS)
    return json.dumps(
        {
            "version": 1,
            "contactId": contact_id,
            "initialContactId": contact_id,
            "instanceArn": f"arn:aws:connect:{REGION}:{ACCOUNT}:instance/i-1",
            "streamArn": f"arn:aws:kinesisvideo:{REGION}:{ACCOUNT}:stream/s/1640168106910",
            "recordingUri": f"s3://{BUCKET}/recordings/{tail}.wav",
            "tracks": ["AUDIO_FROM_CUSTOMER"],
            "channels": 1,
            "sampleRateHz": 8000,
            "durationMs": round(SECONDS * 1000),
            "startedAt": f"{started:%Y-%m-%dT%H:%M:%S}.000Z",
            "endedAt": f"{ended:%Y-%m-%dT%H:%M:%S}.{ended.microsecond // 1000:03}Z",
            "bytes": len(wav),
            "sha256": hashlib.sha256(wav).hexdigest(),
            "complete": True,
            "reasons": [],
            "fragments": {
                "listed": 1,
                "received": 1,
                "accepted": 1,
                "foreign": 0,
                "untagged": 0,
                "missing": [],
                "last": tail.rpartition("/")[2],
            },
            "gaps": [],
            "overlaps": [],
            "clockJumps": 0,
            "software": "call-archive 0.1.0",
            "rangeEnd": f"{ended:%Y-%m-%dT%H:%M:%S}.000Z",
            "archivedAt": f"{ended:%Y-%m-%dT%H:%M:%S}.000Z",
            "trigger": "flow",
        }
    ).encode()


if __name__ == "__main__":
    main(sys.argv[1:])
