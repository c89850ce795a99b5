"""The storage on Datasette's internal database: the core's programs, run by Datasette's threads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from datasette.database import Database, DatasetteClosedError
from datasette.utils.sqlite import sqlite3

from cronkit_core.clock import Clock, SystemClock
from cronkit_core.errors import StorageError
from cronkit_core.storage.sqlite_base import SQLStorage, run_program
from cronkit_core.storage.sqlite_edits import Program

from .audit import AuditedPrograms
from .migrations import PREFIX, bring_up_to_date

T = TypeVar("T")
logger = logging.getLogger("datasette_cron")

BUSY_TIMEOUT = 30_000
WAL_ATTEMPTS = 20


class InternalStorage(SQLStorage):
    """The storage in `database`, which is Datasette's internal one.

    Several processes may have the same file as their internal database. Writes run in the one
    thread that Datasette has for them, so the plan of a claim is made there, too.
    """

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        super().__init__(PREFIX)
        self.programs: AuditedPrograms = AuditedPrograms(PREFIX)
        self.database = database
        self._clock = SystemClock() if clock is None else clock

    async def open(self) -> None:
        taken = await self.write(bring_up_to_date(self.where, self._clock.now()))
        if taken is not None:
            logger.info("took over %d tasks and %d runs of datasette-cron 0.0.1a2", *taken)

    async def close(self) -> None:
        """Nothing to give back: the database is Datasette's, and it closes it."""

    @property
    def where(self) -> str:
        """The database as errors name it."""
        return f"internal database {self.database.path}"

    async def read(self, program: Program[T]) -> T:
        def read_cron(conn: Any) -> T:
            return run_program(conn, program)

        with self._storage_errors():
            return await self.database.execute_fn(read_cron)  # type: ignore[no-any-return]

    async def write(self, program: Program[T]) -> T:
        def write_cron(conn: Any) -> T:
            return _transact(conn, lambda: run_program(conn, program))

        with self._storage_errors():
            # Its own transaction, for `write_cron` to have rolled back when an error leaves it.
            return await self.database.execute_write_fn(  # type: ignore[no-any-return]
                write_cron, transaction=False
            )

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, DatasetteClosedError) as error:
            raise StorageError(f"{self.where}: {error}") from error


async def prepare(database: Database) -> None:
    """Make the internal database fit for several processes: WAL, patient writers, and Datasette's
    own tables.

    Datasette 1.0a41 makes its tables without the write lock: of several processes that start on an
    empty file, all but one end with "database is locked". Made here, under the lock, they are there
    when Datasette looks.
    """

    def prepare_internal(conn: Any) -> None:
        conn.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
        _use_wal(conn)
        _transact(conn, lambda: _make_datasette_tables(conn))

    await database.execute_write_fn(prepare_internal, transaction=False)


def _make_datasette_tables(conn: Any) -> None:
    try:
        from datasette.utils.internal_db import SQLiteUtilsDatabase, internal_migrations
    except ImportError:  # not a public name: another Datasette makes its tables in its own way
        return
    internal_migrations.apply(SQLiteUtilsDatabase(conn, execute_plugins=False))


def _use_wal(conn: Any) -> None:
    # Changing the mode does not wait for the busy timeout; taking the write lock does.
    for _ in range(WAL_ATTEMPTS):
        try:
            conn.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError:
            _transact(conn, lambda: None)
    logger.warning("the internal database stays out of WAL mode, since others keep it locked")


def _transact(conn: Any, work: Callable[[], T]) -> T:
    try:
        conn.execute("BEGIN IMMEDIATE")
        result = work()
        conn.commit()
    except BaseException:
        # Some errors (a full disk) have rolled back already.
        if conn.in_transaction:
            conn.rollback()
        raise
    return result
