"""LISTEN: a hint that another process has written. Polling finds it all the same, so nothing here
may fail loudly or hold anything up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from ..clock import SystemClock
from .postgres_rows import Connection

logger = logging.getLogger("cronkit.storage")

QUIET = 60.0
"""After so many seconds without a word, the connection is tried."""
MAX_DELAY = 30.0


class Listener:
    """Calls who subscribed when a notification of somebody else comes, on a connection of its own
    that is made anew whenever it is lost."""

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], channel: str, token: str
    ) -> None:
        self._connect = connect
        self._channel = channel
        self._token = token
        """What this process's own notifications say."""
        self._callbacks: list[Callable[[], None]] = []
        self._work: asyncio.Task[None] | None = None
        self._clock = SystemClock()

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call `changed` from now on, until `stop`."""
        self._callbacks.append(changed)
        if self._work is None:
            self._work = asyncio.get_running_loop().create_task(
                self._run(), name="cronkit-listener"
            )

    async def stop(self) -> None:
        """Forget who subscribed, and give the connection back."""
        self._callbacks.clear()
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def _run(self) -> None:
        import psycopg  # an extra: whoever comes here has it

        failures = 0
        while True:
            try:
                async with await self._connect() as connection:
                    await connection.execute(f'LISTEN "{self._channel}"'.encode())
                    failures = 0
                    self._tell()  # what was said before is not known
                    await self._listen(connection)
            except psycopg.Error as error:
                failures += 1
                seconds = min(0.25 * 2**failures, MAX_DELAY)
                logger.info("not listening for changes, again in %.1f s: %s", seconds, error)
                await self._clock.sleep(seconds)

    async def _listen(self, connection: Connection) -> None:
        while True:
            async for said in connection.notifies(timeout=0):
                if said.payload != self._token:
                    self._tell()
            if not await self._readable(connection):
                await connection.execute(b"SELECT 1")

    async def _readable(self, connection: Connection) -> bool:
        """Wait until the server has said something; False when it was quiet for long.

        `notifies` can wait, too, but looks around ten times a second: that was two thirds of what
        an idle process cost.
        """
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        socket = connection.fileno()
        loop.add_reader(socket, readable.set)
        try:
            return await self._clock.wait(readable, QUIET)
        finally:
            loop.remove_reader(socket)

    def _tell(self) -> None:
        for changed in self._callbacks:
            changed()
