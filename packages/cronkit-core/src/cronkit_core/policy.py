"""What is to happen now. Pure: (task, its live runs, now) -> Decision. No clock, no I/O, no await.

A Decision lists what to write; nothing happens until a storage commits it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from .runs import LiveRun, SkipReason, Trigger
from .tasks import CatchUp, Overlap, Task, actual, following, latest
from .values import value

MICROSECOND = timedelta(microseconds=1)


@value(frozen=True, slots=True)
class Due:
    """A slot that is to run."""

    slot: datetime
    triggered_by: Trigger


@value(frozen=True, slots=True)
class Skipped:
    """A range of consecutive slots that is not to run."""

    first_slot: datetime
    last_slot: datetime
    count: int
    reason: SkipReason
    run_id: int | None = None


@value(frozen=True, slots=True)
class Decision:
    """What to do about the slots of one task that are due."""

    start: tuple[Due, ...] = ()
    """Slots that start at once."""
    wait: tuple[Due, ...] = ()
    """Slots that start, one after the other, when the task's other runs have ended."""
    skip: tuple[Skipped, ...] = ()
    cancel: tuple[int, ...] = ()
    """Live runs that are to end as cancelled."""
    replace: tuple[int, ...] = ()
    """Waiting runs that give their place to a newer slot, and are skipped instead."""
    runs_started: int = 0
    """How many slots of the schedule have run, these included."""
    next_slot: datetime | None = None
    next_run_at: datetime | None = None


def plan(task: Task, live: Sequence[LiveRun], now: datetime) -> Decision:
    """What is to happen with the slots of `task` that are due at `now`.

    `live` are the task's runs that have not ended. The task must have a `next_slot`.
    """
    due, missed, next_slot = _catch_up(task, now)
    due, ended = _limit(task, due)
    start, wait, overlapped, cancel, replace = _overlap(task, due, live)
    started = task.record.runs_started + len(start) + len(wait) - len(replace)
    if task.policies.max_runs is not None and started >= task.policies.max_runs:
        next_slot = None
    return Decision(
        start=start,
        wait=wait,
        skip=missed + ended + overlapped,
        cancel=cancel,
        replace=replace,
        runs_started=started,
        next_slot=next_slot,
        next_run_at=None if next_slot is None else actual(task, next_slot),
    )


def _catch_up(task: Task, now: datetime) -> tuple[list[Due], tuple[Skipped, ...], datetime | None]:
    """The slots to run, oldest first, those that were missed, and the slot after all of them."""
    policies = task.policies
    first = task.next_slot
    assert first is not None
    after = following(task, first)
    if after is None or actual(task, after) > now:
        last = first
        chosen = [first]
    else:
        last = _last_due(task, after, now)
        after = following(task, last)
        chosen = [last]
        if policies.catch_up is CatchUp.ALL:
            chosen = _newest(task, first, last, policies.catch_up_limit)
    grace = timedelta(seconds=policies.grace)
    on_time = now - actual(task, last) <= grace
    if policies.catch_up is CatchUp.SKIP and not on_time:
        chosen = []
    missed = _missed(task, first, last, chosen)
    due = [
        Due(
            slot,
            Trigger.SCHEDULE if now - actual(task, slot) <= grace else Trigger.CATCH_UP,
        )
        for slot in chosen
    ]
    return due, missed, after


def _last_due(task: Task, at_least: datetime, now: datetime) -> datetime:
    """The last slot whose actual time has come; `at_least` is one."""
    slot = latest(task, now)
    if slot is not None and slot > at_least and actual(task, slot) > now:
        # Jitter never passes the following slot, so the one before has come.
        slot = latest(task, slot - MICROSECOND)
    return at_least if slot is None else max(slot, at_least)


def _newest(task: Task, first: datetime, last: datetime, limit: int) -> list[datetime]:
    """The newest `limit` slots from `first` to `last`, oldest first."""
    slots = [last]
    while len(slots) < limit and slots[-1] > first:
        slots.append(_preceding(task, first, slots[-1]))
    return slots[::-1]


