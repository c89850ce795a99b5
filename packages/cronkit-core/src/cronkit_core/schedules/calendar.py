"""systemd's calendar events (`OnCalendar=`), as systemd.time(7) describes them: "Mon..Fri 09:00",
"*-*~01 18:00", "quarterly".

An expression is translated to the parts of a cron expression whose days must match all of its
fields, and answered by the engine for these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from ..errors import InvalidSchedule
from ._local import load_zone
from ._spec import shown
from .base import Schedule
from .cron import CronSchedule
from .cron_parts import CronField, CronItem, CronParts

_SHORTHANDS = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "semi-annually": "*-01,07-01 00:00:00",
    "biannually": "*-01,07-01 00:00:00",
    "bi-annually": "*-01,07-01 00:00:00",
}
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_WEEKDAY_NAMES = frozenset(name for full in _WEEKDAYS for name in (full, full[:3]))
_WEEKDAY_LIST = re.compile(r"[a-z]+(?:(?:\.\.|-|,)[a-z]+)*", re.IGNORECASE | re.ASCII)
_VALUE = re.compile(r"([0-9]{1,4})(?:\.\.([0-9]{1,4}))?(?:/([0-9]{1,4}))?", re.ASCII)
_DATE = re.compile(r"(?:(?P<year>[^-~]+)-)?(?P<month>[^-~]+)(?P<by>[-~])(?P<day>[^-~]+)")
_FURTHEST_FROM_END = 28  # no month is shorter


@dataclass(frozen=True, slots=True)
class _Unit:
    name: str
    low: int
    high: int


_YEAR = _Unit("year", 1, 9999)
_MONTH = _Unit("month", 1, 12)
_DAY = _Unit("day-of-month", 1, 31)
_HOUR = _Unit("hour", 0, 23)
_MINUTE = _Unit("minute", 0, 59)
_SECOND = _Unit("second", 0, 59)


class CalendarSchedule(Schedule):
    """The instants that a calendar event of systemd names, by the wall clock of a time zone.

    The expression may end in its zone, which then goes before `timezone`. Days must match the
    weekdays and the date both. Seconds are whole.

    systemd.time(7) says nothing about clock changes, so they are treated as those of a cron
    expression are. An expression is a wildcard where its hour or its minute is `*` or repeats
    without an end (`0/2:00`): what is in a gap does not exist, and times that are shown twice run
    in both passes. Any other names times of the day: one in a gap runs at the first instant after
    it, and one that is shown twice runs in the first pass. `gap` ("after", "skip") and `overlap`
    ("first", "both") choose otherwise.
    """

    __slots__ = ("_cron", "_text")

    kind: ClassVar[str] = "calendar"
    whole_seconds: ClassVar[bool] = True

    def __init__(self, text: str, cron: CronSchedule) -> None:
        """For `parse`, which is the way to make one."""
        self._text = text
        self._cron = cron

    @classmethod
    def parse(
        cls,
        expression: str,
        timezone: str | None = None,
        *,
        gap: str | None = None,
        overlap: str | None = None,
    ) -> CalendarSchedule:
        """The schedule that `expression` writes. Raises InvalidSchedule, which names the part."""
        text, zone = _split_zone(expression.strip())
        try:
            parts = _parts(text, zone or timezone, gap, overlap)
        except _Bad as bad:
            raise InvalidSchedule(
                f"bad {bad.where} {shown(bad.item)} in {shown(expression)}: {bad.remedy}",
                spec=expression,
                where=bad.where,
            ) from None
        return cls(text, CronSchedule(parts))

    @property
    def timezone(self) -> str | None:
        return self._cron.timezone

    @property
    def cron(self) -> CronSchedule:
        """The same slots, as the cron engine knows them."""
        return self._cron

    def next_after(self, after: datetime) -> datetime | None:
        return self._cron.next_after(after)

    def previous_before(self, before: datetime) -> datetime | None:
        return self._cron.previous_before(before)

    def upcoming(self, after: datetime, n: int) -> list[datetime]:
        return self._cron.upcoming(after, n)

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        return self._cron.between(start, end)

    def count_between(self, start: datetime, end: datetime) -> int:
        return self._cron.count_between(start, end)

    def describe(self) -> str:
        return self._cron.describe()

    def to_dict(self) -> dict[str, Any]:
        parts = self._cron.parts
        data: dict[str, Any] = {"calendar": self._text}
        if parts.timezone is not None:
            data["timezone"] = parts.timezone
        if parts.gap != parts.gap_default:
            data["gap"] = parts.gap
        if parts.overlap != parts.overlap_default:
            data["overlap"] = parts.overlap
        return data

    def __eq__(self, other: object) -> bool:
        return self._cron == other._cron if isinstance(other, CalendarSchedule) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.kind, self._cron))

    def __repr__(self) -> str:
        return f"<CalendarSchedule: {self._text!r}, {self.timezone or 'UTC'}>"


class _Bad(Exception):
    """A part that means nothing; `parse` knows the expression around it."""

    def __init__(self, where: str, item: str, remedy: str) -> None:
        super().__init__(where, item, remedy)
        self.where = where
        self.item = item
        self.remedy = remedy


def _split_zone(text: str) -> tuple[str, str | None]:
    """`text` without the zone at its end, and that zone."""
    head, _, last = text.rpartition(" ")
    if last.lower() == "utc":
        return head.rstrip(), "UTC"
    # of what else may come last, only weekdays and shorthands have letters
    if not head or not last[0].isalpha() or _names_days(last) or last.lower() in _SHORTHANDS:
        return text, None
    load_zone(last)
    return head.rstrip(), last


def _names_days(text: str) -> bool:
    return all(name in _WEEKDAY_NAMES for name in re.split(r"\.\.|[-,]", text.lower()) if name)


def _parts(text: str, timezone: str | None, gap: Any, overlap: Any) -> CronParts:
    for what, choice, choices in (
        ("gap", gap, ("after", "skip")),
        ("overlap", overlap, ("first", "both")),
    ):
        if choice is not None and choice not in choices:
            raise _Bad(what, choice, " or ".join(map(repr, choices)))
    words = _SHORTHANDS.get(text.lower(), text).split()
    weekday = _every("day-of-week", 0, 6)
    if words and words[0][0].isalpha():
        weekday = _weekdays(words.pop(0))
    elif not words:
        raise _Bad("calendar", text, "such as 'Mon..Fri 09:00', '*-*-01 00:00' or 'daily'")
    year, month, day = (
        _every("year", 1, 9999),
        _every("month", 1, 12),
        _every("day-of-month", 1, 31),
    )
    if words and ":" not in words[0]:
        year, month, day = _date(words.pop(0))
    hour, minute, second = (_field(unit, "0") for unit in (_HOUR, _MINUTE, _SECOND))
    if words:
        hour, minute, second = _time(words.pop(0))
    if words:
        raise _Bad("part", words[0], "weekdays, date, time and zone, in this order, each once")
    fixed_time = not (hour.starred or minute.starred)
    return CronParts(
        text=text,
        second=second,
        minute=minute,
        hour=hour,
        day=day,
        month=month,
        weekday=weekday,
        year=year,
        has_seconds=second.mask != 1,
        has_year=year.text != "*",
        days="both",
        gap=gap or ("after" if fixed_time else "skip"),
        overlap=overlap or ("first" if fixed_time else "both"),
        timezone=timezone,
        seed=None,
    )


def _weekdays(text: str) -> CronField:
    text = text.removesuffix(",")  # "Wed, 17:48"
    if not _WEEKDAY_LIST.fullmatch(text):
        raise _Bad("day-of-week", text, "names such as Mon, Mon..Fri, or Mon,Wed..Fri")
    items = []
    for item in text.split(","):
        first, _, last = item.replace("..", "-").partition("-")
        a = _weekday(first)
        b = _weekday(last) if last else a
        # Weeks begin on Monday: Sunday is the last day, never the first, of a range.
        if (b or 7) < (a or 7):
            raise _Bad("day-of-week", item, "a range runs from Monday towards Sunday")
        if a == b:
            items.append(CronItem(item, "value", a, a))
        else:
            items.append(CronItem(item, "range", a, b or 7))
    return _made("day-of-week", text, items, modulo=7)


def _weekday(name: str) -> int:
    for number, full in enumerate(_WEEKDAYS):
        if name.lower() in (full, full[:3]):
            return number
    raise _Bad("day-of-week", name, "Mon to Sun or Monday to Sunday, or 'daily' and its like")


def _date(text: str) -> tuple[CronField, CronField, CronField]:
    found = _DATE.fullmatch(text)
    if found is None:
        raise _Bad(
            "date", text, "year-month-day or month-day, '~' before a day counted from the end"
        )
    year = _every("year", 1, 9999) if found["year"] is None else _field(_YEAR, found["year"])
    from_end = found["by"] == "~" and found["day"] != "*"
    day = _days_from_end(found["day"]) if from_end else _field(_DAY, found["day"])
    return year, _field(_MONTH, found["month"]), day


def _time(text: str) -> tuple[CronField, CronField, CronField]:
    words = text.split(":")
    if not 2 <= len(words) <= 3:
        raise _Bad("time", text, "hour:minute or hour:minute:second")
    if len(words) == 2:
        words.append("0")
    hour, minute, second = (
        _field(unit, word) for unit, word in zip((_HOUR, _MINUTE, _SECOND), words, strict=True)
    )
    return hour, minute, second


def _field(unit: _Unit, text: str) -> CronField:
    """The values that `text` lists: `*`, `5`, `1..5`, `1..9/2`, `0/15`, separated by commas."""
    if text == "*":
        return _every(unit.name, unit.low, unit.high)
    items = []
    unending = False
    for item in text.split(","):
        first, last, step = _value(unit, item, unit.low, unit.high)
        if last is None and step is None:
            items.append(CronItem(item, "value", first, first))
        else:
            unending = unending or last is None
            items.append(
                CronItem(item, "range", first, unit.high if last is None else last, step or 1)
            )
    return _made(unit.name, text, items, starred=unending)


def _days_from_end(text: str) -> CronField:
    """As `_field`, for days that are counted from the end of the month: 1 is the last day, and a
    repetition runs towards it."""
    items: list[CronItem] = []
    for item in text.split(","):
        first, last, step = _value(_DAY, item, 1, _FURTHEST_FROM_END)
        if last is None and step is not None:
            first, last = 1, first
        last = first if last is None else last
        items += [
            CronItem(f"~{number}", "last-day", before=number - 1)
            for number in range(last, first - 1, -(step or 1))
        ]
    return _made("day-of-month", f"~{text}", items)


def _value(unit: _Unit, text: str, low: int, high: int) -> tuple[int, int | None, int | None]:
    """The numbers of `first`, `first..last`, `first/step` or `first..last/step`."""
    found = _VALUE.fullmatch(text)
    if found is None:
        if unit is _SECOND and re.fullmatch(r"[0-9./]+", text) and "..." not in text:
            raise _Bad(unit.name, text, "whole seconds, 0 to 59, or *")
        remedy = f"{low} to {high}, a list, a range such as {low}..{low + 2}, or *"
        if re.fullmatch(r"\*/[0-9]+", text):
            remedy = f"a repetition has a start; write {unit.low}{text[1:]}"
        raise _Bad(unit.name, text, remedy)
    first, last, step = (None if word is None else int(word) for word in found.groups())
    assert first is not None
    if unit is _YEAR:
        first, last = _whole_year(found[1]), last if last is None else _whole_year(found[2])
    for number in (first, last):
        if number is not None and not low <= number <= high:
            raise _Bad(unit.name, text, f"{low} to {high}, or *")
    if last is not None and last < first:
        raise _Bad(unit.name, text, "a range runs forward")
    if step == 0:
        raise _Bad(unit.name, text, "a repetition of 1 or more")
    room = first - low if high == _FURTHEST_FROM_END else high - first
    if last is None and step is not None and step > room:
        raise _Bad(unit.name, text, "the repetition never comes to a second value; leave it out")
    return first, last, step


def _whole_year(text: str) -> int:
    """A year of two digits is one from 1970 to 2069."""
    year = int(text)
    if len(text) > 2:
        return year
    return year + (1900 if year >= 70 else 2000)


def _every(name: str, low: int, high: int) -> CronField:
    return _made(name, "*", [CronItem("*", "every", low, high)], starred=True)


def _made(
    name: str, text: str, items: list[CronItem], *, starred: bool = False, modulo: int = 0
) -> CronField:
    rules = tuple(item for item in items if item.kind == "last-day")
    mask = 0
    for item in items:
        if item not in rules:
            for number in range(item.first, item.last + 1, item.step):
                mask |= 1 << (number % modulo if modulo else number)
    return CronField(name, text, tuple(items), mask, rules, starred)
