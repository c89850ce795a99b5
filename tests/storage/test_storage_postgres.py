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
    RunQuery,
    Scheduler,
    Status,
    StorageError,
    SystemClock,
    Trigger,
)
from cronkit_core.planner import Planner
from cronkit_core.storage.base import Claim, TaskQuery, TaskWrite
from cronkit_core.testing._contract_made import (
    LEASE,
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
    states,
    success,
)

pytestmark = pytest.mark.postgres


@pytest.fixture
async def make(postgres, postgres_schema):
    """Makes storages on one schema, which are closed at the end."""
    made_ones = []

    async def make_one(clock="caller", schema=postgres_schema, **options):
        storage = PostgresStorage(postgres.dsn, schema=schema, clock=clock, **options)
        made_ones.append(storage)
        await storage.open()
        return storage

    yield make_one
    for storage in made_ones:
        await storage.close()


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
    [renewed] = await storage.renew("me", wrong, timedelta(seconds=-1))
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
    for value in ("infinity", "-infinity", "0002-01-01 00:00:00 BC", "10000-01-01"):
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


# --- many at once


async def test_claims_at_once_share_what_is_due(make):
    storages = [await make() for _ in range(4)]
    await save(storages[0], *(made(f"t{i:02}") for i in range(60)))

    async def claims(storage):
        found = []
        while some := (await claim(storage, limit=7)).runs:
            found += some
        return found

    found = [run for some in await asyncio.gather(*map(claims, storages)) for run, _ in some]
    rest = [run for run, _ in (await claim(storages[0])).runs]
    assert sorted(run.task_name for run in found + rest) == [f"t{i:02}" for i in range(60)]
    assert len({run.id for run in found + rest}) == 60


async def test_a_group_is_never_over_its_limit(make):
    storages = [await make() for _ in range(4)]
    await save(storages[0], *(made(f"t{i:02}", task_group="g") for i in range(24)))
    task = await read(storages[0], "t00")
    await enqueue(storages[0], task, *(new_run(task, at(-i), due_at=T0) for i in range(1, 9)))
    ran = Counter()

    async def work(storage, owner):
        while len(ran) < 24 + 8 - 1:
            planner = Planner(100, {"g": 3})
            claimed = await claim(storage, planner.plan, owner=owner, limit=5)
            running = await storages[0].runs(RunQuery(statuses=[Status.RUNNING]))
            assert len(running) <= 3
            ran.update((run.task_name, run.slot) for run, _ in claimed.runs)
            ends = [success(run, task_id) for run, task_id in claimed.runs]
            assert await storage.finish(ends, T0) == []

    await asyncio.wait_for(
        asyncio.gather(*(work(storage, str(i)) for i, storage in enumerate(storages))), 60
    )
    assert set(ran.values()) == {1}


async def test_ends_at_once_release_one(make):
    """Of eight runs of a task, which fail all at once, each counts; the last releases the next, and
    none releases two."""
    storages = [await make(max_connections=8) for _ in range(2)]
    here = storages[0]
    for i in range(4):
        name = f"task {i}"
        [task] = await save(here, made(name, next_slot=None, next_run_at=None))
        await enqueue(here, task, *(new_run(task, at(n), due_at=T0) for n in range(8)))
        runs = (await claim(here)).runs
        await enqueue(here, task, *(new_run(task, at(n)) for n in (99, 98, 97)))
        refused = await asyncio.gather(
            *(storages[n % 2].finish([failure(*run)], at(5)) for n, run in enumerate(runs))
        )
        assert refused == [[]] * 8
        assert (await read(here, name)).failures == 8
        found = (await history(here, name))[8:]
        assert [run.due_at for run in found] == [None, None, at(5)]
        await here.remove_tasks([name], T0, cancel=True)


