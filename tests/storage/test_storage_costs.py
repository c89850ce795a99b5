"""What an operation costs, counted: statements, steps of SQLite's machine, pages of PostgreSQL.
Nothing here is timed, so a busy machine changes nothing."""

import asyncio
import json
import sqlite3
import sys
from datetime import timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronkit_core import MemoryStorage, PostgresStorage, RunQuery, TaskQuery
from cronkit_core.storage import postgres_rows
from cronkit_core.storage.base import Claim, Report, Retention, TaskWrite
from cronkit_core.storage.sqlite_base import run_program, with_rows
from cronkit_core.storage.sqlite_programs import Programs
from cronkit_core.storage.sqlite_schema import Statement, migrate
from cronkit_core.testing._contract_made import (
    LEASE,
    T0,
    Seen,
    at,
    failure,
    made,
    new_run,
    nothing,
    start_all,
    success,
)

programs = Programs("cronkit_")


class Database:
    """A SQLite in memory that counts."""

    def __init__(self):
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.statements = []
        self.steps = 0
        self.run(migrate("cronkit_", "memory"))

    def run(self, program):
        """Run a program; note its statements, and how many steps they took."""
        self.statements.clear()
        self.steps = 0

        def count():
            self.steps += 1

        def noted():
            rows = []
            try:
                statement = next(program)
                while True:
                    self.statements.append(statement)
                    rows = yield statement
                    statement = program.send(rows)
            except StopIteration as end:
                return end.value

        self.connection.set_progress_handler(count, 1)
        try:
            return run_program(self.connection, noted())
        finally:
            self.connection.set_progress_handler(None, 1)

    def plans(self):
        """The lines of EXPLAIN QUERY PLAN for the statements of the last program."""
        found = []
        for statement in self.statements:
            parts = with_rows(statement) if statement.many else [statement[:2]]
            for sql, params in parts:
                rows = self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", params)
                found += [row[3] for row in rows]
        return found

    def fill(self, count):
        """So many idle tasks."""
        columns = (
            "name, handler, schedule_type, schedule_config, created_at, updated_at, next_slot, "
            "next_run_at"
        )
        self.connection.execute(
            f"INSERT INTO cronkit_tasks ({columns}) "
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count) "
            "SELECT printf('idle %06d', i), 'h', 'interval', '{}', :at, :at, :at, :at FROM n",
            {"count": count, "at": at(10_000).isoformat(timespec="microseconds")},
        )

    def claim(self, plan=start_all, now=T0, **options):
        options = {"owner": "me", "lease": LEASE, "limit": 500, **options}
        return self.run(programs.claim(plan, now, **options))


@pytest.fixture
def database():
    database = Database()
    yield database
    database.connection.close()


def a_bit_of_everything(count):
    """Tasks that are due, of two priorities and with a group, some with a run that waits."""
    return [
        made(f"t{i:03}", priority=i % 2, task_group="g" if i % 3 == 0 else None)
        for i in range(count)
    ]


