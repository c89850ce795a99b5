"""cronkit, in an environment of its own, through its public interface. What is filled in by the
million is copied inside the database from one row that the scheduler has written."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from worker import Counter, Figures, cpu_share, main, percentile, resident_mb

from cronkit_core import (
    ActiveRun,
    MemoryStorage,
    Scheduler,
    SQLiteStorage,
    SystemClock,
    TaskQuery,
)
from cronkit_core.engine import Engine
from cronkit_core.planner import Planner
from cronkit_core.runs import succeeded
from cronkit_core.storage.base import TaskWrite
from cronkit_core.storage.sqlite_base import run_program

HOUR = 3600
BATCH = 500
FAR = {"interval": 365 * 24 * HOUR}


class ShiftedClock(SystemClock):
    """The machine's clock, put forward: the way to have all tasks due at the same moment."""

    def __init__(self, seconds: float = 0) -> None:
        self.ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return super().now() + self.ahead


class Place:
    """Where the tasks are kept, and how the database copies rows."""

    def __init__(self, kind: str, options: dict[str, Any]) -> None:
        self.kind = kind
        self.options = options

    def storage(self, path: Path) -> Any:
        if self.kind == "memory":
            return MemoryStorage()
        if self.kind == "sqlite":
            return SQLiteStorage(path, synchronous=self.options.get("synchronous", "NORMAL"))
        from cronkit_core import PostgresStorage

        return PostgresStorage(self.options["dsn"], schema=self.options["schema"], clock="caller")


@asynccontextmanager
async def scheduler_at(
    kind: str, options: dict[str, Any], **settings: Any
) -> AsyncIterator[tuple[Scheduler, ShiftedClock, Path]]:
    """A scheduler with an open storage, not started, on a clock that can be put forward."""
    with tempfile.TemporaryDirectory(dir=options.get("folder")) as folder:
        clock, path = ShiftedClock(options.get("ahead", 0)), Path(folder, "cronkit.db")
        if kind == "datasette":
            made = make_datasette(path, clock, settings)
            datasette = await made
            try:
                yield datasette._cron_scheduler, clock, path
            finally:
                await datasette._cron_scheduler.stop(0)
                datasette.close()
            return
        storage = Place(kind, options).storage(path)
        scheduler = Scheduler(storage, clock=clock, **settings)
        await scheduler.open()
        try:
            yield scheduler, clock, path
        finally:
            await scheduler.stop(0)


async def make_datasette(path: Path, clock: ShiftedClock, settings: dict[str, Any]) -> Any:
    from datasette.app import Datasette

    from datasette_cron.scheduler import Scheduler as AdapterScheduler

    datasette = Datasette(memory=True, internal=str(path))
    await datasette.invoke_startup()
    datasette._cron_scheduler = AdapterScheduler(datasette, clock=clock, **settings)
    await datasette._cron_scheduler.open()
    return datasette


def register(scheduler: Scheduler, kind: str, counter: Counter) -> None:
    """Register a handler "noop" that only counts."""
    if kind == "datasette":

        async def of_datasette(datasette: object, config: object) -> None:
            counter()

        scheduler.register_handlers("bench", {"noop": of_datasette})
    else:

        async def noop(run: ActiveRun) -> None:
            counter()

        scheduler.register_handler("noop", noop)


def wishes(count: int, prefix: str = "task", schedule: object = None) -> list[dict[str, Any]]:
    schedule = {"interval": HOUR} if schedule is None else schedule
    return [
        {"name": f"{prefix} {i:07}", "handler": "noop", "schedule": schedule} for i in range(count)
    ]


# --- filling