async def test_operations_at_once_do_not_wait_for_each_other_for_ever(make):
    """All of them on the same few tasks, in any order: none fails, and what is left is whole."""
    storages = [await make(max_connections=6) for _ in range(2)]
    names = ["a", "b", "c", "d"]
    await save(storages[0], *(made(name, overlap_policy="queue") for name in names))
    failures = []

    async def work(number):
        storage = storages[number % 2]
        owner = f"owner {number}"
        for step in range(12):
            now = at(step)
            try:
                match (number + step) % 6:
                    case 0 | 1:
                        claimed = await claim(storage, start_all, now, owner=owner)
                        ends = [
                            failure(run, i, now, retry_at=now + timedelta(seconds=1))
                            if run.attempt == 1
                            else success(run, i, now)
                            for run, i in claimed.runs
                        ]
                        await storage.finish(ends[::-1], now)
                    case 2:
                        await storage.renew(owner, now, LEASE)
                        await storage.renew(f"owner {number - 1}", now, LEASE)
                    case 3:
                        record = (await storage.tasks(TaskQuery(names=[names[step % 4]])))[0]
                        new = new_run(record, now, triggered_by=Trigger.MANUAL)
                        await storage.enqueue([new], now, revision=record.revision)
                    case 4:
                        records = await storage.tasks(TaskQuery())
                        await storage.save_tasks([TaskWrite(r) for r in records[::-1]], now)
                    case 5:
                        live = await storage.runs(RunQuery(statuses=[Status.PENDING], limit=3))
                        for run in live:
                            await storage.cancel(run.id, now, "me")
            except StorageError as error:
                failures.append(str(error))

    await asyncio.wait_for(asyncio.gather(*map(work, range(12))), 60)

    # A claim is not done again by itself; what breaks a deadlock may hit one.
    assert [f for f in failures if "deadlock" not in f] == []
    assert len(failures) <= 3
    here = storages[0]
    for name in names:
        while True:  # what is left is executed one after the other
            claimed = await claim(here, lambda s: Claim(resumes=list(s.pending)), at(10_000))
            if not claimed.runs:
                break
            assert await here.finish([success(*run) for run in claimed.runs], at(10_000)) == []
        live = [r for r in await history(here, name) if r.status is Status.PENDING]
        assert live == [], states(live)


@pytest.mark.parametrize("first", ["the end", "the new task"])
async def test_a_new_task_of_a_name_whose_old_run_ends_meanwhile(make, postgres, first):
    """The name is locked for both, although there was no row to lock: who comes second sees what
    the first has done, so one waiting run is released, and just one."""
    here, there = await make(), await make()
    run, old_id = await started(here)
    await here.remove_tasks(["task"], T0, cancel=False)
    queries = here._queries

    async def end(tx):
        return await queries.finish(tx, [success(run, old_id)], at(5))

    async def make_anew(tx):
        write = TaskWrite(made(next_slot=None, next_run_at=None))
        assert await queries.save_tasks(tx, [write], T0) == []
        [task] = await queries.tasks(tx, TaskQuery(names=["task"]))
        new = [new_run(task, at(2)), new_run(task, at(1))]
        return await queries.enqueue(
            tx,
            new,
            T0,
            revision=task.revision,
            replaced=[],
            cancels=[],
            skips=[],
            database_clock=False,
        )

    works = (end, make_anew) if first == "the end" else (make_anew, end)
    async with here._open_pool().connection() as tx:
        async with tx.transaction():
            await works[0](tx)
            second = asyncio.create_task(there._write(works[1]))
            while not postgres.execute(
                "SELECT 1 FROM pg_locks WHERE locktype IN ('advisory', 'transactionid') "
                "AND NOT granted"
            ):
                assert not second.done(), "it does not wait"
                await asyncio.sleep(0.01)
        await second
    assert [(r.slot, r.due_at is not None) for r in (await history(here))[1:]] == [
        (at(2), False),
        (at(1), True),
    ]


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
        "try: cronkit_core.PostgresStorage\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "install cronkit-core[postgres]" in said.stdout
