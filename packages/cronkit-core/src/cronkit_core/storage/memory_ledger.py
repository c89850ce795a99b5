"""The tables of the memory storage, and what is derived from them."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any, TypeVar

from ..runs import ENDS, LiveRun, NewRun, Run, Skip, Status, Trigger, cancelled, live_run
from ..tasks import TaskRecord
from .base import OVERLAP, OwedRun
from .memory_agenda import Agenda
from .memory_filters import place

MICROSECOND = timedelta(microseconds=1)

Record = TypeVar("Record", TaskRecord, Run)
_NAMES = {kind: [f.name for f in fields(kind)] for kind in (TaskRecord, Run)}
_VALUES = {kind: attrgetter(*names) for kind, names in _NAMES.items()}
_PLACES = {kind: {name: i for i, name in enumerate(names)} for kind, names in _NAMES.items()}


def changed(record: Record, **changes: Any) -> Record:
    """`dataclasses.replace` for a task or a run, but quicker: each run of a burst takes three."""
    kind = type(record)
    values = list(_VALUES[kind](record))
    for name, value in changes.items():
        values[_PLACES[kind][name]] = value
    return kind(*values)


class Ledger:
    """Tasks, runs and skips, and the edits that keep what is derived from them in step."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskRecord] = {}
        self._by_id: dict[int, str] = {}
        self._runs: dict[int, Run] = {}
        self._task_of: dict[int, int] = {}
        self._attempts: dict[tuple[str, datetime, bool], tuple[int, ...]] = {}
        """Which attempts there are at each slot."""
        self._of_task: defaultdict[str, list[int]] = defaultdict(list)
        self._live: dict[str, dict[int, None]] = {}
        self._engaged: Counter[str] = Counter()
        """How many runs of a task are running or due."""
        self._waiting: defaultdict[str, list[tuple[datetime, int]]] = defaultdict(list)
        """Heaps of the slots and ids of runs that wait, or did."""
        self._running: dict[int, None] = {}
        self._skips: defaultdict[str, list[Skip]] = defaultdict(list)
        self._slots_due = Agenda(self._slot_is_due)
        self._runs_due = Agenda(self._run_is_due)
        self._task_ids = itertools.count(1)
        self._run_ids = itertools.count(1)

    def _cancel(self, run: Run, now: datetime, by: str) -> None:
        if run.status is Status.RUNNING and run.cancel_requested_by is None:
            self._runs[run.id] = replace(run, cancel_requested_by=by)
        elif run.status is Status.PENDING:
            self._put_run(cancelled(run, now, by))

    def _ask_to_cancel(self, run_ids: Iterable[int], now: datetime) -> None:
        for run_id in run_ids:
            if run_id in self._runs:
                self._cancel(self._runs[run_id], now, OVERLAP)

    def _replace(self, run_ids: Iterable[int]) -> None:
        for run_id in run_ids:
            if run_id in self._runs and self._runs[run_id].status is Status.PENDING:
                self._delete_run(run_id)

    def _drop_pending(self, name: str, why: str, now: datetime, *, manual: bool) -> None:
        for run_id in list(self._live.get(name, ())):
            run = self._runs[run_id]
            if run.status is Status.PENDING and (manual or not run.manual):
                self._put_run(cancelled(run, now, why))

    def _release(self, name: str, now: datetime) -> None:
        """When no run of the task is running or due, let the oldest waiting one be due."""
        waiting = self._waiting.get(name)
        while waiting and not self._engaged[name]:
            _, run_id = heappop(waiting)
            if _waits(self._runs.get(run_id)):
                self._put_run(replace(self._runs[run_id], due_at=now))
        if not waiting:
            self._waiting.pop(name, None)

    def _free_slot(self, new: NewRun) -> datetime | None:
        """The slot that `new` gets; None when there is such a run, or a later attempt."""
        slot, manual = new.slot, new.triggered_by is Trigger.MANUAL
        if manual and new.attempt == 1:
            while (new.task_name, slot, True) in self._attempts:
                slot += MICROSECOND
        last = max(self._attempts.get((new.task_name, slot, manual), (0,)))
        return slot if new.attempt > last else None

    def _insert(self, new: NewRun) -> int | None:
        """Insert a pending run, if there is none such; its id."""
        slot = self._free_slot(new)
        if slot is None:
            return None
        return self._add(new, slot, {"status": Status.PENDING, "due_at": new.due_at}).id

    def _add(self, new: NewRun, slot: datetime, fields: Mapping[str, Any]) -> Run:
        """Add `new` at `slot`, with what `fields` says of its state."""
        run_id, name, attempt = next(self._run_ids), new.task_name, new.attempt
        run = Run(
            id=run_id,
            task_name=name,
            slot=slot,
            attempt=attempt,
            triggered_by=new.triggered_by,
            scheduled_for=new.scheduled_for,
            config=new.config,
            task_group=new.task_group,
            priority=new.priority,
            **fields,
        )
        key = (name, slot, run.manual)
        self._attempts[key] = (*self._attempts.get(key, ()), attempt)
        self._of_task[name].append(run_id)
        self._task_of[run_id] = new.task_id
        self._put_run(run)
        return run

    def _put_run(self, run: Run) -> None:
        """Store `run`, and keep what is derived from it in step."""
        run_id, name, status = run.id, run.task_name, run.status
        old = self._runs.get(run_id)
        self._runs[run_id] = run
        if change := _is_engaged(run) - _is_engaged(old):
            self._engage(name, change)
        if status is Status.RUNNING:
            self._running[run_id] = None
        else:
            self._running.pop(run_id, None)
        if status is Status.PENDING:
            if run.due_at is not None:
                self._runs_due.add(run.due_at, run_id, run.priority)
            elif not _waits(old):
                heappush(self._waiting[name], (run.slot, run_id))
        if status in ENDS:
            self._forget_live(run)
        elif old is None:
            self._live.setdefault(name, {})[run_id] = None

    def _engage(self, name: str, change: int) -> None:
        self._engaged[name] += change
        if not self._engaged[name]:
            del self._engaged[name]

    def _forget_live(self, run: Run) -> None:
        live = self._live.get(run.task_name)
        if live is not None:
            live.pop(run.id, None)
            if not live:
                del self._live[run.task_name]

    def _delete_run(self, run_id: int) -> None:
        run = self._runs.pop(run_id)
        key = (run.task_name, run.slot, run.manual)
        self._attempts[key] = tuple(a for a in self._attempts[key] if a != run.attempt)
        if not self._attempts[key]:
            del self._attempts[key]
        del self._task_of[run_id]
        self._of_task[run.task_name].remove(run_id)
        self._forget_live(run)
        self._engage(run.task_name, -_is_engaged(run))
        if not self._of_task[run.task_name]:
            del self._of_task[run.task_name]

    def _put_task(self, record: TaskRecord) -> None:
        old = self._tasks.get(record.name)
        self._tasks[record.name] = record
        if record.next_run_at is None or (old is not None and place(old) == place(record)):
            return
        if record.enabled and record.broken is None:
            self._slots_due.add(record.next_run_at, record.id, record.priority)

    def _add_skips(self, skips: Iterable[Skip]) -> None:
        for skip in skips:
            rows = self._skips[skip.task_name]
            for i, row in enumerate(rows):
                if skip.run_id is not None and (row.run_id, row.reason) == (
                    skip.run_id,
                    skip.reason,
                ):
                    rows[i] = replace(
                        row,
                        first_slot=min(row.first_slot, skip.first_slot),
                        last_slot=max(row.last_slot, skip.last_slot),
                        count=row.count + skip.count,
                    )
                    break
            else:
                rows.append(skip)

    def _live_runs(self, name: str) -> tuple[LiveRun, ...]:
        runs = (self._runs[run_id] for run_id in self._live.get(name, ()))
        return tuple(live_run(run) for run in runs)

    def _owed(self, run: Run) -> OwedRun:
        name = self._by_id.get(self._task_of[run.id])
        return OwedRun(run, None if name is None else self._tasks[name])

    def _slot_is_due(self, task_id: int, at: datetime, priority: int) -> str | bool | None:
        """The group of the entry, or False when it no longer stands."""
        record = self._tasks.get(self._by_id.get(task_id, ""))
        if record is None or not record.enabled or record.broken is not None:
            return False
        stands = (record.next_run_at, record.priority) == (at, priority)
        return record.task_group if stands else False

    def _run_is_due(self, run_id: int, at: datetime, priority: int) -> str | bool | None:
        run = self._runs.get(run_id)
        if run is None or run.status is not Status.PENDING or run.due_at != at:
            return False
        return run.task_group


def _waits(run: Run | None) -> bool:
    return run is not None and run.status is Status.PENDING and run.due_at is None


def _is_engaged(run: Run | None) -> bool:
    """Whether `run` is running or due."""
    if run is None:
        return False
    status = run.status
    return status is Status.RUNNING or (status is Status.PENDING and run.due_at is not None)