async def fill_idle(scheduler: Scheduler, kind: str, path: Path, count: int, options: Any) -> None:
    """Have `count` tasks that are not due for a year."""
    if count == 0:
        return
    await scheduler.add_tasks(wishes(1, "idle", FAR))
    prefix = "datasette_cron_" if kind == "datasette" else "cronkit_"
    if kind == "memory":
        [record] = await scheduler.storage.tasks(TaskQuery(names=["idle 0000000"]))
        for i in range(1, count, 10_000):
            writes = [
                TaskWrite(replace(record, id=0, revision=0, name=f"idle {n:07}"))
                for n in range(i, min(i + 10_000, count))
            ]
            await scheduler.storage.save_tasks(writes, scheduler.clock.now())
    elif kind == "postgres":
        await execute_postgres(
            options, copy_tasks("postgres", f'"{options["schema"]}".tasks', count)
        )
        await execute_postgres(options, f'VACUUM ANALYZE "{options["schema"]}".tasks')
    else:
        execute_sqlite(path, copy_tasks("sqlite", f"{prefix}tasks", count))


def copy_tasks(dialect: str, table: str, count: int) -> str:
    columns = (
        "handler, schedule_type, schedule_config, policies, created_at, updated_at, next_slot, "
        "next_run_at, schedule_since"
    )
    named = f"INSERT INTO {table} (name, {columns})"
    if dialect == "postgres":
        return (
            f"{named} SELECT 'idle ' || lpad(i::text, 7, '0'), {columns} "
            f"FROM generate_series(1, {count - 1}) AS i, {table} WHERE name = 'idle 0000000'"
        )
    return (
        f"{named} WITH RECURSIVE n (i) AS "
        f"(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count - 1}) "
        f"SELECT printf('idle %07d', i), {columns} FROM {table}, n "
        f"WHERE name = 'idle 0000000' AND {count} > 1"
    )


def fill_history(path: Path, first: int, count: int) -> None:
    """Have the ended runs `first` to `count` of a thousand tasks of the past, in SQLite."""
    time_of = "strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', 1000000000 + i, 'unixepoch')"
    execute_sqlite(
        path,
        "INSERT INTO cronkit_runs (task_id, task_name, slot, status, triggered_by, scheduled_for, "
        "owner, epoch, started_at, finished_at, duration_ms) "
        f"WITH RECURSIVE n (i) AS "
        f"(SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {count - 1}) "
        f"SELECT 1, printf('past %04d', i % 1000), {time_of}, 'success', 'schedule', {time_of}, "
        f"'past', 1, {time_of}, {time_of}, 1 FROM n",
    )


def execute_sqlite(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path, timeout=60)
    with connection:
        connection.execute(sql)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


async def execute_postgres(options: dict[str, Any], sql: str) -> None:
    import psycopg

    connection = await psycopg.AsyncConnection.connect(options["dsn"], autocommit=True)
    async with connection:
        await connection.execute(sql.encode())


# --- scenarios


async def burst(kind: str, count: int, idle: int = 0, history: int = 0, **options: Any) -> Figures:
    """`count` tasks due at once, with `idle` others that are not, and `history` old runs: from the
    start of the loop to the record of the last end."""
    async with scheduler_at(kind, options, keep_for=None) as (scheduler, clock, path):
        await fill_idle(scheduler, kind, path, idle, options)
        if history:
            fill_history(path, 0, history)
        return await _burst(scheduler, clock, kind, count)


async def _burst(scheduler: Scheduler, clock: ShiftedClock, kind: str, count: int) -> Figures:
    counter = Counter(count)
    register(scheduler, kind, counter)
    await scheduler.add_tasks(wishes(count))
    clock.ahead += timedelta(seconds=HOUR)
    began = time.perf_counter()
    scheduler.start()
    await counter.done.wait()
    while (await scheduler.status()).executing:
        await asyncio.sleep(0.002)
    took = time.perf_counter() - began
    return {"seconds": took, "per_second": count / took}


