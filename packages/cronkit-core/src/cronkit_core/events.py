"""What happened, as typed values in the past tense, and who wants to know."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from .clock import Clock
from .runs import Reason, Run, SkipReason

logger = logging.getLogger("cronkit.events")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a task. Subscribe to this class for all of them."""

    task_name: str


@dataclass(frozen=True, slots=True)
class TaskAdded(Event):
    """A task was made."""


@dataclass(frozen=True, slots=True)
class TaskUpdated(Event):
    """The definition of a task was changed."""


@dataclass(frozen=True, slots=True)
class TaskRemoved(Event):
    """A task was deleted."""


@dataclass(frozen=True, slots=True)
class TaskEnabled(Event):
    """A paused task goes on."""


@dataclass(frozen=True, slots=True)
class TaskDisabled(Event):
    """A task was paused."""

    by: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class TaskTriggered(Event):
    """Somebody asked for a run out of schedule."""

    run_id: int


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A handler is about to be called."""

    run: Run


@dataclass(frozen=True, slots=True)
class RunSucceeded(Event):
    """A run ended well, and that is recorded."""

    run: Run
    duration_ms: int


@dataclass(frozen=True, slots=True)
class RunFailed(Event):
    """A run ended as an error, and that is recorded."""

    run: Run
    reason: Reason
    message: str
    retry_at: datetime | None
    """When it is tried again (UTC); None: the slot has failed."""


@dataclass(frozen=True, slots=True)
class RunLost(Event):
    """The process that had a run is gone; another, or the same after a restart, recorded that."""

    run_id: int
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class LeaseLost(Event):
    """The outcome of a run could not be recorded, since its lease had passed to another process."""

    run: Run


@dataclass(frozen=True, slots=True)
class SlotsSkipped(Event):
    """Slots did not run, because of the task's policies or its state."""

    first_slot: datetime
    last_slot: datetime
    count: int
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class SlotsMissed(SlotsSkipped):
    """Slots passed while nobody was running the task, and its catch-up policy leaves them out."""


E = TypeVar("E", bound=Event)
Callback = Callable[[Any], Any]


def _check_kind(kind: object) -> None:
    if not (isinstance(kind, type) and issubclass(kind, Event)):
        raise TypeError(f"{kind!r} is no event: use a class of cronkit_core.events")


class Events:
    """Hands events to callbacks. One that raises hurts nobody else."""

    def __init__(self) -> None:
        self._callbacks: dict[type[Event], list[Callback]] = {}
        self._running: set[asyncio.Task[None]] = set()

    def on(self, kind: type[E], callback: Callable[[E], Any]) -> Callable[[], None]:
        """Call `callback`, sync or async, with each event of `kind` or a child of it.

        Returns a function that ends this.
        """
        _check_kind(kind)
        self._callbacks.setdefault(kind, []).append(callback)

        subscribed = True

        def off() -> None:
            nonlocal subscribed
            if subscribed:  # a second call must not end another subscription of `callback`
                subscribed = False
                self._callbacks[kind].remove(callback)
                if not self._callbacks[kind]:
                    del self._callbacks[kind]

        return off

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody subscribed to `kind`: if not, it need not be made."""
        return not self._callbacks.keys().isdisjoint(kind.__mro__)

    def emit(self, event: Event) -> None:
        """Call whoever subscribed. Async callbacks run as tasks of their own."""
        for base in type(event).__mro__:
            for callback in tuple(self._callbacks.get(base, ())):
                try:
                    result = callback(event)
                except BaseException:  # SystemExit too is the callback's own affair
                    logger.exception("a callback for %s raised", type(event).__name__)
                    continue
                if inspect.isawaitable(result):
                    work = asyncio.create_task(_finish(result, event))
                    self._running.add(work)
                    work.add_done_callback(self._running.discard)

    async def drain(self, clock: Clock, seconds: float) -> None:
        """Wait for the async callbacks that are under way, but at most so long; then cancel
        them."""
        if not self._running:
            return
        drained = asyncio.Event()
        waiter = asyncio.gather(*self._running, return_exceptions=True)
        waiter.add_done_callback(lambda _: drained.set())
        if not await clock.wait(drained, seconds):
            logger.warning("%d async callbacks go on and on: cancelled", len(self._running))
            waiter.cancel()


async def _finish(result: Awaitable[Any], event: Event) -> None:
    try:
        await result
    except asyncio.CancelledError:
        raise
    except BaseException:
        logger.exception("an async callback for %s raised", type(event).__name__)
