"""How fast a stream may be asked for media: within KVS's quota, in any one second."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FRAGMENTS_PER_S = 500
"""Of a stream, over all calls: KVS counts a list's fragments when it is asked for, and refuses
what is more (service quotas, "Fragment-media quota")."""


class MediaPace:
    """Keeps what is asked of a stream within its quota, in any one second; one call at a time.

    A call counts from its answer on: KVS has counted it by then, however long it was on its way.
    """

    def __init__(
        self,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sleep = sleep
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._asked: deque[tuple[float, int]] = deque()

    @contextlib.contextmanager
    def turn(self, fragments: int) -> Iterator[None]:
        """Waits until so many more may be asked for; the call is to be made inside."""
        with self._lock:
            while self._asked and self._spent() + fragments > FRAGMENTS_PER_S:
                answered_s, _ = self._asked.popleft()
                wait_s = answered_s + 1 - self._monotonic()
                if wait_s > 0:
                    self._sleep(wait_s)
            try:
                yield
            finally:
                self._asked.append((self._monotonic(), fragments))

    def _spent(self) -> int:
        return sum(fragments for _, fragments in self._asked)
