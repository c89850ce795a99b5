"""The HTML pages under /-/cron."""

from __future__ import annotations

from datasette.utils import tilde_encode
from datasette.utils.asgi import NotFound, Response

from cronkit_core.errors import TaskNotFound

from .api import RUNS
from .api_json import description
from .call import Call
from .masking import masked
from .models import cron_task


async def index(call: Call) -> Response:
    """GET /-/cron: all tasks."""
    urls = call.datasette.urls
    rows = [
        {
            "task": cron_task(task.record),
            "href": urls.path(f"/-/cron/{tilde_encode(task.name)}"),
            "schedule": description(task),
            "broken": task.broken,
        }
        for task in await call.scheduler.tasks()
    ]
    return await _render(call, "cron_index.html", {"rows": rows})


async def task(call: Call) -> Response:
    """GET /-/cron/{name}: a task and its newest runs."""
    try:
        found = await call.scheduler.get_task(call.name)
    except TaskNotFound as error:
        raise NotFound(str(error)) from None
    shown = cron_task(found.record)
    if not await call.actor_may_edit():
        shown.config = masked(shown.config)
    context = {
        "task": shown,
        "schedule": description(found),
        "broken": found.broken,
        "paused_by": found.record.paused_by,
        "paused_note": found.record.paused_note,
        "runs": await call.scheduler.internal_db.get_runs(call.name, limit=RUNS),
        "index_href": call.datasette.urls.path("/-/cron"),
    }
    return await _render(call, "cron_task.html", context)


async def _render(call: Call, template: str, context: dict[str, object]) -> Response:
    return Response.html(
        await call.datasette.render_template(template, context, request=call.request)
    )
