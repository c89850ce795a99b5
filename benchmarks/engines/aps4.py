"""APScheduler 4 (alpha), on asyncio: in memory, SQLite or PostgreSQL."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apscheduler import AsyncScheduler
from apscheduler.datastores.memory import MemoryDataStore
from apscheduler.datastores.sqlalchemy import SQLAlchemyDataStore
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy.ext.asyncio import create_async_engine
from worker import Counter, Figures, main

counter = Counter


async def noop() -> None:
    counter()  # type: ignore[call-arg]


@asynccontextmanager
async def scheduler_at(kind: str, dsn: str = "", schema: str = "") -> AsyncIterator[AsyncScheduler]:
    with tempfile.TemporaryDirectory() as folder:
        store: Any = MemoryDataStore()
        engine = None
        if kind == "sqlite":
            engine = create_async_engine(f"sqlite+aiosqlite:///{Path(folder, 'jobs.db')}")
        elif kind == "postgres":
            parts = dict(part.split("=") for part in dsn.split())
            engine = create_async_engine(
                f"postgresql+asyncpg://{parts['user']}@/{parts['dbname']}?host={parts['host']}"
            )
        if engine is not None:
            store = SQLAlchemyDataStore(engine, schema=schema or None)
            if schema:
                from sqlalchemy.schema import CreateSchema

                async with engine.begin() as connection:
                    await connection.execute(CreateSchema(schema))
        async with AsyncScheduler(store, max_concurrent_jobs=1000) as scheduler:
            await scheduler.configure_task("noop", func=noop, max_running_jobs=None)
            yield scheduler
        if engine is not None:
            await engine.dispose()


async def burst(kind: str, count: int, dsn: str = "", schema: str = "") -> Figures:
    """No history is kept: results expire at once."""
    global counter
    counter = Counter(count)  # type: ignore[misc, assignment]
    async with scheduler_at(kind, dsn, schema) as scheduler:
        due = datetime.now(UTC) - timedelta(seconds=1)
        for i in range(count):
            trigger = IntervalTrigger(hours=1, start_time=due)
            await scheduler.add_schedule("noop", trigger, id=f"task {i}")
        began = time.perf_counter()
        await scheduler.start_in_background()
        await counter.done.wait()  # type: ignore[attr-defined]
        took = time.perf_counter() - began
        return {"seconds": took, "per_second": count / took}


if __name__ == "__main__":
    main(burst)
