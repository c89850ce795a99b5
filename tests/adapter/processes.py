"""Scenes with several processes on one internal database, for test_processes.py.

Datasette is imported once; the processes are forks of that, so that they begin in one moment.

    python processes.py start internal.db count
    python processes.py share internal.db log
    python processes.py kill internal.db log
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from datasette.app import Datasette

import cronkit_core
from datasette_cron.scheduler import Scheduler

SHARED_SECONDS = 2.0
SHARED_INTERVAL = 0.05


def start(internal: str, count: str) -> int:
    """So many processes start at once; the answer is how many failed."""
    gate, opener = os.pipe()
    children = []
    for _ in range(int(count)):

        def one() -> None:
            os.close(opener)
            os.read(gate, 1)
            asyncio.run(start_and_stop(internal))

        children.append(fork(one))
    os.close(gate)
    os.close(opener)
    return sum(exit_code(child) != 0 for child in children)


async def start_and_stop(internal: str) -> None:
    datasette = Datasette(memory=True, internal=internal)
    await datasette.start_background_tasks()
    scheduler: Scheduler = datasette._cron_scheduler
    await scheduler.add_task(name="everybody's", handler="gone", schedule={"interval": 3600})
    await ticked(scheduler)
    await datasette.invoke_shutdown()


async def ticked(scheduler: Scheduler) -> None:
    while (await scheduler.status()).last_tick is None:
        await asyncio.sleep(0.01)


def share(internal: str, log: str) -> int:
    """Two processes run the same tasks for a while; each run adds a line to `log`."""

    async def work() -> None:
        datasette, scheduler = await started(internal)

        async def note(datasette: Datasette, config: dict[str, Any]) -> None:
            add_line(log)

        scheduler.register_handlers("test", {"note": note})
        for n in range(6):
            await scheduler.add_task(
                name=f"t{n}", handler="note", schedule={"interval": SHARED_INTERVAL}
            )
        scheduler.start()
        await asyncio.sleep(SHARED_SECONDS)
        await datasette.invoke_shutdown()

    return sum(exit_code(child) != 0 for child in [fork(runner(work)) for _ in range(2)])


def kill(internal: str, log: str) -> int:
    """A process is killed in the middle of a run; another one finds that out, and retries."""
    seen, tell = os.pipe()

    async def victim() -> None:
        _, scheduler = await started(internal)

        async def hang(datasette: Datasette, config: dict[str, Any]) -> None:
            add_line(log)
            os.write(tell, b".")
            await asyncio.Event().wait()

        scheduler.register_handlers("test", {"work": hang})
        await scheduler.add_task(
            name="t",
            handler="work",
            schedule={"interval": 3600},
            retry={"max_retries": 1, "backoff": "constant", "base": 0},
        )
        scheduler.start()
        await scheduler.internal_db.update_next_run("t", "2026-01-01T00:00:00")
        await asyncio.Event().wait()

    async def heir() -> None:
        datasette, scheduler = await started(internal)
        done = asyncio.Event()

        async def work(datasette: Datasette, config: dict[str, Any]) -> None:
            add_line(log)

        scheduler.register_handlers("test", {"work": work})
        scheduler.on(cronkit_core.RunSucceeded, lambda event: done.set())
        scheduler.start()
        await done.wait()
        await datasette.invoke_shutdown()

    child = fork(runner(victim))
    os.read(seen, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return exit_code(fork(runner(heir)))


async def started(internal: str) -> tuple[Datasette, Scheduler]:
    """A Datasette whose startup is done, with a scheduler that notices soon what others do."""
    datasette = Datasette(memory=True, internal=internal)
    await datasette.invoke_startup()
    scheduler = Scheduler(datasette, lease=1.0, poll=0.2)
    datasette._cron_scheduler = scheduler
    return datasette, scheduler


def add_line(log: str) -> None:
    run = cronkit_core.current_run()
    with open(log, "a") as file:
        file.write(f"{run.task.name} {run.slot.isoformat()} {run.attempt} {os.getpid()}\n")


def fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def runner(work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    return lambda: asyncio.run(work())


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    scene, *arguments = sys.argv[1:]
    sys.exit({"start": start, "share": share, "kill": kill}[scene](*arguments))
