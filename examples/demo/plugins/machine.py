"""A sample plugin: four tasks that measure this machine and keep house."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from datasette import hookimpl

from cronkit_core import current_run

SCHEMA = """
    CREATE TABLE IF NOT EXISTS measurements (
        at TEXT PRIMARY KEY,
        load_average REAL,
        memory_used_mb REAL,
        disk_used_gb REAL
    );
    CREATE TABLE IF NOT EXISTS minutes (
        minute TEXT PRIMARY KEY,
        measurements INTEGER,
        load_average REAL,
        memory_used_mb REAL,
        disk_used_gb REAL
    );
"""
KEPT = timedelta(hours=1)


@hookimpl
def startup(datasette):
    async def add_tasks():
        await datasette.get_database("demo").execute_write_script(SCHEMA)
        scheduler = datasette._cron_scheduler
        await scheduler.add_task(
            name="demo:measure", handler="machine:measure", schedule={"interval": 1}
        )
        await scheduler.add_task(
            name="demo:roll-up", handler="machine:roll-up", schedule="* * * * *"
        )
        await scheduler.add_task(
            name="demo:delete-old",
            handler="machine:delete-old",
            schedule={"rrule": "FREQ=MINUTELY;INTERVAL=5"},
        )
        await scheduler.add_task(
            name="demo:flaky",
            handler="machine:flaky",
            schedule={"interval": 10},
            retry={"max_retries": 3, "backoff": "exponential"},
        )

    return add_tasks


@hookimpl
def cron_register_handlers(datasette):
    return {"measure": measure, "roll-up": roll_up, "delete-old": delete_old, "flaky": flaky}


async def measure(datasette, config):
    """A row of load average, memory and disk use."""
    row = [current_run().slot.isoformat(), load_average(), memory_used_mb(), disk_used_gb()]
    # A slot may be seen twice, when a process died over it: the second row replaces the first.
    await datasette.get_database("demo").execute_write(
        "INSERT OR REPLACE INTO measurements VALUES (?, ?, ?, ?)", row
    )


async def roll_up(datasette, config):
    """A row for each minute that is over and has none yet."""
    this_minute = current_run().slot.replace(second=0, microsecond=0)
    await datasette.get_database("demo").execute_write(
        "INSERT OR REPLACE INTO minutes "
        "SELECT substr(at, 1, 16), count(*), avg(load_average), avg(memory_used_mb), "
        "avg(disk_used_gb) FROM measurements "
        "WHERE at < ? AND at >= coalesce((SELECT max(minute) FROM minutes), '') "
        "GROUP BY substr(at, 1, 16)",
        [this_minute.isoformat()],
    )


async def delete_old(datasette, config):
    """Delete what is older than an hour; returns how many rows that were."""
    before = datetime.now(UTC) - KEPT
    deleted = await datasette.get_database("demo").execute_write(
        "DELETE FROM measurements WHERE at < ?", [before.isoformat()]
    )
    return {"deleted": deleted.rowcount}


def flaky(datasette, config):
    """Fails on purpose at every third slot, and works when it is tried again."""
    run = current_run()
    if int(run.slot.timestamp()) // 10 % 3 == 0 and run.attempt == 1:
        raise RuntimeError("this fails on purpose, one time in three")


def load_average() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def memory_used_mb() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None  # not a Linux
    kilobytes = {key: int(rest.split()[0]) for key, rest in (li.split(":", 1) for li in lines)}
    return round((kilobytes["MemTotal"] - kilobytes["MemAvailable"]) / 1024, 1)


def disk_used_gb() -> float:
    return round(shutil.disk_usage(".").used / 1e9, 3)
