"""What people bring along: expressions in croniter's reading, and dateutil's rules as objects.

Neither library is needed by anything else here; croniter is imported when an expression asks for
it, and dateutil never is.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, ClassVar

from ..errors import InvalidSchedule
from ._local import load_zone
from ._spec import shown
from .base import Schedule, instant

_MICROSECOND, _SECOND, _DAY = timedelta(microseconds=1), timedelta(seconds=1), timedelta(days=1)
_RANDOM = re.compile(r"(?:^|[\s,])r(?:[\s,(/]|$)", re.IGNORECASE)
_TRIES = 1_000


class CroniterSchedule(Schedule):
    """A cron expression in croniter's reading, answered by croniter itself.

    For those who must keep that reading: seconds stand last, and what a clock change does is
    croniter's choice. Answers are whole seconds, in UTC; one that croniter gives and that does not
    lie on the far side of the instant asked about is passed over. croniter gives up 50 years away.
    """

    __slots__ = ("_days", "_expression", "_seed", "_timezone", "_zone")

    kind: ClassVar[str] = "croniter"
    whole_seconds: ClassVar[bool] = True

    def __init__(
        self,
        expression: str,
        timezone: str | None = None,
        *,
        days: str = "either",
        seed: str | None = None,
    ) -> None:
        """Raises InvalidSchedule for what croniter refuses, for its random `R`, and where croniter
        is not installed."""
        croniter = _croniter()
        if days not in ("either", "both"):
            raise InvalidSchedule(
                f"bad days {shown(days)}: 'either' or 'both'", spec=days, where="days"
            )
        if _RANDOM.search(expression):
            raise InvalidSchedule(
                f"bad expression {shown(expression)}: R names other times whenever it is asked; "
                f"write H, with a seed",
                spec=expression,
                where="cron",
            )
        hashed = re.search(r"(?:^|[\s,])h(?:[\s,(/]|$)", expression, re.IGNORECASE) is not None
        if hashed and seed is None:
            raise InvalidSchedule(
                f"bad expression {shown(expression)}: H is hashed from a seed, such as the task's "
                f"name; pass one",
                spec=expression,
                where="cron",
            )
        try:
            croniter.croniter.expand(expression, hash_id=seed.encode() if seed else None)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise InvalidSchedule(
                f"bad expression {shown(expression)} for croniter: {str(error)[:200]}",
                spec=expression,
                where="cron",
            ) from None
        self._expression = expression
        self._timezone = timezone
        self._zone: tzinfo = UTC if timezone is None else load_zone(timezone)
        self._days = days
        self._seed = seed if hashed else None

    @property
    def timezone(self) -> str | None:
        return self._timezone

    @property
    def expression(self) -> str:
        """The expression as it was written."""
        return self._expression

    def next_after(self, after: datetime) -> datetime | None:
        after = instant(after, "after")
        return self._ask("get_next", after.replace(microsecond=0), after)

    def previous_before(self, before: datetime) -> datetime | None:
        before = instant(before, "before")
        whole = before.replace(microsecond=0)
        if whole < before:
            if whole > datetime.max.replace(tzinfo=UTC) - _SECOND:
                return None
            whole += _SECOND
        return self._ask("get_prev", whole, before)

    def count_between(self, start: datetime, end: datetime) -> int:
        """How many slots `between(start, end)` has.

        A day on which croniter names a slot, and on or next to which the clock does not change, has
        all of the expression's times: it is counted in one step. Other days are walked through.
        """
        at, end = instant(start, "start"), instant(end, "end")
        count, times = 0, self._times_of_a_day()
        while (slot := self.next_after(at)) is not None and slot <= end:
            day = self._plain_day(slot)
            if day is not None and at < day[0] and day[1] <= end:
                count += times
                at = day[1] - _MICROSECOND
            else:
                count += 1
                at = slot
        return count

    def _plain_day(self, slot: datetime) -> tuple[datetime, datetime] | None:
        """When the local day of `slot` begins and ends; None when the clock changes around it."""
        local = slot.astimezone(self._zone)
        try:
            day = local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
            around = [(day + n * _DAY).astimezone(self._zone) for n in (-1, 0, 1, 2)]
        except OverflowError:  # at the ends of the calendar
            return None
        same = all(moment.utcoffset() == local.utcoffset() for moment in around)
        return (day, day + _DAY) if same else None

    def _times_of_a_day(self) -> int:
        """How many times the expression names on a day that it matches."""
        fields, _ = _croniter().croniter.expand(self._expression, hash_id=self._hash_id)
        minutes, hours, *rest = fields
        seconds = rest[3] if len(rest) > 3 else [0]
        total = 1
        for values, whole in ((minutes, 60), (hours, 24), (seconds, 60)):
            total *= whole if "*" in values else len(set(values))
        return total

    @property
    def _hash_id(self) -> bytes | None:
        return self._seed.encode() if self._seed else None

    def _ask(self, method: str, start: datetime, limit: datetime) -> datetime | None:
        """The first answer that lies beyond `limit`, in the direction of `method`."""
        library = _croniter()
        try:
            cron = library.croniter(
                self._expression,
                start.astimezone(self._zone),
                day_or=self._days == "either",
                hash_id=self._hash_id,
            )
            for _ in range(_TRIES):
                slot: datetime = getattr(cron, method)(datetime).astimezone(UTC)
                if slot > limit if method == "get_next" else slot < limit:
                    return slot
        except (library.CroniterBadDateError, OverflowError):
            return None
        except ValueError as error:
            if "year" in str(error):  # croniter counts out of datetime's years
                return None
            raise
        return None

    def describe(self) -> str:
        words = f"cron {self._expression!r} in croniter's reading, {self._timezone or 'UTC'}"
        return words if self._days == "either" else f"{words}, both day fields matching"

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {"cron": self._expression, "dialect": "croniter"}
        if self._timezone is not None:
            data["timezone"] = self._timezone
        if self._days != "either":
            data["days"] = self._days
        if self._seed is not None:
            data["seed"] = self._seed
        return data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CroniterSchedule):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.kind, self._key()))

    def _key(self) -> tuple[object, ...]:
        return self._expression, self._timezone, self._days, self._seed

    def __repr__(self) -> str:
        return f"<CroniterSchedule: {self.describe()}>"


def _croniter() -> Any:
    try:
        import croniter
    except ImportError:
        raise InvalidSchedule(
            "the dialect 'croniter' needs croniter: install cronkit-core[croniter]", where="dialect"
        ) from None
    return croniter


# dateutil


def dateutil_spec(rules: Any) -> dict[str, Any]:
    """What a `dateutil.rrule` rule or set says, as a spec of ours.

    Dates without a time zone stay without one. Raises InvalidSchedule for `byeaster`, which RRULE
    has no word for, and for a time zone that has no IANA name.
    """
    if not hasattr(rules, "_exdate"):
        return {"rrule": f"{_dtstart(rules)}\nRRULE:{_rule(rules)}"}
    rrules, exrules = rules._rrule, rules._exrule
    starts = {_dtstart(rule) for rule in (*rrules, *exrules)}
    if rrules and len(starts) == 1:
        lines = [starts.pop()]
        lines += [f"RRULE:{_rule(rule)}" for rule in rrules]
        lines += [f"EXRULE:{_rule(rule)}" for rule in exrules]
        lines += [f"RDATE:{_stamp(at)}" for at in rules._rdate]
        lines += [f"EXDATE:{_stamp(at)}" for at in rules._exdate]
        return {"rrule": "\n".join(lines)}
    # Rules that start at different times are schedules of their own.
    spec: dict[str, Any] = {"any": [*map(dateutil_spec, rrules), *map(_once, rules._rdate)]}
    if out := [*map(dateutil_spec, exrules), *map(_once, rules._exdate)]:
        spec = {"schedule": spec, "except": out}
    return spec


def _once(at: datetime) -> dict[str, Any]:
    return {"at": at}


def _rule(rule: Any) -> str:
    """The rule's RRULE value: as dateutil writes it, but for UNTIL, whose zone that loses."""
    if rule._byeaster:
        raise InvalidSchedule("a dateutil rule with byeaster: RRULE has no word for it", spec=rule)
    line = str(rule).rsplit("RRULE:", 1)[1]
    if rule._until is not None:
        line = re.sub(r"UNTIL=[0-9T]+", f"UNTIL={_stamp(rule._until)}", line)
    given = {name for name, value in rule._original_rule.items() if value}
    if given & _DAY_PARTS == {"byweekno"}:
        # dateutil takes the whole week, RFC 5545 the weekday of DTSTART
        line += ";BYDAY=MO,TU,WE,TH,FR,SA,SU"
    return line


