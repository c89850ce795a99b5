"""RRULE by brute force: all days of a period, or every second of the wall clock, held against
every part of the rule (RFC 5545, section 3.3.10)."""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from heapq import heappop, heappush, merge
from itertools import count, product
from zoneinfo import ZoneInfo

from ._walk import DAY, HOUR, MINUTE, SECOND, first_instant, readings, show

WEEKDAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
UNITS = {"HOURLY": HOUR, "MINUTELY": MINUTE, "SECONDLY": SECOND}
LISTS = (
    "BYMONTH",
    "BYWEEKNO",
    "BYYEARDAY",
    "BYMONTHDAY",
    "BYHOUR",
    "BYMINUTE",
    "BYSECOND",
    "BYSETPOS",
)


@dataclass(frozen=True)
class Rule:
    """One RRULE, its lists as written; `byday` holds (n or 0, weekday)."""

    freq: str
    interval: int = 1
    count: int | None = None
    until: str | None = None
    wkst: int = 0
    lists: dict[str, tuple[int, ...]] = field(default_factory=dict)
    byday: tuple[tuple[int, int], ...] = ()

    def get(self, name: str) -> tuple[int, ...]:
        return self.lists.get(name, ())


@dataclass(frozen=True)
class RuleSet:
    """Lines of DTSTART, RRULE, EXRULE, RDATE and EXDATE."""

    dtstart: datetime
    """Naive, on the wall clock of `zone`."""
    zone: tzinfo
    rules: tuple[Rule, ...]
    exclusions: tuple[Rule, ...]
    dates: frozenset[datetime]
    exdates: frozenset[datetime]


def parse_rrule(text: str, zone: tzinfo, dtstart: datetime | None = None) -> RuleSet:
    """The rules of `text`; `dtstart` is what stands in for an absent DTSTART line, and the rule
    starts at 1970-01-01 00:00 where there is neither."""
    start = dtstart or datetime.fromisoformat("1970-01-01")
    lines = [line.strip() for line in text.strip().splitlines()]
    dates: dict[str, set[datetime]] = {"RDATE": set(), "EXDATE": set()}
    rules: dict[str, list[Rule]] = {"RRULE": [], "EXRULE": []}
    for line in sorted(lines, key=lambda line: not line.upper().startswith("DTSTART")):
        head, colon, value = line.upper().rpartition(":")
        name = head.split(";")[0] if colon else "RRULE"
        tzid = re.search(r";TZID=([^;:]+)", line, re.IGNORECASE)
        own = ZoneInfo(tzid[1]) if tzid else UTC if value.endswith("Z") else zone
        if name == "DTSTART":
            start, zone = _stamp(value), own
        elif name in dates:
            dates[name].update(first_instant(_stamp(v), own) for v in value.split(","))
        else:
            rules[name].append(_rule(value))
    return RuleSet(
        start,
        zone,
        tuple(rules["RRULE"]),
        tuple(rules["EXRULE"]),
        frozenset(dates["RDATE"]),
        frozenset(dates["EXDATE"]),
    )


def rrule_slots(rules: RuleSet, start: datetime, end: datetime) -> Iterator[datetime]:
    """The slots after `start` and up to `end`."""

    def of(several: tuple[Rule, ...], dates: frozenset[datetime]) -> Iterator[datetime]:
        return merge(sorted(dates), *(_in_order(rule, rules, start, end) for rule in several))

    excluded = of(rules.exclusions, rules.exdates)
    taken = next(excluded, None)
    last = None
    for slot in of(rules.rules, rules.dates):
        while taken is not None and taken < slot:
            taken = next(excluded, None)
        if slot not in (last, taken) and start < slot <= end:
            yield slot
        last = slot


def _in_order(rule: Rule, rules: RuleSet, start: datetime, end: datetime) -> Iterator[datetime]:
    """The instants of one rule in order. Where a gap makes two wall times change places, these lie
    within two days of each other."""
    waiting: list[datetime] = []
    for instant in _instants(rule, rules, start, end):
        if rule.freq in UNITS:
            yield instant
            continue
        heappush(waiting, instant)
        while waiting[0] < instant - 2 * DAY:
            yield heappop(waiting)
    yield from sorted(waiting)


def _stamp(value: str) -> datetime:
    """`YYYYMMDD` or `YYYYMMDDTHHMMSS` as a wall time; of a period, its start."""
    return datetime.fromisoformat(value.split("/")[0].rstrip("Z"))


