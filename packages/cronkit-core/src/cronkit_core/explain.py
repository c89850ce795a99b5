"""Why a task did, or did not, run at an instant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice

from .policy import MICROSECOND
from .runs import Run, Skip, SkipReason, Status, counted_slots
from .tasks import Task, latest

LAST_INSTANT = datetime.max.replace(tzinfo=UTC)


class Fate(StrEnum):
    """What became of a slot."""

    RAN = "ran"
    RUNNING = "running"
    PENDING = "pending"
    SKIPPED = "skipped"
    MISSED = "missed"
    NO_SLOT = "no-slot"
    FUTURE = "future"
    DUE = "due"
    BEFORE = "before"
    ENDED = "ended"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a task did, or did not, run at `instant`."""

    task_name: str
    instant: datetime
    """What was asked for (UTC), or the slot that it named but for a part of a second or minute."""
    fate: Fate
    text: str
    """The answer in a sentence."""
    runs: tuple[Run, ...] = ()
    """The attempts at the slot, first to last."""
    skip: Skip | None = None
    by_hand: tuple[Run, ...] = ()
    """The runs that somebody triggered within a minute of `instant`, first to last."""


NEAR = timedelta(minutes=1)
"""How far from an instant a run by hand may be and still be told of."""
BY_HAND_TOLD = 3
"""How many of them are told of one by one."""


def slot_meant(
    task: Task, instant: datetime, runs: Sequence[Run], skips: Sequence[Skip]
) -> datetime:
    """The slot that people mean who write `instant` in whole seconds or minutes: the only one in
    that second, else in that minute; `instant` itself where it is a slot, or names none or several.

    `runs` and `skips` are records around `instant`, of whatever schedule the task had then.
    """
    spans = [timedelta(seconds=1)] * (instant.microsecond == 0)
    spans += [timedelta(minutes=1)] * (instant.microsecond == 0 and instant.second == 0)
    recorded = {run.slot for run in runs if not run.manual}
    recorded |= {slot for skip in skips for slot in (skip.first_slot, skip.last_slot)}
    for span in spans:
        end = instant + min(span, LAST_INSTANT - instant)
        slots = {slot for slot in recorded if instant <= slot < end}
        slots |= set(_named(task, instant, end))
        if instant in slots or len(slots) > 1:
            return instant
        if slots:
            return slots.pop()
    return instant


def _named(task: Task, start: datetime, end: datetime) -> list[datetime]:
    """The first two slots from `start` on, before `end`, that the schedule names."""
    if task.schedule is None:
        return []
    since = task.record.schedule_since
    after = start - MICROSECOND
    if since is not None and since > after:
        after = since  # what a schedule names before its time was never promised
    named = list(islice(task.schedule.between(after, end - MICROSECOND), 2))
    if task.next_slot is not None and start <= task.next_slot < end:
        named.append(task.next_slot)
    return named


def explain_around(
    task: Task,
    asked: datetime,
    slot: datetime,
    attempts: list[Run],
    skips: list[Skip],
    by_hand: Sequence[Run],
    now: datetime,
) -> Explanation:
    """`explain` of the `slot` that somebody meant who asked for the instant `asked`; and which of
    the runs `by_hand` were near. Pure."""
    found = explain(task, slot, attempts, skips, now)
    near = sorted(
        (run for run in by_hand if run.manual and abs(run.slot - slot) <= NEAR),
        key=lambda run: (run.slot, run.id),
    )
    text = found.text if slot == asked else f"the slot at {_said(slot)}: {found.text}"
    if near:
        told = [f"at {_said(r.slot.replace(microsecond=0))}, run {r.id}" for r in near]
        more = len(near) - BY_HAND_TOLD
        told[BY_HAND_TOLD:] = [f"{more} more times"] if more > 0 else []
        text = f"{text}; it was run by hand {'; '.join(told)}"
    return replace(found, text=text, by_hand=tuple(near))


