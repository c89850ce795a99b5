"""The built-in handlers `cron:sql` and `cron:snapshot`: what they do and refuse, and to whom."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from builtin_site import ANA, ROOT, Make, Site, make, site
from datasette.utils.asgi import Forbidden

from cronkit_core.errors import InvalidTask
from cronkit_core.runs import Reason
from datasette_cron.requirements import check_config, check_task

__all__ = ["make", "site"]


# --- cron:sql --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "params", "changed"),
    [
        ("insert into notes (text) values ('a'), ('b')", {}, 2),
        ("insert into notes (text) values (:text) returning id", {"text": "a"}, 1),
        ("with new as (select 'a' as x) insert into notes (text) select x from new", {}, 1),
        ("insert into notes (text) values ('a'); update notes set text = 'b';", {}, 2),
        ("insert into notes (text) values ('semi;colon'); -- a comment; and more", {}, 1),
        ("delete from notes", {}, 0),
        ("create table more (a)", {}, 0),
        ("select 1", {}, 0),
        ("vacuum", {}, 0),
        ("pragma wal_checkpoint(truncate)", {}, 0),
        ("insert into notes (text) values (:list)", {"list": [1, {"a": None}]}, 1),
        (
            "create trigger twice after insert on notes begin "
            "update notes set text = 'x' where id = new.id; end; "
            "insert into notes (text) values ('a')",
            {},
            1,
        ),
    ],
)
async def test_sql_reports_the_rows_changed(
    site: Site, sql: str, params: dict[str, Any], changed: int
) -> None:
    config = {"database": "notes", "sql": sql, "params": params}
    assert await site.output("cron:sql", config) == {"rows_changed": changed}


async def test_sql_knows_its_run(site: Site) -> None:
    sql = (
        "insert into notes (text) values (:cron_task || ' ' || :cron_slot || ' ' || :cron_attempt)"
    )
    run = await site.run("cron:sql", {"database": "notes", "sql": sql})
    assert site.rows() == [f"t {run.slot.isoformat()} 1"]


async def test_params_do_not_stand_in_for_what_a_run_is(site: Site) -> None:
    sql = "insert into notes (text) values (:cron_task), (:_now_date_utc)"
    params = {"cron_task": "another", "_now_date_utc": "1999-01-01"}
    await site.output("cron:sql", {"database": "notes", "sql": sql, "params": params})
    assert site.rows() == ["t", f"{datetime.now(UTC):%Y-%m-%d}"]


async def test_sql_that_is_cancelled_while_it_waits_is_not_executed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    entered, release = threading.Event(), threading.Event()

    def occupy(conn: Any) -> None:
        entered.set()
        release.wait(30)

    database = site.datasette.get_database("notes")
    occupied = asyncio.create_task(database.execute_write_fn(occupy))
    await asyncio.to_thread(entered.wait)
    run = await site.run("cron:sql", INSERT, timeout=0.1)
    assert run.reason == Reason.TIMEOUT
    release.set()
    await occupied
    await database.execute_write("insert into notes (text) values ('after')")
    assert site.rows() == ["after"]
    assert "the run was cancelled" in capsys.readouterr().err


async def test_sql_with_a_stored_query(site: Site) -> None:
    config = {"database": "notes", "query": "add", "params": {"text": "stored"}}
    assert await site.output("cron:sql", config) == {"rows_changed": 1}
    assert await site.output("cron:sql", {"database": "notes", "query": "stamp"})
    assert site.rows() == ["stored", f"{datetime.now(UTC):%Y-%m-%d}"]


async def test_sql_is_one_transaction(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "insert into notes (text) values ('a'); insert into nowhere values (1)"
    run = await site.run("cron:sql", {"database": "notes", "sql": sql})
    assert (run.error_type, run.error_message) == ("OperationalError", "no such table: nowhere")
    assert site.rows() == []
    assert "no such table" in capsys.readouterr().err


ENDLESS = (
    "insert into notes (text) with recursive n(i) as (select 1 union all select i + 1 from n) "
    "select i from n"
)


async def test_sql_that_takes_too_long_is_rolled_back(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    run = await site.run("cron:sql", {"database": "notes", "sql": ENDLESS}, timeout=0.1)
    assert run.reason == Reason.TIMEOUT
    # The thread that writes is free again.
    config = {"database": "notes", "sql": "insert into notes (text) values ('next')"}
    assert await site.output("cron:sql", config) == {"rows_changed": 1}
    assert site.rows() == ["next"]
    assert "interrupted" in capsys.readouterr().err


BAD_SQL: list[tuple[dict[str, Any], str]] = [
    ({"sql": "select 1"}, "the config of cron:sql has no 'database'"),
    ({"database": 3, "sql": "select 1"}, "bad database 3: a text"),
    ({"database": "notes"}, "needs either 'sql' or 'query'"),
    ({"database": "notes", "sql": "x", "query": "y"}, "needs either 'sql' or 'query'"),
    ({"database": "notes", "sql": " "}, "bad sql ' ': a text is wanted"),
    ({"database": "notes", "sql": ["x"]}, "bad sql ['x']"),
    ({"database": "notes", "sql": ";" * 20_001}, "bad sql: 20001 characters"),
    ({"database": "notes", "sql": "x", "parms": {}}, "did you mean 'params'?"),
    ({"database": "notes", "sql": "x", "params": [1]}, "bad params [1]"),
    ({"database": "gone", "sql": "x"}, "unknown database 'gone'"),
    ({"database": "_internal", "sql": "x"}, "unknown database '_internal'"),
    ({"database": "fixed", "sql": "x"}, "database 'fixed' is immutable"),
    ({"database": "_memory", "sql": "x"}, "database '_memory' is immutable"),
    ({"database": "notes", "query": "gone"}, "no stored query 'gone'"),
    ({"database": "notes", "query": "read"}, "the stored query 'read' only reads"),
    ({"database": "notes", "query": "add"}, "parameter :text has no value"),
    ({"database": "notes", "query": "mine"}, "parameter :_actor_id stands for a part of a request"),
    (
        {"database": "notes", "query": "mine", "params": {"_actor_id": "root"}},
        "parameter :_actor_id stands for a part of a request",
    ),
    ({"database": "notes", "sql": "select :_x"}, "parameter :_x has no value"),
]


@pytest.mark.parametrize(("config", "message"), BAD_SQL)
async def test_sql_refuses(site: Site, config: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTask) as caught:
        await check_config(site.scheduler, "cron:sql", config)
    assert message in str(caught.value)
    run = await site.run("cron:sql", config)
    assert run.error_type == "InvalidTask"
    assert message in (run.error_message or "")


INSERT = {"database": "notes", "sql": "insert into notes (text) values ('a')"}


@pytest.mark.parametrize(
    ("actor", "config", "allowed"),
    [
        (ROOT, INSERT, True),
        (ANA, INSERT, True),
        ({"id": "ben"}, INSERT, False),
        (None, INSERT, False),
        (ROOT, {"database": "notes", "sql": "create table more (a)"}, True),
        (ANA, {"database": "notes", "sql": "create table more (a)"}, False),
        (ANA, {"database": "notes", "sql": f"{INSERT['sql']}; drop table notes"}, False),
        (ANA, {"database": "notes", "sql": "attach 'other.db' as other"}, False),
        (ROOT, {"database": "notes", "sql": "vacuum"}, False),
        (ANA, {"database": "notes", "sql": "update sqlite_master set sql = ''"}, False),
        # A trusted query is the operator's, for all who may see it.
        ({"id": "ben"}, {"database": "notes", "query": "stamp"}, True),
        # An actor who may not write learns nothing of what there is.
        (ANA, {"database": "gone", "sql": "x"}, False),
    ],
)
async def test_sql_requires_what_the_actor_may_do_by_hand(
    site: Site, actor: Any, config: dict[str, Any], allowed: bool
) -> None:
    if allowed:
        await check_task(site.scheduler, actor, "cron:sql", config)
    else:
        with pytest.raises(Forbidden):
            await check_task(site.scheduler, actor, "cron:sql", config)


async def test_sql_requires_the_same_for_a_stored_query_of_a_user(site: Site) -> None:
    config = {"database": "notes", "query": "wipe"}
    await site.datasette.add_query("notes", "wipe", "delete from notes", is_write=True)
    await check_task(site.scheduler, ANA, "cron:sql", config)
    with pytest.raises(Forbidden):
        await check_task(site.scheduler, {"id": "ben"}, "cron:sql", config)


# --- cron:snapshot ---------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    found = tmp_path / "snapshots"
    found.mkdir()
    return found


async def test_snapshot(make: Make, directory: Path) -> None:
    site = await make(snapshot_directory=str(directory))
    await site.output("cron:sql", INSERT)
    run = await site.run("cron:snapshot", {"database": "notes"})
    output = json.loads(run.output or "")
    [file] = directory.iterdir()
    assert output == {"file": file.name, "bytes": file.stat().st_size, "deleted": []}
    assert file.name == f"notes-{run.slot:%Y%m%dT%H%M%S.%f}Z.db"
    conn = sqlite3.connect(file)
    assert conn.execute("SELECT text FROM notes").fetchall() == [("a",)]
    conn.close()


async def test_snapshots_are_named_by_their_slots_and_the_newest_are_kept(
    make: Make, directory: Path
) -> None:
    site = await make(snapshot_directory=str(directory))
    (directory / "notes-20200101T000000Z.db").touch()
    (directory / "notes-20200102T000000Z.db").touch()
    (directory / ".notes-20200102T000000Z.db.partial").touch()
    others = ["notes-2-20200101T000000Z.db", "notes.db", "notes-20200101T000000Z.db.bak", "x"]
    for name in others:
        (directory / name).touch()
    await site.scheduler.add_task(
        name="t",
        handler="cron:snapshot",
        schedule="0 3 * * *",
        config={"database": "notes", "keep": 2},
    )
    await site.scheduler.internal_db.update_next_run("t", "2026-01-01T03:00:00")
    while not (runs := await site.scheduler.runs("t")):
        await asyncio.sleep(0.01)
    run = await site.scheduler.wait_for_run(runs[0].id)
    assert json.loads(run.output or "")["deleted"] == ["notes-20200101T000000Z.db"]
    kept = ["notes-20200102T000000Z.db", "notes-20260101T030000Z.db"]
    assert sorted(path.name for path in directory.iterdir()) == sorted([*others, *kept])


async def test_snapshot_of_an_immutable_database_and_one_in_memory(
    make: Make, directory: Path
) -> None:
    site = await make(snapshot_directory=str(directory))
    memory = site.datasette.add_memory_database("in-memory", name="a/b c")
    await memory.execute_write("create table t (a)")
    assert (await site.output("cron:snapshot", {"database": "fixed"}))["bytes"] > 0
    output = await site.output("cron:snapshot", {"database": "a/b c"})
    assert output["file"].startswith("a~2Fb+c-")
    output = await site.output("cron:snapshot", {"database": "a/b c", "name": "plain"})
    assert output["file"].startswith("plain-")
    assert len(list(directory.iterdir())) == 3


async def test_a_cancelled_snapshot_leaves_nothing(make: Make, directory: Path) -> None:
    site = await make(snapshot_directory=str(directory))
    rows = "with recursive n(i) as (select 1 union all select i + 1 from n limit 600000)"
    sql = f"insert into notes (text) {rows} select hex(randomblob(20)) from n"
    await site.output("cron:sql", {"database": "notes", "sql": sql})
    run = await site.run("cron:snapshot", {"database": "notes"}, timeout=0.05)
    assert run.reason == Reason.TIMEOUT
    async with asyncio.timeout(10):
        while list(directory.iterdir()):
            await asyncio.sleep(0.01)


async def test_a_snapshot_replaces_a_link_and_does_not_follow_it(
    make: Make, directory: Path, tmp_path: Path
) -> None:
    site = await make(snapshot_directory=str(directory))
    await site.scheduler.add_task(
        name="t", handler="cron:snapshot", schedule="0 3 * * *", config={"database": "notes"}
    )
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("notes-20260101T030000Z.db", ".notes-20260101T030000Z.db.partial"):
        (directory / name).symlink_to(victim)
    await site.scheduler.internal_db.update_next_run("t", "2026-01-01T03:00:00")
    while not (runs := await site.scheduler.runs("t")):
        await asyncio.sleep(0.01)
    assert (await site.scheduler.wait_for_run(runs[0].id)).error_message is None
    assert victim.read_text() == "precious"
    [file] = directory.iterdir()
    assert not file.is_symlink()


BAD_SNAPSHOTS: list[tuple[dict[str, Any], str]] = [
    ({}, "the config of cron:snapshot has no 'database'"),
    ({"database": "gone"}, "unknown database 'gone'"),
    ({"database": "_memory"}, "unknown database '_memory'"),
    ({"database": "notes", "keep": 0}, "bad keep 0"),
    ({"database": "notes", "name": "../notes"}, "bad name '../notes'"),
    ({"database": "notes", "name": "a/b"}, "bad name 'a/b'"),
    ({"database": "notes", "name": ".hidden"}, "bad name '.hidden'"),
    ({"database": "notes", "name": "a\0b"}, "bad name"),
    ({"database": "notes", "name": "a" * 101}, "bad name"),
    ({"database": "notes", "directory": "/tmp"}, "unknown key in the config of cron:snapshot"),
]


@pytest.mark.parametrize(("config", "message"), BAD_SNAPSHOTS)
async def test_snapshot_refuses(
    make: Make, directory: Path, config: dict[str, Any], message: str
) -> None:
    site = await make(snapshot_directory=str(directory))
    with pytest.raises(InvalidTask) as caught:
        await check_config(site.scheduler, "cron:snapshot", config)
    assert message in str(caught.value)
    assert list(directory.iterdir()) == []


async def test_snapshot_without_a_directory(site: Site) -> None:
    run = await site.run("cron:snapshot", {"database": "notes"})
    assert "set plugins.datasette-cron.snapshot_directory" in (run.error_message or "")


async def test_snapshot_requires_the_permission_to_download(make: Make, directory: Path) -> None:
    site = await make(snapshot_directory=str(directory))
    await check_task(site.scheduler, None, "cron:snapshot", {"database": "notes"})
    site.datasette.config["databases"]["notes"]["permissions"]["view-database-download"] = False
    with pytest.raises(Forbidden):
        await check_task(site.scheduler, ANA, "cron:snapshot", {"database": "notes"})


async def test_a_slot_is_snapshot_once_however_often_it_is_tried(
    make: Make, directory: Path
) -> None:
    site = await make(snapshot_directory=str(directory))
    start = datetime(2026, 1, 1, 3, tzinfo=UTC)
    await site.scheduler.add_task(
        name="t", handler="cron:snapshot", schedule="0 3 * * *", config={"database": "notes"}
    )
    ids = await site.scheduler.backfill("t", start, start + timedelta(days=1))
    for run_id in ids:
        assert (await site.scheduler.wait_for_run(run_id)).error_message is None
    assert sorted(path.name for path in directory.iterdir()) == [
        "notes-20260101T030000Z.db",
        "notes-20260102T030000Z.db",
    ]
