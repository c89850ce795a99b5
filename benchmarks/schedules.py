"""How fast the schedules are, beside the other libraries of Python: a Markdown table of ratios.

    uv run python benchmarks/schedules.py            # makes a throwaway environment with the peers
    uv run python benchmarks/schedules.py --here     # uses what is installed here
    uv run python benchmarks/schedules.py --zone UTC --only next

Every figure is the median of `--rounds` rounds. In each round all libraries take their turn with
the same questions, so that a busy machine slows all of them alike. The first column is the time of
cronkit, the others say how many times that each peer takes: above 1, cronkit is faster.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

PACKAGE = Path(__file__).resolve().parent.parent / "packages" / "cronkit-core"
PEERS = ["croniter", "cronsim", "apscheduler", "python-dateutil"]
OPTIONAL_PEERS = ["croniter-rs"]

START = datetime(2026, 1, 1, tzinfo=UTC)
SHAPES = {
    "every minute": "* * * * *",
    "every 5 minutes": "*/5 * * * *",
    "daily": "0 8 * * *",
    "weekdays": "0 9 * * mon-fri",
    "monthly": "30 4 1 * *",
    "29 February": "0 0 29 2 *",
    "day of month or week": "0 0 13 * fri",
    "lists and steps": "5,20,35 8-18/2 1-20 1-6/2 *",
    "last day of the month": "0 0 L * *",
    "second Friday": "0 9 * * fri#2",
    "every 10 seconds": "*/10 * * * * *",
}
NEVER = "0 0 31 2 *"
RULES = {
    "daily": "FREQ=DAILY;BYHOUR=8",
    "weekdays": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=9",
    "every 5 minutes": "FREQ=MINUTELY;INTERVAL=5",
    "second Friday": "FREQ=MONTHLY;BYDAY=2FR",
    "last workday": "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
    "29 February": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
}

Ask = Callable[[], object]


class Unable(Exception):
    """The library has no such construct."""


class Cronkit:
    """Asked about any instant; answers with aware UTC datetimes, as only cronsim does beside it."""

    def __init__(self) -> None:
        from cronkit_core.schedules.cron import CronSchedule

        self._parse = CronSchedule.parse

    def nexts(self, cron: str, zone: ZoneInfo, afters: list[datetime]) -> Ask:
        next_after = self._parse(cron, zone.key).next_after
        return lambda: [next_after(after) for after in afters]

    def parse_and_next(self, cron: str, zone: ZoneInfo, after: datetime) -> Ask:
        return lambda: self._parse(cron, zone.key).next_after(after)

    def steps(self, cron: str, zone: ZoneInfo, after: datetime) -> Iterator[object]:
        schedule = self._parse(cron, zone.key)
        return schedule.between(after, datetime.max.replace(tzinfo=UTC))


class Croniter:
    name = "croniter"

    def __init__(self) -> None:
        from croniter import croniter

        self._croniter = croniter

    def _parse(self, cron: str, after: datetime) -> object:
        return self._croniter(cron, after, second_at_beginning=True)

    def nexts(self, cron: str, zone: ZoneInfo, afters: list[datetime]) -> Ask:
        local = [after.astimezone(zone) for after in afters]
        get_next = self._parse(cron, local[0]).get_next
        return lambda: [get_next(datetime, start_time=after) for after in local]

    def parse_and_next(self, cron: str, zone: ZoneInfo, after: datetime) -> Ask:
        local = after.astimezone(zone)
        return lambda: self._parse(cron, local).get_next(datetime)

    def steps(self, cron: str, zone: ZoneInfo, after: datetime) -> Iterator[object]:
        get_next = self._parse(cron, after.astimezone(zone)).get_next
        while True:
            yield get_next(datetime)


class CroniterRs(Croniter):
    """Drops the zone: its answers are naive, and clock changes are none of its business."""

    name = "croniter-rs"

    def __init__(self) -> None:
        from croniter_rs import croniter

        self._croniter = croniter

    def _parse(self, cron: str, after: datetime) -> object:
        return self._croniter(cron, after, second_at_beginning=True)


class Cronsim:
    name = "cronsim"

    def __init__(self) -> None:
        from cronsim import CronSim

        self._cronsim = CronSim

    def nexts(self, cron: str, zone: ZoneInfo, afters: list[datetime]) -> Ask:
        # an iterator from one instant: each question takes a new one, which parses again
        local = [after.astimezone(zone) for after in afters]
        return lambda: [next(self._cronsim(cron, after)) for after in local]

    def parse_and_next(self, cron: str, zone: ZoneInfo, after: datetime) -> Ask:
        local = after.astimezone(zone)
        return lambda: next(self._cronsim(cron, local))

    def steps(self, cron: str, zone: ZoneInfo, after: datetime) -> Iterator[object]:
        return iter(self._cronsim(cron, after.astimezone(zone)))


class Apscheduler:
    """Has no OR of the day fields, so the row of it is another question there and left out."""

    name = "APScheduler"

    def __init__(self) -> None:
        from apscheduler.triggers.cron import CronTrigger

        self._trigger = CronTrigger

    def _parse(self, cron: str, zone: ZoneInfo) -> object:
        fields = cron.split()
        if (
            len(fields) == 6
            or "#" in cron
            or "L" in fields
            or cron == SHAPES["day of month or week"]
        ):
            raise Unable
        return self._trigger.from_crontab(cron, timezone=zone)

    def nexts(self, cron: str, zone: ZoneInfo, afters: list[datetime]) -> Ask:
        local = [after.astimezone(zone) for after in afters]
        fire_time = self._parse(cron, zone).get_next_fire_time
        return lambda: [fire_time(None, after) for after in local]

    def parse_and_next(self, cron: str, zone: ZoneInfo, after: datetime) -> Ask:
        local = after.astimezone(zone)
        self._parse(cron, zone)
        return lambda: self._parse(cron, zone).get_next_fire_time(None, local)

    def steps(self, cron: str, zone: ZoneInfo, after: datetime) -> Iterator[object]:
        trigger, at = self._parse(cron, zone), after.astimezone(zone)
        while (at := trigger.get_next_fire_time(at, at)) is not None:
            yield at


class CronkitRules:
    def __init__(self) -> None:
        from cronkit_core.schedules import parse_schedule

        self._parse = lambda rule, zone, start: parse_schedule(
            {"rrule": rule, "dtstart": start.replace(tzinfo=None).isoformat()}, zone.key
        )

    def nexts(self, rule: str, zone: ZoneInfo, start: datetime, afters: list[datetime]) -> Ask:
        next_after = self._parse(rule, zone, start).next_after
        return lambda: [next_after(after) for after in afters]

    def parse_and_next(self, rule: str, zone: ZoneInfo, start: datetime, after: datetime) -> Ask:
        return lambda: self._parse(rule, zone, start).next_after(after)


class Dateutil:
    name = "dateutil"

    def __init__(self) -> None:
        from dateutil.rrule import rrulestr

        self._parse = lambda rule, zone, start: rrulestr(rule, dtstart=start.replace(tzinfo=zone))

    def nexts(self, rule: str, zone: ZoneInfo, start: datetime, afters: list[datetime]) -> Ask:
        local = [after.astimezone(zone) for after in afters]
        rrule_after = self._parse(rule, zone, start).after
        return lambda: [rrule_after(after) for after in local]

    def parse_and_next(self, rule: str, zone: ZoneInfo, start: datetime, after: datetime) -> Ask:
        local = after.astimezone(zone)
        return lambda: self._parse(rule, zone, start).after(local)


# Measuring


def seconds_of(ask: Ask, repeat: int) -> float:
    began = time.perf_counter()
    for _ in range(repeat):
        ask()
    return (time.perf_counter() - began) / repeat


def medians(asks: list[Ask | None], rounds: int) -> list[float | None]:
    """The median time of each in seconds, all of them taking turns; None for those that cannot."""
    repeats = []
    for position, ask in enumerate(asks):
        if ask is None:
            repeats.append(0)
            continue
        try:
            once = seconds_of(ask, 1)
        except Exception:
            asks[position] = None
            repeats.append(0)
            continue
        # a round of 20 ms is long enough to time and short enough to share a noise
        repeats.append(max(1, int(0.02 / max(once, 1e-7))) if once < 1 else 1)
    times: list[list[float]] = [[] for _ in asks]
    for _ in range(rounds):
        for ask, repeat, found in zip(asks, repeats, times, strict=True):
            if ask is not None:
                found.append(seconds_of(ask, repeat))
    return [statistics.median(found) if found else None for found in times]


def ending(ask: Ask) -> Ask:
    """`ask`, where an exception is the answer that there is none."""

    def quiet() -> object:
        try:
            return ask()
        except Exception:
            return None

    return quiet


class Table:
    """Rows of cronkit's time and of the peers' ratios, and their geometric means."""

    def __init__(self, title: str, peers: list[str], unit: str) -> None:
        self._ratios: dict[str, list[float]] = {peer: [] for peer in peers}
        print(f"\n### {title}\n")
        print(f"| | cronkit, {unit} | " + " | ".join(peers) + " |")
        print("| --- |" + " ---: |" * (len(peers) + 1))

    def row(self, name: str, times: list[float | None], per: list[int] | None = None) -> None:
        per = per or [1] * len(times)
        each = [None if t is None else t / n * 1e6 for t, n in zip(times, per, strict=True)]
        ours = each[0]
        assert ours is not None
        cells = []
        for found, peer in zip(each[1:], self._ratios, strict=True):
            if found is None:
                cells.append("—")
                continue
            self._ratios[peer].append(found / ours)
            cells.append(ratio(found / ours))
        print(f"| {name} | {ours:.2f} | " + " | ".join(cells) + " |", flush=True)

    def end(self) -> None:
        means = [
            ratio(statistics.geometric_mean(found)) if found else "—"
            for found in self._ratios.values()
        ]
        print("| **geometric mean** | | " + " | ".join(means) + " |", flush=True)


def ratio(value: float) -> str:
    return f"{value:,.1f}×" if value < 100 else f"{value:,.0f}×"


def able(make: Callable[[], Ask]) -> Ask | None:
    try:
        return make()
    except Exception:
        return None


# The questions


def next_after(ours: Cronkit, peers: list, zone: ZoneInfo, rounds: int) -> None:
    """Parsed once, then asked about two hundred instants of four years."""
    chosen = random.Random(1)
    afters = [START + timedelta(seconds=chosen.randrange(4 * 365 * 86_400)) for _ in range(200)]
    table = Table(f"The next slot after an instant, parsed once ({zone.key})", names(peers), "µs")
    for name, cron in SHAPES.items():
        asks = [
            able(lambda one=one, cron=cron: one.nexts(cron, zone, afters)) for one in (ours, *peers)
        ]
        table.row(name, medians(asks, rounds), [len(afters)] * len(asks))
    table.end()


def parse_and_next(ours: Cronkit, peers: list, zone: ZoneInfo, rounds: int) -> None:
    table = Table(f"Parse, and the first slot ({zone.key})", names(peers), "µs")
    after = START + timedelta(days=100, seconds=12_345)
    for name, cron in SHAPES.items():
        asks = [
            able(lambda one=one, cron=cron: one.parse_and_next(cron, zone, after))
            for one in (ours, *peers)
        ]
        table.row(name, medians(asks, rounds))
    table.end()


def never(ours: Cronkit, peers: list, zone: ZoneInfo, rounds: int) -> None:
    table = Table(
        f"Parse, and find out that 30 February never comes ({zone.key})", names(peers), "µs"
    )
    asks = [
        able(lambda one=one: ending(one.parse_and_next(NEVER, zone, START)))
        for one in (ours, *peers)
    ]
    table.row("never", medians(asks, rounds))


def iterate(ours: Cronkit, peers: list, zone: ZoneInfo, rounds: int) -> None:
    """Up to 10,000 slots one after the other; fewer where a peer is slow or gives up."""
    table = Table(f"Each of 10,000 slots in a row ({zone.key})", names(peers), "µs")
    for name, cron in SHAPES.items():
        asks: list[Ask | None] = []
        counts: list[int] = []
        for one in (ours, *peers):
            count = reach(lambda one=one, cron=cron: one.steps(cron, zone, START))
            counts.append(max(count, 1))
            if not count:
                asks.append(None)
                continue
            asks.append(
                lambda one=one, cron=cron, n=count: deplete(one.steps(cron, zone, START), n)
            )
        table.row(name, medians(asks, rounds), counts)
    table.end()


def reach(steps: Callable[[], Iterator[object]]) -> int:
    """How many of 10,000 steps fit in 0.2 s without an error."""
    done, began = 0, time.perf_counter()
    try:
        for _ in islice(steps(), 10_000):
            done += 1
            if time.perf_counter() - began > 0.2:
                break
    except Exception:
        pass
    return done


def deplete(steps: Iterator[object], n: int) -> None:
    for _ in islice(steps, n):
        pass


def rules(zone: ZoneInfo, rounds: int) -> None:
    both = [CronkitRules(), Dateutil()]
    start = datetime(2020, 1, 1, tzinfo=UTC)
    table = Table(
        f"RRULE: the next slot, parsed once, a year after DTSTART ({zone.key})", ["dateutil"], "µs"
    )
    chosen = random.Random(2)
    afters = [start + timedelta(seconds=chosen.randrange(365 * 86_400)) for _ in range(20)]
    for name, rule in RULES.items():
        asks = [
            able(lambda one=one, rule=rule: one.nexts(rule, zone, start, afters)) for one in both
        ]
        table.row(name, medians(asks, rounds), [len(afters)] * 2)
    table.end()
    table = Table(f"RRULE: parse, and the first slot six years on ({zone.key})", ["dateutil"], "µs")
    for name, rule in RULES.items():
        asks = [
            able(lambda one=one, rule=rule: one.parse_and_next(rule, zone, start, START))
            for one in both
        ]
        table.row(name, medians(asks, rounds))
    table.end()


def names(peers: list) -> list[str]:
    return [peer.name for peer in peers]


# Where it runs


def in_throwaway_environment(arguments: list[str]) -> int:
    """Run this file again with the peers, in an environment that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "bin", "python")
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, folder], check=True)
        install = ["uv", "pip", "install", "--quiet", "--python", str(python)]
        subprocess.run([*install, str(PACKAGE), *PEERS], check=True)
        for peer in OPTIONAL_PEERS:
            subprocess.run([*install, peer], check=False)
        return subprocess.run([str(python), __file__, "--here", *arguments], check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--here", action="store_true", help="use the libraries installed here")
    parser.add_argument("--zone", default="Europe/Berlin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", choices=["next", "parse", "never", "iterate", "rrule"], help="one of the tables"
    )
    options = parser.parse_args()
    if not options.here:
        return in_throwaway_environment(sys.argv[1:])

    zone, rounds = ZoneInfo(options.zone), max(options.rounds, 5)
    peers = []
    for peer in (Croniter, CroniterRs, Cronsim, Apscheduler):
        try:
            peers.append(peer())
        except ImportError:
            print(f"({peer.name} is not installed)", file=sys.stderr)
    installed = []
    for package in ("cronkit-core", *PEERS, *OPTIONAL_PEERS):
        try:
            installed.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    print(f"Python {sys.version.split()[0]}, " + ", ".join(installed))

    tables = {"next": next_after, "parse": parse_and_next, "never": never, "iterate": iterate}
    for name, table in tables.items():
        if options.only in (None, name):
            table(Cronkit(), peers, zone, rounds)
    if options.only in (None, "rrule"):
        try:
            rules(zone, rounds)
        except ImportError as missing:
            print(f"(no RRULE tables: {missing})", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
