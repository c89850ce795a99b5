"""The JSON views of runs."""

from __future__ import annotations

from datasette.utils.asgi import BadRequest, NotFound, Response

from cronkit_core.runs import Status

from .api import actor_name
from .api_json import run_details, run_json
from .call import Call
from .paging import next_id, page, page_size, query_time, read_id


async def list_all_runs(call: Call) -> Response:
    """GET /-/api/cron/runs: of all tasks, newest first."""
    size = page_size(call)
    found = await call.scheduler.runs(
        call.request.args.get("task"),
        statuses=_statuses(call),
        since=query_time(call, "since"),
        until=query_time(call, "until"),
        before_id=next_id(call),
        limit=size + 1,
    )
    return page(call, "runs", found, size, run_json, lambda run: run.id)


async def show_run(call: Call) -> Response:
    """GET /-/api/cron/runs/{run_id}"""
    run = await call.scheduler.get_run(_run_id(call))
    secrets = await call.actor_may_edit()
    return Response.json({"ok": True, "run": run_details(run, secrets=secrets)})


async def cancel_run(call: Call) -> Response:
    """POST /-/api/cron/runs/{run_id}/cancel"""
    await call.fields()
    run_id = _run_id(call)
    if not await call.scheduler.cancel_run(run_id, by=actor_name(call) or "request"):
        return Response.error(f"run {run_id} has ended already", 409)
    return Response.json({"ok": True, "message": f"Run {run_id} is to be cancelled"})


def _run_id(call: Call) -> int:
    text: str = call.request.url_vars["run_id"]
    run_id = read_id(text)
    if run_id is None:
        raise NotFound(f"Run not found: {text}")
    return run_id


def _statuses(call: Call) -> list[Status] | None:
    values = call.request.args.getlist("status")
    for value in values:
        if value not in set(Status):
            raise BadRequest(f"bad status {value!r:.80}: one of {', '.join(Status)}")
    return [Status(value) for value in values] or None
