"""Several connections at once on one PostgreSQL: who locks what, and who waits for whom."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from cronkit_core import (
    RunQuery,
    Status,
    StorageError,
    Trigger,
)
from cronkit_core.planner import Planner
from cronkit_core.storage.base import Claim, TaskQuery, TaskWrite
from cronkit_core.testing._contract_made import (
    LEASE,
    T0,
    at,
    claim,
    enqueue,
    failure,
    history,
    made,
    new_run,
    read,
    save,
    start_all,
    started,
    states,
    success,
)

pytestmark = pytest.mark.postgres


async def test_claims_at_once_share_what_is_due(make):
    storages = [await make() for _ in range(4)]
    await save(storages[0], *(made(f"t{i:02}") for i in range(60)))

    async def claims(storage):
        found = []
        while some := (await claim(storage, limit=7)).runs:
            found += some
        return found

    found = [run for some in await asyncio.gather(*map(claims, storages)) for run, _ in some]
    rest = [run for run, _ in (await claim(storages[0])).runs]
    assert sorted(run.task_name for run in found + rest) == [f"t{i:02}" for i in range(60)]
    assert len({run.id for run in found + rest}) == 60


async def test_a_group_is_never_over_its_limit(make):
    storages = [await make() for _ in range(4)]
    await save(storages[0], *(made(f"t{i:02}", task_group="g") for i in range(24)))
    task = await read(storages[0], "t00")
    await enqueue(storages[0], task, *(new_run(task, at(-i), due_at=T0) for i in range(1, 9)))
    ran = Counter()

    async def work(storage, owner):
        while len(ran) < 24 + 8 - 1:
            planner = Planner(100, {"g": 3})
            claimed = await claim(storage, planner.plan, owner=owner, limit=5)
            running = await storages[0].runs(RunQuery(statuses=[Status.RUNNING]))
            assert len(running) <= 3
            ran.update((run.task_name, run.slot) for run, _ in claimed.runs)
            ends = [success(run, task_id) for run, task_id in claimed.runs]
            assert await storage.finish(ends, T0) == []

    await asyncio.wait_for(
        asyncio.gather(*(work(storage, str(i)) for i, storage in enumerate(storages))), 60
    )
    assert set(ran.values()) == {1}


async def test_ends_at_once_release_one(make):
    """Of eight runs of a task, which fail all at once, each counts; the last releases the next, and
    none releases two."""
    storages = [await make(max_connections=8) for _ in range(2)]
    here = storages[0]
    for i in range(4):
        name = f"task {i}"
        [task] = await save(here, made(name, next_slot=None, next_run_at=None))
        await enqueue(here, task, *(new_run(task, at(n), due_at=T0) for n in range(8)))
        runs = (await claim(here)).runs
        await enqueue(here, task, *(new_run(task, at(n)) for n in (99, 98, 97)))
        refused = await asyncio.gather(
            *(storages[n % 2].finish([failure(*run)], at(5)) for n, run in enumerate(runs))
        )
        assert refused == [[]] * 8
        assert (await read(here, name)).failures == 8
        found = (await history(here, name))[8:]
        assert [run.due_at for run in found] == [None, None, at(5)]
        await here.remove_tasks([name], T0, cancel=True)


async def test_operations_at_once_do_not_wait_for_each_other_for_ever(make):
    """All of them on the same few tasks, in any order: none fails, and what is left is whole."""
    storages = [await make(max_connections=6) for _ in range(2)]
    names = ["a", "b", "c", "d"]
    await save(storages[0], *(made(name, overlap_policy="queue") for name in names))
    failures = []

    async def work(number):
        storage = storages[number % 2]
        owner = f"owner {number}"
        for step in range(12):
            now = at(step)
            try:
                match (number + step) % 6:
                    case 0 | 1:
                        claimed = await claim(storage, start_all, now, owner=owner)
                        ends = [
                            failure(run, i, now, retry_at=now + timedelta(seconds=1))
                            if run.attempt == 1
                            else success(run, i, now)
                            for run, i in claimed.runs
                        ]
                        await storage.finish(ends[::-1], now)
                    case 2:
                        await storage.renew(owner, now, LEASE)
                        await storage.renew(f"owner {number - 1}", now, LEASE)
                    case 3:
                        record = (await storage.tasks(TaskQuery(names=[names[step % 4]])))[0]
                        new = new_run(record, now, triggered_by=Trigger.MANUAL)
                        await storage.enqueue([new], now, revision=record.revision)
                    case 4:
                        records = await storage.tasks(TaskQuery())
                        await storage.save_tasks([TaskWrite(r) for r in records[::-1]], now)
                    case 5:
                        live = await storage.runs(RunQuery(statuses=[Status.PENDING], limit=3))
                        for run in live:
                            await storage.cancel(run.id, now, "me")
            except StorageError as error:
                failures.append(str(error))

    await asyncio.wait_for(asyncio.gather(*map(work, range(12))), 60)

    # A claim is not done again by itself; what breaks a deadlock may hit one.
    assert [f for f in failures if "deadlock" not in f] == []
    assert len(failures) <= 3
    here = storages[0]
    for name in names:
        while True:  # what is left is executed one after the other
            claimed = await claim(here, lambda s: Claim(resumes=list(s.pending)), at(10_000))
            if not claimed.runs:
                break
            assert await here.finish([success(*run) for run in claimed.runs], at(10_000)) == []
        live = [r for r in await history(here, name) if r.status is Status.PENDING]
        assert live == [], states(live)


@pytest.mark.parametrize("first", ["the end", "the new task"])
async def test_a_new_task_of_a_name_whose_old_run_ends_meanwhile(make, postgres, first):
    """The name is locked for both, although there was no row to lock: who comes second sees what
    the first has done, so one waiting run is released, and just one."""
    here, there = await make(), await make()
    run, old_id = await started(here)
    await here.remove_tasks(["task"], T0, cancel=False)
    queries = here._queries

    async def end(tx):
        return await queries.finish(tx, [success(run, old_id)], at(5))

    async def make_anew(tx):
        write = TaskWrite(made(next_slot=None, next_run_at=None))
        assert await queries.save_tasks(tx, [write], T0) == []
        [task] = await queries.tasks(tx, TaskQuery(names=["task"]))
        new = [new_run(task, at(2)), new_run(task, at(1))]
        return await queries.enqueue(
            tx,
            new,
            T0,
            revision=task.revision,
            replaced=[],
            cancels=[],
            skips=[],
            database_clock=False,
        )

    works = (end, make_anew) if first == "the end" else (make_anew, end)
    async with here._open_pool().connection() as tx:
        async with tx.transaction():
            await works[0](tx)
            second = asyncio.create_task(there._write(works[1]))
            while not postgres.execute(
                "SELECT 1 FROM pg_locks WHERE locktype IN ('advisory', 'transactionid') "
                "AND NOT granted"
            ):
                assert not second.done(), "it does not wait"
                await asyncio.sleep(0.01)
        await second
    assert [(r.slot, r.due_at is not None) for r in (await history(here))[1:]] == [
        (at(2), False),
        (at(1), True),
    ]
