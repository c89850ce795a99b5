"""What a claim is to write, for all that is due at once. Pure, but for the results it collects."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Container, Mapping
from datetime import datetime

from . import policy, retry, runs
from .definition import decode
from .errors import InvalidTask
from .outcome import LOST, Outcome
from .runs import NewRun, Reason, Run, Skip
from .storage.base import OVERLAP, REMOVED, Advance, Claim, DueTask, OwedRun, Snapshot
from .tasks import Overlap, Task, TaskRecord, actual

logger = logging.getLogger("cronkit.planner")


class Planner:
    """Plans one claim. `room` is how many runs may start here, `groups` how many runs of a group
    may execute at once anywhere, `own` the ids of the runs that this process executes."""

    def __init__(self, room: int, groups: Mapping[str, int], own: Container[int] = ()) -> None:
        self.claim = Claim()
        self.tasks: dict[int, Task] = {}
        """The decoded tasks of the runs that start, by the task's id."""
        self.enabled: set[int] = set()
        """The tasks of lost runs that were enabled."""
        self.own_expired = False
        """Whether this process, which lives, has failed to renew a lease in time."""
        self.full_groups: set[str] = set()
        """Groups that had something due and no room for it."""
        self._room = room
        self._groups = groups
        self._own = own
        self._unsettled: set[int] = set()
        """Tasks of lost runs: what their ends make of them shows in the next claim."""
        self._running: Counter[str] = Counter()
        self._broken: dict[int, str] = {}
        """Why tasks cannot be decoded, by their ids."""

    @property
    def progress(self) -> bool:
        """Whether the plan changes anything."""
        claim = self.claim
        return bool(
            claim.advances or claim.resumes or claim.finishes or claim.broken or claim.waits
        )

    def plan(self, snapshot: Snapshot) -> Claim:
        """The callback of `Storage.claim`."""
        self._running.update(snapshot.running)
        for owed in snapshot.expired:
            self._recover(owed, snapshot.now)
        for owed in snapshot.pending:
            self._resume(owed, snapshot.now)
        for due in snapshot.tasks:
            self._advance(due, snapshot.now)
        return self.claim

    def _recover(self, owed: OwedRun, now: datetime) -> None:
        """The owner of a run is gone."""
        if owed.run.id in self._own:
            self.own_expired = True
            return
        task = self._decode(owed.record)
        retried = pause_after = None
        if task is not None and owed.record is not None:
            if task.enabled:
                self.enabled.add(owed.record.id)
            if owed.run.cancel_requested_by is None:
                retried = retry_of(owed.run, task, owed.record.id, LOST, now)
            pause_after = task.policies.pause_after_failures
            self._unsettled.add(owed.record.id)
        self.claim.finishes.append(
            runs.failed(
                owed.run,
                0 if owed.record is None else owed.record.id,
                Reason.LOST,
                f"{LOST.message} ({owed.run.owner})",
                finished_at=now,
                retry=retried,
                pause_after=pause_after,
            )
        )

    def _resume(self, owed: OwedRun, now: datetime) -> None:
        """A pending run is due."""
        if owed.record is not None and owed.record.id in self._unsettled:
            return
        task = self._decode(owed.record)
        if owed.record is None or task is None:
            task_id, reason, message = 0, Reason.CANCELLED, f"cancelled by {REMOVED}"
            if owed.record is not None:
                task_id, reason = owed.record.id, Reason.BROKEN
                message = f"the task is broken: {self._broken[task_id]}"
            self.claim.finishes.append(
                runs.failed(owed.run, task_id, reason, message, finished_at=now)
            )
        elif self._take_room(owed.run.task_group):
            self.claim.resumes.append(owed)
            self.tasks[owed.record.id] = task

    def _advance(self, due: DueTask, now: datetime) -> None:
        """A slot, or several, have come."""
        record = due.record
        if record.id in self._unsettled:
            return
        # Without room a slot waits; but one of a task that is active does not start anyway.
        starts = not due.live or record.overlap_policy == Overlap.ALLOW
        if not self._has_room(record.task_group) and starts:
            return
        task = self._decode(record)
        if task is None:
            return
        try:
            decision = policy.plan(task, due.live, now)
        except Exception as error:
            # A schedule of somebody's own making may raise; it must not stop the other tasks.
            logger.exception("task %r cannot be planned", record.name)
            self.claim.broken.append((record.id, f"{type(error).__name__}: {error}"))
            return
        self.tasks[record.id] = task
        self.claim.advances.append(
            Advance(record.id, decision.next_slot, decision.next_run_at, decision.runs_started)
        )
        running = {run.id for run in due.live if run.running}
        for run_id in decision.cancel:
            if run_id in running:
                self.claim.cancels.append(run_id)
            else:
                self._hold_back(run_id)
                self.claim.finishes.append(
                    runs.cancelled_pending(run_id, record.id, record.name, OVERLAP, now)
                )
        self.claim.replaced += decision.replace
        self.claim.skips += [skip_of(record.name, skipped, now) for skipped in decision.skip]
        for due_slot in decision.start:
            if self._take_room(record.task_group):
                self.claim.starts.append(new_run(task, due_slot))
            else:
                self.claim.waits.append(new_run(task, due_slot, due_at=now))
        self.claim.waits += [new_run(task, due_slot) for due_slot in decision.wait]

    def _hold_back(self, run_id: int) -> None:
        """A pending run that was to start now does not; silently do nothing for any other."""
        for i, owed in enumerate(self.claim.resumes):
            if owed.run.id == run_id:
                del self.claim.resumes[i]
                self._room += 1
                if owed.run.task_group is not None:
                    self._running[owed.run.task_group] -= 1
                return

    def _decode(self, record: TaskRecord | None) -> Task | None:
        if record is None or record.id in self._broken:
            return None
        try:
            return decode(record)
        except InvalidTask as error:
            logger.error("task %r is broken: %s", record.name, error)  # noqa: TRY400
            self._broken[record.id] = str(error)
            self.claim.broken.append((record.id, str(error)))
            return None

    def _has_room(self, group: str | None) -> bool:
        limit = None if group is None else self._groups.get(group)
        if group is not None and limit is not None and self._running[group] >= limit:
            self.full_groups.add(group)
            return False
        return self._room > 0

    def _take_room(self, group: str | None) -> bool:
        if not self._has_room(group):
            return False
        self._room -= 1
        if group is not None:
            self._running[group] += 1
        return True


