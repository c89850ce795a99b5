"""For a moment what `just load` does for ten minutes; and that slots do not stand in line behind
the queries of users."""

import asyncio
import threading

import pytest
from datasette.app import Datasette
from run_load import Growth, Sample, grow, wait_for_each_other

import cronkit_core

pytestmark = pytest.mark.timeout(180)


@pytest.mark.slow
def test_nothing_grows_under_load(tmp_path):
    growth = grow(tmp_path, rate=300, seconds=3.0, warm=1.5, keep_runs=5)
    assert growth.grown() == []
    assert growth.runs_per_second() > 200
    assert max(sample.wal for sample in growth.samples) < 32 << 20


def sample(seconds, **fields):
    fields = {"memory": 50 << 20, "files": 12, "threads": 4, "tasks": 6, **fields}
    return Sample(seconds, executed=0, late=0.0, wal=0, **fields)


@pytest.mark.parametrize("gauge", ["memory", "files", "threads", "tasks"])
def test_what_grows_is_found(gauge):
    step = (1 << 20) if gauge == "memory" else 1
    samples = [sample(n, **{gauge: 50 * step + n * step}) for n in range(30)]
    [found] = Growth(1, samples).grown()
    assert found.startswith(gauge)


@pytest.mark.slow
def test_pages_queries_and_slots_get_along(tmp_path):
    found = wait_for_each_other(tmp_path, rate=50, seconds=0.7, storm=3, rows=50_000)
    assert list(found) == ["neither", "queries", "runs", "both"]
    for waits in found.values():
        assert all(waits.p99(what) < 10 for what in ("page", "REST", "query"))
    for phase in ("runs", "both"):
        assert len(found[phase].lateness) > 10
        assert found[phase].p99("lateness") < 5


async def test_slots_do_not_wait_for_queries(tmp_path):
    """Every thread that Datasette has for queries is taken, and more queries wait."""
    datasette = Datasette(memory=True, internal=str(tmp_path / "internal.db"))
    await datasette.invoke_startup()
    scheduler = datasette._cron_scheduler
    ran = asyncio.Event()
    scheduler.register_handlers("test", {"handler": lambda datasette, config: None})
    scheduler.on(cronkit_core.RunSucceeded, lambda event: ran.set())
    await scheduler.add_task(name="task", handler="handler", schedule={"interval": 0.05})
    over, taken = threading.Event(), threading.Semaphore(0)

    def query(connection):
        taken.release()
        over.wait()

    threads = datasette.setting("num_sql_threads")
    database = datasette.get_internal_database()
    queries = [asyncio.create_task(database.execute_fn(query)) for _ in range(2 * threads)]
    try:
        for _ in range(threads):
            await asyncio.to_thread(taken.acquire)
        scheduler.start()
        await asyncio.wait_for(ran.wait(), 20)
    finally:
        over.set()
        await asyncio.gather(*queries)
        await datasette.invoke_shutdown()
        datasette.close()
