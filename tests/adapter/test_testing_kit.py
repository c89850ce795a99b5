"""`datasette_cron.testing`, used as the author of a plugin uses it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from adapter_kit import plugin
from datasette.app import Datasette

from cronkit_core import Status, TaskNotFound
from cronkit_core import current_run as current
from datasette_cron.testing import Cron, cron

__all__ = ["cron"]

START = datetime(2027, 1, 1, tzinfo=UTC)


# --- the plugin: it checks feeds -----------------------------------------------------------------


async def check_feeds(datasette: Datasette, config: dict[str, Any]) -> dict[str, int]:
    db = datasette.get_database("feeds")
    if config.get("down", 0) >= current().attempt:
        raise ConnectionError("the feed is down")
    if config.get("hang"):
        await asyncio.Event().wait()
    await db.execute_write("insert into checks values (?)", [current().slot.isoformat()])
    return {"checks": (await db.execute("select count(*) from checks")).single_value()}


def cron_register_handlers(datasette: Datasette) -> dict[str, Any]:
    return {"check-feeds": check_feeds}


def startup(datasette: Datasette) -> Any:
    async def inner() -> None:
        await datasette.get_database("feeds").execute_write("create table checks (at)")
        await datasette._cron_scheduler.add_task(
            name="check-feeds",
            handler="feeds:check-feeds",
            schedule={"interval": 600},
            retry={"max_retries": 2, "backoff": "exponential"},
        )

    return inner


# --- its tests -----------------------------------------------------------------------------------


@pytest.fixture
def datasette() -> Iterator[Datasette]:
    """A Datasette with the plugin, that has not been started."""
    hooks = {"cron_register_handlers": cron_register_handlers, "startup": startup}
    with plugin("datasette_feeds", **hooks):
        datasette = Datasette()
        datasette.add_memory_database("feeds-of-a-test", name="feeds")
        yield datasette


async def test_a_run_by_hand(cron: Cron) -> None:
    run = await cron.run("check-feeds")
    assert run.status == Status.SUCCESS
    assert json.loads(run.output or "") == {"checks": 1}
    assert cron.now == START
    assert (await cron.assert_succeeded("check-feeds")).id == run.id


async def test_runs_by_schedule(cron: Cron) -> None:
    await cron.advance(minutes=35)
    await cron.assert_runs("check-feeds", "success", "success", "success")
    assert cron.now == START + timedelta(minutes=35)
    runs = await cron.runs("check-feeds")
    assert [run.slot.minute for run in runs] == [10, 20, 30]
    await cron.advance_to(START + timedelta(hours=3))
    assert len(await cron.runs("check-feeds")) == 18


async def test_a_run_that_is_retried(cron: Cron) -> None:
    run = await cron.run("check-feeds", config={"down": 2})
    assert (run.status, run.attempt) == (Status.SUCCESS, 3)
    await cron.assert_runs("check-feeds", "error", "error", "success")
    assert START < cron.now < START + timedelta(minutes=1)


async def test_a_run_that_fails(cron: Cron) -> None:
    run = await cron.run("check-feeds", config={"down": 9})
    assert run.attempt == 3
    assert (await cron.assert_failed("check-feeds", "feed is down")).id == run.id


async def test_another_start(datasette: Datasette) -> None:
    async with Cron(datasette, start=datetime(2030, 6, 1, tzinfo=UTC)) as cron:
        await cron.advance(minutes=10)
        run = await cron.assert_succeeded("check-feeds")
        assert run.slot == datetime(2030, 6, 1, 0, 10, tzinfo=UTC)


async def test_a_handler_that_hangs(datasette: Datasette) -> None:
    async with Cron(datasette, patience=0.05) as cron:
        with pytest.raises(AssertionError, match=r"did not end within 0\.05 s"):
            await cron.run("check-feeds", config={"hang": True})


async def test_a_handler_that_takes_too_long(datasette: Datasette) -> None:
    async with Cron(datasette, patience=0.05) as cron:
        await cron.scheduler.update_task(
            "check-feeds", config={"hang": True}, timeout=30, retry={"max_retries": 0}
        )
        await cron.advance(minutes=10, seconds=31)
        await cron.assert_failed("check-feeds", "timed out after 30 s")


async def test_the_pages_show_the_same(cron: Cron) -> None:
    cron.datasette.config = {"permissions": {"datasette-cron-access": True}}
    await cron.run("check-feeds")
    response = await cron.datasette.client.get("/-/api/cron/tasks/check-feeds/runs")
    [run] = response.json()["runs"]
    assert run["started_at"] == "2027-01-01T00:00:00.000000+00:00"


async def test_what_the_kit_says_when_something_does_not_hold(cron: Cron) -> None:
    with pytest.raises(AssertionError, match="of 'check-feeds', oldest first:\n  none"):
        await cron.assert_succeeded("check-feeds")
    await cron.run("check-feeds", config={"down": 9})
    with pytest.raises(AssertionError) as caught:
        await cron.assert_succeeded("check-feeds")
    assert "attempt 3, error: the feed is down" in str(caught.value)
    assert "ConnectionError" in str(caught.value)
    with pytest.raises(AssertionError, match="attempt 1, error"):
        await cron.assert_runs("check-feeds", "success")
    with pytest.raises(AssertionError, match="'full' is not in 'the feed is down'"):
        await cron.assert_failed("check-feeds", "full")
    with pytest.raises(TaskNotFound):
        await cron.run("no-task")


async def test_a_datasette_that_has_been_started(datasette: Datasette) -> None:
    await datasette.invoke_startup()
    with pytest.raises(RuntimeError, match="make the Cron before"):
        Cron(datasette)
