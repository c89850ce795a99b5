"""The JSON views that make, change and delete tasks, and that tell what was done to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import Any

from datasette.utils import tilde_encode
from datasette.utils.asgi import BadRequest, NotFound, Response

from cronkit_core import changes
from cronkit_core.definition import unknown
from cronkit_core.errors import HandlerNotFound, InvalidTask, TaskNotFound
from cronkit_core.run_operations import BACKFILL_LIMIT
from cronkit_core.storage.base import RunQuery, can_be_stored
from cronkit_core.storage.sqlite_edits import Program
from cronkit_core.storage.sqlite_rows import SKIP_COLUMNS, skip
from cronkit_core.storage.sqlite_schema import Statement

from .api import actor_name
from .api_json import skip_json, task_details
from .call import Call
from .config import POLICY_KEYS, TASK_KEYS
from .migrations import PREFIX
from .paging import bad_next, next_id, page, page_size, read_id, read_time
from .requirements import check_task
from .scheduler import version

TEXTS = ("name", "handler", "timezone", "overlap", "catch_up", "group", "start_at", "end_at")
"""What is text in a form, even where it looks like JSON."""
KEYS = (*TASK_KEYS, *POLICY_KEYS)


async def create_task(call: Call) -> Response:
    """POST /-/api/cron/tasks"""
    wish = await _wish(call, ("name", *KEYS))
    enabled = _enabled(wish)
    for key in ("name", "handler", "schedule"):
        if key not in wish:
            raise BadRequest(f"no {key}: every task needs one")
    definition = changes.define(call.scheduler.clock.now(), **wish)
    await _approve(call, definition, new_handler=True)
    task = await call.scheduler.create_task(
        definition, enabled=enabled is not False, by=actor_name(call)
    )
    address = call.datasette.urls.path(f"/-/api/cron/tasks/{tilde_encode(task.name)}")
    return Response.json(
        {"ok": True, "task": task_details(task, secrets=True)},
        status=201,
        headers={"location": str(address), "etag": version(task.record)},
    )


async def update_task(call: Call) -> Response:
    """PATCH /-/api/cron/tasks/{name}, and POST .../update"""
    wish = await _wish(call, KEYS)
    enabled = _enabled(wish)
    definition = None
    if wish:
        record = (await call.scheduler.get_task(call.name)).record
        definition = changes.redefine(record, wish)
        await _approve(call, definition, new_handler="handler" in wish)
    task = await call.scheduler.change_task(
        call.name,
        wish,
        approved=definition,
        versions=_versions(call),
        enabled=enabled,
        by=actor_name(call),
    )
    return Response.json(
        {"ok": True, "task": task_details(task, secrets=True)},
        headers={"etag": version(task.record)},
    )


async def delete_task(call: Call) -> Response:
    """DELETE /-/api/cron/tasks/{name}, and POST .../delete"""
    cancel = (await call.fields()).get("cancel", True)
    if not isinstance(cancel, bool):
        raise BadRequest('bad "cancel": send true or false')
    if not await call.scheduler.remove_task(call.name, cancel=cancel):
        raise TaskNotFound(call.name)
    return Response.json({"ok": True, "message": f"Task {call.name} deleted"})


async def backfill_task(call: Call) -> Response:
    """POST /-/api/cron/tasks/{name}/backfill"""
    body = await call.fields(("start", "end", "overlap"))
    for key in body:
        if key not in ("start", "end", "overlap"):
            raise BadRequest(unknown("key", key, ("start", "end", "overlap")))
    start, end = read_time("start", body.get("start")), read_time("end", body.get("end"))
    overlap = body.get("overlap")
    if overlap is not None and not isinstance(overlap, str):
        raise BadRequest(f"bad overlap {overlap!r:.80}: skip, queue or allow")
    await refuse_many(call, start, end)
    ids = await call.scheduler.backfill(call.name, start, end, overlap=overlap)
    return Response.json({"ok": True, "run_ids": ids})


async def list_audit(call: Call) -> Response:
    """GET /-/api/cron/tasks/{name}/audit: newest first, also of a task that was deleted."""
    size = page_size(call)
    await call.scheduler.open()
    storage = call.scheduler.internal_storage
    found = await storage.read(storage.programs.entries(call.name, next_id(call), size + 1))
    if not found:
        await _require_known(call)
    return page(call, "audit", found, size, asdict, lambda entry: entry.id)


async def list_skips(call: Call) -> Response:
    """GET /-/api/cron/tasks/{name}/skips: latest first, also of a task that was deleted."""
    size = page_size(call)
    await call.scheduler.open()
    found = await call.scheduler.internal_storage.read(_skips(call.name, _place(call), size + 1))
    if not found:
        await _require_known(call)
    return page(
        call,
        "skips",
        found,
        size,
        lambda row: skip_json(skip(row[1:])),
        lambda row: f"{row[1:][SKIP_COLUMNS.index('last_slot')]},{row[0]}",
    )


async def refuse_many(call: Call, start: datetime, end: datetime) -> None:
    """Raises BadRequest for a span of too many slots, without counting all of them."""
    schedule = (await call.scheduler.get_task(call.name)).schedule
    if schedule is not None:
        slots = schedule.between(start, min(end, call.scheduler.clock.now()))
        if next(islice(slots, BACKFILL_LIMIT, None), None) is not None:
            raise BadRequest(
                f"more than {BACKFILL_LIMIT} slots from {start} to {end}: send a shorter span"
            )


def _place(call: Call) -> tuple[str, int] | None:
    token = call.request.args.get("_next")
    if token is None:
        return None
    slot, _, number = token.rpartition(",")
    if (id_ := read_id(number)) is None or not can_be_stored(slot):
        raise bad_next(token)
    return slot.replace(" ", "+"), id_


def _skips(name: str, before: tuple[str, int] | None, limit: int) -> Program[list[tuple[Any, ...]]]:
    if not can_be_stored(name):
        return []
    return (
        yield Statement(
            f"SELECT id, {', '.join(SKIP_COLUMNS)} FROM {PREFIX}skips WHERE task_name = ? "
            "AND (last_slot, id) < (?, ?) ORDER BY last_slot DESC, id DESC LIMIT ?",
            (name, *(before or ("~", 0)), limit),  # "~" comes after every time
        )
    )


async def _require_known(call: Call) -> None:
    """Raises NotFound where there is no such task, and no run of one."""
    if await call.scheduler.internal_db.get_task(call.name) is not None:
        return
    if not await call.scheduler.storage.runs(RunQuery(task_name=call.name, limit=1)):
        raise NotFound(f"Task not found: {call.name}")


async def _wish(call: Call, known: tuple[str, ...]) -> dict[str, Any]:
    wish = await call.fields(TEXTS)
    for key in wish:
        if key not in known:
            raise BadRequest(unknown("key", key, known))
    if "timezone" in wish and not isinstance(wish["timezone"], str | None):
        raise BadRequest(f"bad timezone {wish['timezone']!r:.80}: an IANA name, or null")
    return wish


def _versions(call: Call) -> list[str] | None:
    """What `If-Match` says the task must be one of; None for anything (RFC 9110, 13.1.1)."""
    header = call.request.headers.get("if-match")
    if header is None or header.strip() == "*":
        return None
    return [tag.strip() for tag in header.split(",")]


def _enabled(wish: dict[str, Any]) -> bool | None:
    enabled = wish.pop("enabled", None)
    if not isinstance(enabled, bool | None):
        raise BadRequest('bad "enabled": send true or false')
    return enabled


async def _approve(call: Call, definition: changes.Definition, *, new_handler: bool) -> None:
    """Raises Forbidden and InvalidTask where the handler wants nothing of the task."""
    config: Mapping[str, Any] = json.loads(definition.config)
    try:
        await check_task(call.scheduler, call.request.actor, definition.handler, config)
    except HandlerNotFound as error:
        if not new_handler:
            raise
        raise InvalidTask(str(error)) from error
