"""How far EXRULEs take out all that rules name: what lets the search for a slot jump over years of
exclusions, and prove that there is no slot at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm

from ._local import BLOCK, DAY, END, TABLES_END, clock_changes
from .rrule_days import CYCLE_DAYS, CYCLE_YEARS, LAST_DAY, LAST_YEAR, year_of, year_start
from .rrule_expand import Plan
from .rrule_slots import Slots, first_pass

_MARGIN = 2  # a slot's instant is less than this many days from its wall time


@dataclass(frozen=True, slots=True)
class _Exclusion:
    """A plan that takes out, on its days up to `last`, every time of another. Where the two read a
    wall time in other manners, only on days that are away from changes of the clock."""

    plan: Plan
    last: int
    calm: bool


class Exclusions:
    """What of some rules is left by others."""

    def __init__(self, rules: Sequence[Slots], exrules: Sequence[Slots]) -> None:
        self._clock = exrules[0].clock
        self._rules = [
            (
                rule.plan,
                [
                    _Exclusion(exrule.plan, _last_day(exrule), type(exrule) is not type(rule))
                    for exrule in exrules
                    if exrule.plan.covers(rule.plan)
                ],
            )
            for rule in rules
        ]
        plans = [slots.plan for slots in (*rules, *exrules)]
        self._start = min((rule.start // DAY for rule in rules), default=0)
        ends = [_last_day(exrule) for exrule in exrules if not exrule.endless]
        self._end = max((day for day in ends if 0 <= day < LAST_DAY), default=0)
        days = lcm(*(plan.cycle_of_days() for plan in plans))
        self._years = min(days // CYCLE_DAYS * CYCLE_YEARS, LAST_YEAR)
        self._cycle = lcm(*(plan.cycle() for plan in plans))

    def barren_after(self, instant: int) -> int:
        """An instant after which the rules leave no slot when they leave none from `instant` up to
        it."""
        return max(instant, TABLES_END, (self._end + _MARGIN) * DAY) + self._cycle + _MARGIN * DAY

    def after(self, instant: int) -> int:
        """An instant, `instant` or later, before which every slot from `instant` on is taken out;
        END where all are."""
        offset = self._clock.calm[instant >> BLOCK]
        wall = instant - _MARGIN * DAY if offset is None else instant + offset
        low = min(max(wall // DAY, 0), LAST_DAY)
        # when the last EXRULE that ends has ended and no zone's tables tell, a whole cycle does
        stop = max(year_of(low), year_of(self._end), year_of(TABLES_END // DAY)) + self._years
        for year in range(year_of(low), min(stop, LAST_YEAR) + 1):
            base = year_start(year)
            mask = self._left(year) >> (low - base)
            if mask:
                day = low + (mask & -mask).bit_length() - 1
                return max(instant, first_pass(self._clock, day * DAY))
            low = year_start(year + 1)
        return END

    def before(self, instant: int) -> int:
        """An instant, `instant` or earlier, after which every slot up to `instant` is taken out;
        -1 where all are."""
        offset = self._clock.calm[instant >> BLOCK]
        wall = instant + _MARGIN * DAY if offset is None else instant + offset
        end = min(max(wall // DAY, 0), LAST_DAY)
        for year in range(year_of(end), year_of(self._start) - 1, -1):
            base = year_start(year)
            mask = self._left(year) & ((1 << (end - base + 1)) - 1)
            if mask:
                day = base + mask.bit_length() - 1
                return min(instant, (day + 1 + _MARGIN) * DAY)
            end = base - 1
        return -1

    def _left(self, year: int) -> int:
        """The days of `year` on which something may be left."""
        start = year_start(year)
        left = 0
        for plan, exclusions in self._rules:
            mask = plan.days_in(year)
            for exclusion in exclusions:
                if mask and exclusion.last >= start:
                    taken = exclusion.plan.days_in(year)
                    if exclusion.last - start < 366:
                        taken &= (1 << (exclusion.last - start + 1)) - 1
                    if exclusion.calm:
                        taken &= self._calm_days(start)
                    mask &= ~taken
            left |= mask
        return left

    def _calm_days(self, start: int) -> int:
        """The days of the year that begins with the day `start` that are away from changes of the
        clock."""
        first, last = (start - 4) * DAY, (start + 370) * DAY
        calm = -1
        for change in clock_changes(self._clock, first, last):
            day = change.start // DAY - start
            calm &= ~(((1 << 7) - 1) << (day - 3) if day > 3 else (1 << (day + 4)) - 1)
        return calm


def _last_day(exrule: Slots) -> int:
    """The last day that `exrule` is sure to take out whole."""
    if exrule.endless:
        return LAST_DAY
    last = exrule.previous(END)
    return -1 if last is None else last // DAY - _MARGIN - 1
