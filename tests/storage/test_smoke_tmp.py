from datetime import datetime, UTC, timedelta
from cronkit_core import PostgresStorage, Scheduler
from cronkit_core.testing.virtual import VirtualClock, run_until, settle
import asyncio, time

async def test_pg(postgres, postgres_schema):
    st = PostgresStorage(postgres.dsn, schema=postgres_schema)
    t=time.time()
    ran=[]
    async with Scheduler(st, poll=0.2) as s:
        print("open", time.time()-t)
        async def h(run): ran.append((run.task.name, run.slot))
        await s.add_task("a", h, {"interval": 1})
        ev = asyncio.Event()
        s.on(__import__("cronkit_core").RunSucceeded, lambda e: ev.set())
        await asyncio.wait_for(ev.wait(), 5)
        ev.clear()
        await s.trigger_task("a")
        await asyncio.wait_for(ev.wait(), 5)
        print(await s.runs())
        print(await s.status())
    print(ran)
