"""Which days of the calendar a cron expression names.

Days are numbered from 0, which is 0001-01-01 of the proleptic Gregorian calendar (so a day's number
is its `date.toordinal()` less one).

A year's calendar follows from the weekday of its first of January and from whether it is a leap
year, so there are only fourteen. Each becomes one integer of 365 or 366 bits, made when a year of
that kind is first asked about; all else is shifts. Within 400 years (146,097 days) every one of the
fourteen occurs and then they repeat: an expression without a year field that names no day in any
of the fourteen never fires, and that is proven without looking at a date.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from itertools import accumulate

from .cron_parts import CronItem, CronParts

MAXYEAR = date.max.year
LAST_DAY = date.max.toordinal() - 1

_LENGTHS = (
    (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
    (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
)
_Month = tuple[int, int, int]
# of a common and of a leap year: each month's number, the day of the year it begins on, its length
_MONTHS: tuple[tuple[_Month, ...], ...] = tuple(
    tuple(zip(range(1, 13), accumulate(lengths, initial=0), lengths, strict=False))
    for lengths in _LENGTHS
)
_EVERY_DAY = (1 << 32) - 2
_EVERY_MONTH = (1 << 13) - 2
_EVERY_WEEKDAY = (1 << 7) - 1
_EVERY_YEAR = (2 << MAXYEAR) - 2
_EVERY_SEVENTH_DAY = sum(1 << day for day in range(0, 366, 7))
_CYCLE = 400


def _calendar(year: int) -> int:
    """Which of the fourteen: twice the weekday of January 1st (0 is Sunday), plus 1 if leap."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return date(year, 1, 1).isoweekday() % 7 * 2 + leap


@lru_cache(maxsize=1)
def _years_by_calendar() -> tuple[int, ...]:
    """For each of the fourteen calendars, the years from 1 to 9999 that have it, as bits."""
    cycle = [0] * 14
    for year in range(1, _CYCLE + 1):
        cycle[_calendar(year)] |= 1 << year
    repeat = sum(1 << start for start in range(0, MAXYEAR, _CYCLE))
    return tuple(years * repeat & _EVERY_YEAR for years in cycle)


class _Years(dict[int, tuple[int, int]]):
    """Of a year: the number of its first day, and its matching days as bits."""

    def __init__(self, calendars: DaySet) -> None:
        self._calendars = calendars

    def __missing__(self, year: int) -> tuple[int, int]:
        if len(self) >= 128:
            self.clear()
        found = (date(year, 1, 1).toordinal() - 1, self._calendars.days_of(year))
        self[year] = found
        return found


class DaySet:
    """The days that the day, month, weekday and year fields of an expression name together."""

    __slots__ = ("_calendars", "_distinct", "_fertile", "_parts", "years")

    def __init__(self, parts: CronParts) -> None:
        self._parts = parts
        # where no weekday matters, only the leap day makes a difference
        weekdays_matter = parts.weekday.mask != _EVERY_WEEKDAY or parts.day.rules
        self._distinct = 14 if weekdays_matter else 2
        self._calendars: dict[int, int] = {}
        self._fertile: int | None = None
        self.years = _Years(self)

    @property
    def every_year(self) -> bool:
        """Whether the year field leaves out no year, so that the days repeat every 400 years."""
        return self._parts.year.mask == _EVERY_YEAR

    def first_from(self, day: int) -> int | None:
        """The first matching day that is not before `day`."""
        if day > LAST_DAY:
            return None
        year = date.fromordinal(day + 1).year
        new_year, days = self.years[year]
        if ahead := days >> day - new_year:
            return day + (ahead & -ahead).bit_length() - 1
        # a year with a leap day is nearly always among the next four, and finding it there takes
        # two calendars, not all fourteen
        for later in range(year + 1, min(year + 4, MAXYEAR) + 1):
            new_year, days = self.years[later]
            if days:
                return new_year + (days & -days).bit_length() - 1
        if fertile := self._fertile_years() >> year + 1:
            new_year, days = self.years[year + (fertile & -fertile).bit_length()]
            return new_year + (days & -days).bit_length() - 1
        return None

    def last_upto(self, day: int) -> int | None:
        """The last matching day that is not after `day`."""
        if day < 0:
            return None
        year = date.fromordinal(day + 1).year
        new_year, days = self.years[year]
        if behind := days & (2 << day - new_year) - 1:
            return new_year + behind.bit_length() - 1
        earlier = self._fertile_years() & (1 << year) - 1
        if not earlier:
            return None
        new_year, days = self.years[earlier.bit_length() - 1]
        return new_year + days.bit_length() - 1

    def count(self, first: int, last: int) -> int:
        """How many matching days there are from `first` to `last`, both included."""
        if last < first:
            return 0
        first_year, last_year = date.fromordinal(first + 1).year, date.fromordinal(last + 1).year
        first_new_year, first_days = self.years[first_year]
        last_new_year, last_days = self.years[last_year]
        from_first = -1 << first - first_new_year
        upto_last = (2 << last - last_new_year) - 1
        if first_year == last_year:
            return (first_days & from_first & upto_last).bit_count()
        total = (first_days & from_first).bit_count() + (last_days & upto_last).bit_count()
        whole_years = (1 << last_year) - (2 << first_year)
        if whole_years:
            whole_years &= self._parts.year.mask
            for calendar, years in enumerate(_years_by_calendar()):
                total += self._of_calendar(calendar).bit_count() * (years & whole_years).bit_count()
        return total

    def between(self, first: int, last: int) -> Iterator[int]:
        """The matching days from `first` to `last`, both included."""
        day = self.first_from(first)
        while day is not None and day <= last:
            new_year, days = self.years[date.fromordinal(day + 1).year]
            days &= (2 << min(last - new_year, 366)) - (1 << day - new_year)
            while days:
                lowest = days & -days
                day = new_year + lowest.bit_length() - 1
                yield day
                days ^= lowest
            day = self.first_from(max(day + 1, new_year + 365))

    def days_of(self, year: int) -> int:
        """The matching days of a year, as bits: bit 0 is January 1st."""
        if not self._parts.year.mask >> year & 1:
            return 0
        return self._of_calendar(_calendar(year))

    def _fertile_years(self) -> int:
        """The years that have a matching day, as bits."""
        if self._fertile is None:
            fertile = 0
            for calendar, years in enumerate(_years_by_calendar()):
                if self._of_calendar(calendar):
                    fertile |= years
            self._fertile = fertile & self._parts.year.mask
        return self._fertile

    def _of_calendar(self, calendar: int) -> int:
        calendar %= self._distinct
        days = self._calendars.get(calendar)
        if days is None:
            days = self._calendars[calendar] = _matching_days(self._parts, *divmod(calendar, 2))
        return days


