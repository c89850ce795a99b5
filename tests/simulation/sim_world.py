"""Runs a scenario: processes on a virtual clock and one storage, with faults, and watches."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from check_end import check_end
from check_runs import Runs
from check_slots import Slots
from check_time import Timeliness
from sim_book import Book, Entry
from sim_handlers import Work
from sim_ledger import Ledger, Violation
from sim_link import Call, CallFault, Link, Server
from sim_loop import Process, SimLoop, Spins, run_in_world
from sim_operations import operate
from sim_scenario import CALM, FILE, SERVER, Scenario, Step
from sim_storage import make_storage

from cronkit_core import RunFailed, RunSucceeded, Scheduler, Status
from cronkit_core.clock import SystemClock
from cronkit_core.context import ActiveRun


class NodeClock(SystemClock):
    """A process's view of time: the loop's, and the offset of its machine's clock."""

    def __init__(self, node: Node, process: Process) -> None:
        self._node = node
        self._process = process

    def now(self) -> datetime:
        return self._node.world.now(self._node.offset)

    def monotonic(self) -> float:
        return self._node.world.loop.time() - self._process.slept


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
        self.link: Link
        self.ambushes: list[tuple[float, Step]] = []
        """Faults that wait for a handler to begin, and how long after that they come."""
        self.going = False
        """Whether a stop is under way."""
        self.disturbed_at = -1e9
        """When something last went wrong here, or is to go wrong until."""

    @property
    def up(self) -> bool:
        return self.process.alive and not self.going

    @property
    def owner(self) -> str:
        return f"{self.name}.{self.generation}"

    @property
    def offset(self) -> float:
        world = self.world
        return world.offset if world.scenario.mode in (CALM, FILE) else self.own_offset

    def boot(self) -> None:
        """Start a new process here; nothing when there is one."""
        if self.process.alive:
            return
        world = self.world
        self.generation += 1
        self.going = False
        self.process = process = Process(world.loop)
        owner = self.owner
        self.link = Link(
            world.server,
            process,
            self.name,
            self.generation,
            lambda: owner,
            lambda down: self.die(down, process),
            lambda what, seconds: self.disturb(what, seconds),
        )
        self.scheduler = Scheduler(
            self.link, clock=NodeClock(self, process), name=self.name, **world.scenario.settings
        )
        if world.scenario.mode == CALM or self.generation % 4 != 2:  # else one that forgot it
            self.scheduler.register_handler("work", Work(world, self))
            if world.scenario.declares:
                for task in world.scenario.tasks:
                    self.scheduler.task(name=task.name, **task.definition)(Work(world, self))
        for kind in (RunSucceeded, RunFailed):
            self.scheduler.on(kind, world.told)
        process.call(self.scheduler.start)
        # A name that is the same each time; nobody has used the other one yet.
        assert self.scheduler.engine is not None
        self.scheduler.owner = self.scheduler.engine.owner = owner
        self.disturb("boot", 0.0)

    def disturb(self, what: str, seconds: float) -> None:
        self.disturbed_at = max(self.disturbed_at, self.world.loop.time() + seconds)
        self.world.note(f"{self.name} {what} {seconds:g}")

    def die(self, down: float, process: Process | None = None) -> None:
        """Be killed, and start again after `down` seconds."""
        process = self.process if process is None else process
        if not process.alive:
            return
        process.kill()
        self.world.kills += 1
        self.disturb("dies", down)
        if process is self.process:
            self.boot_in(down)

    def stall(self, seconds: float, *, asleep: bool = False) -> None:
        """Stand still; asleep, the monotonic clock does too."""
        process = self.process
        if not process.alive or process.stalled:
            return
        process.stall(asleep=asleep)
        self.disturb("sleeps" if asleep else "stalls", seconds)

        def go_on() -> None:
            if process.alive and process.stalled:
                self.world.note(f"{self.name} goes on")
                process.go_on()

        self.world.loop.at(seconds, go_on)

    async def stop(self, down: float, *, twice: bool = False) -> None:
        """Stop in order, from within, and start again after `down` seconds."""
        process, scheduler = self.process, self.scheduler
        if not self.up:
            return
        self.going = True
        self.world.book.stopped.add(self.owner)
        calm = self.disturbed_at < self.world.loop.time()
        self.disturb("stops", down)
        ended = self.world.loop.create_task(self._stopped(process, scheduler, down, calm=calm))
        if twice:
            await asyncio.sleep(self.world.scenario.unit)
            await scheduler.stop()
        await asyncio.shield(ended)

    async def _stopped(
        self, process: Process, scheduler: Scheduler, down: float, *, calm: bool
    ) -> None:
        began, stalls = self.world.loop.time(), process.stalls
        await scheduler.stop()
        if calm and process.stalls == stalls:
            self.world.check_stopped(scheduler, self.world.loop.time() - began)
        process.kill()
        self.disturb("stopped", down)
        self.boot_in(down)

    def boot_in(self, seconds: float) -> None:
        self.world.loop.at(0.0 if self.world.healed.is_set() else seconds, self.boot)


