"""Work on several threads, with results in order; an interrupted program does not wait for them."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from types import TracebackType


class Pool:
    """Threads that end with the process, whatever they wait for.

    `ThreadPoolExecutor` waits for every thread, in `shutdown` and again when the process ends: a
    person who presses Ctrl-C would wait for downloads that are no longer needed.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def __enter__(self) -> Self:
        for _ in range(self.threads):
            threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for _ in range(self.threads):
            self._tasks.put(None)

    def submit[U](self, work: Callable[..., U], *arguments: Any) -> Future[U]:  # noqa: ANN401 - the work's own
        """Starts the work as soon as a thread is free."""
        future: Future[U] = Future()

        def task() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work(*arguments))
            except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
                future.set_exception(error)

        self._tasks.put(task)
        return future

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()


def ahead[T, U](
    pool: Pool, work: Callable[[T], U], things: Iterable[T], window: int
) -> Generator[U]:
    """The results of the work, in order, with a limited number in flight."""
    started: deque[Future[U]] = deque()
    try:
        for thing in things:
            started.append(pool.submit(work, thing))
            if len(started) == window:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()
    finally:
        for future in started:
            future.cancel()
