"""What the storage contract is tried with: records, plans and ends, made in a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ..runs import Finish, NewRun, Reason, Run, Skip, SkipReason, Status, Trigger, failed, succeeded
from ..storage.base import (
    Advance,
    Claim,
    Claimed,
    Plan,
    RunQuery,
    Snapshot,
    Storage,
    TaskQuery,
    TaskWrite,
)
from ..tasks import TaskRecord

T0 = datetime(2027, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)


def at(seconds: float) -> datetime:
    """The instant so many seconds after T0."""
    return T0 + timedelta(seconds=seconds)


def made(name: str = "task", /, **changes: Any) -> TaskRecord:
    """A task that is not stored yet, due at T0 unless `changes` say otherwise."""
    record = TaskRecord(
        name=name,
        handler="handler",
        config="{}",
        schedule_type="interval",
        schedule_config='{"anchor":"2027-01-01T00:00:00+00:00","interval":60}',
        timezone=None,
        overlap_policy="skip",
        retry_max=0,
        retry_backoff="exponential",
        policies="{}",
        task_group=None,
        priority=0,
        enabled=True,
        next_slot=T0,
        next_run_at=T0,
        schedule_since=None,
        created_at=at(-60),
        updated_at=at(-60),
    )
    return replace(record, **changes)


async def save(storage: Storage, *records: TaskRecord) -> list[TaskRecord]:
    """Save tasks that nobody else changes; the answer is what is stored."""
    refused = await storage.save_tasks([TaskWrite(record) for record in records], T0)
    assert refused == []
    return [await read(storage, record.name) for record in records]


async def read(storage: Storage, name: str = "task") -> TaskRecord:
    """The task with that name, which there must be."""
    [record] = await storage.tasks(TaskQuery(names=[name]))
    return record


async def edit(storage: Storage, name: str = "task", /, **changes: Any) -> TaskRecord:
    """Change columns of a stored task; the answer is what is stored then."""
    [record] = await save(storage, replace(await read(storage, name), **changes))
    return record


async def run_of(storage: Storage, run_id: int) -> Run:
    """The run with that id, which there must be."""
    [run] = await storage.runs(RunQuery(ids=[run_id]))
    return run


async def history(storage: Storage, name: str = "task") -> list[Run]:
    """The runs of a task, oldest first."""
    return (await storage.runs(RunQuery(task_name=name, limit=1_000)))[::-1]


def new_run(record: TaskRecord, slot: datetime = T0, **changes: Any) -> NewRun:
    """A run of the task that is to be inserted: waiting, unless it is given a `due_at`."""
    new = NewRun(
        task_id=record.id,
        task_name=record.name,
        slot=slot,
        attempt=1,
        triggered_by=Trigger.SCHEDULE,
        scheduled_for=slot,
        task_group=record.task_group,
        priority=record.priority,
    )
    return replace(new, **changes)


async def enqueue(storage: Storage, record: TaskRecord, *runs: NewRun, now: datetime = T0) -> Any:
    """Enqueue on the task as it is now."""
    current = await read(storage, record.name)
    return await storage.enqueue(runs, now, revision=current.revision)


def start_all(snapshot: Snapshot) -> Claim:
    """A plan: start each slot that is due and each pending run, move on by a minute, and record
    what expired as lost."""
    claim = Claim(resumes=[owed for owed in snapshot.pending if owed.record is not None])
    for due in snapshot.tasks:
        record = due.record
        assert record.next_slot is not None
        claim.starts.append(new_run(record, record.next_slot))
        later = record.next_slot + MINUTE
        claim.advances.append(Advance(record.id, later, later, record.runs_started + 1))
    for owed in snapshot.expired:
        task_id = 0 if owed.record is None else owed.record.id
        claim.finishes.append(lost(owed.run, task_id, snapshot.now))
    return claim


def nothing(snapshot: Snapshot) -> Claim:
    """A plan: leave everything as it is."""
    return Claim()


class Seen:
    """A plan that keeps the snapshot, and does what another plan says."""

    def __init__(self, plan: Plan = nothing) -> None:
        self.plan = plan
        self.snapshots: list[Snapshot] = []

    def __call__(self, snapshot: Snapshot) -> Claim:
        self.snapshots.append(snapshot)
        return self.plan(snapshot)

    @property
    def only(self) -> Snapshot:
        [snapshot] = self.snapshots
        return snapshot

    @property
    def names(self) -> list[str]:
        """The tasks whose slots were seen as due, in order."""
        return [due.record.name for due in self.only.tasks]


async def claim(
    storage: Storage,
    plan: Plan = start_all,
    now: datetime = T0,
    *,
    owner: str = "me",
    lease: timedelta = LEASE,
    limit: int = 100,
    full_groups: Sequence[str] = (),
) -> Claimed:
    return await storage.claim(
        plan, now, owner=owner, lease=lease, limit=limit, full_groups=full_groups
    )


async def started(storage: Storage, name: str = "task", /, **changes: Any) -> tuple[Run, int]:
    """Save a task whose slot T0 is due, and start that; the run, and the id of the task."""
    await save(storage, made(name, **changes))
    [(run, task_id)] = (await claim(storage)).runs
    return run, task_id


async def seen(storage: Storage, now: datetime, **options: Any) -> Snapshot:
    """What a claim would see; it does nothing."""
    plan = Seen()
    await claim(storage, plan, now, **options)
    return plan.only


def success(run: Run, task_id: int, when: datetime | None = None, **changes: Any) -> Finish:
    """The good end of a run."""
    finish = succeeded(
        run, task_id, finished_at=when or at(5), duration_ms=5_000, output=None, log=None
    )
    return replace(finish, **changes)


def failure(
    run: Run,
    task_id: int,
    when: datetime | None = None,
    retry_at: datetime | None = None,
    **changes: Any,
) -> Finish:
    """The bad end of a run, with another attempt at `retry_at`, if given."""
    finish = failed(run, task_id, Reason.EXCEPTION, "it failed", finished_at=when or at(5))
    if retry_at is not None:
        retry = NewRun(
            task_id=task_id,
            task_name=run.task_name,
            slot=run.slot,
            attempt=run.attempt + 1,
            triggered_by=run.triggered_by,
            scheduled_for=run.scheduled_for,
            due_at=retry_at,
            task_group=run.task_group,
            priority=run.priority,
        )
        finish = replace(finish, retry=retry)
    return replace(finish, **changes)


def lost(run: Run, task_id: int, now: datetime) -> Finish:
    return failed(run, task_id, Reason.LOST, "lost", finished_at=now)


def skip(name: str, first: datetime, last: datetime, count: int = 1, **changes: Any) -> Skip:
    return replace(Skip(name, first, last, count, SkipReason.OVERLAP, T0), **changes)


def states(runs: Iterable[Run]) -> list[tuple[str, int, str, str | None]]:
    """Seconds of the slot, attempt, status and reason of each run, to compare at a glance. One that
    is pending and due has the reason "due"."""
    found = []
    for run in runs:
        reason = None if run.reason is None else run.reason.value
        if run.status is Status.PENDING and run.due_at is not None:
            reason = "due"
        seconds = f"{(run.slot - T0).total_seconds():g}"
        found.append((seconds, run.attempt, run.status.value, reason))
    return found
