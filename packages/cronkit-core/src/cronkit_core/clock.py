"""The clock: the only file that reads the wall clock or sleeps.

Wall time decides what is due. Monotonic time measures how long something took, and does not move
when somebody sets the wall clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the engine knows of time. `SystemClock` is the real one; `cronkit_core.testing` has a
    virtual one."""

    def now(self) -> datetime:
        """The wall clock, as an aware datetime in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from some fixed moment on; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Return True as soon as `event` is set, False when `seconds` have passed without that.

        None waits for the event alone.
        """
        ...

    def wind_up(self, over: asyncio.Event, idle: Callable[[], bool]) -> None:
        """Somebody began to stop, and has stopped once `over` is set. While `idle()`, it waits for
        handlers or for time to pass: a clock that people move by hand moves by itself then.
        """
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        if event.is_set():
            return True
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True

    def wind_up(self, over: asyncio.Event, idle: Callable[[], bool]) -> None:
        """Nothing to do: time passes by itself."""
