"""Cron expressions in plain English.

Clumsy rather than wrong: every word follows from the parsed fields, and two expressions with the
same description (in the same zone) have the same slots. So a wildcard says "every" and a fixed time
says "at", or from when to when, since a clock change treats the two differently; where that does
not tell enough, or another treatment was chosen, a clause at the end says it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING

from .cron_parts import CronField, CronItem, CronParts
from .english import MONTHS, join, nth, spans

if TYPE_CHECKING:
    from .cron import CronSchedule

_TIMES = 6
"""Up to so many times of the day are listed one by one."""

_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_LAST_YEAR = 9999


def describe_cron(schedule: CronSchedule) -> str:
    """What `schedule` does, in words: "at 08:00, Monday to Friday (Europe/Berlin)".

    Times are those of the wall clock of the zone at the end. How a clock change is treated is said
    where it is not what the rest of the sentence implies: a time of the day runs once whatever the
    clock does, and what happens "every" so often follows the clock.
    """
    return describe_parts(schedule.parts)


def describe_parts(parts: CronParts) -> str:
    """`describe_cron` of an expression that is taken apart only."""
    clock, follows_clock, whole_day = _clock(parts)
    days = _days(parts, whole_day=whole_day)
    zone = parts.timezone or "UTC"
    return f"{clock}{days}{_years(parts.year)} ({zone}){_changes(parts, follows_clock)}"


def _changes(parts: CronParts, follows_clock: bool) -> str:
    """What a clock change does, where it is not what the words before imply."""
    words = ""
    if parts.gap != ("skip" if follows_clock else "after"):
        words += {
            "after": "; run right after when the clock skips it",
            "skip": "; left out when the clock skips it",
        }[parts.gap]
    if parts.overlap != ("both" if follows_clock else "first"):
        words += {
            "first": "; in the first pass only when the clock repeats it",
            "both": "; in both passes when the clock repeats it",
        }[parts.overlap]
    return words


# The time of the day


def _clock(parts: CronParts) -> tuple[str, bool, bool]:
    """The words for second, minute and hour; whether they imply that the expression follows the
    clock (as a wildcard does); and whether they span the whole day."""
    seconds, minutes, hours = (
        _numbers(parts.second),
        _numbers(parts.minute),
        _numbers(parts.hour),
    )
    every_minute, every_hour = _star_step(minutes, 60), _star_step(hours, 24)
    if not parts.fixed_time and (every_minute or every_hour):
        words = _every(parts, seconds, minutes, hours)
        return words, True, bool(every_hour)
    return _at(seconds, minutes, hours), False, False


def _every(
    parts: CronParts, seconds: Sequence[int], minutes: Sequence[int], hours: Sequence[int]
) -> str:
    """What a wildcard says."""
    step, hour_step = _star_step(minutes, 60), _star_step(hours, 24)
    in_hours = _spread("hour", hours, hour_step)
    if list(seconds) != [0]:
        words = _seconds(seconds)
        if len(minutes) == 60 and len(hours) == 24:
            return words if words.startswith("every") else f"{words} of every minute"
        in_minutes = _spread("minute", minutes, step)
        if len(minutes) == 60 and words.startswith("every"):
            return f"{words} of {in_hours}"
        return f"{words} of {in_minutes} of {in_hours}"
    if step and 60 % step == 0:
        words = "every minute" if step == 1 else f"every {step} minutes"
        if len(hours) == 24:
            return words
        if _is_run(hours):
            return f"{words} from {hours[0]:02}:00 to {hours[-1]:02}:{60 - step:02}"
        return f"{words} of {in_hours}"
    if list(minutes) == [0] and 24 % hour_step == 0:
        return "every hour" if hour_step == 1 else f"every {hour_step} hours"
    return f"at {_spread('minute', minutes, step)} of {in_hours}"


def _at(seconds: Sequence[int], minutes: Sequence[int], hours: Sequence[int]) -> str:
    """What a fixed time says."""
    if len(hours) * len(minutes) * len(seconds) <= _TIMES:
        times = [f"{h:02}:{m:02}:{s:02}" for h, m, s in product(hours, minutes, seconds)]
        if list(seconds) == [0]:
            times = [time.removesuffix(":00") for time in times]
        return f"at {join(times)}"
    if list(seconds) == list(minutes) == [0] and _step_of(hours) and len(hours) < 24:
        words = "every hour" if _step_of(hours) == 1 else f"every {_step_of(hours)} hours"
        return f"{words} from {hours[0]:02}:00 to {hours[-1]:02}:00"
    place = f"{_spread('minute', minutes)} of {_spread('hour', hours)}"
    return f"at {place}" if list(seconds) == [0] else f"{_seconds(seconds)} of {place}"


def _seconds(seconds: Sequence[int]) -> str:
    step = _star_step(seconds, 60)
    if step and 60 % step == 0:
        return "every second" if step == 1 else f"every {step} seconds"
    return f"at {_spread('second', seconds, step)}"


def _spread(unit: str, numbers: Sequence[int], step: int = 0) -> str:
    """ "every hour", "every 2nd hour from 0 to 22" (with a `step`, counted from 0), "hour 9",
    "the hours 9 to 17 and 20"."""
    if step == 1:
        return f"every {unit}"
    if step:
        return f"every {nth(step)} {unit} from 0 to {numbers[-1]}"
    if len(numbers) == 1:
        return f"{unit} {numbers[0]}"
    return f"the {unit}s {join(_spans(numbers, str))}"


# Days


def _days(parts: CronParts, *, whole_day: bool) -> str:
    """The words for the two day fields and the month."""
    of_month, of_week = _days_of_month(parts.day), _days_of_week(parts.weekday)
    free_month, free_week = len(_numbers(parts.day)) == 31, len(_numbers(parts.weekday)) == 7
    months = _numbers(parts.month)
    in_months = "" if len(months) == 12 else f" {_month_phrase(months)}"
    if (free_month and free_week) or (parts.either_day and (free_month or free_week)):
        return in_months if whole_day else f" every day{in_months}"
    if free_month:
        if of_week.startswith("on "):
            return f" {of_week}{in_months}"
        return f", {of_week},{in_months}" if in_months else f", {of_week}"
    if free_week:
        if in_months.startswith(" in "):
            return f" {of_month.removesuffix('the month')}{in_months.removeprefix(' in ')}"
        return f" {of_month}{in_months}"
    if parts.either_day:
        words = f" {of_month} or {of_week}, whichever matches"
    else:
        words = f"{' ' if of_week.startswith('on ') else ', '}{of_week}, but only {of_month}"
    return f"{words},{in_months}" if in_months else words


def _days_of_month(field: CronField) -> str:
    def rule(item: CronItem) -> str:
        if item.kind == "last-weekday":
            return "the last weekday (Monday to Friday)"
        return f"the weekday (Monday to Friday) nearest the {nth(item.first)}"

    numbers = _numbers(field)
    if len(numbers) > 3 and _step_of(numbers) > 1:
        words = [
            f"every {nth(_step_of(numbers))} day from the {nth(numbers[0])} "
            f"to the {nth(numbers[-1])}"
        ]
    else:
        words = spans(numbers, lambda n: f"the {nth(n)}")
    run = len(words) == 1 and len(numbers) > 1 and words[0].startswith("the ")
    other = dict.fromkeys(rule(item) for item in field.rules if item.kind != "last-day")
    words += [*other, *_last_days({i.before for i in field.rules if i.kind == "last-day"})]
    return f"{'from' if run and len(words) == 1 else 'on'} {join(words)} of the month"


def _last_days(before: set[int]) -> list[str]:
    """The days so many days before the month's last, from early to late."""
    count = 0
    while count in before:
        count += 1
    words = []
    for days in sorted(before - set(range(count)), reverse=True):
        length = "day" if days == 1 else f"day {days} days"
        words.append(f"the {length} before the last day")
    if count:
        words.append("the last day" if count == 1 else f"the last {count} days")
    return words


