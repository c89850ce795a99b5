"""The JSON views of schedules, of handlers, and of the scheduler itself."""

from __future__ import annotations

import functools
import inspect
from dataclasses import asdict
from datetime import datetime
from typing import Any

from datasette.utils.asgi import BadRequest, Response

from cronkit_core.changes import anchor_of
from cronkit_core.definition import unknown
from cronkit_core.errors import InvalidSchedule
from cronkit_core.executor import is_async
from cronkit_core.preview import preview
from cronkit_core.schedules import lint, parse_schedule
from cronkit_core.storage.sqlite_rows import text

from .api_json import run_json, skip_json
from .call import Call
from .paging import query_time, read_time

SLOTS = 10
MOST_SLOTS = 100
PREVIEW_KEYS = ("schedule", "timezone", "after", "n")


async def preview_schedule(call: Call) -> Response:
    """POST /-/api/cron/preview: what a schedule means, or what is wrong with it."""
    body = await call.fields(("timezone", "after"))
    for key in body:
        if key not in PREVIEW_KEYS:
            raise BadRequest(unknown("key", key, PREVIEW_KEYS))
    if "schedule" not in body:
        raise BadRequest("no schedule: send one")
    zone, n = body.get("timezone"), body.get("n", SLOTS)
    if not isinstance(zone, str | None):
        raise BadRequest(f"bad timezone {zone!r:.80}: an IANA name, or null")
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_SLOTS:
        raise BadRequest(f"bad n {n!r:.40}: 1 to {MOST_SLOTS}")
    now = call.scheduler.clock.now()
    after = now if body.get("after") is None else read_time("after", body["after"])
    try:
        schedule = parse_schedule(body["schedule"], zone, anchor=anchor_of(now), seed="")
    except InvalidSchedule as error:
        return Response.json(
            {"ok": True, "valid": False, "error": str(error), "where": error.where or None}
        )
    return Response.json(
        {
            "ok": True,
            "valid": True,
            "schedule_type": schedule.kind,
            "schedule": schedule.to_dict(),
            "timezone": schedule.timezone,
            "description": schedule.describe(),
            "warnings": [asdict(warning) for warning in lint(schedule, after=now)],
            "slots": [
                {"slot": text(s.slot), "local": s.local.isoformat(), "note": s.note}
                for s in preview(schedule, after, n)
            ],
        }
    )


async def explain_task(call: Call) -> Response:
    """GET /-/api/cron/tasks/{name}/explain?at="""
    at = query_time(call, "at")
    if at is None:
        raise BadRequest("no at: add ?at= and the time in question")
    found = await call.scheduler.explain(call.name, at)
    return Response.json(
        {
            "ok": True,
            "task": found.task_name,
            "at": text(found.instant),
            "fate": found.fate.value,
            "text": found.text,
            "runs": [run_json(run) for run in found.runs],
            "skip": None if found.skip is None else skip_json(found.skip),
            "by_hand": [run_json(run) for run in found.by_hand],
        }
    )


async def list_handlers(call: Call) -> Response:
    """GET /-/api/cron/handlers"""
    handlers = call.scheduler.handlers
    return Response.json(
        {"ok": True, "handlers": [_handler(name, handlers[name]) for name in sorted(handlers)]}
    )


async def show_status(call: Call) -> Response:
    """GET /-/api/cron/status"""
    status = asdict(await call.scheduler.status())
    shown = {key: text(v) if isinstance(v, datetime) else v for key, v in status.items()}
    return Response.json({"ok": True, **shown, "now": text(call.scheduler.clock.now())})


def _handler(name: str, handler: Any) -> dict[str, Any]:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return {
        "name": name,
        "description": inspect.getdoc(handler) or None,
        "is_async": is_async(handler),
        "checks_config": hasattr(handler, "validate"),
        "checks_actor": hasattr(handler, "requires"),
    }
