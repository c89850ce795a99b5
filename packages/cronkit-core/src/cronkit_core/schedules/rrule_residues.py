"""On which days an interval of hours, minutes or seconds meets some times of day, and how often.

Every so many seconds, from a phase on, is a day's second s on the days d with
`phase - s = d * 86400` modulo the interval. Of all seconds that can be met that is one residue of d
each, to a period that is the interval over what it has in common with 86400. So the times of a day
become bits of a number as long as the period, which is a sum over hours, minutes and seconds: it is
made by turning such numbers and adding them up, a run of values in as many steps as its length has
binary digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from .rrule_days import LAST_DAY, bits, marked
from .rrule_times import Grid

DAY = 86_400
LONG = 1 << 19  # the longest period that is written out
_SHORT = 4096  # days
_FEW = 64  # residues
_LISTED = 64  # minutes of a day
_APART = 16

Counts = list[int]
"""A number for each place, its binary digits apart: bit p of item i is digit i of the number at
place p. No last item is 0."""


class Repeat:
    """Days by what they leave when divided by a period."""

    def __init__(self, residues: int, period: int) -> None:
        """Bit r of `residues`: whether those that leave r are among them."""
        self.period = period
        self.residues = residues
        self._bits, self._length = residues, period
        self._bytes = b""

    def window(self, first: int, days: int) -> int:
        """The days from `first` on as bits, of which `days` are right."""
        at = first % self.period
        while self._length < at + days:
            self._bits |= self._bits << self._length
            self._length *= 2
            self._bytes = b""
        size = self._bits.bit_length()
        if days > _SHORT or size < 16 * _SHORT:
            return self._bits >> at
        # to cut a few bytes out of many takes less than to move all bits
        if not self._bytes:
            self._bytes = self._bits.to_bytes(size // 8 + 1, "little")
        return int.from_bytes(self._bytes[at >> 3 : (at + days + 7) >> 3], "little") >> (at & 7)

    def among(self, first: int, days: int) -> int:
        """Those of the days with the bits `days`, bit 0 for the day `first`."""
        return days & self.window(first, days.bit_length())


class Distant:
    """Days by what they leave when divided by a period of centuries."""

    def __init__(self, residues: Sequence[int], period: int) -> None:
        self.period = period
        self._residues = residues

    def among(self, first: int, days: int) -> int:
        """Those of the days with the bits `days`, bit 0 for the day `first`."""
        length, found = days.bit_length(), 0
        for residue in self._residues:
            for day in range((residue - first) % self.period, length, self.period):
                found |= 1 << day
        return days & found


class Scattered:
    """The days of units that are many days apart, and of which some are kept by their number."""

    period = LAST_DAY + 1

    def __init__(self, kept: int, cycle: int, phase: int, stride: int) -> None:
        """The units start every `stride` seconds, number 0 at `phase`; bit k of `kept`: whether
        number k, and every `cycle` numbers on, is one of them."""
        self._kept = Repeat(kept, cycle)
        self._phase = phase
        self._stride = stride

    def among(self, first: int, days: int) -> int:
        """Those of the days with the bits `days`, bit 0 for the day `first`."""
        start, stride, length = self._phase - first * DAY, self._stride, days.bit_length()
        low, high = -(start // stride), -((start - length * DAY) // stride)
        kept = self._kept.window(low, high - low) & (1 << high - low) - 1
        start += low * stride
        if kept.bit_count() <= days.bit_count():
            on = ((start + number * stride) // DAY for number in bits(kept))
            return days & marked(on, length)
        found = []
        for day in bits(days):
            number = (day * DAY - start + stride - 1) // stride
            if number * stride + start < (day + 1) * DAY and kept >> number & 1:
                found.append(day)
        return marked(found, length)


Pattern = Repeat | Distant | Scattered
Weights = list[tuple[int, Pattern]]


def every(residues: Sequence[int], period: int) -> Pattern:
    """The days that leave one of `residues` when divided by `period`."""
    if period > LONG:
        return Distant(residues, period)
    return Repeat(sum(1 << residue for residue in residues), period)


def met(times: Grid, phase: int, stride: int) -> Weights:
    """On which days `phase` and every `stride` seconds before and after it is one of `times`, and
    how often: patterns of days, each with the number that it adds."""
    common = gcd(stride, DAY)
    rest, period, cycle = phase % common, stride // common, DAY // common
    if period > LONG:
        # at most one a day: by the numbers of the strides, which come at the same times again soon
        turn = pow(period, -1, cycle)
        digits = _Turned(times, common, cycle, turn).all(rest)
        base = (rest - phase) // common * turn
        return [(1, Scattered(turned(kept, base, cycle), cycle, phase, stride)) for kept in digits]
    inverse = pow(cycle, -1, period)
    base = (phase - rest) // common * inverse
    digits = [
        turned(digit, base, period) for digit in _Turned(times, common, period, -inverse).all(rest)
    ]
    if period > _FEW or len(digits) < 2:
        return [(1 << i, Repeat(digit, period)) for i, digit in enumerate(digits)]
    on: dict[int, int] = {}
    for residue in range(period):
        number = sum((digit >> residue & 1) << i for i, digit in enumerate(digits))
        on[number] = on.get(number, 0) | 1 << residue
    return [(number, Repeat(residues, period)) for number, residues in on.items() if number]


def either(weights: Weights) -> Pattern:
    """The days of any of the patterns."""
    first = weights[0][1]
    if not isinstance(first, Repeat):
        return first
    residues = 0
    for _, pattern in weights:
        assert isinstance(pattern, Repeat)
        residues |= pattern.residues
    return Repeat(residues, first.period)


class _Turned:
    """How many of some times lie at each place of a circle, where a time that is so many times
    `common` seconds later lies as many times `turn` places further."""

    def __init__(self, times: Grid, common: int, places: int, turn: int) -> None:
        self._times = times
        self._common = common
        self._places = places
        self._turn = turn
        self._levels = _levels(times)
        self._found: dict[tuple[int, int], Counts] = {}

    def all(self, rest: int) -> Counts:
        """Those that leave `rest` when divided by `common`; a time of `rest` seconds lies at 0."""
        starts = len(self._times.hours) * len(self._times.minutes)
        apart = self._common // gcd(self._common, 60)
        few = self._common >= 60 and (starts <= _LISTED or apart > _APART)
        return self._listed(rest) if few else self._of(rest, 0)

    def _listed(self, rest: int) -> Counts:
        """Few of them: one in a minute at most."""
        some, common = set(self._times.seconds), self._common
        at: dict[int, int] = {}
        for hour in self._times.hours:
            for minute in self._times.minutes:
                start = hour * 3600 + minute * 60
                second = (rest - start) % common
                if second in some:
                    place = (start + second - rest) // common * self._turn % self._places
                    at[place] = at.get(place, 0) + 1
        most = max(at.values(), default=0)
        return [
            marked((place for place, number in at.items() if number >> digit & 1), self._places)
            for digit in range(most.bit_length())
        ]

    def _of(self, rest: int, level: int) -> Counts:
        """As `all` has it, without the levels before `level`."""
        found = self._found.get((level, rest))
        if found is None:
            found = self._found[level, rest] = self._sum(rest, level)
        return found

    def _sum(self, rest: int, level: int) -> Counts:
        width, values = self._levels[level]
        common = self._common
        if level + 1 == len(self._levels):
            return self._spread([], [1], 0, self._turn, _runs(values, rest, common))
        # values that are so far apart leave the same
        apart = common // gcd(common, width)
        total: Counts = []
        for first in sorted({value % apart for value in values}):
            inner = (rest - first * width) % common
            if part := self._of(inner, level + 1):
                at = (first * width + inner - rest) // common * self._turn
                step = width * apart // common * self._turn
                total = self._spread(total, part, at, step, _runs(values, first, apart))
        return total

    def _spread(
        self, total: Counts, part: Counts, at: int, step: int, runs: list[tuple[int, int]]
    ) -> Counts:
        """`total` and, for each number of some runs of numbers, `part` turned to the place `at` and
        as many steps further. A run is its first number and how many there are."""
        powers = [part]  # of 1, 2, 4 ... numbers in a row
        for first, length in runs:
            for power in range(length.bit_length()):
                if power == len(powers):
                    powers.append(self._added(powers[-1], powers[-1], step << power - 1))
                if length >> power & 1:
                    total = self._added(total, powers[power], at + first * step)
                    first += 1 << power
        return total

    def _added(self, some: Counts, others: Counts, turn: int) -> Counts:
        """The sums of `some` and the turned `others`."""
        found: Counts = []
        carry = 0
        for i in range(max(len(some), len(others))):
            one = some[i] if i < len(some) else 0
            other = turned(others[i], turn, self._places) if i < len(others) else 0
            both = one & other
            either = one ^ other
            if carry:
                both |= either & carry
                either ^= carry
            found.append(either)
            carry = both
        if carry:
            found.append(carry)
        return found


def _levels(times: Grid) -> list[tuple[int, Sequence[int]]]:
    """Of each level how many seconds one is, and which there are; a time is one of each, added."""
    if len(times.seconds) < 60:
        return [(3600, times.hours), (60, times.minutes), (1, times.seconds)]
    if len(times.minutes) < 60:
        return [(3600, times.hours), (60, times.minutes), (1, range(60))]
    return [(3600, times.hours), (1, range(3600))]


def _runs(values: Sequence[int], rest: int, apart: int) -> list[tuple[int, int]]:
    """The ascending values that leave `rest` when divided by `apart`, over it, as runs."""
    if isinstance(values, range):
        return [(0, (len(values) - 1 - rest) // apart + 1)]
    runs: list[tuple[int, int]] = []
    for value in values:
        if value % apart == rest:
            number = value // apart
            if runs and sum(runs[-1]) == number:
                runs[-1] = runs[-1][0], runs[-1][1] + 1
            else:
                runs.append((number, 1))
    return runs


def turned(bits: int, by: int, places: int) -> int:
    """A circle of so many bits, turned."""
    by %= places
    return (bits << by & (1 << places) - 1) | bits >> places - by
