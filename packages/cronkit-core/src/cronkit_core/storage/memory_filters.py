"""Which rows of the memory storage fit a query."""

from __future__ import annotations

from datetime import datetime
from string import ascii_lowercase, ascii_uppercase

from ..runs import Run
from ..tasks import TaskRecord
from .base import RunQuery, TaskQuery


def task_fits(record: TaskRecord, query: TaskQuery) -> bool:
    needle = _lower(query.search or "")
    return (
        (query.after is None or record.name > query.after)
        and (needle in _lower(record.name) or needle in _lower(record.handler))
        and query.handler in (None, record.handler)
        and query.enabled in (None, record.enabled)
        and query.last_status in (None, record.last_status)
    )


def _lower(text: str) -> str:
    """In lower case the ASCII letters alone, as SQL has it."""
    return text.translate(_LOWER)


_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def place(record: TaskRecord) -> tuple[object, ...]:
    """What decides where a task stands among those that are due."""
    return (record.next_run_at, record.priority, record.enabled, record.broken)


def ended_before(run: Run, instant: datetime | None) -> bool:
    return instant is not None and run.finished_at is not None and run.finished_at < instant


def run_fits(run: Run, query: RunQuery) -> bool:
    return (
        query.task_name in (None, run.task_name)
        and (query.statuses is None or run.status in query.statuses)
        and (query.before_id is None or run.id < query.before_id)
        and (query.since is None or run.slot >= query.since)
        and (query.until is None or run.slot <= query.until)
    )
