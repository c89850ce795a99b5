"""Tasks, runs and skips as JSON data."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from cronkit_core.definition import dump_policies
from cronkit_core.runs import Run, Skip
from cronkit_core.storage.sqlite_rows import optional_text, text
from cronkit_core.tasks import Task

from .masking import masked
from .models import cron_task


def task_json(task: Task, *, secrets: bool) -> dict[str, Any]:
    """The task: the fields of CronTask, and what its schedule means. Without `secrets`, what looks
    like one in its config is masked."""
    data = {**asdict(cron_task(task.record)), "schedule_description": description(task)}
    return data if secrets else {**data, "config": masked(data["config"])}


def task_details(task: Task, *, secrets: bool) -> dict[str, Any]:
    """The task, and all else that there is to know about it."""
    record = task.record
    return {
        **task_json(task, secrets=secrets),
        "schedule": read_json(record.schedule_config),
        "policies": json.loads(dump_policies(task.policies)),
        "group": record.task_group,
        "priority": record.priority,
        "next_slot": optional_text(record.next_slot),
        "last_success_at": optional_text(record.last_success_at),
        "failures": record.failures,
        "runs_started": record.runs_started,
        "paused_at": optional_text(record.paused_at),
        "paused_by": record.paused_by,
        "paused_note": record.paused_note,
        "broken": task.broken,
    }


def description(task: Task) -> str:
    """The schedule of `task` in plain English, or why there is none."""
    if task.schedule is None:
        return f"broken: {task.broken}"
    return task.schedule.describe()


def run_json(run: Run) -> dict[str, Any]:
    """The run: the fields of CronRun, and what else is short."""
    return {
        "id": run.id,
        "task_name": run.task_name,
        "slot": text(run.slot),
        "attempt": run.attempt,
        "status": run.status.value,
        "triggered_by": run.triggered_by.value,
        "scheduled_for": text(run.scheduled_for),
        "due_at": optional_text(run.due_at),
        "started_at": optional_text(run.started_at),
        "finished_at": optional_text(run.finished_at),
        "duration_ms": run.duration_ms,
        "reason": None if run.reason is None else run.reason.value,
        "error_type": run.error_type,
        "error_message": run.error_message,
        "owner": run.owner,
        "cancel_requested_by": run.cancel_requested_by,
        "progress": None if run.progress is None else read_json(run.progress),
    }


def run_details(run: Run, *, secrets: bool) -> dict[str, Any]:
    """The run, with its traceback, log, output, and config of its own."""
    config = None if run.config is None else read_json(run.config)
    return {
        **run_json(run),
        "epoch": run.epoch,
        "lease_until": optional_text(run.lease_until),
        "error_traceback": run.error_traceback,
        "log": run.log,
        "output": None if run.output is None else read_json(run.output),
        "config": config if secrets else masked(config),
    }


def skip_json(skip: Skip) -> dict[str, Any]:
    """The slots that did not run, and why."""
    return {key: _plain(value) for key, value in asdict(skip).items()}


def read_json(value: str) -> Any:
    """What the JSON text `value` means; itself where it is none."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _plain(value: Any) -> Any:
    return text(value) if isinstance(value, datetime) else value
