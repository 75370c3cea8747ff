"""Amazon Connect's searches for contacts, and what it says of an instance: storage and functions.

Contacts come out by the time that was asked for, latest first, page by page; a page's token holds
the place of the next one. The service refuses a range of more than eight weeks, a page of more
than 100, and more than one call in two seconds (`search_contacts_calls_per_s`).

Sources: SearchContacts, ListAssociatedContacts, ListInstances, ListInstanceStorageConfigs,
DescribeInstanceStorageConfig and ListLambdaFunctions in the Amazon Connect API reference; "Amazon
Connect service quotas". How the service words its refusals is not documented.
"""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from local.clients import REGION
from local.contact import ACCOUNT
from local.faults import FaultPlan, ServiceError

type Json = dict[str, Any]

MAX_RANGE_S: Final = 8 * 7 * 86_400
MAX_PAGE: Final = 100
_MAX_CONFIGS: Final = 10
_MAX_INSTANCES: Final = 10
_MAX_FUNCTIONS: Final = 25
_TIMES: Final = {
    "INITIATION_TIMESTAMP": "InitiationTimestamp",
    "SCHEDULED_TIMESTAMP": "ScheduledTimestamp",
    "CONNECTED_TO_AGENT_TIMESTAMP": "ConnectedToAgentTimestamp",
    "DISCONNECT_TIMESTAMP": "DisconnectTimestamp",
    "ENQUEUE_TIMESTAMP": "EnqueueTimestamp",
}
_SUMMARY: Final = (
    "Arn",
    "Id",
    "InitialContactId",
    "PreviousContactId",
    "InitiationMethod",
    "Channel",
    "InitiationTimestamp",
    "DisconnectTimestamp",
    "ScheduledTimestamp",
    "Tags",
)


class SlowRate:
    """At most this many calls a second, also if that is less than one."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._next_s = 0.0

    def admits(self, calls_per_s: float | None) -> bool:
        """Counts a call, if it is within the limit, and says whether it is."""
        if calls_per_s is None:
            return True
        with self._lock:
            now = self._monotonic()
            if now < self._next_s:
                return False
            self._next_s = now + 1 / calls_per_s
            return True


class ContactSearch:
    """SearchContacts over the contacts that DescribeContact knows.

    Args:
        contacts: the `Contact` objects of an instance, by its id.
        faults: the behaviour of now.
    """

    def __init__(
        self, contacts: Callable[[str], Iterable[Json]], faults: Callable[[], FaultPlan]
    ) -> None:
        self._contacts = contacts
        self._faults = faults
        self._rate = SlowRate()

    def search(self, request: Mapping[str, Any]) -> Json:
        """SearchContacts."""
        faults = self._faults()
        faults.refuse("SearchContacts")
        if not self._rate.admits(faults.behaviour.search_contacts_calls_per_s):
            raise ServiceError(429, "ThrottlingException", "Too Many Requests")
        found = self._find(request)
        size = _page_size(request.get("MaxResults"), MAX_PAGE, MAX_PAGE)
        start = _decode_token(request.get("NextToken"))
        answer: Json = {
            "Contacts": [
                {name: contact[name] for name in _SUMMARY if name in contact}
                for contact in found[start : start + size]
            ],
            "TotalCount": len(found),
        }
        if start + size < len(found):
            answer["NextToken"] = _encode_token(start + size)
        return answer

    def list_associated(self, instance_id: str, request: Mapping[str, Any]) -> Json:
        """ListAssociatedContacts: every contact that shares the contact's initial contact."""
        self._faults().refuse("ListAssociatedContacts")
        contacts = list(self._contacts(instance_id))
        asked = request.get("contactId")
        initial = next((c["InitialContactId"] for c in contacts if c["Id"] == asked), None)
        if initial is None:
            raise ServiceError(404, "ResourceNotFoundException", "Contact not found")
        found = [
            {
                "ContactId": contact["Id"],
                "ContactArn": contact["Arn"],
                "InitialContactId": initial,
                "InitiationTimestamp": contact["InitiationTimestamp"],
                "DisconnectTimestamp": contact["DisconnectTimestamp"],
                "InitiationMethod": contact["InitiationMethod"],
                "Channel": contact["Channel"],
            }
            for contact in contacts
            if initial in (contact["Id"], contact["InitialContactId"])
        ]
        size = _page_size(request.get("maxResults"), MAX_PAGE, MAX_PAGE)
        start = _decode_token(request.get("nextToken"))
        answer: Json = {"ContactSummaryList": found[start : start + size]}
        if start + size < len(found):
            answer["NextToken"] = _encode_token(start + size)
        return answer

    def _find(self, request: Mapping[str, Any]) -> list[Json]:
        time_name, start_s, end_s = _time_range(request.get("TimeRange"))
        channels = (request.get("SearchCriteria") or {}).get("Channels")
        found = [
            contact
            for contact in self._contacts(str(request.get("InstanceId", "")))
            if start_s <= contact.get(time_name, -1.0) <= end_s
            and (not channels or contact["Channel"] in channels)
        ]
        return sorted(found, key=lambda contact: float(contact[time_name]), reverse=True)


