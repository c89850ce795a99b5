"""`datasette cron`: scheduled tasks on the command line.

Most commands work on the file of an internal database, whether a server uses it or not. Exit codes:
0 for an answer, 1 for bad news (a run failed, a schedule has warnings or no slots), 2 for bad input.
"""

from __future__ import annotations

import asyncio
import functools
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from datasette.app import Datasette
from datasette.utils import StartupError, parse_metadata
from datasette.utils.asgi import BadRequest

import cronkit_core
from cronkit_core.clock import SystemClock
from cronkit_core.errors import CronkitError, TaskNotFound
from cronkit_core.executor import Handler
from cronkit_core.schedules import Schedule, Warning, lint, parse_schedule
from cronkit_core.storage.base import TaskQuery
from cronkit_core.storage.sqlite import SQLiteStorage

from .cli_output import (
    BAD_NEWS,
    OK,
    Answer,
    Refused,
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
from .config import read_config
from .migrations import PREFIX
from .reconcile import configured
from .run_due import run_due

BY = "the command line"
SHOWN_RUNS = 5
SERVE_OPTIONS = (
    "files immutable sqlite_extensions metadata plugins_dir memory config settings secret create "
    "crossdb nolock internal"
).split()
"""The options of `datasette serve` that are those of `run-due`, too."""


class Offline(cronkit_core.Scheduler):
    """A scheduler that is never started, on the file of an internal database."""

    def __init__(self, path: str) -> None:
        self.file = SQLiteStorage(path, prefix=PREFIX)
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

            async def answer(path: str = internal) -> Answer:
                _check_file(path)
                async with closing_storage(Offline(path)) as scheduler:
                    return await function(scheduler, *values, **options)

            _run(answer).print(as_json=as_json)

        return command

    return declare


class closing_storage:  # noqa: N801  # a context manager is named like a function
    """Opens the storage of a scheduler that is not started, and closes it."""

    def __init__(self, scheduler: Offline) -> None:
        self._scheduler = scheduler

    async def __aenter__(self) -> Offline:
        await self._scheduler.open()
        return self._scheduler

    async def __aexit__(self, *error: object) -> None:
        await self._scheduler.stop()


def _run(answer: Callable[[], Awaitable[Answer]]) -> Answer:
    try:
        return asyncio.run(answer())  # type: ignore[arg-type]  # a coroutine
    except CronkitError as error:
        raise Refused(str(error)) from None


def _check_file(path: str) -> None:
    """Raises Refused where there is nothing of ours at `path`, for opening it would put it there."""
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
