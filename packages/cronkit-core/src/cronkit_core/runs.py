"""What a run is: one attempt at executing one slot, and the transitions that it may make.

A run is *pending* (due at an instant, or waiting for the task's other runs to end), then *running*
under a lease, then ended as a *success* or an *error*. Only the functions in this file make a new
state of a run, and each makes a legal one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import final

from .values import immutable, value


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"


ENDS = (Status.SUCCESS, Status.ERROR)


class Reason(StrEnum):
    """Why a run ended as an error."""

    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LOST = "lost"
    INTERRUPTED = "interrupted"
    NO_HANDLER = "no-handler"
    BROKEN = "broken"


class Trigger(StrEnum):
    """What made a run."""

    SCHEDULE = "schedule"
    CATCH_UP = "catch-up"
    BACKFILL = "backfill"
    MANUAL = "manual"


class SkipReason(StrEnum):
    """Why slots did not run."""

    OVERLAP = "overlap"
    MISSED = "missed"
    DISABLED = "disabled"
    EDITED = "edited"
    ENDED = "ended"


@final
@immutable(frozen=True, slots=True)
class Run:
    """One attempt at one slot, as a storage keeps it. (task, slot, attempt) is unique among the
    runs of the schedule, and is the handler's idempotency key."""

    id: int
    task_name: str
    slot: datetime
    """The nominal time (UTC); for a manual run, when it was asked for."""
    attempt: int
    status: Status
    triggered_by: Trigger
    scheduled_for: datetime
    """The actual time of the slot: nominal plus jitter."""
    due_at: datetime | None = None
    """When a pending run may start; None: when the task's other runs have ended."""
    owner: str | None = None
    epoch: int = 0
    """Grows with every claim of the task: a fencing token for what the handler writes elsewhere."""
    lease_until: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_ms: int | None = None
    reason: Reason | None = None
    error_type: str | None = None
    error_message: str | None = None
    error_traceback: str | None = None
    output: str | None = None
    """What the handler returned, as JSON text."""
    log: str | None = None
    progress: str | None = None
    """What the handler last reported, as a JSON object of done, total, message."""
    config: str | None = None
    """For a run with a config of its own, that config as JSON text."""
    cancel_requested_by: str | None = None
    task_group: str | None = None
    priority: int = 0

    @property
    def manual(self) -> bool:
        return self.triggered_by is Trigger.MANUAL


@value(frozen=True, slots=True)
class LiveRun:
    """As much of a run that has not ended as the policies look at."""

    id: int
    slot: datetime
    attempt: int
    running: bool
    waiting: bool
    """Pending without a time: it starts when the task's other runs have ended."""
    triggered_by: Trigger


@value(frozen=True, slots=True)
class NewRun:
    """A run to insert: running at once under the claimer's lease, or pending."""

    task_id: int
    task_name: str
    slot: datetime
    attempt: int
    triggered_by: Trigger
    scheduled_for: datetime
    due_at: datetime | None = None
    config: str | None = None
    task_group: str | None = None
    priority: int = 0


@final
@immutable(frozen=True, slots=True)
class Skip:
    """`count` consecutive slots from `first_slot` to `last_slot` that did not run, for one reason.

    `run_id` is the run that was active, for an overlap.
    """

    task_name: str
    first_slot: datetime
    last_slot: datetime
    count: int
    reason: SkipReason
    recorded_at: datetime
    run_id: int | None = None
    note: str | None = None


def counted_slots(count: int) -> str:
    """ "1 slot", "2 slots"."""
    return f"{count} slot" if count == 1 else f"{count} slots"


@value(frozen=True, slots=True)
class Finish:
    """The end of a run: what to record, on condition that the run is still as it was read.

    A running run must still belong to `owner` in `epoch`; a pending one (owner None) must still
    be pending. `retry` is the pending next attempt, if there is to be one; without it, the slot has
    its outcome.
    """

    run_id: int
    task_id: int
    task_name: str
    owner: str | None
    epoch: int
    status: Status
    finished_at: datetime
    duration_ms: int | None = None
    reason: Reason | None = None
    error_type: str | None = None
    error_message: str | None = None
    error_traceback: str | None = None
    output: str | None = None
    log: str | None = None
    """None, for this and `progress`: as it was stored last."""
    progress: str | None = None
    retry: NewRun | None = None
    counts: bool = True
    """Whether the outcome is the task's last one, and a failure counts toward pausing it."""
    pause_after: int | None = None
    """Disable the task when this many slots in a row have failed."""