class Instances:
    """What the operator has set up: media storage and functions, by instance id."""

    def __init__(self, faults: Callable[[], FaultPlan]) -> None:
        self._faults = faults
        self.storage: dict[str, list[Json]] = {}
        self.functions: dict[str, list[str]] = {}

    def stream_media(self, instance_id: str, **video: Any) -> None:  # noqa: ANN401 - JSON
        """Turns live media streaming on, with these keys of KinesisVideoStreamConfig."""
        config = {
            "Prefix": "call-archive-connect-demo-contact-",
            "RetentionPeriodHours": 24,
            "EncryptionConfig": {
                "EncryptionType": "KMS",
                "KeyId": "arn:aws:kms:eu-west-2:123456789012:alias/aws/kinesisvideo",
            },
        }
        self.storage[instance_id] = [
            {
                "AssociationId": f"{instance_id}-media-streams",
                "StorageType": "KINESIS_VIDEO_STREAM",
                "KinesisVideoStreamConfig": config | video,
            }
        ]

    def reset(self) -> None:
        """Forgets everything."""
        self.storage.clear()
        self.functions.clear()

    def list_instances(self, query: Mapping[str, str]) -> Json:
        """ListInstances: every instance that has storage or functions."""
        self._faults().refuse("ListInstances")
        known = sorted({*self.storage, *self.functions})
        instances = [
            {
                "Id": instance_id,
                "Arn": f"arn:aws:connect:{REGION}:{ACCOUNT}:instance/{instance_id}",
                "IdentityManagementType": "CONNECT_MANAGED",
                "InstanceAlias": "my-instance" if number == 1 else f"my-instance-{number}",
                "InstanceStatus": "ACTIVE",
                "InboundCallsEnabled": True,
                "OutboundCallsEnabled": True,
            }
            for number, instance_id in enumerate(known, 1)
        ]
        return _page("InstanceSummaryList", instances, query, _MAX_INSTANCES)

    def list_storage(self, instance_id: str, query: Mapping[str, str]) -> Json:
        """ListInstanceStorageConfigs."""
        self._faults().refuse("ListInstanceStorageConfigs")
        if "resourceType" not in query:
            raise ServiceError(400, "InvalidParameterException", "resourceType is required")
        configs = self._media_storage(instance_id, query)
        return _page("StorageConfigs", configs, query, _MAX_CONFIGS)

    def describe_storage(
        self, instance_id: str, association_id: str, query: Mapping[str, str]
    ) -> Json:
        """DescribeInstanceStorageConfig."""
        for config in self._media_storage(instance_id, query):
            if config["AssociationId"] == association_id:
                return {"StorageConfig": config}
        raise ServiceError(404, "ResourceNotFoundException", "Storage config not found")

    def list_functions(self, instance_id: str, query: Mapping[str, str]) -> Json:
        """ListLambdaFunctions."""
        self._faults().refuse("ListLambdaFunctions")
        functions = self.functions.get(instance_id, [])
        return _page("LambdaFunctions", functions, query, _MAX_FUNCTIONS)

    def _media_storage(self, instance_id: str, query: Mapping[str, str]) -> list[Json]:
        is_media = query.get("resourceType") == "MEDIA_STREAMS"
        return self.storage.get(instance_id, []) if is_media else []


def _time_range(time_range: object) -> tuple[str, float, float]:
    if not isinstance(time_range, dict) or not {"Type", "StartTime", "EndTime"} <= set(time_range):
        raise ServiceError(
            400, "InvalidParameterException", "TimeRange needs Type, StartTime and EndTime"
        )
    if time_range["Type"] not in _TIMES:
        raise ServiceError(400, "InvalidParameterException", "TimeRange has an unknown Type")
    start_s, end_s = float(time_range["StartTime"]), float(time_range["EndTime"])
    if not 0 <= end_s - start_s <= MAX_RANGE_S:
        raise ServiceError(
            400, "InvalidRequestException", "TimeRange has to be between 0 and 8 weeks"
        )
    return _TIMES[time_range["Type"]], start_s, end_s


def _page(name: str, entries: Sequence[object], query: Mapping[str, str], most: int) -> Json:
    size = _page_size(query.get("maxResults"), most, most)
    start = _decode_token(query.get("nextToken"))
    answer: Json = {name: entries[start : start + size]}
    if start + size < len(entries):
        answer["NextToken"] = _encode_token(start + size)
    return answer


def _page_size(wanted: object, default: int, most: int) -> int:
    size = default if wanted is None else int(str(wanted))
    if not 1 <= size <= most:
        raise ServiceError(400, "InvalidParameterException", f"MaxResults is from 1 to {most}")
    return size


def _encode_token(place: int) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _decode_token(token: object) -> int:
    if token is None:
        return 0
    try:
        return int(json.loads(base64.urlsafe_b64decode(str(token))))
    except ValueError as error:
        raise ServiceError(400, "InvalidParameterException", "NextToken is invalid") from error
