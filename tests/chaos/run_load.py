"""Much load for long: whether anything grows, and whether pages, queries and slots wait for each
other.

run_load.py                                  ten minutes of 1,000 runs a second on one SQLite file,
                                             then a Datasette with the same load and many readers
run_load.py --seconds 60 --rate 500 --json   less of it, as JSON
run_load.py --write                          put the figures into docs/reliability.md
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import chaos_docs  # noqa: E402
from chaos_clusters import DatasetteCluster, wait_until  # noqa: E402

MEGABYTE = 1 << 20


# --- whether anything grows


@dataclass
class Sample:
    """What a process has at one time."""

    seconds: float
    executed: int
    late: float
    """Seconds that 99 of the last 100 slots were late at most."""
    memory: int
    """Bytes."""
    files: int
    threads: int
    tasks: int
    wal: int
    """Bytes of the write-ahead log."""


GAUGES = ("memory", "files", "threads", "tasks")


@dataclass
class Growth:
    """What a process had while it was under load, once it was warm."""

    rate: int
    samples: list[Sample] = field(default_factory=list)
    skipped: int = 0
    """How many slots the storage says did not run."""
    failed: int = 0
    """How many of the runs that are kept did not succeed."""

    def third(self, number: int, gauge: str) -> float:
        """The median of a gauge in the first third of the time (0) to the last (2)."""
        size = max(len(self.samples) // 3, 1)
        some = self.samples[number * size : (number + 1) * size] or self.samples[-size:]
        return statistics.median(getattr(sample, gauge) for sample in some)

    def runs_per_second(self) -> float:
        first, last = self.samples[0], self.samples[-1]
        return (last.executed - first.executed) / (last.seconds - first.seconds)

    def grown(self) -> list[str]:
        """What is not flat."""
        allowed = {"memory": max(0.1 * self.third(0, "memory"), 4 * MEGABYTE), "tasks": 10}
        return [
            f"{gauge}: {self.third(0, gauge):g}, then {self.third(2, gauge):g}"
            for gauge in GAUGES
            if self.third(2, gauge) - self.third(0, gauge) > allowed.get(gauge, 2)
        ]

    def table(self) -> list[str]:
        rows = ["| | first third | last third | most |", "| --- | --- | --- | --- |"]
        for gauge, unit, digits in (
            ("memory", MEGABYTE, 1),
            ("files", 1, 0),
            ("threads", 1, 0),
            ("tasks", 1, 0),
            ("wal", MEGABYTE, 1),
            ("late", 0.001, 1),
        ):
            name = {
                "memory": "memory (RSS), MB",
                "files": "open files",
                "tasks": "asyncio tasks",
                "wal": "WAL file, MB",
                "late": "lateness, p99, ms",
            }.get(gauge, gauge)
            most = max(getattr(sample, gauge) for sample in self.samples)
            cells = (self.third(0, gauge), self.third(2, gauge), most)
            rows.append(f"| {name} | {' | '.join(f'{c / unit:.{digits}f}' for c in cells)} |")
        return rows


def grow(folder: Path, *, rate: int, seconds: float, warm: float, keep_runs: int = 100) -> Growth:
    """`rate` runs a second on one SQLite file for so many seconds, after those to get warm."""
    file = folder / "load.db"
    worker = [sys.executable, HERE / "load_worker.py", file, str(rate), str(keep_runs)]
    found = Growth(rate)
    with subprocess.Popen(worker, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        watched = psutil.Process(process.pid)
        began = None
        for line in process.stdout:
            at = time.monotonic()
            began = at if began is None else began
            wal = file.with_name("load.db-wal")
            if at - began >= warm:
                found.samples.append(
                    Sample(
                        seconds=at - began,
                        memory=watched.memory_info().rss,
                        files=watched.num_fds(),
                        threads=watched.num_threads(),
                        wal=wal.stat().st_size if wal.exists() else 0,
                        **json.loads(line),
                    )
                )
            if at - began >= warm + seconds:
                break
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 0, process.returncode
    with closing(sqlite3.connect(file)) as db:
        [(found.skipped,)] = db.execute("SELECT coalesce(sum(count), 0) FROM cronkit_skips")
        [(found.failed,)] = db.execute("SELECT count(*) FROM cronkit_runs WHERE status = 'error'")
    return found


# --- whether one waits for the other

LIGHT = "select 1"
HEAVY_QUERY = "heavy query"


def heavy(rows: int) -> str:
    """A query that counts so many rows, which it makes up."""
    made = f"select 1 union all select x + 1 from n where x < {rows}"
    return f"with recursive n(x) as ({made}) select count(*) from n"


@dataclass
class Waits:
    """How long everything took in one phase. Seconds, of each."""

    phase: str
    answers: dict[str, list[float]] = field(default_factory=dict)
    lateness: list[float] = field(default_factory=list)

    def p99(self, what: str) -> float | None:
        return p99(self.lateness if what == "lateness" else self.answers.get(what, []))


def p99(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) * 99 // 100] if values else None


class Readers:
    """Threads that ask a server for pages, one after the other."""

    def __init__(self, address: str) -> None:
        self._address = address

    @contextmanager
    def reading(
        self, paths: dict[str, tuple[str, int]], answers: dict[str, list[float]]
    ) -> Iterator[None]:
        """While this lasts, ask for each path with so many threads at once."""
        over = threading.Event()
        failed: list[str] = []

        def read(name: str, path: str) -> None:
            while not over.is_set():
                began = time.monotonic()
                try:
                    with urllib.request.urlopen(self._address + path, timeout=60) as response:
                        response.read()
                except OSError as error:
                    failed.append(f"{path}: {error}")
                    return
                answers.setdefault(name, []).append(time.monotonic() - began)
                over.wait(0.01)

        threads = [
            threading.Thread(target=read, args=(name, path))
            for name, (path, count) in paths.items()
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert not failed, failed


def sql(query: str) -> str:
    return "/_memory/-/query.json?" + urllib.parse.urlencode({"sql": query})


PROBES = {
    "page": ("/-/cron", 1),
    "REST": ("/-/api/cron/tasks", 1),
    "query": (sql(LIGHT), 1),
}
SHOWN = {"lateness": "slot's lateness", "query": "a small query"}


def wait_for_each_other(
    folder: Path, *, rate: int, seconds: float, storm: int = 8, rows: int = 400_000
) -> dict[str, Waits]:
    """A Datasette in four phases of so many seconds: with and without `rate` runs a second, and
    with and without `storm` users at once whose queries are heavy."""
    found = {}
    with DatasetteCluster(folder, 1, lease=30.0, poll=1.0) as cluster:
        readers = Readers(cluster.address())

        def phase(name: str, paths: dict[str, tuple[str, int]]) -> None:
            waits = found[name] = Waits(name)
            began = cluster.now()
            with readers.reading(paths, waits.answers):
                time.sleep(seconds)  # for so long, and not until something
            ended = cluster.now()
            wait_until("the slots that came due", lambda: not cluster.owed(ended))
            waits.lateness = [
                late
                for (late,) in cluster.rows(
                    "SELECT (julianday(started_at) - julianday(scheduled_for)) * 86400 "
                    "FROM {p}runs WHERE slot BETWEEN ? AND ?",
                    cluster.stored(began),
                    cluster.stored(ended),
                )
            ]

        stormy = {**PROBES, HEAVY_QUERY: (sql(heavy(rows)), storm)}
        phase("neither", PROBES)
        phase("queries", stormy)
        every = 0.1 if rate >= 100 else 1.0
        anchor = datetime.now(UTC)
        count = max(round(rate * every), 1)
        cluster.declare(
            [
                {
                    "name": f"task {n}",
                    "handler": "idle",
                    "schedule": {
                        "interval": every,
                        "anchor": (anchor + timedelta(seconds=every * n / count)).isoformat(),
                    },
                    "overlap": "allow",
                    "catch_up": "all",
                }
                for n in range(count)
            ]
        )
        phase("runs", PROBES)
        phase("both", stormy)
        cluster.stop()
        assert not cluster.deaths, cluster.deaths
    return found


def waits_table(found: dict[str, Waits], seconds: float) -> list[str]:
    names = ("lateness", *PROBES, HEAVY_QUERY)
    rows = [
        f"| p99, ms | {' | '.join(SHOWN.get(name, name) for name in names)} | heavy queries/s |",
        "| --- " * (len(names) + 2) + "|",
    ]
    for phase, waits in found.items():
        cells = [waits.p99(name) for name in names]
        told = " | ".join("" if cell is None else f"{cell * 1000:.0f}" for cell in cells)
        heavy = waits.answers.get(HEAVY_QUERY, [])
        rows.append(f"| {phase} | {told} | {len(heavy) / seconds:.1f} |")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="of load; default 600")
    parser.add_argument("--phase", type=float, default=30.0, help="of each phase; default 30")
    parser.add_argument("--rate", type=int, default=1_000, help="runs a second; default 1,000")
    parser.add_argument("--json", action="store_true", help="print JSON, not tables")
    parser.add_argument("--write", action="store_true", help="write the tables to the docs too")
    parser.add_argument("--only", choices=("sqlite", "datasette"), help="only this part")
    options = parser.parse_args()
    told: list[str] = []
    fine = True
    with tempfile.TemporaryDirectory(prefix="cronkit-load-") as folder:
        if options.only != "datasette":
            growth = grow(Path(folder), rate=options.rate, seconds=options.seconds, warm=20.0)
            grown = growth.grown()
            fine = not grown
            told += [
                f"{growth.runs_per_second():,.0f} runs a second for {options.seconds:g} seconds: "
                + ("; ".join(grown) or "nothing grows")
                + f"; {growth.skipped} slots skipped, {growth.failed} of the runs kept failed",
                "",
                *growth.table(),
                "",
            ]
            if options.json:
                print(json.dumps(asdict(growth)), flush=True)
        if options.only != "sqlite":
            waits = wait_for_each_other(Path(folder), rate=options.rate, seconds=options.phase)
            told += waits_table(waits, options.phase)
            if options.json:
                print(json.dumps({name: asdict(wait) for name, wait in waits.items()}))
    if not options.json:
        print("\n".join(told))
    if options.write:
        chaos_docs.write("load", ["just", "load", *sys.argv[1:]], told)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
