"""What is to come: the next slots, with what clocks on the wall show then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .schedules._local import load_zone
from .schedules.base import Schedule
from .tasks import Task, actual, following

ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class UpcomingSlot:
    """A slot that is to come."""

    slot: datetime
    """The nominal time (UTC)."""
    run_at: datetime
    """The actual time (UTC): the slot plus the task's jitter."""
    local: datetime
    """The slot on the wall clock of the schedule's zone, with its UTC offset."""
    note: str | None
    """What is odd about the wall clock then: it was set since the slot before, or shows this time
    twice that day."""


def preview(schedule: Schedule, after: datetime, n: int) -> list[UpcomingSlot]:
    """The first `n` slots of `schedule` after the instant `after`."""
    slots = schedule.upcoming(after, n)
    return _on_the_wall(((slot, slot) for slot in slots), schedule.timezone, after)


def preview_task(task: Task, n: int) -> list[UpcomingSlot]:
    """The next `n` slots of `task`, as if it were enabled; fewer when its schedule ends before."""
    slot = task.next_slot
    limit = task.policies.max_runs
    if limit is not None:
        n = min(n, limit - task.record.runs_started)
    if slot is None or task.next_run_at is None or task.schedule is None or n <= 0:
        return []
    slots = [(slot, task.next_run_at)]
    while len(slots) < n and (slot := following(task, slot)) is not None:
        slots.append((slot, actual(task, slot)))
    return _on_the_wall(slots, task.timezone, slots[0][0])


def _on_the_wall(
    slots: Iterable[tuple[datetime, datetime]], timezone: str | None, after: datetime
) -> list[UpcomingSlot]:
    zone = UTC if timezone is None else load_zone(timezone)
    found = []
    before = after.astimezone(zone).utcoffset() or ZERO
    for slot, run_at in slots:
        local = slot.astimezone(zone)
        offset = local.utcoffset() or ZERO
        notes = []
        if offset != before:
            way = "forward" if offset > before else "back"
            notes.append(f"the clock went {way} by {_said(abs(offset - before))}")
        if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
            which = "second" if local.fold else "first"
            notes.append(f"{local:%H:%M} comes twice that day: this is the {which}")
        found.append(UpcomingSlot(slot, run_at, local, "; ".join(notes) or None))
        before = offset
    return found


def _said(change: timedelta) -> str:
    minutes = change // timedelta(minutes=1)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0)
    return " ".join(parts) or f"{change.total_seconds():g} s"
