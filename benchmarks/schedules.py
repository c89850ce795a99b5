"""How fast the schedules are, beside the other libraries of Python: a Markdown table of ratios.

    uv run python benchmarks/schedules.py            # makes a throwaway environment with the peers
    uv run python benchmarks/schedules.py --here     # uses what is installed here
    uv run python benchmarks/schedules.py --zone UTC --only next
    uv run python benchmarks/schedules.py --json figures.json

Every figure is the median of `--rounds` rounds. In each round all libraries take their turn with
the same questions, so that a busy machine slows all of them alike. The first column is the time of
cronkit, the others say how many times that each peer takes: above 1, cronkit is faster. At the end
stands what the project asks of itself, and whether this run has it.
"""

from __future__ import annotations

import argparse
import json
import operator
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
from typing import Any
from zoneinfo import ZoneInfo

PACKAGE = Path(__file__).resolve().parent.parent / "packages" / "cronkit-core"
PEERS = ["croniter", "cronsim", "apscheduler", "python-dateutil"]
OPTIONAL_PEERS = ["croniter-rs"]

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)
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
RARE = {
    "31 February": "0 0 31 2 *",
    "29 February or a Monday of February": "0 0 29 2 1",
}
RULES = {
    "daily": "FREQ=DAILY;BYHOUR=8",
    "weekdays": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=9",
    "every 5 minutes": "FREQ=MINUTELY;INTERVAL=5",
    "second Friday": "FREQ=MONTHLY;BYDAY=2FR",
    "last workday": "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
    "29 February": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
}
DISTANT = {
    # and over how many days dateutil, which walks from DTSTART, is asked to: at fifteen years it
    # would take hours
    "FREQ=YEARLY": 5479,
    "FREQ=MONTHLY": 5479,
    "FREQ=WEEKLY": 5479,
    "FREQ=DAILY": 5479,
    "FREQ=HOURLY": 365,
    "FREQ=MINUTELY": 60,
    "FREQ=SECONDLY": 1,
}
FIFTEEN_YEARS = 5479
IMPORTS = 15

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

    def parsed(self, cron: str, zone: ZoneInfo, **options: str) -> Any:
        return self._parse(cron, zone.key, **options)

    def parse_and_next(self, cron: str, zone: ZoneInfo, after: datetime) -> Ask:
        return lambda: self._parse(cron, zone.key).next_after(after)

    def steps(self, cron: str, zone: ZoneInfo, after: datetime) -> Iterator[object]:
        schedule = self._parse(cron, zone.key)
        return schedule.between(after, END)


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

    def steps(self, rule: str, zone: ZoneInfo, start: datetime) -> Iterator[object]:
        return self._parse(rule, zone, start).between(start, END)


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

    def steps(self, rule: str, zone: ZoneInfo, start: datetime) -> Iterator[object]:
        return iter(self._parse(rule, zone, start))


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


class Report:
    """The tables and the bars of a run, printed as they come, and kept as data."""

    def __init__(self) -> None:
        self.tables: list[dict[str, Any]] = []
        self.bars: list[dict[str, Any]] = []

    def table(self, key: str, title: str, peers: list[str]) -> Table:
        table = Table(title, peers)
        self.tables.append({"key": key, "title": title, "unit": "µs", **table.data})
        return table

    def bar(self, what: str, found: float, sign: str, bar: float, unit: str = "×") -> None:
        """That `found` is to be `sign` (">=", ">", "<") than `bar`."""
        met = {">=": operator.ge, ">": operator.gt, "<": operator.lt}[sign](found, bar)
        self.bars.append(
            {"what": what, "found": found, "sign": sign, "bar": bar, "unit": unit, "met": met}
        )

    def ahead(self, table: Table, what: str, each: list[str], means: dict[str, float]) -> None:
        """That cronkit is ahead of the peers `each` in every row of `table`, and how far in the
        geometric mean."""
        for peer in each:
            if ratios := table.ratios(peer):
                self.bar(f"{what}: ahead of {peer} in each row", min(ratios), ">", 1)
        for peer, bar in means.items():
            if ratios := table.ratios(peer):
                mean = statistics.geometric_mean(ratios)
                self.bar(f"{what}: {peer}, geometric mean", mean, ">=", bar)

    def print_bars(self) -> None:
        if not self.bars:
            return
        print("\n### What is asked\n\n| | found | asked | |\n| --- | ---: | ---: | --- |")
        for bar in self.bars:
            number = f"{bar['found']:,.{1 if bar['found'] >= 10 else 2}f}{bar['unit']}"
            met = "met" if bar["met"] else "**missed**"
            print(
                f"| {bar['what']} | {number} | {bar['sign']} {bar['bar']:g}{bar['unit']} | {met} |"
            )