async def storage_alone(count: int, **options: Any) -> Figures:
    """The claims and ends of the burst in SQLite, planned and written as ever, with no loop, no
    handler and no thread: how much of a burst the storage is."""
    async with scheduler_at("sqlite", options) as (scheduler, clock, path):
        await scheduler.add_tasks(wishes(count))
        await scheduler.stop()
        now = clock.now() + timedelta(seconds=HOUR)
        programs = SQLiteStorage(path).programs
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA synchronous = NORMAL")

        def transact(program: Any) -> Any:
            connection.execute("BEGIN IMMEDIATE")
            result = run_program(connection, program)
            connection.execute("COMMIT")
            return result

        began = time.perf_counter()
        while True:
            plan, lease = Planner(BATCH, {}).plan, timedelta(seconds=30)
            claimed = transact(programs.claim(plan, now, owner="me", lease=lease, limit=BATCH))
            if not claimed.runs:
                break
            ends = [
                succeeded(run, task_id, finished_at=now, duration_ms=0, output=None, log=None)
                for run, task_id in claimed.runs
            ]
            transact(programs.finish(ends, now))
        took = time.perf_counter() - began
        connection.close()
        return {"seconds": took, "per_second": count / took}


async def grow_history(sizes: list[int], count: int, **options: Any) -> Figures:
    """Bursts with more and more runs in the history of one file. The figures have the size in
    their names."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory(dir=options.get("folder")) as folder:
        path = Path(folder, "cronkit.db")
        storage = SQLiteStorage(path)
        await storage.open()
        await storage.close()
        before = 0
        for size in sizes:
            fill_history(path, before, size)
            figures[f"bytes_per_run {size}"] = path.stat().st_size / size
            before = size
            figures[f"per_second {size}"] = [await _burst_and_forget(path, count) for _ in range(3)]
    return figures


async def _burst_and_forget(path: Path, count: int) -> float:
    clock = ShiftedClock()
    scheduler = Scheduler(SQLiteStorage(path, synchronous="NORMAL"), clock=clock)
    await scheduler.open()
    try:
        return (await _burst(scheduler, clock, "sqlite", count))["per_second"]
    finally:
        await scheduler.stop(0)
        execute_sqlite(path, "DELETE FROM cronkit_tasks")
        # By the index: the table may have ten million rows.
        mine = "task_name > 'task ' AND task_name < 'task~'"
        execute_sqlite(path, f"DELETE FROM cronkit_runs WHERE {mine}")


async def burst_of_processes(kind: str, count: int, processes: int, **options: Any) -> Figures:
    """The burst, shared by some processes: from the word "go" to the last record."""
    async with scheduler_at(kind, options) as (scheduler, _, path):
        for i in range(0, count, 10_000):
            await scheduler.add_tasks(wishes(count)[i : i + 10_000])
        share = json.dumps({"kind": kind, "path": str(path), **options})
        workers = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, __file__, "share", share),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            for _ in range(processes)
        ]
        try:
            for worker in workers:
                assert worker.stdout is not None
                await worker.stdout.readline()  # it is ready
            began = time.perf_counter()
            due = datetime.now(UTC) + timedelta(seconds=HOUR)
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write(b"go\n")
            async with connected(kind, path, options) as ask:
                while not await ask(due):
                    await asyncio.sleep(0.02)
            took = time.perf_counter() - began
        finally:
            for worker in workers:
                worker.kill()
                await worker.wait()
    return {"seconds": took, "per_second": count / took}


@asynccontextmanager
async def connected(
    kind: str, path: Path, options: dict[str, Any]
) -> AsyncIterator[Callable[[datetime], Awaitable[bool]]]:
    """Gives what tells whether all that was due is over, by a look at two indexes."""
    prefix = f'"{options["schema"]}".' if kind == "postgres" else "cronkit_"
    sql = (
        f"SELECT EXISTS (SELECT 1 FROM {prefix}tasks WHERE enabled AND broken IS NULL "
        "AND next_run_at IS NOT NULL AND priority = 0 AND next_run_at <= %s) OR EXISTS "
        f"(SELECT 1 FROM {prefix}runs WHERE status IN ('pending', 'running'))"
    )
    if kind == "postgres":
        import psycopg

        connection = await psycopg.AsyncConnection.connect(options["dsn"], autocommit=True)

        async def ask_postgres(due: datetime) -> bool:
            found = await (await connection.execute(sql.encode(), (due,))).fetchone()
            return found is not None and not found[0]

        async with connection:
            yield ask_postgres
        return
    file = sqlite3.connect(path, timeout=60)

    async def ask_sqlite(due: datetime) -> bool:
        asked = sql.replace("enabled", "enabled = 1").replace("%s", "?")
        return not file.execute(asked, (due.isoformat(timespec="microseconds"),)).fetchone()[0]

    try:
        yield ask_sqlite
    finally:
        file.close()


async def share(kind: str, path: str, **options: Any) -> Figures:
    """One of the processes of `burst_of_processes`; it is killed when all is done."""
    storage = Place(kind, options).storage(Path(path))
    scheduler = Scheduler(storage, clock=ShiftedClock(HOUR))
    register(scheduler, kind, Counter(-1))
    await scheduler.open()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    scheduler.start()
    await asyncio.Event().wait()
    return {}


async def idle(
    kind: str, tasks: int, seconds: float = 5, ticks: int = 200, **options: Any
) -> Figures:
    """What it costs to have tasks of which none is due: a tick of the loop in microseconds, the
    share of one core in percent, and the resident memory in MB."""
    async with scheduler_at(kind, options, prune_every=3600) as (scheduler, _, path):
        await fill_idle(scheduler, kind, path, tasks, options)
        register(scheduler, kind, Counter(-1))
        scheduler.start()
        await asyncio.sleep(1)
        cpu = await cpu_share(seconds)
        engine = scheduler.engine
        assert engine is not None
        return {
            "tick_us": [await _tick(engine, ticks) * 1e6 for _ in range(5)],
            "cpu_percent": cpu,
            "resident_mb": resident_mb(),
            "bytes_per_task": path.stat().st_size / tasks if path.exists() else 0,
        }


async def _tick(engine: Engine, ticks: int) -> float:
    """The median of so many ticks, in seconds."""
    took = []
    for _ in range(ticks):
        began = time.perf_counter()
        await engine.tick()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


async def lateness(kind: str, per_second: int, seconds: float, **options: Any) -> Figures:
    """How long after its time a handler is called, in milliseconds; the slots of `per_second`
    tasks, each every second, are spread evenly."""
    late: list[float] = []
    async with scheduler_at(kind, options) as (scheduler, _, _):

        async def note(run: ActiveRun) -> None:
            late.append((datetime.now(UTC) - run.scheduled_for).total_seconds())

        async def note_of_datasette(datasette: object, config: object) -> None:
            from cronkit_core import current_run

            await note(current_run())

        if kind == "datasette":
            scheduler.register_handlers("bench", {"noop": note_of_datasette})
        else:
            scheduler.register_handler("noop", note)
        anchor = datetime(2026, 1, 1, tzinfo=UTC)
        await scheduler.add_tasks(
            {
                "name": f"task {i:05}",
                "handler": "noop",
                "schedule": {
                    "interval": 1,
                    "anchor": (anchor + timedelta(seconds=i / per_second)).isoformat(),
                },
            }
            for i in range(per_second)
        )
        scheduler.start()
        await asyncio.sleep(2)  # what came due while the tasks were added is over
        late.clear()
        began, used = time.perf_counter(), time.process_time()
        await asyncio.sleep(seconds)
        cpu = (time.process_time() - used) / (time.perf_counter() - began) * 100
        found = list(late)
        return {
            "p50_ms": percentile(found, 50) * 1000,
            "p99_ms": percentile(found, 99) * 1000,
            "worst_ms": max(found) * 1000,
            "per_second": len(found) / seconds,
            "cpu_percent": cpu,
        }


async def add(kind: str, count: int, **options: Any) -> Figures:
    """Add tasks with one call."""
    async with scheduler_at(kind, options) as (scheduler, _, _):
        tasks = wishes(count, schedule="0 8 * * mon-fri")
        began = time.perf_counter()
        await scheduler.add_tasks(tasks)
        took = time.perf_counter() - began
        return {"seconds": took, "per_second": count / took}


if __name__ == "__main__":
    main(burst, storage_alone, grow_history, burst_of_processes, share, idle, lateness, add)
