"""One process with a scheduler under load, until SIGTERM: so many tasks, each with a slot a second,
spread evenly. Says once a second, as JSON lines, how it is doing.

python load_worker.py FILE TASKS KEEP_RUNS
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta

from cronkit_core import Scheduler, SQLiteStorage

executed = 0


async def handler(run: object) -> None:
    global executed
    executed += 1


async def say(scheduler: Scheduler) -> None:
    while True:
        await asyncio.sleep(1.0)
        engine = scheduler.engine
        assert engine is not None
        late = sorted(engine.lateness)
        told = {
            "executed": executed,
            "late": late[len(late) * 99 // 100] if late else 0.0,
            "tasks": len(asyncio.all_tasks()),
        }
        print(json.dumps(told), flush=True)


async def work(file: str, tasks: int, keep_runs: int) -> None:
    scheduler = Scheduler(SQLiteStorage(file), keep_runs=keep_runs)
    scheduler.register_handler("handler", handler)
    begin = datetime.now(UTC)
    await scheduler.add_tasks(
        {
            "name": f"task {n}",
            "handler": "handler",
            "schedule": {
                "interval": 1,
                "anchor": (begin + timedelta(seconds=n / tasks)).isoformat(),
            },
            "overlap": "allow",
            "catch_up": "all",
        }
        for n in range(tasks)
    )
    saying = asyncio.create_task(say(scheduler))
    await scheduler.serve_forever()
    saying.cancel()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], *map(int, sys.argv[2:])))