def _matching_days(parts: CronParts, new_year: int, leap: int) -> int:
    """The matching days of a year whose January 1st is the weekday `new_year`, as bits."""
    months = _MONTHS[leap]
    in_months = (1 << 365 + leap) - 1
    if parts.month.mask != _EVERY_MONTH:
        months = tuple(month for month in months if parts.month.mask >> month[0] & 1)
        in_months = 0
        for _, begin, length in months:
            in_months |= (1 << length) - 1 << begin

    by_day = by_weekday = -1
    if parts.day.mask != _EVERY_DAY:
        by_day = _ruled_days(parts.day.rules, months, new_year)
        for _, begin, length in months:
            by_day |= (parts.day.mask >> 1 & (1 << length) - 1) << begin
    if parts.weekday.mask != _EVERY_WEEKDAY:
        by_weekday = _ruled_days(parts.weekday.rules, months, new_year)
        for weekday in range(7):
            if parts.weekday.mask >> weekday & 1:
                by_weekday |= _EVERY_SEVENTH_DAY << (weekday - new_year) % 7
    return in_months & (by_day | by_weekday if parts.either_day else by_day & by_weekday)


def _ruled_days(rules: tuple[CronItem, ...], months: tuple[_Month, ...], new_year: int) -> int:
    """The days of the year that L, W and # name, as bits."""
    days = 0
    for rule in rules:
        for _, begin, length in months:
            if day := _ruled_day(rule, length, (new_year + begin) % 7):
                days |= 1 << begin + day - 1
    return days


def _ruled_day(rule: CronItem, length: int, first_weekday: int) -> int:
    """The day of a month that L, W or # names, 0 for none. `first_weekday` is that of the 1st."""
    match rule.kind:
        case "last-day":
            return max(length - rule.before, 0)
        case "last-weekday":
            return _nearest_weekday(length, length, first_weekday)
        case "nearest-weekday":
            return _nearest_weekday(rule.first, length, first_weekday)
        case "nth-of-weekday":
            day = 1 + (rule.first - first_weekday) % 7 + 7 * (rule.nth - 1)
            return day if day <= length else 0
        case _:  # last-of-weekday
            last_weekday = (first_weekday + length - 1) % 7
            return length - (last_weekday - rule.first) % 7


def _nearest_weekday(day: int, length: int, first_weekday: int) -> int:
    """The day from Monday to Friday nearest to `day` in the month; 0 when it has no such day."""
    if day > length:
        return 0
    match (first_weekday + day - 1) % 7:
        case 6:
            return day - 1 if day > 1 else 3
        case 0:
            return day + 1 if day < length else day - 2
        case _:
            return day
