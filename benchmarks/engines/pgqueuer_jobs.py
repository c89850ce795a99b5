"""PgQueuer: a queue of jobs in PostgreSQL, through asyncpg. All jobs are in the queue before the
worker begins."""

from __future__ import annotations

import time
from typing import Any

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode
from worker import Counter, Figures, main


async def burst(count: int, dsn: str, batch: int = 500, **options: Any) -> Figures:
    counter = Counter(count)
    parts = dict(part.split("=") for part in dsn.split())
    connection = await asyncpg.connect(
        host=parts["host"], user=parts["user"], database=parts["dbname"]
    )
    await connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
    await connection.execute("CREATE SCHEMA public")
    driver = AsyncpgDriver(connection)
    queries = Queries(driver)
    await queries.install()
    queue = PgQueuer(driver)

    @queue.entrypoint("noop")
    async def noop(job: Job) -> None:
        counter()

    await queries.enqueue(["noop"] * count, [None] * count, [0] * count)
    began = time.perf_counter()
    await queue.run(batch_size=batch, mode=QueueExecutionMode.drain)
    took = time.perf_counter() - began
    await connection.close()
    assert counter.count == count
    return {"seconds": took, "per_second": count / took}


if __name__ == "__main__":
    main(burst)
