"""The day around now: what became of the slots of some tasks, and which are to come.

A slot is drawn where it belongs in time, to ten minutes; so the work is bounded, however often a
task runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cronkit_core.errors import CronkitError
from cronkit_core.runs import SkipReason
from cronkit_core.schedules._local import ORIGIN, SECOND, clock_changes, load_zone, zone_clock
from cronkit_core.tasks import Task, actual, following

from ..overview import Activity
from .words import clock_text, count

SPAN = timedelta(hours=24)
STEP = timedelta(minutes=10)
COLUMNS = SPAN // STEP
HOURS = 3
"""How far apart the lines of the axis are."""
MOST_SLOTS = 1_500
"""How many slots to come are computed for a page."""
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Lane:
    """One task. Paths are in columns of ten minutes and in a height of 10."""

    name: str
    ran: str
    failed: str
    skipped: str
    missed: str
    to_come: str
    changes: str
    """Where the clock of the task's zone changes."""
    label: str


@dataclass(frozen=True, slots=True)
class Tick:
    percent: str
    iso: str
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    lanes: list[Lane]
    ticks: list[Tick]
    grid: str
    now: str
    notes: list[str]
    """What the clocks of the tasks' zones do in this time."""
    columns: int = COLUMNS


def window(now: datetime) -> tuple[datetime, datetime]:
    """The day around `now`, from a full ten minutes on."""
    floor = now - timedelta(
        minutes=now.minute % 10, seconds=now.second, microseconds=now.microsecond
    )
    start = floor - SPAN / 2
    return start, start + SPAN


def timeline(
    tasks: Sequence[Task], activity: dict[str, Activity], now: datetime
) -> Timeline | None:
    """The lanes of `tasks`. None at the ends of time, where there is no such day."""
    try:
        start, end = window(now)
    except OverflowError:
        return None
    budget = MOST_SLOTS
    lanes, notes = [], {}
    for task in tasks:
        to_come = _to_come(task, now, end, budget)
        budget -= len(to_come)
        changes = _changes(task.timezone, start, end)
        for at, note in changes:
            notes[task.timezone, at] = note
        lanes.append(_lane(task, activity[task.name], to_come, [at for at, _ in changes], start))
    ticks = list(_ticks(start, end))
    grid = "".join(f"M{float(tick.percent) * COLUMNS / 100:g} 0v10" for tick in ticks)
    return Timeline(lanes, ticks, grid, f"M{_x(now, start):g} 0v10", list(notes.values()))


def _lane(
    task: Task,
    found: Activity,
    to_come: list[datetime],
    changes: list[datetime],
    start: datetime,
) -> Lane:
    failed = _columns(found.failed, start)
    ran = _columns(found.ran, start) - failed
    skipped: set[int] = set()
    missed: set[int] = set()
    for first, last, reason in found.skips:
        columns = missed if reason is SkipReason.MISSED else skipped
        columns.update(range(max(_column(first, start), 0), _column(last, start) + 1))
    return Lane(
        task.name,
        _path(ran, 5),
        _path(failed, 5),
        _path(skipped - ran - failed, 9),
        _path(missed - ran - failed, 9),
        _path(_columns(to_come, start), 5),
        "".join(f"M{_x(at, start):g} 0v10" for at in changes),
        _label(task, found, to_come),
    )


def _label(task: Task, found: Activity, to_come: list[datetime]) -> str:
    zone = task.timezone
    parts = []
    if found.ran:
        parts.append(f"last ran {clock_text(max(found.ran), zone)}")
    else:
        parts.append("did not run in the last 12 hours")
    if found.failed:
        times = ", ".join(clock_text(at, zone) for at in sorted(found.failed)[-3:])
        parts.append(f"failures in {count(len(found.failed), 'span')} of ten minutes, last {times}")
    if found.skips:
        reasons = sorted({reason.value for _, _, reason in found.skips})
        parts.append(f"slots without a run: {', '.join(reasons)}")
    if to_come:
        parts.append(f"next {clock_text(to_come[0], zone)}")
    return f"{task.name}: {'; '.join(parts)}"


def _to_come(task: Task, now: datetime, end: datetime, budget: int) -> list[datetime]:
    """The first slot of each ten minutes until `end`."""
    found: list[datetime] = []
    slot, most = task.next_slot, task.policies.max_runs
    if most is not None:
        budget = min(budget, most - task.record.runs_started)
    if task.schedule is None or not task.enabled:
        return found
    try:
        while slot is not None and len(found) < budget:
            at = actual(task, slot)
            if at >= end:
                break
            if at >= now:
                found.append(at)
            slot = following(task, _last_of_ten_minutes(slot, end))
    except (CronkitError, OverflowError):
        pass  # the calendar ends before the day does
    return found


def _last_of_ten_minutes(slot: datetime, end: datetime) -> datetime:
    return end - (end - slot - _MICROSECOND) // STEP * STEP - _MICROSECOND


def _changes(timezone: str | None, start: datetime, end: datetime) -> list[tuple[datetime, str]]:
    """When the clock of that zone is set in this time, and how."""
    if timezone is None:
        return []
    try:
        clock = zone_clock(load_zone(timezone))
    except CronkitError:
        return []  # of a broken task
    first, last = ((at - ORIGIN) // SECOND for at in (start, end))
    found = []
    for change in clock_changes(clock, first, last):
        at = ORIGIN + SECOND * change.start
        seconds = abs(change.offset - change.before)
        size = f"{seconds / 3600:g} h" if seconds % 3600 == 0 else f"{seconds // 60} min"
        way = "forward" if change.offset > change.before else "back"
        said = f"{timezone}: the clock goes {way} by {size}, {clock_text(at, timezone)}"
        found.append((at, said))
    return found


def _ticks(start: datetime, end: datetime) -> Iterable[Tick]:
    at = start.replace(minute=0) + timedelta(hours=HOURS - start.hour % HOURS)
    while at < end:
        yield Tick(f"{(at - start) / SPAN * 100:.2f}", at.isoformat(), f"{at:%H:%M}")
        at += timedelta(hours=HOURS)


def _x(at: datetime, start: datetime) -> float:
    return round((at - start) / STEP, 1)


def _column(at: datetime, start: datetime) -> int:
    return min((at - start) // STEP, COLUMNS - 1)


def _columns(times: Iterable[datetime], start: datetime) -> set[int]:
    return {column for at in times if (column := _column(at, start)) >= 0}


def _path(columns: set[int], y: int) -> str:
    """Lines at height `y` over those columns; neighbours are one line."""
    parts = []
    ordered = sorted(columns)
    for i, column in enumerate(ordered):
        if i and ordered[i - 1] == column - 1:
            continue
        last = column
        while last + 1 in columns:
            last += 1
        parts.append(f"M{column} {y}h{last - column + 1}")
    return "".join(parts)
