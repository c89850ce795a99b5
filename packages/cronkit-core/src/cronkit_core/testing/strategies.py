"""Hypothesis strategies for schedules, time zones and instants (extra `cronkit-core[testing]`).

    from hypothesis import given
    from cronkit_core.testing import cron_expressions, instants, timezones

    @given(cron_expressions(), timezones(), instants())
    def test_my_own_math(expression, zone, after): ...

What they draw is always valid. Everything shrinks towards the plain: stars, single values, UTC, the
start of the year 2000.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from .zones import interesting_zones, transitions

CRON_FEATURES = frozenset(
    {
        "names",  # MON, jan, in any case
        "ranges",  # 1-5
        "lists",  # 1,2
        "steps",  # */5 and 1-10/2
        "open-steps",  # 5/10
        "wrapping",  # fri-mon, 22-2
        "seven",  # Sunday as 7
        "question",  # ? in a day field
        "last",  # L, L-3, 5L, friL
        "weekday",  # 15W, LW
        "nth",  # fri#2
        "seconds",  # six fields, seconds first
        "years",  # seven fields, seconds first and years last
        "macros",  # @daily
        "both-days",  # day of month and day of week both restricted
        "hash",  # H, H(0-29), H/15; these need a seed
    }
)
"""What a cron expression may have besides stars and single values."""

_COMMON = frozenset({"names", "ranges", "steps", "seconds"})

MACROS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

_FIRST = datetime.fromisoformat("1990-01-01")
_LAST = datetime.fromisoformat("2035-01-01")
_WALLS = st.datetimes(_FIRST, _LAST)

# What is drawn from again and again is made once: to make a strategy takes longer than to draw.

FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY", "HOURLY", "MINUTELY", "SECONDLY")


# Instants and zones


def timezones(names: Sequence[str] | None = None) -> SearchStrategy[str]:
    """IANA names: of zones that between them show every oddity of wall clocks, or of `names`."""
    return st.sampled_from(tuple(names) if names is not None else interesting_zones())


def instants(
    min_value: datetime = datetime(1970, 1, 2, tzinfo=UTC),
    max_value: datetime = datetime(2099, 12, 31, tzinfo=UTC),
    *,
    microseconds: bool = True,
) -> SearchStrategy[datetime]:
    """Aware datetimes in UTC between two aware ones; without `microseconds`, at whole seconds."""
    return _instants(min_value, max_value, microseconds)


@lru_cache(maxsize=64)
def _instants(
    min_value: datetime, max_value: datetime, microseconds: bool
) -> SearchStrategy[datetime]:
    low, high = (d.astimezone(UTC).replace(tzinfo=None) for d in (min_value, max_value))
    drawn = st.datetimes(low, high, timezones=st.just(UTC))
    return drawn if microseconds else drawn.map(lambda d: d.replace(microsecond=0))


@st.composite
def instants_near_transitions(
    draw: DrawFn,
    zone: str,
    *,
    within: timedelta = timedelta(hours=5),
    start: datetime = datetime(1970, 1, 1, tzinfo=UTC),
    end: datetime = datetime(2038, 1, 1, tzinfo=UTC),
) -> datetime:
    """Instants not further than `within` from a change of the clock in `zone` (an IANA name) that
    happens between the instants `start` and `end`; any instant where the zone has no such change.

    Before 1972 some offsets have seconds.
    """
    changes = transitions(zone, start, end)
    if not changes:
        return draw(instants(start, end))
    change = draw(st.sampled_from(changes)).instant
    return change + draw(_distances(int(within.total_seconds())))


@lru_cache(maxsize=64)
def _distances(seconds: int) -> SearchStrategy[timedelta]:
    minute = st.integers(-seconds // 60, seconds // 60).map(lambda n: timedelta(minutes=n))
    second = st.integers(-seconds, seconds).map(lambda n: timedelta(seconds=n))
    close = st.sampled_from((0, -1, 1, -1_000_000, 1_000_000)).map(lambda n: timedelta(0, 0, n))
    return st.one_of(close, minute, second)


# Cron


def cron_expressions(
    features: Collection[str] = CRON_FEATURES - {"hash"},
) -> SearchStrategy[str]:
    """Cron expressions that use no more than `features`, a subset of `CRON_FEATURES`.

    Without "hash" unless asked for, since `H` needs a seed. What other implementations cannot read,
    or read differently, is left out as in `cron_expressions(CRON_FEATURES - {"hash", "weekday"})`.
    ValueError for an unknown feature.
    """
    if unknown := set(features) - CRON_FEATURES:
        raise ValueError(f"unknown features {sorted(unknown)}: known are {sorted(CRON_FEATURES)}")
    return _cron_expressions(frozenset(features))


@cache
@st.composite
def _cron_expressions(draw: DrawFn, all_features: frozenset[str]) -> str:
    features = draw(st.sampled_from((all_features & _COMMON, all_features, all_features)))
    minute = draw(_field(0, 59, features, ("0", "30", "*/5", "*/15"), hashed=True))
    hour = draw(_field(0, 23, features, ("*", "9", "2", "8-18"), hashed=True))
    month = draw(_field(1, 12, features, ("*", "*", "*"), names=_MONTHS))
    of_month, of_week = draw(_day_fields(features))
    fields = [minute, hour, of_month, month, of_week]
    size = draw(st.integers(0, 9))
    if size >= 8 and features & {"seconds", "years"}:
        fields.insert(0, draw(_field(0, 59, features, ("0", "*/10", "30"))))
    if (size == 9 and "years" in features) or (len(fields) == 6 and "seconds" not in features):
        fields.append(draw(_field(1990, 2060, features - {"steps", "wrapping"}, ("*",))))
    # Drawn last, for the fewer draws the plainer: an expression shrinks to stars, not to a macro.
    if "macros" in all_features and draw(st.integers(0, 19)) == 19:
        return draw(st.sampled_from(MACROS))
    return " ".join(fields)


@cache
@st.composite
def _day_fields(draw: DrawFn, features: frozenset[str]) -> tuple[str, str]:
    kind = draw(st.sampled_from(("neither", "neither", "week", "month", "both")))
    if kind == "both" and "both-days" not in features:
        kind = "week"
    star = st.sampled_from(("*", "?")) if "question" in features else st.just("*")
    of_month = draw(_days_of_month(features)) if kind in ("month", "both") else draw(star)
    of_week = draw(_days_of_week(features)) if kind in ("week", "both") else draw(star)
    return of_month, of_week


@cache
def _field(
    low: int,
    high: int,
    features: frozenset[str],
    usual: tuple[str, ...] = (),
    *,
    names: tuple[str, ...] = (),
    hashed: bool = False,
) -> SearchStrategy[str]:
    terms = _terms(low, high, features, names)
    lists = st.lists(terms, min_size=2, max_size=4).map(",".join)
    usual = tuple(u for u in usual if "steps" in features or "/" not in u)
    usual = tuple(u for u in usual if "ranges" in features or "-" not in u)
    choices: list[SearchStrategy[str]] = [st.just("*")]
    choices += [st.sampled_from(usual)] * 2 if usual else []
    choices += [terms, lists] if "lists" in features else [terms]
    if hashed and "hash" in features:
        choices.append(_hashed(low, high))
    return st.one_of(choices)


def _terms(
    low: int, high: int, features: frozenset[str], names: Sequence[str] = ()
) -> SearchStrategy[str]:
    """One term of a list."""
    number = st.integers(low, high)

    def written(value: int) -> SearchStrategy[str]:
        if not names or "names" not in features:
            return st.just(str(value))
        name = names[(value - low) % len(names)]
        return st.sampled_from((str(value), name, name.lower(), name.title()))

    pairs = st.tuples(number, number)
    if "wrapping" not in features:
        pairs = pairs.map(lambda ab: (min(ab), max(ab)))
    ranges = pairs.flatmap(lambda ab: st.tuples(written(ab[0]), written(ab[1]))).map("-".join)
    step = st.integers(1, max(2, (high - low) // 2)).map(str)
    choices = [number.flatmap(written)]
    if "ranges" in features:
        choices.append(ranges)
    if "steps" in features:
        choices.append(step.map("*/{}".format))
    if {"ranges", "steps"} <= features:
        choices.append(st.tuples(ranges, step).map("/".join))
    if "open-steps" in features:
        choices.append(st.tuples(number.map(str), step).map("/".join))
    return st.one_of(choices)


@cache
def _days_of_month(features: frozenset[str]) -> SearchStrategy[str]:
    special: list[SearchStrategy[str]] = []
    if "last" in features:
        special.append(st.just("L"))
        special.append(st.integers(1, 30).map("L-{}".format))
    if "weekday" in features:
        special.append(st.integers(1, 31).map("{}W".format))
        special.append(st.just("LW"))
    return _with_special(_field(1, 31, features, ("1", "15", "31")), special, features)


@cache
def _days_of_week(features: frozenset[str]) -> SearchStrategy[str]:
    named = st.sampled_from(("1", "5", "MON", "fri", "Sun"))
    day = named if "names" in features else st.integers(0, 6).map(str)
    special: list[SearchStrategy[str]] = []
    if "last" in features:
        special.append(day.map("{}L".format))
        special.append(day.map("L{}".format))
    if "nth" in features:
        special.append(st.tuples(day, st.integers(1, 5).map(str)).map("#".join))
    usual: tuple[str, ...] = ("1-5",)
    if "seven" in features:
        usual = ("1-5", "7", "5-7")
    return _with_special(_field(0, 6, features, usual, names=_DAYS), special, features)


def _with_special(
    field: SearchStrategy[str], special: list[SearchStrategy[str]], features: frozenset[str]
) -> SearchStrategy[str]:
    """`field`, or one of `special`, or a list of both."""
    if not special:
        return field
    lone = st.one_of(special)
    if "lists" not in features:
        return st.one_of(field, lone)
    mixed = st.tuples(field, lone).filter(lambda both: both[0][0] != "*").map(",".join)
    return st.one_of(field, lone, mixed)


def _hashed(low: int, high: int) -> SearchStrategy[str]:
    ends = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)
    spans = ends.map(lambda ab: f"H({ab[0]}-{ab[1]})")
    steps = st.integers(2, max(2, (high - low) // 2)).map("H/{}".format)
    return st.one_of(st.just("H"), spans, steps)


# RRULE


@st.composite
def rrules(
    draw: DrawFn,
    *,
    frequencies: Collection[str] = FREQUENCIES,
    zones: SearchStrategy[str] | None = None,
    starts: SearchStrategy[datetime] | None = None,
    ends: bool = True,
) -> str:
    """An RRULE with its DTSTART line: every FREQ of `frequencies`, with parts that RFC 5545 allows
    for it. With `ends`, some have COUNT or UNTIL.

    DTSTART is in one of `zones` (of `timezones()` when None) and at one of `starts`, naive wall
    times (when None, from 1990 to 2034).
    """
    freq = draw(st.sampled_from(tuple(f for f in FREQUENCIES if f in frequencies)))
    zone = draw(timezones() if zones is None else zones)
    start = draw(_WALLS if starts is None else starts)
    start = start.replace(microsecond=0, second=draw(st.sampled_from((0, 0, 0, 30))))
    parts = [f"FREQ={freq}"]
    longest = {"HOURLY": 50, "MINUTELY": 200, "SECONDLY": 900}.get(freq, 6)
    if (interval := draw(st.sampled_from((1, 1, 2, 3, longest)))) > 1:
        parts.append(f"INTERVAL={interval}")
    parts += draw(_rrule_days(freq))
    parts += draw(_rrule_clock())
    if any(part.startswith("BY") for part in parts) and draw(st.integers(0, 5)) == 5:
        parts.append(f"BYSETPOS={draw(_numbers(1, 4, negative=True))}")
    end = draw(st.sampled_from(("none", "count", "until"))) if ends else "none"
    if end == "count":
        parts.append(f"COUNT={draw(st.integers(1, 30))}")
    elif end == "until":
        until = _stamp(start + draw(_WEEK_HOURS))
        parts.append(f"UNTIL={draw(st.sampled_from((until + 'Z', until[:8])))}")
    if freq in ("WEEKLY", "YEARLY") and draw(st.booleans()):
        parts.append("WKST=" + draw(st.sampled_from(("MO", "SU", "TH"))))
    written = _stamp(start)
    line = f"DTSTART:{written}Z" if zone == "UTC" else f"DTSTART;TZID={zone}:{written}"
    return f"{line}\nRRULE:{';'.join(parts)}"


_WEEK_HOURS = st.integers(0, 3000).map(lambda number: timedelta(hours=7 * number))


@cache
def _numbers(low: int, high: int, *, negative: bool = False) -> SearchStrategy[str]:
    number = st.integers(low, high)
    if negative:
        number = st.one_of(number, number.map(lambda n: -n))
    lists = st.lists(number, min_size=1, max_size=3, unique=True)
    return lists.map(lambda values: ",".join(map(str, values)))


@cache
@st.composite
def _rrule_days(draw: DrawFn, freq: str) -> list[str]:
    parts: dict[str, SearchStrategy[str]] = {"BYMONTH": _numbers(1, 12)}
    if freq != "WEEKLY":
        parts["BYMONTHDAY"] = _numbers(1, 31, negative=True)
    if freq == "YEARLY":
        parts["BYWEEKNO"] = _numbers(1, 53, negative=True)
    if freq not in ("DAILY", "WEEKLY", "MONTHLY"):
        parts["BYYEARDAY"] = _numbers(1, 366, negative=True)
    chosen = draw(_up_to_two(tuple(sorted(parts))))
    if {"BYWEEKNO", "BYYEARDAY"} <= set(chosen):
        # Of which year is 1 January the first day when it is in the last week of the one before?
        chosen.remove("BYYEARDAY")
    written = [f"{name}={draw(parts[name])}" for name in sorted(chosen)]
    if draw(st.booleans()):
        numbered = freq in ("MONTHLY", "YEARLY") and "BYWEEKNO" not in chosen
        written.append("BYDAY=" + draw(_by_day(numbered)))
    return written


@cache
def _up_to_two(names: tuple[str, ...]) -> SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), max_size=2, unique=True)


_SOME_DAYS = st.lists(st.sampled_from(_WEEKDAYS), min_size=1, max_size=3, unique=True)


@cache
@st.composite
def _by_day(draw: DrawFn, numbered: bool) -> str:
    days = draw(_SOME_DAYS)
    if not numbered:
        return ",".join(days)
    which = st.sampled_from(("", "1", "2", "-1", "-2", "5"))
    return ",".join(draw(which) + day for day in days)


@cache
@st.composite
def _rrule_clock(draw: DrawFn) -> list[str]:
    parts = {"BYHOUR": _numbers(0, 23), "BYMINUTE": _numbers(0, 59), "BYSECOND": _numbers(0, 59)}
    return [f"{name}={draw(parts[name])}" for name in sorted(draw(_up_to_two(tuple(parts))))]


def _stamp(wall: datetime) -> str:
    return wall.isoformat(timespec="seconds").replace("-", "").replace(":", "")


# Intervals and whole specs


def intervals(shortest: timedelta = timedelta(milliseconds=10)) -> SearchStrategy[Any]:
    """Specs of intervals from `shortest` (an hour at most) on: seconds as int or float, timedeltas,
    and durations as text. ValueError for a longer `shortest`."""
    if shortest > timedelta(hours=1):
        raise ValueError(f"intervals from {shortest} on: the shortest is an hour at most")
    least = shortest.total_seconds()
    whole = st.integers(max(1, math.ceil(least)), 400_000)
    hundredths = st.integers(math.ceil(least * 100), math.ceil(least * 100) + 10_000)
    return st.one_of(
        whole,
        st.sampled_from((300, 3600, 86_400)).filter(lambda seconds: seconds >= least),
        hundredths.map(lambda n: n / 100),
        st.timedeltas(shortest, timedelta(days=40)),
        st.tuples(st.integers(1, 99), st.sampled_from("hdw")).map(lambda nu: f"{nu[0]}{nu[1]}"),
        st.tuples(st.integers(1, 9), st.integers(1, 59)).map(lambda hm: f"{hm[0]}h{hm[1]}m"),
        whole.map("{}s".format),
        whole.map("PT{}S".format),
    )


def schedules(*, nested: bool = True) -> SearchStrategy[Any]:
    """Specs for `parse_schedule`: cron, RRULE, intervals, one moment; where `nested`, unions,
    exclusions and bounds of these, too. Their intervals are of 30 seconds and more, for the sake of
    those who walk through the slots."""
    return _schedules(nested)


@cache
def _schedules(nested: bool) -> SearchStrategy[Any]:
    single: SearchStrategy[Any] = st.one_of(cron_expressions(), _cron_dicts(), rrules(), _others())
    if not nested:
        return single
    return st.one_of(single, st.recursive(single, _combined, max_leaves=5))


_OPTIONS = {"days": ("either", "both"), "gap": ("skip", "after"), "overlap": ("first", "both")}
_SOME_OPTIONS = st.lists(st.sampled_from(tuple(sorted(_OPTIONS))), unique=True)


@st.composite
def _cron_dicts(draw: DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = {"cron": draw(cron_expressions())}
    for key in draw(_SOME_OPTIONS):
        spec[key] = draw(st.sampled_from(_OPTIONS[key]))
    return spec


def _others() -> SearchStrategy[Any]:
    once = _WALLS.map(lambda d: {"at": d.replace(microsecond=0).isoformat()})
    every = intervals(timedelta(seconds=30))
    return st.one_of(every, every.map(lambda length: {"interval": length}), once)


def unions(parts: SearchStrategy[Any] | None = None) -> SearchStrategy[dict[str, Any]]:
    """Specs of unions, `{"any": [...]}`, of one to three `parts`: of single schedules of every kind
    when None."""
    parts = schedules(nested=False) if parts is None else parts
    return st.lists(parts, min_size=1, max_size=3).map(lambda several: {"any": several})


def _combined(parts: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.one_of(unions(parts), _exclusions(parts), _bounds(parts))


_DATES = st.dates(_FIRST.date(), _LAST.date())


@lru_cache(maxsize=64)
def _excluded(parts: SearchStrategy[Any]) -> SearchStrategy[list[Any]]:
    spans = st.tuples(_DATES, _DATES).map(sorted)
    ranges = spans.map(lambda ab: {"from": ab[0].isoformat(), "to": ab[1].isoformat()})
    some = st.one_of(_DATES.map(lambda d: d.isoformat()), ranges, parts)
    return st.lists(some, min_size=1, max_size=3)


@st.composite
def _exclusions(draw: DrawFn, parts: SearchStrategy[Any]) -> dict[str, Any]:
    spec = draw(parts)
    return {"schedule": spec, "except": draw(_excluded(parts))}


@st.composite
def _bounds(draw: DrawFn, parts: SearchStrategy[Any]) -> dict[str, Any]:
    first, last = sorted(draw(st.tuples(instants(), instants())))
    spec: dict[str, Any] = {"schedule": draw(parts)}
    keys = draw(st.sampled_from((("start_at",), ("end_at",), ("start_at", "end_at"))))
    for key in keys:
        spec[key] = (first if key == "start_at" else last).isoformat()
    return spec
