"""/-/cron/runs: the runs of all tasks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from datasette.utils.asgi import BadRequest, Response

from cronkit_core.runs import Run, Status, Trigger
from cronkit_core.storage.base import RunQuery, TaskQuery

from ..call import Call
from ..paging import next_id, read_time
from .address import run_path, runs_path, task_path
from .render import render
from .words import Badge, Moment, duration, moment, run_badge, shortened

ROWS = 50
LONGEST_ERROR = 300
ALIKE = 10
SPANS = (
    ("Last hour", timedelta(hours=1)),
    ("Last 24 hours", timedelta(days=1)),
    ("Last 7 days", timedelta(days=7)),
)
LABELS = {
    Status.PENDING: "waiting",
    Status.RUNNING: "running",
    Status.SUCCESS: "succeeded",
    Status.ERROR: "failed or cancelled",
}


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in a list."""

    id: int
    href: str
    task: str
    task_href: str
    badge: Badge
    slot: Moment | None
    started: Moment | None
    attempt: int
    trigger: str
    duration: str
    error: str


async def runs(call: Call) -> Response:
    """GET /-/cron/runs: newest first, those that fit."""
    now = call.scheduler.clock.now()
    args = call.request.args
    problems: dict[str, str] = {}
    task = args.get("task") or None
    statuses = [s for s in args.getlist("status") if s in set(Status)]
    if len(statuses) < len(args.getlist("status")):
        problems["status"] = f"bad status: one of {', '.join(Status)}"
    since, until = (_instant(key, args.get(key) or "", problems) for key in ("since", "until"))
    if since and until and until < since:
        problems["until"] = f"{until:%Y-%m-%d %H:%M} is before {since:%Y-%m-%d %H:%M}: swap them"
    found: list[Run] = []
    if not problems:
        await call.scheduler.open()
        found = await call.scheduler.storage.runs(
            RunQuery(
                task_name=task,
                statuses=[Status(status) for status in statuses] or None,
                since=since,
                until=until,
                before_id=next_id(call),
                limit=ROWS + 1,
            )
        )
    shown = found[:ROWS]
    older = str(shown[-1].id) if len(found) > ROWS else None
    context = {
        "rows": [run_row(call, run, now) for run in shown],
        "typed": {
            "task": task or "",
            "since": args.get("since") or "",
            "until": args.get("until") or "",
        },
        "statuses": [(s.value, LABELS[s], s.value in statuses) for s in Status],
        "spans": [
            (label, _link(call, {"since": f"{now - span:%Y-%m-%dT%H:%M}", "until": None}))
            for label, span in SPANS
        ],
        "problems": problems,
        "filtered": bool(task or statuses or since or until or problems),
        "alike": await _alike(call, task) if task and not found else [],
        "runs_href": runs_path(call.datasette),
        "newest_href": _link(call, {}) if "_next" in args else None,
        "older_href": None if older is None else _link(call, {"_next": older}),
    }
    return await render(
        call, "cron_runs.html", context, place="runs", status=400 if problems else 200
    )


def run_row(call: Call, run: Run, now: datetime) -> RunRow:
    """`run` as a list shows it."""
    message = shortened(run.error_message or "", LONGEST_ERROR)
    return RunRow(
        id=run.id,
        href=run_path(call.datasette, run.id),
        task=run.task_name,
        task_href=task_path(call.datasette, run.task_name),
        badge=run_badge(run),
        slot=moment(run.slot, now),
        started=moment(run.started_at, now),
        attempt=run.attempt,
        trigger="hand" if run.triggered_by is Trigger.MANUAL else run.triggered_by.value,
        duration=duration(run.duration_ms),
        error=message,
    )


async def _alike(call: Call, name: str) -> list[tuple[str, str]]:
    """Tasks that may have been meant by `name`: their names, and the lists of their runs."""
    tasks = await call.scheduler.tasks(TaskQuery(search=name, limit=ALIKE))
    return [(task.name, _link(call, {"task": task.name})) for task in tasks if task.name != name]


def _link(call: Call, args: dict[str, str | None]) -> str:
    """This list, from its newest run on, with `args` in place of what the address has."""
    return call.with_args({"_next": None, **args})


def _instant(key: str, typed: str, problems: dict[str, str]) -> datetime | None:
    """What was typed as a time: with an offset, or else in UTC, as the form says."""
    if not typed.strip():
        return None
    try:
        naive = datetime.fromisoformat(typed.strip())
        return read_time(
            key, naive.replace(tzinfo=UTC).isoformat() if naive.tzinfo is None else typed
        )
    except (ValueError, BadRequest):
        problems[key] = f"bad time {typed!r:.60}: such as 2027-01-01T09:00, in UTC"
        return None
