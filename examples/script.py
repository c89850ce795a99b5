"""A script that runs until it is stopped, and goes on where it was when it is started again.

    python examples/script.py [jobs.db]

Stop it with Ctrl-C, wait a while, and start it again: the heartbeats of the time between are one
row of the ledger, "missed", and the newest of them is made up for.
"""

import asyncio
import logging
import sys

from cronkit_core import Scheduler, SlotsMissed, SQLiteStorage

scheduler = Scheduler(SQLiteStorage(sys.argv[1] if len(sys.argv) > 1 else "jobs.db"))


@scheduler.task("2s")
async def heartbeat(run):
    print(f"{run.slot:%H:%M:%S} heartbeat", flush=True)


@scheduler.task("5s", retry={"max_retries": 2, "base": 0.25})
def flaky(run):  # a sync function has a thread of its own
    if run.attempt == 1:
        raise ConnectionError("the feed does not answer")
    print(f"{run.slot:%H:%M:%S} flaky, attempt {run.attempt}", flush=True)


@scheduler.task("0 9 * * MON-FRI", timezone="Europe/Berlin", catch_up="skip")
async def stand_up(run):
    print("Good morning", flush=True)


def tell(event):
    were = "slot was" if event.count == 1 else "slots were"
    print(f"{event.task_name}: {event.count} {were} missed", flush=True)


scheduler.on(SlotsMissed, tell)

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(scheduler.serve_forever())
