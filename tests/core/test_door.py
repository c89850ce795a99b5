"""What passes the door can be stored and run by every backend; what cannot is refused there."""

from __future__ import annotations

import functools
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from core_kit import World, at, slots, story

from cronkit_core import (
    CronkitError,
    InvalidTask,
    RunQuery,
    Scheduler,
    SkipQuery,
    SQLiteStorage,
)

MINUTE = {"interval": 60}


async def nothing(run):
    """A handler."""


async def test_the_longest_names_that_do_not_compress(world: World) -> None:
    """An index of PostgreSQL takes 2,704 bytes a row, and some hold a name and a group."""
    random.seed(1)
    # 333 characters of three bytes each.
    name, group = ("".join(chr(random.randrange(0x4E00, 0x9FFF)) for _ in range(333)) for _ in "ab")
    scheduler = await world.scheduler(name=name)
    await scheduler.add_task(name, nothing, MINUTE, group=group, pause_after_failures=1)
    await scheduler.trigger_task(name)
    await world.until(60)
    assert [state for *_, state, _ in await story(scheduler, name)] == ["success"] * 2


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": -1}, "bad limit -1: a whole number from 0 to 1000000000"),
        ({"limit": None}, "bad limit None: a whole number"),
        ({"limit": True}, "bad limit True: a whole number"),
        ({"offset": 2**70}, "bad offset a number of 19 digits or more: a whole number"),
        ({"before_id": 2**70}, "bad run id a number of 19 digits or more: a whole number"),
        ({"ids": ["7"]}, "bad run id '7': a whole number"),
        ({"statuses": "success"}, "bad statuses 'success': a list of pending, running, success"),
        ({"statuses": ["success", "x' OR 1"]}, "bad statuses .*: a list of pending, running"),
        ({"since": datetime(2027, 1, 1)}, "since 2027-01-01 00:00:00 has no time zone"),
        ({"until": datetime(2027, 1, 1)}, "until 2027-01-01 00:00:00 has no time zone"),
    ],
)
def test_queries_that_make_no_sense(query, message) -> None:
    """A backend would answer some of them, each in its own way."""
    with pytest.raises(CronkitError, match=message):
        RunQuery(**query)
    shared = {key: value for key, value in query.items() if key in ("limit", "since", "until")}
    if shared:
        with pytest.raises(CronkitError, match=message):
            SkipQuery("t", **shared)


async def test_a_query_may_speak_of_another_zone(world: World) -> None:
    scheduler = await world.scheduler()
    await scheduler.add_task("t", nothing, MINUTE)
    await world.until(180)
    there = timezone(timedelta(hours=5, minutes=30))
    span = {"since": at(120).astimezone(there), "until": at(120).astimezone(there)}
    assert slots(await scheduler.runs("t", **span)) == [120]


async def test_a_name_that_nobody_can_have_removes_nobody(world: World) -> None:
    scheduler = await world.scheduler()
    await scheduler.add_task("t", nothing, MINUTE)
    assert not await scheduler.remove_task("t\0")
    assert [task.name for task in await scheduler.tasks()] == ["t"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": ""}, "bad path '': the name of a file, or ':memory:'"),
        ({"path": "a\0b"}, "bad path .*: the name of a file"),
        ({"busy_timeout": float("nan")}, "bad busy_timeout nan: seconds, 0 to 1000000"),
        ({"prefix": "a b"}, "bad prefix 'a b': letters, digits and underscores"),
        ({"synchronous": "OFF"}, "bad synchronous 'OFF': 'FULL' or 'NORMAL'"),
    ],
)
def test_bad_options_of_sqlite(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        SQLiteStorage(**{"path": "jobs.db", **options})


@pytest.mark.parametrize(
    ("storage", "remedy"),
    [
        ("jobs.db", r"give SQLiteStorage\('jobs.db'\)"),
        (Path("jobs.db"), r"give SQLiteStorage\('jobs.db'\)"),
        ("postgresql://user:secret@host/db", r"give PostgresStorage\('postgresql://...'\)"),
        (SQLiteStorage, r"an object such as SQLiteStorage\('jobs.db'\)"),
        (7, "an object such as SQLiteStorage"),
    ],
)
def test_what_is_no_storage(storage: Any, remedy: str) -> None:
    with pytest.raises(InvalidTask, match=remedy) as caught:
        Scheduler(storage)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("handler", [lambda: None, lambda a, b: None, lambda a, *, b: None])
async def test_a_handler_that_cannot_take_a_run(handler: Any) -> None:
    scheduler = Scheduler()
    with pytest.raises(InvalidTask, match=r"is called with \(run\)"):
        scheduler.register_handler("h", handler)
    with pytest.raises(InvalidTask, match=r"is called with \(run\)"):
        await scheduler.add_task("t", handler, 60)
    assert await scheduler.tasks() == []


def test_a_handler_of_which_nobody_can_tell_what_it_takes() -> None:
    @functools.wraps(lambda run, database: None)
    def injected(run: Any) -> None:
        pass

    for handler in (injected, print, functools.partial(lambda a, b: None, 1), lambda *a: None):
        Scheduler().register_handler("h", handler)
    Scheduler().register_handler("h", type)  # it has no signature
