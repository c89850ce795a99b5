"""Databases that datasette-cron 0.0.1a2 wrote (fixtures/make_alpha_db.py) open in ours."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cronkit_core.definition import decode
from cronkit_core.runs import Reason
from cronkit_core.storage.base import TaskQuery
from cronkit_core.storage.sqlite_base import run_program
from cronkit_core.storage.sqlite_programs import Programs
from cronkit_core.tasks import following
from cronkit_core.testing.virtual import VirtualClock, run_until
from datasette_cron.migrations import PREFIX, bring_up_to_date
from datasette_cron.scheduler import Scheduler

FIXTURES = Path(__file__).parent / "fixtures"
AFTER_THE_KILL = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


class Alpha:
    """What the alpha's tables held before the take-over."""

    def __init__(self, path: Path) -> None:
        db = sqlite3.connect(path)
        db.row_factory = sqlite3.Row
        self.tasks = {
            row["name"]: dict(row) for row in db.execute("SELECT * FROM datasette_cron_tasks")
        }
        self.runs = [
            dict(row) for row in db.execute("SELECT * FROM datasette_cron_runs ORDER BY id")
        ]
        db.close()


@pytest.fixture
def alpha(internal: Path) -> Alpha:
    shutil.copy(FIXTURES / "alpha.db", internal)
    return Alpha(internal)


@pytest.fixture
async def taken(make_datasette: Any, alpha: Alpha) -> Scheduler:
    datasette = await make_datasette(VirtualClock(AFTER_THE_KILL))
    scheduler: Scheduler = datasette._cron_scheduler
    return scheduler


def ours(time: str) -> str:
    """A time of the alpha's as ours is written."""
    return datetime.fromisoformat(time).replace(tzinfo=UTC).isoformat(timespec="microseconds")


async def test_tasks_and_pauses_are_kept(taken: Scheduler, alpha: Alpha) -> None:
    tasks = {task.name: task for task in await taken.internal_db.get_all_tasks()}
    assert tasks.keys() == alpha.tasks.keys()
    for name, old in alpha.tasks.items():
        task = tasks[name]
        assert task.handler == old["handler"]
        assert task.enabled is bool(old["enabled"])
        assert task.timezone == old["timezone"]
        assert task.overlap_policy == old["overlap_policy"]
        assert (task.retry_max, task.retry_backoff) == (old["retry_max"], old["retry_backoff"])
        assert task.last_status == old["last_status"]
        assert task.created_at == ours(old["created_at"])
        if name != "ended":
            assert task.next_run_at == ours(old["next_run_at"])
    assert tasks["anchored"].config == {"database": "data", "deep": {"list": [1, 2.5, None, "é"]}}
    assert {name for name, task in tasks.items() if not task.enabled} == {"paused", "no-handler"}
    assert all(task.broken is None for task in await taken.tasks())


async def test_schedules_mean_what_they_did(taken: Scheduler) -> None:
    tasks = {task.name: task for task in await taken.tasks()}
    after = datetime(2027, 3, 1, tzinfo=UTC)

    def upcoming(name: str, n: int) -> list[str]:
        schedule = tasks[name].schedule
        assert schedule is not None
        return [f"{slot:%a %m-%d %H:%M:%S}" for slot in schedule.upcoming(after, n)]

    assert upcoming("new-york", 2) == ["Mon 03-01 13:00:00", "Tue 03-02 13:00:00"]
    # The sixth field of the alpha's expression were the seconds.
    assert upcoming("seconds-last", 3) == [
        "Mon 03-01 09:00:30",
        "Mon 03-01 09:05:30",
        "Mon 03-01 09:10:30",
    ]
    assert upcoming("anchored", 2) == ["Mon 03-01 00:01:00", "Mon 03-01 00:06:00"]
    assert upcoming("weekly", 2) == ["Mon 03-08 00:00:00", "Mon 03-15 00:00:00"]
    weekday, *_ = upcoming("fortnightly", 1)
    assert weekday.startswith("Tue")
    assert upcoming("ended", 1) == []


async def test_history_is_kept(taken: Scheduler, alpha: Alpha) -> None:
    runs = {run.id: run for run in await taken.internal_db.get_all_runs(limit=1000)}
    assert runs.keys() == {old["id"] for old in alpha.runs}
    for old in alpha.runs:
        run = runs[old["id"]]
        assert run.task_name == old["task_name"]
        assert run.started_at == ours(old["started_at"])
        assert run.attempt == old["attempt"]
        assert run.duration_ms == old["duration_ms"]
        if old["status"] != "running":
            assert run.status == old["status"]
            assert run.error_message == old["error_message"]
            assert run.finished_at == ours(old["finished_at"])
    assert len(await taken.internal_db.get_runs("removed")) > 0