def new_run(task: Task, due: policy.Due, due_at: datetime | None = None) -> NewRun:
    """The first attempt at a slot of `task`."""
    return NewRun(
        task_id=task.record.id,
        task_name=task.name,
        slot=due.slot,
        attempt=1,
        triggered_by=due.triggered_by,
        scheduled_for=actual(task, due.slot),
        due_at=due_at,
        task_group=task.policies.group,
        priority=task.policies.priority,
    )


def skip_of(name: str, skipped: policy.Skipped, now: datetime) -> Skip:
    """What is recorded of a range of slots that does not run."""
    return Skip(
        name,
        skipped.first_slot,
        skipped.last_slot,
        skipped.count,
        skipped.reason,
        now,
        skipped.run_id,
    )


def retry_of(run: Run, task: Task, task_id: int, outcome: Outcome, now: datetime) -> NewRun | None:
    """The next attempt after `run` ended at `now` as `outcome`; None when there is to be none."""
    if outcome.final or outcome.reason in (None, Reason.CANCELLED, Reason.BROKEN):
        return None
    at = retry.next_attempt(
        task.policies.retry,
        task=task.name,
        slot=run.slot,
        attempt=run.attempt,
        scheduled_for=run.scheduled_for,
        now=now,
        error_types=outcome.error_types,
        after=outcome.retry_after,
    )
    return None if at is None else runs.retried(run, at, task_id)
