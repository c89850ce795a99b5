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
LONG = 1 << 18  # the longest period that is written out

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

    def window(self, first: int, days: int) -> int:
        """The days from `first` on as bits, of which `days` are right."""
        at = first % self.period
        while self._length < at + days:
            self._bits |= self._bits << self._length
            self._length *= 2
        return self._bits >> at

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


def every(residues: Sequence[int], period: int) -> Pattern:
    """The days that leave one of `residues` when divided by `period`."""
    if period > LONG:
        return Distant(residues, period)
    return Repeat(sum(1 << residue for residue in residues), period)


def met(times: Grid, phase: int, stride: int) -> list[Pattern]:
    """On which days `phase` and every `stride` seconds before and after it is one of `times`, and
    how many there are: the binary digits of their number, from the lowest on."""
    common = gcd(stride, DAY)
    rest, period, cycle = phase % common, stride // common, DAY // common
    if period > LONG:
        # at most one a day: by the numbers of the strides, which come at the same times again soon
        turn = pow(period, -1, cycle)
        numbers = _Turned(times, common, cycle, turn).all(rest)
        base = (rest - phase) // common * turn
        return [Scattered(turned(digit, base, cycle), cycle, phase, stride) for digit in numbers]
    inverse = pow(cycle, -1, period)
    base = (phase - rest) // common * inverse
    digits = _Turned(times, common, period, -inverse).all(rest)
    return [Repeat(turned(digit, base, period), period) for digit in digits]


def either(digits: Sequence[Pattern]) -> Pattern:
    """The days on which a number is not 0, of its binary digits."""
    first = digits[0]
    residues = 0
    for digit in digits:
        assert isinstance(digit, Repeat)
        residues |= digit.residues
    return Repeat(residues, first.period)


class _Turned:
    """How many of some times lie at each place of a circle, where a time that is so many times
    `common` seconds later lies as many times `turn` places further."""

    def __init__(self, times: Grid, common: int, places: int, turn: int) -> None:
        self._levels = ((3600, times.hours), (60, times.minutes), (1, times.seconds))
        self._common = common
        self._places = places
        self._turn = turn
        self._found: dict[tuple[int, int], Counts] = {}

    def all(self, rest: int) -> Counts:
        """Those that leave `rest` when divided by `common`; a time of `rest` seconds lies at 0."""
        return self._listed(rest) if self._common >= 60 else self.of(rest)

    def _listed(self, rest: int) -> Counts:
        """Few of them: one in a minute at most."""
        (_, hours), (_, minutes), (_, seconds) = self._levels
        some, common = set(seconds), self._common
        at: dict[int, int] = {}
        for hour in hours:
            for minute in minutes:
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

    def of(self, rest: int, level: int = 0) -> Counts:
        """As `all` has it, without the levels before `level`."""
        if level == len(self._levels):
            return [] if rest else [1]
        found = self._found.get((level, rest))
        if found is None:
            found = self._found[level, rest] = self._sum(rest, level)
        return found

    def _sum(self, rest: int, level: int) -> Counts:
        width, values = self._levels[level]
        common = self._common
        # values that are so far apart leave the same
        apart = common // gcd(common, width)
        groups: dict[int, list[int]] = {}
        for value in values:
            groups.setdefault(value % apart, []).append(value // apart)
        total: Counts = []
        for first, numbers in groups.items():
            inner = (rest - first * width) % common
            if part := self.of(inner, level + 1):
                at = (first * width + inner - rest) // common * self._turn
                step = width * apart // common * self._turn
                total = self._spread(total, part, at, step, numbers)
        return total

    def _spread(
        self, total: Counts, part: Counts, at: int, step: int, numbers: Sequence[int]
    ) -> Counts:
        """`total` and, for each of the ascending `numbers`, `part` turned to the place `at` and as
        many steps further."""
        runs = [part]  # of 1, 2, 4 ... numbers in a row
        i = 0
        while i < len(numbers):
            first = numbers[i]
            length = 1
            while i + length < len(numbers) and numbers[i + length] == first + length:
                length += 1
            i += length
            for power in range(length.bit_length()):
                if power == len(runs):
                    runs.append(self._added(runs[-1], runs[-1], step << power - 1))
                if length >> power & 1:
                    total = self._added(total, runs[power], at + first * step)
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


def turned(bits: int, by: int, places: int) -> int:
    """A circle of so many bits, turned."""
    by %= places
    return (bits << by & (1 << places) - 1) | bits >> places - by
