"""Ctrl-C and SIGTERM, accepted only while the command waits, so that nothing is half done."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """For the time of a `with`: a signal ends the waiting, and nothing else.

    A second signal is an ordinary KeyboardInterrupt, wherever it comes.
    """

    def __init__(self) -> None:
        self._is_requested = False
        self._is_waiting = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python allows handlers only in the main thread; other threads receive no Ctrl-C.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A context manager around a wait for the network.

        Raises:
            KeyboardInterrupt: a signal came, in here or before.
        """
        self._is_waiting = True
        try:
            if self._is_requested:
                raise KeyboardInterrupt
            yield
        finally:
            self._is_waiting = False

    def _take(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        is_second, self._is_requested = self._is_requested, True
        if self._is_waiting or is_second:
            raise KeyboardInterrupt
