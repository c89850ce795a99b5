"""A FastAPI service with scheduled work in the same process, and a few routes to look at it.

    uvicorn --app-dir examples fastapi_service:app

The schedules live in service.db. Start a second process of it on another port: the two share the
work.
"""

import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

from cronkit_core import Scheduler, SQLiteStorage, TaskActive, TaskNotFound

scheduler = Scheduler(SQLiteStorage(os.environ.get("JOBS", "service.db")))


@scheduler.task("1s")
async def refresh_rates(run):
    return {"attempt": run.attempt}


@scheduler.task({"rrule": "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17"}, timezone="America/New_York")
def invoice(run):  # sync, so in a thread: the service answers meanwhile
    run.log("the last Friday of the month")


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with scheduler:  # starts with the service; at its end, waits for what runs
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/tasks")
async def tasks():
    return [
        {"name": task.name, "schedule": task.schedule.describe(), "next": task.next_run_at}
        for task in await scheduler.tasks()
    ]


@app.get("/tasks/{name}/runs")
async def runs(name: str):
    return [
        {"slot": run.slot, "status": run.status, "output": run.output}
        for run in await scheduler.runs(name, limit=20)
    ]


@app.post("/tasks/{name}/trigger", status_code=202)
async def trigger(name: str):
    try:
        return {"run_id": await scheduler.trigger_task(name)}
    except TaskNotFound as error:
        raise HTTPException(404, str(error)) from error
    except TaskActive as error:
        raise HTTPException(409, str(error)) from error