class Table:
    """Rows of cronkit's time and of the peers' ratios, and their geometric means."""

    def __init__(self, title: str, peers: list[str]) -> None:
        self._peers = peers
        self.data: dict[str, Any] = {"peers": peers, "rows": [], "means": {}}
        print(f"\n### {title}\n")
        print("| | cronkit, µs | " + " | ".join(peers) + (" |" if peers else ""))
        print("| --- |" + " ---: |" * (len(peers) + 1))

    def row(self, name: str, times: list[float | None], per: list[int] | None = None) -> float:
        """Print a row: the seconds that cronkit and the peers took, `per` so many answers. Returns
        cronkit's microseconds for one."""
        per = per or [1] * len(times)
        each = [None if t is None else t / n * 1e6 for t, n in zip(times, per, strict=True)]
        ours = each[0]
        assert ours is not None
        found = [None if peer is None else peer / ours for peer in each[1:]]
        ratios = dict(zip(self._peers, found, strict=True))
        self.data["rows"].append({"name": name, "cronkit": ours, "ratios": ratios})
        cells = ["—" if r is None else ratio(r) for r in ratios.values()]
        print(f"| {name} | " + " | ".join([f"{ours:.2f}", *cells]) + " |", flush=True)
        return ours

    def ratios(self, peer: str) -> list[float]:
        """How many times cronkit's time `peer` took, in the rows that it has an answer for."""
        rows = (row["ratios"].get(peer) for row in self.data["rows"])
        return [found for found in rows if found is not None]

    def end(self) -> None:
        for peer in self._peers:
            if found := self.ratios(peer):
                self.data["means"][peer] = statistics.geometric_mean(found)
        means = self.data["means"]
        cells = [ratio(means[peer]) if peer in means else "—" for peer in self._peers]
        print("| **geometric mean** | | " + " | ".join(cells) + " |", flush=True)


def ratio(value: float) -> str:
    return f"{value:,.1f}×" if value < 100 else f"{value:,.0f}×"


def able(make: Callable[[], Ask]) -> Ask | None:
    try:
        return make()
    except Exception:
        return None


# The questions


def next_after(report: Report, ours: Cronkit, peers: list, zone: ZoneInfo, rounds: int) -> None:
    """Parsed once, then asked about two hundred instants of four years."""
    chosen = random.Random(1)
    afters = [START + timedelta(seconds=chosen.randrange(4 * 365 * 86_400)) for _ in range(200)]
    title = f"The next slot after an instant, parsed once ({zone.key})"
    table = report.table("next", title, names(peers))
    for name, cron in SHAPES.items():
        asks = [
            able(lambda one=one, cron=cron: one.nexts(cron, zone, afters)) for one in (ours, *peers)
        ]
        table.row(name, medians(asks, rounds), [len(afters)] * len(asks))
    table.end()
    report.ahead(table, "next", ["croniter", "cronsim"], {"croniter": 15, "cronsim": 5})
    report.ahead(table, "next", [], {"croniter-rs": 1 / 3})