def prepare(database, count):
    """Tasks that are due, pending runs that are due, and expired runs, so many of each."""
    database.run(programs.save_tasks([TaskWrite(r) for r in a_bit_of_everything(count)], T0))
    database.claim(now=T0, lease=timedelta(seconds=1))
    started = database.run(programs.runs(RunQuery(limit=10_000)))
    tasks = {task.name: task for task in database.run(programs.tasks(TaskQuery(limit=None)))}
    for run in started[: count // 2]:
        end = failure(run, tasks[run.task_name].id, at(1), retry_at=at(2))
        database.run(programs.finish([end], at(1)))


def test_sqlite_reads_what_is_due_from_indexes(database):
    database.fill(1_000)
    prepare(database, 12)
    for program in (
        programs.wake(T0, "me", ["g"]),
        programs.claim(nothing, at(3), owner="me", lease=LEASE, limit=500, full_groups=["x"]),
        programs.claim(start_all, at(60), owner="me", lease=LEASE, limit=500),
    ):
        database.run(program)
        plans = database.plans()
        assert plans
        for line in plans:
            scans = [w for w in ("SCAN cronkit_tasks", "SCAN cronkit_runs") if line.startswith(w)]
            assert not scans or "USING" in line, line
    database.claim(nothing, at(60))
    of_due = next(s for s in database.statements if "AND next_run_at <= ?" in s.sql)
    lines = database.connection.execute(f"EXPLAIN QUERY PLAN {of_due.sql}", of_due.params)
    assert not [line for *_, line in lines if "TEMP B-TREE" in line]


def test_sqlite_finds_what_it_writes_by_indexes(database):
    """Also where many rows are written by one statement: none is looked for in a whole table."""
    database.fill(1_000)
    count = 123
    writes = [TaskWrite(made(f"t{i:03}")) for i in range(count)]
    database.run(programs.save_tasks(writes, T0))
    claimed = database.claim(now=T0).runs
    assert len(claimed) == count
    ends = [failure(run, i, at(1), retry_at=at(2), pause_after=1) for run, i in claimed]
    reports = [Report(run.id, run.epoch, "1", "line") for run, _ in claimed]
    stored = database.run(programs.tasks(TaskQuery(names=[w.record.name for w in writes])))
    edits = [TaskWrite(task, drop_pending="x") for task in stored]
    for program in (
        programs.renew("me", at(1), LEASE, reports),
        programs.finish(ends, at(1)),
        programs.save_tasks(edits, at(2)),
        programs.remove_tasks([task.name for task in stored], at(3), cancel=True),
    ):
        database.run(program)
        assert any(statement.many for statement in database.statements)
        for line in database.plans():
            scans = [w for w in ("SCAN cronkit_tasks", "SCAN cronkit_runs") if line.startswith(w)]
            assert not scans or "USING" in line, line
            assert not line.startswith(("SCAN run", "SCAN task")), line


@given(st.integers(0, 1_234), st.integers(1, 20))
def test_sqlite_writes_many_rows_with_few_statements(count, columns):
    params = [tuple(range(i, i + columns)) for i in range(count)]
    made_of = list(with_rows(Statement("VALUES :rows", params, many=True)))
    connection = sqlite3.connect(":memory:")
    assert [row for part in made_of for row in connection.execute(*part)] == params
    connection.close()
    assert len(made_of) <= count // 100 + 9 + 9
    assert len({sql for sql, _ in made_of}) <= 3


def test_sqlite_looks_at_no_more_when_there_is_more():
    """Idle tasks cost nothing: a look takes as many steps among 100,000 as among 1,000."""
    steps = {}
    for count in (1_000, 100_000):
        database = Database()
        database.fill(count)
        prepare(database, 12)
        database.claim(lambda snapshot: Claim(resumes=list(snapshot.pending)), at(5))
        looks = []
        for program in (
            programs.wake(at(6), "me"),
            programs.wake(at(6), "me", ["g"]),
            programs.claim(nothing, at(6), owner="me", lease=LEASE, limit=500),
            programs.claim(start_all, at(60), owner="me", lease=LEASE, limit=500),
            programs.renew("me", at(61), LEASE),
            programs.names_with_history("t003", 10),
        ):
            database.run(program)
            looks.append(database.steps)
        steps[count] = looks
        database.connection.close()
    for few, many in zip(steps[1_000], steps[100_000], strict=True):
        assert many <= few * 1.05 + 20, steps


def test_sqlite_needs_as_many_statements_for_many(database):
    """One with many rows counts as one: it is compiled once for each of three lengths."""
    statements = {}
    for count in (2, 60):
        database.connection.execute("DELETE FROM cronkit_tasks")
        database.connection.execute("DELETE FROM cronkit_runs")
        counts = []
        writes = [TaskWrite(made(f"t{i:03}"), drop_pending="x") for i in range(count)]
        database.run(programs.save_tasks(writes, T0))
        counts.append(len(database.statements))
        claimed = database.claim(now=T0)
        assert len(claimed.runs) == count
        counts.append(len(database.statements))
        ends = [failure(run, i, at(1), retry_at=at(2)) for run, i in claimed.runs]
        database.run(programs.finish(ends, at(1)))
        counts.append(len(database.statements))
        claimed = database.claim(now=at(2), lease=timedelta(seconds=1))
        counts.append(len(database.statements))
        seen = Seen(start_all)
        database.claim(seen, now=at(60))
        assert len(seen.only.expired) == len(seen.only.tasks) == count
        counts.append(len(database.statements))
        claimed = database.claim(lambda s: Claim(waits=start_all(s).starts), now=at(120))
        counts.append(len(database.statements))
        runs = database.run(programs.runs(RunQuery(limit=10_000)))
        live = [run for run in runs if run.status == "running"]
        ids = {task.name: task.id for task in database.run(programs.tasks(TaskQuery(limit=None)))}
        ends = [failure(run, ids[run.task_name], at(121), pause_after=1) for run in live]
        assert len(ends) == count
        database.run(programs.finish(ends, at(121)))
        counts.append(len(database.statements))
        database.run(programs.remove_tasks(list(ids), at(122), cancel=True))
        counts.append(len(database.statements))
        statements[count] = counts
    assert statements[2] == statements[60]
    assert max(statements[2]) <= 16


@pytest.mark.parametrize("of", ["waiting runs", "history"])
def test_sqlite_is_not_slowed_down_by_what_a_task_has(database, of):
    """Who ends a run looks for the next one to release, and who claims looks at the live ones,
    however many runs wait, or have ended."""
    steps = {}
    for count in (10, 3_000):
        name = f"task {count}"
        database.run(programs.save_tasks([TaskWrite(made(name))], T0))
        [(run, task_id)] = database.claim().runs
        [task] = database.run(programs.tasks(TaskQuery(names=[name])))
        new = [new_run(task, at(-i)) for i in range(1, count + 1)]
        database.run(programs.enqueue(new, T0, revision=task.revision))
        if of == "history":
            database.connection.execute(
                "UPDATE cronkit_runs SET status = 'success', finished_at = slot, due_at = NULL "
                "WHERE status = 'pending'"
            )
        # Programs do nothing until they are run.
        looks = [
            programs.finish([success(run, task_id)], at(5)),
            programs.wake(at(6), "me"),
            programs.prune([Retention(name, 5, None)], 1),
            programs.prune([Retention(name, None, at(-100_000))], 1),
        ]
        if of == "history":
            looks += [
                programs.counts(),
                programs.claim(start_all, at(60), owner="me", lease=LEASE, limit=500),
                programs.save_tasks([TaskWrite(made(name), (), "a test")], at(61)),
            ]
        found = []
        for look in looks:
            database.run(look)
            found.append(database.steps)
        steps[count] = found
        database.run(programs.remove_tasks([name], T0, cancel=True))
        database.connection.execute("DELETE FROM cronkit_runs")
    for few, many in zip(steps[10], steps[3_000], strict=True):
        assert many <= few * 1.1 + 20, steps


def test_memory_is_not_slowed_down_by_runs_that_wait():
    """Counted in calls of functions, which a loop over the runs of a task makes one by one."""
    calls = {}
    for count in (200, 2_000):
        storage = MemoryStorage()
        asyncio.run(_with_waiting_runs(storage, count))
        [run] = asyncio.run(storage.runs(RunQuery(statuses=["running"])))
        made_calls = 0

        def profile(frame, event, argument):
            nonlocal made_calls
            made_calls += event in ("call", "c_call")

        end = storage.finish([success(run, storage._task_of[run.id])], at(5))
        sys.setprofile(profile)
        try:
            with pytest.raises(StopIteration):  # it awaits nothing
                end.send(None)
        finally:
            sys.setprofile(None)
        calls[count] = made_calls
        released = asyncio.run(storage.runs(RunQuery(limit=count + 1)))
        assert [r.slot for r in released if r.due_at is not None] == [at(-count)]
    assert calls[2_000] <= calls[200] * 1.5, calls


async def _with_waiting_runs(storage, count):
    """A task with a running run, and so many that wait for it."""
    await storage.save_tasks([TaskWrite(made())], T0)
    await storage.claim(start_all, T0, owner="me", lease=LEASE, limit=1)
    [task] = await storage.tasks(TaskQuery())
    new = [new_run(task, at(-i)) for i in range(1, count + 1)]
    assert len(await storage.enqueue(new, T0, revision=task.revision)) == count


LISTS = (
    RunQuery(statuses=["error"]),
    RunQuery(statuses=["error", "running"], before_id=900),
    RunQuery(since=at(-10), until=at(-1)),
    RunQuery(until=at(-970), statuses=["success"]),
)
"""Lists over the runs of all tasks whose answers are far from the newest runs."""


def test_sqlite_lists_runs_of_all_tasks_from_an_index(database):
    """Lists by outcome and by time cost as much among many runs as among few."""
    steps = {}
    for count in (4_000, 40_000):
        database.connection.execute("DELETE FROM cronkit_runs")
        database.connection.execute("DELETE FROM sqlite_sequence")
        database.connection.execute(
            "INSERT INTO cronkit_runs (task_id, task_name, slot, status, triggered_by, "
            "scheduled_for, finished_at, reason) "
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "SELECT i, 'task ' || i, "
            "replace(datetime(?, (i - 1000) || ' seconds'), ' ', 'T') || '.000000+00:00', "
            "iif(i < 20, 'error', 'success'), 'schedule', '', '', iif(i < 20, 'exception', NULL) "
            "FROM n",
            (count, T0.isoformat(" ", "seconds")[:19]),
        )
        found = []
        for query in LISTS:
            runs = database.run(programs.runs(query))
            assert runs
            assert [run.id for run in runs] == sorted((run.id for run in runs), reverse=True)
            found.append(database.steps)
            plans = database.plans()
            assert any("runs_ended" in line for line in plans)
            for line in plans:
                # The table is read between two ids only; scanned are runs that have not ended.
                assert not line.startswith("SCAN cronkit_runs") or "runs_live" in line, line
        steps[count] = found
    for few, many in zip(steps[4_000], steps[40_000], strict=True):
        assert many <= few * 1.05 + 20, steps


# --- PostgreSQL


class Noted:
    """Keeps the statements that a storage in PostgreSQL executes."""

    def __init__(self, monkeypatch):
        self.statements = []
        execute = postgres_rows.execute

        async def noted(connection, sql, params):
            self.statements.append((sql, params))
            return await execute(connection, sql, params)

        monkeypatch.setattr(postgres_rows, "execute", noted)


@pytest.fixture
async def postgres_storage(postgres, postgres_schema):
    storage = PostgresStorage(postgres.dsn, schema=postgres_schema, clock="caller")
    await storage.open()
    yield storage
    await storage.close()


@pytest.mark.postgres
async def test_postgres_needs_as_many_statements_for_many(postgres_storage, monkeypatch):
    storage = postgres_storage
    noted = Noted(monkeypatch)
    statements = {}
    for count in (2, 60):
        counts = []

        def counted(counts=counts):
            counts.append(len(noted.statements))
            noted.statements.clear()

        async def claim(plan, now, lease=LEASE):
            return await storage.claim(plan, now, owner="me", lease=lease, limit=500)

        writes = [TaskWrite(made(f"t{i:03}"), drop_pending="x") for i in range(count)]
        noted.statements.clear()
        await storage.save_tasks(writes, T0)
        counted()
        claimed = await claim(start_all, T0)
        assert len(claimed.runs) == count
        counted()
        ends = [failure(run, i, at(1), retry_at=at(2)) for run, i in claimed.runs]
        await storage.finish(ends, at(1))
        counted()
        await claim(start_all, at(2), timedelta(seconds=1))
        counted()
        seen = Seen(start_all)
        await claim(seen, at(60))
        assert len(seen.only.expired) == len(seen.only.tasks) == count
        counted()
        await claim(lambda s: Claim(waits=start_all(s).starts), at(120))
        counted()
        ids = {task.name: task.id for task in await storage.tasks(TaskQuery(limit=None))}
        live = await storage.runs(RunQuery(statuses=["running"], limit=500))
        noted.statements.clear()
        ends = [failure(run, ids[run.task_name], at(121), pause_after=1) for run in live]
        await storage.finish(ends, at(121))
        counted()
        await storage.remove_tasks(list(ids), at(122), cancel=True)
        counted()
        statements[count] = counts
        await storage.prune([], 1)
        async with storage._open_pool().connection() as tx:
            await tx.execute(f'TRUNCATE "{storage.schema}".runs, "{storage.schema}".tasks'.encode())
    assert statements[2] == statements[60]
    assert max(statements[2]) <= 18


@pytest.mark.postgres
@pytest.mark.parametrize("analyzed", [False, True])
async def test_postgres_looks_at_no_more_when_there_is_more(
    postgres, postgres_storage, monkeypatch, analyzed
):
    """Counted in pages, of what a look reads: as many among 100,000 idle tasks as among 1,000. And
    nothing is read from end to end or sorted, whether statistics have been gathered or not."""
    storage, schema = postgres_storage, postgres_storage.schema
    tasks = [made(f"due {i}", task_group="g" if i % 2 else None) for i in range(10)]
    await storage.save_tasks([TaskWrite(task) for task in tasks], T0)
    noted = Noted(monkeypatch)
    pages = {}
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        await storage._configure(_Sync(connection))
        before = 0
        for count in (1_000, 100_000):
            connection.execute(
                f'INSERT INTO "{schema}".tasks (name, handler, schedule_type, schedule_config, '
                "created_at, updated_at, next_slot, next_run_at) "
                "SELECT 'idle ' || i, 'h', 'interval', '{}', %s, %s, %s, %s "
                "FROM generate_series(%s::bigint, %s) AS i".encode(),
                (T0, T0, at(99_999), at(99_999), before + 1, count),
            )
            before = count
            vacuum(connection, f'{"ANALYZE" if analyzed else ""} "{schema}".tasks')
            noted.statements.clear()
            await storage.wake(T0, "me", ["x"])
            await storage.claim(nothing, T0, owner="me", lease=LEASE, limit=500)
            pages[count] = explained(connection, noted.statements)
    assert len(pages[1_000]) >= 5
    for few, many in zip(pages[1_000], pages[100_000], strict=True):
        # An index of more entries may have a level more.
        assert many <= few + 12, pages


@pytest.mark.postgres
@pytest.mark.parametrize("of", ["waiting runs", "history"])
async def test_postgres_is_not_slowed_down_by_what_a_task_has(
    postgres, postgres_storage, monkeypatch, of
):
    storage = postgres_storage
    noted = Noted(monkeypatch)
    pages = {}
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        await storage._configure(_Sync(connection))
        for count in (10, 3_000):
            name = f"task {count}"
            await storage.save_tasks([TaskWrite(made(name))], T0)
            claimed = await storage.claim(start_all, T0, owner="me", lease=LEASE, limit=500)
            [(run, task_id)] = claimed.runs
            [task] = await storage.tasks(TaskQuery(names=[name]))
            new = [new_run(task, at(-i)) for i in range(1, count + 1)]
            await storage.enqueue(new, T0, revision=task.revision)
            if of == "history":
                connection.execute(
                    f'UPDATE "{storage.schema}".runs SET status = %s, finished_at = slot '
                    "WHERE status = 'pending'".encode(),
                    ("success",),
                )
            vacuum(connection, f'ANALYZE "{storage.schema}".runs')
            noted.statements.clear()
            await storage.finish([success(run, task_id)], at(5))
            if of == "history":
                await storage.claim(start_all, at(60), owner="me", lease=LEASE, limit=500)
            pages[count] = explained(connection, noted.statements)
            await storage.remove_tasks([name], T0, cancel=True)
    assert len(pages[10]) >= 5
    for few, many in zip(pages[10], pages[3_000], strict=True):
        assert many <= few + 15, pages


@pytest.mark.postgres
async def test_postgres_lists_runs_of_all_tasks_from_an_index(
    postgres, postgres_storage, monkeypatch
):
    storage, schema = postgres_storage, postgres_storage.schema
    noted = Noted(monkeypatch)
    pages = {}
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        await storage._configure(_Sync(connection))
        before = 0
        for count in (4_000, 40_000):
            connection.execute(
                f'INSERT INTO "{schema}".runs (task_id, task_name, slot, status, triggered_by, '
                "scheduled_for, finished_at, reason) "
                "SELECT i, 'task ' || i, %s + (i - 1000) * interval '1 second', "
                "CASE WHEN i < 20 THEN 'error' ELSE 'success' END, 'schedule', %s, %s, "
                "CASE WHEN i < 20 THEN 'exception' END "
                "FROM generate_series(%s::bigint, %s) AS i".encode(),
                (T0, T0, T0, before + 1, count),
            )
            before = count
            vacuum(connection, f'ANALYZE "{schema}".runs')
            noted.statements.clear()
            for query in LISTS:
                assert await storage.runs(query)
            pages[count] = explained(connection, noted.statements, sorted_at_most=50)
    for few, many in zip(pages[4_000], pages[40_000], strict=True):
        assert many <= few + 30, pages


def vacuum(connection, what):
    """Clean up in earnest: VACUUM leaves in the indexes what anybody who began before may see, such
    as another test, or the server's own ANALYZE."""
    [(now,)] = connection.execute("SELECT pg_current_xact_id()::xid").fetchall()
    older = (
        "SELECT pg_sleep(0.01) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND age(backend_xmin) > age(%s::xid) LIMIT 1"
    )
    while connection.execute(older, (now,)).fetchall():
        pass
    connection.execute(f"VACUUM {what}".encode())


def explained(connection, statements, sorted_at_most=10):
    """How many pages each of the statements reads or writes; none may look through a table, or sort
    more than the live runs of a few tasks. What they write is undone."""
    found = []
    for sql, params in statements:
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"
        with connection.transaction(force_rollback=True):
            [(plan,)] = connection.execute(explain.encode(), params).fetchall()
        root = (plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]
        found.append(root["Shared Hit Blocks"] + root["Shared Read Blocks"])
        for node in _nodes(root):
            assert node["Node Type"] != "Seq Scan", sql
            assert node["Node Type"] != "Sort" or node["Actual Rows"] <= sorted_at_most, sql
    return found


def _nodes(node):
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


class _Sync:
    """Lets `_configure` set up a connection that is not async."""

    def __init__(self, connection):
        self.connection = connection

    async def set_isolation_level(self, level):
        self.connection.isolation_level = level

    async def execute(self, *args):
        return self.connection.execute(*args)
