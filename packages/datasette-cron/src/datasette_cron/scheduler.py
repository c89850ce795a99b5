"""`datasette._cron_scheduler`: the core's scheduler on Datasette's internal database, with handlers
that are called as `(datasette, config)`."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import cronkit_core
from cronkit_core import changes
from cronkit_core.changes import Definition
from cronkit_core.clock import Clock
from cronkit_core.context import ActiveRun
from cronkit_core.definition import decode_leniently
from cronkit_core.errors import Conflict, CronkitError, TaskNotFound
from cronkit_core.executor import Handler, is_async
from cronkit_core.schedules.base import instant
from cronkit_core.storage.base import TaskWrite
from cronkit_core.storage.sqlite_rows import text
from cronkit_core.tasks import Task, TaskRecord

from .events import forward_events
from .internal_db import InternalDB
from .storage import InternalStorage

if TYPE_CHECKING:
    from datasette.app import Datasette

logger = logging.getLogger("datasette_cron")

SHUTDOWN_GRACE = 5.0


class TaskExists(CronkitError, ValueError):
    """A task that is to be created has the name of one that exists."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Task already exists: {name}: update it, or choose another name")
        self.name = name


class TaskChanged(Conflict):
    """A task is not any more what whoever changes it has seen."""

    def __init__(self, name: str) -> None:
        super().__init__(f"task {name!r} was changed meanwhile: look at it, and try again")


def version(task: TaskRecord) -> str:
    """What tells one state of the task's definition from another: an ETag of HTTP."""
    return f'"{text(task.updated_at)}"'


class Scheduler(cronkit_core.Scheduler):
    """Runs the tasks in the internal database of `datasette`, for as long as it is started.

    Handlers are sync (then in a thread) or async functions of `(datasette, config)`, `config`
    being a dict of their own. All else is as in the core: `add_task`, `update_task`,
    `remove_task`, `trigger_task`, `enable_task`, `disable_task`, `backfill`, `cancel_run`, ...
    """

    handler_arguments = ("datasette", "config")

    def __init__(
        self,
        datasette: Datasette,
        *,
        clock: Clock | None = None,
        shutdown_grace: float = SHUTDOWN_GRACE,
        **settings: Any,
    ) -> None:
        self.internal_storage = InternalStorage(datasette.get_internal_database(), clock)
        super().__init__(
            self.internal_storage, clock=clock, shutdown_grace=shutdown_grace, **settings
        )
        self.datasette = datasette
        self.internal_db = InternalDB(self)
        self._full_names: dict[str, str] = {}
        """The full names of the handlers, by their bare ones."""
        forward_events(self)

    # --- handlers

    def register_handlers(
        self, plugin_name: str, handlers: Mapping[str, Callable[..., Any]]
    ) -> None:
        """Let tasks name these handlers, as "plugin_name:name" and as "name".

        Where two plugins use one bare name, it stays with the first. One that is no function is
        left out, with an error in the log.
        """
        for name, handler in handlers.items():
            full_name = f"{plugin_name}:{name}"
            try:
                self.register_handler(full_name, handler)
            except ValueError as error:
                logger.error("plugin %r: %s", plugin_name, error)  # noqa: TRY400
                continue
            first = self._full_names.setdefault(name, full_name)
            if first != full_name:
                logger.warning(
                    "the handler name %r stays with %r: name the other one %r",
                    name,
                    first,
                    full_name,
                )

    def get_handler(self, name: str) -> Callable[..., Any] | None:
        """The function that was registered under that name, full or bare, or None."""
        return super().get_handler(name) or super().get_handler(self._full_names.get(name, ""))

    def resolve(self, name: str) -> Handler:
        handler: Callable[..., Any] = super().resolve(name)
        datasette = self.datasette

        async def call_async(run: ActiveRun) -> Any:
            return await handler(datasette, _own_config(run))

        def call(run: ActiveRun) -> Any:
            return handler(datasette, _own_config(run))

        return call_async if is_async(handler) else call

    # --- lifecycle

    async def serve(self) -> None:
        """Run tasks until `shutdown`; when this is cancelled, shut down."""
        self.start()
        assert self._work is not None
        try:
            await asyncio.shield(self._work)
        except asyncio.CancelledError:
            await self.stop(0)
            raise

    async def shutdown(self) -> None:
        """Claim nothing more, give running handlers some seconds to end, and cancel the rest."""
        await self.stop()

    # --- tasks

    async def create_task(
        self, wish: Definition, *, enabled: bool = True, by: str | None = None
    ) -> Task:
        """Create the task. Raises TaskExists where there is one of that name."""
        now = self.clock.now()

        def write(name: str, old: TaskRecord | None) -> TaskWrite:
            if old is not None:
                raise TaskExists(name)
            made = changes.save(None, wish, now, keep_earlier=False)
            assert made is not None
            paused = None if enabled else changes.disable(made.record, now, None, by)
            return made if paused is None else replace(paused, drop_pending=None)

        await self.open()
        saved = await self._save([wish.name], write)
        self.wake()
        return decode_leniently(saved[wish.name])

    async def change_task(
        self,
        name: str,
        changed: Mapping[str, Any],
        *,
        approved: Definition | None = None,
        versions: Collection[str] | None = None,
        enabled: bool | None = None,
        by: str | None = None,
    ) -> Task:
        """`update_task`, all in one write.

        With `versions`, raises TaskChanged when the task has none of these. With `approved`, raises
        Conflict when the task would get another handler or config than it has there.
        Raises TaskNotFound, InvalidTask and InvalidSchedule.
        """
        now = self.clock.now()

        def write(name: str, old: TaskRecord | None) -> TaskWrite | None:
            if old is None:
                raise TaskNotFound(name)
            if versions is not None and version(old) not in versions:
                raise TaskChanged(name)
            wish = changes.redefine(old, changed) if changed else None
            asked = approved and (approved.handler, approved.config)
            if wish and asked and asked != (wish.handler, wish.config):
                raise Conflict(f"task {name!r} was changed meanwhile: look at it, and try again")
            return changes.change(old, wish, now, enabled=enabled, by=by)

        await self.open()
        saved = await self._save([name], write)
        self.wake()
        return decode_leniently(saved[name])

    async def move_task(self, name: str, next_run_at: datetime) -> None:
        """Have the task run at `next_run_at` next, and by its schedule after that.

        Raises TaskNotFound.
        """
        at = instant(next_run_at, "next_run_at")

        def write(name: str, old: TaskRecord | None) -> TaskWrite:
            if old is None:
                raise TaskNotFound(name)
            return changes.move(old, self.clock.now(), at)

        await self.open()
        await self._save([name], write)
        self.wake()


def _own_config(run: ActiveRun) -> dict[str, Any]:
    # Runs of one claim share what was decoded; a handler may do with its config as it likes.
    return copy.deepcopy(dict(run.config))
