"""When the loop begins and ends, with hosts of every kind, in this process."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from datasette.app import Datasette
from datasette.utils import StartupError

import cronkit_core
from datasette_cron.scheduler import Scheduler

WRITE_VERSION = 18
"""Where the header of an SQLite file says what a writer has to know (the file format, 1.3.3)."""


async def add_soon(datasette: Datasette) -> asyncio.Event:
    """A task that is due at once; the event is set when a run of it was recorded."""
    scheduler: Scheduler = datasette._cron_scheduler
    recorded = asyncio.Event()
    scheduler.on(cronkit_core.RunSucceeded, lambda event: recorded.set())
    scheduler.register_handlers("test", {"ok": lambda datasette, config: None})
    await scheduler.add_task(name="t", handler="test:ok", schedule={"interval": 3600})
    await scheduler.internal_db.update_next_run("t", "2026-01-01T00:00:00")
    return recorded


async def is_running(datasette: Datasette) -> bool:
    return (await datasette._cron_scheduler.status()).running


async def test_startup_alone_runs_nothing(make_datasette: Any) -> None:
    datasette = await make_datasette()
    assert not await is_running(datasette)
    assert [task.name for task in datasette._background_tasks.tasks()] == ["datasette-cron"]


async def test_background_tasks_by_hand(make_datasette: Any) -> None:
    datasette = await make_datasette()
    recorded = await add_soon(datasette)
    await datasette.start_background_tasks()
    await recorded.wait()
    await datasette.invoke_shutdown()


async def test_the_first_request_where_there_is_no_lifespan(make_datasette: Any) -> None:
    datasette = await make_datasette()
    recorded = await add_soon(datasette)
    assert (await datasette.client.get("/-/versions.json")).status_code == 200
    await recorded.wait()


async def test_shutdown_ends_the_loop_before_the_databases_close(make_datasette: Any) -> None:
    datasette = await make_datasette()
    scheduler: Scheduler = datasette._cron_scheduler
    entered = asyncio.Event()

    async def hang(datasette: Datasette, config: dict[str, Any]) -> None:
        entered.set()
        await asyncio.Event().wait()

    scheduler.register_handlers("test", {"hang": hang})
    scheduler.shutdown_grace = 0.01
    await scheduler.add_task(name="t", handler="test:hang", schedule={"interval": 3600})
    await datasette.start_background_tasks()
    await scheduler.trigger_task("t")
    await entered.wait()
    path = datasette.get_internal_database().path
    await datasette.invoke_shutdown()
    [task] = datasette._background_tasks.tasks()
    assert task.task.done()
    again = await make_datasette(internal=path)
    [run] = await again._cron_scheduler.internal_db.get_runs("t")
    assert run.error_message == "interrupted: the scheduler was stopped"


async def test_a_background_task_that_is_cancelled_ends_the_loop(make_datasette: Any) -> None:
    datasette = await make_datasette()
    recorded = await add_soon(datasette)
    await datasette.start_background_tasks()
    await recorded.wait()
    [task] = datasette._background_tasks.tasks()
    task.cancel()
    await asyncio.wait([task.task], timeout=5)
    assert task.state == "cancelled"
    assert not await is_running(datasette)


async def test_a_read_only_internal_database_is_named_at_the_start(
    internal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Root writes to any file; but nobody to one in a format that is newer for writers alone.
    with closing(sqlite3.connect(internal)) as connection:
        connection.execute("CREATE TABLE t (a)")
    with internal.open("r+b") as file:
        file.seek(WRITE_VERSION)
        file.write(b"\x03")
    datasette = Datasette(memory=True, internal=str(internal))
    with pytest.raises(StartupError) as caught:
        await datasette.invoke_startup()
    await datasette.invoke_shutdown()
    assert str(caught.value).startswith(f"the internal database {internal} is read-only: let the ")
    assert "--internal" in str(caught.value)
    assert caplog.messages == []


async def test_shutdown_without_startup() -> None:
    await Datasette(memory=True).invoke_shutdown()


@pytest.mark.parametrize("threads", [0, 1, 3])
async def test_any_number_of_sql_threads(make_datasette: Any, threads: int) -> None:
    datasette = await make_datasette(settings={"num_sql_threads": threads})
    recorded = await add_soon(datasette)
    await datasette.start_background_tasks()
    await recorded.wait()
    await datasette.invoke_shutdown()


async def test_a_write_that_fails_leaves_no_transaction(
    make_datasette: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    datasette = await make_datasette()
    recorded = await add_soon(datasette)
    database = datasette.get_internal_database()

    def leave_open(conn: Any) -> None:
        conn.execute("BEGIN IMMEDIATE")

    # Another plugin's mistake: the next write fails, and the one after it works again.
    await database.execute_write_fn(leave_open, transaction=False)
    with pytest.raises(cronkit_core.StorageError, match="within a transaction"):
        await datasette._cron_scheduler.disable_task("t")
    await datasette.start_background_tasks()
    await recorded.wait()
    await datasette.invoke_shutdown()
    assert "within a transaction" in capsys.readouterr().err