def parse_and_next(report: Report, ours: Cronkit, peers: list, zone: ZoneInfo, rounds: int) -> None:
    table = report.table("parse", f"Parse, and the first slot ({zone.key})", names(peers))
    after = START + timedelta(days=100, seconds=12_345)
    for name, cron in SHAPES.items():
        asks = [
            able(lambda one=one, cron=cron: one.parse_and_next(cron, zone, after))
            for one in (ours, *peers)
        ]
        table.row(name, medians(asks, rounds))
    table.end()
    report.ahead(table, "parse", ["croniter", "cronsim"], {"croniter": 4})


def never(report: Report, ours: Cronkit, peers: list, zone: ZoneInfo, rounds: int) -> None:
    title = f"Never, or hardly ever: parse, and the first slot if there is one ({zone.key})"
    table = report.table("never", title, names(peers))
    took = {}
    for name, cron in {"daily": SHAPES["daily"], **RARE}.items():
        asks = [
            able(lambda one=one, cron=cron: ending(one.parse_and_next(cron, zone, START)))
            for one in (ours, *peers)
        ]
        took[name] = table.row(name, medians(asks, rounds))
    both = "29 February that is a Monday"
    schedule = ours.parsed(RARE["29 February or a Monday of February"], zone, days="both")
    asks = [
        *(ours.nexts(cron, zone, [START]) for cron in (SHAPES["daily"], RARE["31 February"])),
        lambda: schedule.next_after(START),
    ]
    title = f"Never, or hardly ever: parsed once ({zone.key})"
    table = report.table("never-parsed", title, [])
    for name, time_of in zip(("daily", "31 February", both), medians(asks, rounds), strict=True):
        took[f"{name}, parsed once"] = table.row(name, [time_of])
    for name in RARE:
        report.bar(f"{name}: times a daily one", took[name] / took["daily"], "<", 10)
    for name in ("31 February, parsed once", f"{both}, parsed once"):
        daily = took["daily, parsed once"]
        report.bar(f"{name}: times a daily one", took[name] / daily, "<", 10)


def iterate(report: Report, ours: Cronkit, peers: list, zone: ZoneInfo, rounds: int) -> None:
    """Up to 10,000 slots one after the other; fewer where a peer is slow or gives up."""
    table = report.table("iterate", f"Each of 10,000 slots in a row ({zone.key})", names(peers))
    for name, cron in SHAPES.items():
        in_a_row(
            table,
            name,
            [lambda one=one, cron=cron: one.steps(cron, zone, START) for one in (ours, *peers)],
            rounds,
        )
    table.end()
    report.ahead(table, "iterate", [], {"croniter": 5, "cronsim": 5})


def in_a_row(
    table: Table, name: str, starts: list[Callable[[], Iterator[object]]], rounds: int
) -> None:
    counts = [reach(start) for start in starts]
    asks: list[Ask | None] = [
        (lambda start=start, n=count: deplete(start(), n)) if count else None
        for start, count in zip(starts, counts, strict=True)
    ]
    table.row(name, medians(asks, rounds), [max(count, 1) for count in counts])


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


def rules(report: Report, zone: ZoneInfo, rounds: int) -> None:
    ours, dateutil = both = [CronkitRules(), Dateutil()]
    start = datetime(2020, 1, 1, tzinfo=UTC)
    title = f"RRULE: the next slot, parsed once, a year after DTSTART ({zone.key})"
    table = report.table("rrule-next", title, ["dateutil"])
    chosen = random.Random(2)
    afters = [start + timedelta(seconds=chosen.randrange(365 * 86_400)) for _ in range(20)]
    for name, rule in RULES.items():
        asks = [
            able(lambda one=one, rule=rule: one.nexts(rule, zone, start, afters)) for one in both
        ]
        table.row(name, medians(asks, rounds), [len(afters)] * 2)
    table.end()

    title = f"RRULE: parse, and the first slot six years on ({zone.key})"
    table = report.table("rrule-parse", title, ["dateutil"])
    for name, rule in RULES.items():
        asks = [
            able(lambda one=one, rule=rule: one.parse_and_next(rule, zone, start, START))
            for one in both
        ]
        table.row(name, medians(asks, rounds))
    table.end()

    distant_rules(report, ours, dateutil, zone, rounds)

    title = f"RRULE: each of 10,000 slots in a row ({zone.key})"
    table = report.table("rrule-iterate", title, ["dateutil"])
    for name, rule in RULES.items():
        in_a_row(
            table,
            name,
            [lambda one=one, rule=rule: one.steps(rule, zone, start) for one in both],
            rounds,
        )
    table.end()
    report.ahead(table, "RRULE, iterate", [], {"dateutil": 5})


