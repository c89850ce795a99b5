"""Whether, when everything is healed and some time has passed, nothing is left over: no run that
nobody executes, no slot that nobody claims, no memory that nobody needs, no slot without a row."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sim_ledger import LIVE, Violation

from cronkit_core import Fate, Reason, Run, Skip, Status

if TYPE_CHECKING:
    from sim_world import Node, World


async def check_end(world: World) -> None:
    _check_copy(world)
    _check_rows(world)
    for node in world.nodes:
        _check_node(world, node)
    _check_live(world)
    _check_pruned(world)
    _check_sizes(world)
    await _check_explanations(world)


def _check_copy(world: World) -> None:
    """Nothing changed without a transaction of its own, nor after it was over."""
    ledger = world.ledger
    stored = {run.id: run for run in ledger.view.runs_after(0)}
    keeps = world.scenario.settings["keep_runs"] is None
    for run_id, run in ledger.runs.items():
        now = stored.get(run_id)
        if now is None and (keeps or run_id in ledger.live):
            raise Violation("run vanished", f"{run}")
        if now is not None and now != run:
            raise Violation("history changed", f"{run} became {now}")
    if ledger.view.tasks() != ledger.tasks:
        raise Violation("task changed", "between two transactions")


def _check_rows(world: World) -> None:
    """Every slot that was to have a fate has one in the tables, and attempts have no holes."""
    keeps = world.scenario.settings["keep_runs"] is None
    ran: defaultdict[str, Counter[datetime]] = defaultdict(Counter)
    for run in world.ledger.runs.values():
        if not run.manual and run.attempt == 1:
            ran[run.task_name][run.slot] += 1
    skips: defaultdict[str, list[Skip]] = defaultdict(list)
    for skip in world.ledger.view.skips():
        skips[skip.task_name].append(skip)
    for name, slots in world.slots.fated.items():
        for slot in slots:
            covered = any(s.first_slot <= slot <= s.last_slot for s in skips[name])
            if slot in world.slots.overlapped[name]:
                # By clocks that went back, slots may come out of order: such a row counts them.
                covered = covered or any(s.run_id is not None for s in skips[name])
            if keeps and not covered and not ran[name][slot]:
                raise Violation("slot lost", f"{name} {slot}: no row tells of it")
    per_slot: defaultdict[tuple[str, datetime, bool], list[Run]] = defaultdict(list)
    for run in world.ledger.runs.values():
        per_slot[run.task_name, run.slot, run.manual].append(run)
    for attempts in per_slot.values():
        numbers = sorted(run.attempt for run in attempts)
        if keeps and numbers != list(range(1, len(attempts) + 1)):
            raise Violation("attempts", f"{attempts}")
        last = max(numbers)
        if keeps and any(r.status is Status.SUCCESS for r in attempts if r.attempt < last):
            raise Violation("attempts", f"after a success: {attempts}")


def _check_node(world: World, node: Node) -> None:
    """The process at work: nothing is under way but what the storage says."""
    engine = node.scheduler.engine
    if engine is None or not node.up:
        raise Violation("not up", node.name)
    if engine.finished.is_set() or node.scheduler._work is None or node.scheduler._work.done():
        raise Violation("loop ended", node.name)
    slack = 2 * world.scenario.settings["poll"] + 40 * world.scenario.latency + 10
    keeps = world.scenario.settings["keep_runs"] is None
    stored = {run.id for run in world.ledger.live.values() if run.owner == engine.owner}
    for run_id, execution in engine.executions.all.items():
        entry = world.book.entries.get(run_id)
        if entry is None:
            continue
        if entry.ended is not None and entry.ended < world.loop.time() - slack:
            raise Violation("not recorded", f"{entry}, {execution}")
        if run_id not in stored and entry.began < world.loop.time() - slack:
            raise Violation("executed without a claim", f"{execution.run}")
    if engine.executions.active > len(engine.executions.all):
        raise Violation("memory", f"{engine.executions.active} active")
    if len(engine.executions._deadlines) > 1_000 + 2 * len(engine.executions.all) + 1:
        raise Violation("memory", f"{len(engine.executions._deadlines)} deadlines")
    if engine.executions.abandoned:
        raise Violation("memory", f"{len(engine.executions.abandoned)} abandoned handlers")
    for run in world.ledger.runs.values():
        young = run.finished_at is None or run.finished_at > world.now(-slack)
        if run.owner == node.owner and run.status not in LIVE and not young:
            # Of one that could not be adopted nobody is told, and of one that was pruned while it
            # was not known whether its end is recorded, that it was lost.
            silent = run.reason in (Reason.LOST, Reason.BROKEN) or not keeps
            if not silent and world.told_of.get(run.id) != 1:
                raise Violation("event", f"{world.told_of.get(run.id)} times it was told of {run}")


def _check_live(world: World) -> None:
    """Nothing waits for ever."""
    scenario, ledger = world.scenario, world.ledger
    now = world.now()
    slack = timedelta(seconds=2 * scenario.settings["poll"] + 5 * scenario.unit + 30)
    executing = {
        run_id
        for node in world.nodes
        if node.scheduler.engine is not None
        for run_id in node.scheduler.engine.executions.all
    }
    owners = {node.owner for node in world.nodes}
    roomy = scenario.settings["max_concurrency"] >= 100
    # Nor is there room where claim upon claim takes as much as one may.
    roomy = roomy and world.time.filled < world.loop.time() - slack.total_seconds()
    due: list[tuple[str, str | None, str]] = []
    for run in ledger.live.values():
        others = [r for r in ledger.live_of(run.task_name) if r.id != run.id]
        if run.status is Status.RUNNING:
            assert run.lease_until is not None
            assert run.started_at is not None
            if run.lease_until < now - slack:
                raise Violation("left running", f"{run} at {now}")
            young = run.started_at > now - slack
            if run.owner in owners and run.id not in executing and not young:
                raise Violation("left running", f"{run} at {now}: nobody executes it")
            if run.owner in owners and not young:
                raise Violation("left running", f"{run} at {now}: it does not end")
        elif run.due_at is None:
            if not any(r.status is Status.RUNNING or r.due_at is not None for r in others):
                raise Violation("left waiting", f"{run}, {others}")
        elif run.due_at < now - slack:
            due.append(("left pending", run.task_group, f"{run} at {now}"))
    for record in ledger.tasks.values():
        at = record.next_run_at
        if record.enabled and at is not None and at < now - slack:
            due.append(("left due", record.task_group, f"{record} at {now}"))
    busy = any(
        run.status is Status.RUNNING or (run.started_at or scenario.start) > now - slack
        for run in ledger.runs.values()
    )
    for code, group, what in due:
        # Where there is little room, what matters less may wait for long, and where a clock was
        # ahead, for the lease of somebody dead. But not for nobody.
        if (roomy and group is None) or not busy:
            raise Violation(code, what)


def _check_pruned(world: World) -> None:
    """Of the runs of a task, its newest are kept, and no older ones."""
    keep, every = (world.scenario.settings[key] for key in ("keep_runs", "prune_every"))
    if keep is None:
        return
    ids: defaultdict[str, list[int]] = defaultdict(list)
    for run in world.ledger.runs.values():
        ids[run.task_name].append(run.id)
    stored = {run.id for run in world.ledger.view.runs_after(0)}
    for name, some in ids.items():
        newest = sorted(some)[-keep:]
        if lost := [run_id for run_id in newest if run_id not in stored]:
            raise Violation("pruned too much", f"{lost} of {name}, of which {keep} are kept")
        ended = (world.ledger.runs[run_id].finished_at for run_id in some)
        since = world.now(-2 * every - 30 - 10 * world.scenario.latency)
        young = sum(at is None or at > since for at in ended)
        left = [run_id for run_id in some if run_id in stored]
        if len(left) > keep + young:
            raise Violation("not pruned", f"{len(left)} runs of {name}, of which {keep} are kept")


def _check_sizes(world: World) -> None:
    """What is derived from the rows does not outgrow them."""
    rows = len(world.ledger.live) + len(world.ledger.tasks)
    for what, size in world.ledger.view.sizes().items():
        if size > 200 + 4 * rows:
            raise Violation("memory", f"{size} {what}, for {rows} rows")


async def _check_explanations(world: World) -> None:
    """What `explain` says of slots is what the ledger says."""
    scheduler = world.nodes[0].scheduler
    keeps = world.scenario.settings["keep_runs"] is None
    for name in sorted(world.ledger.tasks):
        for slot in list(world.slots.fated[name])[-6:]:
            told = await scheduler.explain(name, slot)
            tried = [run for run in told.runs if run.started_at is not None]
            if tried and told.fate not in (Fate.RAN, Fate.RUNNING, Fate.PENDING):
                raise Violation("explain", f"it was tried: {told}")
            if not told.runs and told.fate in (Fate.RAN, Fate.RUNNING, Fate.PENDING):
                raise Violation("explain", f"nothing was tried: {told}")
            if keeps and told.fate in (Fate.UNKNOWN, Fate.DUE, Fate.FUTURE):
                raise Violation("explain", f"there is a row of it: {told}")
