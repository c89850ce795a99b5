"""From the text of a cron expression to its parts. What the text means on a calendar and on a clock
is the business of `cron_days`, `cron_times` and `cron`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from ..errors import InvalidSchedule
from ._spec import shown
from .cron_parts import CronField, CronItem, CronParts, Days, Gap, Overlap

__all__ = ["CronField", "CronItem", "CronParts", "Days", "Gap", "Overlap", "parse_cron"]


@dataclass(frozen=True, slots=True, eq=False)
class _Unit:
    """What a field may hold. `wraps`: how many values a range runs through until it starts over,
    0 if it does not."""

    name: str
    low: int
    high: int
    wraps: int
    legal: str
    names: tuple[str, ...] = ()


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SECOND = _Unit("second", 0, 59, 60, "0 to 59, or *")
_MINUTE = _Unit("minute", 0, 59, 60, "0 to 59, or *")
_HOUR = _Unit("hour", 0, 23, 24, "0 to 23, or *")
_DAY = _Unit("day-of-month", 1, 31, 31, "1 to 31, L, or *")
_MONTH = _Unit("month", 1, 12, 12, "1 to 12, JAN to DEC, or *", _MONTHS)
_WEEKDAY = _Unit("day-of-week", 0, 7, 7, "0 to 7 (0 and 7 are Sunday), SUN to SAT, or *", _WEEKDAYS)
_YEAR = _Unit("year", 1, 9999, 0, "1 to 9999, or *")

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_RULE_KINDS = frozenset(
    ("last-day", "last-weekday", "nearest-weekday", "last-of-weekday", "nth-of-weekday")
)

_PLAIN = re.compile(r"(\*|[0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?(?:/([0-9]+))?")
_HASHED = re.compile(r"h(?:\(([0-9]+)-([0-9]+)\))?(?:/([0-9]+))?")
_DAY_RULE = re.compile(
    r"(?P<last>l)(?:-(?P<before>[0-9]+))?|(?P<last_weekday>lw)|(?P<near>[0-9]+)w"
)
_WEEKDAY_RULE = re.compile(
    r"(?P<last>[0-9]|[a-z]{3})l|l(?P<last_>[0-9]|[a-z]{3})|(?P<day>[0-9]|[a-z]{3})#(?P<nth>[0-9]+)"
)

_LONGEST = 2_000
"""What is longer is no expression, and would take its time to refuse."""

# `*/2` in the year field counts from here, as in Quartz and croniter; from year 1 it would name the
# odd years
_FIRST_STEPPED_YEAR = 1970


class _BadItem(Exception):
    """An item that means nothing; `parse_cron` knows the expression around it."""

    def __init__(self, item: str, remedy: str) -> None:
        super().__init__(item, remedy)
        self.item = item
        self.remedy = remedy


def parse_cron(
    expression: str,
    *,
    timezone: str | None = None,
    seed: str | None = None,
    days: Days = "either",
    gap: Gap | None = None,
    overlap: Overlap | None = None,
) -> CronParts:
    """Take `expression` apart. Raises InvalidSchedule, which names the field."""
    if not isinstance(expression, str):
        raise InvalidSchedule(
            f"a cron expression is text such as '0 8 * * *', not {shown(expression)}",
            spec=expression,
        )
    _check("days", days, ("either", "both"))
    _check("gap", gap, (None, "after", "skip"))
    _check("overlap", overlap, (None, "first", "both"))
    if seed is not None and not isinstance(seed, str):
        raise InvalidSchedule(f"a seed is text, not {shown(seed)}", spec=seed, where="seed")
    text = expression.strip()
    if len(text) > _LONGEST:
        raise InvalidSchedule(
            f"a cron expression of {len(text):,} characters: {_LONGEST:,} is the most",
            spec=expression,
        )
    if "h" not in text.lower():
        seed = None  # no H, so that the cached fields and the schedule do not depend on it
    words = (_macro(text) if text.startswith("@") else text).split()
    written = len(words)
    words = _seven(words, expression)
    unit = _SECOND
    try:
        second = _field(unit := _SECOND, words[0], seed)
        minute = _field(unit := _MINUTE, words[1], seed)
        hour = _field(unit := _HOUR, words[2], seed)
        day = _field(unit := _DAY, words[3], seed)
        month = _field(unit := _MONTH, words[4], seed)
        weekday = _field(unit := _WEEKDAY, words[5], seed)
        year = _field(unit := _YEAR, words[6], seed)
    except _BadItem as bad:
        raise _bad_field(unit, bad, expression) from None
    fixed_time = not (minute.starred or hour.starred)
    parts = CronParts(
        text,
        second,
        minute,
        hour,
        day,
        month,
        weekday,
        year,
        written > 5,
        written > 6,
        days,
        gap or ("after" if fixed_time else "skip"),
        overlap or ("first" if fixed_time else "both"),
        timezone,
        seed,
    )
    if seed is not None and not any(item.hashed for field in parts.fields for item in field.items):
        return parts._replace(seed=None)
    return parts


def _seven(words: list[str], expression: str) -> list[str]:
    """The fields from the second to the year: `words`, and what stands for those left out."""
    if len(words) == 5:
        return ["0", *words, "*"]
    if len(words) == 6:
        return [*words, "*"]
    if len(words) == 7:
        return words
    written = "1 field" if len(words) == 1 else f"{len(words)} fields"
    raise InvalidSchedule(
        f"{shown(expression.strip())} has {written}: a cron expression has 5 (minute hour "
        "day-of-month month day-of-week), 6 (second first) or 7 (second first, year last)",
        spec=expression,
    )


def _bad_field(unit: _Unit, bad: _BadItem, expression: str) -> InvalidSchedule:
    order = " (of six or seven fields, the first is the second)" if unit is _SECOND else ""
    return InvalidSchedule(
        f"bad {unit.name} {shown(bad.item)} in {shown(expression.strip())}: {bad.remedy}{order}",
        spec=expression,
        where=unit.name,
    )


def _check(what: str, choice: str | None, choices: tuple[str | None, ...]) -> None:
    if choice not in choices:
        legal = " or ".join(repr(c) for c in choices if c is not None)
        raise InvalidSchedule(f"bad {what} {shown(choice)}: {legal}", spec=choice, where=what)


def _macro(text: str) -> str:
    name = text.lower()
    if name in _MACROS:
        return _MACROS[name]
    if name == "@reboot":
        raise InvalidSchedule(
            "'@reboot' names no time: start the work when your program starts, or use "
            "{'at': ...} for a single time",
            spec=text,
        )
    if name.startswith("@every"):
        raise InvalidSchedule(
            f"{shown(text)} is an interval, not a cron expression: give it to parse_schedule",
            spec=text,
        )
    close = difflib.get_close_matches(name, [*_MACROS, "@every"], n=1)
    remedy = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(_MACROS)}"
    raise InvalidSchedule(f"unknown {shown(text)}: {remedy}", spec=text)


@lru_cache(maxsize=1024)
def _field(unit: _Unit, text: str, seed: str | None) -> CronField:
    items = tuple(_item(unit, item, seed) for item in text.split(","))
    mask = 0
    for item in items:
        mask |= _mask(unit, item)
    rules = tuple(item for item in items if item.kind in _RULE_KINDS)
    return CronField(unit.name, text, items, mask, rules, text.startswith(("*", "?")))


def _item(unit: _Unit, text: str, seed: str | None) -> CronItem:
    lower = text.lower()
    if text == "?":
        if unit is _DAY or unit is _WEEKDAY:
            return CronItem(text, "every", unit.low, _highest(unit))
        raise _BadItem(text, "? stands for * in the two day fields only; write *")
    if match := _PLAIN.fullmatch(lower):
        return _plain(unit, text, *match.groups())
    if match := _HASHED.fullmatch(lower):
        return _hashed(unit, text, seed, *match.groups())
    if unit is _DAY and (match := _DAY_RULE.fullmatch(lower)):
        return _day_rule(text, match)
    if unit is _WEEKDAY and (match := _WEEKDAY_RULE.fullmatch(lower)):
        return _weekday_rule(text, match)
    if unit is _WEEKDAY and lower == "l":
        raise _BadItem(text, "L needs a day here, as in 5L or FRIL, the last Friday")
    raise _BadItem(text, unit.legal)


def _plain(unit: _Unit, text: str, first: str, last: str | None, step: str | None) -> CronItem:
    """`*`, `5`, `1-5`, each with or without a step."""
    every = _step(unit, text, step)
    if first == "*":
        if last is not None:
            raise _BadItem(text, unit.legal)
        low = _FIRST_STEPPED_YEAR if unit is _YEAR and every > 1 else unit.low
        return CronItem(text, "every", low, _highest(unit), every)
    begin = _number(unit, first, text)
    end = begin if last is None else _number(unit, last, text)
    if end < begin and not unit.wraps:
        raise _BadItem(text, "a range of years runs forward")
    if last is None and step is not None:
        return CronItem(text, "range", _start(unit, begin), _highest(unit), every)
    if begin == end:
        return CronItem(text, "value", _start(unit, begin), _start(unit, begin))
    return CronItem(text, "range", _start(unit, begin), end, every)


def _hashed(
    unit: _Unit, text: str, seed: str | None, low: str | None, high: str | None, step: str | None
) -> CronItem:
    """`H`, `H(0-29)`, each with or without a step: a choice that the seed makes for good."""
    if unit is _YEAR:
        raise _BadItem(text, "H is not for years; write a year, or *")
    if seed is None:
        raise _BadItem(text, "H is hashed from the task's name; pass it as seed, or write a number")
    if low is not None and high is not None:
        begin, end = _number(unit, low, text), _number(unit, high, text)
        if end < begin:
            raise _BadItem(text, "the range of H runs forward")
    else:
        # every month has 28 days, so that H never names a day that a month lacks
        begin, end = unit.low, 28 if unit is _DAY else _highest(unit)
    every = _step(unit, text, step)
    choices = end - begin + 1
    digest = blake2b(f"{unit.name}:{seed}".encode(errors="surrogatepass"), digest_size=8).digest()
    choice = int.from_bytes(digest, "big")
    if step is None:
        chosen = _start(unit, begin + choice % choices)
        return CronItem(text, "value", chosen, chosen, hashed=True)
    chosen = begin + choice % min(every, choices)
    return CronItem(text, "range", chosen, end, every, hashed=True)


def _day_rule(text: str, match: re.Match[str]) -> CronItem:
    if match["last_weekday"]:
        return CronItem(text, "last-weekday")
    if match["near"]:
        return CronItem(text, "nearest-weekday", _number(_DAY, match["near"], text))
    if match["before"] is None:
        return CronItem(text, "last-day")
    before = match["before"]
    if len(before) > 2 or not 1 <= int(before) <= 30:
        raise _BadItem(text, "L-1 to L-30, or L")
    return CronItem(text, "last-day", before=int(before))


def _weekday_rule(text: str, match: re.Match[str]) -> CronItem:
    if match["nth"]:
        nth = match["nth"]
        if nth not in ("1", "2", "3", "4", "5"):
            raise _BadItem(text, "the number after # is 1 to 5")
        day = _number(_WEEKDAY, match["day"], text) % 7
        return CronItem(text, "nth-of-weekday", day, nth=int(nth))
    day = _number(_WEEKDAY, match["last"] or match["last_"], text) % 7
    return CronItem(text, "last-of-weekday", day)


def _number(unit: _Unit, word: str, item: str) -> int:
    """The number that `word` writes or names, in the unit's range."""
    if word in unit.names:
        return unit.names.index(word) + unit.low
    # the length guards int() against thousands of digits
    if not word[0].isdigit() or len(word) > 8 or not unit.low <= int(word) <= unit.high:
        raise _BadItem(item, unit.legal)
    return int(word)


