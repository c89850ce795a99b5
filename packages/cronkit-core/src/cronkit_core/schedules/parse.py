"""From what people write to a Schedule: text, numbers, dicts and the objects that they bring."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ..errors import InvalidSchedule
from ._local import load_zone
from ._spec import check_keys, no_schedule, no_schedule_text, shown, suggestion
from .base import Schedule
from .duration import is_duration
from .interval import EPOCH, IntervalSchedule
from .moment import parse_moment
from .once import OnceSchedule

T = TypeVar("T")

MAX_TEXT = 65_536
"""The longest text of a schedule, in characters."""

MAX_DEPTH = 16
"""How deep schedules may stand in schedules."""

MAX_PARTS = 1_000
"""How many schedules, dates and ranges one schedule may be made of."""

_COMMON = ("timezone", "start_at", "end_at", "anchor", "seed")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "cron": ("days", "gap", "overlap", "dialect"),
    "interval": (),
    "rrule": ("dtstart", "exdate", "rdate", "nonexistent"),
    "at": (),
    "any": (),
    "schedule": ("except",),
    "calendar": ("gap", "overlap"),
}
_RRULE = re.compile(
    r"\s*(?:(?:RRULE|DTSTART|EXRULE|RDATE|EXDATE)\b|FREQ\s*=|BEGIN:)", re.IGNORECASE
)
_ZONE_PREFIX = re.compile(r"\s*(?:CRON_)?TZ=(\S{1,40})\s")
_AT_EVERY = re.compile("@every", re.IGNORECASE)
_RULE_PART = re.compile(r"(?:^|;)\s*FREQ=", re.IGNORECASE)


@dataclass(slots=True)
class _Budget:
    """How many parts one spec may still have."""

    left: int = MAX_PARTS

    def spend(self, spec: object) -> None:
        self.left -= 1
        if self.left < 0:
            raise InvalidSchedule(f"a schedule of over {MAX_PARTS} parts", spec=spec)


@dataclass(frozen=True, slots=True)
class _Context:
    """What a schedule takes from where it stands."""

    timezone: str | None
    anchor: datetime | None
    seed: str | None
    budget: _Budget
    depth: int = 0


def parse_schedule(
    spec: object,
    timezone: str | ZoneInfo | None = None,
    *,
    anchor: datetime | str | None = None,
    seed: str | None = None,
) -> Schedule:
    """The schedule that `spec` says.

    `spec` is one of:

    - a cron expression or macro, "@every 1h30m", an RRULE (or lines of DTSTART, RRULE, EXDATE, ...)
    - a duration ("90s", "1h30m", "PT15M"), a number of seconds, a timedelta: an interval
    - a datetime: once, at that time
    - a dict with one of the keys `cron`, `interval`, `rrule`, `at`, `any`, `schedule`, `calendar`,
      that kind's options, and any of `timezone`, `start_at`, `end_at`, `anchor`, `seed`; an option
      that is None counts as not given. What `to_dict` returns is such a dict
    - a `dateutil.rrule` rule or set; a Schedule, which is returned

    `timezone` is the IANA name of the zone whose wall clock is meant (None: UTC); the `timezone` of
    a dict goes before it for what is in that dict. `anchor` is where an interval counts from, and
    the start of an RRULE with COUNT and without DTSTART; `seed`, mostly a task's name, decides what
    `H` in a cron expression stands for.

    Raises InvalidSchedule, and nothing else, when `spec` or an argument has no meaning.
    """
    zone = None if timezone is None else _zone_name(timezone)
    start = None if anchor is None else _anchor(anchor, zone)
    return _parse(spec, _Context(zone, start, None if seed is None else _seed(seed), _Budget()))


def _parse(spec: object, context: _Context) -> Schedule:
    context.budget.spend(spec)
    if isinstance(spec, str):
        return _from_text(spec, context)
    if isinstance(spec, Mapping):
        return _from_dict(spec, context)
    if isinstance(spec, bool) or spec is None:
        raise no_schedule(spec)
    if isinstance(spec, int | float | timedelta):
        return _every(spec, context)
    if isinstance(spec, datetime):
        return OnceSchedule.parse(spec, context.timezone)
    if isinstance(spec, Schedule):
        return _in_zone(spec, context)
    if isinstance(spec, date):
        raise InvalidSchedule(f"'{spec}' is a date without a time: give a datetime", spec=spec)
    if isinstance(spec, list | tuple | set | frozenset):
        raise InvalidSchedule(
            f"a {type(spec).__name__} is no schedule: several together are {{'any': [...]}}",
            spec=spec,
        )
    if (rules := sys.modules.get("dateutil.rrule")) is not None and isinstance(
        spec, rules.rrule | rules.rruleset
    ):
        from .foreign import dateutil_spec

        return _parse(dateutil_spec(spec), context)
    raise no_schedule(spec)


def _in_zone(schedule: Schedule, context: _Context) -> Schedule:
    """`schedule`, which takes the zone of where it stands if it names none itself."""
    if context.timezone is None or schedule.timezone == context.timezone:
        return schedule
    if schedule.timezone is None:
        zoned = _parse(schedule.to_dict(), replace(context, anchor=None, seed=None))
        return schedule if zoned == schedule else zoned
    if context.depth:
        return schedule
    raise InvalidSchedule(
        f"timezone {context.timezone!r} for a schedule in {schedule.timezone!r}: "
        f"leave one of them out",
        spec=schedule,
        where="timezone",
    )


# Text


def _from_text(text: str, context: _Context) -> Schedule:
    if len(text) > MAX_TEXT:
        raise InvalidSchedule(
            f"a schedule of {len(text)} characters: at most {MAX_TEXT}", spec=text
        )
    stripped = text.strip()
    if not stripped:
        raise no_schedule(text)
    if _AT_EVERY.match(stripped):
        return _every(_after_at_every(stripped), context)
    if _RRULE.match(stripped) or _RULE_PART.search(stripped):
        return _rrule({"rrule": text}, context)
    if is_duration(stripped):
        return _every(stripped, context)
    if not stripped.startswith("@") and len(stripped.split()) < 5:
        raise no_schedule_text(text)
    return _cron({"cron": text}, context)


def _after_at_every(text: str) -> str:
    length = text[len("@every") :]
    if not length.strip() or not length[0].isspace():
        raise InvalidSchedule(
            f"bad {shown(text)}: '@every' and a duration, such as '@every 1h30m'", spec=text
        )
    return length.strip()


# Dicts


def _from_dict(spec: Mapping[Any, Any], context: _Context) -> Schedule:
    if context.depth >= MAX_DEPTH:
        raise InvalidSchedule(f"schedules nested over {MAX_DEPTH} deep", spec=spec)
    kind = _kind_of(spec)
    check_keys(spec, (kind, *_OPTIONS[kind], *_COMMON), f"beside {kind!r}")
    data = {key: value for key, value in spec.items() if value is not None or key == kind}
    own_zone = "timezone" in data
    if own_zone:
        context = replace(context, timezone=_zone_name(data["timezone"]))
    if "anchor" in data:
        context = replace(context, anchor=_anchor(data["anchor"], context.timezone))
    if "seed" in data:
        context = replace(context, seed=_seed(data["seed"]))
    schedule = _KINDS[kind](data, context)
    if "start_at" not in data and "end_at" not in data:
        return schedule
    from .combine import Bounded

    zone = context.timezone if own_zone else schedule.timezone or context.timezone
    return Bounded.parse(schedule, data.get("start_at"), data.get("end_at"), zone)


def _kind_of(spec: Mapping[Any, Any]) -> str:
    kinds = [kind for kind in _OPTIONS if kind in spec]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise InvalidSchedule(
            f"{' and '.join(map(repr, kinds))} in one dict: one kind each; "
            f"several together are {{'any': [...]}}",
            spec=spec,
        )
    strange = next((key for key in spec if key not in _COMMON), None)
    if strange is None:
        raise InvalidSchedule(f"a dict without a kind: one of {', '.join(_OPTIONS)}", spec=spec)
    if not isinstance(strange, str):
        raise InvalidSchedule(f"bad key {shown(strange)} in a schedule: keys are text", spec=spec)
    raise InvalidSchedule(
        f"unknown key {shown(strange)} in a schedule: {suggestion(strange, _OPTIONS)}",
        spec=spec,
        where=strange,
    )


def _interval(data: dict[str, Any], context: _Context) -> Schedule:
    return _every(data["interval"], context)


def _every(value: object, context: _Context) -> Schedule:
    return IntervalSchedule.parse(value, anchor=context.anchor or EPOCH)


def _at(data: dict[str, Any], context: _Context) -> Schedule:
    return OnceSchedule.parse(data["at"], context.timezone)


def _cron(data: dict[str, Any], context: _Context) -> Schedule:
    _text(data, "cron")
    if (dialect := data.get("dialect")) is not None:
        if dialect != "croniter":
            raise InvalidSchedule(
                f"bad dialect {shown(dialect)}: 'croniter', or leave it out", where="dialect"
            )
        from .foreign import CroniterSchedule

        for option in ("gap", "overlap"):
            if option in data:
                raise InvalidSchedule(
                    f"{option!r} with the dialect 'croniter': croniter has its own ways; leave "
                    f"one of them out",
                    spec=data,
                    where=option,
                )
        days = _text(data, "days", "either")
        return CroniterSchedule(data["cron"], context.timezone, days=days, seed=context.seed)
    if _AT_EVERY.match(data["cron"].strip()):
        for option in ("days", "gap", "overlap"):
            if option in data:
                raise InvalidSchedule(
                    f"{option!r} with '@every': elapsed time knows no days and no clock; leave it "
                    f"out, or write the times of a cron expression",
                    spec=data,
                    where=option,
                )
        return _every(_after_at_every(data["cron"].strip()), context)
    if (found := _ZONE_PREFIX.match(data["cron"])) is not None:
        raise InvalidSchedule(
            f"bad cron {shown(data['cron'])}: write {{'cron': ..., 'timezone': '{found[1]}'}}",
            spec=data["cron"],
            where="cron",
        )
    from .cron import CronSchedule

    return CronSchedule.parse(
        data["cron"],
        context.timezone,
        seed=context.seed,
        days=_text(data, "days", "either"),
        gap=_text(data, "gap"),
        overlap=_text(data, "overlap"),
    )


def _rrule(data: dict[str, Any], context: _Context) -> Schedule:
    _text(data, "rrule")
    from .rrule import RRuleSchedule

    return RRuleSchedule.parse(
        data["rrule"],
        context.timezone,
        dtstart=data.get("dtstart"),
        exdate=data.get("exdate", ()),
        rdate=data.get("rdate", ()),
        nonexistent=_text(data, "nonexistent", "shift"),
        anchor=context.anchor,
    )


def _calendar(data: dict[str, Any], context: _Context) -> Schedule:
    from .calendar import CalendarSchedule

    return CalendarSchedule.parse(
        _text(data, "calendar"),
        context.timezone,
        gap=_text(data, "gap"),
        overlap=_text(data, "overlap"),
    )


def _any(data: dict[str, Any], context: _Context) -> Schedule:
    from .combine import Union

    members = _list(data, "any")
    return Union([_part(member, context, f"any[{i}]") for i, member in enumerate(members)])


def _except(data: dict[str, Any], context: _Context) -> Schedule:
    schedule = _part(data["schedule"], context, "schedule")
    if "except" not in data:
        return schedule
    from .exclude import Except, parse_range

    zone = context.timezone if "timezone" in data else schedule.timezone or context.timezone
    schedules: list[Schedule] = []
    ranges = []
    for i, item in enumerate(_list(data, "except")):
        place = f"except[{i}]"
        span = _at_place(partial(parse_range, item, zone), place)
        if span is None:
            schedules.append(_part(item, context, place))
        else:
            context.budget.spend(item)
            ranges.append(span)
    return Except(schedule, schedules, ranges)


_KINDS: dict[str, Callable[[dict[str, Any], _Context], Schedule]] = {
    "cron": _cron,
    "interval": _interval,
    "rrule": _rrule,
    "at": _at,
    "any": _any,
    "schedule": _except,
    "calendar": _calendar,
}


def _part(spec: object, context: _Context, place: str) -> Schedule:
    """The schedule that stands at `place` in another one."""
    return _at_place(partial(_parse, spec, replace(context, depth=context.depth + 1)), place)


def _at_place(read: Callable[[], T], place: str) -> T:
    """What `read` returns; its errors say `place`."""
    try:
        return read()
    except InvalidSchedule as error:
        where = f"{place}.{error.where}" if error.where else place
        raise InvalidSchedule(f"{place}: {error}", spec=error.spec, where=where) from None


# Parts of dicts


def _text(data: dict[str, Any], key: str, default: Any = None) -> Any:
    if key not in data:
        return default
    value = data[key]
    if not isinstance(value, str):
        raise InvalidSchedule(f"bad {key} {shown(value)}: it is text", spec=value, where=key)
    if len(value) > MAX_TEXT:
        raise InvalidSchedule(
            f"bad {key} of {len(value)} characters: at most {MAX_TEXT}", spec=value, where=key
        )
    return value


def _list(data: dict[str, Any], key: str) -> list[Any] | tuple[Any, ...]:
    value = data[key]
    if isinstance(value, list | tuple) and value:
        return value
    got = "an empty list" if isinstance(value, list | tuple) else shown(value)
    raise InvalidSchedule(
        f"{key!r} is {got}: it takes a list with at least one entry", spec=value, where=key
    )


def _zone_name(timezone: object) -> str:
    name = timezone.key if isinstance(timezone, ZoneInfo) else timezone
    if not isinstance(name, str) or not name:
        raise InvalidSchedule(
            f"bad timezone {shown(timezone)}: an IANA name such as 'Europe/Berlin'",
            spec=timezone,
            where="timezone",
        )
    load_zone(name)
    return name


def _anchor(anchor: object, timezone: str | None) -> datetime:
    return parse_moment(anchor, timezone, where="anchor").first


def _seed(seed: object) -> str:
    if isinstance(seed, str):
        return seed
    raise InvalidSchedule(
        f"bad seed {shown(seed)}: text, such as the task's name", spec=seed, where="seed"
    )
