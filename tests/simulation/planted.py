"""Bugs to plant in the real code, so that it can be seen whether the checker finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from cronkit_core import (
    MemoryStorage,
    Status,
    StorageError,
    Trigger,
    changes,
    engine,
    executions,
    planner,
    policy,
    retry,
)
from cronkit_core.engine import Engine
from cronkit_core.executions import Executions
from cronkit_core.planner import Planner
from cronkit_core.recorder import Recorder
from cronkit_core.run_operations import RunOperations
from cronkit_core.runs import Finish, Reason
from cronkit_core.storage import memory
from cronkit_core.storage.base import REMOVED
from cronkit_core.storage.memory_agenda import Agenda

Plant = Callable[[], AbstractContextManager[Any]]
PLANTED: dict[str, Plant] = {}
"""By what the bug does, in a few words."""
RARE = {
    "what is pending of a removed task stays so",
    "a pending run that a newer slot cancels starts all the same",
    "a task of which a run is lost is planned before that is written",
    "a process takes its own runs for lost",
    "a backfill leaves out its last slot",
    "who lost a run goes on executing it",
    "who comes to an end after his time-out has succeeded",
    "what is brought to an end during a stop is thrown away",
    "a handler that ignores its cancellation is waited for",
}
"""Those that need so many seeds that the suite does not wait for it; `soak.py --planted` does."""


def planted(what: str) -> Callable[[Callable[[], Iterator[None]]], Plant]:
    def add(make: Callable[[], Iterator[None]]) -> Plant:
        PLANTED[what] = contextmanager(make)
        return PLANTED[what]

    return add


def instead(owner: Any, name: str, make: Callable[[Any], Any]) -> Any:
    """`owner.name` replaced by what `make` makes of it."""
    return patch.object(owner, name, make(getattr(owner, name)))


# --- the storage


@planted("the end of a run is written whoever writes it")
def _no_guard() -> Iterator[None]:
    def make(real: Any) -> Any:
        def finish(self: MemoryStorage, end: Finish, now: Any) -> bool:
            run = self._runs.get(end.run_id)
            if run is not None and end.owner is not None:
                end = replace(end, owner=run.owner, epoch=run.epoch)
                self._runs[run.id] = replace(run, status=Status.RUNNING)
            return bool(real(self, end, now))

        return finish

    with instead(MemoryStorage, "_finish", make):
        yield


@planted("a task advances, and its run is inserted in a transaction of its own")
def _advance_first() -> Iterator[None]:
    calls = 0

    def make(real: Any) -> Any:
        def apply(self: MemoryStorage, claim: Any, *rest: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls % 10 == 0 and claim.starts:
                claim.starts.clear()
                real(self, claim, *rest)
                raise StorageError("between the two")
            return real(self, claim, *rest)

        return apply

    with instead(MemoryStorage, "_apply", make):
        yield


@planted("a run is inserted, and its task advances in a transaction of its own")
def _insert_first() -> Iterator[None]:
    calls = 0

    def make(real: Any) -> Any:
        def apply(self: MemoryStorage, claim: Any, *rest: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls % 10 == 0 and claim.starts:
                claim.advances.clear()
                real(self, claim, *rest)
                raise StorageError("between the two")
            return real(self, claim, *rest)

        return apply

    with instead(MemoryStorage, "_apply", make):
        yield


@planted("the unique key is ignored")
def _no_key() -> Iterator[None]:
    def make(real: Any) -> Any:
        def insert(self: MemoryStorage, new: Any) -> Any:
            manual = new.triggered_by == "manual"
            self._attempts.pop((new.task_name, new.slot, manual), None)
            return real(self, new)

        return insert

    with instead(MemoryStorage, "_insert", make):
        yield


@planted("all waiting runs are released at once")
def _double_release() -> Iterator[None]:
    def make(real: Any) -> Any:
        def release(self: MemoryStorage, name: str, now: Any) -> None:
            live = [self._runs[run_id] for run_id in self._live.get(name, ())]
            if live and all(r.status is Status.PENDING and r.due_at is None for r in live):
                for run in live:
                    self._put_run(replace(run, due_at=now))

        return release

    with instead(MemoryStorage, "_release", make):
        yield


@planted("skips are not written")
def _no_skips() -> Iterator[None]:
    with instead(MemoryStorage, "_add_skips", lambda real: lambda self, skips: None):
        yield


@planted("a retry gets no lease")
def _no_lease() -> Iterator[None]:
    def make(real: Any) -> Any:
        def put(self: MemoryStorage, run: Any) -> None:
            if run.status is Status.RUNNING and run.attempt > 1:
                run = replace(run, lease_until=None)
            real(self, run)

        return put

    with instead(MemoryStorage, "_put_run", make):
        yield


@planted("leases are not extended")
def _no_renewal() -> Iterator[None]:
    def make(real: Any) -> Any:
        async def renew(self: MemoryStorage, owner: str, *rest: Any) -> Any:
            mine = [i for i in self._running if self._runs[i].owner == owner]
            return [(self._runs[i], self._task_of[i]) for i in mine]

        return renew

    with instead(MemoryStorage, "renew", make):
        yield


@planted("a lease is judged by a clock that is 10 s ahead")
def _local_clock() -> Iterator[None]:
    def make(real: Any) -> Any:
        async def claim(self: MemoryStorage, plan: Any, now: Any, **options: Any) -> Any:
            for run in [self._runs[i] for i in self._running]:
                if run.lease_until and run.lease_until <= now + timedelta(seconds=10):
                    self._runs[run.id] = replace(run, lease_until=min(run.lease_until, now))
            return await real(self, plan, now, **options)

        return claim

    with instead(MemoryStorage, "claim", make):
        yield


@planted("a disabled task is claimed")
def _disabled() -> Iterator[None]:
    def make(real: Any) -> Any:
        def is_due(self: MemoryStorage, task_id: int, at: Any, priority: int) -> Any:
            record = self._tasks.get(self._by_id.get(task_id, ""))
            stands = record is not None and record.next_run_at == at
            return record.task_group if stands else False

        return is_due

    with instead(MemoryStorage, "_slot_is_due", make):
        yield


@planted("a transaction that ends a run is done again, and counts again")
def _counts_twice() -> Iterator[None]:
    def make(real: Any) -> Any:
        async def finish(self: MemoryStorage, ends: Any, now: Any) -> Any:
            for end in ends:
                run = self._runs.get(end.run_id)
                if run is not None and run.status is end.status and end.task_id in self._by_id:
                    self._note_outcome(self._tasks[self._by_id[end.task_id]], run, end, now)
            return await real(self, ends, now)

        return finish

    with instead(MemoryStorage, "finish", make):
        yield


@planted("an edit is written over another one")
def _lost_update() -> Iterator[None]:
    def make(real: Any) -> Any:
        async def save_tasks(self: MemoryStorage, writes: Any, now: Any) -> Any:
            forced = []
            for write in writes:
                old = self._tasks.get(write.record.name)
                if old is not None and write.record.revision:
                    record = replace(write.record, id=old.id, revision=old.revision)
                    write = replace(write, record=record)
                forced.append(write)
            return await real(self, forced, now)

        return save_tasks

    with instead(MemoryStorage, "save_tasks", make):
        yield


@planted("what is pending of a removed task stays so")
def _removed_stays() -> Iterator[None]:
    def make(real: Any) -> Any:
        def drop(self: MemoryStorage, name: str, why: str, *rest: Any, **options: Any) -> None:
            if why != REMOVED:
                real(self, name, why, *rest, **options)

        return drop

    with instead(MemoryStorage, "_drop_pending", make):
        yield


@planted("a removal cancels nobody")
def _removal_cancels_nobody() -> Iterator[None]:
    def make(real: Any) -> Any:
        return lambda self, names, now, *, cancel: real(self, names, now, cancel=False)

    with instead(MemoryStorage, "remove_tasks", make):
        yield


@planted("of the runs that wait, the newest starts first")
def _newest_first() -> Iterator[None]:
    def make(real: Any) -> Any:
        def release(self: MemoryStorage, name: str, now: Any) -> None:
            live = [self._runs[run_id] for run_id in self._live.get(name, ())]
            if live and all(r.status is Status.PENDING and r.due_at is None for r in live):
                self._put_run(replace(max(live, key=lambda r: (r.slot, r.id)), due_at=now))

        return release

    with instead(MemoryStorage, "_release", make):
        yield


@planted("the lowest priority comes first")
def _lowest_first() -> Iterator[None]:
    def upside_down(found: Any, **options: Any) -> Any:
        ordered = sorted(found, **options)
        return ordered[::-1] if all(isinstance(i, int) for i in ordered) else ordered

    with patch.object(memory, "sorted", upside_down, create=True):
        yield


@planted("pruning takes one run too many")
def _prunes_too_much() -> Iterator[None]:
    def make(real: Any) -> Any:
        async def prune(self: MemoryStorage, rules: Any, limit: int) -> Any:
            fewer = [replace(r, keep=None if r.keep is None else r.keep - 1) for r in rules]
            return await real(self, fewer, limit)

        return prune

    with instead(MemoryStorage, "prune", make):
        yield


@planted("a task does not remember how its last run ended")
def _no_last_status() -> Iterator[None]:
    def make(real: Any) -> Any:
        return lambda before, end: replace(real(before, end), last_status=before.last_status)

    with instead(memory, "tally", make):
        yield


# --- the decisions


@planted("the next slot is counted from now")
def _from_now() -> Iterator[None]:
    def make(real: Any) -> Any:
        def plan(task: Any, live: Any, now: Any) -> Any:
            decision = real(task, live, now)
            if decision.next_slot is None or task.schedule.kind != "interval":
                return decision
            at = now + timedelta(seconds=task.schedule.every.total_seconds())
            return replace(decision, next_slot=at, next_run_at=at)

        return plan

    with instead(policy, "plan", make):
        yield


@planted("slots that were missed leave no trace")
def _no_missed() -> Iterator[None]:
    with patch.object(policy, "_missed", lambda *args: ()):
        yield


@planted("a task whose retry is pending is not active")
def _retry_is_not_active() -> Iterator[None]:
    def make(real: Any) -> Any:
        return lambda task, live, now: real(task, [r for r in live if r.running], now)

    with instead(policy, "plan", make):
        yield


@planted("a queued slot that gives way is forgotten")
def _forgotten_queue() -> Iterator[None]:
    def make(real: Any) -> Any:
        def queue(due: Any, live: Any) -> Any:
            start, wait, _, cancel, replaced = real(due, live)
            return start, wait, (), cancel, replaced

        return queue

    with instead(policy, "_queue", make):
        yield


@planted("a lost run is not tried again")
def _no_retry_of_lost() -> Iterator[None]:
    with patch.object(planner, "retry_of", lambda *args: None):
        yield


@planted("there is one retry more than the policy allows")
def _one_more() -> Iterator[None]:
    def make(real: Any) -> Any:
        return lambda run, *rest: (
            real(replace(run, attempt=run.attempt - 1), *rest)
            and real(replace(run, attempt=0), *rest)
            and planner.runs.retried(run, real(replace(run, attempt=0), *rest).due_at, rest[1])
        )

    with instead(executions, "retry_of", make):
        yield


@planted("each process counts the runs of a group for itself")
def _group_of_its_own() -> Iterator[None]:
    def make(real: Any) -> Any:
        return lambda self, snapshot: real(self, replace(snapshot, running={}))

    with instead(Planner, "plan", make):
        yield


@planted("an edit starts the schedule anew, due or not")
def _edit_forgets() -> Iterator[None]:
    def make(real: Any) -> Any:
        return lambda old, record, task, now, *, keep_earlier: (record, ())

    with instead(changes, "_kept", make):
        yield


@planted("what passed while a task was disabled leaves no trace")
def _no_disabled() -> Iterator[None]:
    def make(real: Any) -> Any:
        def enable(old: Any, now: Any) -> Any:
            write = real(old, now)
            return None if write is None else replace(write, skips=())

        return enable

    with instead(changes, "enable", make):
        yield


@planted("a pending run that a newer slot cancels starts all the same")
def _not_held_back() -> Iterator[None]:
    with patch.object(Planner, "_hold_back", lambda self, run_id: None):
        yield


@planted("a task of which a run is lost is planned before that is written")
def _not_settled() -> Iterator[None]:
    def make(real: Any) -> Any:
        def recover(self: Planner, owed: Any, now: Any) -> None:
            real(self, owed, now)
            self._unsettled.clear()

        return recover

    with instead(Planner, "_recover", make):
        yield


@planted("retries do not wait")
def _no_backoff() -> Iterator[None]:
    with patch.object(retry, "delay", lambda *args: 0.0):
        yield


@planted("what is caught up counts as on time")
def _no_grace() -> Iterator[None]:
    def make(real: Any) -> Any:
        return lambda task, due, due_at=None: real(
            task, replace(due, triggered_by=Trigger.SCHEDULE), due_at
        )

    with instead(planner, "new_run", make):
        yield


@planted("an edit forgets how often the task has failed")
def _edit_forgets_failures() -> Iterator[None]:
    def make(real: Any) -> Any:
        def save(*args: Any, **options: Any) -> Any:
            write = real(*args, **options)
            return write and replace(write, record=replace(write.record, failures=0))

        return save

    with instead(changes, "save", make):
        yield


@planted("a process takes its own runs for lost")
def _lost_to_itself() -> Iterator[None]:
    with instead(Planner, "__init__", lambda real: lambda self, *args: real(self, *args[:2])):
        yield


# --- the operations


@planted("a trigger by hand does not look whether its task is active")
def _reckless_trigger() -> Iterator[None]:
    async def live_runs(self: RunOperations, name: str) -> Any:
        return []

    with patch.object(RunOperations, "_live_runs", live_runs):
        yield


@planted("a backfill leaves out its last slot")
def _backfills_too_little() -> Iterator[None]:
    def make(real: Any) -> Any:
        async def enqueue(self: RunOperations, name: str, task_id: int, new: Any) -> Any:
            return await real(self, name, task_id, new[:-1]) if len(new) > 1 else []

        return enqueue

    with instead(RunOperations, "_enqueue", make):
        yield


# --- the engine


@planted("who lost a run goes on executing it")
def _zombie() -> Iterator[None]:
    def make(real: Any) -> Any:
        def cancel(self: Executions, run_id: int, outcome: Any) -> None:
            if outcome.reason is not Reason.LOST:
                real(self, run_id, outcome)

        return cancel

    with instead(Executions, "cancel", make):
        yield


@planted("nobody asks for the runs of a claim whose answer was lost")
def _no_adoption() -> Iterator[None]:
    async def adopt(self: Engine, run: Any, task_id: int) -> None:
        pass

    with patch.object(Engine, "_adopt", adopt):
        yield


@planted("nobody listens to cancellations")
def _deaf() -> Iterator[None]:
    async def cancel_asked(self: Engine, run_ids: Any) -> None:
        pass

    with patch.object(Engine, "_cancel_asked", cancel_asked):
        yield


@planted("an end that could not be written is given up")
def _given_up() -> Iterator[None]:
    def make(real: Any) -> Any:
        class Careless(Recorder):
            def __init__(self, storage: Any, *rest: Any) -> None:
                super().__init__(_Careless(storage), *rest)

        return Careless

    with instead(engine, "Recorder", make):
        yield


class _Careless:
    def __init__(self, storage: Any) -> None:
        self._storage = storage

    async def finish(self, ends: Any, now: Any) -> Any:
        try:
            return await self._storage.finish(ends, now)
        except StorageError:
            return []


@planted("an end that was written is written again and told again")
def _told_twice() -> Iterator[None]:
    def make(real: Any) -> Any:
        async def recorded(self: Engine, ends: Any, refused: Any) -> None:
            for end in ends:
                if (execution := self.executions.all.get(end.run_id)) is not None:
                    self._announcer.ended(execution.run, end)
            await real(self, ends, refused)

        return recorded

    with instead(Engine, "_recorded", make):
        yield


@planted("entries of the agenda are never dropped")
def _leak() -> Iterator[None]:
    def make(real: Any) -> Any:
        def add(self: Agenda, at: Any, key: int, priority: int) -> None:
            for i in range(20):
                real(self, at + timedelta(days=3650 + i), key, priority)
            real(self, at, key, priority)

        return add

    with instead(Agenda, "add", make):
        yield


@planted("time-outs are not enforced")
def _no_timeout() -> Iterator[None]:
    with patch.object(Executions, "_set_deadline", lambda *args: None):
        yield


@planted("a stop interrupts nobody")
def _stop_waits() -> Iterator[None]:
    with patch.object(Executions, "cancel_all", lambda self, outcome: None):
        yield


@planted("a scheduler that is being stopped goes on claiming")
def _stop_claims() -> Iterator[None]:
    def make(real: Any) -> Any:
        async def tick(self: Engine) -> Any:
            stopping, self._stopping = self._stopping, False
            try:
                return await real(self)
            finally:
                self._stopping = self._stopping or stopping

        return tick

    with instead(Engine, "tick", make):
        yield


@planted("who comes to an end after his time-out has succeeded")
def _late_success() -> Iterator[None]:
    def make(real: Any) -> Any:
        return lambda stop, outcome: outcome if outcome.reason is None else real(stop, outcome)

    with instead(executions, "_settled", make):
        yield


@planted("what is brought to an end during a stop is thrown away")
def _no_success_in_a_stop() -> Iterator[None]:
    def make(real: Any) -> Any:
        return lambda stop, outcome: real(stop, outcome) if stop is None else stop

    with instead(executions, "_settled", make):
        yield


@planted("a handler that ignores its cancellation is waited for")
def _waits_for_the_deaf() -> Iterator[None]:
    with patch.object(Executions, "_abandon", lambda *args: None):
        yield
