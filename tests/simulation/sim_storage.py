"""The storages that a simulation runs on, and a look at what they hold that goes past their
interface."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from cronkit_core import MemoryStorage, Run, Skip
from cronkit_core.storage import sqlite_rows as rows
from cronkit_core.storage.sqlite_base import SQLStorage, run_program
from cronkit_core.storage.sqlite_edits import Program
from cronkit_core.storage.sqlite_rows import RUN_COLUMNS, SKIP_COLUMNS, TASK_COLUMNS
from cronkit_core.storage.sqlite_schema import migrate
from cronkit_core.tasks import TaskRecord

T = TypeVar("T")


class View(Protocol):
    """What stands in a storage, row by row."""

    def tasks(self) -> dict[str, TaskRecord]:
        """The tasks by name."""
        ...

    def runs_after(self, run_id: int) -> list[Run]:
        """The runs with a higher id, lowest first."""
        ...

    def runs(self, ids: Iterable[int]) -> dict[int, Run]:
        """Those of the runs that there are."""
        ...

    def task_id_of(self, run_id: int) -> int:
        """The task of a run, by its id, which tells a removed one from its successor."""
        ...

    def skips(self) -> list[Skip]:
        """All of them, in the order in which they were recorded first; of one task, at least."""
        ...

    def sizes(self) -> dict[str, int]:
        """How large what is derived from the rows is, by name."""
        ...


class MemoryView:
    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage

    def tasks(self) -> dict[str, TaskRecord]:
        return self._storage._tasks

    def runs_after(self, run_id: int) -> list[Run]:
        found = []
        for i, run in reversed(self._storage._runs.items()):
            if i <= run_id:
                break
            found.append(run)
        return found[::-1]

    def runs(self, ids: Iterable[int]) -> dict[int, Run]:
        stored = self._storage._runs
        return {i: stored[i] for i in ids if i in stored}

    def task_id_of(self, run_id: int) -> int:
        return self._storage._task_of[run_id]

    def skips(self) -> list[Skip]:
        return [skip for some in self._storage._skips.values() for skip in some]

    def sizes(self) -> dict[str, int]:
        slots = self._storage._slots_due._heaps.values()
        runs = self._storage._runs_due._heaps.values()
        return {"slots due": sum(map(len, slots)), "runs due": sum(map(len, runs))}


class SQLiteInMemory(SQLStorage):
    """The programs of the storages in SQLite on a plain connection: no thread, no waiting."""

    def __init__(self) -> None:
        super().__init__("cronkit_")
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        run_program(self.connection, migrate("cronkit_", ":memory:"))

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def read(self, program: Program[T]) -> T:
        return run_program(self.connection, program)

    async def write(self, program: Program[T]) -> T:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            result = run_program(self.connection, program)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return result


class SQLiteView:
    def __init__(self, storage: SQLiteInMemory) -> None:
        self._connection = storage.connection

    def _select(self, columns: Iterable[str], rest: str) -> list[Any]:
        return self._connection.execute(
            f"SELECT {', '.join(columns)} FROM cronkit_{rest}"
        ).fetchall()

    def tasks(self) -> dict[str, TaskRecord]:
        return {t.name: t for t in map(rows.task_record, self._select(TASK_COLUMNS, "tasks"))}

    def runs_after(self, run_id: int) -> list[Run]:
        return [
            rows.run(r) for r in self._select(RUN_COLUMNS, f"runs WHERE id > {run_id} ORDER BY id")
        ]

    def runs(self, ids: Iterable[int]) -> dict[int, Run]:
        wanted = ", ".join(map(str, ids))
        return {
            r[0]: rows.run(r) for r in self._select(RUN_COLUMNS, f"runs WHERE id IN ({wanted})")
        }

    def task_id_of(self, run_id: int) -> int:
        return self._select(["task_id"], f"runs WHERE id = {run_id}")[0][0]

    def skips(self) -> list[Skip]:
        return [rows.skip(row) for row in self._select(SKIP_COLUMNS, "skips ORDER BY id")]

    def sizes(self) -> dict[str, int]:
        return {}


def make_storage(kind: str) -> tuple[Any, View]:
    """A storage, "memory" or "sqlite", and a look at it."""
    if kind == "memory":
        memory = MemoryStorage()
        return memory, MemoryView(memory)
    sqlite = SQLiteInMemory()
    return sqlite, SQLiteView(sqlite)
