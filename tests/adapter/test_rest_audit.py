"""The audit trail: each change, in the transaction that made it."""

from __future__ import annotations

from typing import Any

import pytest
from datasette.app import Datasette

from cronkit_core.errors import StorageTooNew
from cronkit_core.testing.virtual import settle
from datasette_cron import audit
from datasette_cron.scheduler import Scheduler

ROOT = "/-/api/cron"
ADA, BOB = {"id": "ada"}, {"id": 7}


async def trail(datasette: Datasette, name: str = "t") -> list[dict[str, Any]]:
    response = await datasette.client.get(f"{ROOT}/tasks/{name}/audit")
    entries: list[dict[str, Any]] = response.json()["audit"]
    return entries


async def test_who_did_what(datasette: Datasette, scheduler: Scheduler) -> None:
    client = datasette.client
    wish = {"name": "t", "handler": "test:hang", "schedule": 60, "config": {"token": "x", "n": 1}}
    await client.post(f"{ROOT}/tasks", json=wish, actor=ADA)
    await client.patch(f"{ROOT}/tasks/t", json={"config": {"token": "y", "n": 2}}, actor=BOB)
    await client.post(f"{ROOT}/tasks/t/enable", json={"enabled": False}, actor=BOB)
    await client.post(f"{ROOT}/tasks/t/enable", json={"enabled": False}, actor=BOB)
    await client.post(f"{ROOT}/tasks/t/enable", json={"enabled": True})
    await client.post(f"{ROOT}/tasks/t/trigger", json={"config": {"secret": 1}}, actor=ADA)
    await settle(scheduler)
    await client.post(f"{ROOT}/runs/1/cancel", actor=BOB)
    await settle(scheduler)
    await client.post(f"{ROOT}/runs/1/cancel", actor=BOB)
    await client.delete(f"{ROOT}/tasks/t", actor=ADA)
    await client.delete(f"{ROOT}/tasks/t", actor=ADA)
    entries = await trail(datasette)
    assert [(entry["actor"], entry["action"]) for entry in reversed(entries)] == [
        ("ada", "created"),
        ("7", "updated"),
        ("7", "disabled"),
        (None, "enabled"),
        ("ada", "triggered"),
        ("7", "run-cancelled"),
        ("ada", "deleted"),
    ]
    deleted, cancelled, triggered, _, disabled, updated, created = entries
    assert created["before"] is None
    assert created["time"] == "2027-01-01T00:00:00.000000+00:00"
    assert updated["before"]["config"] == {"token": "********", "n": 1}
    assert updated["after"]["config"] == {"token": "********", "n": 2}
    assert (disabled["before"]["enabled"], disabled["after"]["enabled"]) == (True, False)
    assert triggered["after"] == {"runs": 1, "run_ids": [1], "config": {"secret": "********"}}
    assert cancelled["before"] == {"run_id": 1, "status": "running"}
    assert deleted["after"] is None
    assert deleted["before"]["handler"] == "test:hang"


async def test_what_plugins_do(datasette: Datasette, scheduler: Scheduler) -> None:
    for schedule in (60, 60, 30):
        await scheduler.add_task("t", "test:ok", schedule)
        await scheduler.trigger_task("t", force=True)
        await scheduler.internal_db.update_next_run("t", "2028-01-01T00:00:00")
    await scheduler.remove_task("t")
    assert [(entry["actor"], entry["action"]) for entry in reversed(await trail(datasette))] == [
        (None, "created"),
        (None, "updated"),
        (None, "deleted"),
    ]


async def test_a_change_that_fails_leaves_no_entry(
    datasette: Datasette, scheduler: Scheduler
) -> None:
    await scheduler.add_task("t", "test:ok", 60)
    await datasette.get_internal_database().execute_write(
        "CREATE TRIGGER full BEFORE INSERT ON datasette_cron_audit "
        "BEGIN SELECT raise(ABORT, 'the disk is full'); END"
    )
    response = await datasette.client.patch(f"{ROOT}/tasks/t", json={"priority": 5})
    assert response.status_code == 503
    assert (await scheduler.get_task("t")).record.priority == 0
    assert [entry["action"] for entry in await trail(datasette)] == ["created"]


async def test_it_is_bounded(
    datasette: Datasette, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "KEPT", 3)
    for priority in range(5):
        await scheduler.add_task("t", "test:ok", 60, priority=priority)
    assert [entry["after"]["priority"] for entry in await trail(datasette)] == [4, 3, 2]
    await scheduler.update_task("t", config={"text": "x" * 100_000})
    [newest, *_] = await trail(datasette)
    assert newest["after"]["config"] == "(100011 characters)"


async def test_a_newer_table_is_left_alone(make_datasette: Any, internal: Any) -> None:
    datasette = await make_datasette()
    scheduler: Scheduler = datasette._cron_scheduler
    await datasette.get_internal_database().execute_write(
        "UPDATE datasette_cron_adapter_schema SET version = 99"
    )
    with pytest.raises(StorageTooNew, match="99"):
        await scheduler.storage.open()