def explain(
    task: Task, instant: datetime, attempts: list[Run], skips: list[Skip], now: datetime
) -> Explanation:
    """The fate of the slot at `instant`. Pure.

    `attempts` are the runs of the slot, and `skips` the records of slots that did not run which
    hold `instant`.
    """

    def answer(fate: Fate, text: str, skip: Skip | None = None) -> Explanation:
        runs = tuple(sorted(attempts, key=lambda run: run.attempt))
        return Explanation(task.name, instant, fate, text, runs, skip)

    if attempts:
        return answer(*_of_runs(sorted(attempts, key=lambda run: run.attempt)))
    if task.schedule is None:
        return answer(Fate.BROKEN, f"the task is broken: {task.broken}")
    record, policies = task.record, task.policies
    for skip in skips:
        if instant in (skip.first_slot, skip.last_slot):  # a slot, whatever the schedule says now
            return answer(*_of_skip(skip), skip)
    before = instant - MICROSECOND
    is_slot = task.schedule.next_after(before) == instant or instant == task.next_slot
    if not is_slot:
        previous = latest(task, instant)
        following_slot = task.schedule.next_after(instant)
        return answer(
            Fate.NO_SLOT,
            f"the schedule names no slot then; the one before is {_said(previous)}, "
            f"the one after is {_said(following_slot)}{_formerly(task, instant)}",
        )
    for skip in skips:
        return answer(*_of_skip(skip), skip)
    if instant < record.created_at:
        return answer(Fate.BEFORE, f"the task was made later, {_said(record.created_at)}")
    if policies.start_at is not None and instant < policies.start_at:
        return answer(Fate.BEFORE, f"the task starts later, {_said(policies.start_at)}")
    if policies.end_at is not None and instant > policies.end_at:
        return answer(Fate.ENDED, f"the task ended before, {_said(policies.end_at)}")
    disabled = "" if record.enabled else f"the task is disabled{_paused(task)}"
    if record.next_slot is None and (record.last_run_at is None or instant > record.last_run_at):
        return answer(Fate.ENDED, "the schedule of the task is over")
    if instant > now:
        also = f", and {disabled}" if disabled else ""
        return answer(Fate.FUTURE, f"the slot is in the future{also}")
    is_next = record.next_slot is not None and instant >= record.next_slot
    if disabled and (is_next or (record.paused_at is not None and instant >= record.paused_at)):
        return answer(Fate.SKIPPED, disabled)
    if is_next:
        return answer(Fate.DUE, "the slot is due, and has not been claimed yet")
    if record.schedule_since is not None and instant <= record.schedule_since:
        return answer(
            Fate.BEFORE, f"the schedule was another one until {_said(record.schedule_since)}"
        )
    return answer(Fate.UNKNOWN, "its record has been pruned")


def _of_runs(attempts: list[Run]) -> tuple[Fate, str]:
    last = attempts[-1]
    tries = "" if last.attempt == 1 else f" at attempt {last.attempt}"
    match last.status:
        case Status.SUCCESS:
            return Fate.RAN, f"it ran, run {last.id}, and ended well{tries}"
        case Status.ERROR if last.started_at is None and last.attempt == 1:
            return Fate.SKIPPED, f"it did not start: {last.error_message}"
        case Status.ERROR if last.started_at is None:
            why = f"attempt {last.attempt} did not start: {last.error_message}"
            return Fate.RAN, f"it ran and failed; {why}"
        case Status.ERROR:
            return Fate.RAN, f"it ran, run {last.id}, and failed{tries}: {last.error_message}"
        case Status.RUNNING:
            return Fate.RUNNING, f"it is running{tries}, run {last.id}"
        case _:
            when = "when the runs before it have ended"
            if last.due_at is not None:
                when = f"from {_said(last.due_at)} on"
            return Fate.PENDING, f"it is to run{tries} {when}"


def _of_skip(skip: Skip) -> tuple[Fate, str]:
    span = f"{_said(skip.first_slot)} to {_said(skip.last_slot)}"
    slots = counted_slots(skip.count)
    match skip.reason:
        case SkipReason.OVERLAP:
            return Fate.SKIPPED, f"it was skipped, since run {skip.run_id} was active"
        case SkipReason.MISSED:
            return (
                Fate.MISSED,
                f"it was missed: nobody was running, or had room for it, from "
                f"{_said(skip.first_slot)} to {_said(skip.recorded_at)} ({slots})",
            )
        case SkipReason.DISABLED:
            note = f" ({skip.note})" if skip.note else ""
            return Fate.SKIPPED, f"the task was disabled{note}: {slots}, {span}"
        case SkipReason.EDITED:
            return Fate.SKIPPED, f"an edit of the schedule took its place ({span})"
        case SkipReason.ENDED:
            return Fate.ENDED, "the task had had its max_runs"


def _formerly(task: Task, instant: datetime) -> str:
    since = task.record.schedule_since
    if since is None or instant > since or instant < task.record.created_at:
        return ""
    return f"; until {_said(since)} the schedule may have been another one"


def _paused(task: Task) -> str:
    record = task.record
    by = f" by {record.paused_by}" if record.paused_by else ""
    since = f" since {_said(record.paused_at)}" if record.paused_at else ""
    return f"{since}{by}" + (f": {record.paused_note}" if record.paused_note else "")


def _said(instant: datetime | None) -> str:
    if instant is None:
        return "none"
    return f"{instant:%Y-%m-%d %H:%M:%S}{f'.{instant:%f}' if instant.microsecond else ''} UTC"