_DAY_PARTS = {"byweekno", "byweekday", "bymonthday", "byyearday"}


def _stamp(at: datetime) -> str:
    """`at` as RFC 5545 writes it: in UTC, or floating."""
    if at.tzinfo is None:
        return at.strftime("%Y%m%dT%H%M%S")
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _dtstart(rule: Any) -> str:
    start: datetime = rule._dtstart
    written = start.strftime("%Y%m%dT%H%M%S")
    if start.tzinfo is None:
        return f"DTSTART:{written}"
    name = _zone_name(start)
    return f"DTSTART:{written}Z" if name == "UTC" else f"DTSTART;TZID={name}:{written}"


def _zone_name(at: datetime) -> str:
    """The IANA name of the zone of `at`: of zoneinfo's, dateutil's and pytz's zones, and of fixed
    offsets of whole hours."""
    zone = at.tzinfo
    for name in (getattr(zone, "key", None), getattr(zone, "zone", None)):
        if isinstance(name, str):
            return name
    if isinstance(file := getattr(zone, "_filename", None), str):
        parts = file.split("/")
        for i in range(max(0, len(parts) - 3), len(parts)):
            try:
                load_zone("/".join(parts[i:]))
            except InvalidSchedule:
                continue
            return "/".join(parts[i:])
    if type(zone).__name__ in ("timezone", "tzutc", "tzoffset"):
        hours, rest = divmod(at.utcoffset() or timedelta(0), timedelta(hours=1))
        if not rest:
            return f"Etc/GMT{-hours:+d}" if hours else "UTC"
    raise InvalidSchedule(
        f"a dateutil rule in the time zone {zone!r}: it needs one with an IANA name, such as "
        f"zoneinfo.ZoneInfo('Europe/Berlin')",
        spec=at,
        where="dtstart",
    )