@dataclass
class Story:
    """What a run of a scenario has given."""

    scenario: Scenario
    violation: Violation | None
    seconds: float
    """How long it was, in the simulation."""
    steps: int
    commits: int
    kills: int
    slots: int
    runs: int
    lines: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        return hashlib.blake2b("\n".join(self.lines).encode(), digest_size=12).hexdigest()


class World:
    def __init__(self, scenario: Scenario, backend: str = "memory", *, trace: bool = False) -> None:
        self.scenario = scenario
        self.loop = SimLoop()
        self.offset = 0.0
        """How far the clock of the machine, or of the storage, is off."""
        storage, view = make_storage(backend)
        server = scenario.mode == SERVER
        self.server = Server(
            self.loop,
            storage,
            self._observe,
            latency=scenario.latency,
            now=(lambda: self.now(self.offset)) if server else None,
            outlives=scenario.mode not in (CALM, FILE),
            seed=scenario.seed,
        )
        self.ledger = Ledger(view)
        self.book = Book()
        self.slots = Slots(self.ledger)
        self.runs = Runs(self.ledger, self.book, scenario.settings["groups"])
        self.time = Timeliness(self, self.ledger)
        self.healed = asyncio.Event()
        self.nodes = [Node(self, i) for i in range(scenario.nodes)]
        self.told_of: dict[int, int] = {}
        self.kills = self.commits = 0
        self.violation: Violation | None = None
        self.lines: list[str] = []
        self._trace = trace

    def now(self, offset: float = 0.0) -> datetime:
        return self.scenario.start + timedelta(seconds=round(self.loop.time() + offset, 6))

    def note(self, line: str) -> None:
        if self._trace:
            self.lines.append(f"{self.loop.time():10.3f} {line}")

    def fail(self, code: str, text: str) -> None:
        """Record that a promise was broken, and end the history."""
        if self.violation is None:
            self.violation = Violation(code, text)
            self.loop.stop()

    # --- what is seen

    def _observe(self, call: Call) -> None:
        self.commits += 1
        delta = self.ledger.look(call, self.loop.time())
        if self._trace:
            self.lines += delta.lines(self.scenario.start, self.ledger.runs)
        try:
            self.slots.check(delta)
            self.runs.check(delta)
            self.time.check(delta)
            self.ledger.take_over(delta)
            self.runs.check_after(delta)
        except Violation as violation:
            self.fail(violation.code, f"at {self.loop.time():.3f} s: {violation}")

    def begin(self, node: Node, run: ActiveRun) -> Entry:
        """A handler was called."""
        entry = Entry(
            run_id=run.id,
            name=run.task.name,
            slot=run.slot,
            attempt=run.attempt,
            epoch=run.epoch,
            node=node.name,
            owner=node.owner,
            process=node.process,
            began=self.loop.time(),
            token=f"{run.task.name} {run.slot.isoformat()} {run.attempt} {run.id}",
        )
        self.note(f"{node.name} begins {entry.what}")
        if run.id in self.book.entries:
            self.fail("executed twice", f"{self.book.entries[run.id]} and {entry}")
        self.book.entries[run.id] = entry
        if node.ambushes and not self.healed.is_set():
            after, step = node.ambushes.pop(0)
            self.loop.at(after, self._take_unless_healed, step)
        stored = self.ledger.runs.get(run.id)
        if stored is None:
            self.fail("executed from nowhere", f"{entry}")
        elif stored.status is Status.RUNNING:
            if (stored.owner, stored.epoch) != (node.owner, run.epoch):
                self.fail("executed by a stranger", f"{stored}: {entry}")
        elif self.scenario.mode == CALM:
            self.fail("executed without a claim", f"{stored}: {entry}")
        engine = node.scheduler.engine
        assert engine is not None
        if engine.executions.active > self.scenario.settings["max_concurrency"]:
            self.fail("concurrency", f"{engine.executions.active} runs on {node.name}")
        return entry

    def end(self, node: Node, entry: Entry) -> None:
        """A handler has come to its end."""
        entry.ended = self.loop.time()
        self.note(f"{entry.node} ends {entry.what}: {entry.how}")
        try:
            self.time.check_handler(entry, node)
        except Violation as violation:
            self.fail(violation.code, str(violation))

    def node_of(self, owner: str | None) -> Node:
        """The node where a process of that name was."""
        assert owner is not None
        return next(node for node in self.nodes if node.name == owner.partition(".")[0])

    def told(self, event: Any) -> None:
        """A scheduler said that the end of a run is recorded."""
        run_id = event.run.id
        stored = self.ledger.runs[run_id]
        self.told_of[run_id] = self.told_of.get(run_id, 0) + 1
        status = Status.SUCCESS if isinstance(event, RunSucceeded) else Status.ERROR
        if stored.status is not status:
            self.fail("event", f"{event}, and the storage has {stored}")
        if self.told_of[run_id] > 1:
            self.fail("event", f"{event} came twice")

    def check_stopped(self, scheduler: Scheduler, took: float) -> None:
        assert scheduler.engine is not None
        settings = self.scenario.settings
        patience = settings["shutdown_grace"] + min(settings["cancel_grace"], 2.0) + 8.0
        if took > patience + 10 * self.scenario.latency:
            self.fail("stop", f"it took {took:.1f} s")
        if not scheduler.engine.finished.is_set() and scheduler.engine.running:
            self.fail("stop", "the loop of a stopped scheduler goes on")

    # --- what happens

    async def nap(self, seconds: float) -> None:
        """As long as a handler's work takes; no longer than until all is healed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.healed.wait()

    def run(self) -> Story:
        """Run the scenario to its end, or to the first broken promise."""
        with quiet():
            try:
                run_in_world(self.loop, self._history())
            except Spins as spins:
                self.fail("spins", str(spins))
            except RuntimeError:
                if self.violation is None:  # else it was that which stopped the loop
                    raise
            finally:
                seconds, steps = self.loop.time(), self.loop.steps
                if self.loop.accidents:
                    self.fail("accident", self.loop.accidents[0])
                self.loop.dispose()
        return Story(
            scenario=self.scenario,
            violation=self.violation,
            seconds=seconds,
            steps=steps,
            commits=self.commits,
            kills=self.kills,
            slots=sum(map(len, self.slots.fated.values())),
            runs=len(self.ledger.runs),
            lines=self.lines,
        )

    async def _history(self) -> None:
        scenario = self.scenario
        for node in self.nodes:
            node.boot()
        for step in scenario.steps:
            await asyncio.sleep(max(step.at - self.loop.time(), 0.0))
            self._take(step)
        await asyncio.sleep(max(scenario.horizon - self.loop.time(), 0.0))
        self._heal()
        settings = scenario.settings
        settle = 3 * settings["lease"] + 3 * settings["poll"] + 45 * scenario.unit + 30
        await asyncio.sleep(settle + 4 * scenario.latency)
        try:
            await check_end(self)
        except Violation as violation:
            self.fail(violation.code, str(violation))

    def _heal(self) -> None:
        """From now on nothing goes wrong any more."""
        self.note("healed")
        self.healed.set()
        for node in self.nodes:
            if self.offset or node.own_offset or node.process.stalled:
                node.disturb("is healed", 0.0)
            node.own_offset = 0.0
            node.link.faults.clear()
            if node.process.stalled:
                node.process.go_on()
            node.boot()
        self.offset = 0.0

    def _take(self, step: Step) -> None:
        node, options = self.nodes[step.node], step.options
        self.note(f"{node.name} {step.kind} t{step.task} {options}")
        if (after := options.pop("after", None)) is not None:
            node.ambushes.append((after, replace(step, args=tuple(options.items()))))
            return
        match step.kind:
            case "kill":
                process = node.process
                process.steps_left = options["steps"]
                process.on_last_step = lambda: node.die(options["down"], process)
            case "stall":
                process = node.process
                process.steps_left = options["steps"]
                process.on_last_step = lambda: node.stall(options["seconds"])
            case "suspend":
                node.stall(options["seconds"], asleep=True)
            case "stop":
                if node.up:
                    node.process.spawn(node.stop(**options))
            case "clock":
                self._set_clock(node, options["by"])
            case "calls":
                node.link.faults.append(CallFault(**options))
            case _:
                if node.up:
                    node.process.spawn(operate(self, node, step))

    def _take_unless_healed(self, step: Step) -> None:
        if not self.healed.is_set():
            self._take(step)

    def _set_clock(self, node: Node, by: float) -> None:
        if self.scenario.mode in (CALM, FILE) or (self.scenario.mode == SERVER and by % 3 == 0):
            self.offset += by
        else:
            node.own_offset += by
        for other in self.nodes:
            other.disturb("clock", 0.0)


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is logged: what is wrong is a violation."""
    logger = logging.getLogger("cronkit")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def simulate(scenario: Scenario, backend: str = "memory", *, trace: bool = False) -> Story:
    """Run a scenario and check it."""
    return World(scenario, backend, trace=trace).run()