def _rule(value: str) -> Rule:
    parts = dict(part.split("=") for part in value.rstrip(";").split(";"))
    if parts.pop("SKIP", "OMIT") != "OMIT" or parts.pop("RSCALE", "GREGORIAN") != "GREGORIAN":
        raise ValueError(f"the oracle does not read RSCALE with SKIP: {value!r}")
    by_day = [re.fullmatch(r"([+-]?\d+)?(\w\w)", d) for d in parts.pop("BYDAY", "").split(",") if d]
    return Rule(
        freq=parts["FREQ"],
        interval=int(parts.get("INTERVAL", 1)),
        count=int(parts["COUNT"]) if "COUNT" in parts else None,
        until=parts.get("UNTIL"),
        wkst=WEEKDAYS.index(parts.get("WKST", "MO")),
        lists={name: tuple(map(int, parts[name].split(","))) for name in LISTS if name in parts},
        byday=tuple((int(d[1] or 0), WEEKDAYS.index(d[2])) for d in by_day if d),
    )


def _instants(rule: Rule, rules: RuleSet, start: datetime, end: datetime) -> Iterator[datetime]:
    """The instants of one rule from `start` on (what a later `COUNT` needs from before as well),
    up to `end`, not all in order: two wall times around a gap may change places."""
    begin = first_instant(rules.dtstart, rules.zone)
    left = rule.count
    since = begin if rule.count is not None else max(begin, start)
    walk = _clock_walk if rule.freq in UNITS else _calendar_walk
    for instant in walk(rule, rules, since, end):
        if instant < begin or not _in_time(rule, rules, instant):
            continue
        yield instant
        if left is not None:
            left -= 1
            if not left:
                return


def _in_time(rule: Rule, rules: RuleSet, instant: datetime) -> bool:
    if rule.until is None:
        return True
    until = _stamp(rule.until)
    if "T" not in rule.until:
        return show(instant, rules.zone).date() <= until.date()
    return instant <= first_instant(until, UTC if rule.until.endswith("Z") else rules.zone)


def _calendar_walk(
    rule: Rule, rules: RuleSet, since: datetime, end: datetime
) -> Iterator[datetime]:
    """FREQ=DAILY and coarser: the wall times of a period, period by period."""
    anchor = rules.dtstart
    hours = rule.get("BYHOUR") or (anchor.hour,)
    minutes = rule.get("BYMINUTE") or (anchor.minute,)
    seconds = rule.get("BYSECOND") or (anchor.second,)
    # The weeks of a year reach into the next one, and DTSTART may lie there.
    for n in count(-rule.interval, rule.interval):
        days = _period(rule, anchor.date(), n)
        if days[0] > end.date() + 2 * DAY:
            return
        if days[-1] < since.date() - 2 * DAY:
            continue
        fitting = [d for d in days if _fits(rule, d, anchor.date())]
        clock = [time(*hms) for hms in sorted(set(product(hours, minutes, seconds)))]
        walls = [datetime.combine(d, t) for d in fitting for t in clock]
        for wall in _positions(rule, walls):
            if wall >= anchor:
                yield first_instant(wall, rules.zone)


