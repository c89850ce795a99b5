"""What an operation on a task writes. Pure: (record as read, wish, now) -> the record to save."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from .definition import (
    DEFAULTS,
    UNREADABLE,
    check_config,
    check_name,
    decode_leniently,
    dump_policies,
    dump_schedule,
    load_policies,
    make_policies,
)
from .errors import InvalidSchedule, InvalidTask
from .policy import count_after
from .runs import Skip, SkipReason
from .schedules.base import Schedule
from .schedules.parse import parse_schedule
from .storage.base import DISABLED, TaskWrite
from .tasks import Policies, Task, TaskRecord, actual, following, latest, within

FIRST_INSTANT = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Definition:
    """What somebody wants a task to be, checked as far as it can be without the stored one."""

    name: str
    handler: str
    spec: object
    """The schedule as it was given."""
    schedule: Schedule
    """What it means for a task made at `created_at`: an interval counts from that second."""
    created_at: datetime
    timezone: str | None
    config: str
    policies: Policies


def define(
    now: datetime,
    /,
    name: object,
    handler: object,
    schedule: object,
    config: Mapping[str, Any] | None = None,
    timezone: str | None = None,
    **policies: Any,
) -> Definition:
    """Check the arguments of `add_task`. Raises InvalidTask and InvalidSchedule."""
    name = check_name(name)
    return Definition(
        name=name,
        handler=check_name(handler, "handler"),
        spec=schedule,
        schedule=_parse(name, schedule, timezone, now),
        created_at=now,
        timezone=timezone,
        config=check_config(config),
        policies=make_policies(**policies),
    )


def redefine(old: TaskRecord, changes: Mapping[str, Any]) -> Definition:
    """The definition of `old` with the arguments of `update_task` in place of what it had."""
    wish = dict(changes)
    task = decode_leniently(old)
    timezone = wish.pop("timezone", old.timezone)
    if "schedule" in wish:
        spec = wish.pop("schedule")
        if isinstance(spec, Schedule) and "timezone" not in changes:
            timezone = spec.timezone
    elif task.schedule is None:
        raise InvalidTask(f"task {old.name!r} is broken ({task.broken}): give it a new schedule")
    else:
        spec = json.loads(old.schedule_config)
        if "timezone" in changes:
            spec.pop("timezone", None)  # the same rule on another clock
    config = check_config(wish.pop("config")) if "config" in wish else old.config
    return Definition(
        name=old.name,
        handler=check_name(wish.pop("handler", old.handler), "handler"),
        spec=spec,
        schedule=_parse(old.name, spec, timezone, old.created_at),
        created_at=old.created_at,
        timezone=timezone,
        config=config,
        policies=make_policies(task.policies, **wish),
    )


def save(
    old: TaskRecord | None, wish: Definition, now: datetime, *, keep_earlier: bool
) -> TaskWrite | None:
    """What to write so that the task is as `wish` says; None when it is already.

    A schedule that stays the same keeps its next slot. One that changed begins with its first slot
    after `now`; with `keep_earlier`, as `add_task` promises, not later than the slot that the old
    one had next. A slot of the old schedule that is due already runs in any case.
    """
    created_at = wish.created_at if old is None else old.created_at
    schedule = wish.schedule
    if created_at != wish.created_at:
        schedule = _parse(wish.name, wish.spec, wish.timezone, created_at)
    record = _record(wish, schedule, created_at, now)
    if old is None:
        return TaskWrite(_aim(record, schedule, wish.policies, now))
    record = _with_past(record, old)
    task = _task(record, schedule, wish.policies)
    due = old.enabled and old.next_run_at is not None and old.next_run_at <= now
    skips: tuple[Skip, ...] = ()
    same = _same_schedule(old, record)
    if same and (_same_bounds(old, record) or (due and within(task, old.next_slot))):
        record = _same_slot(old, replace(record, schedule_since=old.schedule_since), task, now)
        if due:
            skips = _cut_off(old, task, now)
    else:
        record = _aim(record, schedule, wish.policies, now)
        record, skips = _kept(old, record, task, now, keep_earlier=keep_earlier)
    if not due and _over(record, wish.policies):
        record, ended = _ended(old, record, now)
        skips += ended
    if replace(record, updated_at=old.updated_at) == old:
        return None
    return TaskWrite(record, skips)


def saved_as(wish: Definition, record: TaskRecord) -> Task:
    """The task that `record`, saved for `wish`, stands for."""
    if record.created_at != wish.created_at:
        return decode_leniently(record)
    config = json.loads(wish.config)
    return Task(wish.name, wish.handler, wish.schedule, config, wish.policies, record)


def _record(
    wish: Definition, schedule: Schedule, created_at: datetime, now: datetime
) -> TaskRecord:
    """The record of a task as `wish` says, without a slot and without a past."""
    timezone = schedule.timezone if wish.timezone is None else wish.timezone
    return TaskRecord(
        name=wish.name,
        handler=wish.handler,
        config=wish.config,
        schedule_type=schedule.kind,
        schedule_config=dump_schedule(schedule, timezone),
        timezone=timezone,
        overlap_policy=wish.policies.overlap.value,
        retry_max=wish.policies.retry.max_retries,
        retry_backoff=wish.policies.retry.backoff,
        policies=dump_policies(wish.policies),
        task_group=wish.policies.group,
        priority=wish.policies.priority,
        enabled=True,
        next_slot=None,
        next_run_at=None,
        schedule_since=now,
        created_at=created_at,
        updated_at=now,
    )


def _with_past(record: TaskRecord, old: TaskRecord) -> TaskRecord:
    """`record` with what happened to the task so far."""
    return replace(
        record,
        id=old.id,
        revision=old.revision,
        enabled=old.enabled,
        failures=old.failures,
        runs_started=old.runs_started,
        paused_at=old.paused_at,
        paused_by=old.paused_by,
        paused_note=old.paused_note,
        last_run_at=old.last_run_at,
        last_status=old.last_status,
        last_success_at=old.last_success_at,
    )


def _ended(
    old: TaskRecord, record: TaskRecord, now: datetime
) -> tuple[TaskRecord, tuple[Skip, ...]]:
    """`record`, whose schedule is over, without a next slot, and its slots that came already."""
    slot = record.next_slot
    skips: tuple[Skip, ...] = ()
    if not old.enabled:
        skips = _passed(record, now)
    elif slot is not None and slot <= now:  # its jitter is not over yet
        skips = (Skip(old.name, slot, slot, 1, SkipReason.ENDED, now),)
    return replace(record, next_slot=None, next_run_at=None), skips


def _same_slot(old: TaskRecord, record: TaskRecord, task: Task, now: datetime) -> TaskRecord:
    """`record` with the next slot of `old`; when that one was over, with the first after `now`."""
    if old.next_slot is None:
        assert task.schedule is not None
        return _aim(record, task.schedule, task.policies, now)
    next_run_at = old.next_run_at
    if _policies(old).jitter != task.policies.jitter:
        next_run_at = actual(task, old.next_slot)
    return replace(record, next_slot=old.next_slot, next_run_at=next_run_at)


def _kept(
    old: TaskRecord, record: TaskRecord, task: Task, now: datetime, *, keep_earlier: bool
) -> tuple[TaskRecord, tuple[Skip, ...]]:
    """`record`, whose next slot is that of a new schedule, with the next slot of `old` instead
    where that is to run first; and the slots of the old schedule that now do not run."""
    slot, run_at = old.next_slot, old.next_run_at
    if slot is None or run_at is None:
        return record, ()
    if run_at <= now and old.enabled:
        return replace(record, next_slot=slot, next_run_at=run_at), _passed_besides(old, now)
    if keep_earlier and within(task, slot):
        if record.next_slot is None or record.next_run_at is None or slot <= record.next_slot:
            if record.next_run_at is None or run_at < record.next_run_at:
                kept = replace(record, next_slot=slot, next_run_at=run_at)
                return kept, _passed_besides(old, now)
        elif run_at < record.next_run_at:
            # With jitter, the slots' order is not that of their times. Neither may be lost.
            return replace(record, next_run_at=run_at), ()
    return record, _passed(old, now)


def enable(old: TaskRecord, now: datetime) -> TaskWrite | None:
    """What to write so that the task goes on, with its first slot after `now`."""
    if old.enabled:
        return None
    task = decode_leniently(old)
    if task.schedule is None:
        raise InvalidTask(f"task {old.name!r} is broken ({task.broken}): give it a new schedule")
    record = replace(
        old,
        enabled=True,
        paused_at=None,
        paused_by=None,
        paused_note=None,
        failures=0,
        updated_at=now,
    )
    if old.next_slot is None or old.next_run_at is None or old.next_run_at > now:
        return TaskWrite(record)
    return TaskWrite(_aim(record, task.schedule, task.policies, now), _passed(old, now))


def paused_because(record: TaskRecord) -> str | None:
    """By whom and why the task was paused: "by ana: the disk is full"."""
    by = None if record.paused_by is None else f"by {record.paused_by}"
    said = [text for text in (by, record.paused_note) if text is not None]
    return ": ".join(said) or None


def disable(old: TaskRecord, now: datetime, note: str | None, by: str | None) -> TaskWrite | None:
    """What to write so that the task pauses. Its pending retries end."""
    if not old.enabled and (note, by) == (old.paused_note, old.paused_by):
        return None
    for text, what in ((note, "note"), (by, "by")):
        if text is not None:
            check_name(text, what)
    record = replace(
        old,
        enabled=False,
        paused_at=now if old.enabled else old.paused_at,
        paused_by=by,
        paused_note=note,
        updated_at=now,
    )
    return TaskWrite(record, drop_pending=DISABLED)


def change(
    old: TaskRecord,
    wish: Definition | None,
    now: datetime,
    *,
    enabled: bool | None = None,
    by: str | None = None,
) -> TaskWrite | None:
    """What to write so that the task is as `wish` says, and enabled or disabled, by `by`, where
    that is said; None when it is so already."""
    made = None if wish is None else save(old, wish, now, keep_earlier=False)
    record = old if made is None else made.record
    switched = None
    if enabled is True:
        switched = enable(record, now)
    elif enabled is False and record.enabled:
        switched = disable(record, now, None, by)
    if made is None or switched is None:
        return switched or made
    return replace(switched, skips=made.skips + switched.skips)


def move(old: TaskRecord, now: datetime, next_run_at: datetime) -> TaskWrite:
    """What to write so that the task runs next at `next_run_at`, and by its schedule after that."""
    return TaskWrite(replace(old, next_slot=next_run_at, next_run_at=next_run_at, updated_at=now))


def anchor_of(created_at: datetime) -> datetime:
    """Where an interval of a task made at `created_at` counts from, if it does not say: the whole
    second, so that its slots are times that people can write."""
    return created_at.replace(microsecond=0)


def _parse(name: str, spec: object, timezone: str | None, created_at: datetime) -> Schedule:
    anchor = anchor_of(created_at)
    if isinstance(spec, str) and isinstance(timezone, str | None):
        # Without an `H`, what it means does not depend on the task.
        schedule, fires = _parse_text(spec, timezone, anchor, name if "h" in spec.lower() else None)
    else:
        schedule = parse_schedule(spec, timezone, anchor=anchor, seed=name)
        fires = schedule.next_after(FIRST_INSTANT) is not None
    if not fires:
        from .schedules.linting import lint  # needed where something is wrong

        found = [w.message for w in lint(schedule, after=anchor) if w.code == "never"]
        why = found[0] if found else "names no instant"
        raise InvalidSchedule(
            f"{why}: task {name!r} would never run ({schedule.describe()})", spec=spec
        )
    return schedule


@lru_cache(maxsize=256)
def _parse_text(
    spec: str, timezone: str | None, anchor: datetime, seed: str | None
) -> tuple[Schedule, bool]:
    """The schedule, and whether it names any instant. Many tasks often have one schedule."""
    schedule = parse_schedule(spec, timezone, anchor=anchor, seed=seed)
    return schedule, schedule.next_after(FIRST_INSTANT) is not None


def _task(record: TaskRecord, schedule: Schedule, policies: Policies) -> Task:
    return Task(record.name, record.handler, schedule, {}, policies, record)


def _aim(record: TaskRecord, schedule: Schedule, policies: Policies, now: datetime) -> TaskRecord:
    """`record` with its first slot after `now` next."""
    task = _task(record, schedule, policies)
    slot = None if _over(record, policies) else following(task, now)
    next_run_at = None if slot is None else actual(task, slot)
    return replace(record, next_slot=slot, next_run_at=next_run_at)


def _over(record: TaskRecord, policies: Policies) -> bool:
    return policies.max_runs is not None and record.runs_started >= policies.max_runs


def _same_schedule(old: TaskRecord, new: TaskRecord) -> bool:
    if old.broken is not None:
        return False
    return (old.schedule_config, old.timezone) == (new.schedule_config, new.timezone)


def _same_bounds(old: TaskRecord, new: TaskRecord) -> bool:
    before, after = _policies(old), _policies(new)
    return (before.start_at, before.end_at) == (after.start_at, after.end_at)


def _policies(record: TaskRecord) -> Policies:
    try:
        return load_policies(
            record.policies,
            record.overlap_policy,
            record.retry_max,
            record.retry_backoff,
            record.task_group,
            record.priority,
        )
    except UNREADABLE:
        return DEFAULTS


def _passed(old: TaskRecord, now: datetime) -> tuple[Skip, ...]:
    """The slots of `old` from its next one to `now`, which do not run any more."""
    first = old.next_slot
    if first is None or first > now:
        return ()
    task = decode_leniently(old)
    rest = None if task.schedule is None else _rest(task, first, now)
    last = first if rest is None else rest[1]
    return (_unrun(old, first, last, 1 + count_after(task, first, last), now),)


def _passed_besides(old: TaskRecord, now: datetime) -> tuple[Skip, ...]:
    """The slots of `old` after its next one, which is kept, to `now`."""
    task = decode_leniently(old)
    if task.schedule is None or old.next_slot is None:
        return ()
    rest = _rest(task, old.next_slot, now)
    if rest is None:
        return ()
    return (_unrun(old, *rest, count_after(task, old.next_slot, rest[1]), now),)


def _unrun(old: TaskRecord, first: datetime, last: datetime, count: int, now: datetime) -> Skip:
    """Slots that an edit kept from running; where the task was disabled, it was that."""
    if old.enabled:
        return Skip(old.name, first, last, count, SkipReason.EDITED, now)
    note = paused_because(old)
    return Skip(old.name, first, last, count, SkipReason.DISABLED, now, note=note)


def _cut_off(old: TaskRecord, task: Task, now: datetime) -> tuple[Skip, ...]:
    """The slots that are due besides the first, and lie after the new end of `task`."""
    before, end = decode_leniently(old), task.policies.end_at
    if before.schedule is None or old.next_slot is None or end is None:
        return ()
    first, last = following(before, max(old.next_slot, end)), latest(before, now)
    if first is None or last is None or last < first:
        return ()
    count = 1 + count_after(before, first, last)
    return (Skip(old.name, first, last, count, SkipReason.EDITED, now),)


def _rest(task: Task, first: datetime, now: datetime) -> tuple[datetime, datetime] | None:
    """The second and the last slot from `first` to `now`, or None when there is only `first`."""
    second, last = following(task, first), latest(task, now)
    if second is None or last is None or last < second:
        return None
    return second, last
