"""What is to happen in a simulated history: drawn from a seed, whole, before anything runs, so that
it can be cut down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

# A zone, and an instant at which its clocks change.
TRANSITIONS = (
    ("America/New_York", datetime(2027, 3, 14, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 11, 7, 6, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2027, 3, 28, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2027, 10, 31, 1, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2027, 4, 3, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2027, 10, 2, 15, 30, tzinfo=UTC)),
)

UNITS = (1, 1, 30, 600, 7200)
"""Seconds: the pace of a history. What a minute is to one, a day is to another."""

CRONS = {
    1: ("* * * * *", "*/2 * * * *", "*/20 * * * * *"),
    30: ("*/10 * * * *", "0 * * * *", "5,35 * * * *"),
    600: ("*/40 1-3 * * *", "30 2 * * *", "0 */3 * * *"),
    7200: ("30 2 * * *", "0 0 * * 1", "15 1,2,3 * * *"),
}
RULES = {
    1: ("FREQ=SECONDLY;INTERVAL=25", "FREQ=SECONDLY;INTERVAL=20;COUNT=9"),
    30: ("FREQ=MINUTELY;INTERVAL=11", "FREQ=MINUTELY;INTERVAL=9;COUNT=7"),
    600: ("FREQ=HOURLY;INTERVAL=3", "FREQ=HOURLY;INTERVAL=2;COUNT=8"),
    7200: ("FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0", "FREQ=DAILY;COUNT=6"),
}

HABITS = {
    # what the handler of a task does, and how often of a hundred times
    "good": {"ok": 96, "chatty": 4},
    "slow": {"ok": 40, "slow": 56, "chatty": 4},
    "flaky": {"ok": 50, "error": 25, "retry": 15, "fail": 4, "exit": 3, "from within": 3},
    "bad": {
        "ok": 30,
        "slow": 10,
        "error": 10,
        "hang": 10,
        "stubborn": 10,
        "swallow": 8,
        "untidy": 7,
        "spite": 5,
        "meddle": 10,
    },
    "fatal": {"ok": 70, "block": 15, "crash": 7, "quit": 4, "slow": 4},
}

CALM, FILE, SERVER, WILD = "calm", "file", "server", "wild"
"""What the storage is like, and what goes wrong.