async def test_a_run_that_was_under_way_is_lost(taken: Scheduler, alpha: Alpha) -> None:
    assert [old["task_name"] for old in alpha.runs if old["status"] == "running"] == ["hanging"]
    [run] = await taken.runs("hanging")
    assert (run.status.value, run.reason) == ("error", Reason.LOST)
    assert run.error_message == "lost: the process that ran this is gone"


async def test_a_schedule_that_is_over_does_not_go_on(taken: Scheduler) -> None:
    # A COUNT=2 that the alpha would have run for ever.
    task = await taken.internal_db.get_task("ended")
    assert task is not None
    assert task.next_run_at is None


async def test_plugins_that_add_their_tasks_again_change_nothing(
    taken: Scheduler, alpha: Alpha
) -> None:
    before = await taken.internal_db.get_all_tasks()
    for name, schedule in (
        ("every-second", {"interval": 1}),
        ("daily-interval", {"interval": 86400}),
        ("anchored", {"interval": 300, "anchor": "2026-01-01T00:01:00"}),
        ("new-york", "0 8 * * 1-5"),
        ("weekly", {"rrule": "FREQ=WEEKLY;BYDAY=MO"}),
    ):
        old = alpha.tasks[name]
        task = await taken.get_task(name)
        await taken.add_task(
            name=name,
            handler=old["handler"],
            schedule=schedule,
            timezone=old["timezone"],
            config=dict(task.config),
        )
    assert await taken.internal_db.get_all_tasks() == before


async def test_what_was_jittered_runs_once(taken: Scheduler, alpha: Alpha) -> None:
    ran: list[datetime] = []

    async def note(datasette: Any, config: Any) -> None:
        ran.append(taken.clock.now())

    taken.register_handlers("alpha", {"ok": note})
    for name in alpha.tasks:
        if name != "daily-interval":
            await taken.remove_task(name)
    due = datetime.fromisoformat(ours(alpha.tasks["daily-interval"]["next_run_at"]))
    taken.start()
    await run_until(taken, due + timedelta(days=1, hours=12))
    assert ran[0] == due
    # A day later, give or take the half of one: not seconds later, by the phase of its creation.
    assert len(ran) == 2
    assert timedelta(hours=12) <= ran[1] - ran[0] <= timedelta(hours=36)


async def test_what_our_parser_refuses_is_kept_and_marked(
    make_datasette: Any, internal: Path
) -> None:
    shutil.copy(FIXTURES / "alpha_odd.db", internal)
    alpha = Alpha(internal)
    datasette = await make_datasette()
    scheduler: Scheduler = datasette._cron_scheduler
    broken = {task.name: task.broken for task in await scheduler.tasks()}
    assert broken.pop("fine") is None
    for name, said in (
        ("bad-overlap", "bad overlap 'skpi'"),
        ("bad-retries", "-5"),
        ("bad-backoff", "'fibonacci'"),
        ("bad-rrule", "COUNT"),
        ("random-cron", "'R R * * *'"),
        ("tiny-interval", "0.001"),
    ):
        reason = broken.pop(name)
        assert reason is not None
        assert said in reason
        assert "datasette-cron 0.0.1a2" in reason
        task = await scheduler.internal_db.get_task(name)
        assert task is not None
        assert task.schedule_config == alpha.tasks[name]["schedule_config"]
    assert not broken
    # Its plugin, corrected, makes it whole.
    await scheduler.add_task(name="bad-overlap", handler="x", schedule={"interval": 60})
    assert (await scheduler.get_task("bad-overlap")).broken is None


@pytest.fixture
def old_tables() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:")
    source = sqlite3.connect(FIXTURES / "alpha.db")
    for (sql,) in source.execute(
        "SELECT sql FROM sqlite_master WHERE name LIKE '%datasette_cron%' AND sql IS NOT NULL"
    ):
        db.execute(sql)
    source.close()
    yield db
    db.close()


