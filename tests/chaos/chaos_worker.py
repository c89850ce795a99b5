"""One process with a scheduler, until SIGTERM.

python chaos_worker.py NAME LEASE POLL sqlite FILE
python chaos_worker.py NAME LEASE POLL postgres CONNINFO SCHEMA
"""

from __future__ import annotations

import asyncio
import logging
import sys

from chaos_log import HANDLERS

from cronkit_core import Scheduler, SQLiteStorage
from cronkit_core.storage.base import Storage


def make(kind: str, place: str, *schema: str) -> Storage:
    if kind == "sqlite":
        return SQLiteStorage(place)
    from cronkit_core import PostgresStorage

    return PostgresStorage(place, schema=schema[0], max_connections=2, timeout=1.0)


async def work(name: str, lease: str, poll: str, *where: str) -> None:
    scheduler = Scheduler(make(*where), name=name, lease=float(lease), poll=float(poll))
    for handler, function in HANDLERS.items():
        scheduler.register_handler(handler, function)
    await scheduler.open()
    print("ready", flush=True)
    await scheduler.serve_forever()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(work(*sys.argv[1:]))
