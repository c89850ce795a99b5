"""A Datasette whose scheduler runs what the tests of the built-in handlers ask it to.

The fixtures here are for tests that import them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from adapter_kit import EVERYBODY
from datasette.app import Datasette

from cronkit_core.runs import Run
from datasette_cron.scheduler import Scheduler

ROOT = {"id": "root"}
ANA = {"id": "ana"}


class Site:
    """A Datasette with the database `notes`, and a scheduler that runs what it is asked to."""

    def __init__(self, directory: Path, **section: Any) -> None:
        self.directory = directory
        self.path = directory / "notes.db"
        with sqlite3.connect(self.path) as conn:
            conn.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT)")
        conn.close()
        fixed = directory / "fixed.db"
        fixed.write_bytes(self.path.read_bytes())
        self.datasette = Datasette(
            [str(self.path)],
            immutables=[str(fixed)],
            memory=True,
            internal=str(directory / "internal.db"),
            config={
                **EVERYBODY,
                "plugins": {"datasette-cron": section},
                "databases": {
                    "notes": {
                        "permissions": {"execute-write-sql": {"id": ["ana", "root"]}},
                        "tables": {
                            "notes": {
                                "permissions": {
                                    "insert-row": {"id": ["ana", "root"]},
                                    "update-row": {"id": ["ana", "root"]},
                                    "delete-row": {"id": ["ana", "root"]},
                                }
                            }
                        },
                        "queries": {
                            "add": {
                                "sql": "insert into notes (text) values (:text)",
                                "write": True,
                            },
                            "stamp": {
                                "sql": "insert into notes (text) values (:_now_date_utc)",
                                "write": True,
                            },
                            "mine": {
                                "sql": "insert into notes (text) values (:_actor_id)",
                                "write": True,
                            },
                            "read": {"sql": "select * from notes"},
                        },
                    }
                },
            },
        )
        self.datasette.root_enabled = True

    @property
    def scheduler(self) -> Scheduler:
        scheduler: Scheduler = self.datasette._cron_scheduler
        return scheduler

    async def run(self, handler: str, config: dict[str, Any], **options: Any) -> Run:
        """The only run of a new task with that handler and config."""
        options.setdefault("schedule", "0 3 * * *")
        await self.scheduler.add_task(name="t", handler=handler, config=config, **options)
        run_id = await self.scheduler.trigger_task("t")
        return await self.scheduler.wait_for_run(run_id)

    async def output(self, handler: str, config: dict[str, Any]) -> Any:
        run = await self.run(handler, config)
        assert run.error_message is None, run.error_traceback
        return json.loads(run.output or "null")

    def rows(self, sql: str = "SELECT text FROM notes ORDER BY id") -> list[Any]:
        conn = sqlite3.connect(self.path)
        try:
            return [row[0] for row in conn.execute(sql)]
        finally:
            conn.close()


Make = Callable[..., Awaitable[Site]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes a Site whose scheduler is started; its arguments are the plugin's configuration."""
    sites: list[Site] = []

    async def make(**section: Any) -> Site:
        site = Site(tmp_path, **section)
        sites.append(site)
        await site.datasette.invoke_startup()
        site.scheduler.start()
        return site

    yield make
    for site in sites:
        await site.datasette.invoke_shutdown()


@pytest.fixture
async def site(make: Make) -> Site:
    return await make()
