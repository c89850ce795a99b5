"""Cron by brute force: every second of the wall clock is held against every field."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from ._walk import DAY, HOUR, readings

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

DayTest = Callable[[date], bool]


@dataclass(frozen=True)
class Cron:
    """The fields of an expression, each as the plain set of what it allows."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    years: Container[int]
    days_of_month: tuple[DayTest, ...]
    days_of_week: tuple[DayTest, ...]
    both_days: bool
    """Both day fields have to match; else one of them is enough."""
    fixed: bool
    """Neither the minute nor the hour field starts with a star."""

    def day(self, day: date) -> bool:
        of_month = any(test(day) for test in self.days_of_month)
        of_week = any(test(day) for test in self.days_of_week)
        return (
            day.year in self.years
            and day.month in self.months
            and (of_month and of_week if self.both_days else of_month or of_week)
        )

    def minute(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and self.day(wall.date())

    def second(self, wall: datetime) -> bool:
        return wall.second in self.seconds and self.minute(wall)


def parse_cron(expression: str, days: str = "either") -> Cron:
    """The fields of `expression`. ValueError for what the oracle does not read (`H`)."""
    texts = MACROS.get(expression.strip().lower(), expression).lower().split()
    if not 5 <= len(texts) <= 7:
        raise ValueError(f"{expression!r} has {len(texts)} fields: 5, 6 or 7")
    second = "0" if len(texts) == 5 else texts.pop(0)
    year = texts.pop() if len(texts) == 6 else "*"
    minute, hour, of_month, month, of_week = texts
    return Cron(
        seconds=_numbers(second, 0, 59),
        minutes=_numbers(minute, 0, 59),
        hours=_numbers(hour, 0, 23),
        months=_numbers(month, 1, 12, MONTHS),
        # Steps count from 1970.
        years=range(1, 10_000) if year == "*" else _numbers(year, 1970 if "/" in year else 1, 9999),
        days_of_month=tuple(map(_day_of_month, of_month.split(","))),
        days_of_week=tuple(map(_day_of_week, of_week.split(","))),
        both_days=days == "both" or of_month[0] in "*?" or of_week[0] in "*?",
        fixed=not minute.startswith("*") and not hour.startswith("*"),
    )


def cron_slots(
    expression: str,
    zone: tzinfo,
    start: datetime,
    end: datetime,
    *,
    days: str = "either",
    gap: str | None = None,
    overlap: str | None = None,
) -> Iterator[datetime]:
    """The slots after `start` and up to `end`, by walking all of it."""
    cron = parse_cron(expression, days)
    once_after_gap = (gap or ("after" if cron.fixed else "skip")) == "after"
    first_pass_only = (overlap or ("first" if cron.fixed else "both")) == "first"
    walk = readings(zone, start, end, day=cron.day, minute=cron.minute, seconds=cron.seconds)
    for instant, wall, again, skipped in walk:
        hit = cron.second(wall) and not (again and first_pass_only)
        if not hit and once_after_gap and len(skipped) < 3 * HOUR / timedelta(seconds=1):
            hit = any(cron.second(missed) for missed in skipped)
        if hit:
            yield instant


def _numbers(field: str, low: int, high: int, names: list[str] | None = None) -> frozenset[int]:
    return frozenset(n for term in field.split(",") for n in _term(term, low, high, names or []))


def _term(term: str, low: int, high: int, names: list[str]) -> list[int]:
    """The values of `a`, `a-b`, `a/n`, `a-b/n`, `*`, `*/n`, in order; ranges may wrap."""

    def number(text: str) -> int:
        value = names.index(text) + low if text in names else int(text)
        if not low <= value <= high:
            raise ValueError(f"{text!r} is not in {low} to {high}")
        return value

    body, slash, step = term.partition("/")
    if body == "*":
        first, last = low, high
    elif "-" in body:
        first, last = map(number, body.split("-"))
    else:
        first = number(body)
        last = high if slash else first
    values = [first]
    while values[-1] != last:
        values.append(values[-1] + 1 if values[-1] < high else low)
    return values[:: int(step) if slash else 1]


def _day_of_month(term: str) -> DayTest:
    if term == "?":
        return lambda day: True
    if term == "l":
        return lambda day: day == _last_of_month(day)
    if term == "lw":
        return lambda day: day == max(d for d in _month(day) if d.weekday() < 5)
    if found := re.fullmatch(r"l-(\d+)", term):
        back = int(found[1]) * DAY
        return lambda day: day == _last_of_month(day) - back
    if found := re.fullmatch(r"(\d+)w", term):
        target = int(found[1])
        return lambda day: day == _nearest_weekday(day, target)
    allowed = _numbers(term, 1, 31)
    return lambda day: day.day in allowed


def _day_of_week(term: str) -> DayTest:
    if term == "?":
        return lambda day: True
    if found := re.fullmatch(r"(\w+)#(\d)", term):
        [weekday] = _weekdays(found[1])
        nth = int(found[2])
        return lambda day: _weekday(day) == weekday and (day.day - 1) // 7 + 1 == nth
    if found := re.fullmatch(r"l(\w+)|(\w+)l", term):
        [weekday] = _weekdays(found[1] or found[2])
        return lambda day: _weekday(day) == weekday and (day + 7 * DAY).month != day.month
    allowed = _weekdays(term)
    return lambda day: _weekday(day) in allowed


def _weekdays(term: str) -> frozenset[int]:
    """Sunday is 0, and 7 where it is written so."""
    body, slash, step = term.partition("/")
    first, dash, last = body.partition("-")
    if first != last and last == "7":
        low = "0" if first in ("sun", "7") else first
        return frozenset(n % 7 for n in _term(f"{low}-7{slash}{step}", 0, 7, WEEKDAYS))
    first = "0" if first == "7" else first
    last = "0" if last == "7" else last
    return frozenset(_term(f"{first}{dash}{last}{slash}{step}", 0, 6, WEEKDAYS))


def _weekday(day: date) -> int:
    return day.isoweekday() % 7


def _month(day: date) -> list[date]:
    first = day.replace(day=1)
    return [d for n in range(31) if (d := first + n * DAY).month == day.month]


def _last_of_month(day: date) -> date:
    return _month(day)[-1]


def _nearest_weekday(day: date, target: int) -> date | None:
    """The Monday to Friday of the month of `day` that is nearest to its day `target`; a month that
    has no such day has none."""
    month = _month(day)
    if target > len(month):
        return None
    wanted = month[target - 1]
    return min((d for d in month if d.weekday() < 5), key=lambda d: abs(d - wanted))
