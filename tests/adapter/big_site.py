"""How long the pages take on a site with very many tasks and runs.

    uv run tests/adapter/big_site.py [tasks] [runs]

Fills an internal database, asks for each page several times in this process, and prints the median
time and the size. Ends with an error where a page takes longer than it may.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

from datasette.app import Datasette

TASKS = 10_000
RUNS = 1_000_000
TIMES = 7
MOST_MS = 100
MOST_BYTES = 100_000
PAGES = {
    "tasks": "/-/cron",
    "tasks by name": "/-/cron?q=009",
    "a task": "/-/cron/task~2000042",
    "runs": "/-/cron/runs",
    "runs that failed": "/-/cron/runs?status=error",
    "runs of an hour": "/-/cron/runs?since=2026-03-01T00:00&until=2026-03-01T01:00",
    "runs of a task": "/-/cron/runs?task=task+00042&status=success",
    "no run fits": "/-/cron/runs?status=running",
    "a run": "/-/cron/runs/4242",
    "a form": "/-/cron/new",
}

FILL_TASKS = """
    INSERT INTO datasette_cron_tasks (name, handler, schedule_type, schedule_config, created_at,
        updated_at, next_slot, next_run_at, last_run_at, last_status)
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :tasks - 1)
    SELECT printf('task %05d', i), 'cron:sql', 'cron', '{"cron":"0 9 * * 1-5"}',
        '2026-01-01T00:00:00.000000+00:00', '2026-01-01T00:00:00.000000+00:00',
        '2999-01-01T09:00:00.000000+00:00', '2999-01-01T09:00:00.000000+00:00',
        '2026-01-01T09:00:00.000000+00:00', iif(i % 100, 'success', 'error')
    FROM n"""
FILL_RUNS = """
    INSERT INTO datasette_cron_runs (task_id, task_name, slot, status, triggered_by, scheduled_for,
        started_at, finished_at, duration_ms, reason, error_message, log)
    WITH RECURSIVE
        n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :runs - 1),
        -- The newest run failed two hundred thousand runs ago.
        r (i, at, failed) AS (
            SELECT i, replace(datetime('2026-01-01', (i * 10) || ' seconds'), ' ', 'T')
                || '.000000+00:00', i % 997 = 0 AND i < :runs - 200000 FROM n
        )
    SELECT i % :tasks + 1, printf('task %05d', i % :tasks), at, iif(failed, 'error', 'success'),
        'schedule', at, at, at, 1000 + i % 977, iif(failed, 'exception', NULL),
        iif(failed, 'out of paper', NULL), 'a line of the log'
    FROM r"""


async def fill(path: Path, tasks: int, runs: int) -> None:
    """An internal database with so many tasks and runs."""
    datasette = Datasette(internal=str(path))
    await datasette.invoke_startup()  # makes the tables
    await datasette.invoke_shutdown()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(FILL_TASKS, {"tasks": tasks})
        connection.execute(FILL_RUNS, {"tasks": tasks, "runs": runs})
    connection.close()


async def measure(path: Path, times: int = TIMES) -> dict[str, tuple[float, int]]:
    """Milliseconds and bytes of each page."""
    datasette = Datasette(
        internal=str(path),
        config={
            "permissions": {"datasette-cron-access": True},
            "plugins": {"datasette-cron": {"scheduler": "off"}},
        },
    )
    found = {}
    for name, page in PAGES.items():
        taken, size = [], 0
        for _ in range(times):
            start = time.perf_counter()
            answer = await datasette.client.get(page)
            taken.append((time.perf_counter() - start) * 1_000)
            size = len(answer.content)
            assert answer.status_code == 200, (page, answer.status_code)
        found[name] = (statistics.median(taken), size)
    await datasette.invoke_shutdown()
    return found


async def main() -> int:
    tasks, runs = [int(arg) for arg in sys.argv[1:3]] or [TASKS, RUNS]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "internal.db"
        await fill(path, tasks, runs)
        found = await measure(path)
    print(f"{tasks:,} tasks, {runs:,} runs")
    for name, (ms, size) in found.items():
        print(f"{name:20}{ms:8.1f} ms{size:10,} bytes")
    return int(any(ms > MOST_MS or size > MOST_BYTES for ms, size in found.values()))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