def _step(unit: _Unit, text: str, step: str | None) -> int:
    if step is None:
        return 1
    if len(step) > 8 or int(step) == 0:
        raise _BadItem(text, "the step after / is 1 or more")
    return int(step)


def _start(unit: _Unit, number: int) -> int:
    """`number` where a range starts: a Sunday that is written as 7 is the first day."""
    return number % 7 if unit is _WEEKDAY else number


def _highest(unit: _Unit) -> int:
    """The field's end: Saturday for the days of the week, whose 7 is the first day again."""
    return 6 if unit is _WEEKDAY else unit.high


def _mask(unit: _Unit, item: CronItem) -> int:
    """The item's numbers as bits."""
    if item.kind in _RULE_KINDS:
        return 0
    # past the end of the field, a range goes on from its start
    last = item.last if item.first <= item.last else item.last + unit.wraps
    step = min(item.step, last - item.first + 1)
    count = (last - item.first) // step + 1
    # as many ones, each `step` bits after the other: a geometric series
    mask = ((1 << count * step) - 1) // ((1 << step) - 1) << item.first
    # what lies past the end: the second lap of a range, and Sunday written as 7
    end = unit.low + unit.wraps
    if unit.wraps and mask >> end:
        mask = mask & (1 << end) - 1 | mask >> end << unit.low
    return mask
