"""/-/cron/new and /-/cron/{name}/edit: the form that makes and changes tasks."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import available_timezones

from datasette.utils.asgi import BadRequest, Forbidden, NotFound, Response
from markupsafe import Markup

from cronkit_core import changes
from cronkit_core.definition import unknown
from cronkit_core.errors import (
    Conflict,
    CronkitError,
    HandlerNotFound,
    InvalidSchedule,
    InvalidTask,
    TaskNotFound,
)
from cronkit_core.preview import preview
from cronkit_core.schedules import Schedule, lint
from cronkit_core.storage.base import TaskQuery
from cronkit_core.tasks import Task

from ..api import actor_name
from ..call import Call
from ..requirements import check_task, refusal
from ..scheduler import TaskExists, version
from . import form_fields
from .address import new_path, task_path, tasks_path
from .form_fields import NAMES, POLICIES, Wish
from .render import redirect, render
from .words import shortened

SENT = (*NAMES, "preview")
"""The names of all that the form sends."""
SLOTS = 5
LONGEST_DOC = 400
EXAMPLES = (
    ("0 9 * * 1-5", "at 09:00 on weekdays"),
    ("*/15 * * * *", "every quarter of an hour"),
    ("90 minutes", "every 90 minutes"),
    ("@daily", "at midnight"),
    ('{"rrule": "FREQ=MONTHLY;BYDAY=1MO;BYHOUR=9"}', "at 9 on the first Monday of the month"),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A handler in the picker."""

    name: str
    note: str
    """What stands in the way of choosing it."""
    description: str
    chosen: bool


async def new(call: Call) -> Response:
    """GET /-/cron/new: an empty form."""
    await call.require_edit()
    typed = form_fields.empty()
    for name in ("name", "handler", "schedule", "timezone"):
        typed[name] = call.request.args.get(name) or ""
    wish = form_fields.read(typed, call.scheduler.clock.now())
    return await _show(call, typed, wish, problems={})  # nobody has typed anything yet


async def create(call: Call) -> Response:
    """POST /-/cron/new: make the task, or show the form again."""
    await call.require_edit()
    typed = await _typed(call)
    now = call.scheduler.clock.now()
    wish = form_fields.read(typed, now)
    if "preview" in typed:
        return await _show(call, typed, wish, problems={})
    definition = None
    if "name" in wish.values and await _exists(call, wish.values["name"]):
        wish.problems["name"] = str(TaskExists(wish.values["name"]))
    if not wish.problems:
        definition = _checked(wish, lambda: changes.define(now, **wish.values))
    await _ask_handler(call, wish, typed["handler"], wish.values.get("config", {}))
    if wish.problems or definition is None:
        return await _show(call, typed, wish, status=400)
    try:
        task = await call.scheduler.create_task(
            definition, enabled=bool(typed["enabled"]), by=actor_name(call)
        )
    except TaskExists as error:
        wish.problems["name"] = str(error)
        return await _show(call, typed, wish, status=409)
    path = task_path(call.datasette, task.name)
    return redirect(call, path, f"Task {task.name} is made")


async def edit(call: Call) -> Response:
    """GET /-/cron/{name}/edit: the form, filled with the task."""
    await call.require_edit()
    task = await _task(call)
    typed = form_fields.filled(task)
    wish = form_fields.read(typed, call.scheduler.clock.now(), task)
    # What is wrong is told at once of a broken task alone: of others, it was not typed now.
    return await _show(call, typed, wish, task, problems=None if task.broken else {})


async def update(call: Call) -> Response:
    """POST /-/cron/{name}/edit: change the task, or show the form again."""
    await call.require_edit()
    task = await _task(call)
    typed = await _typed(call)
    typed["name"] = task.name
    wish = form_fields.read(typed, call.scheduler.clock.now(), task)
    if "preview" in typed:
        return await _show(call, typed, wish, task, problems={})
    updated_at = task.record.updated_at.isoformat()
    if typed["updated_at"] != updated_at:
        typed["updated_at"] = updated_at
        wish.problems[""] = (
            "the task was changed by somebody else meanwhile: look at it, and save again to have "
            "it as it stands here"
        )
    definition = None
    if not wish.problems and wish.values:
        definition = _checked(wish, lambda: changes.redefine(task.record, wish.values))
    config = wish.values.get("config", task.config)
    if wish.values:
        await _ask_handler(call, wish, typed["handler"], config)
    if not wish.problems and wish.values:
        try:
            await call.scheduler.change_task(
                task.name,
                wish.values,
                approved=definition,
                versions=[version(task.record)],
                by=actor_name(call),
            )
        except (Conflict, InvalidTask) as error:
            wish.problems[""] = str(error)
        except InvalidSchedule as error:
            wish.problems["schedule"] = str(error)
    if wish.problems:
        return await _show(call, typed, wish, task, status=400)
    said = f"Task {task.name} is changed" if wish.values else "Nothing was changed"
    return redirect(call, task_path(call.datasette, task.name), said)


