"""What is PostgreSQL's own: its clock, its notifications, its schemas, and locks of rows."""

import asyncio
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql

from cronkit_core import (
    PostgresStorage,
    Scheduler,
    Status,
    StorageError,
    SystemClock,
    Trigger,
)
from cronkit_core.storage.base import TaskQuery
from cronkit_core.storage.postgres_rows import fetch_together
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
    run_of,
    save,
    seen,
    start_all,
    started,
    success,
)

pytestmark = pytest.mark.postgres


@pytest.fixture
async def storage(make):
    return await make()


async def database_now(postgres):
    [(now,)] = postgres.execute("SELECT now()")
    return now.astimezone(UTC)


# --- the clock


@pytest.mark.parametrize("off", [timedelta(hours=-5), timedelta(hours=5)])
async def test_the_databases_clock_decides(make, postgres, off):
    """However wrong the clock of a caller is, when a slot is due and a lease is over is not."""
    storage = await make("database")
    now = await database_now(postgres)
    wrong = now + off
    soon = now + timedelta(hours=1)
    await save(storage, made("due", next_run_at=now), made("later", next_run_at=soon))
    wake = await storage.wake(wrong, "me")
    assert wake.at == now
    assert timedelta(0) <= wake.now - now < timedelta(minutes=1)
    claimed = await claim(storage, now=wrong, lease=timedelta(minutes=2))
    [(run, task_id)] = claimed.runs
    assert run.task_name == "due"
    assert claimed.now - now < timedelta(minutes=1)
    assert (run.started_at, run.lease_until) == (claimed.now, claimed.now + timedelta(minutes=2))
    assert list((await seen(storage, wrong)).expired) == []
    [(renewed, _)] = await storage.renew("me", wrong, timedelta(seconds=-1))
    assert renewed.lease_until < await database_now(postgres)
    assert [owed.run.id for owed in (await seen(storage, wrong)).expired] == [run.id]
    # What the caller calls now is now.
    task = await read(storage, "later")
    manual = new_run(task, wrong, triggered_by=Trigger.MANUAL, due_at=wrong)
    [manual_id] = await storage.enqueue([manual], wrong, revision=task.revision)
    due_at = (await run_of(storage, manual_id)).due_at
    assert now <= due_at <= await database_now(postgres)
    later = new_run(task, soon, due_at=max(wrong, now) + timedelta(hours=2))
    [later_id] = await enqueue(storage, task, later, now=wrong)
    assert (await run_of(storage, later_id)).due_at == later.due_at
    cancelled = await storage.cancel(later_id, wrong, "me")
    assert cancelled.status is Status.PENDING
    assert (await run_of(storage, later_id)).finished_at - now < timedelta(minutes=1)
    assert await storage.finish([failure(run, task_id, claimed.now, pause_after=1)], wrong) == []
    assert (await read(storage, "due")).paused_at - now < timedelta(minutes=1)


async def test_two_processes_whose_clocks_differ_share_the_work(make):
    """One is an hour behind; neither runs a slot twice or early, and both run some."""

    class Behind:
        def __init__(self, seconds):
            self.by = timedelta(seconds=seconds)

        def now(self):
            return datetime.now(UTC) - self.by

        def __getattr__(self, name):
            return getattr(real, name)

    real = SystemClock()
    ran = Counter()
    early = []
    enough = asyncio.Event()

    def handler(run):
        ran[run.slot] += 1
        if datetime.now(UTC) < run.slot:
            early.append(run.slot)
        if len(ran) >= 10:
            enough.set()

    schedulers = [
        Scheduler(await make("database"), clock=clock, poll=0.2) for clock in (real, Behind(3600))
    ]
    for scheduler in schedulers:

        async def run_it(run):
            handler(run)

        scheduler.register_handler("handler", run_it)
    await schedulers[0].add_task("often", "handler", {"interval": 0.1}, overlap="allow")
    for scheduler in schedulers:
        scheduler.start()
    await asyncio.wait_for(enough.wait(), 30)
    for scheduler in schedulers:
        await scheduler.stop()
    assert set(ran.values()) == {1}
    assert early == []


# --- schemas


async def test_schedulers_of_two_schemas_do_not_meet(make, postgres_schema, postgres):
    here = await make()
    there = await make(schema=f"{postgres_schema}_2")
    try:
        await save(here, made("mine"))
        assert await there.tasks(TaskQuery()) == []
        await save(there, made("mine", handler="other"))
        await here.remove_tasks(["mine"], T0, cancel=True)
        assert (await read(there, "mine")).handler == "other"
    finally:
        postgres.execute(f'DROP SCHEMA "{postgres_schema}_2" CASCADE')


async def test_a_schema_that_somebody_else_made_needs_no_right_to_make_one(
    postgres, postgres_schema
):
    user = f"u_{postgres_schema}"
    postgres.execute(f'CREATE ROLE "{user}" LOGIN')
    postgres.execute(f'CREATE SCHEMA "{postgres_schema}" AUTHORIZATION "{user}"')
    dsn = psycopg.conninfo.make_conninfo(postgres.dsn, user=user)
    try:
        storage = PostgresStorage(dsn, schema=postgres_schema, clock="caller")
        await storage.open()
        await started(storage)
        await storage.close()
        other = PostgresStorage(dsn, schema=f"{postgres_schema}_2")
        with pytest.raises(StorageError, match="permission denied"):
            await other.open()
    finally:
        postgres.execute(f'DROP SCHEMA "{postgres_schema}" CASCADE')
        postgres.execute(f'DROP ROLE "{user}"')


