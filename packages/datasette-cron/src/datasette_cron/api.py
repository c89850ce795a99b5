"""The JSON views under /-/api/cron."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from datasette.utils.asgi import BadRequest, NotFound, Response

from cronkit_core.tasks import Task

from .call import Call
from .models import cron_task

RUNS = 50


async def list_tasks(call: Call) -> Response:
    """GET /-/api/cron/tasks"""
    tasks = await call.scheduler.tasks()
    return Response.json({"tasks": [task_json(task) for task in tasks]})


async def show_task(call: Call) -> Response:
    """GET /-/api/cron/tasks/{name}"""
    return Response.json(task_json(await call.scheduler.get_task(call.name)))


async def list_runs(call: Call) -> Response:
    """GET /-/api/cron/tasks/{name}/runs: the newest 50, also of a task that was removed."""
    runs = await call.scheduler.internal_db.get_runs(call.name, limit=RUNS)
    if not runs and await call.scheduler.internal_db.get_task(call.name) is None:
        raise NotFound(f"Task not found: {call.name}")
    return Response.json({"runs": [asdict(run) for run in runs]})


async def trigger_task(call: Call) -> Response:
    """POST /-/api/cron/tasks/{name}/trigger"""
    await call.body()
    run_id = await call.scheduler.trigger_task(call.name, by=actor_name(call))
    return Response.json({"ok": True, "message": f"Task {call.name} triggered", "run_id": run_id})


async def enable_task(call: Call) -> Response:
    """POST /-/api/cron/tasks/{name}/enable"""
    enabled = (await call.body()).get("enabled")
    if not isinstance(enabled, bool):
        raise BadRequest('bad "enabled": send {"enabled": true} or {"enabled": false}')
    if enabled:
        await call.scheduler.enable_task(call.name)
    else:
        await call.scheduler.disable_task(call.name, by=actor_name(call))
    return Response.json({"ok": True, "enabled": enabled})


def task_json(task: Task) -> dict[str, Any]:
    """The task as JSON data: the fields of CronTask, and what its schedule means."""
    return {**asdict(cron_task(task.record)), "schedule_description": description(task)}


def description(task: Task) -> str:
    """The schedule of `task` in plain English, or why there is none."""
    if task.schedule is None:
        return f"broken: {task.broken}"
    return task.schedule.describe()


def actor_name(call: Call) -> str | None:
    """Who makes the request, as it is kept with what the request changes."""
    actor = call.request.actor
    return None if actor is None else str(actor.get("id"))
