"""A place where processes with a scheduler run, one after the other."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING

from sim_asked import unasked
from sim_handlers import Work
from sim_link import CallFault, Link
from sim_loop import Process
from sim_scenario import CALM, FILE, Step

from cronkit_core import RunFailed, RunSucceeded, Scheduler
from cronkit_core.clock import SystemClock

if TYPE_CHECKING:
    from sim_world import World


class NodeClock(SystemClock):
    """A process's view of time: the loop's, and the offset of its machine's clock."""

    def __init__(self, node: Node, process: Process) -> None:
        self._node = node
        self._process = process

    def now(self) -> datetime:
        return self._node.world.now(self._node.offset)

    def monotonic(self) -> float:
        return self._node.world.loop.time() - self._process.slept


class Starting(Scheduler):
    """A scheduler that is opened by whoever asks it something first, for whom it also adds the
    declared tasks; he has not asked for that."""

    async def open(self) -> None:
        with unasked():
            await super().open()


class Node:
    """A machine, or a place on one, where one process after the other runs a scheduler."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = f"n{number}"
        self.own_offset = 0.0
        self.generation = 0
        self.process = Process(world.loop)
        self.process.kill()
        self.scheduler: Scheduler
        self.faults: list[CallFault] = []
        """What goes wrong with the next calls to the storage."""
        self.ambushes: list[tuple[float, Step]] = []
        """Faults that wait for a handler to begin, and how long after that they come."""
        self.going = False
        """Whether a stop is under way, or done."""
        self.rests = False
        """Whether the scheduler is stopped, and its process is to start it again."""
        self.disturbances = 0
        self._disturbed_at = -1e9

    @property
    def up(self) -> bool:
        return self.process.alive and not self.going

    @property
    def disturbed_at(self) -> float:
        """When something last went wrong here, or is to go wrong until."""
        now = self.world.loop.time() if self.process.late_calls else self._disturbed_at
        return max(now, self._disturbed_at)

    @property
    def owner(self) -> str:
        return f"{self.name}.{self.generation}"

    @property
    def offset(self) -> float:
        world = self.world
        return world.offset if world.scenario.mode in (CALM, FILE) else self.own_offset

    def boot(self) -> None:
        """Start a new process here, or start the scheduler again that was stopped in the one that
        there is; nothing when it is at work."""
        if self.process.alive and not self.rests:
            return
        world = self.world
        self.generation += 1
        self.going = False
        if not self.rests:
            self.process = Process(world.loop)
            self.scheduler = self._make_scheduler()
        self.rests = False
        self.process.call(self.scheduler.start)
        # A name that is the same each time; nobody has used the other one yet.
        assert self.scheduler.engine is not None
        self.scheduler.owner = self.scheduler.engine.owner = self.owner
        self.disturb("boot", 0.0)

    def _make_scheduler(self) -> Scheduler:
        world, process = self.world, self.process
        scheduler = Starting(
            Link(world.server, process, self),
            clock=NodeClock(self, process),
            name=self.name,
            **world.scenario.settings,
        )
        if world.scenario.mode == CALM or self.generation % 4 != 2:  # else one that forgot it
            scheduler.register_handler("work", Work(world, self))
            if world.scenario.declares:
                for task in world.scenario.tasks:
                    scheduler.task(name=task.name, **task.definition)(Work(world, self))
        for kind in (RunSucceeded, RunFailed):
            scheduler.on(kind, world.told)
        return scheduler

    def disturb(self, what: str, seconds: float) -> None:
        self.disturbances += 1
        self._disturbed_at = max(self._disturbed_at, self.world.loop.time() + seconds)
        self.world.note(f"{self.name} {what} {seconds:g}")

    def die(self, down: float, process: Process | None = None) -> None:
        """Be killed, and start again after `down` seconds."""
        process = self.process if process is None else process
        if not process.alive:
            return
        process.kill()
        self.rests = False
        self.world.faults["kills"] += 1
        self.disturb("dies", down)
        if process is self.process:
            self.boot_in(down)

    def stall(self, seconds: float, *, asleep: bool = False) -> None:
        """Stand still; asleep, the monotonic clock does too."""
        process = self.process
        if not process.alive or process.stalled:
            return
        process.stall(asleep=asleep)
        self.world.faults["freezes"] += 1
        self.disturb("sleeps" if asleep else "stalls", seconds)

        def go_on() -> None:
            if process.alive and process.stalled:
                self.world.note(f"{self.name} goes on")
                process.go_on()

        self.world.loop.at(seconds, go_on)

    async def stop(self, down: float, *, twice: bool = False, same: bool = False) -> None:
        """Stop in order, from within, and start again after `down` seconds, in the `same` process
        or in a new one. With `twice`, somebody loses patience."""
        if not self.up:
            return
        self.going = True
        self.world.faults["stops"] += 1
        calm = self.disturbed_at < self.world.loop.time()
        self.disturb("stops", 0.0)
        ended = self.world.loop.create_task(self._stopped(down, calm=calm, same=same))
        if twice:
            await asyncio.sleep(self.world.scenario.unit)
            if not ended.done():
                await self.scheduler.stop()
        await asyncio.shield(ended)

    async def _stopped(self, down: float, *, calm: bool, same: bool) -> None:
        began, disturbances = self.world.loop.time(), self.disturbances
        self.world.book.stopped.setdefault(self.owner, began)
        await self.scheduler.stop()
        if calm and self.disturbances == disturbances:
            self.world.check_stopped(self, self.world.loop.time() - began)
        self.disturb("stopped", down)
        if same:
            self.rests = True
        else:
            self.process.kill()
        self.boot_in(down)

    def boot_in(self, seconds: float) -> None:
        self.world.loop.at(0.0 if self.world.healed.is_set() else seconds, self.boot)