def _days_of_week(field: CronField) -> str:
    def rule(item: CronItem) -> str:
        which = "last" if item.kind == "last-of-weekday" else nth(item.nth)
        return f"the {which} {_WEEKDAYS[item.first]}"

    numbers = _numbers(field)
    rules = list(dict.fromkeys(map(rule, field.rules)))
    if not rules and (ends := _week_run(numbers)):
        return f"{_WEEKDAYS[ends[0]]} to {_WEEKDAYS[ends[1]]}"
    # A week is listed from Monday on, as people do.
    monday_first = sorted(numbers, key=lambda n: (n - 1) % 7)
    words = f"on {join([*(_WEEKDAYS[n] + 's' for n in monday_first), *rules])}"
    return f"{words} of the month" if rules else words


def _week_run(numbers: Sequence[int]) -> tuple[int, int] | None:
    """The first and the last of three days and more in a row, across the weekend too."""
    if not 3 <= len(numbers) < 7:
        return None
    first = [n for n in numbers if (n - 1) % 7 not in numbers]
    last = [n for n in numbers if (n + 1) % 7 not in numbers]
    return (first[0], last[0]) if len(first) == 1 else None


# Months and years


def _month_phrase(months: Sequence[int]) -> str:
    if len(months) > 2 and _is_run(months):
        return f"from {MONTHS[months[0] - 1]} to {MONTHS[months[-1] - 1]}"
    return f"in {join([MONTHS[m - 1] for m in months])}"


def _years(field: CronField) -> str:
    if field.mask.bit_count() == _LAST_YEAR:
        return ""
    numbers = _numbers(field)
    step = _step_of(numbers)
    if len(numbers) > 2 and step:
        words = f"from {numbers[0]} to {numbers[-1]}"
        if numbers[-1] + step > _LAST_YEAR:
            words = f"from {numbers[0]} on"
        return f", {words}" if step == 1 else f", every {nth(step)} year {words}"
    return f", in {join(_spans(numbers, str))}"


# Numbers and lists


def _numbers(field: CronField) -> Sequence[int]:
    return [n for n in range(field.mask.bit_length()) if field.mask >> n & 1]


def _star_step(numbers: Sequence[int], size: int) -> int:
    """n where `numbers` are what `*/n` means in a field of `size` values and there is more than
    one of them, 1 for all; else 0."""
    step = numbers[1] if len(numbers) > 1 else 0
    return step if step and list(numbers) == list(range(0, size, step)) else 0


def _step_of(numbers: Sequence[int]) -> int:
    """The distance from one to the next where it is always the same, else 0."""
    if len(numbers) < 2:
        return 0
    step = numbers[1] - numbers[0]
    return step if list(numbers) == list(range(numbers[0], numbers[-1] + 1, step)) else 0


def _is_run(numbers: Sequence[int]) -> bool:
    return len(numbers) == 1 or _step_of(numbers) == 1


def _spans(numbers: Sequence[int], word: Callable[[int], str]) -> list[str]:
    """As `spans`; seven and more at the same distance as "a to b in steps of n"."""
    step = _step_of(numbers)
    if step > 1 and len(numbers) > 6:
        return [f"{word(numbers[0])} to {word(numbers[-1])} in steps of {step}"]
    return spans(numbers, word)
