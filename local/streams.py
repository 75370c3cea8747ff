"""The account's streams: CreateStream, DeleteStream, ListStreams and tags.

A stream is CREATING and DELETING for a while (`Behaviour.creating_ms`, `deleting_ms`), and nothing
but its description can be had until it is ACTIVE. Thread-safe.

Sources: the KVS API reference. How long the two states last is not documented, nor whether a name
can be used again while its stream is DELETING; here it cannot.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

from local.clients import REGION
from local.clock import Clock
from local.contact import ACCOUNT
from local.faults import FaultPlan, ServiceError, invalid_argument
from local.stream import Stream

type Json = dict[str, Any]

VERSION: Final = "Jd5hGpRZKZuVmT1zQbfL"
_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,256}")
_MAX_HOURS: Final = 87_600
_MAX_TAGS: Final = 50
_MAX_PAGE: Final = 10_000
_QUOTA_CODE: Final = "L-F06528A6"


class Streams:
    """Streams by ARN.

    Attributes:
        changed: the lock of everything in here; notified when a fragment or a stream comes or goes.
        faults: replaced with each behaviour.
    """

    def __init__(self, clock: Clock, faults: FaultPlan) -> None:
        self._clock = clock
        self.changed = threading.Condition()
        self.faults = faults
        self._by_arn: dict[str, Stream] = {}

    def add(self, stream: Stream) -> Stream:
        """Adds a stream that exists from the start; an existing one is kept."""
        with self.changed:
            return self._by_arn.setdefault(stream.arn, stream)

    def clear(self) -> None:
        """Forgets all of them."""
        with self.changed:
            self._by_arn.clear()
            self.changed.notify_all()

    def get(self, arn: str) -> Stream:
        """The stream of this ARN.

        Raises:
            KeyError: it was never there.
        """
        with self.changed:
            return self._by_arn[arn]

    def is_there(self, arn: str) -> bool:
        """Whether a stream of this ARN exists and is ACTIVE."""
        with self.changed:
            stream = self._by_arn.get(arn)
            return stream is not None and stream.status(self._clock.now_ms()) == "ACTIVE"

    def find(self, request: Mapping[str, Any], *, is_active: bool = True) -> Stream:
        """The stream that a request names by ARN or name, ACTIVE unless that does not matter."""
        arn, name = request.get("StreamARN"), request.get("StreamName")
        if not arn and not name:
            raise invalid_argument("Either StreamARN or StreamName must be specified.")
        with self.changed:
            for stream in self._present():
                if stream.arn == arn or (not arn and stream.name == name):
                    if is_active and stream.status(self._clock.now_ms()) != "ACTIVE":
                        break
                    return stream
        raise ServiceError(
            404,
            "ResourceNotFoundException",
            f"The requested stream is not found or not active: {arn or name}",
        )

    def create(self, request: Mapping[str, Any]) -> Json:
        """CreateStream."""
        self.faults.refuse("CreateStream")
        name, hours = request.get("StreamName"), request.get("DataRetentionInHours") or 0
        tags = dict(request.get("Tags") or {})
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise invalid_argument(f"StreamName is not valid: {name}")
        if not isinstance(hours, int) or not 0 <= hours <= _MAX_HOURS:
            raise invalid_argument(f"DataRetentionInHours is not valid: {hours}")
        _check_tags(tags)
        now_ms = self._clock.now_ms()
        with self.changed:
            if any(stream.name == name for stream in self._present()):
                raise ServiceError(
                    400, "ResourceInUseException", f"The stream {name} already exists."
                )
            arn = f"arn:aws:kinesisvideo:{REGION}:{ACCOUNT}:stream/{name}/{now_ms}"
            self._by_arn[arn] = Stream(
                arn,
                hours,
                now_ms,
                request.get("KmsKeyId") or _default_key(),
                active_from_ms=now_ms + self.faults.behaviour.creating_ms,
                media_type=request.get("MediaType"),
                tags=tags,
            )
        return {"StreamARN": arn}

    def delete(self, request: Mapping[str, Any]) -> Json:
        """DeleteStream."""
        self.faults.refuse("DeleteStream")
        if not request.get("StreamARN"):
            raise invalid_argument("StreamARN must be specified.")
        if request.get("CurrentVersion") not in (None, VERSION):
            raise ServiceError(400, "VersionMismatchException", "The version differs.")
        stream = self.find(request, is_active=False)
        now_ms = self._clock.now_ms()
        if stream.status(now_ms) != "ACTIVE":
            raise ServiceError(400, "ResourceInUseException", "The stream is not ACTIVE.")
        with self.changed:
            stream.gone_from_ms = now_ms + self.faults.behaviour.deleting_ms
            self.changed.notify_all()
        return {}

    def get_quota(self, request: Mapping[str, Any]) -> Json:
        """GetServiceQuota of Service Quotas, which of all quotas knows the number of streams."""
        self.faults.refuse("GetServiceQuota")
        value, asked = self.faults.behaviour.streams, (request["ServiceCode"], request["QuotaCode"])
        if value is None or asked != ("kinesisvideo", _QUOTA_CODE):
            raise ServiceError(400, "NoSuchResourceException", "The quota is not found.")
        return {
            "Quota": {
                "ServiceCode": "kinesisvideo",
                "QuotaCode": _QUOTA_CODE,
                "QuotaName": "Number of video streams",
                "Value": float(value),
                "Adjustable": True,
                "GlobalQuota": False,
            }
        }

    def list(self, request: Mapping[str, Any]) -> Json:
        """ListStreams, by a prefix of the name if that is asked for."""
        self.faults.refuse("ListStreams")
        condition = request.get("StreamNameCondition") or {}
        if condition and condition.get("ComparisonOperator") != "BEGINS_WITH":
            raise invalid_argument("ComparisonOperator is not valid.")
        prefix = str(condition.get("ComparisonValue") or "")
        size = request.get("MaxResults") or _MAX_PAGE
        after = request.get("NextToken") or ""
        with self.changed:
            found = sorted(
                (stream for stream in self._present() if stream.name.startswith(prefix)),
                key=lambda stream: stream.name,
            )
        found = [stream for stream in found if stream.name > after]
        answer: Json = {"StreamInfoList": [self.describe(stream) for stream in found[:size]]}
        if len(found) > size:
            answer["NextToken"] = found[size - 1].name
        return answer

    def describe(self, stream: Stream) -> Json:
        """StreamInfo."""
        described: Json = {
            "StreamName": stream.name,
            "StreamARN": stream.arn,
            "MediaType": stream.media_type,
            "KmsKeyId": stream.kms_key_id,
            "Version": VERSION,
            "Status": stream.status(self._clock.now_ms()),
            "CreationTime": stream.created_ms / 1000,
            "DataRetentionInHours": stream.retention_hours,
        }
        return {name: value for name, value in described.items() if value is not None}

    def tag(self, request: Mapping[str, Any]) -> Json:
        """TagStream."""
        self.faults.refuse("TagStream")
        stream = self.find(request, is_active=False)
        tags = stream.tags | dict(request.get("Tags") or {})
        _check_tags(tags)
        with self.changed:
            stream.tags = tags
        return {}

    def list_tags(self, request: Mapping[str, Any]) -> Json:
        """ListTagsForStream."""
        self.faults.refuse("ListTagsForStream")
        return {"Tags": dict(self.find(request, is_active=False).tags)}

    def _present(self) -> Iterator[Stream]:
        now_ms = self._clock.now_ms()
        return (stream for stream in self._by_arn.values() if stream.status(now_ms) != "GONE")


def _default_key() -> str:
    return f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/aws/kinesisvideo"


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > _MAX_TAGS:
        raise ServiceError(400, "TagsPerResourceExceededLimitException", "Too many tags.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise invalid_argument(f"the tag {key} is not valid")
