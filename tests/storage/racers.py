"""What the processes of the race tests do. They are forked from a server that has the imports done,
so that eight of them start in no time."""

import asyncio
import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cronkit_core import PostgresStorage, Scheduler, SQLiteStorage, runs
from cronkit_core.planner import Planner
from cronkit_core.storage.base import Storage

T0 = datetime(2027, 1, 1, tzinfo=UTC)
LONG = timedelta(days=1)

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["cronkit_core.scheduler", "cronkit_core.storage.postgres", "cronkit_core.storage.sqlite"]
)


def make(where: tuple[str, ...], clock: str = "caller") -> Storage:
    """The storage that the other processes have too: a file, or a schema in a PostgreSQL."""
    kind, *arguments = where
    if kind == "sqlite":
        return SQLiteStorage(*arguments, synchronous="NORMAL", busy_timeout=30)
    dsn, schema = arguments
    return PostgresStorage(dsn, schema=schema, clock=clock, max_connections=2)


@contextlib.contextmanager
def together(count: int, target: Callable, *arguments: object) -> Iterator[list]:
    """So many processes that do `target(barrier, answers, *arguments)`; on leaving, all have ended
    well, and the list holds what each put into `answers`."""
    barrier, answers = processes.Barrier(count), processes.SimpleQueue()
    workers = [
        processes.Process(target=target, args=(barrier, answers, *arguments)) for _ in range(count)
    ]
    for worker in workers:
        worker.start()
    found: list = []
    try:
        yield found
        found += [answers.get() for _ in workers]
        for worker in workers:
            worker.join(30)
        assert [worker.exitcode for worker in workers] == [0] * count
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
            worker.close()


def in_threads(count: int, target: Callable, *arguments: object) -> list:
    """The same in threads of this process."""
    barrier, found = threading.Barrier(count), []

    class Answers:
        put = staticmethod(found.append)

    workers = [
        threading.Thread(target=target, args=(barrier, Answers, *arguments)) for _ in range(count)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    return found


# --- what they do


def open_it(barrier, answers, where, extra_step: bool) -> None:
    """Open the storage at the same moment as the others, with one migration more if asked for."""
    if extra_step:
        add_a_step()

    async def work() -> str:
        storage = make(where)
        barrier.wait(30)
        try:
            await storage.open()
            await storage.counts()
            await storage.close()
        except Exception as error:
            return repr(error)
        return "fine"

    answers.put(asyncio.run(work()))


def add_a_step() -> None:
    """Let the code know of one migration more, which fails when it is done twice."""
    from cronkit_core.storage import postgres_schema, sqlite_schema

    def step(prefix):
        yield sqlite_schema.Statement(f"ALTER TABLE {prefix}tasks ADD COLUMN extra TEXT")

    sqlite_schema.STEPS = (*sqlite_schema.STEPS, step)
    statement = "ALTER TABLE {s}.tasks ADD COLUMN extra text"
    postgres_schema.STEPS = (*postgres_schema.STEPS, (statement,))


def claim_and_finish(barrier, answers, where, seconds: int) -> None:
    """Claim and finish as fast as possible, on a clock that goes on from T0 a second at a time; the
    answer is what was executed."""

    async def work() -> list:
        executed = []
        storage = make(where)
        await storage.open()
        barrier.wait(30)
        for second in range(1, seconds + 1):
            now = T0 + timedelta(seconds=second)
            owner = f"{id(executed)} {threading.get_native_id()}"
            while True:
                planner = Planner(100_000, {})
                claimed = await storage.claim(planner.plan, now, owner=owner, lease=LONG, limit=9)
                executed += [(r.task_name, r.slot, r.attempt, r.manual) for r, _ in claimed.runs]
                ends = [
                    runs.succeeded(
                        run, task_id, finished_at=now, duration_ms=0, output=None, log=None
                    )
                    for run, task_id in claimed.runs
                ]
                assert await storage.finish(ends, now) == []
                if not claimed.runs and second < seconds:
                    break
                if not claimed.runs:
                    counts = await storage.counts()
                    if not counts["pending"] and not counts["running"]:
                        break
                    await asyncio.sleep(0.005)  # somebody else is at what is left
        await storage.close()
        return executed

    answers.put(asyncio.run(work()))


def serve(barrier, answers, where, log: Path) -> None:
    """Run a scheduler until the process is killed. The handler writes down what it executes, and
    where; the first attempt of a task called "hang..." never ends."""

    async def work() -> None:
        scheduler = Scheduler(make(where, "database"), lease=1.0, poll=0.1)

        async def handler(run) -> None:
            with log.open("a") as file:
                file.write(f"{run.task.name} {run.slot.isoformat()} {run.attempt} {os.getpid()}\n")
            if run.task.name.startswith("hang") and run.attempt == 1:
                await asyncio.Event().wait()
            await asyncio.sleep(0.05)

        scheduler.register_handler("handler", handler)
        async with scheduler:
            await asyncio.Event().wait()

    barrier.wait(30)
    asyncio.run(work())