def add_old_task(db: sqlite3.Connection, **columns: Any) -> None:
    row = {
        "name": "t",
        "handler": "h",
        "schedule_type": "interval",
        "schedule_config": '{"seconds": 60}',
        "next_run_at": "2026-01-01T00:00:07.5",
        "created_at": "2026-01-01T00:00:00.000",
        **columns,
    }
    db.execute(
        f"INSERT INTO datasette_cron_tasks ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
        tuple(row.values()),
    )


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"schedule_config": "no JSON"}, "JSONDecodeError"),
        ({"schedule_config": "[]"}, "'list' object"),
        ({"schedule_config": "{}"}, "KeyError('seconds')"),
        ({"schedule_type": "lunar"}, "unknown schedule_type 'lunar'"),
        ({"schedule_type": "cron", "schedule_config": '{"expression": 7}'}, "AttributeError"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"config": "[1]"}, "config"),
        ({"next_run_at": "soon"}, "soon"),
        ({"created_at": "once"}, None),
        ({"timezone": ""}, None),
        ({"last_status": "unsure"}, None),
        ({"next_run_at": None}, None),
    ],
)
def test_no_row_keeps_datasette_from_starting(
    old_tables: sqlite3.Connection, columns: dict[str, Any], said: str | None
) -> None:
    add_old_task(old_tables, **columns)
    run_program(old_tables, bring_up_to_date("here", AFTER_THE_KILL))
    [(broken,)] = old_tables.execute("SELECT broken FROM datasette_cron_tasks").fetchall()
    assert (broken is None) == (said is None)
    assert said is None or said in broken


@pytest.mark.parametrize(
    ("next_run_at", "then"),
    [
        ("2026-01-02T00:00:25", "2026-01-03T00:00"),
        ("2026-01-02T11:00:00", "2026-01-03T00:00"),
        ("2026-01-02T13:00:00", "2026-01-04T00:00"),
        ("2026-01-02T23:59:50", "2026-01-04T00:00"),
    ],
)
def test_a_drifted_interval_comes_back_into_step(
    old_tables: sqlite3.Connection, next_run_at: str, then: str
) -> None:
    """The alpha's daily task drifted, ours counts from its creation at midnight: the kept run is
    never followed by another within half an interval."""
    add_old_task(old_tables, schedule_config='{"seconds": 86400}', next_run_at=next_run_at)
    run_program(old_tables, bring_up_to_date("here", AFTER_THE_KILL))
    [record] = run_program(old_tables, Programs(PREFIX).tasks(TaskQuery()))
    assert record.next_run_at is not None
    assert f"{record.next_run_at:%Y-%m-%dT%H:%M:%S}" == next_run_at
    slot = following(decode(record), record.next_run_at)
    assert f"{slot:%Y-%m-%dT%H:%M}" == then


def test_odd_runs_are_kept(old_tables: sqlite3.Connection) -> None:
    add_old_task(old_tables)
    runs = [
        # Five triggers in a millisecond, each of them attempt 1
        *[("t", "2026-01-01T00:00:01.500", "2026-01-01T00:00:02", "success", None, 1, 7)] * 5,
        ("t", "2026-01-01T00:00:03.000", "2026-01-01T00:00:04", "error", "Cancelled", 1, 7),
        ("t", "2026-01-01T00:00:03.000", "2026-01-01T00:00:04", "error", None, 2, -7),
        ("t", "garbage", None, "who knows", "?", 0, None),
        ("nobody's", "2026-01-01T00:00:03.000", None, "running", None, 1, None),
    ]
    old_tables.executemany(
        "INSERT INTO datasette_cron_runs (task_name, started_at, finished_at, status, "
        "error_message, attempt, duration_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        runs,
    )
    old_tables.commit()
    assert run_program(old_tables, bring_up_to_date("here", AFTER_THE_KILL)) == (1, len(runs))
    stored = old_tables.execute(
        "SELECT status, reason, attempt, duration_ms, started_at, task_id "
        "FROM datasette_cron_runs ORDER BY id"
    ).fetchall()
    third = "2026-01-01T00:00:03.000000+00:00"
    assert stored == [
        *[("success", None, 1, 7, "2026-01-01T00:00:01.500000+00:00", 1)] * 5,
        ("error", "cancelled", 1, 7, third, 1),
        ("error", "exception", 2, None, third, 1),
        ("error", "exception", 1, None, "2026-11-24T12:00:00.000000+00:00", 1),
        ("error", "lost", 1, None, third, 0),
    ]


def test_a_second_start_takes_nothing_over(old_tables: sqlite3.Connection) -> None:
    add_old_task(old_tables)
    assert run_program(old_tables, bring_up_to_date("here", AFTER_THE_KILL)) == (1, 0)
    before = list(old_tables.iterdump())
    assert run_program(old_tables, bring_up_to_date("here", AFTER_THE_KILL)) is None
    assert list(old_tables.iterdump()) == before
    assert "alpha" not in "".join(before)
