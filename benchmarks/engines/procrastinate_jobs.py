"""procrastinate: a queue of jobs in PostgreSQL. All jobs are in the queue before the worker
begins."""

from __future__ import annotations

import time
from typing import Any

import procrastinate
import psycopg
from worker import Counter, Figures, main


async def burst(count: int, dsn: str, concurrency: int = 100, **options: Any) -> Figures:
    counter = Counter(count)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
        connection.execute("CREATE SCHEMA public")
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))

    @app.task(name="noop")
    async def noop() -> None:
        counter()

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for i in range(0, count, 1_000):
            await noop.batch_defer_async(*({} for _ in range(min(1_000, count - i))))
        began = time.perf_counter()
        await app.run_worker_async(
            wait=False, concurrency=concurrency, install_signal_handlers=False
        )
        took = time.perf_counter() - began
    assert counter.count == count
    return {"seconds": took, "per_second": count / took}


if __name__ == "__main__":
    main(burst)
