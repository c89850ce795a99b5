"""Threads for sync handlers.

They are daemons, so a handler that hangs cannot keep the interpreter from ending, and a thread that
is given up no longer counts against the limit: a hanging handler does not starve the others.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

_Job = tuple[Callable[[], Any], contextvars.Context, asyncio.AbstractEventLoop, asyncio.Future[Any]]


class Threads:
    """At most `limit` threads, made when they are needed and kept for the next job."""

    def __init__(self, limit: int) -> None:
        self._free = asyncio.Semaphore(limit)
        self._idle: list[SimpleQueue[_Job | None]] = []
        self._lock = threading.Lock()
        self._stopped = False
        self.busy = 0
        """How many threads are at work, those that were given up included."""
        self.stuck = 0
        """How many of them were given up."""

    async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call `fn(*args)` in a thread, with this task's context variables.

        When this is cancelled, the thread is given up: it goes on, and its result is dropped.
        """
        async with self._free:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[Any] = loop.create_future()
            done.add_done_callback(lambda _: None)
            given_up = [False]

            def ended() -> None:
                self.busy -= 1
                self.stuck -= given_up[0]

            def call() -> Any:
                try:
                    return fn(*args)
                finally:
                    _tell(loop, ended)

            with self._lock:
                queue = self._idle.pop() if self._idle else self._spawn()
            self.busy += 1
            queue.put((call, contextvars.copy_context(), loop, done))
            try:
                return await done
            except asyncio.CancelledError:
                given_up[0] = True
                self.stuck += 1
                raise

    def stop(self) -> None:
        """Let idle threads end, and busy ones when they are done."""
        with self._lock:
            self._stopped = True
            idle, self._idle = self._idle, []
        for queue in idle:
            queue.put(None)

    def _spawn(self) -> SimpleQueue[_Job | None]:
        queue: SimpleQueue[_Job | None] = SimpleQueue()
        threading.Thread(
            target=self._work, args=(queue,), name="cronkit-handler", daemon=True
        ).start()
        return queue

    def _work(self, queue: SimpleQueue[_Job | None]) -> None:
        while (job := queue.get()) is not None:
            call, context, loop, done = job
            try:
                result = context.run(call)
            except BaseException as error:  # noqa: BLE001  # it belongs to whoever awaits it
                _tell(loop, _set_exception, done, error)
            else:
                _tell(loop, _set_result, done, result)
            # Nothing of the job may live on in an idle thread.
            del job, call, context, loop, done
            with self._lock:
                if self._stopped:
                    return
                self._idle.append(queue)


def _tell(loop: asyncio.AbstractEventLoop, fn: Callable[..., None], *args: Any) -> None:
    try:
        loop.call_soon_threadsafe(fn, *args)
    except RuntimeError:
        if not loop.is_closed():  # a result that outlived its loop has nobody to go to
            raise


def _set_result(done: asyncio.Future[Any], result: Any) -> None:
    if not done.done():
        done.set_result(result)


def _set_exception(done: asyncio.Future[Any], error: BaseException) -> None:
    if not done.done():
        if isinstance(error, StopIteration):  # which a future cannot hold
            error = RuntimeError(f"the handler raised StopIteration: {error}")
        done.set_exception(error)