async def _show(
    call: Call,
    typed: Mapping[str, str],
    wish: Wish,
    task: Task | None = None,
    *,
    problems: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    now = call.scheduler.clock.now()
    problems = wish.problems if problems is None else problems
    datasette = call.datasette
    back = tasks_path(datasette) if task is None else task_path(datasette, task.name)
    context = {
        "task": task,
        "typed": typed,
        "problems": problems,
        "labels": _labels(),
        "policies": [
            (title, group, any(_matters(field.name, typed, problems) for field in group))
            for title, group in POLICIES
        ],
        "handlers": await _choices(call, typed["handler"], _config(typed)),
        "zones": _zones(),
        "examples": EXAMPLES,
        "preview": None if wish.schedule is None else _preview(wish.schedule, now),
        "preview_problem": _preview_problem(typed, wish),
        "action": new_path(datasette) if task is None else task_path(datasette, task.name, "edit"),
        "back": back,
        "preview_href": datasette.urls.path("/-/api/cron/preview"),
    }
    place = "new" if task is None else "tasks"
    return await render(call, "cron_form.html", context, place=place, status=status)


async def _typed(call: Call) -> dict[str, str]:
    body = await call.request.post_body()
    try:
        sent = dict(
            parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100, errors="strict")
        )
    except ValueError as error:
        raise BadRequest(f"the body is not a form in UTF-8: {error}") from None
    for key in sent:
        if key not in SENT:
            raise BadRequest(unknown("field", key, SENT))
    return {**dict.fromkeys(NAMES, ""), **sent}


async def _task(call: Call) -> Task:
    try:
        return await call.scheduler.get_task(call.name)
    except TaskNotFound as error:
        raise NotFound(str(error)) from None


async def _exists(call: Call, name: str) -> bool:
    return bool(await call.scheduler.tasks(TaskQuery(names=[name])))


def _checked(wish: Wish, make: Any) -> changes.Definition | None:
    try:
        definition: changes.Definition = make()
        return definition
    except InvalidSchedule as error:
        wish.problems["schedule"] = str(error)
    except CronkitError as error:
        wish.problems[""] = str(error)
    return None


async def _ask_handler(call: Call, wish: Wish, handler: str, config: Mapping[str, Any]) -> None:
    """Note what the handler wants nothing of, as far as it can be asked."""
    if wish.problems.keys() & {"handler", "config"}:
        return
    try:
        await check_task(call.scheduler, call.request.actor, handler, config)
    except HandlerNotFound as error:
        wish.problems["handler"] = str(error)
    except Forbidden as error:
        wish.problems["handler"] = str(error)
    except InvalidTask as error:
        wish.problems["config"] = str(error)


async def _choices(call: Call, chosen: str, config: Mapping[str, Any]) -> list[Choice]:
    scheduler = call.scheduler
    names = sorted(scheduler.handlers)
    if chosen and chosen not in names:
        names.insert(0, chosen)  # a bare name, or one that is not here
    found = []
    for name in names:
        handler = scheduler.get_handler(name)
        note = ""
        if handler is None:
            note = "not registered here"
        elif await refusal(scheduler, call.request.actor, name, config if name == chosen else {}):
            note = "needs a permission that you do not have"
        found.append(Choice(name, note, _first_words(handler), name == chosen))
    return found


def _first_words(handler: Any) -> str:
    while isinstance(handler, functools.partial):
        handler = handler.func
    doc = (inspect.getdoc(handler) or "") if handler is not None else ""
    return shortened(" ".join(doc.split("\n\n")[0].split()), LONGEST_DOC)


def _config(typed: Mapping[str, str]) -> dict[str, Any]:
    try:
        config = json.loads(typed["config"])
    except (ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _preview(schedule: Schedule, now: datetime) -> dict[str, Any]:
    """What a schedule means: the same as the REST endpoint tells."""
    return {
        "description": schedule.describe(),
        "timezone": schedule.timezone or "UTC",
        "warnings": [warning.message for warning in lint(schedule, after=now)],
        "slots": [
            (slot.local.isoformat(), f"{slot.local:%a %Y-%m-%d %H:%M:%S %Z}", slot.note)
            for slot in preview(schedule, now, SLOTS)
        ],
    }


def _preview_problem(typed: Mapping[str, str], wish: Wish) -> str | None:
    """Why there is no preview of what was typed."""
    if not typed["schedule"].strip():
        return None
    return wish.problems.get("schedule") or wish.problems.get("timezone")


def _matters(name: str, typed: Mapping[str, str], problems: Mapping[str, str]) -> bool:
    """Whether a policy is worth being seen at once."""
    return name in problems or typed[name] != _DEFAULTS[name]


@lru_cache(maxsize=1)
def _zones() -> Markup:
    """The names of time zones as options: too many to have a template go through them each time."""
    names = sorted(name for name in available_timezones() if "/" in name or name == "UTC")
    return Markup("").join(Markup('<option value="{}">').format(name) for name in names)


@lru_cache(maxsize=1)
def _labels() -> dict[str, str]:
    texts = {name: name.capitalize() for name in form_fields.TEXTS}
    return {
        **texts,
        "timezone": "Time zone",
        **{field.name: field.label for field in form_fields.FIELDS},
    }


_DEFAULTS = form_fields.empty()
