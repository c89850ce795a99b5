"""How the scheduler begins and ends with its Datasette."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from datasette.utils import StartupError

from cronkit_core.errors import StorageTooNew

from .handlers import collect_handlers
from .scheduler import Scheduler
from .storage import prepare

if TYPE_CHECKING:
    from datasette.app import Datasette

logger = logging.getLogger("datasette_cron")


async def prepare_database(datasette: Datasette) -> None:
    """Make the internal database fit for us, before Datasette writes to it."""
    await prepare(datasette.get_internal_database())


async def start(datasette: Datasette) -> None:
    """Make the scheduler usable by the startup hooks of other plugins. Its loop begins after all
    of them, with the server."""
    scheduler: Scheduler = datasette._cron_scheduler
    try:
        await scheduler.open()
    except StorageTooNew as error:
        raise StartupError(str(error)) from error
    await collect_handlers(scheduler)
    if datasette.get_internal_database().is_temp_disk:
        logger.warning(
            "the internal database is a temporary file, so scheduled tasks and their history will "
            "not survive a restart: start Datasette with --internal internal.db"
        )
    datasette.add_background_task(serve, name="datasette-cron")


async def serve(datasette: Datasette) -> None:
    """The background task: run tasks until `stop`."""
    await datasette._cron_scheduler.serve()


async def stop(datasette: Datasette) -> None:
    """End the loop while the databases are open, so that what runs can be recorded."""
    scheduler: Scheduler | None = getattr(datasette, "_cron_scheduler", None)
    if scheduler is not None:
        await scheduler.shutdown()
