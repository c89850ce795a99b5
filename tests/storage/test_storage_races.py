"""Several processes, and threads, on one storage at once."""

import asyncio
import sqlite3
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import psycopg
import pytest
import racers
from racers import T0, claim_and_finish, in_threads, make, open_it, serve, together

from cronkit_core import Reason, RunQuery, Scheduler, SkipQuery, Status, StorageTooNew, Trigger
from cronkit_core.runs import NewRun
from cronkit_core.storage import postgres_schema, sqlite_schema
from cronkit_core.storage.base import TaskQuery
from cronkit_core.testing.virtual import VirtualClock

# A process that cannot be scheduled at once, on a busy machine, is no failure.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def where(request, tmp_path):
    if request.param == "sqlite":
        return ("sqlite", str(tmp_path / "cron.db"))
    server = request.getfixturevalue("postgres")
    return ("postgres", server.dsn, request.getfixturevalue("postgres_schema"))


def waiting(record, slot):
    return NewRun(
        task_id=record.id,
        task_name=record.name,
        slot=slot,
        attempt=1,
        triggered_by=Trigger.BACKFILL,
        scheduled_for=slot,
    )


def columns_of_tasks(where):
    kind, place, *schema = where
    if kind == "sqlite":
        connection = sqlite3.connect(place)
        found = [row[1] for row in connection.execute("PRAGMA table_info(cronkit_tasks)")]
        connection.close()
        return found
    with psycopg.connect(place) as connection:
        rows = connection.execute(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = %s AND table_name = 'tasks'",
            schema,
        )
        return [row[0] for row in rows]


async def test_eight_start_at_once(where, monkeypatch):
    """On nothing, then on what the version before made; then that version comes again."""
    with together(8, open_it, where, False) as answers:
        pass
    assert answers == ["fine"] * 8
    assert "extra" not in columns_of_tasks(where)
    async with Scheduler(make(where)) as scheduler:
        await scheduler.add_task("kept", "handler", {"interval": 3600})
    with together(8, open_it, where, True) as answers:
        pass
    assert answers == ["fine"] * 8
    assert columns_of_tasks(where).count("extra") == 1
    storage = make(where)
    known = len((sqlite_schema if where[0] == "sqlite" else postgres_schema).STEPS)
    with pytest.raises(
        StorageTooNew,
        match=f"version {known + 1}, and this version of cronkit knows up to {known}: upgrade",
    ):
        await storage.open()
    assert "extra" in columns_of_tasks(where)
    monkeypatch.setattr(sqlite_schema, "STEPS", sqlite_schema.STEPS)
    monkeypatch.setattr(postgres_schema, "STEPS", postgres_schema.STEPS)
    racers.add_a_step()
    await storage.open()
    assert [task.name for task in await storage.tasks(TaskQuery())] == ["kept"]
    await storage.close()


@pytest.mark.parametrize("how", ["2 processes", "8 processes", "4 threads"])
async def test_each_slot_runs_once(where, how):
    tasks, seconds = 12, 10
    storage = make(where)
    scheduler = Scheduler(storage, clock=VirtualClock(T0))
    await scheduler.add_tasks(
        {
            "name": f"{overlap} {n}",
            "handler": "handler",
            "schedule": {"interval": 1},
            "overlap": overlap,
            "catch_up": "all",
            "catch_up_limit": 10_000,
            "end_at": T0 + timedelta(seconds=seconds),
        }
        for overlap in ("allow", "skip")
        for n in range(tasks // 2)
    )
    # And some that wait for each other: who ends one releases the next.
    scheduler.register_handler("handler", lambda run: None)
    for n in range(4):
        await scheduler.add_task(f"queue {n}", "handler", {"interval": 1}, overlap="queue")
        await scheduler.disable_task(f"queue {n}")
        record = await scheduler.get_task(f"queue {n}")
        new = [waiting(record.record, T0 - timedelta(seconds=i)) for i in range(15)]
        assert await storage.enqueue(new, T0, revision=record.record.revision)
    count, kind = how.split()
    if kind == "processes":
        with together(int(count), claim_and_finish, where, seconds) as answers:
            pass
    else:
        answers = in_threads(int(count), claim_and_finish, where, seconds)
    assert len(answers) == int(count)
    executed = Counter(key for answer in answers for key in answer)
    assert set(executed.values()) == {1}
    for task in await scheduler.tasks():
        slots = sorted(slot for name, slot, *_ in executed if name == task.name)
        found = await storage.runs(RunQuery(task_name=task.name, limit=1_000))
        assert slots == sorted(run.slot for run in found)
        assert {run.status for run in found} == {Status.SUCCESS}
        skips = sum(skip.count for skip in await storage.skips(SkipQuery(task.name)))
        expected = {"queue": (15, 0), "allow": (seconds, 0), "skip": (seconds - skips, skips)}
        assert (len(slots), skips) == expected[task.policies.overlap]
    counts = await storage.counts()
    assert (counts["tasks"], counts["pending"], counts["running"]) == (16, 0, 0)
    await scheduler.stop()


async def test_what_a_killed_process_ran_is_done_by_another(where, tmp_path):
    """Three times, the process that has a run which would never end is killed."""
    kills, tasks, slots = 3, 6, 8
    scheduler = Scheduler(make(where, "database"))
    options = {
        "handler": "handler",
        "overlap": "allow",
        "catch_up": "all",
        "catch_up_limit": 10_000,
        "retry": {"max_retries": 9, "backoff": "constant", "base": 0.1},
    }
    for n in range(tasks):
        await scheduler.add_task(f"task {n}", schedule={"interval": 0.4}, max_runs=slots, **options)
    log = tmp_path / "log"
    log.touch()
    barrier, answers = racers.processes.Barrier(1), racers.processes.SimpleQueue()
    workers = []

    def begin():
        worker = racers.processes.Process(target=serve, args=(barrier, answers, where, log))
        worker.start()
        workers.append(worker)

    def executed():
        return [line.rsplit(maxsplit=3) for line in log.read_text().splitlines()]

    try:
        for _ in range(3):
            begin()
        for n in range(kills):
            name = f"hang {n}"
            await scheduler.add_task(name, schedule={"interval": 0.2}, max_runs=1, **options)
            while not (found := [pid for task, _, _, pid in executed() if task == name]):
                await asyncio.sleep(0.02)
            [victim] = [worker for worker in workers if worker.pid == int(found[0])]
            victim.kill()
            begin()
        while True:
            # In this order: a claim between the two may start the last run of a task.
            over = [task.next_slot is None for task in await scheduler.tasks()]
            counts = await scheduler.storage.counts()
            if all(over) and not counts["pending"] and not counts["running"]:
                break
            await asyncio.sleep(0.05)
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
            worker.close()
    # (task, slot, attempt) is an idempotency key.
    assert set(Counter(tuple(key) for *key, _ in executed()).values()) == {1}
    for task in await scheduler.tasks():
        by_slot = {}
        for run in reversed(await scheduler.runs(task.name, limit=1_000)):
            by_slot.setdefault(run.slot, []).append(run)
        assert len(by_slot) == task.policies.max_runs
        for before, after in pairwise(sorted(by_slot)):
            assert after - before == timedelta(seconds=0.4)
        for tries in by_slot.values():
            assert [run.attempt for run in tries] == list(range(1, len(tries) + 1))
            assert [run.status for run in tries[:-1]] == [Status.ERROR] * (len(tries) - 1)
            assert {run.reason for run in tries[:-1]} <= {Reason.LOST}
            assert tries[-1].status is Status.SUCCESS
            assert len(tries) > 1 or not task.name.startswith("hang")
    await scheduler.stop()