def _preceding(task: Task, first: datetime, slot: datetime) -> datetime:
    """The slot before `slot`, of those that count from `first` on."""
    before = latest(task, slot - MICROSECOND)
    floor = first
    if task.record.schedule_since is not None:
        floor = max(first, task.record.schedule_since)
    return first if before is None or before <= floor else before


def _missed(
    task: Task, first: datetime, last: datetime, chosen: list[datetime]
) -> tuple[Skipped, ...]:
    """The slots from `first` to `last` that come before those in `chosen`."""
    if chosen and chosen[0] == first:
        return ()
    if chosen:
        count = count_after(task, first, chosen[0])
        last = _preceding(task, first, chosen[0])
    else:
        count = 1 + count_after(task, first, last)
    return (Skipped(first, last, count, SkipReason.MISSED),)


def count_after(task: Task, first: datetime, last: datetime) -> int:
    """How many slots come after `first`, up to `last`, which is one of them or `first`."""
    if last <= first or task.schedule is None:
        return 0
    since = task.record.schedule_since
    start = first if since is None else max(first, since)
    if task.policies.start_at is not None:
        start = max(start, task.policies.start_at - MICROSECOND)
    return task.schedule.count_between(start, last)


def _limit(task: Task, due: list[Due]) -> tuple[list[Due], tuple[Skipped, ...]]:
    """What `max_runs` leaves of `due`, and the rest."""
    limit = task.policies.max_runs
    if limit is None:
        return due, ()
    left = max(limit - task.record.runs_started, 0)
    over = due[left:]
    if not over:
        return due, ()
    ended = Skipped(over[0].slot, over[-1].slot, len(over), SkipReason.ENDED)
    return due[:left], (ended,)


_Overlap = tuple[
    tuple[Due, ...], tuple[Due, ...], tuple[Skipped, ...], tuple[int, ...], tuple[int, ...]
]


def _overlap(task: Task, due: list[Due], live: Sequence[LiveRun]) -> _Overlap:
    """Which of `due` start and which wait, which are skipped, and what they cancel or replace."""
    all_due = tuple(due)
    match task.policies.overlap:
        case _ if not due:
            return (), (), (), (), ()
        case Overlap.ALLOW:
            return all_due, (), (), (), ()
        case _ if not live:
            return all_due[:1], all_due[1:], (), (), ()
        case Overlap.SKIP:
            return (), (), (_overlapped(due, _active(live)),), (), ()
        case Overlap.QUEUE:
            return _queue(due, live)
        case Overlap.CANCEL:
            cancelled = tuple(run.id for run in live)
            if any(run.running for run in live):
                return (), all_due, (), cancelled, ()
            # What has not started ends at once, so there is nothing to wait for; and who waits
            # could be cancelled by the next slot, and that by the one after, and nothing would run.
            return all_due[:1], all_due[1:], (), cancelled, ()


def _queue(due: list[Due], live: Sequence[LiveRun]) -> _Overlap:
    """One slot waits, the newest. Those that a catch-up made wait have their place already."""
    active = _active(live)
    replaced = [r for r in live if r.waiting and r.triggered_by is Trigger.SCHEDULE]
    *older, newest = due
    skipped = [Skipped(r.slot, r.slot, 1, SkipReason.OVERLAP, active) for r in replaced]
    if older:
        skipped.append(_overlapped(older, active))
    return (), (newest,), tuple(skipped), (), tuple(r.id for r in replaced)


def _active(live: Sequence[LiveRun]) -> int:
    """The run that keeps others from starting: a running one, else one that is about to."""
    return min(live, key=lambda run: (not run.running, run.waiting)).id


def _overlapped(due: list[Due], run_id: int) -> Skipped:
    return Skipped(due[0].slot, due[-1].slot, len(due), SkipReason.OVERLAP, run_id)
