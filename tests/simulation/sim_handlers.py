"""The handler of every simulated task: what it does with a run depends on the seed and the run
alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

from sim_asked import ask
from sim_book import Entry
from sim_scenario import HABITS

from cronkit_core import CronkitError, Fail, Retry
from cronkit_core.context import ActiveRun

if TYPE_CHECKING:
    from sim_world import Node, World


class Work:
    """The handler, as one process has it."""

    def __init__(self, world: World, node: Node) -> None:
        self._world = world
        self._node = node
        self._unit = world.scenario.unit
        self._habits = {task.name: HABITS[task.habits] for task in world.scenario.tasks}

    async def __call__(self, run: ActiveRun) -> dict[str, str]:
        world = self._world
        entry = world.begin(self._node, run)
        try:
            await self._behave(entry, run, Random(f"{world.scenario.seed} {entry.what}"))
        except GeneratorExit:
            raise  # the history is over
        except BaseException as error:
            entry.how = type(error).__name__
            entry.types = tuple(c.__name__ for c in type(error).__mro__)
            entry.after = error.after if isinstance(error, Retry) else None
            entry.final = isinstance(error, Fail)
            world.end(entry)
            raise
        entry.how = "ok"
        world.end(entry)
        return {"token": entry.token}

    async def _behave(self, entry: Entry, run: ActiveRun, rng: Random) -> None:
        habits = self._habits[run.task.name]
        (habit,) = rng.choices(tuple(habits), tuple(habits.values()))
        if self._world.healed.is_set():
            habit = "ok"
        entry.habit = habit
        nap, unit = self._world.nap, self._unit
        short = rng.random() ** 2 * 2 * unit
        long = rng.random() * rng.choice((15, 45, 150)) * unit
        match habit:
            case "ok":
                await nap(short)
            case "slow":
                await nap(long)
            case "chatty":
                for i in range(4):
                    run.log(f"step {i}")
                    entry.logged = "\n".join(f"step {n}" for n in range(i + 1))
                    await run.progress(i, 4)
                    await nap(2 * short)
            case "error":
                await nap(short)
                raise rng.choice((OSError, ConnectionError, ValueError))("bad luck")
            case "retry":
                await nap(short)
                raise Retry(after=rng.random() * 15 * unit)
            case "fail":
                raise Fail("no use")
            case "exit":
                await nap(short)
                raise SystemExit(1)
            case "from within":
                await nap(short)
                raise asyncio.CancelledError
            case "hang":
                await self._world.healed.wait()
            case "stubborn":
                await self._ignore_cancellation(long)
            case "swallow":
                with suppress(asyncio.CancelledError):
                    await nap(long)
            case "untidy":
                try:
                    await nap(long)
                except asyncio.CancelledError:
                    raise ValueError("cannot clean up") from None
            case "spite":
                try:
                    await nap(long)
                finally:
                    await nap(short)
            case "meddle":
                await nap(short)
                await self._meddle(run, rng)
                await nap(long)
            case "block":
                # As one that computes and never awaits: its whole process stands still.
                self._node.stall(rng.choice((2, 8, 40)) * unit)
                await nap(short)
            case "crash":
                await nap(short)
                self._node.die(rng.choice((1, 30)) * unit)
                await asyncio.sleep(0)
            case "quit":
                await nap(short)
                await self._node.stop(rng.choice((1, 30)) * unit)

    async def _ignore_cancellation(self, seconds: float) -> None:
        until = self._world.loop.time() + seconds
        while (left := until - self._world.loop.time()) > 0 and not self._world.healed.is_set():
            with suppress(asyncio.CancelledError):
                await self._world.nap(left)

    async def _meddle(self, run: ActiveRun, rng: Random) -> None:
        """Operations on the handler's own task, and its own run."""
        scheduler: Any = self._node.scheduler
        name = run.task.name
        kind = rng.choice(("trigger", "force", "disable", "remove", "update", "cancel"))
        try:
            match kind:
                case "trigger" | "force":
                    force = kind == "force"
                    with ask(self._world, "trigger", name, force=force) as asked:
                        asked.result = await scheduler.trigger_task(name, force=force)
                case "disable":
                    with ask(self._world, "disable", name):
                        await scheduler.disable_task(name, note="enough")
                case "remove":
                    with ask(self._world, "remove", name):
                        await scheduler.remove_task(name)
                case "update":
                    schedule = {"interval": 9 * self._unit}
                    with ask(self._world, "update", name, schedule=schedule):
                        await scheduler.update_task(name, schedule=schedule)
                case "cancel":
                    with ask(self._world, "cancel", name, run_id=run.id):
                        await scheduler.cancel_run(run.id, by="itself")
        except CronkitError:
            pass  # tasks and runs come and go, and the storage fails
