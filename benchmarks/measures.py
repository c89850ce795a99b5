"""What is measured: groups of contenders that take turns, and the bars that cronkit is held to.

A count is what a contender gets in a full run, and in a quick one. The slow peers get less to do,
which favours them: what they do grows with the number of their tasks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

COUNT_OF_ROUNDS = {"full": 5, "quick": 2}
Size = Literal["full", "quick"]


@dataclass(frozen=True)
class Contender:
    """Somebody who takes a turn in each round: a scenario of an engine in an environment.

    An option that is a pair of numbers has the one of a full and the one of a quick run.
    """

    name: str
    environment: str
    engine: str
    scenario: str
    options: dict[str, Any] = field(default_factory=dict)
    postgres: bool = False

    def options_of(self, size: Size) -> dict[str, Any]:
        chosen = 0 if size == "full" else 1
        return {k: v[chosen] if isinstance(v, tuple) else v for k, v in self.options.items()}


@dataclass(frozen=True)
class Bar:
    """What cronkit is held to: `ours` / `theirs` of a figure is at least, or at most, `bound`.
    Without `theirs`, the figure itself is."""

    text: str
    ours: str
    figure: str
    bound: float
    theirs: str | None = None
    at_most: bool = False


@dataclass(frozen=True)
class Group:
    """Contenders that are measured side by side. `columns` are the figures that the table shows;
    with `against`, the first is also given as the
    ratio of that contender's to each other's."""

    key: str
    title: str
    columns: dict[str, str]
    contenders: tuple[Contender, ...]
    against: str | None = None
    bars: tuple[Bar, ...] = ()
    note: str = ""
    rounds: int | None = None
    """How many rounds there are, where a contender takes its several samples in one turn."""


def core(name: str, scenario: str, **options: Any) -> Contender:
    return Contender(
        name, "core", "ours", scenario, options, postgres=options.get("kind") == "postgres"
    )


def adapter(name: str, scenario: str, **options: Any) -> Contender:
    return Contender(name, "adapter", "ours", scenario, {"kind": "datasette", **options})


def alpha(scenario: str, **options: Any) -> Contender:
    name = "datasette-cron 0.0.1a2"
    return Contender(name, name, "alpha", scenario, options)


def aps3(where: str, scenario: str, **options: Any) -> Contender:
    kind = {"memory": "memory", "SQLite": "sqlite"}[where]
    return Contender(
        f"APScheduler 3, {where}", "APScheduler 3", "aps3", scenario, {"kind": kind, **options}
    )


def aps4(where: str, **options: Any) -> Contender:
    kind = {"memory": "memory", "SQLite": "sqlite", "PostgreSQL": "postgres"}[where]
    return Contender(
        *(f"APScheduler 4 alpha, {where}", "APScheduler 4", "aps4", "burst"),
        {"kind": kind, **options},
        postgres=kind == "postgres",
    )


def raw(name: str, scenario: str, **options: Any) -> Contender:
    return Contender(name, "core", "raw", scenario, options, postgres=scenario == "postgres")


def imports(environment: str, statement: str) -> Contender:
    return Contender(statement, environment, "imports", "import_time", {"statement": statement})


RATE = {"per_second": "runs/s"}
IDLE = {"tick_us": "tick, µs", "cpu_percent": "CPU, %", "resident_mb": "memory, MB"}
LATE = {"p50_ms": "p50, ms", "p99_ms": "p99, ms", "worst_ms": "worst, ms", "per_second": "runs/s"}
FEW, MANY = 1_000, 1_000_000
# The stand-in of a quick run for a million.
SOME = (MANY, 20_000)

ALPHA_BURST = alpha("burst", count=(60, 30))

GROUPS = (
    Group(
        "burst-sqlite",
        "A burst of due no-op tasks: SQLite",
        RATE,
        (
            core("cronkit, NORMAL", "burst", kind="sqlite", count=(20_000, 2_000)),
            core(
                "cronkit, FULL (the default)",
                "burst",
                kind="sqlite",
                synchronous="FULL",
                count=(20_000, 2_000),
            ),
            core("cronkit's storage alone, NORMAL", "storage_alone", count=(20_000, 2_000)),
            raw("limit: sqlite3, the same rows", "sqlite_same_rows", count=(50_000, 5_000)),
            raw("limit: sqlite3, bare rows", "sqlite", count=(100_000, 20_000)),
            raw(
                "limit: sqlite3, bare rows, FULL",
                "sqlite",
                synchronous="FULL",
                count=(100_000, 20_000),
            ),
            aps3("SQLite", "burst", count=(200, 50)),
            aps4("SQLite", count=(200, 50)),
            ALPHA_BURST,
        ),
        "cronkit, NORMAL",
        (
            Bar(
                "0.2 x the raw limit, of the same rows",
                "cronkit, NORMAL",
                "per_second",
                0.2,
                "limit: sqlite3, the same rows",
            ),
            Bar(
                "0.2 x the raw limit, of bare rows",
                "cronkit, NORMAL",
                "per_second",
                0.2,
                "limit: sqlite3, bare rows",
            ),
            Bar(
                "100 x datasette-cron 0.0.1a2",
                "cronkit, NORMAL",
                "per_second",
                100,
                "datasette-cron 0.0.1a2",
            ),
            Bar("25 x APScheduler 3", "cronkit, NORMAL", "per_second", 25, "APScheduler 3, SQLite"),
        ),
        "From the start of the loop to the record of the last end. The bare rows have six columns "
        "and one index; the same rows are cronkit's, with its indexes. cronkit keeps a history and "
        "takes leases; datasette-cron 0.0.1a2 keeps a history; the APSchedulers keep none.",
    ),
    Group(
        "burst-datasette",
        "The same through datasette-cron, on Datasette's internal database",
        RATE,
        (
            adapter("cronkit, Datasette", "burst", count=(10_000, 2_000)),
            ALPHA_BURST,
        ),
        "cronkit, Datasette",
        (
            Bar(
                "50 x datasette-cron 0.0.1a2",
                "cronkit, Datasette",
                "per_second",
                50,
                "datasette-cron 0.0.1a2",
            ),
        ),
    ),
    Group(
        "burst-memory",
        "The same in memory",
        RATE,
        (
            core("cronkit, memory", "burst", kind="memory", count=(20_000, 2_000)),
            aps3("memory", "burst", count=(20_000, 2_000)),
            aps4("memory", count=(300, 100)),
            raw("limit: asyncio.create_task", "create_task", count=(200_000, 20_000)),
        ),
        "cronkit, memory",
        (
            Bar(
                "1.5 x APScheduler 3", "cronkit, memory", "per_second", 1.5, "APScheduler 3, memory"
            ),
        ),
        "cronkit keeps a history in memory, too; the others have none.",
    ),
    Group(
        "burst-postgres",
        "The same on PostgreSQL",
        RATE,
        (
            core(
                "cronkit, one process",
                "burst_of_processes",
                kind="postgres",
                processes=1,
                count=(10_000, 1_000),
            ),
            core(
                "cronkit, two processes",
                "burst_of_processes",
                kind="postgres",
                processes=2,
                count=(10_000, 1_000),
            ),
            raw("limit: statements with arrays", "postgres", count=(50_000, 5_000)),
            Contender(
                *("procrastinate", "procrastinate", "procrastinate_jobs", "burst"),
                {"count": (1_000, 200)},
                postgres=True,
            ),
            Contender(
                *("PgQueuer", "PgQueuer", "pgqueuer_jobs", "burst"),
                {"count": (5_000, 1_000)},
                postgres=True,
            ),
            aps4("PostgreSQL", count=(200, 50)),
        ),
        "cronkit, one process",
        (
            Bar("5 x procrastinate", "cronkit, one process", "per_second", 5, "procrastinate"),
            Bar(
                "5 x APScheduler 4",
                "cronkit, one process",
                "per_second",
                5,
                "APScheduler 4 alpha, PostgreSQL",
            ),
            Bar(
                "two processes beat one",
                "cronkit, two processes",
                "per_second",
                1,
                "cronkit, one process",
            ),
        ),
        "The server runs on the same two cores, with fsync on. procrastinate and PgQueuer are "
        "queues: their jobs are in the queue before the clock starts, and nothing computes a next "
        "slot.",
    ),
    Group(
        "idle",
        "Tasks that are not due",
        IDLE,
        (
            core("memory, 1,000", "idle", kind="memory", tasks=FEW),
            core("memory, 1,000,000", "idle", kind="memory", tasks=SOME),
            core("SQLite, 1,000", "idle", kind="sqlite", tasks=FEW),
            core("SQLite, 1,000,000", "idle", kind="sqlite", tasks=SOME),
            core("PostgreSQL, 1,000", "idle", kind="postgres", tasks=FEW),
            core("PostgreSQL, 1,000,000", "idle", kind="postgres", tasks=SOME),
            adapter("Datasette, 1,000", "idle", tasks=FEW),
            adapter("Datasette, 1,000,000", "idle", tasks=SOME),
            aps3("memory", "idle", tasks=(10_000, 1_000)),
            aps3("SQLite", "idle", tasks=(300, 50)),
            alpha("idle", tasks=(100, 20)),
        ),
        None,
        (
            *(
                Bar(
                    f"1.5 x the tick with 1,000, {where}",
                    f"{where}, 1,000,000",
                    "tick_us",
                    1.5,
                    f"{where}, 1,000",
                    at_most=True,
                )
                for where in ("memory", "SQLite", "PostgreSQL", "Datasette")
            ),
            *(
                Bar(
                    f"idle CPU under 0.2 %, {where}",
                    f"{where}, 1,000,000",
                    "cpu_percent",
                    0.2,
                    at_most=True,
                )
                for where in ("memory", "SQLite", "PostgreSQL", "Datasette")
            ),
            Bar("under 60 MB resident", "SQLite, 1,000,000", "resident_mb", 60, at_most=True),
        ),
        "A tick is one look at what is due. cronkit looks once a second, since another process may "
        "have written; the peers sleep until their own next task. APScheduler 3 has 10,000 jobs "
        "(memory) and 300 (SQLite) here, datasette-cron 0.0.1a2 has 100 tasks.",
        rounds=1,
    ),
    Group(
        "lateness",
        "How late a handler is called",
        LATE,
        (
            *(
                core(
                    f"cronkit, {where}, {rate} a second",
                    "lateness",
                    kind=kind,
                    per_second=int(rate.replace(",", "")),
                    # A hundred slots, at least, for the last percent of them.
                    seconds=(10 if rate == "10" else 6, 2),
                )
                for where, kind in (
                    ("SQLite", "sqlite"),
                    ("memory", "memory"),
                    ("PostgreSQL", "postgres"),
                )
                for rate in ("10", "1,000")
            ),
            *(
                Contender(
                    f"APScheduler 3, {where}, {rate} a second",
                    "APScheduler 3",
                    "aps3",
                    "lateness",
                    {"kind": kind, "per_second": rate, "seconds": (6, 2)},
                )
                for where, kind, rate in (("SQLite", "sqlite", 10), ("memory", "memory", 10))
            ),
            Contender(
                "APScheduler 3, memory, 1,000 a second",
                "APScheduler 3",
                "aps3",
                "lateness",
                {"kind": "memory", "per_second": 1000, "seconds": (6, 2)},
            ),
        ),
        None,
        tuple(
            Bar(
                f"p99 under {bound} ms at {rate} a second, {where}",
                f"cronkit, {where}, {rate} a second",
                "p99_ms",
                bound,
                at_most=True,
            )
            for rate, bound in (("10", 5), ("1,000", 25))
            for where in ("SQLite", "memory", "PostgreSQL")
        ),
        "Tasks of one second each, their slots spread evenly. With SQLite and PostgreSQL, a "
        "handler is called when its claim is on disk.",
    ),
    Group(
        "add",
        "Adding tasks",
        {"per_second": "tasks/s"},
        (
            core("cronkit, SQLite", "add", kind="sqlite", count=(100_000, 5_000)),
            aps3("SQLite", "add", count=(300, 50)),
            alpha("add", count=(200, 30)),
        ),
        "cronkit, SQLite",
        (Bar("20 x APScheduler 3", "cronkit, SQLite", "per_second", 20, "APScheduler 3, SQLite"),),
        "100,000 tasks in one call of `add_tasks`; the peers add one at a time.",
    ),
    Group(
        "import",
        "Import",
        {"beyond_ms": "beyond the bare interpreter, ms"},
        (
            imports("core", "import cronkit_core"),
            imports("core", "from cronkit_core import parse_schedule"),
            imports("core", "from cronkit_core import Scheduler, SQLiteStorage"),
            imports("APScheduler 3", "from apscheduler.schedulers.asyncio import AsyncIOScheduler"),
            imports("APScheduler 4", "from apscheduler import AsyncScheduler"),
        ),
        None,
        (Bar("under 60 ms", "import cronkit_core", "beyond_ms", 60, at_most=True),),
        rounds=1,
    ),
)


@dataclass(frozen=True)
class Curve:
    """How a figure grows: a contender for each number on the x axis; or one alone, `sweep`, which
    answers for all of them, with figures that have the number in their names."""

    name: str
    figure: str
    points: dict[int, Contender] = field(default_factory=dict)
    sweep: Contender | None = None


@dataclass(frozen=True)
class Plot:
    """A picture of curves."""

    key: str
    title: str
    x: str
    y: str
    curves: tuple[Curve, ...]


def powers(first: int, last: int) -> list[int]:
    return [10**n for n in range(first, last + 1)]


def growth(size: Size) -> tuple[Plot, ...]:
    """The plots of a full run, or of a quick one, which goes less far."""
    full = size == "full"
    tasks = powers(2, 6 if full else 4)
    history = powers(3, 7 if full else 5)
    due = powers(0, 5 if full else 3)
    count = 5_000 if full else 500
    places = {"SQLite": "sqlite", "memory": "memory", "PostgreSQL": "postgres"}
    return (
        Plot(
            "tasks",
            "An idle tick, by the number of tasks",
            "tasks that are not due",
            "microseconds a tick",
            tuple(
                Curve(
                    where,
                    "tick_us",
                    {n: core("", "idle", kind=kind, tasks=n, seconds=0.1) for n in tasks},
                )
                for where, kind in places.items()
            ),
        ),
        Plot(
            "history",
            "A burst, by the number of runs in the history",
            "runs in the history",
            "runs a second",
            (
                Curve(
                    "SQLite",
                    "per_second",
                    sweep=core("", "grow_history", sizes=history, count=count),
                ),
            ),
        ),
        Plot(
            "processes",
            "A burst, by the number of processes that share it (two cores)",
            "processes",
            "runs a second",
            tuple(
                Curve(
                    where,
                    "per_second",
                    {
                        n: core("", "burst_of_processes", kind=kind, count=2 * count, processes=n)
                        for n in ((1, 2, 3, 4, 6, 8) if full else (1, 2))
                    },
                )
                for where, kind in places.items()
                if kind != "memory"
            ),
        ),
        Plot(
            "due",
            "A burst, by the number of tasks due at once",
            "tasks due at once",
            "runs a second",
            tuple(
                Curve(
                    where,
                    "per_second",
                    {n: core("", "burst", kind=kind, count=n) for n in due},
                )
                for where, kind in places.items()
            ),
        ),
    )