async def test_instants_that_python_cannot_hold_are_refused_by_the_table(
    storage, postgres, postgres_schema
):
    await save(storage, made())
    for value in ("infinity", "-infinity", "0002-01-01 00:00:00+00 BC", "10000-01-01 00:00:00+00"):
        with pytest.raises(psycopg.errors.CheckViolation):
            postgres.execute(f"UPDATE \"{postgres_schema}\".tasks SET next_run_at = '{value}'")


# --- notifications


async def test_the_others_hear_of_changes(make):
    here, there = await make(), await make()
    heard, own = asyncio.Event(), []
    there.subscribe(heard.set)
    here.subscribe(lambda: own.append(1))

    async def is_heard():
        await asyncio.wait_for(heard.wait(), 20)
        heard.clear()

    await is_heard()  # that it listens from now on
    while not own:
        await asyncio.sleep(0)
    own.clear()
    [task] = await save(here, made())
    await is_heard()
    [run_id] = await enqueue(here, task, new_run(task, due_at=at(99)))
    await is_heard()
    await here.cancel(run_id, T0, "me")
    await is_heard()
    await here.remove_tasks(["task"], T0, cancel=True)
    await is_heard()
    # A process need not hear what it said itself; what a third says, both hear.
    assert own == []
    third = await make()
    await save(third, made())
    await is_heard()
    while not own:
        await asyncio.sleep(0)


async def test_listening_begins_again_when_the_connection_is_lost(make, postgres):
    here, there = await make(), await make()
    heard = asyncio.Event()
    there.subscribe(heard.set)
    await asyncio.wait_for(heard.wait(), 20)
    heard.clear()
    killed = postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE %s",
        f'LISTEN "cronkit {there.schema}"%',
    )
    assert killed
    await asyncio.wait_for(heard.wait(), 20)
    heard.clear()
    await save(here, made())
    await asyncio.wait_for(heard.wait(), 20)


async def test_a_change_of_another_process_is_seen_before_the_next_poll(make):
    async def handler(run):
        done.set()

    done = asyncio.Event()
    working = Scheduler(await make("database"), poll=60)
    working.register_handler("handler", handler)
    asking = Scheduler(await make("database"))
    asking.register_handler("handler", handler)
    async with working:
        await asking.add_task("task", "handler", {"interval": 3600})
        await asking.trigger_task("task")
        await asyncio.wait_for(done.wait(), 30)
    await asking.stop()


# --- what goes wrong


async def test_a_connection_that_is_lost_in_a_transaction_undoes_it(make, postgres):
    storage = await make()
    await save(storage, made())

    def plan(snapshot):
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE state LIKE 'idle in transaction%%' AND query LIKE %s",
            f"%{storage.schema}%",
        )
        return start_all(snapshot)

    with pytest.raises(StorageError, match=storage.schema):
        await claim(storage, plan)
    assert await history(storage) == []
    [(run, _)] = (await claim(storage)).runs
    assert run.slot == T0


async def test_a_lock_that_is_held_too_long_is_an_error(make, postgres):
    storage = await make(lock_timeout=0.1)
    run, task_id = await started(storage)
    with psycopg.connect(postgres.dsn) as other:
        other.execute(
            sql.SQL("SELECT FROM {}.tasks FOR UPDATE").format(sql.Identifier(storage.schema))
        )
        with pytest.raises(StorageError, match="lock timeout"):
            await storage.finish([success(run, task_id)], at(5))
        # A claim passes over what is locked.
        assert list((await claim(storage, now=at(60))).runs) == []
    assert await storage.finish([success(run, task_id)], at(5)) == []


@pytest.mark.parametrize("failing", range(3))
async def test_a_deadlock_in_statements_sent_together_is_told_as_one(postgres, failing):
    """By what it is a transaction is done once more; the connection is as good as before."""
    queries = [("SELECT 1", ())] * 3
    queries[failing] = ("DO $$ BEGIN RAISE deadlock_detected; END $$", ())
    connection = await psycopg.AsyncConnection.connect(postgres.dsn, autocommit=True)
    async with connection as tx:
        with pytest.raises(psycopg.errors.DeadlockDetected):
            async with tx.transaction():
                await fetch_together(tx, *queries)
        assert await fetch_together(tx, queries[failing - 1]) == [[(1,)]]


async def test_errors_say_where_and_keep_the_password(postgres):
    storage = PostgresStorage("host=/nowhere dbname=things user=me password=secret")
    with pytest.raises(StorageError, match="things at /nowhere, cronkit: ") as caught:
        await storage.open()
    assert "secret" not in str(caught.value)
    with pytest.raises(StorageError, match="is not open: call open"):
        await storage.counts()
    await storage.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clock": "mine"}, "bad clock 'mine': 'database' or 'caller'"),
        ({"schema": 'x"; DROP'}, "bad schema"),
        ({"schema": "x" * 41}, "at most 40 bytes"),
        ({"conninfo": "host="}, None),
        ({"conninfo": "no conninfo"}, "bad conninfo: missing"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    if message is None:
        PostgresStorage(**options)
    else:
        with pytest.raises(ValueError, match=message):
            PostgresStorage(**options)


def test_without_psycopg_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import cronkit_core\n"
        "try: cronkit_core.PostgresStorage()\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "install cronkit-core[postgres]" in said.stdout