def retried(run: Run, due_at: datetime, task_id: int) -> NewRun:
    """The attempt after `run`, pending until `due_at`."""
    return NewRun(
        task_id=task_id,
        task_name=run.task_name,
        slot=run.slot,
        attempt=run.attempt + 1,
        triggered_by=run.triggered_by,
        scheduled_for=run.scheduled_for,
        due_at=due_at,
        config=run.config,
        task_group=run.task_group,
        priority=run.priority,
    )


def live_run(run: Run) -> LiveRun:
    """What the policies look at of `run`."""
    running = run.status is Status.RUNNING
    waiting = not running and run.due_at is None
    return LiveRun(run.id, run.slot, run.attempt, running, waiting, run.triggered_by)


def cancelled(run: Run, now: datetime, by: str) -> Run:
    """The pending `run`, ended before it started."""
    return replace(
        run,
        status=Status.ERROR,
        reason=Reason.CANCELLED,
        error_message=f"cancelled by {by}",
        finished_at=now,
        due_at=None,
    )


def cancelled_pending(run_id: int, task_id: int, name: str, by: str, now: datetime) -> Finish:
    """The end of a pending run, before it started."""
    return Finish(
        run_id=run_id,
        task_id=task_id,
        task_name=name,
        owner=None,
        epoch=0,
        status=Status.ERROR,
        finished_at=now,
        reason=Reason.CANCELLED,
        error_message=f"cancelled by {by}",
        counts=False,
    )


def succeeded(
    run: Run,
    task_id: int,
    *,
    finished_at: datetime,
    duration_ms: int,
    output: str | None,
    log: str | None,
    progress: str | None = None,
) -> Finish:
    """`run` came to its end."""
    return Finish(
        run_id=run.id,
        task_id=task_id,
        task_name=run.task_name,
        owner=run.owner,
        epoch=run.epoch,
        status=Status.SUCCESS,
        finished_at=finished_at,
        duration_ms=duration_ms,
        output=output,
        log=log,
        progress=progress,
    )


def failed(
    run: Run,
    task_id: int,
    reason: Reason,
    message: str,
    *,
    finished_at: datetime,
    duration_ms: int | None = None,
    error_type: str | None = None,
    traceback: str | None = None,
    log: str | None = None,
    progress: str | None = None,
    retry: NewRun | None = None,
    pause_after: int | None = None,
) -> Finish:
    """`run` ended without success. A cancellation is nobody's failure: it counts for nothing."""
    return Finish(
        run_id=run.id,
        task_id=task_id,
        task_name=run.task_name,
        owner=run.owner,
        epoch=run.epoch,
        status=Status.ERROR,
        finished_at=finished_at,
        duration_ms=duration_ms,
        reason=reason,
        error_type=error_type,
        error_message=message,
        error_traceback=traceback,
        log=log,
        progress=progress,
        retry=retry,
        counts=reason is not Reason.CANCELLED,
        pause_after=pause_after,
    )


@value(frozen=True, slots=True)
class Tally:
    """What a task remembers of the outcomes of its runs."""

    enabled: bool
    failures: int
    last_run_at: datetime | None = None
    last_status: str | None = None
    last_success_at: datetime | None = None
    pauses: bool = False
    """Whether this outcome disables the task."""


def tally(before: Tally, finish: Finish) -> Tally:
    """What a task remembers once a run of it ended as `finish`. A retry to come is no outcome."""
    if not finish.counts:
        return before
    ended = finish.finished_at
    if finish.status is Status.SUCCESS:
        return Tally(before.enabled, 0, ended, "success", ended, before.pauses)
    after = replace(before, last_run_at=ended)
    if finish.retry is not None:
        return after
    failures = before.failures + 1
    limit = finish.pause_after
    pauses = before.enabled and limit is not None and failures >= limit
    return replace(
        after,
        last_status="error",
        failures=failures,
        enabled=before.enabled and not pauses,
        pauses=before.pauses or pauses,
    )
