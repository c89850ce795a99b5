"""How the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import click

from cronkit_core.errors import CronkitError
from cronkit_core.preview import UpcomingSlot
from cronkit_core.runs import Run
from cronkit_core.schedules.linting import Warning as LintWarning
from cronkit_core.storage.sqlite_rows import optional_text, text
from cronkit_core.tasks import Task

from .models import cron_task

OK, BAD_NEWS, BAD_INPUT = 0, 1, 2
LONGEST_CELL = 60


class Refused(click.ClickException):
    """Input that makes no sense."""

    exit_code = BAD_INPUT


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say."""

    data: Any
    lines: Sequence[str]
    code: int = OK

    def print(self, *, as_json: bool) -> None:
        """Print it, and end with its exit code."""
        if as_json:
            click.echo(json.dumps(self.data, indent=2))
        else:
            for line in self.lines:
                click.echo(line)
        raise click.exceptions.Exit(self.code)


def answered(answer: Coroutine[Any, Any, Answer]) -> Answer:
    """What `answer` answers. Raises Refused for what the scheduler says makes no sense."""
    try:
        return asyncio.run(answer)
    except CronkitError as error:
        raise Refused(str(error)) from None


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table; its last column may be of any width."""
    cells = [titles, *(tuple(map(_cell, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def fields(rows: Iterable[tuple[str, object]]) -> list[str]:
    """The lines of a list of names and values."""
    return [f"{name + ':':<13}{printable(str(value))}" for name, value in rows if value is not None]


def printable(value: str) -> str:
    """`value` in one line, without what would control a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)


def _cell(value: object) -> str:
    said = "" if value is None else printable(str(value))
    return said if len(said) <= LONGEST_CELL else f"{said[: LONGEST_CELL - 3]}..."


def moment(at: datetime | None) -> str | None:
    """`at` as tables show it: UTC, to the second."""
    return None if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


# --- tasks -----------------------------------------------------------------------------------


def description(task: Task) -> str:
    """The schedule of `task` in plain English, or why there is none."""
    return f"broken: {task.broken}" if task.schedule is None else task.schedule.describe()


def state(task: Task) -> str:
    """Whether `task` runs."""
    if task.broken is not None:
        return "broken"
    return "enabled" if task.enabled else "disabled"


def task_data(task: Task) -> dict[str, Any]:
    """`task` as JSON data."""
    return {**asdict(cron_task(task.record)), "schedule_description": description(task)}


def task_table(tasks: Iterable[Task]) -> list[str]:
    titles = ("TASK", "STATE", "NEXT RUN (UTC)", "LAST RUN (UTC)", "STATUS", "SCHEDULE")
    return table(
        titles,
        (
            (
                task.name,
                state(task),
                moment(task.next_run_at) if task.enabled else None,
                moment(task.last_run_at),
                task.last_status,
                description(task),
            )
            for task in tasks
        ),
    )


# --- runs ------------------------------------------------------------------------------------


def run_data(run: Run) -> dict[str, Any]:
    """`run` as JSON data."""
    return {
        "id": run.id,
        "task_name": run.task_name,
        "status": run.status.value,
        "attempt": run.attempt,
        "triggered_by": run.triggered_by.value,
        "slot": text(run.slot),
        "started_at": optional_text(run.started_at),
        "finished_at": optional_text(run.finished_at),
        "duration_ms": run.duration_ms,
        "reason": None if run.reason is None else run.reason.value,
        "error_message": run.error_message,
        "output": None if run.output is None else json.loads(run.output),
    }


def run_table(runs: Iterable[Run]) -> list[str]:
    titles = ("RUN", "TASK", "SLOT (UTC)", "STARTED (UTC)", "STATUS", "ATTEMPT", "MS", "ERROR")
    return table(
        titles,
        (
            (
                run.id,
                run.task_name,
                moment(run.slot),
                moment(run.started_at),
                run.status.value,
                run.attempt,
                run.duration_ms,
                run.error_message,
            )
            for run in runs
        ),
    )


# --- slots and warnings ----------------------------------------------------------------------


def slot_data(slot: UpcomingSlot) -> dict[str, Any]:
    """`slot` as JSON data."""
    return {
        "slot": text(slot.slot),
        "run_at": text(slot.run_at),
        "local": slot.local.isoformat(),
        "note": slot.note,
    }


def slot_table(slots: Iterable[UpcomingSlot], zone: str | None) -> list[str]:
    titles = ("SLOT (UTC)", f"LOCAL ({zone or 'UTC'})", "NOTE")
    return table(
        titles, ((moment(s.slot), f"{s.local:%a %Y-%m-%d %H:%M:%S %z}", s.note) for s in slots)
    )


def warning_data(warning: LintWarning) -> dict[str, str]:
    """`warning` as JSON data."""
    return {
        "code": warning.code,
        "message": warning.message,
        "suggestion": warning.suggestion,
    }
