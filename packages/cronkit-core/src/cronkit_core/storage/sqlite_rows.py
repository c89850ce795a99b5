"""How records stand in rows of SQLite, and back.

Instants are ISO 8601 text in UTC with six decimals and `+00:00`: the order of such texts is the
order of the instants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ..runs import LiveRun, NewRun, Reason, Run, Skip, SkipReason, Status, Trigger
from ..tasks import TaskRecord

TASK_COLUMNS = tuple(f.name for f in fields(TaskRecord))
RUN_COLUMNS = tuple(f.name for f in fields(Run))
SKIP_COLUMNS = tuple(f.name for f in fields(Skip))

_TASK_TIMES = tuple(
    (i, name)
    for i, name in enumerate(TASK_COLUMNS)
    if name.endswith("_at") or name in ("next_slot", "schedule_since")
)
_RUN_TIMES = tuple(
    i
    for i, name in enumerate(RUN_COLUMNS)
    if name.endswith("_at") or name in ("slot", "scheduled_for", "lease_until")
)
_NEEDED_TIMES = tuple(map(RUN_COLUMNS.index, ("slot", "scheduled_for")))
_TASK_KINDS: dict[object, tuple[type, object]] = {
    "int": (int, 0),
    "str": (str, "?"),
    "str | None": (str, None),
}
_TASK_PLAIN = tuple(
    (i, f.name, *_TASK_KINDS[f.type])
    for i, f in enumerate(fields(TaskRecord))
    if f.type in _TASK_KINDS
)
_GOOD_KINDS: set[tuple[type, ...]] = set()
"""The types of rows that were found to be good: most are of the same few."""
_RUN_PLAIN = tuple(
    (RUN_COLUMNS.index(name), kind)
    for name, kind in (("task_name", str), ("attempt", int), ("epoch", int), ("priority", int))
)
_ENABLED = TASK_COLUMNS.index("enabled")
_STATUS, _TRIGGER, _REASON = map(RUN_COLUMNS.index, ("status", "triggered_by", "reason"))
_STATUSES = {s.value: s for s in Status}
_TRIGGERS = {t.value: t for t in Trigger}
_REASONS: dict[str | None, Reason | None] = {None: None, **{r.value: r for r in Reason}}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# A run writes seven instants, of which three differ; writing one takes 1.2 us, finding it 0.1 us.
@lru_cache(maxsize=1024)
def text(instant: datetime) -> str:
    """`instant`, which is in UTC, as it is stored."""
    return instant.isoformat(timespec="microseconds")


def optional_text(instant: datetime | None) -> str | None:
    return None if instant is None else text(instant)


def parse(value: str) -> datetime:
    """The instant that `value` stands for; one without an offset is in UTC. Raises ValueError."""
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is UTC:
        return instant
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def parse_or(value: Any, now: datetime) -> datetime | None:
    """The instant that `value`, the first of some in text order, stands for. Where it cannot be
    read: `now` when it comes before that, since it hides those after it; else None."""
    try:
        return parse(value)
    except (ValueError, TypeError):
        return now if isinstance(value, str) and value <= text(now) else None


def task_record(row: Sequence[Any]) -> TaskRecord:
    """The record in a row of TASK_COLUMNS. What cannot be read is left out, and `broken` says so:
    one bad row, written by other hands, must not hide the good ones."""
    values = list(row)
    bad = None
    if (kinds := tuple(map(type, values))) not in _GOOD_KINDS:
        for i, name, kind, instead in _TASK_PLAIN:
            if type(value := values[i]) is not kind and value is not None:
                bad = f"{name} is not {kind.__name__}: {value!r:.80}"
                values[i] = instead
        if bad is None:
            _GOOD_KINDS.add(kinds)
    for i, name in _TASK_TIMES:
        if (value := values[i]) is not None:
            try:
                values[i] = parse(value)
            except (ValueError, TypeError):
                bad = f"{name} is not a time: {value!r}"
                values[i] = _EPOCH if name in ("created_at", "updated_at") else None
    values[_ENABLED] = bool(values[_ENABLED])
    record = TaskRecord(*values)
    return record if bad is None else replace(record, broken=record.broken or bad)


def task_row(record: TaskRecord) -> tuple[Any, ...]:
    """The inverse of `task_record`."""
    values: list[Any] = [getattr(record, name) for name in TASK_COLUMNS]
    for i, _ in _TASK_TIMES:
        values[i] = optional_text(values[i])
    values[_ENABLED] = int(values[_ENABLED])
    return tuple(values)


def run(row: Sequence[Any]) -> Run:
    """The run in a row of RUN_COLUMNS. A time that cannot be read, in a row that other hands wrote,
    is left out, or 1970 where there must be one."""
    values = list(row)
    for i in _RUN_TIMES:
        if (value := values[i]) is not None:
            try:
                values[i] = parse(value)
            except (ValueError, TypeError):
                values[i] = _EPOCH if i in _NEEDED_TIMES else None
    values[_STATUS] = _STATUSES[values[_STATUS]]
    values[_TRIGGER] = _TRIGGERS[values[_TRIGGER]]
    values[_REASON] = _REASONS.get(values[_REASON], Reason.EXCEPTION)
    return Run(*values)


def fault(row: Sequence[Any]) -> str | None:
    """Why the run in a row of RUN_COLUMNS cannot be executed; None when it can."""
    for i, kind in _RUN_PLAIN:
        if type(row[i]) is not kind:
            return f"{RUN_COLUMNS[i]} is not {kind.__name__}: {row[i]!r:.80}"
    for i in _NEEDED_TIMES:
        try:
            parse(row[i])
        except (ValueError, TypeError):
            return f"{RUN_COLUMNS[i]} is not a time: {row[i]!r:.80}"
    return None


def live_run(row: Sequence[Any]) -> LiveRun:
    """The live run in a row of id, slot, attempt, status, due_at, triggered_by."""
    run_id, slot, attempt, status, due_at, trigger = row
    running = status == "running"
    waiting = not running and due_at is None
    try:
        instant = parse(slot)
    except (ValueError, TypeError):
        instant = _EPOCH
    return LiveRun(run_id, instant, attempt, running, waiting, _TRIGGERS[trigger])


def skip(row: Sequence[Any]) -> Skip:
    """The skip in a row of SKIP_COLUMNS."""
    name, first, last, count, reason, recorded_at, run_id, note = row
    return Skip(
        name, parse(first), parse(last), count, SkipReason(reason), parse(recorded_at), run_id, note
    )


def skip_row(skip: Skip) -> tuple[Any, ...]:
    """The inverse of `skip`."""
    return (
        skip.task_name,
        text(skip.first_slot),
        text(skip.last_slot),
        skip.count,
        skip.reason.value,
        text(skip.recorded_at),
        skip.run_id,
        skip.note,
    )


def started(
    new: NewRun, run_id: int, *, owner: str, epoch: int, lease: datetime, now: datetime
) -> Run:
    """`new` as it runs from `now` on."""
    return Run(
        id=run_id,
        task_name=new.task_name,
        slot=new.slot,
        attempt=new.attempt,
        status=Status.RUNNING,
        triggered_by=new.triggered_by,
        scheduled_for=new.scheduled_for,
        owner=owner,
        epoch=epoch,
        lease_until=lease,
        started_at=now,
        config=new.config,
        task_group=new.task_group,
        priority=new.priority,
    )
