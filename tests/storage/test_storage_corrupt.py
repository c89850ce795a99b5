"""Rows that other hands wrote: the task of such a one is broken and says why, and the others go
on."""

import asyncio
import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from cronkit_core import (
    InvalidTask,
    MemoryStorage,
    PostgresStorage,
    Reason,
    Scheduler,
    SQLiteStorage,
    Status,
    Trigger,
)
from cronkit_core.testing._contract_made import new_run
from cronkit_core.testing.virtual import VirtualClock, run_until

T0 = datetime(2027, 1, 1, tzinfo=UTC)


def at(seconds):
    return T0 + timedelta(seconds=seconds)


class Vandal:
    """Writes into the rows of a storage without asking it."""

    def __init__(self, storage, request):
        self.storage = storage
        self.request = request

    def execute(self, sql, *params):
        if isinstance(self.storage, SQLiteStorage):
            connection = sqlite3.connect(self.storage.path, isolation_level=None)
            connection.execute(sql.replace("%s", "?").replace("{}", "cronkit_"), params)
            connection.close()
        else:
            dsn = self.request.getfixturevalue("postgres").dsn
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(sql.replace("{}", f'"{self.storage.schema}".').encode(), params)

    def set(self, name, **columns):
        """Overwrite columns of the task."""
        if isinstance(self.storage, MemoryStorage):
            self.storage._put_task(replace(self.storage._tasks[name], **columns))
            return
        for column, value in columns.items():
            self.execute(f"UPDATE {{}}tasks SET {column} = %s WHERE name = %s", value, name)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def storage(request, tmp_path):
    match request.param:
        case "memory":
            return MemoryStorage()
        case "sqlite":
            return SQLiteStorage(tmp_path / "cron.db", synchronous="NORMAL")
        case "postgres":
            dsn = request.getfixturevalue("postgres").dsn
            schema = request.getfixturevalue("postgres_schema")
            return PostgresStorage(dsn, schema=schema, clock="caller")


@pytest.fixture
async def scheduler(storage):
    async def handler(run):
        ran.append(run.task.name)

    ran = []
    scheduler = Scheduler(storage, clock=VirtualClock(T0))
    scheduler.ran = ran
    scheduler.register_handler("handler", handler)
    async with scheduler:
        yield scheduler


NONSENSE = [
    ({"schedule_config": "not json"}, "Expecting value"),
    ({"schedule_config": '{"lunar": "full moon"}'}, "lunar"),
    ({"schedule_config": '{"cron": "61 * * * *"}'}, "61"),
    ({"schedule_config": "[]"}, ""),
    ({"schedule_config": "[" * 100_000}, "RecursionError"),
    ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
    ({"config": "{"}, "Expecting property name"),
    ({"config": "[1, 2]"}, "config is not a JSON object"),
    ({"policies": "null"}, ""),
    ({"policies": '{"grace": "soon"}'}, "soon"),
    ({"policies": '{"no_such_policy": 1}'}, "no_such_policy"),
    ({"overlap_policy": "maybe"}, "maybe"),
    ({"retry_backoff": "never"}, "never"),
    ({"retry_max": -1}, "-1"),
    ({"priority": 1_000}, "1000"),
]


async def test_tasks_that_make_no_sense_are_broken(scheduler, storage, request):
    await scheduler.add_task("good", "handler", {"interval": 60})
    names = [f"bad {i}" for i in range(len(NONSENSE))]
    await scheduler.add_tasks(
        {"name": name, "handler": "handler", "schedule": {"interval": 60}} for name in names
    )
    await run_until(scheduler, at(60))
    vandal = Vandal(storage, request)
    for name, (columns, _) in zip(names, NONSENSE, strict=True):
        vandal.set(name, **columns)
    await run_until(scheduler, at(180))
    assert scheduler.ran.count("good") == 3
    assert (await scheduler.get_task("good")).broken is None
    in_list = {task.name: task.broken for task in await scheduler.tasks()}
    for name, (columns, says) in zip(names, NONSENSE, strict=True):
        task = await scheduler.get_task(name)
        assert task.broken, columns
        assert says in task.broken
        assert in_list[name] == task.broken
        assert scheduler.ran.count(name) == 1
    # Written anew, they go on.
    await scheduler.add_tasks(
        {"name": name, "handler": "handler", "schedule": {"interval": 60}} for name in names
    )
    await run_until(scheduler, at(300))
    for name in names:
        assert (await scheduler.get_task(name)).broken is None
        assert scheduler.ran.count(name) > 1


async def test_a_run_triggered_of_a_broken_task_says_why(scheduler, storage, request):
    await scheduler.add_task("bad", "handler", {"interval": 60})
    Vandal(storage, request).set("bad", config="{")
    run_id = await scheduler.trigger_task("bad")
    await run_until(scheduler, at(1))
    run = await scheduler.get_run(run_id)
    assert (run.status, run.reason) == (Status.ERROR, Reason.BROKEN)
    assert "the task is broken" in run.error_message


