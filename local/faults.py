"""The service's refusals as an exception, and the count of the faults that a behaviour asks for."""

import threading
from collections import Counter
from collections.abc import Sequence

from local.behaviour import (
    Api,
    Behaviour,
    BodyFault,
    Breakage,
    CallFault,
    ClockFault,
    ConnectionFault,
    EndpointFault,
    FragmentFault,
    PageFault,
    PutMediaFault,
)

type Fault = (
    FragmentFault
    | BodyFault
    | CallFault
    | ConnectionFault
    | EndpointFault
    | PageFault
    | ClockFault
    | PutMediaFault
)


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


class BrokenConnectionError(Exception):
    """The connection is to break here."""

    def __init__(self, kind: Breakage) -> None:
        super().__init__(kind)
        self.kind = kind


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

    def connection_fault(self, api: str) -> ConnectionFault | None:
        """The fault that breaks the connection of this call, used up once."""
        return self._strike(self.behaviour.connection_faults, api)

    def clock_fault(self, api: str) -> ClockFault | None:
        """The fault that moves the clock at this call, used up once."""
        return self._strike(self.behaviour.clock_faults, api)

    def endpoint_fault(self) -> EndpointFault | None:
        """The fault of the data endpoint that is about to be named, used up once."""
        return next(filter(self.use, self.behaviour.endpoint_faults), None)

    def page_fault(self, page: int) -> PageFault | None:
        """The fault of a listing's page, counted from 0, used up once."""
        for fault in self.behaviour.page_faults:
            if fault.page in (None, page) and self.use(fault):
                return fault
        return None

    def fragment_fault(self, api: Api, number: int) -> FragmentFault | None:
        """The fault that strikes this fragment now, used up once."""
        for fault in self.behaviour.fragment_faults:
            if fault.api == api and fault.number in (None, number) and self.use(fault):
                return fault
        return None

    def put_media_fault(self, fragment: int) -> PutMediaFault | None:
        """The fault of a PutMedia session's fragment, counted from 0, used up once."""
        for fault in self.behaviour.put_media_faults:
            if fault.after_fragments == fragment and self.use(fault):
                return fault
        return None

    def body_faults(self, api: Api) -> list[BodyFault]:
        """The faults of this API's bodies, the earliest first; `use` the one that strikes."""
        faults = [fault for fault in self.behaviour.body_faults if fault.api == api]
        return sorted(faults, key=lambda fault: fault.after_bytes)

    def _strike[F: (ConnectionFault, ClockFault)](self, faults: Sequence[F], api: str) -> F | None:
        return next((fault for fault in faults if fault.api == api and self.use(fault)), None)

    def use(self, fault: Fault) -> bool:
        """Counts one use and says whether the fault still had one."""
        with self._lock:
            if fault.times is not None and self._used[fault] >= fault.times:
                return False
            self._used[fault] += 1
            return True
