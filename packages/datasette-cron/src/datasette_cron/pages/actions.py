"""What the forms about a task do. Each ends in a redirect, with a message that says what was done;
or in the page again, with what was typed and what is wrong with it."""

from __future__ import annotations

import json

from datasette.utils.asgi import Base400, Response

from cronkit_core.definition import check_config
from cronkit_core.errors import CronkitError, InvalidTask, TaskActive

from ..api import actor_name
from ..api_tasks import refuse_many
from ..call import Call
from ..reconcile import configured
from ..requirements import check_task
from . import address
from .explaining import read_local
from .render import redirect, render
from .task import find, show
from .words import count

LONGEST_BACK = 2_000  # characters of an address
TEXTS = ("config", "note", "start", "end", "overlap", "back")


async def run_now(call: Call) -> Response:
    """POST /-/cron/{name}/run"""
    typed = await _typed(call)
    task = await find(call)
    config = None
    if text := typed.get("config", "").strip():
        # To run a handler with a config of one's own is as good as to edit the task.
        await call.require_edit()
        try:
            config = json.loads(text)
            if config is None:
                raise InvalidTask("config must be an object such as {}, not null")
            check_config(config)
            await check_task(call.scheduler, call.request.actor, task.handler, config)
        except (CronkitError, Base400) as error:
            return await show(call, typed=typed, problems={"config": str(error)})
        except (ValueError, RecursionError) as error:
            problem = f"this is not JSON: {error}"
            return await show(call, typed=typed, problems={"config": problem})
    try:
        run_id = await call.scheduler.trigger_task(
            task.name, config=config, force=bool(typed.get("force")), by=actor_name(call)
        )
    except TaskActive as error:
        message = f"{task.name} was not started: run {error.run_id} of it is under way"
        return redirect(call, _back(call, typed, task.name), message, failed=True)
    except CronkitError as error:
        return redirect(call, _back(call, typed, task.name), str(error), failed=True)
    message = f"Run {run_id} of {task.name} is to start now"
    return redirect(call, _back(call, typed, task.name), message)


async def pause(call: Call) -> Response:
    """POST /-/cron/{name}/pause"""
    typed = await _typed(call)
    task = await find(call)
    note = typed.get("note", "").strip() or None
    try:
        await call.scheduler.disable_task(task.name, note=note, by=actor_name(call))
    except CronkitError as error:
        return await show(call, typed=typed, problems={"note": str(error)})
    return redirect(call, _back(call, typed, task.name), f"{task.name} is paused")


async def resume(call: Call) -> Response:
    """POST /-/cron/{name}/resume"""
    typed = await _typed(call)
    task = await find(call)
    try:
        await call.scheduler.enable_task(task.name)
    except CronkitError as error:
        return redirect(call, _back(call, typed, task.name), str(error), failed=True)
    return redirect(call, _back(call, typed, task.name), f"{task.name} goes on")


async def ask_delete(call: Call) -> Response:
    """GET /-/cron/{name}/delete: whether that is really meant."""
    await call.require_edit()
    task = await find(call)
    context = {
        "task": task,
        "href": address.task_path(call.datasette, task.name),
        "delete_href": address.task_path(call.datasette, task.name, "delete"),
        "configured": task.name in await configured(call.scheduler.internal_storage),
    }
    return await render(call, "cron_delete.html", context)


async def delete(call: Call) -> Response:
    """POST /-/cron/{name}/delete"""
    await call.require_edit()
    typed = await _typed(call)
    task = await find(call)
    await call.scheduler.remove_task(task.name, cancel=bool(typed.get("cancel")))
    return redirect(call, address.tasks_path(call.datasette), f"{task.name} is deleted")


async def backfill(call: Call) -> Response:
    """POST /-/cron/{name}/backfill"""
    typed = await _typed(call)
    task = await find(call)
    problems, edges = {}, {}
    for key in ("start", "end"):
        try:
            # Where the clock shows a time twice, the span takes in both.
            found = read_local(typed.get(key, ""), task.timezone)
            edges[key] = found[0] if key == "start" else found[-1]
        except ValueError as error:
            problems[key] = str(error)
    if problems:
        return await show(call, typed=typed, problems=problems)
    start, end, overlap = edges["start"], edges["end"], typed.get("overlap") or None
    try:
        await refuse_many(call, start, end)
        ids = await call.scheduler.backfill(task.name, start, end, overlap=overlap)
    except (CronkitError, Base400) as error:
        return await show(call, typed=typed, problems={"end": str(error)})
    message = f"No slot of {task.name} is to run: each one in that span has run, or there is none"
    if ids:
        verb = "is" if len(ids) == 1 else "are"
        message = f"{count(len(ids), 'slot')} of {task.name} {verb} to run"
    return redirect(call, address.task_path(call.datasette, task.name), message)


async def _typed(call: Call) -> dict[str, str]:
    """The fields of the form. What is not in it is not in the answer."""
    return {key: str(value) for key, value in (await call.fields(TEXTS)).items()}


def _back(call: Call, typed: dict[str, str], name: str) -> str:
    """Where the form was: in the list, or on the page of the task."""
    back, tasks = typed.get("back", ""), address.tasks_path(call.datasette)
    listed = back == tasks or back.startswith(f"{tasks}?")
    if listed and back.isascii() and back.isprintable() and len(back) <= LONGEST_BACK:
        return back
    return address.task_path(call.datasette, name)
