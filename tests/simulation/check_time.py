"""Whether things happen when they should, as far as nothing was wrong: slots and retries start on
time, no run is lost without a cause, cancellations and time-outs are obeyed, who lost a run stops
executing it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sim_book import Entry
from sim_ledger import Delta, Ledger, Violation
from sim_scenario import CALM, WILD, Scenario

from cronkit_core import Reason, Run, Status
from cronkit_core.tasks import TaskRecord

if TYPE_CHECKING:
    from sim_world import Node, World

DEAF = ("stubborn", "swallow", "untidy", "spite")
"""Handlers that may go on for a while, or end otherwise, when they are cancelled."""

STOPPED = (Reason.CANCELLED, Reason.TIMEOUT, Reason.LOST, Reason.INTERRUPTED)
"""Ends of which a request to cancel is not the only cause."""


class Timeliness:
    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world = world
        self._ledger = ledger
        scenario: Scenario = world.scenario
        self._asked: dict[int, float] = {}
        """When the cancellation of a run was asked for."""
        self._claimed: dict[int, float] = {}
        self._zombies: list[Entry] = []
        self._leased: dict[int, float] = {}
        """When the owner of a run last gave a sign of life: by the clock that says until when the
        lease is, which is the asking process's, when it asks, or the storage's, when it answers."""
        self._saved: dict[str, float] = {}
        """When somebody last edited a task: what it made due was not due before."""
        self.filled = 0.0
        """When a claim last took as much as one may: what it left had others before it."""
        self._poll = float(scenario.settings["poll"])
        self._lease = float(scenario.settings["lease"])
        self._grace = float(scenario.settings["cancel_grace"])
        # Some calls to the storage follow each other; of a small batch, many.
        self._slack = 2.0 + 15 * scenario.latency
        self._roomy = scenario.settings["max_concurrency"] >= 100
        self._exact = scenario.mode != WILD

    def check(self, delta: Delta) -> None:
        """To be called before the ledger takes the delta over."""
        self._check_zombies()
        if delta.call.method == "save_tasks":
            for _, after in delta.tasks:
                if after is not None:
                    self._saved[after.name] = delta.time
        if delta.call.method == "renew":
            self._check_phantoms(delta)
        if delta.call.method == "claim":
            for run in (*delta.inserted, *(new for _, new in delta.changed)):
                if run.status is Status.RUNNING:
                    self._claimed[run.id] = delta.time
            for before, after in delta.tasks:
                if before is not None and after is not None:
                    self._check_slot(before, after)
        leased = delta.call.sent if self._world.server.now is None else delta.time
        for run in (*delta.inserted, *(new for _, new in delta.changed)):
            if run.status is Status.RUNNING and delta.call.method in ("claim", "renew"):
                self._leased[run.id] = leased
        for old, new in delta.changed:
            if old.status is Status.PENDING and new.status is Status.RUNNING:
                self._check_start(old)
            if new.cancel_requested_by and not old.cancel_requested_by:
                self._asked[new.id] = delta.time
            if old.status is Status.RUNNING and new.status is not Status.RUNNING:
                if delta.call.method == "claim":
                    self._check_lost(new)
                else:
                    self._check_obeyed(new)
        if delta.call.method == "claim" and _taken(delta) >= delta.call.options["limit"]:
            self.filled = delta.time

    def _calm_since(self, time: float, *nodes: Node) -> bool:
        """Whether nothing was wrong with the nodes (none named: with any) since then."""
        world = self._world
        if not self._exact or world.offset:
            return False
        return all(node.disturbed_at < time for node in nodes or world.nodes)

    def _check_slot(self, before: TaskRecord, after: TaskRecord) -> None:
        run_at = before.next_run_at
        if run_at is None or after.next_run_at == run_at:
            return
        if before.task_group is None and self._roomy:
            self._check_late(before.name, run_at, f"the slot {before.next_slot} of {before.name}")

    def _check_start(self, run: Run) -> None:
        if run.due_at is not None and run.task_group is None and self._roomy:
            self._check_late(run.task_name, run.due_at, str(run))

    def _check_late(self, name: str, due: datetime, what: str) -> None:
        world = self._world
        at = max((due - world.scenario.start).total_seconds(), self._saved.get(name, 0.0))
        late = world.loop.time() - max(at, self.filled)
        if late > self._slack and self._calm_since(at - self._poll - self._lease):
            raise Violation(
                "late", f"{what} could have started {late:.1f} s ago, and nothing was wrong"
            )

    def _check_lost(self, run: Run) -> None:
        world = self._world
        entry = world.book.entries.get(run.id)
        if entry is not None and entry.ended is None:
            entry.lost_at = world.loop.time()
            self._zombies.append(entry)
        node = world.node_of(run.owner)
        if self._slack > self._lease / 4 or run.owner != node.owner or not node.process.alive:
            return
        if world.scenario.mode == CALM or self._calm_since(self._leased[run.id], node):
            raise Violation("lost for no reason", f"{run}")

    def _check_obeyed(self, run: Run) -> None:
        """A run ended as its owner says: not later than it had to."""
        world = self._world
        now, node = world.loop.time(), world.node_of(run.owner)
        entry = world.book.entries.get(run.id)
        asked = self._asked.get(run.id)
        if asked is not None and entry is not None and run.reason not in STOPPED:
            # A handler that ended of itself before it was told may have ended well.
            ended = now if entry.ended is None else entry.ended
            if ended > asked + self._poll + self._slack and self._calm_since(asked, node):
                raise Violation("cancel", f"{now - asked:.1f} s after it was asked for: {run}")
        patience = self._grace + self._slack
        if asked is not None and entry is not None:
            late = now > asked + self._poll + patience
            if late and self._calm_since(asked, node):
                raise Violation("cancel", f"recorded {now - asked:.1f} s after that: {run}")
        plan = world.runs.plan_of(run.id)
        if entry is not None and plan.policies.timeout is not None:
            took, limit = (entry.ended or now) - entry.began, plan.policies.timeout
            too_long = run.reason not in STOPPED and took > limit
            too_late = now - entry.began > limit + patience
            if (too_long or too_late) and self._calm_since(entry.began, node):
                raise Violation("timeout", f"it took {took:.3f} s: {run}")

    def _check_zombies(self) -> None:
        """Whether those who have lost a run go on executing it."""
        now = self._world.loop.time()
        patience = self._lease / 3 + self._poll + self._grace + self._slack
        for entry in list(self._zombies):
            if entry.ended is not None or not entry.process.alive or entry.habit in DEAF:
                self._zombies.remove(entry)
                continue
            node = self._world.node_of(entry.owner)
            if entry.lost_at is not None and now > patience + max(entry.lost_at, node.disturbed_at):
                raise Violation("zombie", f"{entry}, which lost its run at {entry.lost_at:.1f}")

    def _check_phantoms(self, delta: Delta) -> None:
        """Whether a process knows of the runs that it has; it is told when it renews its leases."""
        node = self._world.node_of(delta.call.owner)
        engine = node.scheduler.engine
        if delta.call.owner != node.owner or engine is None:
            return
        for run in self._ledger.live.values():
            if run.owner == node.owner and run.id not in engine.executions.all:
                since = max(self._claimed.get(run.id, 0.0), node.disturbed_at)
                if delta.time > since + self._lease / 3 + self._poll + self._slack:
                    raise Violation("phantom", f"nobody executes {run}")


def _taken(delta: Delta) -> int:
    """How many slots and pending runs that were due a claim has dealt with."""
    now = delta.call.now
    assert now is not None
    moved = [
        before
        for before, after in delta.tasks
        if before is not None and after is not None and before.next_run_at != after.next_run_at
    ]
    resumed = [old for old, _ in delta.changed if old.due_at is not None and old.due_at <= now]
    return len(moved) + len(resumed)
