"""What the queries of `internal_db` return: tasks and runs as plain values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from cronkit_core.runs import Run
from cronkit_core.storage.sqlite_rows import optional_text, text
from cronkit_core.tasks import TaskRecord


@dataclass
class CronTask:
    """A task.

    Timestamps are ISO 8601 text in UTC with six decimals and `+00:00`: the order of such texts is
    the order of the instants.
    """

    name: str
    handler: str
    config: dict[str, Any]
    """What the handler is called with; empty when what is stored cannot be read."""
    schedule_type: str
    """ "interval", "cron" or "rrule", or another kind of `cronkit_core.Schedule`."""
    schedule_config: str
    """The schedule as JSON text."""
    timezone: str | None
    overlap_policy: str
    retry_max: int
    retry_backoff: str
    enabled: bool
    next_run_at: str | None
    """None when the schedule is over. A disabled task keeps the time that it had."""
    last_run_at: str | None
    """When the last run ended, None before the first."""
    last_status: Literal["success", "error"] | None
    created_at: str
    updated_at: str


@dataclass
class CronRun:
    """One attempt of a task. Timestamps are as those of CronTask."""

    id: int
    task_name: str
    started_at: str
    """For a run that was cancelled before it started: when that was."""
    finished_at: str | None
    status: Literal["running", "success", "error"]
    error_message: str | None
    attempt: int
    """1 for the first try of a slot."""
    duration_ms: int | None


def cron_task(record: TaskRecord) -> CronTask:
    """The task in `record`."""
    return CronTask(
        name=record.name,
        handler=record.handler,
        config=_config(record.config),
        schedule_type=record.schedule_type,
        schedule_config=record.schedule_config,
        timezone=record.timezone,
        overlap_policy=record.overlap_policy,
        retry_max=record.retry_max,
        retry_backoff=record.retry_backoff,
        enabled=record.enabled,
        next_run_at=optional_text(record.next_run_at),
        last_run_at=optional_text(record.last_run_at),
        last_status=record.last_status,  # type: ignore[arg-type]  # the table allows no other
        created_at=text(record.created_at),
        updated_at=text(record.updated_at),
    )


def cron_run(run: Run) -> CronRun:
    """`run`, which is not a pending one."""
    started: datetime | None = run.started_at or run.finished_at
    assert started is not None, f"run {run.id} is pending"
    return CronRun(
        id=run.id,
        task_name=run.task_name,
        started_at=text(started),
        finished_at=optional_text(run.finished_at),
        status=run.status.value,  # type: ignore[arg-type]  # not "pending"
        error_message=run.error_message,
        attempt=run.attempt,
        duration_ms=run.duration_ms,
    )


def _config(text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}
