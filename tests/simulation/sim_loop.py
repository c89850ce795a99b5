"""An event loop whose time is virtual, and processes on it that can be killed, stalled and
suspended between any two of their steps.

A process is a context: whatever is started in it, and whatever that starts, belongs to it. The loop
looks at the context of each step before it takes it. So a killed process does nothing more, not
even its `finally` blocks, as after SIGKILL; a stalled one does all of it later, as after SIGSTOP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from heapq import heapify, heappop, heappush
from traceback import format_exception
from typing import Any

# More steps than this without any time passing is a loop that spins.
MOST_STEPS_AT_ONCE = 20_000
# Nor does any history need so many.
MOST_STEPS = 300_000
# Seconds. A round of the loop takes a tick; so little time as the other counts as none.
TICK = 1e-6
LITTLE = 1e-3

_process: ContextVar[Process | None] = ContextVar("simulated_process", default=None)


class Spins(Exception):
    """Somebody goes on and on while no time passes."""


class Process:
    """What a kill ends."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.alive = True
        self.stalled = False
        self.late_calls = 0
        """How many calls of the storage are under way that are late, or whose answers are."""
        self.slept = 0.0
        """How many seconds it was suspended: its monotonic clock did not count them."""
        self.steps_left: int | None = None
        """After so many more steps, `on_last_step` is called."""
        self.on_last_step: Callable[[], None] = self.kill
        self._backlog: list[asyncio.Handle] = []
        self._asleep_since: float | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self.context = copy_context()
        self.context.run(_process.set, self)

    def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call `fn` as a part of this process."""
        return self.context.run(fn, *args)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin `work` as a part of this process."""
        task: asyncio.Task[Any] = self.call(self.loop.create_task, work)
        return task

    def kill(self) -> None:
        """Do nothing more, ever."""
        self.alive = False
        self._backlog.clear()

    def stall(self, *, asleep: bool = False) -> None:
        """Do nothing until `go_on`. Asleep, as when a machine is suspended, timers and monotonic
        clock stand still too."""
        self.stalled = True
        if asleep:
            self._asleep_since = self.loop.time()
            self._timers = self.loop.take_timers(self)

    def go_on(self) -> None:
        """Do what was to be done meanwhile."""
        self.stalled = False
        if self._asleep_since is not None:
            slept = self.loop.time() - self._asleep_since
            self._asleep_since = None
            self.slept += slept
            self.loop.put_timers(self._timers, slept)
        self.loop.resume(self._backlog)
        self._backlog = []

    def admits(self, handle: asyncio.Handle) -> bool:
        """Whether the process takes this step now."""
        if not self.alive:
            for told in handle._args or ():
                if isinstance(told, Work):
                    told.untold = True
            return False
        if self.stalled:
            self._backlog.append(handle)
            return False
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                self.steps_left = None
                self.on_last_step()
                return self.admits(handle)
        return True


class Work(asyncio.Task[Any]):
    """A task with a hash that is the same each time: asyncio keeps tasks in sets, and goes through
    those in the order of their hashes."""

    def __init__(self, coro: Coroutine[Any, Any, Any], **options: Any) -> None:
        loop: SimLoop = options["loop"]
        self._number = len(loop.works)
        self.untold = False
        """Whether the process died before who waits for this was told of its end."""
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number


class SimLoop(asyncio.BaseEventLoop):
    """Time passes when there is nothing else to do, and then at once."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._steps_at_once = 0
        self.steps = 0
        """How many steps were taken in all."""
        self.world = copy_context()
        """What belongs to no process."""
        self.world.run(_process.set, None)
        self.on_accident: Callable[[str], None] = print
        """Told of what asyncio has to report: exceptions that nobody retrieved, and the like."""
        self.set_exception_handler(self._note)
        self.works: list[Work] = []
        """All that was ever started."""

    def time(self) -> float:
        return self._seconds

    def at(self, seconds: float, fn: Callable[..., None], *args: Any) -> None:
        """Call `fn` in so many seconds, as the world."""
        self.call_later(seconds, fn, *args, context=self.world)

    def create_task(self, coro: Any, **options: Any) -> Work:
        work = Work(coro, loop=self, **options)
        self.works.append(work)
        return work

    def resume(self, handles: list[asyncio.Handle]) -> None:
        self._ready.extend(handles)

    def take_timers(self, process: Process) -> list[asyncio.TimerHandle]:
        """Take the timers of a process away."""
        taken, left = [], []
        for timer in self._scheduled:
            (taken if timer._context.get(_process) is process else left).append(timer)
        heapify(left)
        self._scheduled = left
        return taken

    def put_timers(self, timers: list[asyncio.TimerHandle], later: float) -> None:
        """Put timers back, so many seconds later than they were."""
        for timer in timers:
            timer._when += later
            heappush(self._scheduled, timer)

    def dispose(self) -> None:
        """Throw away what has not ended, without letting any of it run on.

        Exceptions that nobody took are reported here, and not when the garbage is collected.
        """
        for work in self.works:
            if work.done() and work._log_traceback and not work.untold:
                self._note(self, {"message": "nobody took", "exception": work.exception()})
        # What is told from now on, it depends on the collector of garbage when.
        self.on_accident = lambda what: None
        for work in self.works:
            if not work.done():
                work._log_destroy_pending = False
                coro = work.get_coro()
                for _ in range(10):  # each `finally` that awaits has to be left, too
                    with suppress(BaseException):
                        coro.close()
                        break
        self.works.clear()
        self.close()

    def _run_once(self) -> None:
        timers, ready = self._scheduled, self._ready
        while timers and timers[0]._cancelled:
            heappop(timers)._scheduled = False
        if ready:
            self._seconds += TICK  # nothing is done in no time at all
            self._steps_at_once += len(ready)
            if self._steps_at_once > MOST_STEPS_AT_ONCE:
                raise Spins(
                    f"{self._steps_at_once} steps at {self._seconds:.3f} s, the next: {ready[0]}"
                )
        else:
            if not timers:
                raise Spins("nothing is to come")
            passed = max(timers[0]._when - self._seconds, TICK)
            self._seconds += passed
            if passed > LITTLE:
                self._steps_at_once = 0
        if self.steps > MOST_STEPS:
            raise Spins(f"{self.steps} steps until {self._seconds:.3f} s, the next: {timers[:1]}")
        while timers and timers[0]._when <= self._seconds:
            timer = heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(_process)
            if process is None or process.admits(handle):
                self.steps += 1
                handle._run()

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        trace = "".join(format_exception(error)[-3:]) if error is not None else ""
        self.on_accident(f"{context.get('message')}: {error!r}\n{trace}")


def run_in_world(loop: SimLoop, work: Coroutine[Any, Any, Any]) -> Any:
    """Run `work`, as the world, to its end."""
    context: Context = loop.world
    return loop.run_until_complete(loop.create_task(work, context=context))
