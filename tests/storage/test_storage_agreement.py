"""Random operations, the same on every backend: after each, all must say the same.

The operations are those of schedulers: definitions by the real `changes`, claims by the real
Planner, from two owners. What a claim hands out is kept for good, so that runs are finished late,
twice, or by who has lost them. Ids are compared by what they stand for, and revisions not at all,
since the contract promises no values of them.
"""

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cronkit_core import (
    MemoryStorage,
    PostgresStorage,
    Reason,
    RunQuery,
    SQLiteStorage,
    Trigger,
    changes,
    runs,
)
from cronkit_core.executor import Outcome
from cronkit_core.planner import Planner, retry_of
from cronkit_core.runs import NewRun
from cronkit_core.storage.base import Report, Retention, SkipQuery, Storage, TaskQuery, TaskWrite

T0 = datetime(2027, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=30)
NAMES = ("a", "b", "c")
GROUPS = {"g": 2}

names = st.sampled_from(NAMES)
owners = st.sampled_from(("A", "B"))
definitions = st.fixed_dictionaries(
    {"schedule": st.sampled_from([{"interval": 7}, {"interval": 60}, "*/2 * * * *"])},
    optional={
        "overlap": st.sampled_from(["skip", "queue", "cancel", "allow"]),
        "catch_up": st.sampled_from(["latest", "all", "skip"]),
        "catch_up_limit": st.sampled_from([2, 5]),
        "grace": st.sampled_from([0, 10]),
        "retry": st.sampled_from([{"max_retries": 2}, {"max_retries": 1, "backoff": "linear"}]),
        "jitter": st.just(5),
        "group": st.just("g"),
        "priority": st.sampled_from([-1, 5]),
        "max_runs": st.sampled_from([1, 3]),
        "pause_after_failures": st.sampled_from([1, 2]),
    },
)


@dataclass
class Backend:
    """A storage, and what its ids stand for."""

    storage: Storage
    held: list = field(default_factory=list)
    """Every run that a claim handed out, with its task; never forgotten."""
    keys: dict = field(default_factory=dict)
    """What a run is, by its id: (task, slot, attempt, by hand)."""

    def key(self, run):
        self.keys[run.id] = (run.task_name, run.slot, run.attempt, run.manual)
        return self.keys[run.id]

    def ids(self, key):
        return [run_id for run_id, known in self.keys.items() if known == key][-1:]

    async def record(self, name):
        found = await self.storage.tasks(TaskQuery(names=[name]))
        return found[0] if found else None

    async def view(self, now):
        """All that can be read, without the values that are the backend's own."""
        storage = self.storage
        tasks = await storage.tasks(TaskQuery(limit=None))
        found = await storage.runs(RunQuery(limit=10_000))
        for run in found:
            self.key(run)
        skips = [s for name in NAMES for s in await storage.skips(SkipQuery(name))]
        wakes = [await storage.wake(now, owner) for owner in "AB"]
        wakes.append(await storage.wake(now, "A", ["g"]))
        return {
            "tasks": [replace(task, id=0, revision=0) for task in tasks],
            "runs": [replace(run, id=0, epoch=0) for run in found],
            "skips": [(replace(s, run_id=None), self.keys.get(s.run_id)) for s in skips],
            "counts": dict(await storage.counts()),
            "wakes": [(w.now, w.at, [self.keys[i] for i in w.cancels]) for w in wakes],
            "names": await storage.names_with_history("", 100),
        }


