"""What the storages in SQLite have in common: every operation is a program, and a storage only says
who runs it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar

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
from .sqlite_edits import Program
from .sqlite_programs import Programs
from .sqlite_schema import Rows, Statement

T = TypeVar("T")


class SQLStorage:
    """What every storage in SQLite does: hand the programs to whoever runs them."""

    precision = timedelta(microseconds=1)

    def __init__(self, prefix: str) -> None:
        self.programs = Programs(prefix)

    async def read(self, program: Program[T]) -> T:
        """Run a program that writes nothing."""
        raise NotImplementedError

    async def write(self, program: Program[T]) -> T:
        """Run a program between BEGIN IMMEDIATE and COMMIT."""
        raise NotImplementedError

    def subscribe(self, changed: Callable[[], None]) -> None:
        """SQLite has no way to tell another process of a change; polling finds it."""

    async def save_tasks(self, writes: Sequence[TaskWrite], now: datetime) -> list[str]:
        return await self.write(self.programs.save_tasks(writes, now))

    async def remove_tasks(self, names: Sequence[str], now: datetime, *, cancel: bool) -> list[str]:
        return await self.write(self.programs.remove_tasks(names, now, cancel=cancel))

    async def tasks(self, query: TaskQuery) -> list[TaskRecord]:
        return await self.read(self.programs.tasks(query))

    async def runs(self, query: RunQuery) -> list[Run]:
        return await self.read(self.programs.runs(query))

    async def skips(self, query: SkipQuery) -> list[Skip]:
        return await self.read(self.programs.skips(query))

    async def counts(self) -> Mapping[str, int]:
        return await self.read(self.programs.counts())

    async def wake(self, now: datetime, owner: str, full_groups: Sequence[str] = ()) -> Wake:
        return await self.read(self.programs.wake(now, owner, full_groups))

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
        program = self.programs.claim(
            plan, now, owner=owner, lease=lease, limit=limit, full_groups=full_groups
        )
        return await self.write(program)

    async def finish(self, finishes: Sequence[Finish], now: datetime) -> list[int]:
        return await self.write(self.programs.finish(finishes, now))

    async def renew(
        self, owner: str, now: datetime, lease: timedelta, reports: Sequence[Report] = ()
    ) -> list[tuple[Run, int]]:
        return await self.write(self.programs.renew(owner, now, lease, reports))

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
        program = self.programs.enqueue(
            runs, now, revision=revision, replaced=replaced, cancels=cancels, skips=skips
        )
        return await self.write(program)

    async def cancel(self, run_id: int, now: datetime, by: str) -> Run | None:
        return await self.write(self.programs.cancel(run_id, now, by))

    async def prune(self, retentions: Sequence[Retention], limit: int) -> int:
        return await self.write(self.programs.prune(retentions, limit))

    async def names_with_history(self, after: str, limit: int) -> list[str]:
        return await self.read(self.programs.names_with_history(after, limit))


def run_program(connection: sqlite3.Connection, program: Program[T]) -> T:
    """Run a program on a plain connection, in whatever transaction that is in."""
    rows: Rows = []
    cursor = connection.cursor()
    cursor.row_factory = None  # the connection may make something else of rows than tuples
    try:
        statement = next(program)
        while True:
            if statement.many:
                for sql, params in with_rows(statement):
                    cursor.execute(sql, params)
                rows = []
            else:
                rows = cursor.execute(statement.sql, statement.params).fetchall()
            statement = program.send(rows)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


# Python's driver lets go of the interpreter at each step of SQLite, and a thread that computes
# gives it back after five milliseconds: executemany would wait that long for each row.
TOGETHER = (100, 10, 1)


def with_rows(statement: Statement) -> Iterator[tuple[str, list[Any]]]:
    """The statements that a statement with `many` stands for, with their parameters: of few
    lengths, so that SQLite compiles each once."""
    done = 0
    for count in TOGETHER:
        while len(statement.params) - done >= count:
            together = statement.params[done : done + count]
            done += count
            sql = _with_rows(statement.sql, len(together[0]), count)
            yield sql, [value for row in together for value in row]


@lru_cache(maxsize=256)
def _with_rows(sql: str, columns: int, count: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return sql.replace(":rows", ", ".join([row] * count))


@contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Turn what SQLite raises into a StorageError that says where."""
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"{where}: {error}") from error
