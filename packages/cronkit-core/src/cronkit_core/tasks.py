"""What a task is: its schedule and policies, the record that a storage keeps of it, and its slots
in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, final

from .retry import RetryPolicy, spread
from .schedules.base import Schedule
from .values import immutable


class Overlap(StrEnum):
    """What to do when a slot is due and the task is still active (running, or to be retried)."""

    SKIP = "skip"
    QUEUE = "queue"
    CANCEL = "cancel"
    ALLOW = "allow"


class CatchUp(StrEnum):
    """What to do with slots that passed while nobody was running."""

    LATEST = "latest"
    ALL = "all"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Policies:
    """How the slots of a task turn into runs. Times are seconds; every one has a default."""

    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_limit: int = 100
    """How many missed slots `catch_up="all"` runs at most: the newest ones, oldest first."""
    grace: float = 60.0
    """How late a slot may start and still count as on time."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: float | None = None
    """How long one attempt may take."""
    jitter: float = 0.0
    """Up to this much later than the slot, the same for a slot each time, never past the next."""
    start_at: datetime | None = None
    """No slot before this instant."""
    end_at: datetime | None = None
    """No slot after this instant."""
    max_runs: int | None = None
    """The schedule is over after this many slots have run."""
    pause_after_failures: int | None = None
    """Disable the task after this many slots in a row have failed."""
    group: str | None = None
    """Tasks of one group share the limit that the scheduler's `groups` sets for it."""
    priority: int = 0
    """What is due at once starts in the order of this number, highest first: -100 to 100."""
    keep_runs: int | None = None
    """How many runs of the task to keep; None: as the scheduler says."""
    keep_for: float | None = None
    """How long to keep runs of the task; None: as the scheduler says."""


@final
@immutable(frozen=True, slots=True)
class TaskRecord:
    """A task as a storage keeps it: texts, numbers and instants, nothing decoded.

    `schedule_config`, `policies` and `config` are JSON objects. `next_slot` is nominal,
    `next_run_at` is `next_slot` plus jitter; both are None when the schedule is over. `revision`
    changes with each write to the definition, the slots or the runs of the task, and guards
    writers against each other; 0 stands for a task that is not stored yet. `id` is never reused.
    """

    name: str
    handler: str
    config: str
    schedule_type: str
    schedule_config: str
    timezone: str | None
    overlap_policy: str
    retry_max: int
    retry_backoff: str
    policies: str
    task_group: str | None
    priority: int
    enabled: bool
    next_slot: datetime | None
    next_run_at: datetime | None
    schedule_since: datetime | None
    """When the schedule was last changed: slots of it before this instant were never promised."""
    created_at: datetime
    updated_at: datetime
    last_run_at: datetime | None = None
    last_status: str | None = None
    last_success_at: datetime | None = None
    failures: int = 0
    """How many slots failed since the last that succeeded."""
    runs_started: int = 0
    """How many slots of the schedule have run."""
    paused_at: datetime | None = None
    paused_by: str | None = None
    paused_note: str | None = None
    broken: str | None = None
    """Why the record cannot be decoded; such a task does not run until it is written anew."""
    revision: int = 0
    id: int = 0


@final
@immutable(frozen=True, slots=True)
class Task:
    """A task, decoded. A value: change it through the scheduler."""

    name: str
    handler: str
    schedule: Schedule | None
    """None only when the task is broken."""
    config: Mapping[str, Any]
    policies: Policies
    record: TaskRecord = field(repr=False)

    @property
    def timezone(self) -> str | None:
        """The IANA name of the schedule's zone, or None: UTC."""
        return self.record.timezone

    @property
    def enabled(self) -> bool:
        return self.record.enabled

    @property
    def next_slot(self) -> datetime | None:
        """The next nominal time (UTC), or None when the schedule is over."""
        return self.record.next_slot

    @property
    def next_run_at(self) -> datetime | None:
        """The next actual time (UTC): the slot plus jitter; None when the schedule is over."""
        return self.record.next_run_at

    @property
    def last_run_at(self) -> datetime | None:
        return self.record.last_run_at

    @property
    def last_status(self) -> str | None:
        """ "success", "error", or None before the first run."""
        return self.record.last_status

    @property
    def broken(self) -> str | None:
        return self.record.broken


# --- slots -----------------------------------------------------------------------------------


def following(task: Task, slot: datetime) -> datetime | None:
    """The slot of `task` after `slot`, within the bounds of the task, or None."""
    policies = task.policies
    since = task.record.schedule_since
    after = slot if since is None or since <= slot else since
    if policies.start_at is not None and after < policies.start_at:
        # `start_at` itself may be a slot.
        after = policies.start_at - timedelta(microseconds=1)
    following = _schedule(task).next_after(after)
    if following is None or (policies.end_at is not None and following > policies.end_at):
        return None
    return following


def latest(task: Task, now: datetime) -> datetime | None:
    """The last slot of `task` at or before `now`, within the bounds of the task, or None."""
    policies = task.policies
    if policies.end_at is not None and policies.end_at < now:
        now = policies.end_at
    slot = _schedule(task).previous_before(now + timedelta(microseconds=1))
    if slot is None or (policies.start_at is not None and slot < policies.start_at):
        return None
    return slot


def within(task: Task, slot: datetime | None) -> bool:
    """Whether `slot` is in the bounds of the task."""
    start, end = task.policies.start_at, task.policies.end_at
    if slot is None or (start is not None and slot < start):
        return False
    return end is None or slot <= end


def actual(task: Task, slot: datetime) -> datetime:
    """When `slot` is to run: the slot plus the jitter of the task, never past the next slot.

    The jitter is a hash of (task, slot): the same in every process and after every restart.
    """
    jitter = task.policies.jitter
    if not jitter:
        return slot
    try:
        at = slot + timedelta(seconds=jitter * spread(task.name, slot.isoformat()))
    except OverflowError:  # past the year 9999
        return slot
    following = _schedule(task).next_after(slot)
    return at if following is None else min(at, following - timedelta(microseconds=1))


def _schedule(task: Task) -> Schedule:
    assert task.schedule is not None, f"task {task.name!r} is broken: {task.broken}"
    return task.schedule
