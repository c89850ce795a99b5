"""What plugins test their tasks with: a Datasette whose scheduled time only the test moves.

    async with Cron(datasette) as cron:
        run = await cron.run("check-feeds")
        await cron.advance(hours=1)
        await cron.assert_succeeded("check-feeds")

For pytest there is the fixture `cron`, to be imported into a conftest.py. It needs pytest-asyncio,
and a fixture `datasette` that returns a Datasette which has not been started yet.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cronkit_core.runs import Run, Status
from cronkit_core.storage.base import RunQuery
from cronkit_core.testing.virtual import VirtualClock, settle

from .scheduler import Scheduler

if TYPE_CHECKING:
    from datasette.app import Datasette

__all__ = ["Cron", "cron"]

SELDOM = 86_400.0
"""Seconds between what a scheduler does by itself: virtual days are long."""
SHOWN = 20


class Cron:
    """The scheduled tasks of `datasette`, which has not been started yet: entering this does it.

    The scheduler's clock stands at `start` (an aware datetime) until `advance` or `run` moves it.
    `patience` is how many real seconds handlers get to end before time moves on: to test what
    happens to one that hangs, make it short.
    """

    def __init__(
        self,
        datasette: Datasette,
        *,
        start: datetime = datetime(2027, 1, 1, tzinfo=UTC),
        patience: float = 5.0,
    ) -> None:
        if hasattr(datasette, "_cron_scheduler"):
            raise RuntimeError("this Datasette has been started: make the Cron before")
        self.datasette = datasette
        self.clock = VirtualClock(start)
        self.patience = patience
        datasette._cron_options = {
            "clock": self.clock,
            "poll": SELDOM,
            "prune_every": SELDOM,
        }

    async def __aenter__(self) -> Self:
        await self.datasette.invoke_startup()
        self.scheduler.start()
        await self._settle()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.scheduler.stop(0)

    @property
    def scheduler(self) -> Scheduler:
        """`datasette._cron_scheduler`."""
        scheduler: Scheduler = self.datasette._cron_scheduler
        return scheduler

    @property
    def now(self) -> datetime:
        """The virtual time (UTC)."""
        return self.clock.now()

    # --- doing

    async def run(self, name: str, config: Mapping[str, Any] | None = None) -> Run:
        """Trigger the task, with a config of its own if one is given, and wait for its end; time
        moves on as far as its retries need. Returns the last attempt.

        Raises TaskNotFound and HandlerNotFound, and AssertionError when the run does not end.
        """
        run_id = await self.scheduler.trigger_task(name, config=config)
        while True:
            run = await self._ended(run_id)
            same_slot = RunQuery(task_name=name, since=run.slot, until=run.slot)
            newest = (await self.scheduler.storage.runs(same_slot))[0]
            if newest.status is not Status.PENDING or newest.due_at is None:
                return run
            await self._advance_to(newest.due_at)
            run_id = newest.id

    async def advance(self, **time: float) -> None:
        """Let so much time pass (`hours=1, minutes=30`: the arguments of timedelta), and whatever
        is due by then be done."""
        await self._advance_to(self.now + timedelta(**time))

    async def advance_to(self, instant: datetime) -> None:
        """Let time pass until `instant`, an aware datetime, and whatever is due by then be done."""
        await self._advance_to(instant)

    async def _advance_to(self, instant: datetime) -> None:
        await self._settle()
        while (left := (instant - self.now).total_seconds()) > 0:
            timer = self.clock.next_timer()
            self.clock.advance(left if timer is None else min(left, timer))
            await self._settle()

    async def _settle(self) -> None:
        """Return when nothing is left to do at this instant, or handlers take too long."""
        await settle(self.scheduler)
        engine = self.scheduler.engine
        while engine is not None and engine.executions.all:
            try:
                async with asyncio.timeout(self.patience):
                    await engine.executions.empty.wait()
            except TimeoutError:
                return
            await settle(self.scheduler)

    async def _ended(self, run_id: int) -> Run:
        try:
            async with asyncio.timeout(self.patience):
                run = await self.scheduler.wait_for_run(run_id)
        except TimeoutError:
            raise AssertionError(
                f"run {run_id} did not end within {self.patience:g} s: has its handler a way out?"
            ) from None
        await self._settle()
        return run

    # --- looking

    async def runs(self, name: str) -> list[Run]:
        """The runs of the task, oldest first."""
        return (await self.scheduler.runs(name, limit=1_000))[::-1]

    async def assert_runs(self, name: str, *statuses: str) -> None:
        """Hold that these are the statuses of all runs of the task, oldest first: "success",
        "error", "running", "pending"."""
        runs = await self.runs(name)
        _hold([run.status for run in runs] == list(statuses), name, runs)

    async def assert_succeeded(self, name: str) -> Run:
        """Hold that the task ran, and that its newest run ended well. Returns that."""
        return await self._newest(name, Status.SUCCESS)

    async def assert_failed(self, name: str, match: str = "") -> Run:
        """Hold that the task ran, that its newest run failed, and that the regular expression
        `match` is found in its error. Returns that run."""
        run = await self._newest(name, Status.ERROR)
        message = run.error_message or ""
        if not re.search(match, message):
            raise AssertionError(f"{match!r} is not in {message!r}")
        return run

    async def _newest(self, name: str, status: Status) -> Run:
        runs = await self.runs(name)
        _hold(bool(runs) and runs[-1].status is status, name, runs)
        return runs[-1]


def _hold(holds: bool, name: str, runs: list[Run]) -> None:
    if holds:
        return
    lines = [f"the runs of {name!r}, oldest first:"]
    for run in runs[-SHOWN:]:
        error = f": {run.error_message}" if run.error_message else ""
        lines.append(f"  {run.id}: {run.slot}, attempt {run.attempt}, {run.status}{error}")
    if not runs:
        lines.append("  none")
    elif runs[-1].error_traceback:
        lines.append(runs[-1].error_traceback)
    raise AssertionError("\n".join(lines))


if TYPE_CHECKING:
    cron: Any
    """The fixture: a Cron around the fixture `datasette`."""


def __getattr__(name: str) -> Any:
    # Made when it is asked for: a test may use Cron without pytest.
    if name != "cron":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest_asyncio

    @pytest_asyncio.fixture(name="cron")
    async def cron(datasette: Any) -> AsyncIterator[Cron]:
        """A Cron around the fixture `datasette`."""
        async with Cron(datasette) as made:
            yield made

    globals()["cron"] = cron
    return cron
