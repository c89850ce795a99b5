"""A clock that moves only when it is told to, and a way to run a scheduler on it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush

from ..errors import NaiveDatetime
from ..scheduler import Scheduler

# How many turns of the event loop nobody may do anything in, where it cannot be seen whether a
# callback is to be called. Where it can, there must be none, but for somebody who goes round and
# round without end.
ROUNDS = 25
FEW_ROUNDS = 2
MOST_ROUNDS = 1_000


class VirtualClock:
    """A `Clock` whose time stands still until `advance` or `run_until` moves it.

    `jump` moves the wall clock alone, as an operator does who sets it, or a machine that wakes up.
    """

    def __init__(self, start: datetime = datetime(2027, 1, 1, tzinfo=UTC)) -> None:
        if start.tzinfo is None:
            raise NaiveDatetime("start", start)
        self._wall = start.astimezone(UTC)
        self._monotonic = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._winding: set[asyncio.Future[None]] = set()

    def now(self) -> datetime:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        await self._timer(seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        if event.is_set():
            return True
        if seconds is not None and seconds <= 0:
            await _turn()
            return event.is_set()
        if seconds is None:
            await event.wait()
            return True
        timer = self._timer(seconds)
        waiter = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait((timer, waiter), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            waiter.cancel()
        return event.is_set()

    def wind_up(self, over: asyncio.Event, idle: Callable[[], bool]) -> None:
        """Who stops a scheduler cannot move the clock until that is done: so it moves itself, as
        far as the grace of the shutdown needs."""
        work = asyncio.ensure_future(self._wind_up(over, idle))
        self._winding.add(work)
        work.add_done_callback(self._winding.discard)

    async def _wind_up(self, over: asyncio.Event, idle: Callable[[], bool]) -> None:
        while not over.is_set():
            await _quiet(lambda: idle() or over.is_set())
            timer = self.next_timer()
            if timer is not None and not over.is_set():
                self.advance(timer)

    def _timer(self, seconds: float) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (self._monotonic + max(seconds, 0.0), next(self._order), done))
        return done

    def next_timer(self) -> float | None:
        """Seconds until the next sleeper wakes, or None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heappop(self._sleepers)
        return max(self._sleepers[0][0] - self._monotonic, 0.0) if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, and wake who slept until then. Others run when the caller awaits."""
        self._monotonic += seconds
        self._wall += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            _, _, done = heappop(self._sleepers)
            if not done.done():
                done.set_result(None)

    def jump(self, to: datetime) -> None:
        """Set the wall clock. Nobody wakes, and no time has passed."""
        self._wall = to.astimezone(UTC)


async def settle(*schedulers: Scheduler) -> None:
    """Return when the schedulers have done all that is to be done at this instant.

    A handler that awaits something else than the virtual clock counts as one that goes on. Raises
    what ended the loop of a scheduler, if anything but a stop did.
    """
    await _quiet(lambda: all(scheduler.idle for scheduler in schedulers))
    for scheduler in schedulers:
        if scheduler.failure is not None:
            raise scheduler.failure


async def _quiet(idle: Callable[[], bool]) -> None:
    """Return when nothing has happened for some turns of the event loop."""
    ready = getattr(asyncio.get_running_loop(), "_ready", None)  # other loops have none
    rounds = ROUNDS if ready is None else MOST_ROUNDS
    quiet = 0
    while quiet < rounds and (quiet < FEW_ROUNDS or ready is None or ready):
        # While they wait for threads, such as a database's, those need the interpreter more than a
        # loop that spins.
        await _turn(0 if quiet or idle() else 0.0001)
        quiet = quiet + 1 if idle() else 0


async def _turn(seconds: float = 0) -> None:
    """Let the others on the event loop have a turn."""
    await asyncio.sleep(seconds)  # noqa: TID251


def _checked(given: object, instant: object) -> tuple[list[Scheduler], VirtualClock]:
    """The schedulers that `run_until` was given, and their clock."""
    several = given if isinstance(given, Sequence) else [given]
    schedulers = [one for one in several if isinstance(one, Scheduler)]
    if not schedulers or len(schedulers) < len(several) or not isinstance(instant, datetime):
        raise TypeError("run_until takes a scheduler, or some, and the instant until which to work")
    if instant.tzinfo is None:
        raise NaiveDatetime("instant", instant)
    clock = schedulers[0].clock
    if not isinstance(clock, VirtualClock):
        raise TypeError(f"run_until needs a VirtualClock, not {type(clock).__name__}")
    return schedulers, clock


async def run_until(scheduler: Scheduler | Sequence[Scheduler], instant: datetime) -> None:
    """Let a scheduler, or several that share one VirtualClock, work until `instant`; they are
    started.

    Returns when everything that is due at or before it is done. Raises NaiveDatetime, and TypeError
    for what is no instant, or no scheduler on a VirtualClock.
    """
    schedulers, clock = _checked(scheduler, instant)
    await settle(*schedulers)
    while (left := (instant - clock.now()).total_seconds()) > 0:
        timer = clock.next_timer()
        clock.advance(left if timer is None else min(left, timer))
        await settle(*schedulers)
