"""RRULE: the recurrence rules of iCalendar (RFC 5545 sections 3.3.10 and 3.8.5, RFC 7529)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import islice
from typing import Any, ClassVar, Literal

from ..errors import InvalidSchedule
from ._local import END, ORIGIN, ZoneClock, load_zone, zone_clock
from ._spec import shown
from ._years import Paper
from .base import Schedule, instant
from .rrule_compile import EPOCH, compile_rule, seconds_of
from .rrule_dates import (
    Given,
    ceiling,
    day_spans,
    floor,
    in_utc,
    instant_of,
    last_instant,
    read_given,
    several,
    wall_of,
    zone_name,
)
from .rrule_onepass import Shifted, Skipped
from .rrule_parse import Dated, Parsed, Value, parse_text
from .rrule_rule import Rule
from .rrule_sets import SlotSet
from .rrule_slots import EachPass, Slots

MAX_TEXT = 65_536
"""The longest text of a rule, in characters."""

_FEW = 8  # how many slots are found faster one by one


class RRuleSchedule(Schedule):
    """Slots by recurrence rules, dates added to them and dates taken out.

    A rule is about the wall clock of its zone. With FREQ=DAILY and above, a wall time that the
    clock skips is read with the offset before the gap (02:30 becomes 03:30; RFC 5545 section
    3.3.5), or left out where `nonexistent` is "skip" (section 3.3.10); one that it shows twice
    means the first pass. With FREQ=HOURLY, MINUTELY and SECONDLY, every instant is a slot whose
    wall time fits: both passes, and nothing in a gap.

    DTSTART is where a rule starts and what its INTERVAL counts from, but a slot only where the
    rule names it. Without one that is 1970-01-01 00:00. COUNT counts wall times where a wall time
    means one instant, else instants.
    """

    __slots__ = (
        "_dtstart",
        "_exdate",
        "_exdates",
        "_exdays",
        "_exrules",
        "_exspans",
        "_nonexistent",
        "_rdate",
        "_rdates",
        "_rules",
        "_slots",
        "_text",
        "_timezone",
    )

    kind: ClassVar[str] = "rrule"
    whole_seconds: ClassVar[bool] = True

    _text: str
    _timezone: str | None
    _nonexistent: Literal["shift", "skip"]
    _dtstart: datetime | None
    _rdate: tuple[Value, ...]
    _exdate: tuple[Value, ...]
    _rules: tuple[Rule, ...]
    _exrules: tuple[Rule, ...]
    _slots: SlotSet
    _rdates: tuple[int, ...]
    _exdates: tuple[int, ...]
    _exdays: tuple[date, ...]
    _exspans: tuple[tuple[int, int], ...]

    @classmethod
    def parse(
        cls,
        text: str,
        timezone: str | None = None,
        *,
        dtstart: Given | None = None,
        exdate: Given | Collection[Given] = (),
        rdate: Given | Collection[Given] = (),
        nonexistent: Literal["shift", "skip"] = "shift",
        anchor: datetime | None = None,
    ) -> RRuleSchedule:
        """The schedule that `text` says: the value of an RRULE ("FREQ=WEEKLY;BYDAY=MO"), or lines
        of DTSTART, RRULE, EXRULE, RDATE and EXDATE as iCalendar has them.

        The zone is the TZID of DTSTART, or UTC where DTSTART ends with Z; else `timezone`, an IANA
        name; else UTC. `dtstart`, `exdate` and `rdate` add to what the text says: ISO 8601 strings,
        datetimes and dates, on the zone's wall clock where they have no offset. A date as `exdate`
        takes out the whole local day; elsewhere it means its midnight. `anchor`, an aware datetime,
        is the DTSTART of rules with COUNT where none was given, rounded up to the second.

        Raises InvalidSchedule, which names the part.
        """
        _check_text(text)
        if nonexistent not in ("shift", "skip"):
            raise InvalidSchedule(
                f"bad nonexistent {shown(nonexistent)}: 'shift' or 'skip'",
                spec=nonexistent,
                where="nonexistent",
            )
        self = cls.__new__(cls)
        parsed = parse_text(text)
        self._text = text
        self._nonexistent = nonexistent
        self._timezone = zone_name(parsed.dtstart, dtstart, timezone)
        zone = UTC if self._timezone is None else load_zone(self._timezone)
        self._dtstart, first = _starts(parsed, dtstart, anchor, zone_clock(zone), text)
        self._rules = tuple(replace(rule, dtstart=first) for rule in parsed.rules)
        self._exrules = tuple(replace(rule, dtstart=first) for rule in parsed.exrules)
        self._rdate = tuple(read_given(value, "rdate") for value in several(rdate, "rdate"))
        self._exdate = tuple(read_given(value, "exdate") for value in several(exdate, "exdate"))
        self._resolve_dates(parsed, zone)
        kept = [r for r in self._rules if replace(r, count=None, until=None) not in self._exrules]
        self._slots = SlotSet(
            self._resolve(kept, zone),
            self._resolve(self._exrules, zone),
            self._rdates,
            self._exdates,
            self._exspans,
        )
        return self

    def _resolve_dates(self, parsed: Parsed, zone: tzinfo) -> None:
        clock = zone_clock(zone)
        added = [*parsed.rdates, *map(Dated, self._rdate)]
        taken = [*parsed.exdates, *map(Dated, self._exdate)]
        days = [item for item in taken if not isinstance(item.value, datetime)]
        times = [item for item in taken if isinstance(item.value, datetime)]
        self._rdates = tuple(sorted({instant_of(item, clock, "RDATE") for item in added}))
        self._exdates = tuple(sorted({instant_of(item, clock, "EXDATE") for item in times}))
        self._exdays = tuple(sorted({item.value for item in days}))
        self._exspans = day_spans(days, zone)

    def _resolve(self, rules: Sequence[Rule], zone: tzinfo) -> tuple[Slots, ...]:
        found = (self._slots_of(rule, zone) for rule in rules)
        return tuple(slots for slots in found if slots is not None)

    def _slots_of(self, rule: Rule, zone: tzinfo) -> Slots | None:
        plan = compile_rule(rule)
        if plan is None:
            return None
        manner: type[Slots] = Shifted if self._nonexistent == "shift" else Skipped
        if rule.sub_daily:
            manner = EachPass
        start = seconds_of(rule.dtstart or EPOCH)
        until = None if rule.until is None else last_instant(rule.until, zone)
        return manner(plan, zone_clock(zone), start, until, rule.count)

    def slots_of(self, rule: Rule) -> Slots | None:
        """The slots of one of the rules alone; None where it names no time of day."""
        return self._slots_of(rule, UTC if self._timezone is None else load_zone(self._timezone))

    def drops(self, at: int) -> bool:
        """Whether an EXDATE takes out the instant `at`, in seconds since 0001-01-01 00:00 UTC."""
        return self._slots.drops(at)

    @property
    def timezone(self) -> str | None:
        return self._timezone

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The RRULEs, as data."""
        return self._rules

    @property
    def exrules(self) -> tuple[Rule, ...]:
        """The EXRULEs, as data."""
        return self._exrules

    @property
    def rdates(self) -> tuple[datetime, ...]:
        """The instants that were added."""
        return tuple(ORIGIN + timedelta(0, at) for at in self._rdates)

    @property
    def exdates(self) -> tuple[datetime, ...]:
        """The instants that were taken out."""
        return tuple(ORIGIN + timedelta(0, at) for at in self._exdates)

    @property
    def exdays(self) -> tuple[date, ...]:
        """The local days that were taken out."""
        return self._exdays

    @property
    def nonexistent(self) -> Literal["shift", "skip"]:
        """What becomes of a wall time that the clock skips, with FREQ=DAILY and above."""
        return self._nonexistent

    def next_after(self, after: datetime) -> datetime | None:
        found = self._slots.next(floor(after, "after") + 1)
        return None if found is None else ORIGIN + timedelta(0, found)

    def previous_before(self, before: datetime) -> datetime | None:
        found = self._slots.previous(ceiling(before, "before"))
        return None if found is None else ORIGIN + timedelta(0, found)

    def upcoming(self, after: datetime, n: int) -> list[datetime]:
        if n < _FEW:
            return super().upcoming(after, n)
        return list(islice(self._moments(floor(after, "after") + 1, END), n))

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        first, last = floor(start, "start") + 1, floor(end, "end") + 1
        yield from self._moments(first, last)

    def count_between(self, start: datetime, end: datetime) -> int:
        return self._slots.count(floor(start, "start") + 1, floor(end, "end") + 1)

    def _moments(self, start: int, end: int) -> Iterator[datetime]:
        """The slots from `start` to before `end`."""
        plain = self._slots.plain
        if plain is None:
            for found in self._slots.walk(start, end):
                yield ORIGIN + timedelta(0, found)
            return
        for base, offsets in plain.chunks(start, end):
            if base < 0:  # a midnight that is in the year 1 on the wall clock only
                yield from [ORIGIN + timedelta(0, base + second) for second in offsets.seconds]
                continue
            moment = ORIGIN + timedelta(0, base)
            yield from [moment + delta for delta in offsets.deltas]

    def paper(self) -> Paper:
        """The slots year by year."""
        return self._slots.paper()

    def describe(self) -> str:
        from .rrule_describe import describe_rrule

        return describe_rrule(self)

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {"rrule": self._text}
        if self._timezone is not None:
            data["timezone"] = self._timezone
        if self._dtstart is not None:
            data["dtstart"] = self._dtstart.isoformat()
        if self._exdate:
            data["exdate"] = [value.isoformat() for value in self._exdate]
        if self._rdate:
            data["rdate"] = [value.isoformat() for value in self._rdate]
        if self._nonexistent != "shift":
            data["nonexistent"] = self._nonexistent
        return data

    def _key(self) -> tuple[object, ...]:
        return (
            frozenset(self._rules),
            frozenset(self._exrules),
            self._timezone,
            self._nonexistent,
            self._rdates,
            self._exdates,
            self._exspans,
        )

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, RRuleSchedule) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        data = self.to_dict()
        text = data.pop("rrule")
        options = "".join(f", {key}={value!r}" for key, value in data.items())
        return f"RRuleSchedule.parse({text!r}{options})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.to_dict(),)


