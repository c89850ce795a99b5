"""Threads for sync handlers.

They are daemons, so a handler that hangs cannot keep the interpreter from ending. A thread that is
given up no longer counts against the limit, so hanging handlers do not starve the others; but only
as many may hang as may work, so that they do not eat up the machine either.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

_Job = tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]
"""What to call, and whom to tell how it ended."""


class Threads:
    """At most `limit` threads, made when they are needed and kept for the next job; and at most as
    many again that were given up."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = asyncio.Semaphore(limit)
        self._idle: list[SimpleQueue[_Job | None]] = []
        self._lock = threading.Lock()
        self._stopped = False
        self.busy = 0
        """How many threads are at work, those that were given up included."""
        self.stuck = 0
        """How many of them were given up."""

    async def run(self, fn: Callable[..., Any], *args: Any, started: Callable[[], None]) -> Any:
        """Call `fn(*args)` in a thread, with this task's context variables.

        `started` is called when a thread is free for it. When this is cancelled, the thread is
        given up: it goes on, and its result is dropped. Raises RuntimeError when too many are
        stuck.
        """
        async with self._free:
            if self.stuck >= self.limit:
                raise RuntimeError(
                    f"no thread for this sync handler: {self.stuck} threads hang in handlers that "
                    f"were given up; let those return when `run.cancelled` is true"
                )
            started()
            loop = asyncio.get_running_loop()
            done: asyncio.Future[Any] = loop.create_future()
            given_up = [False]

            def ended(result: Any, error: BaseException | None) -> None:
                self.busy -= 1
                self.stuck -= given_up[0]
                if done.done():
                    return
                if error is None:
                    done.set_result(result)
                else:
                    done.set_exception(error)

            with self._lock:
                queue = self._idle.pop() if self._idle else self._spawn()
            self.busy += 1
            call = functools.partial(contextvars.copy_context().run, fn, *args)
            queue.put((call, functools.partial(_tell, loop, ended)))
            try:
                return await done
            except asyncio.CancelledError:
                if done.cancelled():  # else the thread has returned, or has raised just this
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
            call, ended = job
            result: Any = None
            error: BaseException | None = None
            try:
                result = call()
            except StopIteration as stop:  # which a future cannot hold
                error = RuntimeError(f"the handler raised StopIteration: {stop}")
            except BaseException as raised:  # noqa: BLE001  # it belongs to whoever awaits it
                error = raised
            ended(result, error)
            # Nothing of the job may live on in an idle thread.
            del job, call, ended, result, error
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
