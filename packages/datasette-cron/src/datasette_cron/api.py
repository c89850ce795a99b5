"""The JSON views under /-/api/cron that datasette-cron has always documented. What they take and
answer only grows."""

from __future__ import annotations

from dataclasses import asdict, replace

from datasette.utils.asgi import BadRequest, NotFound, Response

from cronkit_core.definition import check_config, unknown
from cronkit_core.storage.base import RunQuery, TaskQuery

from .api_json import task_details, task_json
from .call import Call
from .internal_db import STARTED
from .models import cron_run
from .paging import next_id, page, page_size, query_choice, wants_page
from .requirements import check_task
from .scheduler import version

RUNS = 50
TRIGGER_KEYS = ("config", "force")
SWITCH = {None: None, "1": True, "true": True, "0": False, "false": False}


async def list_tasks(call: Call) -> Response:
    """GET /-/api/cron/tasks: all of them, or a page of those that fit."""
    secrets = await call.actor_may_edit()
    args = call.request.args
    query = TaskQuery(
        limit=None,
        search=args.get("search"),
        handler=args.get("handler"),
        enabled=SWITCH[query_choice(call, "enabled", ("1", "true", "0", "false"))],
        last_status=query_choice(call, "last_status", ("success", "error")),
        after=args.get("_next"),
    )
    if not wants_page(call):
        tasks = await call.scheduler.tasks(query)
        return Response.json({"tasks": [task_json(task, secrets=secrets) for task in tasks]})
    size = page_size(call)
    found = await call.scheduler.tasks(replace(query, limit=size + 1))
    return page(
        call,
        "tasks",
        found,
        size,
        lambda task: task_json(task, secrets=secrets),
        lambda task: task.name,
    )


async def show_task(call: Call) -> Response:
    """GET /-/api/cron/tasks/{name}"""
    task = await call.scheduler.get_task(call.name)
    show = task_json if query_choice(call, "_extra", ("details",)) is None else task_details
    return Response.json(
        show(task, secrets=await call.actor_may_edit()), headers={"etag": version(task.record)}
    )


async def list_runs(call: Call) -> Response:
    """GET /-/api/cron/tasks/{name}/runs: the newest 50, also of a task that was removed."""
    size = page_size(call, RUNS)
    query = RunQuery(task_name=call.name, statuses=STARTED, before_id=next_id(call), limit=size + 1)
    await call.scheduler.open()
    runs = await call.scheduler.storage.runs(query)
    if not runs and await call.scheduler.internal_db.get_task(call.name) is None:
        raise NotFound(f"Task not found: {call.name}")
    if not wants_page(call):
        return Response.json({"runs": [asdict(cron_run(run)) for run in runs[:size]]})
    return page(call, "runs", runs, size, lambda run: asdict(cron_run(run)), lambda run: run.id)


async def trigger_task(call: Call) -> Response:
    """POST /-/api/cron/tasks/{name}/trigger"""
    body = await call.body()
    for key in body:
        if key not in TRIGGER_KEYS:
            raise BadRequest(unknown("key", key, TRIGGER_KEYS))
    config, force = body.get("config"), body.get("force", False)
    if not isinstance(force, bool):
        raise BadRequest('bad "force": send true or false')
    if config is not None:
        # To run a handler with a config of one's own is as good as to edit the task.
        await call.require_edit()
        check_config(config)
        task = await call.scheduler.get_task(call.name)
        await check_task(call.scheduler, call.request.actor, task.handler, config)
    run_id = await call.scheduler.trigger_task(
        call.name, config=config, force=force, by=actor_name(call)
    )
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


def actor_name(call: Call) -> str | None:
    """Who makes the request, as it is kept with what the request changes."""
    actor = call.request.actor
    return None if actor is None else str(actor.get("id"))
