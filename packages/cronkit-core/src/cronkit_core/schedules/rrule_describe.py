"""Recurrence rules in plain English.

Clumsy rather than wrong: two schedules with the same description have the same slots, as long as
their lists of dates are short. So DTSTART is said where it was given, and what an INTERVAL counts
from where it was not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from itertools import product
from typing import TYPE_CHECKING

from ._local import load_zone
from .english import MONTHS, join, nth, spans
from .rrule_compile import EPOCH
from .rrule_rule import Rule

if TYPE_CHECKING:
    from .rrule import RRuleSchedule

_TIMES = 6
"""Up to so many times of the day are listed one by one."""

_DATES = 4
"""Up to so many dates that were added or taken out are listed."""

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS = {
    "SECONDLY": "second",
    "MINUTELY": "minute",
    "HOURLY": "hour",
    "DAILY": "day",
    "WEEKLY": "week",
    "MONTHLY": "month",
    "YEARLY": "year",
}


def describe_rrule(schedule: RRuleSchedule) -> str:
    """What `schedule` does, in words: "at 09:00 on Mondays, from 2027-01-04 09:00 on (UTC)".

    Times are those of the wall clock of the zone at the end.
    """
    rules = [describe_rule(rule) for rule in schedule.rules]
    words = "; and ".join([*rules, *_dates("on", schedule.rdates, schedule)])
    words += "".join(f"; except {describe_rule(rule)}" for rule in schedule.exrules)
    days = [day.isoformat() for day in schedule.exdays]
    taken = _dates("at", schedule.exdates, schedule)
    if days:
        taken.append(f"all day on {_some(days)}")
    words += "".join(f"; except {dates}" for dates in taken)
    words += f" ({schedule.timezone or 'UTC'})"
    if schedule.nonexistent == "skip" and not all(rule.sub_daily for rule in schedule.rules):
        words += "; left out when the clock skips it"
    return words


def _local(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError:  # the first and the last day of all
        return moment


def _dates(where: str, moments: Sequence[datetime], schedule: RRuleSchedule) -> list[str]:
    zone = load_zone(schedule.timezone or "UTC")
    said = [_moment(_local(moment, zone)) for moment in moments]
    return [f"{where} {_some(said)}"] if said else []


def _some(words: Sequence[str]) -> str:
    if len(words) <= _DATES:
        return join(words)
    return f"{', '.join(words[: _DATES - 1])} and {len(words) - _DATES + 1} more"


def describe_rule(rule: Rule) -> str:
    """What `rule` says, without its zone."""
    words = _sub_daily(rule) if rule.sub_daily else f"{_at(rule)}{_DAYS[rule.freq](rule)}"
    if rule.skip != "OMIT" and rule.freq in ("MONTHLY", "YEARLY"):
        way = "before" if rule.skip == "BACKWARD" else "after"
        words += f" (the day {way} where there is no such day)"
    if rule.freq == "WEEKLY" and rule.wkst and (rule.interval > 1 or rule.bysetpos):
        words += f", weeks beginning on {_WEEKDAYS[rule.wkst]}"
    if rule.byweekno and rule.wkst:
        words += f", weeks beginning on {_WEEKDAYS[rule.wkst]}"
    if rule.dtstart is not None:
        words += f", from {_moment(rule.dtstart)} on"
    elif rule.interval > 1 and not _divides_day(rule):
        words += ", counted from 1970-01-01"
    if rule.count is not None:
        words += ", once" if rule.count == 1 else f", {rule.count} times"
    if isinstance(rule.until, datetime):
        utc = " UTC" if rule.until.tzinfo is not None else ""
        words += f", until {_moment(rule.until)}{utc}"
    elif rule.until is not None:
        words += f", until the end of {rule.until.isoformat()}"
    return words


def _divides_day(rule: Rule) -> bool:
    per_day = {"HOURLY": 24, "MINUTELY": 1440, "SECONDLY": 86_400}.get(rule.freq, 1)
    return per_day % rule.interval == 0


def _start(rule: Rule) -> datetime:
    return rule.dtstart or EPOCH


# Times of the day


def _at(rule: Rule) -> str:
    """At what times of a day, in order."""
    start = _start(rule)
    hours = rule.byhour or (start.hour,)
    minutes = rule.byminute or (start.minute,)
    seconds = rule.bysecond or (start.second,)
    if len(hours) * len(minutes) * len(seconds) <= _TIMES:
        return f"at {join([_time(*hms) for hms in product(hours, minutes, seconds)])}"
    words = f"{_numbers('minute', minutes)} of {_numbers('hour', hours)}"
    if seconds != (0,):
        words = f"{_numbers('second', seconds)} of {words}"
    return f"at {words}"


def _time(hour: int, minute: int, second: int) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


def _moment(moment: datetime) -> str:
    return f"{moment.date().isoformat()} {_time(moment.hour, moment.minute, moment.second)}"


def _sub_daily(rule: Rule) -> str:
    start = _start(rule)
    unit = _UNITS[rule.freq]
    words = f"every {unit}" if rule.interval == 1 else f"every {rule.interval} {unit}s"
    inside = []
    if rule.freq != "SECONDLY":
        seconds = rule.bysecond or (start.second,)
        if seconds != (0,):
            inside.append(_numbers("second", seconds))
    if rule.freq == "HOURLY":
        minutes = rule.byminute or (start.minute,)
        if minutes != (0,) or inside:
            inside.append(_numbers("minute", minutes))
    if inside:
        words += f" at {' of '.join(inside)}"
    if rule.bysetpos:
        words += f" ({_positions(rule.bysetpos)} of these in the {unit})"
    limits = []
    if rule.freq == "SECONDLY" and rule.bysecond:
        limits.append(_numbers("second", rule.bysecond))
    if rule.freq != "HOURLY" and rule.byminute:
        limits.append(_numbers("minute", rule.byminute))
    if limits:
        words += ", but only in"
        limits.extend(["every minute"] if rule.freq == "SECONDLY" and not rule.byminute else [])
    if rule.byhour:
        limits.append(_numbers("hour", rule.byhour))
        if len(limits) == 1:
            words += ", but only in" if unit == "hour" else " of"
    elif limits:
        limits.append("every hour")
    if limits:
        words += f" {' of '.join(limits)}"
    phrases = _limiting(rule)
    return words + (_together(phrases) if phrases else "") + _in_months(rule.bymonth)


def _numbers(unit: str, numbers: Sequence[int]) -> str:
    """ "minute 5", "the minutes 5 to 7 and 20"."""
    if len(numbers) == 1:
        return f"{unit} {numbers[0]}"
    return f"the {unit}s {join(spans(numbers, str))}"


# Days. A phrase begins with "on", or is "Monday to Friday".


def _daily(rule: Rule) -> str:
    phrases = _limiting(rule)
    if rule.interval > 1:
        phrases.insert(0, f"every {rule.interval} days")
    words = _together(phrases or ["every day"])
    return f"{words}{_in_months(rule.bymonth)}{_chosen(rule, 'day')}"


def _weekly(rule: Rule) -> str:
    words = _weekdays([weekday for _, weekday in rule.byday] or [_start(rule).weekday()])
    if rule.interval > 1:
        words += f" of every {nth(rule.interval)} week"
    return f"{_together([words])}{_in_months(rule.bymonth)}{_chosen(rule, 'week')}"


def _monthly(rule: Rule) -> str:
    numbers = rule.bymonthday or (() if rule.byday else (_start(rule).day,))
    every = "" if rule.interval == 1 else f" of every {nth(rule.interval)} month"
    phrases = _weekday_phrases(rule.byday, "month")
    if numbers:
        phrases.append(f"on {join(_days_of_month(numbers))} of the month")
    words = _together(phrases)
    if every:
        words = words.removesuffix(" of the month") + every
    return f"{words}{_in_months(rule.bymonth)}{_chosen(rule, 'month')}"


def _yearly(rule: Rule) -> str:
    numbers, months, byday = rule.bymonthday, rule.bymonth, rule.byday
    if not (rule.byyearday or numbers or byday):
        if rule.byweekno:
            byday = ((0, _start(rule).weekday()),)
        else:
            numbers, months = (_start(rule).day,), months or (_start(rule).month,)
    phrases = _weekday_phrases(byday, "month" if rule.bymonth else "year")
    if rule.byweekno:
        phrases.append(f"in {join(_counted(rule.byweekno, 'week'))} of the year")
    if numbers:
        phrases.append(f"on {join(_days_of_month(numbers))} of the month")
    if rule.byyearday:
        phrases.append(f"on {join(_counted(rule.byyearday, 'day'))} of the year")
    words, in_months = _together(phrases), _in_months(months)
    if numbers and len(phrases) == 1 and in_months.startswith(" in "):
        words, in_months = words.removesuffix("the month") + in_months[len(" in ") :], ""
    if rule.interval > 1:
        in_months += f" of every {nth(rule.interval)} year"
    return f"{words}{in_months}{_chosen(rule, 'year')}"


_DAYS: dict[str, Callable[[Rule], str]] = {
    "DAILY": _daily,
    "WEEKLY": _weekly,
    "MONTHLY": _monthly,
    "YEARLY": _yearly,
}


def _together(phrases: Sequence[str]) -> str:
    """What all of `phrases` name."""
    comma = "," if phrases[0][0].isupper() else ""
    return f"{comma} {', but only '.join(phrases)}"


def _limiting(rule: Rule) -> list[str]:
    """The days that parts which limit leave, without the months."""
    phrases = _weekday_phrases(rule.byday, "")
    if rule.bymonthday:
        phrases.append(f"on {join(_days_of_month(rule.bymonthday))} of the month")
    if rule.byyearday:
        phrases.append(f"on {join(_counted(rule.byyearday, 'day'))} of the year")
    return phrases


def _weekdays(weekdays: Sequence[int]) -> str:
    days = sorted(set(weekdays))
    if 2 < len(days) < 7 and days[-1] - days[0] == len(days) - 1:
        return f"{_WEEKDAYS[days[0]]} to {_WEEKDAYS[days[-1]]}"
    return f"on {join([f'{_WEEKDAYS[day]}s' for day in days])}"


def _weekday_phrases(byday: Sequence[tuple[int, int]], period: str) -> list[str]:
    """The days of BYDAY, numbered ones within `period`: one phrase, or none."""
    if not byday:
        return []
    plain = [weekday for number, weekday in byday if not number]
    numbered = [
        f"the {_place(number)} {_WEEKDAYS[weekday]}"
        for number, weekday in sorted(byday, key=lambda pair: (pair[0] < 0, pair))
        if number
    ]
    if not numbered:
        return [_weekdays(plain)]
    days = [*(f"{_WEEKDAYS[day]}s" for day in plain), *numbered]
    return [f"on {join(days)} of the {period}"]


def _days_of_month(numbers: Sequence[int]) -> list[str]:
    return [
        *spans([n for n in numbers if n > 0], lambda n: f"the {nth(n)}"),
        *(f"the {_place(n)} day" for n in numbers if n < 0),
    ]


def _counted(numbers: Sequence[int], unit: str) -> list[str]:
    """Days or weeks of the year."""
    ahead = [n for n in numbers if n > 0]
    word: Callable[[int], str] = str if unit == "week" else lambda n: f"the {nth(n)}"
    words = spans(ahead, word)
    if unit == "week" and words:
        words[0] = f"week{'s' if len(ahead) > 1 else ''} {words[0]}"
    elif words:
        words[-1] += " day"
    return [*words, *(f"the {_place(n)} {unit}" for n in numbers if n < 0)]


def _in_months(months: Sequence[int]) -> str:
    if not months or len(months) == 12:
        return ""
    if len(months) > 2 and months[-1] - months[0] == len(months) - 1:
        return f" from {MONTHS[months[0] - 1]} to {MONTHS[months[-1] - 1]}"
    return f" in {join([MONTHS[m - 1] for m in months])}"


def _chosen(rule: Rule, period: str) -> str:
    """What BYSETPOS leaves."""
    if not rule.bysetpos:
        return ""
    return f", of these {_positions(rule.bysetpos)} of the {period}"


def _positions(positions: Sequence[int]) -> str:
    ordered = sorted(positions, key=lambda p: (p < 0, p))
    return join([f"the {_place(p)}" for p in ordered])


def _place(number: int) -> str:
    """ "3rd", "last", "2nd last"."""
    if number > 0:
        return nth(number)
    return "last" if number == -1 else f"{nth(-number)} last"