def _starts(
    parsed: Parsed,
    dtstart: Given | None,
    anchor: datetime | None,
    clock: ZoneClock,
    text: str,
) -> tuple[datetime | None, datetime | None]:
    """The start that did not come from the text, and the start of the rules, on the wall clock."""
    counted = any(rule.count is not None for rule in (*parsed.rules, *parsed.exrules))
    if parsed.dtstart is not None:
        if dtstart is not None:
            raise InvalidSchedule(
                "DTSTART twice: in the text and as dtstart; leave one out",
                spec=text,
                where="DTSTART",
            )
        return None, wall_of(in_utc(parsed.dtstart.value), clock, "DTSTART")
    start: datetime | None = None
    if dtstart is not None:
        start = wall_of(read_given(dtstart, "dtstart"), clock, "dtstart")
    elif anchor is not None and counted:
        # rounded up, so that a first run at the start is still to come
        whole = instant(anchor, "anchor") + timedelta(microseconds=999_999)
        start = wall_of(whole.replace(microsecond=0), clock, "anchor")
    elif counted:
        raise InvalidSchedule(
            f"COUNT without DTSTART in {shown(text)}: add a DTSTART to count from",
            spec=text,
            where="COUNT",
        )
    return start, start


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise InvalidSchedule(f"bad rrule {shown(text)}: it is text", spec=text, where="rrule")
    if len(text) > MAX_TEXT:
        raise InvalidSchedule(
            f"bad rrule of {len(text)} characters: at most {MAX_TEXT}", spec=text, where="rrule"
        )


def _restore(data: dict[str, Any]) -> RRuleSchedule:
    text = data.pop("rrule")
    return RRuleSchedule.parse(text, data.pop("timezone", None), **data)
