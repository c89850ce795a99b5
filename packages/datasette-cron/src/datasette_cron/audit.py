"""Who changed what: the table `datasette_cron_audit`, written in the transaction of each change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cronkit_core.definition import dump_json
from cronkit_core.runs import NewRun, Run, Skip, Status, Trigger
from cronkit_core.storage.base import TaskQuery, TaskWrite, can_be_stored
from cronkit_core.storage.sqlite_edits import Program
from cronkit_core.storage.sqlite_programs import Programs
from cronkit_core.storage.sqlite_rows import text
from cronkit_core.storage.sqlite_schema import Statement
from cronkit_core.tasks import TaskRecord

from .masking import masked

KEPT = 10_000
"""How many entries are kept, of all tasks together: the newest."""
LONGEST = 8_000
"""How many characters of JSON one value of a definition may have; of a longer one, only its length
is kept."""
RUNS_NAMED = 100
LAST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Origin:
    """A request that makes changes. `actor` is the id of who makes it, as far as that is known."""

    actor: str | None


_origin: ContextVar[Origin | None] = ContextVar("datasette_cron_origin", default=None)


@contextmanager
def requested_by(actor: Mapping[str, Any] | None) -> Iterator[None]:
    """What the code in this context changes is changed for a request of `actor`."""
    named = None if actor is None or actor.get("id") is None else str(actor["id"])
    token = _origin.set(Origin(named))
    try:
        yield
    finally:
        _origin.reset(token)


@dataclass(frozen=True, slots=True)
class Entry:
    """A change, as it is kept."""

    id: int
    time: str
    actor: str | None
    """The id of who made it; None for an unknown one, and for what plugins do by themselves."""
    action: str
    task: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def make_table(prefix: str) -> Program[None]:
    """The step of the migrations that makes the table."""
    yield Statement(f"""
        CREATE TABLE {prefix}audit (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            time TEXT NOT NULL,
            actor TEXT,
            action TEXT NOT NULL,
            task TEXT NOT NULL,
            before TEXT,
            after TEXT
        )""")
    yield Statement(f"CREATE INDEX {prefix}audit_task ON {prefix}audit (task, id)")


class AuditedPrograms(Programs):
    """The core's programs, with the changes of tasks written down in the same transaction.

    What tasks are made, changed, paused and deleted by is always kept; runs that were triggered,
    backfilled or cancelled only where a request asked for it.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix)
        self.audit_rows = f"{prefix}audit"

    # Programs run in another thread: who asks is read here, before they begin.

    def save_tasks(self, writes: Sequence[TaskWrite], now: datetime) -> Program[list[str]]:
        return self._save_tasks(writes, now, _origin.get())

    def remove_tasks(
        self, names: Sequence[str], now: datetime, *, cancel: bool
    ) -> Program[list[str]]:
        return self._remove_tasks(names, now, cancel, _origin.get())

    def enqueue(
        self,
        runs: Sequence[NewRun],
        now: datetime,
        *,
        revision: int,
        replaced: Sequence[int] = (),
        cancels: Sequence[int] = (),
        skips: Sequence[Skip] = (),
    ) -> Program[list[int] | None]:
        program = super().enqueue(
            runs, now, revision=revision, replaced=replaced, cancels=cancels, skips=skips
        )
        return self._enqueue(program, runs, now, _origin.get())

    def cancel(self, run_id: int, now: datetime, by: str) -> Program[Run | None]:
        return self._cancel(super().cancel(run_id, now, by), now, _origin.get())

    def entries(self, task: str, before_id: int | None, limit: int) -> Program[list[Entry]]:
        """The changes of that task, newest first: those before the entry `before_id`."""
        if not can_be_stored(task):
            return []
        found = yield Statement(
            f"SELECT id, time, actor, action, task, before, after FROM {self.audit_rows} "
            "WHERE task = ? AND id < ? ORDER BY id DESC LIMIT ?",
            (task, LAST_ID if before_id is None else before_id, limit),
        )
        return [
            Entry(id_, time, actor, action, task, _loaded(before), _loaded(after))
            for id_, time, actor, action, task, before, after in found
        ]

    def _save_tasks(
        self, writes: Sequence[TaskWrite], now: datetime, origin: Origin | None
    ) -> Program[list[str]]:
        query = TaskQuery(names=[write.record.name for write in writes], limit=None)
        old = {record.name: record for record in (yield from self.tasks(query))}
        refused = yield from super().save_tasks(writes, now)
        rows = []
        for name, new in {write.record.name: write.record for write in writes}.items():
            if name not in refused:
                before = _definition(old[name]) if name in old else None
                after = _definition(new)
                if before != after:
                    rows.append((_action(old.get(name), new), name, before, after))
        yield from self._keep(rows, now, origin)
        return refused

    def _remove_tasks(
        self, names: Sequence[str], now: datetime, cancel: bool, origin: Origin | None
    ) -> Program[list[str]]:
        old = yield from self.tasks(TaskQuery(names=list(names), limit=None))
        removed = yield from super().remove_tasks(names, now, cancel=cancel)
        rows = [("deleted", r.name, _definition(r), None) for r in old if r.name in removed]
        yield from self._keep(rows, now, origin)
        return removed

    def _enqueue(
        self,
        program: Program[list[int] | None],
        runs: Sequence[NewRun],
        now: datetime,
        origin: Origin | None,
    ) -> Program[list[int] | None]:
        ids = yield from program
        if ids and origin is not None:
            manual = runs[0].triggered_by is Trigger.MANUAL
            after: dict[str, Any] = {"runs": len(ids), "run_ids": ids[:RUNS_NAMED]}
            if runs[0].config is not None:
                after["config"] = _short(masked(json.loads(runs[0].config)))
            action = "triggered" if manual else "backfilled"
            yield from self._keep([(action, runs[0].task_name, None, after)], now, origin)
        return ids

    def _cancel(
        self, program: Program[Run | None], now: datetime, origin: Origin | None
    ) -> Program[Run | None]:
        run = yield from program
        if run is not None and run.status in (Status.PENDING, Status.RUNNING) and origin:
            before = {"run_id": run.id, "status": run.status.value}
            yield from self._keep([("run-cancelled", run.task_name, before, None)], now, origin)
        return run

    def _keep(
        self,
        rows: Sequence[tuple[str, str, dict[str, Any] | None, dict[str, Any] | None]],
        now: datetime,
        origin: Origin | None,
    ) -> Program[None]:
        if not rows:
            return
        actor = None if origin is None else origin.actor
        yield Statement(
            f"INSERT INTO {self.audit_rows} (time, actor, action, task, before, after) "
            "VALUES :rows",
            [
                (text(now), actor, action, task, _dumped(before), _dumped(after))
                for action, task, before, after in rows
            ],
            many=True,
        )
        yield Statement(
            f"DELETE FROM {self.audit_rows} "
            f"WHERE id <= (SELECT max(id) FROM {self.audit_rows}) - {KEPT}"
        )


def _action(old: TaskRecord | None, new: TaskRecord) -> str:
    if old is None:
        return "created"
    pause = {"enabled": None, "paused_note": None}
    if {**_definition(old), **pause} == {**_definition(new), **pause}:
        return "enabled" if new.enabled else "disabled"
    return "updated"


def _definition(record: TaskRecord) -> dict[str, Any]:
    """What people decide of a task, as JSON data."""
    return {
        "handler": record.handler,
        "schedule": _short(_read(record.schedule_config)),
        "timezone": record.timezone,
        "config": _short(masked(_read(record.config))),
        "overlap": record.overlap_policy,
        "retry_max": record.retry_max,
        "retry_backoff": record.retry_backoff,
        "policies": _short(_read(record.policies)),
        "group": record.task_group,
        "priority": record.priority,
        "enabled": record.enabled,
        "paused_note": record.paused_note,
    }


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _short(value: Any) -> Any:
    length = len(dump_json(value))
    return value if length <= LONGEST else f"({length} characters)"


def _dumped(value: dict[str, Any] | None) -> str | None:
    return None if value is None else dump_json(value)


def _loaded(value: str | None) -> dict[str, Any] | None:
    found: dict[str, Any] | None = None if value is None else json.loads(value)
    return found