calm: nothing goes wrong. file: all processes are on one machine, with one clock, and what a process
asked of the storage dies and stalls with it. server: each process has its own clock and the
storage's clock decides; what was sent arrives, whatever became of the sender. wild: each process
has its own clock, and that decides.
"""


@dataclass(frozen=True)
class TaskPlan:
    name: str
    habits: str
    definition: dict[str, Any]


@dataclass(frozen=True)
class Step:
    """Something that happens at `at` seconds: an operation, or a fault."""

    at: float
    kind: str
    node: int
    task: int = 0
    args: tuple[tuple[str, Any], ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.args)

    def __str__(self) -> str:
        options = ", ".join(f"{key}={value}" for key, value in self.args)
        return f"{self.at:9.3f}  node {self.node}  task {self.task}  {self.kind}({options})"


@dataclass(frozen=True)
class Scenario:
    seed: int
    scale: float
    mode: str
    unit: float
    start: datetime
    horizon: float
    """How many seconds pass before everything is healed."""
    latency: float
    """Up to how many seconds a storage takes to commit, and again to answer."""
    nodes: int
    declares: bool
    """Whether each process declares the tasks when it starts, as a deployed program does."""
    settings: dict[str, Any]
    tasks: tuple[TaskPlan, ...]
    steps: tuple[Step, ...]
    kept: tuple[int, ...] = ()
    """Which of the steps that the seed gives these are."""

    def only(self, kept: tuple[int, ...]) -> Scenario:
        """The scenario with those of its steps that have these numbers."""
        by_number = dict(zip(self.kept, self.steps, strict=True))
        return replace(self, kept=kept, steps=tuple(by_number[i] for i in kept))

    def with_nodes(self, nodes: int) -> Scenario:
        kept = tuple(i for i, step in zip(self.kept, self.steps, strict=True) if step.node < nodes)
        return replace(self.only(kept), nodes=nodes)

    def __str__(self) -> str:
        head = (
            f"seed {self.seed}: {self.mode}, {self.nodes} nodes, unit {self.unit} s, "
            f"start {self.start}, horizon {self.horizon:.0f} s, latency {self.latency} s"
            f"{', tasks are declared' * self.declares}\n"
            f"settings {self.settings}\n"
        )
        tasks = "".join(f"task {t.name} ({t.habits}): {t.definition}\n" for t in self.tasks)
        steps = zip(self.kept, self.steps, strict=True)
        return head + tasks + "".join(f"{i:3d} {step}\n" for i, step in steps)


def draw(seed: int, *, scale: float = 1.0) -> Scenario:
    """The scenario of `seed`. `scale` makes it longer, with more steps."""
    rng = Random(f"scenario {seed}")
    unit = rng.choice(UNITS)
    mode = rng.choice((CALM, CALM, FILE, FILE, FILE, SERVER, SERVER, SERVER, WILD))
    zone, transition = rng.choice(TRANSITIONS)
    horizon = rng.choice((100, 200, 300)) * unit * scale
    start = transition - timedelta(seconds=rng.uniform(-0.1, 1.0) * horizon)
    nodes = rng.choice((1, 2, 2, 3))
    drawer = _Drawer(rng, unit, zone, start, horizon, nodes)
    tasks = tuple(drawer.task(i) for i in range(rng.choice((1, 2, 3, 4))))
    if mode == CALM:
        tasks = tuple(replace(t, habits="slow" if t.habits == "fatal" else t.habits) for t in tasks)
    steps = [Step(0.0, "add", rng.randrange(nodes), i) for i in range(len(tasks))]
    operations, faults = (int(rng.choice(n) * scale) for n in ((0, 5, 10, 16), (2, 4, 8, 14)))
    steps += [drawer.operation(len(tasks)) for _ in range(operations)]
    if mode != CALM:
        steps += [drawer.fault(mode) for _ in range(faults)]
    steps.sort(key=lambda step: step.at)
    slow = rng.choice((0.01, 0.01, 0.2, 0.2, 1.0, 3.0))
    return Scenario(
        seed=seed,
        scale=scale,
        mode=mode,
        unit=unit,
        start=start.replace(microsecond=0),
        horizon=horizon,
        latency=slow if mode != CALM else min(slow, 0.2),
        nodes=nodes,
        declares=rng.random() < 0.3,
        settings=drawer.settings(),
        tasks=tasks,
        steps=tuple(steps),
        kept=tuple(range(len(steps))),
    )


@dataclass
class _Drawer:
    rng: Random
    unit: int
    zone: str
    start: datetime
    horizon: float
    nodes: int

    def settings(self) -> dict[str, Any]:
        rng, unit = self.rng, self.unit
        return {
            "poll": rng.choice((2, 5, 10)) * unit,
            "lease": rng.choice((12, 20, 30)) * unit,
            "cancel_grace": rng.choice((1, 4, 8)) * unit,
            "shutdown_grace": rng.choice((0, 2, 10)) * unit,
            "max_concurrency": rng.choice((1, 2, 3, 100, 100)),
            "batch": rng.choice((1, 2, 500)),
            "groups": {"g": rng.choice((1, 2))},
            "prune_every": rng.choice((20, 60)) * unit,
            "keep_runs": rng.choice((None, None, None, 2, 20)),
        }

    def schedule(self) -> dict[str, Any]:
        """Arguments `schedule` and `timezone` of a task."""
        rng, unit = self.rng, self.unit
        match rng.choice(("interval", "interval", "interval", "cron", "rrule", "once", "any")):
            case "cron":
                return {"schedule": rng.choice(CRONS[unit]), "timezone": self.zone}
            case "rrule":
                rule = rng.choice(RULES[unit])
                return {"schedule": {"rrule": rule}, "timezone": self.zone}
            case "once":
                at = self.start + timedelta(seconds=rng.uniform(0.05, 0.8) * self.horizon)
                return {"schedule": {"at": at.isoformat()}, "timezone": None}
            case "any":
                specs = [{"interval": rng.choice((17, 23)) * unit}, rng.choice(CRONS[unit])]
                return {"schedule": {"any": specs}, "timezone": self.zone}
            case _:
                every = rng.choice((4, 7, 10, 13, 20, 40)) * unit
                return {"schedule": {"interval": every}, "timezone": None}

    def policies(self) -> dict[str, Any]:
        rng, unit = self.rng, self.unit
        retry = {
            "max_retries": rng.choice((0, 0, 1, 2, 3)),
            "backoff": rng.choice(("exponential", "linear", "constant")),
            "base": rng.choice((0.5, 1, 4)) * unit,
            "max_delay": 30.0 * unit,
            "on": rng.choice(((), (), (), ("OSError",))),
            "give_up_after": rng.choice((None, None, None, 25.0 * unit)),
        }
        choices = {
            "overlap": ("skip", "queue", "cancel", "allow"),
            "catch_up": ("latest", "all", "skip"),
            "catch_up_limit": (1, 3, 5),
            "grace": (0.0, 2.0 * unit, 15.0 * unit),
            "retry": (retry,),
            "timeout": (None, None, 6.0 * unit, 25.0 * unit),
            "jitter": (0.0, 0.0, 0.0, 3.0 * unit),
            "max_runs": (None, None, None, None, 4, 9),
            "pause_after_failures": (None, None, None, 2),
            "group": (None, None, "g"),
            "priority": (0, 0, 5, -3),
            "start_at": (None, None, None, self.moment(0.0, 0.3)),
            "end_at": (None, None, None, self.moment(0.4, 1.2)),
        }
        return {key: rng.choice(values) for key, values in choices.items()}

    def moment(self, low: float, high: float) -> datetime:
        return self.start + timedelta(seconds=round(self.rng.uniform(low, high) * self.horizon))

    def task(self, number: int) -> TaskPlan:
        habits = self.rng.choice(("good", "slow", "slow", "flaky", "flaky", "bad", "bad", "fatal"))
        definition = {**self.schedule(), **self.policies()}
        return TaskPlan(f"t{number}", habits, definition)

    def operation(self, tasks: int) -> Step:
        rng = self.rng
        kinds: dict[str, Callable[[], dict[str, Any]]] = {
            "add": self.addition,
            "update": self.change,
            "remove": lambda: {"cancel": rng.random() < 0.6},
            "readd": self.addition,
            "disable": dict,
            "enable": dict,
            "pause": lambda: {"seconds": rng.uniform(1, 60) * self.unit},
            "trigger": lambda: {"force": rng.random() < 0.3, "times": rng.choice((1, 1, 3))},
            "cancel": dict,
            "backfill": lambda: {
                "back": rng.uniform(1, 80) * self.unit,
                "overlap": rng.choice((None, "allow", "skip")),
            },
            "wait": dict,
        }
        often = ("update", "update", "pause", "trigger", "trigger", "cancel")
        kind = rng.choice((*kinds, *often))
        return self.step(kind, kinds[kind](), rng.randrange(tasks))

    def addition(self) -> dict[str, Any]:
        """How the definition of a task differs from the first one."""
        return {} if self.rng.random() < 0.5 else {**self.schedule(), **self.policies()}

    def change(self) -> dict[str, Any]:
        rng = self.rng
        chance = rng.random()
        if chance < 0.4:
            return self.schedule()
        if chance < 0.5:
            return {"enabled": rng.random() < 0.6}
        if chance < 0.55:
            return {"handler": rng.choice(("work", "absent"))}
        policies = self.policies()
        return {key: policies[key] for key in rng.sample(sorted(policies), rng.choice((1, 2, 4)))}

    def fault(self, mode: str) -> Step:
        rng, unit = self.rng, self.unit
        longer_than_a_lease = (5, 15, 35, 70)
        far = (0.5, 3, 25, 80, 400)
        kinds: dict[str, Callable[[], dict[str, Any]]] = {
            "kill": lambda: {
                "steps": rng.choice((0, 0, 1, 2, 3, 5, 8, 13, 21, 34)),
                "down": rng.choice((0.5, 5, 40, 90)) * unit,
            },
            "stop": lambda: {
                "down": rng.choice((0.0, 5, 40)) * unit,
                "twice": rng.random() < 0.3,
                "same": rng.random() < 0.5,
            },
            "stall": lambda: {
                "steps": rng.choice((0, 0, 1, 2, 3, 5, 8, 13)),
                "seconds": rng.choice(longer_than_a_lease) * unit,
            },
            "suspend": lambda: {"seconds": rng.choice(longer_than_a_lease) * unit},
            "clock": lambda: {"by": rng.choice((-1, 1)) * rng.choice(far) * unit},
            "calls": lambda: {
                "what": rng.choice(
                    ("before", "after", "after", "late", "late answer", "kill before", "kill after")
                ),
                "methods": rng.choice(
                    ("claim", "finish", "renew", "wake", "write", "write", "any")
                ),
                "skip": rng.choice((0, 0, 1, 2, 5)),
                "count": rng.choice((1, 1, 2, 6)),
                "seconds": rng.choice((1, 8, 18, 40)) * unit,
                "down": rng.choice((0.5, 20, 60)) * unit,
            },
        }
        kind = rng.choice(
            (*kinds, "kill", "stall", "stop", *("calls",) * (5 if mode != WILD else 3))
        )
        if mode == WILD and rng.random() < 0.3:
            kind = "clock"
        options = kinds[kind]()
        if kind in ("kill", "stall", "suspend", "stop") and rng.random() < 0.6:
            # So long after the next time that a handler begins there.
            options["after"] = rng.choice((0.0, 0.1, 1, 4, 12)) * unit
        return self.step(kind, options, 0)

    def step(self, kind: str, options: dict[str, Any], task: int) -> Step:
        at = round(self.rng.uniform(0.02, 0.98) * self.horizon, 3)
        return Step(at, kind, self.rng.randrange(self.nodes), task, tuple(options.items()))
