"""Storages that are locked, full, read-only, gone, or that lose their answers: each costs a logged
warning and another try, and never a slot, lost or doubled."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from cronkit_core import (
    MemoryStorage,
    PostgresStorage,
    Scheduler,
    SQLiteStorage,
    Status,
    StorageError,
)
from cronkit_core.testing._contract_made import claim, history, made, save, start_all, started
from cronkit_core.testing.virtual import VirtualClock, run_until
from postgres_fixture import Server, new_folder

T0 = datetime(2027, 1, 1, tzinfo=UTC)
EVERY = 10


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def warnings_in(caplog):
    return [r for r in caplog.records if r.name.startswith("cronkit") and r.levelname == "WARNING"]


async def check_all_ran(scheduler, ran, until):
    """Each slot up to `until` seconds ran once, and well."""
    found = await scheduler.runs("task", limit=1_000)
    expected = [at(s) for s in range(EVERY, until + 1, EVERY)]
    assert [run.slot for run in reversed(found)] == expected
    assert {run.status for run in found} == {Status.SUCCESS}
    assert dict(ran) == dict.fromkeys(expected, 1)


# --- SQLite


@asynccontextmanager
async def locked(storage):
    """Another process has the write lock, and keeps it."""
    other = sqlite3.connect(storage.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@asynccontextmanager
async def full(storage):
    """There is not one page left."""
    [(pages,)] = await storage._writer.execute_fetchall("PRAGMA page_count")
    await storage._writer.execute_fetchall(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        await storage._writer.execute_fetchall("PRAGMA max_page_count = 1000000")


@asynccontextmanager
async def read_only(storage):
    """The file cannot be written."""
    await storage._writer.execute_fetchall("PRAGMA query_only = 1")
    try:
        yield
    finally:
        await storage._writer.execute_fetchall("PRAGMA query_only = 0")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (locked, "database is locked"),
        (read_only, "attempt to write a readonly database"),
    ],
)
async def test_sqlite_that_cannot_be_written_costs_warnings(tmp_path, caplog, fault, says):
    clock = VirtualClock(T0)
    storage = SQLiteStorage(tmp_path / "cron.db", synchronous="NORMAL", busy_timeout=0.01)
    ran = Counter()

    async def handler(run):
        ran[run.slot] += 1

    scheduler = Scheduler(storage, clock=clock)
    async with scheduler:
        await scheduler.add_task(
            "task", handler, {"interval": EVERY}, catch_up="all", overlap="allow"
        )
        await run_until(scheduler, at(60))
        async with fault(storage):
            await run_until(scheduler, at(180))
            found = warnings_in(caplog)
            # About one each five seconds: neither silence nor a dead loop.
            assert 10 <= len(found) <= 100
            assert says in caplog.text
            with pytest.raises(StorageError, match=says):
                await scheduler.add_task("other", handler, {"interval": 99})
        await run_until(scheduler, at(240))
        caplog.clear()
        await run_until(scheduler, at(300))
        assert warnings_in(caplog) == []
        await check_all_ran(scheduler, ran, 300)


async def test_a_full_disk_costs_warnings(tmp_path, caplog):
    """On the real clock: what is claimed can be executed, but not recorded until there is room."""
    storage = SQLiteStorage(tmp_path / "cron.db", synchronous="NORMAL")
    ran = Counter()

    async def handler(run):
        run.log("x" * 2_000)  # of which an end needs pages
        run.log("y" * 2_000)
        ran[run.slot] += 1

    async with Scheduler(storage, poll=0.1) as scheduler:
        await scheduler.add_task(
            "task", handler, {"interval": 0.1}, catch_up="all", overlap="allow"
        )
        while len(ran) < 5:
            await asyncio.sleep(0.01)
        async with full(storage):
            while len(warnings_in(caplog)) < 3:
                await asyncio.sleep(0.01)
            assert "database or disk is full" in caplog.text
            with pytest.raises(StorageError, match="database or disk is full"):
                await scheduler.add_task("big", handler, {"interval": 99}, {"x": "x" * 100_000})
        goal = len(ran) + 5
        while len(ran) < goal:
            await asyncio.sleep(0.01)
        await scheduler.disable_task("task")
        while (await scheduler.status()).running_runs:
            await asyncio.sleep(0.01)
        found = (await scheduler.runs("task", limit=1_000))[::-1]
    assert len(warnings_in(caplog)) < 20
    assert {run.status for run in found} == {Status.SUCCESS}
    assert {b.slot - a.slot for a, b in pairwise(found)} == {timedelta(seconds=0.1)}
    assert dict(ran) == {run.slot: 1 for run in found}


async def test_a_file_that_cannot_be_opened_is_tried_again(tmp_path, caplog):
    clock = VirtualClock(T0)
    folder = tmp_path / "later"
    storage = SQLiteStorage(folder / "cron.db")
    scheduler = Scheduler(storage, clock=clock)
    with pytest.raises(StorageError, match=r"later/cron\.db: unable to open database file"):
        await scheduler.open()
    scheduler.start()
    await run_until(scheduler, at(20))
    tries = [r for r in caplog.records if "cannot be opened" in r.getMessage()]
    assert 3 <= len(tries) <= 20
    folder.mkdir()
    await run_until(scheduler, at(40))
    assert (await scheduler.status()).running
    await scheduler.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_of_somebody_else_says_so():
    """Root may write everywhere, so somebody else tries."""
    folder = new_folder(f"file-{os.getpid()}")
    folder.mkdir()
    try:
        path = folder / "cron.db"
        sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()
        folder.chmod(0o555)
        path.chmod(0o444)
        code = (
            "import asyncio, os, cronkit_core\n"
            f"storage = cronkit_core.SQLiteStorage({str(path)!r})\n"
            "os.setuid(65534)\n"
            "try: asyncio.run(storage.open())\n"
            "except cronkit_core.StorageError as error: print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert "cron.db: attempt to write a readonly database" in done.stdout, done.stderr
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


async def test_a_file_that_is_no_database_says_so(tmp_path):
    path = tmp_path / "cron.db"
    path.write_bytes(b"this is not a database, and long enough not to be one at all" * 20)
    storage = SQLiteStorage(path)
    with pytest.raises(StorageError, match=r"cron\.db: file is not a database"):
        await storage.open()
    await storage.close()


# --- answers that are lost


class LosesAnswers:
    """Does what it is told, and says every third time that it failed."""

    def __init__(self, storage):
        self.storage = storage
        self.calls = 0

    def __getattr__(self, name):
        method = getattr(self.storage, name)
        if name not in ("claim", "finish", "renew", "wake"):
            return method

        async def call(*args, **options):
            result = await method(*args, **options)
            self.calls += 1
            if self.calls % 3 == 0:
                raise StorageError("the answer is lost")
            return result

        return call


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def storage(request, tmp_path):
    match request.param:
        case "memory":
            storage = MemoryStorage()
        case "sqlite":
            storage = SQLiteStorage(tmp_path / "cron.db", synchronous="NORMAL")
        case "postgres":
            dsn = request.getfixturevalue("postgres").dsn
            schema = request.getfixturevalue("postgres_schema")
            storage = PostgresStorage(dsn, schema=schema, clock="caller")
    await storage.open()
    yield storage
    await storage.close()


async def test_a_lost_answer_loses_no_slot(storage):
    """What was claimed unknowingly is found again, and what was recorded unknowingly is not
    recorded twice."""
    ran = Counter()

    async def handler(run):
        ran[run.slot] += 1

    scheduler = Scheduler(LosesAnswers(storage), clock=VirtualClock(T0))
    async with scheduler:
        await scheduler.add_task(
            "task", handler, {"interval": EVERY}, catch_up="all", overlap="allow"
        )
        await run_until(scheduler, at(155))
        await check_all_ran(scheduler, ran, 150)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21, 34])
async def test_a_caller_that_is_cancelled_leaves_nothing_half_done(storage, turns):
    await save(storage, *(made(f"t{i}") for i in range(5)))
    work = asyncio.create_task(claim(storage, start_all))
    for _ in range(turns):
        await asyncio.sleep(0)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    rest = (await claim(storage, start_all)).runs
    assert len(rest) in (0, 5)
    for i in range(5):
        assert len(await history(storage, f"t{i}")) == 1


async def test_closing_and_opening_again(storage):
    run, _ = await started(storage)
    if isinstance(storage, MemoryStorage):
        return
    await storage.close()
    with pytest.raises(StorageError, match="is not open: call open"):
        await storage.counts()
    await storage.close()
    await storage.open()
    assert [r.id for r in await history(storage)] == [run.id]


# --- PostgreSQL that goes away


@pytest.mark.postgres
async def test_postgres_may_be_stopped_and_started_under_load(caplog):
    """As a crash would stop it: what was committed is there, and what was not is done again."""
    server = Server(new_folder(f"{os.getpid()}"))
    await asyncio.to_thread(server.create)
    await asyncio.to_thread(server.start)
    ran = Counter()
    enough = asyncio.Event()

    async def handler(run):
        ran[run.slot, run.attempt] += 1
        if len(ran) >= goal:
            enough.set()

    goal = 10
    schedulers = [
        Scheduler(PostgresStorage(server.dsn, timeout=0.5), poll=0.2, lease=3.0) for _ in range(2)
    ]
    try:
        for scheduler in schedulers:
            scheduler.register_handler("handler", handler)
            await scheduler.open()
            scheduler.start()
        await schedulers[0].add_task(
            "task",
            "handler",
            {"interval": 0.1},
            overlap="allow",
            catch_up="all",
            catch_up_limit=10_000,
            retry={"max_retries": 5, "backoff": "constant", "base": 0.1},
        )
        for mode in ("immediate", "fast"):
            await asyncio.wait_for(enough.wait(), 30)
            await asyncio.to_thread(server.stop, mode)
            enough.clear()
            goal = len(ran) + 15
            before = len(warnings_in(caplog))
            while len(warnings_in(caplog)) < before + 2:
                await asyncio.sleep(0.02)
            await asyncio.to_thread(server.start)
            await asyncio.wait_for(enough.wait(), 30)
        assert len(warnings_in(caplog)) < 60
        task = await schedulers[0].get_task("task")
        await schedulers[0].disable_task("task")
        while (status := await schedulers[0].status()).pending_runs or status.running_runs:
            await asyncio.sleep(0.02)
        found = (await schedulers[0].runs("task", limit=10_000))[::-1]
        ended = {run.slot: run.status for run in found}  # the last attempt of each
        assert set(ended.values()) == {Status.SUCCESS}
        slots = sorted(ended)
        steps = {later - before for before, later in pairwise(slots)}
        assert steps == {timedelta(seconds=0.1)}
        assert set(ran.values()) == {1}
        assert task.record.runs_started >= len(slots) - 10
    finally:
        for scheduler in schedulers:
            await scheduler.stop()
        await asyncio.to_thread(server.stop, "immediate")
        server.remove()
