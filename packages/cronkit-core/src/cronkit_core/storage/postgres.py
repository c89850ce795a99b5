"""A storage in PostgreSQL, for processes on many machines. Needs the extra cronkit-core[postgres].

No process leads: each transaction locks the rows that it works on, and passes over those that
another one has locked.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Literal, TypeVar

try:
    import psycopg
    import psycopg_pool
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
except ImportError as error:
    _missing: ImportError | None = error
else:
    _missing = None

from ..errors import StorageError
from ..runs import Finish, NewRun, Run, Skip
from ..tasks import TaskRecord
from .base import (
    Claimed,
    Plan,
    Report,
    Retention,
    RunQuery,
    SkipQuery,
    TaskQuery,
    TaskWrite,
    Wake,
)
from .postgres_listen import Listener
from .postgres_queries import Queries
from .postgres_rows import Connection, fetch
from .postgres_schema import migrate

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]
logger = logging.getLogger("cronkit.storage")

MAX_SCHEMA = 40
ATTEMPTS = 5
# A dead server or network is noticed within half a minute, unless the conninfo says otherwise.
CONNINFO = {
    "application_name": "cronkit",
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


class PostgresStorage:
    """A storage in one schema of a PostgreSQL database.

    `conninfo` is what libpq takes: "postgresql://user@host/db", "host=... dbname=...", or "" for
    what its environment variables say. Several schedulers can share a database, each in a `schema`
    of its own, which is made when it is not there.

    With `clock="database"` (the default), the database's clock decides what is due and when a
    lease is over, so the clocks of the processes' machines need not agree; with "caller", those
    of the callers do, as a virtual clock in a test needs it.

    Between `min_connections` and `max_connections` are kept open, and one more to hear of changes.
    A call waits `timeout` seconds for a connection, and `lock_timeout` seconds for a lock, before
    it raises StorageError.

    Raises ImportError without psycopg, and ValueError for a bad argument.
    """

    precision = timedelta(microseconds=1)

    def __init__(
        self,
        conninfo: str = "",
        *,
        schema: str = "cronkit",
        clock: Literal["database", "caller"] = "database",
        min_connections: int = 1,
        max_connections: int = 4,
        timeout: float = 5.0,
        lock_timeout: float = 10.0,
    ) -> None:
        if _missing is not None:
            raise ImportError(
                "PostgresStorage needs psycopg 3 and its pool: install cronkit-core[postgres]"
            ) from _missing
        if clock not in ("database", "caller"):
            raise ValueError(f"bad clock {clock!r}: 'database' or 'caller'")
        if not schema.isidentifier() or len(schema.encode()) > MAX_SCHEMA:
            raise ValueError(
                f"bad schema {schema!r}: letters, digits and underscores, "
                f"at most {MAX_SCHEMA} bytes"
            )
        try:
            options = {**CONNINFO, **conninfo_to_dict(conninfo), "client_encoding": "utf8"}
        except psycopg.ProgrammingError as error:
            raise ValueError(f"bad conninfo: {error}") from None
        host = options.get("host") or options.get("hostaddr") or "the default host"
        self.where = f"{options.get('dbname') or 'the default database'} at {host}, {schema}"
        self.schema = schema
        self._conninfo = make_conninfo(**{key: str(value) for key, value in options.items()})
        self._database_clock = clock == "database"
        self._sizes = (min_connections, max_connections)
        self._timeout = timeout
        self._lock_timeout = lock_timeout
        self._queries = Queries(schema)
        self._pool: psycopg_pool.AsyncConnectionPool[Connection] | None = None
        self._opening = asyncio.Lock()
        self._token = secrets.token_hex(8)
        self._channel = f"cronkit {schema}"
        self._listener = Listener(self._connect, self._channel, self._token)

    # --- connections

    async def open(self) -> None:
        async with self._opening:
            if self._pool is not None:
                return
            with self._errors():
                # Not from the pool, whose errors say that it is late, and not why.
                async with await self._connect() as connection:
                    await self._configure(connection)
                    await migrate(connection, self.schema, self.where)
                least, most = self._sizes
                pool: psycopg_pool.AsyncConnectionPool[Connection]
                pool = psycopg_pool.AsyncConnectionPool(
                    self._conninfo,
                    kwargs={"autocommit": True},
                    min_size=least,
                    max_size=most,
                    timeout=self._timeout,
                    reconnect_timeout=self._timeout,
                    configure=self._configure,
                    name=f"cronkit-{self.schema}",
                    open=False,
                )
                await pool.open()
            self._pool = pool

    async def close(self) -> None:
        async with self._opening:
            await self._listener.stop()
            pool, self._pool = self._pool, None
            if pool is not None:
                await pool.close()

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)

    async def _configure(self, connection: Connection) -> None:
        await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
        settings = {
            "timezone": "UTC",
            "lock_timeout": f"{self._lock_timeout * 1000:.0f}",
            # A process that stands still in a transaction must not hold up the others.
            "idle_in_transaction_session_timeout": "30000",
            # Each statement has an index; a plan made while the tables were small must not outlive
            # that.
            "enable_seqscan": "off",
            "jit": "off",
        }
        await connection.execute(
            b"SELECT set_config(name, value, false) "
            b"FROM unnest(%s::text[], %s::text[]) AS s (name, value)",
            (list(settings), list(settings.values())),
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what psycopg raises into a StorageError that says where."""
        try:
            yield
        except psycopg.Error as error:
            raise StorageError(f"{self.where}: {error}".strip()) from error

    async def _read(self, work: Work[T]) -> T:
        with self._errors():
            async with self._open_pool().connection() as connection:
                return await work(connection)

    async def _write(self, work: Work[T], *, attempts: int = ATTEMPTS) -> T:
        """Do `work` in a transaction; again, when PostgreSQL ended it to break a deadlock."""
        with self._errors():
            while True:
                attempts -= 1
                try:
                    async with self._open_pool().connection() as tx, tx.transaction():
                        return await work(tx)
                except (
                    psycopg.errors.DeadlockDetected,
                    psycopg.errors.SerializationFailure,
                ) as error:
                    if attempts <= 0:
                        raise
                    logger.info("%s: once more: %s", self.where, error)

    def _open_pool(self) -> psycopg_pool.AsyncConnectionPool[Connection]:
        if self._pool is None:
            raise StorageError(f"{self.where} is not open: call open()")
        return self._pool

    def _now(self, now: datetime) -> datetime | None:
        return None if self._database_clock else now

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._listener.subscribe(changed)

    # --- tasks

    async def save_tasks(self, writes: Sequence[TaskWrite], now: datetime) -> list[str]:
        async def work(tx: Connection) -> list[str]:
            refused = await self._queries.save_tasks(tx, writes, self._now(now))
            if len(refused) < len(writes):
                await self._notify(tx)
            return refused

        return await self._write(work)

    async def remove_tasks(self, names: Sequence[str], now: datetime, *, cancel: bool) -> list[str]:
        async def work(tx: Connection) -> list[str]:
            removed = await self._queries.remove_tasks(tx, names, self._now(now), cancel=cancel)
            if removed:
                await self._notify(tx)
            return removed

        return await self._write(work)

    async def tasks(self, query: TaskQuery) -> list[TaskRecord]:
        return await self._read(lambda tx: self._queries.tasks(tx, query))

    # --- history

    async def runs(self, query: RunQuery) -> list[Run]:
        return await self._read(lambda tx: self._queries.runs(tx, query))

    async def skips(self, query: SkipQuery) -> list[Skip]:
        return await self._read(lambda tx: self._queries.skips(tx, query))

    async def counts(self) -> Mapping[str, int]:
        return await self._read(self._queries.counts)

    async def prune(self, retentions: Sequence[Retention], limit: int) -> int:
        return await self._write(lambda tx: self._queries.prune(tx, retentions, limit))

    async def names_with_history(self, after: str, limit: int) -> list[str]:
        return await self._read(lambda tx: self._queries.names_with_history(tx, after, limit))

    # --- the engine

    async def wake(self, now: datetime, owner: str, full_groups: Sequence[str] = ()) -> Wake:
        return await self._read(
            lambda tx: self._queries.wake(tx, self._now(now), owner, full_groups)
        )

    async def claim(
        self,
        plan: Plan,
        now: datetime,
        *,
        owner: str,
        lease: timedelta,
        limit: int,
        full_groups: Sequence[str] = (),
    ) -> Claimed:
        async def work(tx: Connection) -> Claimed:
            return await self._queries.claim(
                tx,
                plan,
                self._now(now),
                owner=owner,
                lease=lease,
                limit=limit,
                full_groups=full_groups,
            )

        # `plan` is called once at most.
        return await self._write(work, attempts=1)

    async def finish(self, finishes: Sequence[Finish], now: datetime) -> list[int]:
        return await self._write(lambda tx: self._queries.finish(tx, finishes, self._now(now)))

    async def renew(
        self, owner: str, now: datetime, lease: timedelta, reports: Sequence[Report] = ()
    ) -> list[tuple[Run, int]]:
        return await self._write(
            lambda tx: self._queries.renew(tx, owner, self._now(now), lease, reports)
        )

    async def enqueue(
        self,
        runs: Sequence[NewRun],
        now: datetime,
        *,
        revision: int,
        replaced: Sequence[int] = (),
        cancels: Sequence[int] = (),
        skips: Sequence[Skip] = (),
    ) -> list[int] | None:
        async def work(tx: Connection) -> list[int] | None:
            ids = await self._queries.enqueue(
                tx,
                runs,
                now,
                revision=revision,
                replaced=replaced,
                cancels=cancels,
                skips=skips,
                database_clock=self._database_clock,
            )
            if ids is not None:
                await self._notify(tx)
            return ids

        return await self._write(work)

    async def cancel(self, run_id: int, now: datetime, by: str) -> Run | None:
        async def work(tx: Connection) -> Run | None:
            run = await self._queries.cancel(tx, run_id, self._now(now), by)
            if run is not None:
                await self._notify(tx)
            return run

        return await self._write(work)

    async def _notify(self, tx: Connection) -> None:
        # Not where runs are claimed and ended: commits that notify wait in line for each other,
        # and who ends a run looks for what it may have released.
        await fetch(tx, "SELECT pg_notify(%s, %s)", (self._channel, self._token))