async def test_a_run_whose_own_config_makes_no_sense_stops_nobody(scheduler, storage, request):
    await scheduler.add_task("good", "handler", {"interval": 60})
    await scheduler.add_task("bad", "handler", "0 0 1 1 *")
    await scheduler.disable_task("bad")
    run_id = await scheduler.trigger_task("bad", config={"a": 1})
    if isinstance(storage, MemoryStorage):
        storage._runs[run_id] = replace(storage._runs[run_id], config="{")
    else:
        Vandal(storage, request).execute("UPDATE {}runs SET config = %s WHERE id = %s", "{", run_id)
    await run_until(scheduler, at(300))
    assert scheduler.ran.count("good") == 5
    run = await scheduler.get_run(run_id)
    assert (run.status, run.reason) == (Status.ERROR, Reason.BROKEN)


# --- what only SQLite lets others write


@pytest.fixture
async def sqlite_scheduler(tmp_path):
    async def handler(run):
        ran.append(run.task.name)

    ran = []
    storage = SQLiteStorage(tmp_path / "cron.db", synchronous="NORMAL")
    scheduler = Scheduler(storage, clock=VirtualClock(T0), lease=30)
    scheduler.ran = ran
    scheduler.register_handler("handler", handler)
    async with scheduler:
        yield scheduler


BAD_VALUES = [
    ("next_run_at", "", "next_run_at is not a time: ''"),
    ("next_run_at", "0000-00-00", "next_run_at is not a time"),
    ("next_run_at", "2027-01-01T00:00:99+00:00", "next_run_at is not a time"),
    ("next_run_at", "soon", "next_run_at is not a time: 'soon'"),
    ("next_run_at", b"\xff", "next_run_at is not a time"),
    ("next_slot", "yesterday", "next_slot is not a time"),
    ("created_at", "long ago", "created_at is not a time"),
    ("schedule_since", 7, "schedule_since is not a time"),
    ("revision", "many", "revision is not int"),
    ("failures", "some", "failures is not int"),
    ("runs_started", "a few", "runs_started is not int"),
    ("priority", "urgent", "priority is not int"),
    ("retry_max", 1.5, "retry_max is not int"),
    ("handler", b"handler", "handler is not str"),
    ("timezone", b"UTC", "timezone is not str"),
]


async def test_values_that_cannot_be_read_break_the_task_alone(sqlite_scheduler):
    scheduler = sqlite_scheduler
    names = [f"bad {i:02}" for i in range(len(BAD_VALUES))]
    await scheduler.add_tasks(
        {"name": name, "handler": "handler", "schedule": {"interval": 60}}
        for name in ("good", *names)
    )
    await run_until(scheduler, at(60))
    vandal = Vandal(scheduler.storage, None)
    for name, (column, value, _) in zip(names, BAD_VALUES, strict=True):
        vandal.set(name, **{column: value})
    await run_until(scheduler, at(300))
    assert scheduler.ran.count("good") == 5
    for name, (column, value, says) in zip(names, BAD_VALUES, strict=True):
        task = await scheduler.get_task(name)
        assert says in (task.broken or ""), (column, value)
        assert scheduler.ran.count(name) == 1
    assert await scheduler.remove_task(names[0])


@pytest.mark.parametrize("alone", [True, False])
async def test_a_time_that_hides_the_others_is_found_at_once(sqlite_scheduler, alone):
    """The first in text order is looked at, and it is not a time."""
    scheduler = sqlite_scheduler
    await scheduler.add_task("bad", "handler", {"interval": 60})
    if not alone:
        await scheduler.add_task("good", "handler", {"interval": 60})
    Vandal(scheduler.storage, None).set("bad", next_run_at="!")
    assert (await scheduler.storage.wake(at(5), "me")).at == at(5)
    await run_until(scheduler, at(5))
    assert (await scheduler.storage.wake(at(5), "me")).at == (None if alone else at(60))
    Vandal(scheduler.storage, None).set("bad", next_run_at="later", broken=None)
    assert (await scheduler.storage.wake(at(5), "me")).at == (None if alone else at(60))


