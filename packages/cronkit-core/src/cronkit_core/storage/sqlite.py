"""A storage in a SQLite file, or in memory. Safe for several processes on one machine that share
the file; not on a network file system, where SQLite's locks do not hold."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable
from os import PathLike
from typing import Any, Literal, TypeVar

from ..errors import StorageError
from .sqlite_base import SQLStorage, storage_errors
from .sqlite_edits import Program
from .sqlite_schema import migrate
from .sqlite_thread import SQLiteThread

T = TypeVar("T")
logger = logging.getLogger("cronkit.storage")


class SQLiteStorage(SQLStorage):
    """A storage in the SQLite database at `path`, or in this process's memory for ":memory:".

    The file is in WAL mode. `synchronous` is what it costs to be sure: with "FULL" (the default) a
    transaction that was answered survives a power cut; with "NORMAL" it survives a crash of the
    process, but a power cut may undo the last ones, so a slot may run again. `busy_timeout` is how
    many seconds a writer waits for another process's transaction before it raises StorageError.
    `prefix` begins the names of the tables.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        busy_timeout: float = 10.0,
        prefix: str = "cronkit_",
    ) -> None:
        super().__init__(prefix)
        if synchronous not in ("FULL", "NORMAL"):
            raise ValueError(f"bad synchronous {synchronous!r}: 'FULL' or 'NORMAL'")
        if not 0 <= busy_timeout <= 10**6:
            raise ValueError(f"bad busy_timeout {busy_timeout!r}: seconds, 0 to 1000000")
        if not prefix.isidentifier():
            raise ValueError(f"bad prefix {prefix!r}: letters, digits and underscores")
        self.path = os.fsdecode(path)
        if not self.path or "\0" in self.path:
            raise ValueError(f"bad path {self.path!r}: the name of a file, or ':memory:'")
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._writer: SQLiteThread | None = None
        self._reader: SQLiteThread | None = None
        self._writing = asyncio.Lock()
        self._reading = asyncio.Lock()

    async def open(self) -> None:
        async with self._writing:
            if self._writer is not None:
                return
            with storage_errors(self.path):
                writer = await self._connect()
            try:
                with storage_errors(self.path):
                    await writer.write(migrate(self.programs.prefix, self.path))
                    if self.path != ":memory:":
                        self._reader = await self._connect()
            except BaseException:
                await writer.close()
                raise
            self._writer = writer

    async def _connect(self) -> SQLiteThread:
        connection = await SQLiteThread.connect(self.path, self._busy_timeout)
        try:
            await self._use_wal(connection)
            await connection.execute_fetchall(f"PRAGMA synchronous = {self._synchronous}")
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _use_wal(self, connection: SQLiteThread) -> None:
        # Changing the mode does not wait for busy_timeout; several processes may start at once.
        for _ in range(100):
            try:
                await connection.execute_fetchall("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                # Taking the write lock waits as long as it is allowed to.
                await connection.execute_fetchall("BEGIN IMMEDIATE")
                await connection.execute_fetchall("ROLLBACK")
        raise StorageError(f"{self.path}: another process keeps the database locked")

    async def close(self) -> None:
        async with self._writing, self._reading:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    await connection.close()
            self._reader = self._writer = None

    async def read(self, program: Program[T]) -> T:
        # In memory there is one connection, and a reader must not look into a transaction.
        lock = self._writing if self.path == ":memory:" else self._reading
        return await self._run(lock, SQLiteThread.read, program)

    async def write(self, program: Program[T]) -> T:
        return await self._run(self._writing, SQLiteThread.write, program)

    async def _run(
        self,
        lock: asyncio.Lock,
        driver: Callable[[SQLiteThread, Program[T]], Awaitable[T]],
        program: Program[T],
    ) -> T:
        async def locked() -> T:
            async with lock:
                # Looked at here: a close may have come first.
                connection = self._writer if lock is self._writing else self._reader
                if connection is None:
                    raise StorageError(f"{self.path} is not open: call open()")
                with storage_errors(self.path):
                    return await driver(connection, program)

        # A caller that is cancelled must not leave a transaction half way.
        work = asyncio.ensure_future(locked())
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(_retrieve)
            raise


def _retrieve(work: asyncio.Future[Any]) -> None:
    """Nobody waits for this any more: take note of how it ended all the same."""
    if not work.cancelled() and (error := work.exception()) is not None:
        logger.warning("a transaction failed after its caller was cancelled: %s", error)
