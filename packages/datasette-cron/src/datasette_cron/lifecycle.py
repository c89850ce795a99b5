"""How the scheduler begins and ends with its Datasette."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from datasette.utils import StartupError
from datasette.utils.sqlite import sqlite3

from cronkit_core.clock import SystemClock
from cronkit_core.errors import StorageTooNew

from .builtin import register_builtin
from .config import place, read_config
from .handlers import collect_handlers
from .reconcile import apply_config
from .scheduler import Scheduler
from .storage import prepare
from .telemetry import begin_trace

if TYPE_CHECKING:
    from datasette.app import Datasette

logger = logging.getLogger("datasette_cron")


async def prepare_database(datasette: Datasette) -> None:
    """Make the internal database fit for us, before Datasette writes to it. Raises StartupError
    where it is read-only: Datasette itself does not start on such a one."""
    database = datasette.get_internal_database()
    try:
        await prepare(database)
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise
        raise StartupError(
            f"the internal database {database.path} is read-only: let the user that runs Datasette "
            "write to the file and its folder, or name another file with --internal"
        ) from error


def make_scheduler(datasette: Datasette) -> None:
    """Make `datasette._cron_scheduler`, with the settings in datasette.yaml. Raises StartupError
    for those that make no sense."""
    options: dict[str, Any] = getattr(datasette, "_cron_options", {})  # what tests want
    clock = options.get("clock") or SystemClock()
    datasette._cron_config = read_config(datasette, clock.now())
    settings = {**datasette._cron_config.settings, **options}
    datasette._cron_scheduler = Scheduler(datasette, **settings)


async def start(datasette: Datasette) -> None:
    """Make the scheduler usable by the startup hooks of other plugins. Its loop begins after all
    of them, with the server."""
    scheduler: Scheduler = datasette._cron_scheduler
    try:
        await scheduler.open()
    except StorageTooNew as error:
        raise StartupError(str(error)) from error
    register_builtin(scheduler, datasette._cron_config)
    await collect_handlers(scheduler)
    if datasette.get_internal_database().is_temp_disk:
        logger.warning(
            "the internal database is a temporary file, so scheduled tasks and their history will "
            "not survive a restart: start Datasette with --internal internal.db"
        )
    if datasette._cron_config.scheduler:
        datasette.add_background_task(serve, name="datasette-cron")
    else:
        logger.warning(
            "the scheduler is off here (%s): tasks run only in other processes that share the "
            "internal database",
            place("scheduler"),
        )


async def configure(datasette: Datasette) -> None:
    """Make the tasks of datasette.yaml, once the startup hooks of all plugins are done."""
    if datasette._cron_config.scheduler:
        await apply_config(datasette._cron_scheduler, datasette._cron_config)


async def serve(datasette: Datasette) -> None:
    """The background task: run tasks until `stop`."""
    begin_trace()
    await datasette._cron_scheduler.serve()


async def stop(datasette: Datasette) -> None:
    """End the loop while the databases are open, so that what runs can be recorded."""
    scheduler: Scheduler | None = getattr(datasette, "_cron_scheduler", None)
    if scheduler is not None:
        await scheduler.shutdown()
