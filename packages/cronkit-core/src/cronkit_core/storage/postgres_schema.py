"""The tables in PostgreSQL, and how they came to be: append-only numbered steps.

Everything of a scheduler lives in one schema of the database, so several can share it.
"""

from __future__ import annotations

from ..errors import StorageTooNew
from .postgres_rows import DUE_RUN, DUE_TASK, ENDED, LIVE, RUNNING, Connection, fetch

# What Python can hold; 'infinity' is a timestamp to PostgreSQL, but not an instant.
_INSTANT = """
    CREATE DOMAIN {s}.instant AS timestamptz CHECK (
        VALUE >= '0001-01-01 00:00:00+00' AND VALUE <= '9999-12-31 23:59:59.999999+00'
    )"""

_TASKS = """
    CREATE TABLE {s}.tasks (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text COLLATE "C" NOT NULL UNIQUE,
        handler text NOT NULL,
        config text NOT NULL DEFAULT '{{}}',
        schedule_type text NOT NULL,
        schedule_config text NOT NULL,
        timezone text,
        overlap_policy text NOT NULL DEFAULT 'skip',
        retry_max integer NOT NULL DEFAULT 0,
        retry_backoff text NOT NULL DEFAULT 'exponential',
        policies text NOT NULL DEFAULT '{{}}',
        task_group text COLLATE "C",
        priority integer NOT NULL DEFAULT 0,
        enabled boolean NOT NULL DEFAULT true,
        next_slot {s}.instant,
        next_run_at {s}.instant,
        schedule_since {s}.instant,
        created_at {s}.instant NOT NULL,
        updated_at {s}.instant NOT NULL,
        last_run_at {s}.instant,
        last_status text CHECK (last_status IN ('success', 'error')),
        last_success_at {s}.instant,
        failures bigint NOT NULL DEFAULT 0 CHECK (failures >= 0),
        runs_started bigint NOT NULL DEFAULT 0 CHECK (runs_started >= 0),
        paused_at {s}.instant,
        paused_by text,
        paused_note text,
        broken text,
        revision bigint NOT NULL DEFAULT 1 CHECK (revision >= 1)
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)"""

_RUNS = """
    CREATE TABLE {s}.runs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        task_id bigint NOT NULL,
        task_name text COLLATE "C" NOT NULL,
        slot {s}.instant NOT NULL,
        attempt integer NOT NULL DEFAULT 1 CHECK (attempt >= 1),
        status text NOT NULL CHECK (status IN ('pending', 'running', 'success', 'error')),
        triggered_by text NOT NULL
            CHECK (triggered_by IN ('schedule', 'catch-up', 'backfill', 'manual')),
        manual boolean NOT NULL GENERATED ALWAYS AS (triggered_by = 'manual') STORED,
        scheduled_for {s}.instant NOT NULL,
        due_at {s}.instant CHECK (due_at IS NULL OR status = 'pending'),
        owner text,
        epoch bigint NOT NULL DEFAULT 0,
        lease_until {s}.instant CHECK ((lease_until IS NULL) = (status <> 'running')),
        started_at {s}.instant,
        finished_at {s}.instant CHECK ((finished_at IS NULL) = (status IN ('pending', 'running'))),
        duration_ms bigint CHECK (duration_ms >= 0),
        reason text CHECK ((reason IS NULL) = (status <> 'error')),
        error_type text,
        error_message text,
        error_traceback text,
        output text,
        log text,
        progress text,
        config text,
        cancel_requested_by text,
        task_group text COLLATE "C",
        priority integer NOT NULL DEFAULT 0,
        CHECK (status <> 'running' OR (owner IS NOT NULL AND started_at IS NOT NULL)),
        UNIQUE (task_name, slot, attempt, manual)
    ) WITH (autovacuum_vacuum_scale_factor = 0.05)"""

