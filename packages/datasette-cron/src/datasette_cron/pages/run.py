"""/-/cron/runs/{run_id}: one run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from datasette.utils.asgi import NotFound, Response

from cronkit_core.errors import RunNotFound
from cronkit_core.runs import Reason, Run, Status
from cronkit_core.storage.base import RunQuery, TaskQuery
from cronkit_core.storage.sqlite_edits import Program
from cronkit_core.storage.sqlite_schema import Statement
from cronkit_core.tasks import TaskRecord

from ..api import actor_name
from ..api_json import read_json
from ..call import Call
from ..masking import masked
from ..migrations import PREFIX
from ..paging import read_id
from .address import run_path, task_path
from .render import redirect, render
from .words import duration, moment, run_badge, shortened

ATTEMPTS = 100
LONGEST_MESSAGE = 1_000
LIVE = (Status.PENDING, Status.RUNNING)

_ENDS = {
    Reason.EXCEPTION: "The handler raised an exception.",
    Reason.TIMEOUT: "It took longer than the task allows, and was cancelled.",
    Reason.LOST: "The process that ran it gave no sign of life until its lease was over.",
    Reason.INTERRUPTED: "The process that ran it was stopped, and could not wait for its end.",
    Reason.NO_HANDLER: "No plugin has registered a handler of that name.",
    Reason.BROKEN: "The task's definition could not be read.",
}
_TRIGGERS = {
    "schedule": "its schedule",
    "catch-up": "its schedule, later than the slot: nobody was running then",
    "backfill": "a backfill",
    "manual": "somebody, by hand",
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, as it last said."""

    done: float
    total: float | None
    message: str

    @property
    def text(self) -> str:
        if not self.total:
            return f"{self.done:g}"
        return f"{self.done:g} of {self.total:g} ({min(self.done / self.total, 1):.0%})"


async def run(call: Call) -> Response:
    """GET /-/cron/runs/{run_id}: all there is to know about a run."""
    found = await _run(call)
    now = call.scheduler.clock.now()
    storage = call.scheduler.storage
    tasks = await storage.tasks(TaskQuery(names=[found.task_name]))
    zone = tasks[0].timezone if tasks else None
    same_slot = RunQuery(
        task_name=found.task_name, since=found.slot, until=found.slot, limit=ATTEMPTS
    )
    attempts = [a for a in reversed(await storage.runs(same_slot)) if a.manual == found.manual]
    older = await storage.runs(RunQuery(task_name=found.task_name, before_id=found.id, limit=1))
    newer = await call.scheduler.internal_storage.read(_newer(found))
    config = None if found.config is None else read_json(found.config)
    if config is not None and not await call.actor_may_edit():
        config = masked(config)
    context = {
        "run": found,
        "badge": run_badge(found),
        "live": found.status in LIVE,
        "why": why(found, attempts, tasks[0] if tasks else None),
        "trigger": _TRIGGERS[found.triggered_by.value],
        "task_href": task_path(call.datasette, found.task_name) if tasks else None,
        "slot": moment(found.slot, now, zone),
        "scheduled": moment(found.scheduled_for, now, zone),
        "due": moment(found.due_at, now, zone),
        "started": moment(found.started_at, now, zone),
        "finished": moment(found.finished_at, now, zone),
        "lease": moment(found.lease_until, now, zone),
        "took": duration(found.duration_ms),
        "progress": _progress(found),
        "message": _message(found),
        "output": None if found.output is None else _pretty(read_json(found.output)),
        "config": None if config is None else _pretty(config),
        "attempts": [
            {
                "number": attempt.attempt,
                "id": attempt.id,
                "href": run_path(call.datasette, attempt.id),
                "badge": run_badge(attempt),
                "at": moment(attempt.started_at or attempt.due_at, now, zone),
                "error": attempt.error_message or "",
            }
            for attempt in attempts
        ],
        "older_href": run_path(call.datasette, older[0].id) if older else None,
        "newer_href": None if newer is None else run_path(call.datasette, newer),
        "cancel_href": run_path(call.datasette, found.id, "cancel"),
        "poll_href": call.datasette.urls.path(f"/-/api/cron/runs/{found.id}"),
    }
    return await render(call, "cron_run.html", context, place="runs")


async def cancel(call: Call) -> Response:
    """POST /-/cron/runs/{run_id}/cancel"""
    found = await _run(call)
    path = run_path(call.datasette, found.id)
    if await call.scheduler.cancel_run(found.id, by=actor_name(call) or "request"):
        return redirect(call, path, f"Run {found.id} is to be cancelled")
    return redirect(call, path, f"Run {found.id} has ended already", failed=True)


def _message(run: Run) -> str:
    """What the error says. A traceback ends with all of it."""
    message = run.error_message or ""
    return shortened(message, LONGEST_MESSAGE) if run.error_traceback else message


def why(run: Run, attempts: list[Run], record: TaskRecord | None) -> str:
    """What a run is waiting for, or why it ended, in a sentence or two."""
    if run.status is Status.PENDING:
        if run.cancel_requested_by is not None:
            return f"It is to be cancelled, as {run.cancel_requested_by} asked for."
        if run.due_at is None:
            return "It waits until the other runs of the task have ended."
        if run.attempt > 1:
            return f"Attempt {run.attempt - 1} failed; this one starts when it is due."
        return "It starts as soon as it is due and there is room for it."
    if run.status is Status.RUNNING:
        if run.cancel_requested_by is not None:
            return f"It is being cancelled, as {run.cancel_requested_by} asked for."
        return ""
    if run.status is Status.SUCCESS:
        return "The handler came to its end."
    assert run.reason is not None
    if run.reason is Reason.CANCELLED:
        # The one reason whose message names somebody.
        return f"It was {run.error_message or 'cancelled'}. The slot is not tried again."
    said = _ENDS[run.reason]
    if any(attempt.attempt > run.attempt for attempt in attempts):
        return f"{said} The slot was tried again: see the attempts."
    if record is not None and record.retry_max == 0:
        return f"{said} The task has no retries."
    return f"{said} There was no further attempt."


async def _run(call: Call) -> Run:
    text: str = call.request.url_vars["run_id"]
    run_id = read_id(text)
    try:
        if run_id is not None:
            return await call.scheduler.get_run(run_id)
    except RunNotFound as error:
        raise NotFound(f"{error}: it was pruned, or never was") from None
    raise NotFound(f"Run not found: {text}")


def _newer(run: Run) -> Program[int | None]:
    """The id of the next run of the same task."""
    found = yield Statement(
        f"SELECT min(id) FROM {PREFIX}runs WHERE task_name = ? AND id > ?",
        (run.task_name, run.id),
    )
    newer: int | None = found[0][0]
    return newer


def _progress(run: Run) -> Progress | None:
    data = None if run.progress is None else read_json(run.progress)
    if not isinstance(data, dict) or not isinstance(data.get("done"), int | float):
        return None
    total = data.get("total")
    known = isinstance(total, int | float) and total > 0
    return Progress(data["done"], total if known else None, str(data.get("message") or ""))


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
