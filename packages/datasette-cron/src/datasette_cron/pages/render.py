"""What all pages have in common: the frame around them, and where a form leads."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from datasette.utils.asgi import Response

from ..call import Call
from . import address
from .visible import visible
from .words import shortened

FOLDER = Path(__file__).parent.parent / "static"
STATIC = ("cron.css", "cron.js", "cron-form.css", "cron-form.js", "cron-run.js")
LONGEST_MESSAGE = 600
"""Characters: a message travels in a cookie."""


async def render(
    call: Call, template: str, context: dict[str, Any], *, place: str = "", status: int = 200
) -> Response:
    """The page. `place` is the entry of the navigation where it is: "tasks", "runs" or "new"."""
    datasette = call.datasette
    may_edit = await call.actor_may_edit()
    entries = [
        ("tasks", "Tasks", address.tasks_path(datasette)),
        ("runs", "Runs", address.runs_path(datasette)),
    ]
    if may_edit:
        entries.append(("new", "New task", address.new_path(datasette)))
    frame = {
        "may_edit": may_edit,
        "cron_nav": [
            {"label": label, "href": href, "current": key == place} for key, label, href in entries
        ],
        "namesake": await _namesake(call),
        "cron_static": {
            name: f"{datasette.urls.static_plugins('datasette_cron', name)}?_hash={_hash(name)}"
            for name in STATIC
        },
    }
    html = await datasette.render_template(template, {**frame, **context}, request=call.request)
    return Response.html(visible(html), status=status)


@cache
def _hash(name: str) -> str:
    """With it in the address, Datasette has browsers keep a file for good. Its own `static()` looks
    through all plugins each time, which took a quarter of a page."""
    return sha256((FOLDER / name).read_bytes()).hexdigest()[:12]


async def _namesake(call: Call) -> dict[str, str] | None:
    """The task whose name is the last part of this page's address, where the page is not its own:
    who wrote the address may have meant that."""
    word = call.request.path.rpartition("/")[2]
    if "name" in call.request.url_vars or word not in address.WORDS:
        return None
    if await call.scheduler.internal_db.get_task(word) is None:
        return None
    return {"name": word, "href": address.task_path(call.datasette, word)}


def redirect(call: Call, path: str, message: str = "", *, failed: bool = False) -> Response:
    """Have the browser get the page at `path`, with `message` on top of it."""
    datasette = call.datasette
    if message:
        kind = datasette.ERROR if failed else datasette.INFO
        datasette.add_message(call.request, shortened(message, LONGEST_MESSAGE), kind)
    return Response.redirect(path, status=303)