_SKIPS = """
    CREATE TABLE {s}.skips (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        task_name text COLLATE "C" NOT NULL,
        first_slot {s}.instant NOT NULL,
        last_slot {s}.instant NOT NULL CHECK (last_slot >= first_slot),
        count bigint NOT NULL CHECK (count >= 1),
        reason text NOT NULL
            CHECK (reason IN ('overlap', 'missed', 'disabled', 'edited', 'ended')),
        recorded_at {s}.instant NOT NULL,
        run_id bigint,
        note text
    )"""

# The partial ones hold just what can come due, or what has not ended, in the order in which it is
# asked for: however many tasks and runs there are, a look at them reads a few entries.
_INDEXES = (
    "INDEX tasks_due ON {s}.tasks (priority, next_run_at, id) INCLUDE (task_group) "
    f"WHERE {DUE_TASK}",
    "INDEX runs_history ON {s}.runs (task_name, id)",
    "INDEX runs_due ON {s}.runs (priority, due_at, id) INCLUDE (task_group, task_name) "
    f"WHERE {DUE_RUN}",
    f"INDEX runs_live ON {{s}}.runs (task_name, status, due_at, slot, id) WHERE {LIVE}",
    f"INDEX runs_lease ON {{s}}.runs (lease_until, id) WHERE {RUNNING}",
    f"INDEX runs_owned ON {{s}}.runs (owner, id) WHERE {RUNNING}",
    "INDEX runs_cancel ON {s}.runs (owner, id) "
    f"WHERE {RUNNING} AND cancel_requested_by IS NOT NULL",
    f"INDEX runs_grouped ON {{s}}.runs (task_group) WHERE {RUNNING} AND task_group IS NOT NULL",
    "INDEX skips_history ON {s}.skips (task_name, last_slot, id)",
    "UNIQUE INDEX skips_run ON {s}.skips (task_name, reason, run_id) WHERE run_id IS NOT NULL",
)

STEPS: tuple[tuple[str, ...], ...] = (
    (_INSTANT, _TASKS, _RUNS, _SKIPS, *(f"CREATE {index}" for index in _INDEXES)),
    # For lists over all tasks, by outcome and by time; and for the pruning of what is old. A run
    # enters them once, when it has ended.
    (
        f"CREATE INDEX runs_ended ON {{s}}.runs (status, slot, id) WHERE {ENDED}",
        f"CREATE INDEX runs_finished ON {{s}}.runs (task_name, finished_at, id) WHERE {ENDED}",
    ),
)


async def migrate(connection: Connection, schema: str, where: str) -> None:
    """Bring the tables in `schema` up to date, in one transaction that other processes which do the
    same wait for. `where` names the storage in the error of one that is too new.

    Needs the right to create a schema only where there is none of that name.
    """
    s = f'"{schema}"'
    async with connection.transaction():
        # Whoever comes first may have much to do.
        await fetch(connection, "SET LOCAL lock_timeout = '60s'")
        key = f"cronkit schema {schema}"
        await fetch(connection, "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))
        [(has_schema, has_version)] = await fetch(
            connection,
            "SELECT to_regnamespace(%s) IS NOT NULL, to_regclass(%s) IS NOT NULL",
            (s, f"{s}.version"),
        )
        version = 0
        if has_version:
            [(version,)] = await fetch(connection, f"SELECT version FROM {s}.version")
        if version > len(STEPS):
            raise StorageTooNew(where, version, len(STEPS))
        if version == len(STEPS):
            return
        if not has_schema:
            await fetch(connection, f"CREATE SCHEMA {s}")
        if not has_version:
            await fetch(connection, f"CREATE TABLE {s}.version (version integer NOT NULL)")
            await fetch(connection, f"INSERT INTO {s}.version (version) VALUES (0)")
        for step in STEPS[version:]:
            for statement in step:
                await fetch(connection, statement.format(s=s))
        await fetch(connection, f"UPDATE {s}.version SET version = %s", (len(STEPS),))
