"""Runs a scenario: processes on a virtual clock and one storage, with faults, and watches."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from check_asked import Requests
from check_end import check_end
from check_runs import Runs
from check_slots import Slots
from check_time import Timeliness
from sim_book import Book, Entry
from sim_ledger import Ledger, Violation
from sim_link import Call, CallFault, Server
from sim_loop import SimLoop, Spins, run_in_world
from sim_node import Node
from sim_operations import operate
from sim_scenario import CALM, FILE, SERVER, Scenario, Step
from sim_storage import make_storage

from cronkit_core import Reason, RunSucceeded, Status
from cronkit_core.context import ActiveRun

SHORT = 0.2
"""A call that takes no longer is short, in seconds."""


@dataclass
class Story:
    """What a run of a scenario has given."""

    scenario: Scenario
    violation: Violation | None
    seconds: float
    """How long it was, in the simulation."""
    steps: int
    commits: int
    faults: Counter[str]
    """How often what went wrong."""
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
        self.loop.on_accident = lambda what: self.fail("accident", what)
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
        self.requests = Requests(self.ledger)
        self.healed = asyncio.Event()
        self.nodes = [Node(self, i) for i in range(scenario.nodes)]
        self.told_of: dict[int, int] = {}
        self.faults: Counter[str] = Counter()
        self.commits = 0
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
            self.requests.check(delta)
            self.ledger.take_over(delta)
            self.runs.check_after(delta)
            self.requests.check_after()
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
        elif stored.reason is not Reason.LOST or self.scenario.mode == CALM:
            self.fail("executed without a claim", f"{stored}: {entry}")
        engine = node.scheduler.engine
        assert engine is not None
        if engine.executions.active > self.scenario.settings["max_concurrency"]:
            self.fail("concurrency", f"{engine.executions.active} runs on {node.name}")
        return entry

    def end(self, entry: Entry) -> None:
        """A handler has come to its end."""
        entry.ended = self.loop.time()
        self.note(f"{entry.node} ends {entry.what}: {entry.how}")

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

    def check_stopped(self, node: Node, took: float) -> None:
        """A scheduler was stopped, and nothing went wrong meanwhile."""
        engine = node.scheduler.engine
        assert engine is not None
        settings = self.scenario.settings
        patience = settings["shutdown_grace"] + min(settings["cancel_grace"], 2.0) + 8.0
        if took > patience + 10 * self.scenario.latency:
            self.fail("stop", f"it took {took:.1f} s")
        if not engine.finished.is_set() and engine.running:
            self.fail("stop", "the loop of a stopped scheduler goes on")
        left = [run for run in self.ledger.live.values() if run.owner == engine.owner]
        # There are two seconds to record what was interrupted.
        if left and self.scenario.latency <= SHORT:
            self.fail("stop", f"{left[0]} is left running")

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
                self.loop.dispose()
        return Story(
            scenario=self.scenario,
            violation=self.violation,
            seconds=seconds,
            steps=steps,
            commits=self.commits,
            faults=self.faults,
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
            node.faults.clear()
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
                node.faults.append(CallFault(**options))
            case _:
                if node.up:
                    node.process.spawn(operate(self, node, step))

    def _take_unless_healed(self, step: Step) -> None:
        if not self.healed.is_set():
            self._take(step)

    def _set_clock(self, node: Node, by: float) -> None:
        self.faults["clock steps"] += 1
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
    """Run a scenario and check it. On the backend "both", it is the story in memory, which that on
    SQLite has to be, line by line."""
    if backend != "both":
        return World(scenario, backend, trace=trace).run()
    ours, theirs = (World(scenario, kind, trace=True).run() for kind in ("memory", "sqlite"))
    if ours.violation is not None or theirs.violation is not None:
        return ours if ours.violation is not None else theirs
    for line, other in zip_longest(ours.lines, theirs.lines):
        if line != other:
            difference = Violation("another story", f"in memory {line}\non SQLite {other}")
            return replace(ours, violation=difference)
    return ours
