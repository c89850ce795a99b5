"""The history of a task as a list: slots with their attempts, and between them what did not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cronkit_core.runs import Run, Skip, SkipReason, Trigger

from .address import run_path
from .plot import WHY
from .words import Badge, Moment, count, duration, moment, run_badge

if TYPE_CHECKING:
    from datasette.app import Datasette

RUNS = 25
SKIPS = 50
_MADE_BY = {
    Trigger.SCHEDULE: "",
    Trigger.CATCH_UP: "catch-up",
    Trigger.BACKFILL: "backfill",
    Trigger.MANUAL: "by hand",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    id: int
    href: str
    number: int
    badge: Badge
    at: Moment | None
    took: str
    error: str


@dataclass(slots=True)
class Entry:
    """A slot and its attempts, newest first; or slots that did not run."""

    slot: Moment
    made_by: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    badge: Badge | None = None
    """Of slots that did not run."""
    until: Moment | None = None
    why: str = ""


def timetable(
    datasette: Datasette,
    runs: Sequence[Run],
    skips: Sequence[Skip],
    now: datetime,
    timezone: str | None,
) -> list[Entry]:
    """The entries, newest first."""
    slots: dict[tuple[datetime, bool], Entry] = {}
    order: dict[int, datetime] = {}
    for run in runs:
        key = run.slot, run.manual
        if key not in slots:
            slots[key] = entry = Entry(_moment(run.slot, now, timezone), _MADE_BY[run.triggered_by])
            order[id(entry)] = run.started_at or run.finished_at or run.due_at or run.slot
        slots[key].attempts.append(
            Attempt(
                run.id,
                run_path(datasette, run.id),
                run.attempt,
                run_badge(run),
                moment(run.started_at or run.due_at, now, timezone),
                duration(run.duration_ms),
                run.error_message or "",
            )
        )
    entries = list(slots.values())
    for skip in skips:
        entry = _skipped(skip, now, timezone)
        order[id(entry)] = skip.last_slot
        entries.append(entry)
    return sorted(entries, key=lambda entry: order[id(entry)], reverse=True)


def _skipped(skip: Skip, now: datetime, timezone: str | None) -> Entry:
    missed = skip.reason is SkipReason.MISSED
    why = f"{count(skip.count, 'slot')}: {WHY[skip.reason]}"
    if skip.run_id is not None:
        why += f" (run {skip.run_id})"
    if skip.note:
        why += f" ({skip.note})"
    return Entry(
        _moment(skip.first_slot, now, timezone),
        badge=Badge("missed", "missed") if missed else Badge("skipped", "skipped"),
        until=moment(skip.last_slot, now, timezone) if skip.count > 1 else None,
        why=why,
    )


def _moment(at: datetime, now: datetime, timezone: str | None) -> Moment:
    found = moment(at, now, timezone)
    assert found is not None
    return found
