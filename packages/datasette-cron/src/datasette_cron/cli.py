"""`datasette cron`: scheduled tasks on the command line.

Most commands work on the file of an internal database, whether a server uses it or not. Exit codes
are 0 for an answer, 1 for bad news (a run failed, a schedule has warnings or no slots), and 2 for
bad input.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from datasette.app import Datasette
from datasette.utils import BadMetadataError, StartupError, parse_metadata

import cronkit_core
from cronkit_core.changes import anchor_of
from cronkit_core.clock import SystemClock
from cronkit_core.executor import Handler
from cronkit_core.schedules import Schedule, lint, parse_schedule
from cronkit_core.schedules.linting import Warning as LintWarning
from cronkit_core.storage.base import TaskQuery
from cronkit_core.storage.sqlite import SQLiteStorage

from .audit import AuditedPrograms, requested_by
from .cli_output import (
    BAD_NEWS,
    OK,
    Answer,
    Refused,
    answered,
    description,
    fields,
    moment,
    printable,
    run_data,
    run_table,
    slot_data,
    slot_table,
    state,
    table,
    task_data,
    task_table,
    warning_data,
)
from .cli_run_due import run_due_command
from .config import read_config
from .migrations import PREFIX
from .reconcile import configured

BY = "the command line"
SHOWN_RUNS = 5


class Offline(cronkit_core.Scheduler):
    """A scheduler that is never started, on the file of an internal database."""

    def __init__(self, path: str) -> None:
        self.file = SQLiteStorage(path, prefix=PREFIX)
        self.file.programs = AuditedPrograms(PREFIX)
        super().__init__(self.file)

    def resolve(self, name: str) -> Handler:
        """Which handlers there are is known where tasks run."""
        return lambda run: None


Command = Callable[..., Awaitable[Answer]]


@click.group()
def cron() -> None:
    """Scheduled tasks: what there is, what ran, what is next.

    INTERNAL is the file of Datasette's internal database, which `datasette serve` is given as
    --internal. Instead of as an argument it can be given as an option, or in the environment as
    DATASETTE_INTERNAL.
    """


def on_database(*names: str, optional: bool = False) -> Callable[[Command], click.Command]:
    """Make a command of a function of a scheduler and the arguments `names`; with `optional`, they
    may be left out."""

    def declare(function: Command) -> click.Command:
        wanted = "".join(f" [{name}]" if optional else f" {name}" for name in names)

        @cron.command(function.__name__.strip("_"))
        @click.argument("words", nargs=-1, metavar=f"[INTERNAL]{wanted}")
        @click.option(
            "--internal",
            type=click.Path(),
            envvar="DATASETTE_INTERNAL",
            help="File of the internal database, if it is no argument",
        )
        @click.option("--json", "as_json", is_flag=True, help="Print JSON")
        @functools.wraps(function)
        def command(
            words: tuple[str, ...], internal: str | None, as_json: bool, **options: Any
        ) -> None:
            values = list(words)
            if internal is None or len(values) > len(names):
                if not values:
                    raise click.UsageError("which internal database? Name its file, or --internal")
                internal = values.pop(0)
            if len(values) > len(names) or (len(values) < len(names) and not optional):
                raise click.UsageError(f"expected [INTERNAL]{wanted}, got {' '.join(words)!r:.80}")

            answered(_on(internal, function, values, options)).print(as_json=as_json)

        return command

    return declare


async def _on(
    path: str, function: Command, values: Sequence[str], options: Mapping[str, Any]
) -> Answer:
    _check_file(path)
    scheduler = Offline(path)
    try:
        await scheduler.open()
        with requested_by({"id": BY}):
            return await function(scheduler, *values, **options)
    finally:
        await scheduler.stop()


def _check_file(path: str) -> None:
    """Raises Refused where there is nothing of ours at `path`: opening it would put it there."""
    if not Path(path).is_file():
        raise Refused(f"{path}: no such file: name the one that datasette serves with --internal")
    try:
        with closing(sqlite3.connect(f"file:{Path(path).absolute()}?mode=ro", uri=True)) as conn:
            found = conn.execute(
                "SELECT name FROM sqlite_master WHERE name IN (?, ?)",
                (f"{PREFIX}tasks", f"{PREFIX}schema"),
            ).fetchall()
    except sqlite3.Error as error:
        raise Refused(f"{path}: {error}") from None
    if not found:
        raise Refused(f"{path}: it holds no scheduled tasks: has a Datasette used it?")
    if len(found) == 1:
        raise Refused(
            f"{path}: datasette-cron 0.0.1a2 wrote it: start a Datasette on it to take it over"
        )


# --- tasks -----------------------------------------------------------------------------------


@on_database()
async def _list(scheduler: Offline) -> Answer:
    """All tasks."""
    tasks = await scheduler.tasks()
    lines = task_table(tasks) if tasks else ["There are no tasks."]
    return Answer([task_data(task) for task in tasks], lines)


@on_database("TASK")
async def _show(scheduler: Offline, name: str) -> Answer:
    """A task, its newest runs and its next slots."""
    task = await scheduler.get_task(name)
    runs = await scheduler.runs(name, limit=SHOWN_RUNS)
    slots = await scheduler.preview(name, SHOWN_RUNS)
    made_by = "datasette.yaml" if name in await configured(scheduler.file) else None
    record = task.record
    data = {
        **task_data(task),
        "made_by": made_by,
        "runs": [run_data(run) for run in runs],
        "upcoming": [slot_data(slot) for slot in slots],
    }
    lines = fields(
        [
            ("task", name),
            ("state", state(task)),
            ("paused by", record.paused_by),
            ("note", record.paused_note),
            ("schedule", description(task)),
            ("time zone", task.timezone or "UTC"),
            ("handler", task.handler),
            ("config", record.config),
            ("overlap", record.overlap_policy),
            ("retries", f"{record.retry_max}, {record.retry_backoff} backoff"),
            ("made by", made_by),
        ]
    )
    lines += ["", *slot_table(slots, task.timezone)] if slots and task.enabled else []
    lines += ["", *run_table(runs)] if runs else []
    return Answer(data, lines)


@click.option("-n", "count", type=click.IntRange(1, 10_000), default=20, help="How many")
@on_database("TASK", optional=True)
async def _runs(scheduler: Offline, name: str | None = None, *, count: int) -> Answer:
    """The newest runs of a task, or of all."""
    runs = await scheduler.runs(name, limit=count)
    if not runs and name is not None:
        await scheduler.get_task(name)  # a name with neither runs nor a task is a mistake
    return Answer(
        [run_data(run) for run in runs], run_table(runs) if runs else ["There are no runs."]
    )


@click.option("-n", "count", type=click.IntRange(1, 10_000), default=10, help="How many")
@on_database("TASK", optional=True)
async def _next(scheduler: Offline, name: str | None = None, *, count: int) -> Answer:
    """The next slots of a task, or which tasks run next."""
    if name is not None:
        slots = await scheduler.preview(name, count)
        task = await scheduler.get_task(name)
        lines = slot_table(slots, task.timezone) if slots else ["Its schedule is over."]
        return Answer([slot_data(slot) for slot in slots], lines, OK if slots else BAD_NEWS)
    coming = [
        (task.next_run_at, task)
        for task in await scheduler.tasks(TaskQuery(enabled=True, limit=None))
        if task.next_run_at is not None and task.broken is None
    ]
    coming = sorted(coming, key=lambda pair: pair[0])[:count]
    return Answer(
        [task_data(task) for _, task in coming],
        table(("NEXT RUN (UTC)", "TASK"), ((moment(at), task.name) for at, task in coming))
        if coming
        else ["No task is to run."],
        OK if coming else BAD_NEWS,
    )


@click.option("--config", metavar="JSON", help="A config for this run, instead of the task's")
@click.option("--force", is_flag=True, help="Even if the task is active")
@on_database("TASK")
async def _trigger(scheduler: Offline, name: str, *, config: str | None, force: bool) -> Answer:
    """Have a task run now, whatever its schedule says.

    The run is queued: a Datasette that runs on this database starts it within a second, or else
    the next one that does.
    """
    own = None if config is None else _json(config, "--config")
    run_id = await scheduler.trigger_task(name, config=own, force=force, by=BY)
    line = f"run {run_id} is queued: a running Datasette starts it within a second"
    return Answer({"task_name": name, "run_id": run_id}, [line])


@on_database("TASK")
async def _enable(scheduler: Offline, name: str) -> Answer:
    """Let a task go on."""
    await scheduler.enable_task(name)
    return Answer({"task_name": name, "enabled": True}, [f"{printable(name)} is enabled"])


@click.option("--note", help="Why")
@on_database("TASK")
async def _disable(scheduler: Offline, name: str, *, note: str | None) -> Answer:
    """Pause a task."""
    await scheduler.disable_task(name, note=note, by=BY)
    return Answer({"task_name": name, "enabled": False}, [f"{printable(name)} is disabled"])


# --- schedules -------------------------------------------------------------------------------


@cron.command("preview")
@click.argument("schedule")
@click.option("--tz", "--timezone", "timezone", metavar="ZONE", help="An IANA name; default: UTC")
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=5, help="How many slots")
@click.option("--json", "as_json", is_flag=True, help="Print JSON")
def _preview(schedule: str, timezone: str | None, count: int, as_json: bool) -> None:
    """What SCHEDULE means and when it is next: a cron expression, a duration, an RRULE, or JSON."""

    async def answer() -> Answer:
        spec = _json(schedule, "SCHEDULE") if schedule.lstrip().startswith("{") else schedule
        scheduler = cronkit_core.Scheduler()
        now = scheduler.clock.now()
        parsed = parse_schedule(spec, timezone, anchor=anchor_of(now))
        slots = await scheduler.preview(n=count, schedule=parsed)
        warnings = lint(parsed, after=now)
        data = {
            "schedule": parsed.to_dict(),
            "description": parsed.describe(),
            "warnings": [warning_data(warning) for warning in warnings],
            "slots": [slot_data(slot) for slot in slots],
        }
        lines = [parsed.describe(), *(f"warning: {w.message}" for w in warnings)]
        lines += ["", *slot_table(slots, parsed.timezone)] if slots else ["no slots"]
        return Answer(data, lines, OK if slots else BAD_NEWS)

    answered(answer()).print(as_json=as_json)


@cron.command("lint")
@click.argument("internal", required=False, type=click.Path())
@click.option("-c", "--config", type=click.File(), help="A datasette.yaml to check")
@click.option("--internal", "internal_option", type=click.Path(), envvar="DATASETTE_INTERNAL")
@click.option("--json", "as_json", is_flag=True, help="Print JSON")
def _lint(internal: str | None, config: Any, internal_option: str | None, as_json: bool) -> None:
    """What is probably not meant in the schedules of the tasks, or of those in a datasette.yaml.

    The mistakes in a datasette.yaml that would keep Datasette from starting are told too, as far as
    that needs neither plugins nor databases.
    """
    path = internal or internal_option
    if path is None and config is None:
        raise click.UsageError("what is to be checked? Name an internal database, or a --config")

    async def answer() -> Answer:
        schedules: list[tuple[str, Schedule]] = []
        if config is not None:
            schedules += _configured_schedules(config.read())
        if path is not None:
            schedules += await _stored_schedules(path)
        now = SystemClock().now()
        found = [(name, w) for name, schedule in schedules for w in lint(schedule, after=now)]
        return _warnings(found, len(schedules))

    answered(answer()).print(as_json=as_json)


def _configured_schedules(yaml: str) -> list[tuple[str, Schedule]]:
    now = SystemClock().now()
    try:
        config = parse_metadata(yaml)
        if not isinstance(config, dict) or not isinstance(config.get("plugins", {}), dict):
            raise Refused("the configuration and its plugins: keys and their values are wanted")
        with closing(Datasette(memory=True, config=config)) as datasette:
            tasks = read_config(datasette, now).tasks or {}
    except (StartupError, BadMetadataError) as error:
        raise Refused(str(error)) from None
    start = anchor_of(now)
    return [
        (name, parse_schedule(t.wish["schedule"], t.wish.get("timezone"), anchor=start, seed=name))
        for name, t in tasks.items()
    ]


async def _stored_schedules(path: str) -> list[tuple[str, Schedule]]:
    async def read(scheduler: Offline) -> Answer:
        return Answer(await scheduler.tasks(), [])

    tasks = (await _on(path, read, (), {})).data
    return [(task.name, task.schedule) for task in tasks if task.schedule is not None]


def _warnings(found: Sequence[tuple[str, LintWarning]], checked: int) -> Answer:
    lines = []
    for name, warning in found:
        lines += [f"{printable(name)}: {warning.message} ({warning.code})"]
        lines += [f"    {warning.suggestion}"]
    return Answer(
        [{"task_name": name, **warning_data(warning)} for name, warning in found],
        lines or [f"no warnings in {checked} schedules"],
        BAD_NEWS if found else OK,
    )


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"bad JSON in {what}: {error}") from None


def register(cli: click.Group) -> None:
    """Add the commands to those of Datasette."""
    cron.add_command(run_due_command(cli.commands["serve"]))
    cli.add_command(cron)
