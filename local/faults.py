"""The service's refusals as an exception, and the count of the faults that a behaviour asks for."""

import threading
from collections import Counter

from local.behaviour import Api, Behaviour, BodyFault, CallFault, FragmentFault

type Fault = FragmentFault | BodyFault | CallFault


class ServiceError(Exception):
    """The service's answer is an error, with this status, type and message."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message


def invalid_argument(message: str) -> ServiceError:
    """The refusal of a request that is wrong in itself."""
    return ServiceError(400, "InvalidArgumentException", message)


class BodyResetError(Exception):
    """The connection is to be reset here, in the middle of the body."""


class FaultPlan:
    """A behaviour and how much of each of its faults has been used."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._lock = threading.Lock()
        self._used: Counter[Fault] = Counter()

    def refuse(self, api: Api) -> None:
        """Raises the ServiceError that a call fault wants for this call."""
        for fault in self.behaviour.call_faults:
            if fault.api == api and self.use(fault):
                raise ServiceError(fault.status, fault.error_type, fault.message)

    def fragment_fault(self, api: Api, number: int) -> FragmentFault | None:
        """The fault that strikes this fragment now, used up once."""
        for fault in self.behaviour.fragment_faults:
            if fault.api == api and fault.number in (None, number) and self.use(fault):
                return fault
        return None

    def body_faults(self, api: Api) -> list[BodyFault]:
        """The faults of this API's bodies, the earliest first; `use` the one that strikes."""
        faults = [fault for fault in self.behaviour.body_faults if fault.api == api]
        return sorted(faults, key=lambda fault: fault.after_bytes)

    def use(self, fault: Fault) -> bool:
        """Counts one use and says whether the fault still had one."""
        with self._lock:
            if fault.times is not None and self._used[fault] >= fault.times:
                return False
            self._used[fault] += 1
            return True
