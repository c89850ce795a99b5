"""datasette-cron 0.0.1a2, through its scheduler in a Datasette."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from datasette.app import Datasette
from worker import Counter, Figures, cpu_share, main, resident_mb

PAST, FUTURE = "2020-01-01T00:00:00", "2100-01-01T00:00:00"


@asynccontextmanager
async def scheduler_at(counter: Counter) -> AsyncIterator[tuple[Any, Path]]:
    async def noop(datasette: object, config: object) -> None:
        counter()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "internal.db")
        datasette = Datasette(memory=True, internal=str(path))
        await datasette.invoke_startup()
        datasette._cron_scheduler.register_handlers("bench", {"noop": noop})
        try:
            yield datasette._cron_scheduler, path
        finally:
            await datasette._cron_scheduler.shutdown()
            datasette.close()


async def fill(scheduler: Any, path: Path, count: int, next_run_at: str) -> None:
    for i in range(count):
        await scheduler.add_task(name=f"task {i:07}", handler="noop", schedule={"interval": 3600})
    with sqlite3.connect(path, timeout=60) as connection:
        connection.execute("UPDATE datasette_cron_tasks SET next_run_at = ?", (next_run_at,))
    connection.close()


async def burst(count: int) -> Figures:
    counter = Counter(count)
    async with scheduler_at(counter) as (scheduler, path):
        await fill(scheduler, path, count, PAST)
        began = time.perf_counter()
        scheduler.start()
        await counter.done.wait()
        while scheduler._running_tasks:
            await asyncio.sleep(0.002)
        took = time.perf_counter() - began
        return {"seconds": took, "per_second": count / took}


async def add(count: int) -> Figures:
    async with scheduler_at(Counter(-1)) as (scheduler, _):
        began = time.perf_counter()
        for i in range(count):
            await scheduler.add_task(name=f"task {i}", handler="noop", schedule="0 8 * * mon-fri")
        took = time.perf_counter() - began
        return {"seconds": took, "per_second": count / took}


async def idle(tasks: int, seconds: float = 5) -> Figures:
    async with scheduler_at(Counter(-1)) as (scheduler, path):
        await fill(scheduler, path, tasks, FUTURE)
        scheduler.start()
        await asyncio.sleep(1)
        began = time.perf_counter()
        await scheduler._tick()
        await scheduler._compute_sleep()
        took = time.perf_counter() - began
        return {
            "tick_us": took * 1e6,
            "cpu_percent": await cpu_share(seconds),
            "resident_mb": resident_mb(),
        }


if __name__ == "__main__":
    main(burst, add, idle)