def distant_rules(
    report: Report, ours: CronkitRules, dateutil: Dateutil, zone: ZoneInfo, rounds: int
) -> None:
    """DTSTART fifteen years before the instant, and one day: the same cost. dateutil is asked over
    fewer days where it would not end, so its ratio is the least that it can be."""
    title = f"RRULE: the next slot, DTSTART fifteen years before ({zone.key})"
    table = report.table("rrule-distance", title, ["cronkit, one day", "dateutil"])
    # at noon, and not at midnight, so that each rule has the same way to go to its next slot
    afters = [START + timedelta(days=n, hours=12) for n in range(20)]
    for rule, days in DISTANT.items():
        far, near = (START - timedelta(days=n) for n in (FIFTEEN_YEARS, 1))
        walk = START - timedelta(days=days)
        asks = [
            ours.nexts(rule, zone, far, afters),
            ours.nexts(rule, zone, near, afters),
            able(lambda rule=rule, walk=walk: dateutil.nexts(rule, zone, walk, afters[:1])),
        ]
        times = medians(asks, rounds)
        name = rule if days == FIFTEEN_YEARS else f"{rule} (dateutil: {days} days)"
        table.row(name, times, [len(afters), len(afters), 1])
        one_day = table.data["rows"][-1]["ratios"]["cronkit, one day"]
        report.bar(f"{rule}: fifteen years, times one day", 1 / one_day, "<", 2)
        if rule == "FREQ=MINUTELY":
            walked = table.data["rows"][-1]["ratios"]["dateutil"]
            report.bar(f"{rule}: dateutil over {days} days", walked, ">=", 1000)


def import_time(report: Report) -> None:
    """`import cronkit_core` beyond a bare interpreter, in processes that take turns."""
    commands = ("pass", "import cronkit_core")
    times: dict[str, list[float]] = {command: [] for command in commands}
    for _ in range(IMPORTS):
        for command in commands:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", command], check=True)
            times[command].append(time.perf_counter() - began)
    bare, imported = (statistics.median(times[command]) * 1e3 for command in commands)
    print(f"\n`import cronkit_core` takes {imported - bare:.0f} ms ({bare:.0f} ms without it).")
    report.bar("import cronkit_core", imported - bare, "<", 60, " ms")


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
        "--only",
        choices=["next", "parse", "never", "iterate", "rrule", "import"],
        help="one of the tables",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
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
    versions = [f"Python {sys.version.split()[0]}", *installed]
    print(", ".join(versions))

    report = Report()
    tables = {"next": next_after, "parse": parse_and_next, "never": never, "iterate": iterate}
    for name, table in tables.items():
        if options.only in (None, name):
            table(report, Cronkit(), peers, zone, rounds)
    if options.only in (None, "rrule"):
        try:
            rules(report, zone, rounds)
        except ImportError as missing:
            print(f"(no RRULE tables: {missing})", file=sys.stderr)
    if options.only in (None, "import"):
        import_time(report)
    report.print_bars()
    if options.json is not None:
        figures = {
            "versions": versions,
            "zone": zone.key,
            "tables": report.tables,
            "bars": report.bars,
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
