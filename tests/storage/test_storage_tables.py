"""The tables refuse nonsense themselves, whoever writes it; and what is SQLite's own."""

import sqlite3

import psycopg
import pytest

from cronkit_core import PostgresStorage, SQLiteStorage, StorageError
from cronkit_core.storage.base import TaskQuery
from cronkit_core.testing._contract_made import (
    T0,
    at,
    claim,
    enqueue,
    failure,
    history,
    made,
    new_run,
    read,
    save,
    success,
)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def execute(request, tmp_path):
    """Executes a statement by hand on a storage that has a running, a pending, a good and a bad run
    (1 to 4); answers with the error."""
    if request.param == "sqlite":
        storage = SQLiteStorage(tmp_path / "cron.db", synchronous="NORMAL")
    else:
        dsn = request.getfixturevalue("postgres").dsn
        schema = request.getfixturevalue("postgres_schema")
        storage = PostgresStorage(dsn, schema=schema, clock="caller")
    await storage.open()
    [task] = await save(storage, made("a", next_slot=None, next_run_at=None))
    await enqueue(storage, task, *(new_run(task, at(i), due_at=T0) for i in range(4)))
    runs = (await claim(storage, limit=4)).runs
    await storage.finish([failure(runs[3][0], task.id)], at(5))
    await storage.finish([success(*runs[2])], at(5))
    await storage.finish([failure(runs[1][0], task.id, retry_at=at(9))], at(5))

    def by_hand(sql):
        try:
            if request.param == "sqlite":
                connection = sqlite3.connect(storage.path, isolation_level=None)
                try:
                    connection.execute(sql.replace("{}", "cronkit_"))
                finally:
                    connection.close()
            else:
                with psycopg.connect(storage._conninfo, autocommit=True) as connection:
                    connection.execute(sql.replace("{}", f'"{storage.schema}".').encode())
        except (sqlite3.IntegrityError, psycopg.IntegrityError) as error:
            return type(error)
        return None

    yield by_hand
    await storage.close()


RUNNING = "UPDATE {}runs SET %s WHERE status = 'running'"
PENDING = "UPDATE {}runs SET %s WHERE status = 'pending'"
GOOD = "UPDATE {}runs SET %s WHERE status = 'success'"
BAD = "UPDATE {}runs SET %s WHERE reason = 'exception'"
SKIP = (
    "INSERT INTO {}skips (task_name, first_slot, last_slot, count, reason, recorded_at) "
    "VALUES ('a', '2027-01-01 00:00:00+00:00', '%s 00:00:00+00:00', %s, '%s', "
    "'2027-01-01 00:00:00+00:00')"
)


@pytest.mark.parametrize(
    "sql",
    [
        RUNNING % "lease_until = NULL",
        RUNNING % "owner = NULL",
        RUNNING % "started_at = NULL",
        RUNNING % "finished_at = started_at",
        RUNNING % "due_at = started_at",
        RUNNING % "reason = 'lost'",
        RUNNING % "status = 'success'",
        RUNNING % "status = 'pending'",
        RUNNING % "status = 'sleeping'",
        PENDING % "status = 'running'",
        PENDING % "lease_until = due_at",
        PENDING % "finished_at = due_at",
        PENDING % "attempt = 0",
        PENDING % "slot = NULL",
        GOOD % "reason = 'lost'",
        GOOD % "finished_at = NULL",
        GOOD % "status = 'running'",
        GOOD % "duration_ms = -1",
        GOOD % "triggered_by = 'magic'",
        BAD % "reason = NULL",
        "UPDATE {}runs SET slot = '2027-01-01T00:00:00.000000+00:00', attempt = 1",
        "UPDATE {}tasks SET last_status = 'fine'",
        "UPDATE {}tasks SET failures = -1",
        "UPDATE {}tasks SET runs_started = -1",
        "UPDATE {}tasks SET revision = 0",
        "UPDATE {}tasks SET name = NULL",
        SKIP % ("2026-12-31", 1, "missed"),
        SKIP % ("2027-01-02", 0, "missed"),
        SKIP % ("2027-01-02", 1, "laziness"),
    ],
)
async def test_the_tables_refuse_nonsense(execute, sql):
    assert execute(SKIP % ("2027-01-02", 1, "missed")) is None
    assert execute(PENDING % "due_at = NULL") is None
    assert execute(PENDING % "due_at = slot") is None
    assert execute(sql) is not None


# --- SQLite's own


@pytest.mark.parametrize(("synchronous", "number"), [("FULL", 2), ("NORMAL", 1)])
async def test_the_file_is_in_wal_mode_and_as_synchronous_as_asked(tmp_path, synchronous, number):
    storage = SQLiteStorage(tmp_path / "cron.db", synchronous=synchronous)
    await storage.open()
    for connection in (storage._writer, storage._reader):
        assert list(await connection.execute_fetchall("PRAGMA journal_mode")) == [("wal",)]
        assert list(await connection.execute_fetchall("PRAGMA synchronous")) == [(number,)]
    await storage.close()


async def test_a_file_that_was_in_another_mode_is_taken(tmp_path):
    path = tmp_path / "cron.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    storage = SQLiteStorage(path)
    await storage.open()
    await save(storage, made())
    await storage.close()
    connection = sqlite3.connect(path)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    connection.close()
    assert "mine" in tables


async def test_two_prefixes_in_one_file_do_not_meet(tmp_path):
    here = SQLiteStorage(tmp_path / "cron.db")
    there = SQLiteStorage(tmp_path / "cron.db", prefix="other_")
    await here.open()
    await there.open()
    await save(here, made())
    assert await there.tasks(TaskQuery()) == []
    await save(there, made(handler="other"))
    await claim(there)
    assert await history(here) == []
    assert (await read(here)).handler == "handler"
    await here.close()
    await there.close()


async def test_a_reader_does_not_wait_for_a_writer(tmp_path):
    storage = SQLiteStorage(tmp_path / "cron.db", busy_timeout=0.01)
    await storage.open()
    await save(storage, made())
    other = sqlite3.connect(storage.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert (await storage.wake(T0, "me")).at == T0
    assert (await read(storage)).name == "task"
    with pytest.raises(StorageError, match="database is locked"):
        await claim(storage)
    other.execute("ROLLBACK")
    other.close()
    assert len((await claim(storage)).runs) == 1
    await storage.close()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="bad synchronous 'OFF': 'FULL' or 'NORMAL'"):
        SQLiteStorage("cron.db", synchronous="OFF")
    with pytest.raises(ValueError, match="bad prefix 'a-b': letters, digits and underscores"):
        SQLiteStorage("cron.db", prefix="a-b")
