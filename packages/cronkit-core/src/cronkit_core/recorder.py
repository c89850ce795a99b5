"""Records the ends of runs: as many in a transaction as gathered while the one before was under
way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from .clock import Clock
from .runs import Finish
from .storage.base import Storage

logger = logging.getLogger("cronkit.engine")

# Seconds.
FIRST_DELAY = 0.2
LONGEST_DELAY = 5.0


class Recorder:
    """Writes what `add` is given, in batches of at most `batch`, until the storage has it.

    `recorded` is called with what was written in one transaction, and the ids of the runs that the
    storage refused. `turn` is held while it is written.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        batch: int,
        recorded: Callable[[Sequence[Finish], set[int]], Awaitable[None]],
        turn: asyncio.Lock,
    ) -> None:
        self.waiting: list[Finish] = []
        """What is not recorded yet."""
        self._storage = storage
        self._clock = clock
        self._batch = batch
        self._recorded = recorded
        self._turn = turn
        self._more = asyncio.Event()
        self._writing = False
        self._backing_off = False

    def add(self, finish: Finish) -> None:
        """Have the end of a run recorded."""
        self.waiting.append(finish)
        self._more.set()

    @property
    def idle(self) -> bool:
        """Whether `run` waits for the clock, or for something to record."""
        return self._backing_off or not (self._writing or self._more.is_set())

    async def run(self) -> None:
        """Work until this is cancelled."""
        size, failures = self._batch, 0
        self._writing = self._backing_off = False
        if self.waiting:  # something ended an earlier call
            self._more.set()
        while True:
            await self._more.wait()
            self._more.clear()
            self._writing = True
            while self.waiting:
                batch = self.waiting[:size]
                try:
                    async with self._turn:
                        refused = await self._storage.finish(batch, self._clock.now())
                except (Exception, asyncio.CancelledError) as error:
                    if ends_this_task(error):
                        raise
                    failures += 1
                    seconds = min(FIRST_DELAY * 2 ** (failures - 1), LONGEST_DELAY)
                    logger.warning(
                        "the ends of %d runs are not recorded yet, trying again in %.1f s",
                        len(batch),
                        seconds,
                        exc_info=True,
                    )
                    # If it is one of them that the storage cannot take, the others must get by.
                    size = max(size // 2, 1)
                    self.waiting = [*self.waiting[len(batch) :], *batch]
                    self._backing_off = True
                    await self._clock.sleep(seconds)
                    self._backing_off = False
                else:
                    size, failures = min(size * 2, self._batch), 0
                    del self.waiting[: len(batch)]
                    await self._tell(batch, set(refused))
            self._writing = False

    async def _tell(self, batch: Sequence[Finish], refused: set[int]) -> None:
        try:
            await self._recorded(batch, refused)
        except (Exception, asyncio.CancelledError) as error:
            if ends_this_task(error):
                raise
            logger.exception("the ends of %d runs are recorded, but not told", len(batch))


def ends_this_task(error: BaseException) -> bool:
    """Whether `error` means that somebody cancelled the current task.

    A CancelledError may also come from within: a storage whose own work was cancelled raises it.
    """
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
