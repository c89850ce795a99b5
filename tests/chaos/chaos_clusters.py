"""Some processes with schedulers on one storage: started, watched, and started again when they end;
and what a checker can read of them. One class for each kind of storage."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from chaos_check import LedgerRun, LedgerSkip, LogLine

from cronkit_core import PostgresStorage, Scheduler, SQLiteStorage
from cronkit_core.storage.base import Storage
from postgres_fixture import Server

HERE = Path(__file__).parent
PATIENCE = 60.0
"""How many seconds anything is waited for."""
LOOK_EVERY = 0.02

Wish = dict[str, Any]


def wait_until(what: str, condition: Callable[[], object], patience: float = PATIENCE) -> Any:
    """What `condition` answers once that is true. Raises TimeoutError that says `what`."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {patience:g} s, still not: {what}")
        time.sleep(LOOK_EVERY)
    return found


@dataclass
class Worker:
    """A process, and what it says, in a file."""

    process: subprocess.Popen[bytes]
    said: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        return self.said.read_text(errors="replace")


class Cluster:
    """`count` processes in `folder`; `environment` is added to theirs."""

    ready = "ready"
    """What a process says when it is at work."""

    def __init__(
        self,
        folder: Path,
        count: int,
        *,
        lease: float,
        poll: float = 0.1,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.lease = lease
        self.poll = poll
        self.offset = timedelta()
        """How far the processes' wall clock is from the real one."""
        self.deaths: list[str] = []
        """What processes said that ended by themselves."""
        self.workers: list[Worker] = []
        self._count = count
        self._spawned = 0
        self._log = folder / "handlers.jsonl"
        self._log.touch()
        self._read_to = 0
        self._lines: list[LogLine] = []
        self._environment = {
            **os.environ,
            "CHAOS_LOG": str(self._log),
            "PYTHONPATH": os.pathsep.join((str(HERE), os.environ.get("PYTHONPATH", ""))),
            "PYTHONUNBUFFERED": "1",
            "PYTHONASYNCIODEBUG": "",
            **(environment or {}),
        }

    def __enter__(self) -> Self:
        try:
            self.start(range(self._count))
            self.wait_ready()
        except BaseException:
            self.kill_all()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()

    # --- processes

    @abstractmethod
    def command(self, number: int) -> list[str]:
        """What starts the process of that number."""

    def start(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            said = self.folder / f"worker-{number}-{self._spawned}.log"
            self._spawned += 1
            with said.open("wb") as file:
                process = subprocess.Popen(
                    self.command(number),
                    cwd=self.folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                )
            self.workers[number : number + 1] = [Worker(process, said)]

    def wait_ready(self) -> None:
        """Wait until every process is at work."""
        for worker in self.workers:
            wait_until(
                f"{worker.said}: {self.ready}",
                lambda w=worker: self.ready in w.text() or w.process.poll() is not None,
            )
            assert worker.process.poll() is None, worker.text()

    def kill(self, numbers: Sequence[int]) -> None:
        """End these processes as a power cut would, and start them again."""
        for number in numbers:
            self.workers[number].process.kill()
        for number in numbers:
            self.workers[number].process.wait()
        self.start(numbers)

    def watch(self) -> None:
        """Start again what ended by itself, as a service manager would.

        A process that was at work does not do that: it is noted.
        """
        for number, worker in enumerate(self.workers):
            if worker.process.poll() is not None:
                text = worker.text()
                if self.ready in text:
                    self.deaths.append(f"{worker.process.returncode}: {text[-2_000:]}")
                self.start([number])

    def stop(self) -> None:
        """Ask all processes to end; one that does not end well is noted as dead."""
        for worker in self.workers:
            worker.process.send_signal(signal.SIGTERM)
        for worker in self.workers:
            try:
                code = worker.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                code = "it does not end"
            if code not in (0, -signal.SIGTERM) or "Task exception was never" in worker.text():
                self.deaths.append(f"at its end: {code}: {worker.text()[-2_000:]}")

    def kill_all(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()

    def said(self, text: str) -> int:
        """How often processes have said that, those that are gone included."""
        return sum(
            path.read_text(errors="replace").count(text)
            for path in self.folder.glob("worker-*.log")
        )

    # --- tasks

    @abstractmethod
    def declare(self, wishes: Sequence[Wish]) -> None:
        """Add tasks."""

    # --- what can be known of it

    def now(self) -> datetime:
        """The wall clock, as the processes see it."""
        return datetime.now(UTC) + self.offset

    def lines(self) -> list[LogLine]:
        """What the handlers have written down so far."""
        with self._log.open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read_to += len(line)
                self._lines.append(LogLine.parse(json.loads(line)))
        return self._lines

    def executing(self, pid: int) -> bool:
        """Whether that process is in the middle of a handler."""
        mine = [line.what for line in self.lines() if line.pid == pid]
        return mine.count("start") > len(mine) - mine.count("start")

    @abstractmethod
    def rows(self, sql: str, *params: object) -> list[tuple[Any, ...]]:
        """What the storage answers; "{p}" in `sql` is what the names of tables begin with."""

    def owed(self, until: datetime) -> int:
        """How many slots up to `until`, or tasks with such slots, have no outcome yet."""
        [(runs,)] = self.rows(
            "SELECT count(*) FROM {p}runs WHERE status IN ('pending', 'running') AND slot <= ?",
            self.stored(until),
        )
        [(tasks,)] = self.rows(
            "SELECT count(*) FROM {p}tasks WHERE next_slot <= ?", self.stored(until)
        )
        return runs + tasks

    def lost(self, pid: int) -> int:
        """How many runs that process has lost."""
        [(lost,)] = self.rows(
            "SELECT count(*) FROM {p}runs WHERE reason = 'lost' AND owner LIKE ?", f"%:{pid}:%"
        )
        return lost

    def held_up(self) -> bool:
        """Whether a process that stands still keeps the others from writing."""
        return False

    def since(self) -> dict[str, datetime]:
        """From when on the slots of each task count."""
        found = self.rows("SELECT name, schedule_since FROM {p}tasks")
        return {name: _instant(at) for name, at in found}

    def runs(self) -> list[LedgerRun]:
        found = self.rows(
            "SELECT task_name, slot, attempt, status, reason, epoch FROM {p}runs ORDER BY id"
        )
        return [LedgerRun(name, _instant(slot), *rest) for name, slot, *rest in found]

    def skips(self) -> list[LedgerSkip]:
        found = self.rows("SELECT task_name, first_slot, last_slot, count, run_id FROM {p}skips")
        return [
            LedgerSkip(name, _instant(first), _instant(last), count, run_id is not None)
            for name, first, last, count, run_id in found
        ]

    def stored(self, at: datetime) -> object:
        """An instant as the storage has it."""
        return at.isoformat(timespec="microseconds")


def _instant(value: str | datetime) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value.astimezone(UTC)


class _File(Cluster):
    """On a database in the folder `disk`."""

    prefix = "cronkit_"

    def __init__(self, folder: Path, count: int, *, disk: Path | None = None, **options: Any):
        super().__init__(folder, count, **options)
        self.file = (folder if disk is None else disk) / "cron.db"

    def rows(self, sql: str, *params: object) -> list[tuple[Any, ...]]:
        # A connection of its own for each look: this process must not hold on to a full disk.
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=30)) as db:
            return db.execute(sql.replace("{p}", self.prefix), params).fetchall()

    def held_up(self) -> bool:
        with closing(sqlite3.connect(self.file, timeout=1.0, isolation_level=None)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            db.execute("ROLLBACK")
            return False


class SQLiteCluster(_File):
    """Schedulers of the core on one SQLite file."""

    def command(self, number: int) -> list[str]:
        options = (f"w{number}", self.lease, self.poll, "sqlite", self.file)
        return [sys.executable, str(HERE / "chaos_worker.py"), *map(str, options)]

    def declare(self, wishes: Sequence[Wish]) -> None:
        _add(SQLiteStorage(self.file), wishes)


class PostgresCluster(Cluster):
    """Schedulers of the core on one schema of a PostgreSQL."""

    def __init__(
        self, folder: Path, count: int, *, server: Server, schema: str, **options: Any
    ) -> None:
        super().__init__(folder, count, **options)
        self.server = server
        self.schema = schema

    def command(self, number: int) -> list[str]:
        options = (f"w{number}", self.lease, self.poll, "postgres", self.server.dsn, self.schema)
        return [sys.executable, str(HERE / "chaos_worker.py"), *map(str, options)]

    def declare(self, wishes: Sequence[Wish]) -> None:
        _add(PostgresStorage(self.server.dsn, schema=self.schema), wishes)

    def now(self) -> datetime:
        return datetime.now(UTC)  # the server's clock decides, and nobody steps that

    def rows(self, sql: str, *params: object) -> list[tuple[Any, ...]]:
        sql = sql.replace("{p}", f"{self.schema}.").replace("?", "%s")
        return self.server.execute(sql, *params)

    def stored(self, at: datetime) -> object:
        return at


class DatasetteCluster(_File):
    """Servers of Datasette with datasette-cron on one internal database."""

    prefix = "datasette_cron_"
    ready = "Uvicorn running on "

    def __init__(self, folder: Path, count: int, **options: Any) -> None:
        super().__init__(folder, count, **options)
        plugins = folder / "plugins"
        plugins.mkdir()
        (plugins / "chaos.py").write_text(
            "from datasette import hookimpl\n"
            "from chaos_log import HANDLERS\n\n\n"
            "@hookimpl\n"
            "def cron_register_handlers(datasette):\n"
            "    return HANDLERS\n"
        )
        config = {
            # A query that takes longer is an error, which Datasette formats on its event loop: with
            # the package rich, which is here for the tests, for seconds.
            "settings": {"sql_time_limit_ms": 60_000},
            "permissions": {"datasette-cron-access": True, "datasette-cron-edit": True},
            "plugins": {"datasette-cron": {"lease": self.lease, "poll": self.poll, "grace": 2}},
        }
        (folder / "datasette.json").write_text(json.dumps(config))

    def command(self, number: int) -> list[str]:
        return [
            *(sys.executable, "-m", "datasette", "--internal", str(self.file), "--port", "0"),
            *("--plugins-dir", "plugins", "--config", "datasette.json", "--secret", "chaos"),
        ]

    def address(self, number: int = 0) -> str:
        return self.workers[number].text().partition(self.ready)[2].split()[0]

    def declare(self, wishes: Sequence[Wish]) -> None:
        for wish in wishes:
            request = urllib.request.Request(
                self.address() + "/-/api/cron/tasks",
                json.dumps(wish).encode(),
                {"content-type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=30) as response:
                assert response.status == 201


def _add(storage: Storage, wishes: Sequence[Wish]) -> None:
    import asyncio

    async def work() -> None:
        scheduler = Scheduler(storage)
        await scheduler.add_tasks(wishes)
        await scheduler.stop()

    asyncio.run(work())
