"""From the text of an RRULE, or of lines of DTSTART, RRULE, EXRULE, RDATE and EXDATE, to data.

RFC 5545 sections 3.1 (lines), 3.3.4 and 3.3.5 (dates), 3.3.10 (rules) and 3.8.5; RFC 7529 for
RSCALE and SKIP. Strict: what a part may not say is an error that names the part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TypeVar, get_args

from ..errors import InvalidSchedule
from ._spec import shown, suggestion
from .rrule_rule import FREQS, WEEKDAYS, Rule, Skip

T = TypeVar("T", bound=str)

Value = datetime | date
"""An aware datetime in UTC, a naive one on a wall clock, or a date."""

_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:T([0-9]{2})([0-9]{2})([0-9]{2})(Z?))?")
_BYDAY = re.compile(r"([+-]?[0-9]{1,3})?(MO|TU|WE|TH|FR|SA|SU)")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_PARAMETER = re.compile(r';([A-Za-z0-9-]+)=("[^"]*"|[^;:,"]*)')
_PROPERTIES = ("DTSTART", "RRULE", "EXRULE", "RDATE", "EXDATE")

_RANGES = {
    "BYSECOND": (0, 60, False),
    "BYMINUTE": (0, 59, False),
    "BYHOUR": (0, 23, False),
    "BYMONTHDAY": (1, 31, True),
    "BYYEARDAY": (1, 366, True),
    "BYWEEKNO": (1, 53, True),
    "BYMONTH": (1, 12, False),
    "BYSETPOS": (1, 366, True),
}
"""Least, greatest, and whether negative numbers count from the end."""

_PARTS = (
    "FREQ",
    "INTERVAL",
    "COUNT",
    "UNTIL",
    "WKST",
    "BYDAY",
    *_RANGES,
    "RSCALE",
    "SKIP",
)
_MAX = 10**18 - 1


@dataclass(frozen=True, slots=True)
class Dated:
    """A date or time as written, and the TZID that it was written with."""

    value: Value
    timezone: str | None = None


@dataclass(slots=True)
class Parsed:
    """What the lines of a recurrence say."""

    rules: list[Rule] = field(default_factory=list)
    exrules: list[Rule] = field(default_factory=list)
    dtstart: Dated | None = None
    rdates: list[Dated] = field(default_factory=list)
    exdates: list[Dated] = field(default_factory=list)


def parse_text(text: str) -> Parsed:
    """What `text` says: the value of an RRULE, or lines. Raises InvalidSchedule."""
    parsed = Parsed()
    # RFC 5545 3.1: a line that begins with a space or a tab continues the one before it
    unfolded = re.sub(r"\r?\n[ \t]", "", text.strip())
    for line in unfolded.splitlines():
        if line := line.strip():
            _parse_line(line, parsed)
    if not parsed.rules and not parsed.rdates:
        raise InvalidSchedule(
            f"no RRULE in {shown(text)}: write one such as 'RRULE:FREQ=WEEKLY;BYDAY=MO'",
            spec=text,
            where="RRULE",
        )
    return parsed


def _parse_line(line: str, parsed: Parsed) -> None:
    name = re.match(r"[A-Za-z-]*", line)
    assert name is not None
    rest = line[name.end() :]
    if rest[:1] == "=":
        parsed.rules.append(parse_rule(line))
        return
    word = name.group().upper()
    if word not in _PROPERTIES or rest[:1] not in (":", ";"):
        raise InvalidSchedule(
            f"bad line {shown(line)}: it begins with one of {', '.join(_PROPERTIES)}, "
            f"or is a rule such as 'FREQ=WEEKLY;BYDAY=MO'",
            spec=line,
            where=word,
        )
    parameters: dict[str, str] = {}
    while match := _PARAMETER.match(rest):
        key = match[1].upper()
        if key in parameters:
            raise InvalidSchedule(f"{key} twice in {shown(line)}", spec=line, where=word)
        parameters[key] = match[2].strip('"')
        rest = rest[match.end() :]
    if rest[:1] != ":":
        raise InvalidSchedule(
            f"bad line {shown(line)}: ':' goes before the value", spec=line, where=word
        )
    value = rest[1:].strip()
    if word == "RRULE":
        parsed.rules.append(parse_rule(value))
    elif word == "EXRULE":
        parsed.exrules.append(parse_rule(value, "EXRULE"))
    elif word == "DTSTART":
        if parsed.dtstart is not None:
            raise InvalidSchedule("DTSTART twice: a schedule has one", spec=line, where="DTSTART")
        parsed.dtstart = _dated(value, word, parameters)
    else:
        found = parsed.rdates if word == "RDATE" else parsed.exdates
        found.extend(_dated(item, word, parameters) for item in value.split(","))


def _dated(text: str, where: str, parameters: dict[str, str]) -> Dated:
    """The value of a DTSTART, RDATE or EXDATE; of a period its start."""
    kind = parameters.get("VALUE", "").upper()
    if kind not in ("", "DATE", "DATE-TIME", "PERIOD") or (kind == "PERIOD" and where != "RDATE"):
        allowed = "DATE, DATE-TIME or PERIOD" if where == "RDATE" else "DATE or DATE-TIME"
        raise InvalidSchedule(f"bad VALUE {kind!r} of {where}: {allowed}", spec=text, where=where)
    if kind == "PERIOD" or (where == "RDATE" and "/" in text):
        text, slash, end = text.partition("/")
        if not slash or not re.fullmatch(r"\+?P[0-9TWDHMS]+|[0-9T]+Z?", end):
            raise InvalidSchedule(
                f"bad {where} {shown(text)}: a period such as '20270101T090000Z/PT1H'",
                spec=text,
                where=where,
            )
        kind = "DATE-TIME"
    value = parse_value(text, where)
    if kind == "DATE" and isinstance(value, datetime):
        raise InvalidSchedule(
            f"bad {where} {shown(text)}: VALUE=DATE asks for a date such as '20270101'",
            spec=text,
            where=where,
        )
    timezone = parameters.get("TZID")
    if timezone is not None and isinstance(value, datetime) and value.tzinfo is not None:
        raise InvalidSchedule(
            f"bad {where} {shown(text)}: TZID and 'Z' exclude each other; leave one out",
            spec=text,
            where=where,
        )
    return Dated(value, timezone)


def parse_value(text: str, where: str) -> Value:
    """A date or time in the forms of RFC 5545. A second 60 is read as 59 (section 3.3.12)."""
    match = _DATE.fullmatch(text.strip().upper())
    if match is not None:
        year, month, day = int(match[1]), int(match[2]), int(match[3])
        try:
            if match[4] is None:
                return date(year, month, day)
            second = min(int(match[6]), 59) if int(match[6]) == 60 else int(match[6])
            zone = UTC if match[7] else None
            return datetime(year, month, day, int(match[4]), int(match[5]), second, tzinfo=zone)
        except ValueError:
            pass
    raise InvalidSchedule(
        f"bad {where} {shown(text)}: a date such as '20270101', or a time such as "
        f"'20270101T090000' or '20270101T090000Z'",
        spec=text,
        where=where,
    )


def parse_rule(text: str, name: str = "RRULE") -> Rule:
    """The rule that the value of an RRULE or EXRULE says. Raises InvalidSchedule."""
    parts = _split(text, name)
    if "FREQ" not in parts:
        raise InvalidSchedule(
            f"no FREQ in {shown(text)}: one of {', '.join(FREQS)}", spec=text, where="FREQ"
        )
    freq = _word(parts["FREQ"], "FREQ", FREQS)
    lists = {part: _numbers(parts[part], part, text) for part in _RANGES if part in parts}
    rule = Rule(
        freq=freq,
        interval=_positive(parts.get("INTERVAL", "1"), "INTERVAL", text),
        count=_positive(parts["COUNT"], "COUNT", text) if "COUNT" in parts else None,
        until=parse_value(parts["UNTIL"], "UNTIL") if "UNTIL" in parts else None,
        wkst=WEEKDAYS.index(_word(parts.get("WKST", "MO"), "WKST", WEEKDAYS)),
        byday=_byday(parts["BYDAY"], text) if "BYDAY" in parts else (),
        skip=_skip(parts, text),
        # a second 60 that no clock shows is read as 59 (RFC 5545 section 3.3.12)
        bysecond=tuple(sorted({min(s, 59) for s in lists.pop("BYSECOND", ())})),
        **{part.lower(): numbers for part, numbers in lists.items()},  # type: ignore[arg-type]
    )
    _check(rule, text)
    return rule


def _split(text: str, name: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for item in text.split(";"):
        key, equals, value = (word.strip().upper() for word in item.partition("="))
        if not equals or not value:
            what = f"bad part {shown(item)}" if item.strip() else "an empty part"
            raise InvalidSchedule(
                f"{what} in {name} {shown(text)}: parts are such as 'BYDAY=MO', with ';' between",
                spec=text,
                where=key or name,
            )
        if key not in _PARTS:
            raise InvalidSchedule(
                f"unknown part {shown(key)} in {name} {shown(text)}: {suggestion(key, _PARTS)}",
                spec=text,
                where=key,
            )
        if key in parts:
            raise InvalidSchedule(
                f"{key} twice in {name} {shown(text)}: write one with all values",
                spec=text,
                where=key,
            )
        parts[key] = value
    return parts


def _word(value: str, part: str, words: tuple[T, ...]) -> T:
    for word in words:
        if value == word:
            return word
    raise InvalidSchedule(
        f"bad {part} {shown(value)}: one of {', '.join(map(str, words))}", spec=value, where=part
    )


def _positive(value: str, part: str, text: str) -> int:
    number = int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else 0
    if not number:
        raise InvalidSchedule(
            f"bad {part} {shown(value)} in {shown(text)}: a whole number from 1 on, "
            f"of at most 18 digits",
            spec=text,
            where=part,
        )
    return number


def _numbers(value: str, part: str, text: str) -> tuple[int, ...]:
    least, most, signed = _RANGES[part]
    found = set()
    for item in value.split(","):
        word = item.strip()
        number = int(word) if _NUMBER.fullmatch(word) else None
        if number is None or not least <= (abs(number) if signed else number) <= most:
            also = f", or -{least} to -{most} from the end" if signed else ""
            raise InvalidSchedule(
                f"bad {part} {shown(word)} in {shown(text)}: {least} to {most}{also}",
                spec=text,
                where=part,
            )
        found.add(number)
    return tuple(sorted(found))


def _byday(value: str, text: str) -> tuple[tuple[int, int], ...]:
    found = set()
    for item in value.split(","):
        match = _BYDAY.fullmatch(item.strip())
        number = int(match[1] or 0) if match else 0
        if match is None or abs(number) > 53 or (match[1] and not number):
            raise InvalidSchedule(
                f"bad BYDAY {shown(item.strip())} in {shown(text)}: one of {', '.join(WEEKDAYS)}, "
                f"with a number from 1 to 53 or -1 to -53 before it where one of them is meant",
                spec=text,
                where="BYDAY",
            )
        found.add((number, WEEKDAYS.index(match[2])))
    return tuple(sorted(found))


def _skip(parts: dict[str, str], text: str) -> Skip:
    if "RSCALE" in parts:
        _word(parts["RSCALE"], "RSCALE", ("GREGORIAN",))
    elif "SKIP" in parts:
        raise InvalidSchedule(
            f"SKIP without RSCALE in {shown(text)}: add RSCALE=GREGORIAN", spec=text, where="SKIP"
        )
    return _word(parts.get("SKIP", "OMIT"), "SKIP", get_args(Skip))


def _check(rule: Rule, text: str) -> None:
    """Raise InvalidSchedule for parts that exclude each other (RFC 5545 section 3.3.10)."""

    def refuse(part: str, what: str, remedy: str) -> InvalidSchedule:
        return InvalidSchedule(f"{part} {what} in {shown(text)}: {remedy}", spec=text, where=part)

    numbered = any(number for number, _ in rule.byday)
    with_freq = f"with FREQ={rule.freq}"
    if rule.count is not None and rule.until is not None:
        raise refuse("COUNT", "and UNTIL", "leave one out")
    if rule.byweekno and rule.freq != "YEARLY":
        raise refuse("BYWEEKNO", with_freq, "it goes with FREQ=YEARLY only")
    if rule.byyearday and rule.freq in ("DAILY", "WEEKLY", "MONTHLY"):
        raise refuse("BYYEARDAY", with_freq, "use FREQ=YEARLY, or BYMONTHDAY")
    if rule.bymonthday and rule.freq == "WEEKLY":
        raise refuse("BYMONTHDAY", with_freq, "use FREQ=DAILY or FREQ=MONTHLY")
    if numbered and rule.freq not in ("MONTHLY", "YEARLY"):
        raise refuse("BYDAY", f"with a number, {with_freq}", "use FREQ=MONTHLY or FREQ=YEARLY")
    if numbered and rule.byweekno:
        raise refuse("BYDAY", "with a number, with BYWEEKNO", "leave the number or BYWEEKNO out")
    if rule.bysetpos and not (
        rule.bysecond
        or rule.byminute
        or rule.byhour
        or rule.byday
        or rule.bymonthday
        or rule.byyearday
        or rule.byweekno
        or rule.bymonth
    ):
        raise refuse("BYSETPOS", "alone", "it chooses among what another BY part names; add one")
