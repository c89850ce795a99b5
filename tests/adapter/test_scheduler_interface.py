"""The documented methods of `datasette._cron_scheduler`, on a virtual clock."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from datasette.app import Datasette

import cronkit_core
from cronkit_core.testing.virtual import VirtualClock, run_until, settle
from datasette_cron.scheduler import Scheduler

START = datetime(2027, 1, 1, tzinfo=UTC)
FULL: dict[str, Any] = {
    "name": "my-task",
    "handler": "test:ok",
    "schedule": {"interval": 300},
    "config": {"key": "value"},
    "timezone": "America/New_York",
    "overlap": "skip",
    "retry": {"max_retries": 3, "backoff": "exponential"},
}


def at(seconds: float) -> str:
    """That many seconds after the start of the virtual clock, as the interface writes times."""
    return (START + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


async def test_add_task_takes_what_is_documented(scheduler: Scheduler) -> None:
    await scheduler.add_task(**FULL)
    task = await scheduler.internal_db.get_task("my-task")
    assert task is not None
    assert vars(task) == {
        "name": "my-task",
        "handler": "test:ok",
        "config": {"key": "value"},
        "schedule_type": "interval",
        "schedule_config": '{"anchor":"2027-01-01T00:00:00+00:00","interval":300}',
        "timezone": "America/New_York",
        "overlap_policy": "skip",
        "retry_max": 3,
        "retry_backoff": "exponential",
        "enabled": True,
        "next_run_at": at(300),
        "last_run_at": None,
        "last_status": None,
        "created_at": at(0),
        "updated_at": at(0),
    }


@pytest.mark.parametrize(
    ("schedule", "kind", "first"),
    [
        ({"interval": 60}, "interval", "2027-01-01T00:01:00.000000+00:00"),
        ({"interval": 1}, "interval", "2027-01-01T00:00:01.000000+00:00"),
        ("0 8 * * *", "cron", "2027-01-01T13:00:00.000000+00:00"),
        ("*/5 * * * *", "cron", "2027-01-01T00:05:00.000000+00:00"),
        ({"rrule": "FREQ=WEEKLY;BYDAY=MO"}, "rrule", "2027-01-04T05:00:00.000000+00:00"),
    ],
)
async def test_the_documented_schedules(
    scheduler: Scheduler, schedule: Any, kind: str, first: str
) -> None:
    await scheduler.add_task(
        name="t", handler="test:ok", schedule=schedule, timezone="America/New_York"
    )
    task = await scheduler.internal_db.get_task("t")
    assert task is not None
    assert (task.schedule_type, task.next_run_at) == (kind, first)


@pytest.mark.parametrize(
    ("later", "change", "next_run_at"),
    [
        pytest.param(7, {}, 60, id="the same schedule keeps its next run"),
        pytest.param(7, {"config": {"a": 1}}, 60, id="so does another config"),
        pytest.param(7, {"schedule": {"interval": 10}}, 10, id="a shorter one comes first"),
        pytest.param(7, {"schedule": {"interval": 90}}, 60, id="a longer one waits no longer"),
        pytest.param(95, {"schedule": {"interval": 10}}, 60, id="what is due already runs"),
        pytest.param(
            7, {"schedule": "30 0 * * *", "timezone": "Asia/Kolkata"}, 60, id="another kind"
        ),
    ],
)
async def test_add_task_again(
    scheduler: Scheduler, clock: VirtualClock, later: int, change: dict[str, Any], next_run_at: int
) -> None:
    wish = {"name": "t", "handler": "test:ok", "schedule": {"interval": 60}}
    await scheduler.add_task(**wish)
    clock.advance(later)
    await scheduler.add_task(**{**wish, **change})
    task = await scheduler.internal_db.get_task("t")
    assert task is not None
    assert task.next_run_at == at(next_run_at)


async def test_add_task_again_leaves_a_pause(scheduler: Scheduler) -> None:
    await scheduler.add_task(**FULL)
    await scheduler.disable_task("my-task")
    await scheduler.add_task(**{**FULL, "schedule": {"interval": 10}})
    task = await scheduler.internal_db.get_task("my-task")
    assert task is not None
    assert task.enabled is False
    await scheduler.enable_task("my-task")
    task = await scheduler.internal_db.get_task("my-task")
    assert task is not None
    assert task.enabled is True


@pytest.mark.parametrize(
    ("change", "column", "value"),
    [
        ({"schedule": {"interval": 10}}, "next_run_at", at(10)),
        ({"schedule": "0 8 * * *"}, "next_run_at", at(13 * 3600)),
        ({"handler": "test:fail"}, "handler", "test:fail"),
        ({"config": {"b": 2}}, "config", {"b": 2}),
        ({"timezone": "Asia/Tokyo"}, "timezone", "Asia/Tokyo"),
        ({"overlap": "allow"}, "overlap_policy", "allow"),
        ({"retry": {"max_retries": 1, "backoff": "linear"}}, "retry_max", 1),
        ({"retry": {"max_retries": 1, "backoff": "linear"}}, "retry_backoff", "linear"),
        ({"enabled": False}, "enabled", False),
    ],
)
async def test_update_task(
    scheduler: Scheduler, change: dict[str, Any], column: str, value: Any
) -> None:
    await scheduler.add_task(**FULL)
    await scheduler.update_task("my-task", **change)
    task = await scheduler.internal_db.get_task("my-task")
    assert getattr(task, column) == value


async def test_remove_task(scheduler: Scheduler) -> None:
    await scheduler.add_task(**FULL)
    await scheduler.remove_task("my-task")
    assert await scheduler.internal_db.get_task("my-task") is None
    await scheduler.remove_task("my-task")  # as its clients do, to be sure


async def test_trigger_task(scheduler: Scheduler) -> None:
    await scheduler.add_task(**FULL)
    scheduler.start()
    await scheduler.trigger_task("my-task")
    await settle(scheduler)
    [run] = await scheduler.internal_db.get_runs("my-task")
    assert vars(run) == {
        "id": 1,
        "task_name": "my-task",
        "started_at": at(0),
        "finished_at": at(0),
        "status": "success",
        "error_message": None,
        "attempt": 1,
        "duration_ms": 0,
    }
    task = await scheduler.internal_db.get_task("my-task")
    assert task is not None
    assert (task.last_status, task.last_run_at, task.next_run_at) == ("success", at(0), at(300))


async def test_trigger_task_says_what_is_missing(scheduler: Scheduler) -> None:
    with pytest.raises(ValueError, match="Task not found"):
        await scheduler.trigger_task("no-task")
    await scheduler.add_task(**{**FULL, "handler": "test:gone"})
    with pytest.raises(ValueError, match="Handler not found"):
        await scheduler.trigger_task("my-task")


async def test_handlers_are_found_by_their_full_and_bare_names(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    def first(datasette: Datasette, config: dict[str, Any]) -> None: ...
    def second(datasette: Datasette, config: dict[str, Any]) -> None: ...

    scheduler.register_handlers("one", {"name": first})
    scheduler.register_handlers("one", {"name": first})
    assert not caplog.records
    scheduler.register_handlers("two", {"name": second, "bad": "no function"})
    assert scheduler.get_handler("one:name") is first
    assert scheduler.get_handler("two:name") is second
    assert scheduler.get_handler("name") is first
    assert scheduler.get_handler("two:bad") is None
    assert scheduler.get_handler("three:name") is None
    assert "'name' stays with 'one:name'" in caplog.text
    assert "'two:bad' is not callable" in caplog.text


async def test_a_handler_is_called_with_datasette_and_a_config_of_its_own(
    scheduler: Scheduler, datasette: Datasette
) -> None:
    calls = []

    async def handler(given: Datasette, config: dict[str, Any]) -> None:
        calls.append((given, dict(config), cronkit_core.current_run().slot))
        config["list"].append("spoilt")

    scheduler.register_handlers("test", {"spoil": handler})
    await scheduler.add_task(
        name="t",
        handler="spoil",
        schedule={"interval": 1},
        config={"list": [1]},
        overlap="allow",
        catch_up="all",
    )
    scheduler.clock.advance(2)  # type: ignore[attr-defined]
    scheduler.start()
    await settle(scheduler)
    assert calls == [
        (datasette, {"list": [1, "spoilt"]}, START + timedelta(seconds=1)),
        (datasette, {"list": [1, "spoilt"]}, START + timedelta(seconds=2)),
    ]


async def test_sync_handlers_run_in_a_thread(scheduler: Scheduler) -> None:
    seen = []

    def handler(datasette: Datasette, config: dict[str, Any]) -> dict[str, int]:
        seen.append((threading.current_thread(), cronkit_core.current_run().attempt))
        return {"rows": 7}

    scheduler.register_handlers("test", {"sync": handler})
    await scheduler.add_task(name="t", handler="test:sync", schedule={"interval": 60})
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=60))
    [(thread, attempt)] = seen
    assert thread is not threading.main_thread()
    assert attempt == 1
    [run] = await scheduler.runs("t")
    assert run.output == '{"rows": 7}'


async def test_a_failing_task_is_retried_with_backoff(scheduler: Scheduler) -> None:
    await scheduler.add_task(
        name="t",
        handler="test:fail",
        schedule={"interval": 3600},
        retry={"max_retries": 2, "backoff": "linear"},
    )
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=3600 + 110))
    last, middle, first = await scheduler.internal_db.get_runs("t")
    assert [r.attempt for r in (first, middle, last)] == [1, 2, 3]
    assert {r.error_message for r in (first, middle, last)} == {"out of paper"}
    starts = [datetime.fromisoformat(r.started_at) for r in (first, middle, last)]
    waits = [(b - a).total_seconds() for a, b in itertools.pairwise(starts)]
    assert 24 <= waits[0] <= 36
    assert 48 <= waits[1] <= 72
    task = await scheduler.internal_db.get_task("t")
    assert task is not None
    assert (task.last_status, task.next_run_at) == ("error", at(7200))


async def test_start_and_shutdown(scheduler: Scheduler) -> None:
    await scheduler.add_task(name="t", handler="test:ok", schedule={"interval": 1})
    scheduler.start()
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=1))
    await scheduler.shutdown()
    await scheduler.shutdown()
    scheduler.clock.advance(1)  # type: ignore[attr-defined]
    assert len(await scheduler.internal_db.get_runs("t")) == 1
    scheduler.start()
    await settle(scheduler)
    assert len(await scheduler.internal_db.get_runs("t")) == 2


async def test_shutdown_cancels_what_does_not_end(scheduler: Scheduler) -> None:
    await scheduler.add_task(name="t", handler="test:hang", schedule={"interval": 1})
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=1))
    await scheduler.shutdown()
    [run] = await scheduler.internal_db.get_runs("t")
    assert run.status == "error"
    assert run.error_message == "interrupted: the scheduler was stopped"
