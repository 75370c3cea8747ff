"""Amazon Connect without HTTP: registered contacts → DescribeContact's and SearchContacts' answers.

How soon after a call its Recordings are filled is undocumented: here from the contact's end plus a
delay on, by the clock that was given. Before that the key is there and its list is empty.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.clock import Clock
from local.contact import Contact
from local.contact_search import ContactSearch, Instances
from local.faults import FaultPlan, ServiceError
from local.quotas import RateLimit

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Registration:
    body: Json
    ended_ms: int
    recordings_from_ms: int | None


class Connect:
    """The service: contacts by instance and id.

    Attributes:
        search: SearchContacts.
        instances: what is set up for each instance.
    """

    def __init__(self, clock: Clock, faults: Callable[[], FaultPlan]) -> None:
        self._clock = clock
        self._faults = faults
        self._lock = threading.Lock()
        self._contacts: dict[tuple[str, str], _Registration] = {}
        self._rates = RateLimit()
        self.search = ContactSearch(self._of_instance, faults)
        self.instances = Instances(faults)

    def register(
        self,
        contact: Contact,
        *,
        recordings_from_ms: int | None = None,
        is_streamed: bool = True,
    ) -> None:
        """Makes a contact known, with Recordings from `recordings_from_ms` on, if given.

        A contact that was streamed more than once has all its recordings, in the order given.
        """
        key = (contact.instance_id, contact.contact_id)
        body = contact.describe_contact()
        if not is_streamed:
            body["Contact"]["Recordings"] = []
        with self._lock:
            if key in self._contacts:
                earlier = self._contacts[key].body["Contact"]["Recordings"]
                recordings = body["Contact"]["Recordings"]
                recordings[:0] = [entry for entry in earlier if entry not in recordings]
            self._contacts[key] = _Registration(body, contact.stop_timestamp_ms, recordings_from_ms)

    def reset(self) -> None:
        """Forgets all contacts and counts."""
        with self._lock:
            self._contacts.clear()
            self._rates = RateLimit()
            self.search = ContactSearch(self._of_instance, self._faults)
            self.instances.reset()

    def describe_contact(self, instance_id: str, contact_id: str) -> Json:
        """DescribeContact."""
        faults = self._faults()
        faults.refuse("DescribeContact")
        if not self._rates.admits("account", faults.behaviour.describe_contact_calls_per_s):
            raise ServiceError(429, "ThrottlingException", "Too Many Requests")
        key = (instance_id, contact_id)
        with self._lock:
            known = self._contacts.get(key)
        if known is None:
            raise ServiceError(404, "ResourceNotFoundException", "Contact not found")
        from_ms = known.recordings_from_ms
        if from_ms is None:
            from_ms = known.ended_ms + faults.behaviour.recordings_delay_ms
        if self._clock.now_ms() >= from_ms:
            return known.body
        return {"Contact": {**known.body["Contact"], "Recordings": []}}

    def _of_instance(self, instance_id: str) -> list[Json]:
        with self._lock:
            return [
                known.body["Contact"]
                for (instance, _), known in self._contacts.items()
                if instance == instance_id
            ]
