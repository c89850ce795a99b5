"""/-/cron/{name}: everything about one task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from datasette.utils.asgi import NotFound, Response

from cronkit_core.definition import dump_json
from cronkit_core.errors import TaskNotFound
from cronkit_core.preview import preview_task
from cronkit_core.runs import Run, Skip
from cronkit_core.schedules import lint
from cronkit_core.storage.base import RunQuery
from cronkit_core.storage.sqlite_edits import Program
from cronkit_core.tasks import Policies, Task

from .. import overview
from ..api_json import description
from ..audit import AuditedPrograms, Entry
from ..call import Call
from ..masking import masked
from ..models import cron_task
from ..paging import next_id
from ..reconcile import configured
from . import address, plot, timetable
from .dashboard import expression
from .explaining import Answer, answers
from .render import render
from .words import Moment, count, duration, moment, run_badge, shortened, task_badge

SLOTS = 10
AUDIT = 10
MOST_AUDIT = 200
LONGEST_CHANGE = 200
_VERBS = {"run-cancelled": "cancelled", "disabled": "paused", "enabled": "resumed"}
_RUN_KEYS = ("runs", "run_ids", "run_id", "status")
MOST_RUNS = 5
"""So many runs of a backfill are named in the audit trail."""


@dataclass(slots=True)
class Data:
    """What the page is made of, read at one instant."""

    runs: list[Run]
    skips: list[Skip]
    newest: list[Run]
    newest_skips: list[Skip]
    live: list[Run]
    audit: list[Entry]


@dataclass(frozen=True, slots=True)
class Changed:
    """Something that was done to the task."""

    at: Moment | None
    actor: str
    action: str
    changes: list[tuple[str, str | None, str | None]]
    """What, what it was, and what it became; None for nothing."""
    runs: list[tuple[int, str]]
    """The runs that it was done to, and their addresses."""
    more_runs: int


async def task(call: Call) -> Response:
    """GET /-/cron/{name}"""
    return await show(call)


async def show(
    call: Call,
    *,
    typed: Mapping[str, str] | None = None,
    problems: Mapping[str, str] | None = None,
) -> Response:
    """The page; with `problems`, those of a form on it, and what was `typed` into that."""
    scheduler, datasette = call.scheduler, call.datasette
    found = await find(call)
    now, zone = scheduler.clock.now(), found.timezone
    storage = scheduler.internal_storage
    before = next_id(call)
    more_audit = call.request.args.get("audit") == "all"
    program = _data(storage.programs, found.name, before, MOST_AUDIT if more_audit else AUDIT)
    data = await storage.read(program)
    may_edit = await call.actor_may_edit()
    config = cron_task(found.record).config
    runs = data.runs[: timetable.RUNS]
    context = {
        "task": found,
        "record": found.record,
        "badge": task_badge(found),
        "live": [
            {
                "id": run.id,
                "href": address.run_path(datasette, run.id),
                "status": run.status.value,
                "label": run_badge(run).label,
                "at": moment(run.started_at or run.due_at, now, zone),
                "attempt": run.attempt,
            }
            for run in data.live[:5]
        ],
        "live_count": len(data.live),
        "live_is_all": len(data.live) < overview.MOST_LIVE,
        "zone": zone or "UTC",
        "schedule": description(found),
        "expression": expression(found),
        "configured": found.name in await configured(storage),
        "handler_missing": scheduler.get_handler(found.record.handler) is None,
        "paused_at": moment(found.record.paused_at, now, zone),
        "last_success": moment(found.record.last_success_at, now, zone),
        "created": moment(found.record.created_at, now, zone),
        "updated": moment(found.record.updated_at, now, zone),
        "slots": [
            {
                "at": moment(slot.run_at, now, zone),
                "slot": moment(slot.slot, now, zone) if slot.slot != slot.run_at else None,
                "note": slot.note,
            }
            for slot in preview_task(found, SLOTS)
        ],
        "warnings": [] if found.schedule is None else lint(found.schedule, after=now),
        "policies": policies(found.policies),
        "config": json.dumps(config if may_edit else masked(config), indent=2, ensure_ascii=False),
        "plot": plot.plot(data.newest, data.newest_skips, now, zone) if before is None else None,
        "entries": timetable.timetable(datasette, runs, data.skips[: timetable.SKIPS], now, zone),
        "more_skips": len(data.skips) > timetable.SKIPS,
        "newest_href": None if before is None else address.task_path(datasette, found.name),
        "older_href": _with(call, _next=str(runs[-1].id))
        if len(data.runs) > timetable.RUNS
        else None,
        "all_runs_href": f"{address.runs_path(datasette)}?{urlencode({'task': found.name})}",
        "audit": [_changed(call, entry, now, zone) for entry in data.audit],
        "audit_href": None
        if more_audit or len(data.audit) < AUDIT
        else _with(call, audit="all") + "#cron-audit",
        "hrefs": {
            verb: address.task_path(datasette, found.name, verb)
            for verb in ("run", "pause", "resume", "edit", "delete", "backfill")
        },
        "href": address.task_path(datasette, found.name),
        "answers": await _asked_about(call, found),
        "typed": {"at": call.request.args.get("at") or "", **(typed or {})},
        "problems": problems or {},
    }
    status = 400 if problems else 200
    return await render(call, "cron_task.html", context, status=status)


async def find(call: Call) -> Task:
    """The task that the address names. Raises NotFound."""
    try:
        return await call.scheduler.get_task(call.name)
    except TaskNotFound as error:
        raise NotFound(str(error)) from None


def policies(policies: Policies) -> list[tuple[str, str, str]]:
    """Each policy: its name, what it is, and what that means."""
    overlap = {
        "skip": "a slot that is due while the task is active is skipped",
        "queue": "one slot waits until the task is no longer active",
        "cancel": "the run that is active is cancelled, and the new one starts",
        "allow": "runs may overlap",
    }
    catch_up = {
        "latest": "of slots that passed while nobody was running, the latest runs",
        "all": f"up to {policies.catch_up_limit} slots that passed while nobody was running run",
        "skip": "slots that passed while nobody was running are missed",
    }
    found = [
        ("Overlap", policies.overlap.value, overlap[policies.overlap]),
        ("Catch-up", policies.catch_up.value, catch_up[policies.catch_up]),
        ("Grace", _seconds(policies.grace), "how late a slot may start and still be on time"),
    ]
    retry = policies.retry
    if retry.max_retries:
        found.append(
            ("Retries", f"{retry.max_retries}, {retry.backoff}", "how often, and the pauses before")
        )
    else:
        found.append(("Retries", "none", "a run that fails is not tried again"))
    timeout = "none" if policies.timeout is None else _seconds(policies.timeout)
    found.append(("Timeout", timeout, "how long one attempt may take"))
    optional = (
        ("Jitter", policies.jitter and _seconds(policies.jitter), "starts up to this much later"),
        ("Starts", policies.start_at, "no slot before"),
        ("Ends", policies.end_at, "no slot after"),
        ("Runs at most", policies.max_runs, "then the schedule is over"),
        ("Pauses after", policies.pause_after_failures, "failures in a row"),
        ("Group", policies.group, "tasks of a group share a limit"),
        ("Priority", policies.priority, "of what is due at once, the highest starts first"),
        ("Keeps", policies.keep_runs and count(policies.keep_runs, "run"), "of its history"),
        ("Keeps for", policies.keep_for and _seconds(policies.keep_for), "of its history"),
    )
    found += [(label, str(value), meaning) for label, value, meaning in optional if value]
    return found


def _data(programs: AuditedPrograms, name: str, before: int | None, audit: int) -> Program[Data]:
    runs = yield from overview.history(name, before, timetable.RUNS + 1)
    # What did not run between the runs of this page; the page before had what is later.
    oldest = runs[timetable.RUNS - 1].slot if len(runs) > timetable.RUNS else None
    latest = None
    if before is not None:
        above = yield from programs.runs(RunQuery(ids=[before]))
        latest = above[0].slot if above else None
    skips = yield from overview.skips_between(name, oldest, latest, timetable.SKIPS + 1)
    newest: list[Run] = []
    newest_skips: list[Skip] = []
    if before is None:
        newest = (yield from overview.newest_runs([name], plot.RUNS))[name]
        edge = newest[-1].slot if len(newest) == plot.RUNS else None
        newest_skips = yield from overview.skips_between(name, edge, None, plot.RUNS)
    live = yield from overview.live_runs([name])
    entries = yield from programs.entries(name, None, audit)
    return Data(runs, skips, newest, newest_skips, live, entries)


async def _asked_about(call: Call, task: Task) -> list[Answer]:
    at = call.request.args.get("at")
    return await answers(call, task, at) if at else []


def _changed(call: Call, entry: Entry, now: datetime, zone: str | None) -> Changed:
    before, after = entry.before or {}, entry.after or {}
    changes = []
    if entry.action not in ("created", "deleted"):
        for key in {**before, **after}:
            old, new = before.get(key), after.get(key)
            # "paused" says as much as "enabled" does; and runs are told of by their links.
            said = key in _RUN_KEYS or (key == "enabled" and entry.action in _VERBS)
            if old != new and not said:
                changes.append((key.replace("_", " "), _short(old), _short(new)))
    ids = [*after.get("run_ids", []), *([before["run_id"]] if "run_id" in before else [])]
    named = ids[:MOST_RUNS]
    at = read_time(entry.time)
    return Changed(
        moment(at, now, zone),
        entry.actor or "",
        _VERBS.get(entry.action, entry.action),
        changes,
        [(run_id, address.run_path(call.datasette, run_id)) for run_id in named],
        max(after.get("runs", 0), len(ids)) - len(named),
    )


def read_time(value: str) -> datetime | None:
    """A stored time; None for what other hands made of one."""
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _short(value: Any) -> str | None:
    if value is None:
        return None
    return shortened(value if isinstance(value, str) else dump_json(value), LONGEST_CHANGE)


def _seconds(seconds: float) -> str:
    return duration(seconds * 1_000)


def _with(call: Call, **changes: str | None) -> str:
    return call.with_args(changes)
