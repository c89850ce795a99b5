"""APScheduler 3, on asyncio: in memory, or on SQLite through SQLAlchemy."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from worker import Counter, Figures, cpu_share, main, percentile, resident_mb

counter = Counter
late: list[float] = []


async def noop() -> None:
    counter()  # type: ignore[call-arg]


async def note(number: int, per_second: int) -> None:
    """A job is not told its time: it follows from the number of the job."""
    now = time.time()
    late.append((now - number / per_second) % 1.0)


@asynccontextmanager
async def scheduler_at(kind: str) -> AsyncIterator[AsyncIOScheduler]:
    with tempfile.TemporaryDirectory() as folder:
        scheduler = AsyncIOScheduler(
            timezone=UTC,
            executors={"default": AsyncIOExecutor()},
            job_defaults={"misfire_grace_time": None, "coalesce": True},
        )
        if kind == "sqlite":
            scheduler.add_jobstore("sqlalchemy", url=f"sqlite:///{Path(folder, 'jobs.db')}")
        scheduler.start(paused=True)
        try:
            yield scheduler
        finally:
            scheduler.shutdown(wait=False)


async def burst(kind: str, count: int) -> Figures:
    """No history is kept: there is none."""
    global counter
    counter = Counter(count)  # type: ignore[misc, assignment]
    async with scheduler_at(kind) as scheduler:
        due = datetime.now(UTC) - timedelta(seconds=1)
        for i in range(count):
            scheduler.add_job(noop, "interval", hours=1, id=f"task {i}", next_run_time=due)
        began = time.perf_counter()
        scheduler.resume()
        await counter.done.wait()  # type: ignore[attr-defined]
        took = time.perf_counter() - began
        return {"seconds": took, "per_second": count / took}


async def add(kind: str, count: int) -> Figures:
    async with scheduler_at(kind) as scheduler:
        began = time.perf_counter()
        for i in range(count):
            trigger = CronTrigger.from_crontab("0 8 * * mon-fri", timezone=UTC)
            scheduler.add_job(noop, trigger, id=f"task {i}")
        took = time.perf_counter() - began
        return {"seconds": took, "per_second": count / took}


async def idle(kind: str, tasks: int, seconds: float = 5) -> Figures:
    """It sleeps until the first job is due, so a tick is what follows a wake."""
    async with scheduler_at(kind) as scheduler:
        for i in range(tasks):
            scheduler.add_job(noop, "interval", days=365, id=f"task {i}")
        scheduler.resume()
        await asyncio.sleep(1)
        began = time.perf_counter()
        scheduler._process_jobs()
        took = time.perf_counter() - began
        return {
            "tick_us": took * 1e6,
            "cpu_percent": await cpu_share(seconds),
            "resident_mb": resident_mb(),
        }


async def lateness(kind: str, per_second: int, seconds: float) -> Figures:
    async with scheduler_at(kind) as scheduler:
        anchor = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
        for i in range(per_second):
            start = anchor + timedelta(seconds=i / per_second)
            trigger = IntervalTrigger(seconds=1, start_date=start, timezone=UTC)
            scheduler.add_job(note, trigger, id=f"task {i}", args=(i, per_second))
        scheduler.resume()
        await asyncio.sleep(2)
        late.clear()
        await asyncio.sleep(seconds)
        found = list(late)
        return {
            "p50_ms": percentile(found, 50) * 1000,
            "p99_ms": percentile(found, 99) * 1000,
            "worst_ms": max(found) * 1000,
            "per_second": len(found) / seconds,
        }


if __name__ == "__main__":
    main(burst, add, idle, lateness)