async def test_runs_that_cannot_be_read_end(sqlite_scheduler):
    scheduler = sqlite_scheduler
    vandal = Vandal(scheduler.storage, None)
    await scheduler.add_task("good", "handler", {"interval": 60})
    await scheduler.add_task("bad", "handler", "0 0 1 1 *", overlap="allow")
    record = (await scheduler.get_task("bad")).record
    columns = ["slot", "scheduled_for", "attempt", "priority", "due_at"]
    wishes = [
        new_run(record, at(-n), triggered_by=Trigger.BACKFILL, due_at=at(30))
        for n in range(len(columns))
    ]
    ids = await scheduler.storage.enqueue(wishes, T0, revision=record.revision)
    for run_id, column in zip(ids, columns, strict=True):
        vandal.execute(f"UPDATE {{}}runs SET {column} = 'x' WHERE id = %s", run_id)
    vandal.execute("UPDATE {}runs SET due_at = '' WHERE due_at = 'x'")
    await run_until(scheduler, at(120))
    assert scheduler.ran.count("good") == 2
    found = [await scheduler.get_run(run_id) for run_id in ids]
    assert [run.reason for run in found[:4]] == [Reason.BROKEN] * 4
    assert "the run cannot be read: slot is not a time: 'x'" in found[0].error_message
    assert found[4].status is Status.SUCCESS
    assert len(await scheduler.runs("bad")) == 5


async def test_a_lease_that_cannot_be_read_is_over(sqlite_scheduler):
    scheduler = sqlite_scheduler
    await scheduler.add_task("bad", "handler", {"interval": 60}, retry={"max_retries": 1})
    hangs = asyncio.Event()
    scheduler.register_handler("handler", lambda run: hangs.wait())
    await run_until(scheduler, at(60))
    [run] = await scheduler.runs("bad")
    assert run.status is Status.RUNNING
    other = Scheduler(SQLiteStorage(scheduler.storage.path), clock=scheduler.clock, name="other")
    Vandal(scheduler.storage, None).execute("UPDATE {}runs SET lease_until = '', owner = 'gone'")
    await other.open()
    other.start()
    await run_until(other, at(62))
    assert (await scheduler.get_run(run.id)).reason is Reason.LOST
    hangs.set()
    await other.stop()


# --- at the door

HARD_NAMES = ['it\'s "quoted" \\ ; --', "🕰️ Zürich 東京", "%s ? $1 {} {a}", "a\nb\tc", "x" * 1_000]


@pytest.mark.parametrize("name", HARD_NAMES, ids=range(len(HARD_NAMES)))
async def test_hard_names_and_big_configs_go_all_the_way(scheduler, name):
    config = {"text": name, name: ["🕰", None, 1.5], "long": "é" * 100_000}
    seen = []

    async def handler(run):
        seen.append((run.task.name, run.config))
        run.log(name)
        return config

    await scheduler.add_task(name, handler, {"interval": 60}, config, group=name[:50])
    await run_until(scheduler, at(60))
    assert seen == [(name, config)]
    [run] = await scheduler.runs(name)
    assert (run.task_name, run.status) == (name, Status.SUCCESS)
    assert run.log.startswith(name)
    assert "truncated" in json.loads(run.output)
    assert (await scheduler.get_task(name)).config == config
    await scheduler.disable_task(name, note=name, by=name)
    assert (await scheduler.get_task(name)).record.paused_note == name
    assert await scheduler.remove_task(name)


@pytest.mark.parametrize("bad", ["nul\0", "half \ud83d", "\udc80"])
async def test_what_cannot_be_stored_is_refused_at_the_door(scheduler, bad):
    await scheduler.add_task("good", "handler", {"interval": 60})
    for definition in (
        {"name": bad},
        {"handler": bad},
        {"config": {bad: 1}},
        {"config": {"a": [{"b": bad}]}},
        {"group": bad},
    ):
        wish = {"name": "bad", "handler": "handler", "schedule": {"interval": 60}, **definition}
        with pytest.raises(InvalidTask):
            await scheduler.add_task(**wish)
    with pytest.raises(InvalidTask):
        await scheduler.disable_task("good", note=bad)
    with pytest.raises(InvalidTask):
        await scheduler.trigger_task("good", config={"a": bad})
    with pytest.raises(LookupError):
        await scheduler.get_task(bad)
    assert await scheduler.runs(bad) == []
    assert not await scheduler.remove_task(bad)
    assert [task.name for task in await scheduler.tasks()] == ["good"]


async def test_what_a_handler_says_cannot_hurt_the_storage(scheduler):
    """Handlers may log, raise and return what no storage can keep."""
    bad = "nul\0 and half \ud83d of a pair"

    async def returns(run):
        run.log(bad)
        await run.progress(1, message=bad)
        return {"a": bad}

    async def raises(run):
        raise ValueError(bad)

    await scheduler.add_task("returns", returns, {"interval": 60})
    await scheduler.add_task("raises", raises, {"interval": 60})
    await run_until(scheduler, at(125))
    assert [run.status for run in await scheduler.runs("returns")] == [Status.SUCCESS] * 2
    assert [run.reason for run in await scheduler.runs("raises")] == [Reason.EXCEPTION] * 2
