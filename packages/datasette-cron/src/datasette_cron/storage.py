"""The storage on Datasette's internal database: the core's programs, run by Datasette's threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from datasette.database import Database, DatasetteClosedError
from datasette.utils.sqlite import sqlite3

from cronkit_core.clock import Clock, SystemClock
from cronkit_core.errors import StorageError
from cronkit_core.storage.base import Wake
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
        self._own_reader: _OwnReader | None = None
        self.write_error: str | None = None
        """Why the latest write could not be made; None where it could."""

    async def open(self) -> None:
        taken = await self.write(bring_up_to_date(self.where, self._clock.now()))
        if taken is not None:
            logger.info("took over %d tasks and %d runs of datasette-cron 0.0.1a2", *taken)

    async def close(self) -> None:
        """Give the loop's own connection back. The database is Datasette's, and it closes it."""
        reader, self._own_reader = self._own_reader, None
        if reader is not None:
            reader.close()

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

        try:
            with self._storage_errors():
                # Its own transaction, for `write_cron` to have rolled back when an error leaves it.
                result: T = await self.database.execute_write_fn(write_cron, transaction=False)
        except StorageError as error:
            self.write_error = str(error.__cause__ or error)
            raise
        self.write_error = None
        return result

    async def wake(self, now: datetime, owner: str, full_groups: Sequence[str] = ()) -> Wake:
        return await self._read_for_loop(self.programs.wake(now, owner, full_groups))

    async def names_with_history(self, after: str, limit: int) -> list[str]:
        return await self._read_for_loop(self.programs.names_with_history(after, limit))

    async def _read_for_loop(self, program: Program[T]) -> T:
        """Read what the loop asks for by itself, not in line with the queries of users."""
        if self.database.ds.executor is None:  # a Datasette without threads has no lines
            return await self.read(program)
        if self._own_reader is None:
            self._own_reader = _OwnReader(self.database)
        with self._storage_errors():
            return await self._own_reader.read(program)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, DatasetteClosedError) as error:
            raise StorageError(f"{self.where}: {error}") from error


class _OwnReader:
    """A thread with a connection to `database` of its own.

    Datasette has three threads for all that is read, so that some slow queries of users hold up
    whatever else wants to read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="datasette-cron-reader")
        self._connection: Any = None

    async def read(self, program: Program[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, program)

    def _read(self, program: Program[T]) -> T:
        if self._connection is None:
            connection = self._database.connect()
            connection.text_factory = lambda data: str(data, "utf-8", "replace")
            self._connection = connection
        return run_program(self._connection, program)

    def close(self) -> None:
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()


async def prepare(database: Database) -> None:
    """Make the internal database fit for several processes: WAL, patient writers, and Datasette's
    own tables.

    Datasette 1.0a41 makes its tables without the write lock: of several processes that start on an
    empty file, all but one end with "database is locked". Made here, under the lock, they are there
    when Datasette looks.
    """

    def prepare_internal(conn: Any) -> None:
        conn.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
        _check_writable(conn)
        _use_wal(conn)
        _transact(conn, lambda: _make_datasette_tables(conn))

    await database.execute_write_fn(prepare_internal, transaction=False)


def _check_writable(conn: Any) -> None:
    """Raises sqlite3.OperationalError where the file is read-only: BEGIN IMMEDIATE bears that."""

    def write_what_is_there() -> None:
        [(version,)] = conn.execute("PRAGMA user_version").fetchall()
        conn.execute(f"PRAGMA user_version = {version}")

    _transact(conn, write_what_is_there)


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
