"""/-/cron: what is running, what failed, what is next, and all tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from datasette.utils.asgi import BadRequest, Response

from cronkit_core.runs import Run, Status
from cronkit_core.scheduler import SchedulerStatus
from cronkit_core.storage.sqlite_edits import Program
from cronkit_core.tasks import Task

from .. import overview
from ..api_json import description
from ..call import Call
from ..overview import OVERDUE, SORTS, STATES, Activity, Summary, TaskFilter
from ..paging import query_choice
from ..reconcile import configured
from . import address
from .render import render
from .strip import RUNS, Strip, strip
from .timeline import timeline, window
from .words import Badge, Moment, count, duration, moment, run_badge, shortened, task_badge

SIZE = 20
LARGEST_PAGE = 1_000_000
COLUMNS = (
    ("Task", "name", "-name"),
    ("Schedule", None, None),
    ("Next run", "next", "-next"),
    ("Last run", "-last", "last"),
    ("Last 30 runs", None, None),
    ("Median", None, None),
)
LONGEST_LINE = 120
"""Characters of an error on a card."""
LONGEST_SCHEDULE = 160
"""Characters of a schedule in the list: one of many parts would be longer than all other rows."""
STALLED = timedelta(minutes=2)
"""After which a loop that has not ticked counts as stuck."""


@dataclass(slots=True)
class Data:
    """What a page is made of, read at one instant."""

    summary: Summary
    tasks: list[Task]
    total: int
    runs: dict[str, list[Run]]
    activity: dict[str, Activity]


@dataclass(frozen=True, slots=True)
class Row:
    """A task in the table."""

    name: str
    href: str
    schedule: str
    expression: str
    zone: str
    handler: str
    state: Badge
    next: Moment | None
    late: bool
    outcome: Badge | None
    last: Moment | None
    failures: int
    strip: Strip | None
    configured: bool
    enabled: bool
    run_href: str
    switch_href: str


@dataclass(frozen=True, slots=True)
class Banner:
    """Something that whoever looks after the tasks is to know."""

    kind: str
    text: str
    href: str | None = None
    link: str = ""


async def index(call: Call) -> Response:
    """GET /-/cron"""
    scheduler = call.scheduler
    page, query = _query(call)
    now = scheduler.clock.now()
    await scheduler.open()
    data = await scheduler.internal_storage.read(_data(query, now))
    if not data.tasks and page > 1:
        return Response.redirect(_with(call, page=str(max(1, -(-data.total // SIZE)))))
    ours = await configured(scheduler.internal_storage)
    rows = [_row(call, task, data.runs[task.name], now, ours) for task in data.tasks]
    context = {
        "rows": rows,
        "summary": data.summary,
        "total": data.total,
        "first": query.offset + 1,
        "last": query.offset + len(rows),
        "previous": _with(call, page=str(page - 1)) if page > 1 else None,
        "following": _with(call, page=str(page + 1)) if query.offset + SIZE < data.total else None,
        "query": query,
        "states": list(STATES),
        "columns": [_column(call, query, *column) for column in COLUMNS],
        "timeline": timeline(data.tasks, data.activity, now),
        "hrefs": {row.name: row.href for row in rows},
        "running": [_running(call, run, now) for run in data.summary.running],
        "failing": [
            {
                **_named(call, task, moment(task.last_run_at, now)),
                "failure": _failure(call, data.summary.failures.get(task.name)),
            }
            for task in data.summary.failing
        ],
        "next": [
            _named(
                call,
                task,
                moment(task.next_run_at, now, task.timezone),
                late=_is_late(task, now),
            )
            for task in data.summary.next
        ],
        "banners": banners(call, await scheduler.status(), data.summary, now),
        "here": _with(call),
        "list_href": address.tasks_path(call.datasette),
        "new_href": address.new_path(call.datasette),
        "handlers": sorted(scheduler.handlers),
    }
    return await render(call, "cron_index.html", context, place="tasks")


def banners(call: Call, status: SchedulerStatus, summary: Summary, now: datetime) -> list[Banner]:
    """What is wrong with the scheduler, or will be."""
    found = []
    here = address.tasks_path(call.datasette)
    if not status.running:
        if call.datasette._cron_config.scheduler:
            why = "The scheduler of this process is not running, so it runs no tasks."
        else:
            why = (
                "The scheduler is off in this process, as datasette.yaml says: tasks run only in "
                "other processes that share the internal database."
            )
        found.append(Banner("warning", why))
    elif status.last_tick is not None and now - status.last_tick > STALLED:
        ago = moment(status.last_tick, now)
        assert ago is not None
        found.append(
            Banner("error", f"The scheduler is stuck: it last looked for due tasks {ago.relative}.")
        )
    if error := call.scheduler.internal_storage.write_error:
        text = (
            f"The internal database could not be written when that was last tried: {error}. What "
            "is due waits until it can be."
        )
        found.append(Banner("error", text))
    if call.datasette.get_internal_database().is_temp_disk:
        found.append(
            Banner(
                "warning",
                "Tasks and their history will not survive a restart: the internal database is a "
                "temporary file. Start Datasette with --internal internal.db to keep them.",
            )
        )
    if late := summary.states["late"]:
        text = f"{count(late, 'task')} should have started more than a minute ago and did not."
        found.append(Banner("warning", text, f"{here}?status=late", "Show them"))
    if summary.lost:
        text = (
            f"{count(summary.lost, 'run')} lost touch with the process that executes "
            f"{'it' if summary.lost == 1 else 'them'}; the next process to notice retries."
        )
        found.append(Banner("warning", text, f"{here}?status=running", "Show"))
    if status.stuck_threads:
        text = (
            f"{count(status.stuck_threads, 'thread')} still in a handler that was given up "
            "after its timeout. Only a restart ends such a thread."
        )
        found.append(Banner("warning", text))
    if broken := summary.states["broken"]:
        text = f"{count(broken, 'task')} cannot be read, and will not run until edited."
        found.append(Banner("error", text, f"{here}?status=broken", "Show"))
    return found


def in_words(task: Task) -> str:
    """The schedule in so few words that they fit into a list."""
    # What an interval is counted from is on the page of the task.
    return description(task).partition(", counted from ")[0]


def expression(task: Task) -> str:
    """The schedule as it was written: "0 8 * * *", "every 300 s", "FREQ=WEEKLY"."""
    if task.schedule is None:
        return task.record.schedule_config
    spec: Mapping[str, Any] = task.schedule.to_dict()
    if "interval" in spec:
        return f"interval {spec['interval']} s"
    for key in ("cron", "rrule", "at"):
        if key in spec:
            return str(spec[key])
    return task.record.schedule_config


def _query(call: Call) -> tuple[int, TaskFilter]:
    """The number of the page that is asked for, and the tasks on it. Raises BadRequest."""
    args = call.request.args
    number = args.get("page") or "1"
    if not (number.isascii() and number.isdigit() and 1 <= int(number[:9]) <= LARGEST_PAGE):
        raise BadRequest(f"bad page {number!r:.40}: 1 or more")
    page = int(number)
    sort = query_choice(call, "sort", tuple(SORTS)) if args.get("sort") else None
    state = query_choice(call, "status", tuple(STATES)) if args.get("status") else None
    query = TaskFilter(
        search=args.get("q") or None,
        handler=args.get("handler") or None,
        state=state,
        sort=sort or "name",
        offset=(page - 1) * SIZE,
        limit=SIZE,
    )
    return page, query


def _data(query: TaskFilter, now: datetime) -> Program[Data]:
    summary = yield from overview.summary(now)
    tasks, total = yield from overview.tasks_shown(query, now)
    names = [task.name for task in tasks]
    runs = yield from overview.newest_runs(names, RUNS)
    start, _ = window(now)
    activity = yield from overview.activity(names, start, now)
    return Data(summary, tasks, total, runs, activity)


def _row(call: Call, task: Task, runs: list[Run], now: datetime, ours: set[str]) -> Row:
    datasette = call.datasette
    due = task.enabled and task.broken is None
    # What runs now is more news than how the run before it ended.
    shown = runs[0] if runs else None
    return Row(
        name=task.name,
        href=address.task_path(datasette, task.name),
        schedule=shortened(in_words(task), LONGEST_SCHEDULE),
        expression=shortened(expression(task), LONGEST_SCHEDULE),
        zone=task.timezone or "UTC",
        handler=task.handler,
        state=task_badge(task),
        next=moment(task.next_run_at, now, task.timezone) if due else None,
        late=due and _is_late(task, now),
        outcome=None if shown is None else run_badge(shown),
        last=None
        if shown is None
        else moment(shown.finished_at or shown.started_at, now, task.timezone),
        failures=task.record.failures,
        strip=strip(runs),
        configured=task.name in ours,
        enabled=task.enabled,
        run_href=address.task_path(datasette, task.name, "run"),
        switch_href=address.task_path(datasette, task.name, "pause" if task.enabled else "resume"),
    )


def _running(call: Call, run: Run, now: datetime) -> dict[str, Any]:
    began = run.started_at or now
    return {
        "name": run.task_name,
        "href": address.run_path(call.datasette, run.id),
        "for": duration(max(0.0, (now - began) / timedelta(milliseconds=1))),
        "lost": run.status is Status.RUNNING
        and run.lease_until is not None
        and run.lease_until < now,
    }


def _named(call: Call, task: Task, when: Moment | None, *, late: bool = False) -> dict[str, Any]:
    return {
        "name": task.name,
        "href": address.task_path(call.datasette, task.name),
        "when": when,
        "failures": task.record.failures,
        "late": late,
    }


def _failure(call: Call, run: Run | None) -> dict[str, str] | None:
    """What went wrong, in a line, and where to read all of it."""
    if run is None:  # not kept any more
        return None
    line, *_ = (run.error_message or "").strip().splitlines() or [""]
    text = shortened(line, LONGEST_LINE) or run_badge(run).label
    return {"text": text, "href": address.run_path(call.datasette, run.id)}


def _is_late(task: Task, now: datetime) -> bool:
    return task.next_run_at is not None and task.next_run_at < now - OVERDUE


def _column(
    call: Call, query: TaskFilter, label: str, sort: str | None, back: str | None
) -> dict[str, Any]:
    """A heading of the table: where it leads, and how the table is sorted by it."""
    if sort is None or back is None:
        return {"label": label, "href": None, "sorted": None}
    order = {sort: "descending" if sort[0] == "-" else "ascending"}
    order[back] = "descending" if back[0] == "-" else "ascending"
    following = back if query.sort == sort else sort
    return {
        "label": label,
        "href": _with(call, sort=following, page=None),
        "sorted": order.get(query.sort),
    }


def _with(call: Call, **changes: str | None) -> str:
    """This page with other arguments."""
    return call.with_args(changes)