def _period(rule: Rule, first: date, n: int) -> list[date]:
    """The days of the n-th year, month, week or day, counted from the one that holds `first`.

    The year of a rule with BYWEEKNO is that of its weeks: week 1 may begin in December.
    """
    if rule.freq == "YEARLY":
        day = date(first.year + n, 1, 1)
        if rule.get("BYWEEKNO"):
            near = [day + i * DAY for i in range(-7, 373)]
            return [d for d in near if _middle(d, rule.wkst).year == day.year]
        return [d for i in range(366) if (d := day + i * DAY).year == day.year]
    if rule.freq == "MONTHLY":
        months = first.year * 12 + first.month - 1 + n
        day = date(months // 12, months % 12 + 1, 1)
        return [d for i in range(31) if (d := day + i * DAY).month == day.month]
    if rule.freq == "WEEKLY":
        day = first - (first.weekday() - rule.wkst) % 7 * DAY + n * 7 * DAY
        return [day + i * DAY for i in range(7)]
    return [first + n * DAY]


def _fits(rule: Rule, day: date, anchor: date) -> bool:
    """`day` agrees with every part of the rule about days, and with the day of DTSTART for what
    the rule leaves open."""
    open_day = not (
        rule.get("BYYEARDAY") or rule.get("BYMONTHDAY") or rule.byday or rule.freq in UNITS
    )
    months = rule.get("BYMONTH")
    month_days = rule.get("BYMONTHDAY")
    by_day = rule.byday
    if open_day and (rule.freq == "WEEKLY" or rule.get("BYWEEKNO")):
        by_day = ((0, anchor.weekday()),)
    elif open_day and rule.freq in ("YEARLY", "MONTHLY"):
        month_days = (anchor.day,)
        if rule.freq == "YEARLY":
            months = months or (anchor.month,)
    month_length = monthrange(day.year, day.month)[1]
    year_length = 366 if isleap(day.year) else 365
    year_day = day.timetuple().tm_yday
    return (
        (not months or day.month in months)
        and (not month_days or _nth_fits(day.day, month_length, month_days))
        and (not rule.get("BYYEARDAY") or _nth_fits(year_day, year_length, rule.get("BYYEARDAY")))
        and (not rule.get("BYWEEKNO") or _week_fits(rule, day))
        and (not by_day or any(_weekday_fits(rule, day, n, wd) for n, wd in by_day))
    )


def _weekday_fits(rule: Rule, day: date, n: int, weekday: int) -> bool:
    if day.weekday() != weekday:
        return False
    if not n:
        return True
    if rule.freq == "MONTHLY" or rule.get("BYMONTH"):
        nth, length = day.day, monthrange(day.year, day.month)[1]
    else:
        nth, length = day.timetuple().tm_yday, 366 if isleap(day.year) else 365
    return n == ((nth - 1) // 7 + 1 if n > 0 else -((length - nth) // 7 + 1))


def _week_fits(rule: Rule, day: date) -> bool:
    middle = _middle(day, rule.wkst)
    # A week that holds 28 December is the last of its year, whatever day it begins on.
    last_middle = _middle(date(middle.year, 12, 28), rule.wkst)
    number = (middle.timetuple().tm_yday - 1) // 7 + 1
    weeks = (last_middle.timetuple().tm_yday - 1) // 7 + 1
    return _nth_fits(number, weeks, rule.get("BYWEEKNO"))


def _middle(day: date, wkst: int) -> date:
    """The fourth day of the week of `day`, which lies in the year that the week belongs to."""
    return day - (day.weekday() - wkst) % 7 * DAY + 3 * DAY


def _nth_fits(nth: int, length: int, allowed: tuple[int, ...]) -> bool:
    return nth in allowed or nth - length - 1 in allowed


def _positions(rule: Rule, walls: list[datetime]) -> list[datetime]:
    places = rule.get("BYSETPOS")
    if not places:
        return walls
    return [wall for i, wall in enumerate(walls) if _nth_fits(i + 1, len(walls), places)]


def _clock_walk(rule: Rule, rules: RuleSet, since: datetime, end: datetime) -> Iterator[datetime]:
    """FREQ=HOURLY and finer are about what the clock shows: an instant is a slot when the wall
    time fits, in both passes of an overlap, and nothing stands in for a gap."""
    anchor = rules.dtstart
    unit = UNITS[rule.freq]
    minutes = rule.get("BYMINUTE") or ((anchor.minute,) if rule.freq == "HOURLY" else range(60))
    seconds = rule.get("BYSECOND") or ((anchor.second,) if unit > SECOND else range(60))

    def on_day(day: date) -> bool:
        return _fits(rule, day, anchor.date())

    def in_minute(wall: datetime) -> bool:
        in_hour = not rule.get("BYHOUR") or wall.hour in rule.get("BYHOUR")
        return in_hour and wall.minute in minutes and on_day(wall.date())

    first = _floor(anchor, unit)
    walk = readings(
        rules.zone, since - SECOND, end, day=on_day, minute=in_minute, seconds=list(seconds)
    )
    for instant, wall, _, _ in walk:
        if wall.second not in seconds or not in_minute(wall):
            continue
        period = _floor(wall, unit)
        if (period - first) // unit % rule.interval:
            continue
        walls = [period + n * SECOND for n in range(unit // SECOND)]
        fitting = [w for w in walls if w.second in seconds and in_minute(w)]
        if wall in _positions(rule, fitting):
            yield instant


def _floor(wall: datetime, unit: timedelta) -> datetime:
    """The start of the hour, minute or second of `wall`."""
    return wall - (wall - datetime.combine(wall, time())) % unit
