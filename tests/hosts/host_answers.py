"""Prints what schedules and a scheduler answer, a line each, to be compared between hosts; and to
the standard error what the host itself says of time.

All instants are long past, so that zone data of another year says the same of them.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import tempfile
import time
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cronkit_core import InvalidSchedule, Scheduler, SQLiteStorage, lint, parse_schedule
from cronkit_core.preview import preview
from cronkit_core.testing.virtual import VirtualClock, run_until, settle
from cronkit_core.testing.zones import interesting_zones, transitions

FIRST, LAST = datetime(2014, 6, 1, tzinfo=UTC), datetime(2016, 6, 1, tzinfo=UTC)
PLAIN = datetime(2012, 2, 28, 13, 14, 15, 161_718, tzinfo=UTC)
DAY = timedelta(days=1)
SPECS: tuple[Any, ...] = (
    *("*/20 * * * *", "30 1,2 * * *", "0 0 * * sun#2", "15 0 0 L * ?", "H H(0-3) * * *", "@hourly"),
    {"cron": "30 2 * * *", "gap": "skip", "overlap": "both"},
    *("FREQ=DAILY;BYHOUR=0,2;BYMINUTE=30", "FREQ=HOURLY;INTERVAL=5", "FREQ=MONTHLY;BYDAY=-1SU"),
    "DTSTART:20070311T023000\nRRULE:FREQ=WEEKLY;COUNT=400\nEXDATE:20120304T023000",
    {"rrule": "FREQ=DAILY", "dtstart": "2007-03-11T02:30", "nonexistent": "skip"},
    *({"calendar": "Sun 0/2:30"}, {"calendar": "*-*~01 02:30"}),
    *({"interval": 5400, "anchor": "2007-01-01T00:00"}, {"at": "2016-03-27T02:30"}),
    {"any": ["0 3 * * *", {"at": "2016-10-30T02:30"}], "start_at": "2007-03-25T02:30"},
    {"schedule": "0 * * * *", "except": ["2012-03-01", "0 2 * * *"], "end_at": "2016-10-30T02:30"},
)
NIGHTS = (  # a zone, and midnight UTC before a night in which its clock changes
    ("Europe/Berlin", datetime(2015, 3, 28, tzinfo=UTC)),
    ("America/New_York", datetime(2015, 10, 31, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2015, 4, 3, tzinfo=UTC)),
    ("Asia/Beirut", datetime(2015, 3, 27, tzinfo=UTC)),
)
COLUMNS = {
    "cronkit_tasks": "name, timezone, schedule_config, policies, next_slot, next_run_at, created_at"
    ", updated_at, schedule_since",
    "cronkit_runs": "task_name, slot, attempt, status, scheduled_for, due_at, started_at,"
    " finished_at",
}


def of_schedules() -> Iterator[object]:
    for zone in interesting_zones()[::2]:
        changes = [change.instant for change in transitions(zone, FIRST, LAST)]
        for spec in SPECS:
            schedule = parse_schedule(spec, zone, seed="a task")
            yield [zone, schedule.to_dict(), schedule.describe()]
            for at in (PLAIN, *changes[:1], *(at - DAY / 12 for at in changes[1:3])):
                yield [
                    [at, zone, spec],
                    schedule.next_after(at),
                    schedule.previous_before(at),
                    schedule.upcoming(at, 3),
                    schedule.count_between(at - DAY, at + DAY),
                    [[slot.local, slot.note] for slot in preview(schedule, at - DAY / 24, 3)],
                ]
        yield [
            zone,
            [str(warning) for warning in lint(parse_schedule(SPECS[1], zone), after=PLAIN)],
        ]


def of_refusals() -> Iterator[object]:
    for spec, zone in (("61 * * * *", "UTC"), ("@daily", "Europe/Berln"), ("@daily", "localtime")):
        try:
            parse_schedule(spec, zone)
        except InvalidSchedule as error:
            yield str(error)


async def of_a_scheduler(zone: str, start: datetime, folder: Path) -> list[object]:
    """A night of it, on a virtual clock; and what its storage holds then."""
    clock = VirtualClock(start)
    file = folder / f"{start:%Y%m%d}.db"
    scheduler = Scheduler(SQLiteStorage(file), clock=clock, poll=1e7, prune_every=1e7)
    said: list[object] = []

    async def handler(run: Any) -> None:
        said.append([run.task.name, run.slot, run.scheduled_for])

    for number, spec in enumerate(("40 * * * *", *SPECS[1:5])):
        name = f"task {number}"
        bounds = {"start_at": start + DAY / 8, "jitter": 5 * number, "catch_up": "all"}
        await scheduler.add_task(name, handler, spec, timezone=zone, **bounds)
    scheduler.start()
    await settle(scheduler)
    await run_until(scheduler, start + 1.25 * DAY)
    for task in await scheduler.tasks():
        said.append([task.name, task.next_slot, task.next_run_at, task.record.created_at])
        coming = await scheduler.preview(task.name, 3)
        said += [[slot.slot, slot.run_at, slot.local, slot.note] for slot in coming]
        for hours in (20, 25.5, 26, 49):
            found = await scheduler.explain(task.name, start + timedelta(hours=hours))
            said.append([task.name, hours, found.fate, found.text])
    await scheduler.stop()
    with sqlite3.connect(file) as reader:
        for table, columns in COLUMNS.items():
            said += reader.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3").fetchall()
    reader.close()
    return sorted(map(_line, said))


def _line(answer: object) -> str:
    return json.dumps(answer, default=str)


def main() -> None:
    own = datetime.fromtimestamp(1_200_000_000).isoformat()
    print(json.dumps({"path": zoneinfo.TZPATH, "clock": own, "name": time.tzname}), file=sys.stderr)
    for answer in (*of_schedules(), *of_refusals()):
        print(_line(answer))
    with tempfile.TemporaryDirectory() as folder:
        for zone, start in NIGHTS:
            print(*asyncio.run(of_a_scheduler(zone, start, Path(folder))), sep="\n")


if __name__ == "__main__":
    main()