class Agreement(RuleBasedStateMachine):
    def __init__(self, loop, backends):
        super().__init__()
        self.loop = loop
        self.backends = backends
        self.now = T0

    def everywhere(self, operation):
        """Do the operation on each backend; all must answer the same."""

        async def all_of_them():
            return [await operation(backend) for backend in self.backends]

        first, *others = self.loop.run(all_of_them())
        for backend, other in zip(self.backends[1:], others, strict=True):
            assert other == first, type(backend.storage).__name__
        return first

    @initialize(wishes=st.lists(definitions, min_size=1, max_size=3))
    def begin(self, wishes):
        for name, wish in zip(NAMES, wishes, strict=False):
            self.save(name, wish)

    @invariant()
    def all_agree(self):
        async def view(backend):
            return await backend.view(self.now)

        self.everywhere(view)

    @rule(seconds=st.sampled_from([0.5, 2, 7, 30, 61, 600]) | st.just(-3))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)

    # --- tasks

    @rule(name=names, wish=definitions)
    def save(self, name, wish):
        async def operation(backend):
            definition = changes.define(self.now, name, "handler", **wish)
            old = await backend.record(name)
            write = changes.save(old, definition, self.now, keep_earlier=True)
            return write and await backend.storage.save_tasks([write], self.now)

        self.everywhere(operation)

    @rule(name=names)
    def save_what_was_read_too_early(self, name):
        async def operation(backend):
            old = await backend.record(name)
            if old is None:
                return None
            writes = [TaskWrite(replace(old, handler="x", revision=old.revision - 1))] * 2
            return await backend.storage.save_tasks(writes, self.now)

        self.everywhere(operation)

    @rule(name=names, enabled=st.booleans())
    def enable_or_disable(self, name, enabled):
        async def operation(backend):
            old = await backend.record(name)
            if old is None:
                return None
            if enabled:
                write = changes.enable(old, self.now)
            else:
                write = changes.disable(old, self.now, "a note", "somebody")
            return write and await backend.storage.save_tasks([write], self.now)

        self.everywhere(operation)

    @rule(which=st.lists(names, max_size=2), cancel=st.booleans())
    def remove(self, which, cancel):
        async def operation(backend):
            removed = await backend.storage.remove_tasks(which, self.now, cancel=cancel)
            return sorted(removed)

        self.everywhere(operation)

    # --- runs

    @rule(owner=owners, room=st.sampled_from([1, 3, 100]), full=st.just([]) | st.just(["g"]))
    def claim(self, owner, room, full):
        async def operation(backend):
            planner = Planner(room, GROUPS)
            claimed = await backend.storage.claim(
                planner.plan, self.now, owner=owner, lease=LEASE, limit=room, full_groups=full
            )
            for run, task_id in claimed.runs:
                backend.held.append((run, planner.tasks[task_id], task_id))
                assert run.epoch == (await backend.record(run.task_name)).revision
            found = [(backend.key(run), replace(run, id=0, epoch=0)) for run, _ in claimed.runs]
            return found, claimed.more, sorted(planner.full_groups), planner.progress

        self.everywhere(operation)

    @precondition(lambda self: self.backends[0].held)
    @rule(
        data=st.data(),
        outcome=st.sampled_from([None, Reason.EXCEPTION, Reason.CANCELLED, Reason.INTERRUPTED]),
        again=st.booleans(),
    )
    def finish(self, data, outcome, again):
        some = data.draw(
            st.lists(st.integers(0, len(self.backends[0].held) - 1), min_size=1, max_size=4)
        )

        def end(run, task, task_id):
            if outcome is None:
                return runs.succeeded(
                    run, task_id, finished_at=self.now, duration_ms=1, output="1", log="log"
                )
            retry = retry_of(run, task, task_id, Outcome(reason=outcome), self.now)
            return runs.failed(
                run,
                task_id,
                outcome,
                "it failed",
                finished_at=self.now,
                retry=retry,
                pause_after=task.policies.pause_after_failures,
            )

        async def operation(backend):
            ends = [end(*backend.held[i]) for i in some]
            answers = []
            for _ in range(1 + again):
                refused = await backend.storage.finish(ends, self.now)
                answers.append([backend.keys[run_id] for run_id in refused])
            return answers

        self.everywhere(operation)

    @rule(owner=owners)
    def renew(self, owner):
        async def operation(backend):
            reports = [
                Report(run.id, run.epoch, '{"done":1}', f"log of {owner}")
                for run, _, _ in backend.held[-3:]
            ]
            renewed = await backend.storage.renew(owner, self.now, LEASE, reports)
            return sorted(backend.key(run) for run, _ in renewed)

        self.everywhere(operation)

    @rule(
        name=names,
        triggered_by=st.sampled_from([Trigger.MANUAL, Trigger.BACKFILL]),
        waits=st.booleans(),
        before=st.sampled_from([0, 7, 60]),
        cancels=st.booleans(),
    )
    def enqueue(self, name, triggered_by, waits, before, cancels):
        async def operation(backend):
            task = await backend.record(name)
            if task is None:
                return None
            new = NewRun(
                task_id=task.id,
                task_name=name,
                slot=self.now - timedelta(seconds=before),
                attempt=1,
                triggered_by=triggered_by,
                scheduled_for=self.now,
                due_at=None if waits else self.now,
                task_group=task.task_group,
                priority=task.priority,
            )
            live = await backend.storage.runs(
                RunQuery(task_name=name, statuses=[runs.Status.RUNNING])
            )
            ids = await backend.storage.enqueue(
                [new, new],
                self.now,
                revision=task.revision,
                cancels=[run.id for run in live] if cancels else [],
            )
            inserted = await backend.storage.runs(RunQuery(ids=ids))
            return [backend.key(run) for run in inserted]

        self.everywhere(operation)

    @precondition(lambda self: self.backends[0].keys)
    @rule(data=st.data())
    def cancel(self, data):
        key = data.draw(st.sampled_from(sorted(set(self.backends[0].keys.values()))))

        async def operation(backend):
            before = [await backend.storage.cancel(i, self.now, "me") for i in backend.ids(key)]
            return [run and replace(run, id=0, epoch=0) for run in before]

        self.everywhere(operation)

    @rule(
        keep=st.none() | st.sampled_from([0, 2]),
        age=st.none() | st.sampled_from([0, 60]),
        limit=st.sampled_from([1, 100]),
    )
    def prune(self, keep, age, limit):
        before = None if age is None else self.now - timedelta(seconds=age)

        async def operation(backend):
            rules = [Retention(name, keep, before) for name in NAMES]
            return await backend.storage.prune(rules, limit)

        self.everywhere(operation)


@pytest.mark.postgres
def test_the_backends_agree(postgres, postgres_schema, tmp_path):
    durable = PostgresStorage(postgres.dsn, schema=postgres_schema, clock="caller")
    number = itertools.count()

    class Machine(Agreement):
        def __init__(self):
            tables = ", ".join(f'"{postgres_schema}".{t}' for t in ("tasks", "runs", "skips"))
            postgres.execute(f"TRUNCATE {tables} RESTART IDENTITY")
            storages = [
                MemoryStorage(),
                SQLiteStorage(":memory:"),
                SQLiteStorage(tmp_path / f"{next(number)}.db", synchronous="NORMAL"),
                durable,
            ]
            for storage in storages:
                loop.run(storage.open())
            super().__init__(loop, [Backend(storage) for storage in storages])

        def teardown(self):
            for backend in self.backends[:-1]:
                loop.run(backend.storage.close())

    quick = settings(max_examples=max(settings().max_examples // 3, 1), stateful_step_count=30)
    with asyncio.Runner() as loop:
        loop.run(durable.open())
        try:
            run_state_machine_as_test(Machine, settings=quick)
        finally:
            loop.run(durable.close())
