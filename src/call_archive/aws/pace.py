"""Paces requests for a stream's media: within KVS's quota in any one second."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FRAGMENTS_PER_S = 500
"""For a stream, over all calls: KVS counts a list's fragments when it receives the request, and
refuses requests over the quota (service quotas, "Fragment-media quota")."""


class MediaPace:
    """Keeps requests to a stream within its quota in any one second, one call at a time.

    A call counts from its response on: KVS has counted it by then, however long it took.
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
        """Waits until the quota allows this many more fragments; make the call inside the block."""
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
