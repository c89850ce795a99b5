"""Papers that are made of others: what any has, what none has, what all have."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import lcm

from . import _sheet
from ._sheet import ALL_TIMES, EMPTY, Sheet
from ._years import Paper, hull, year_start


class _Parted(Paper):
    """What is made of parts."""

    def __init__(self, parts: Sequence[Paper]) -> None:
        super().__init__()
        self._parts = parts
        self.period = lcm(*(part.period for part in parts))
        self.seconds = lcm(*(part.seconds for part in parts))  # 0 where it is 0 for any part
        self.special = hull([part.special for part in parts])
        self.by_kind = all(part.by_kind for part in parts)
        self._outline = self._outlined(parts)

    @property
    def outline(self) -> Paper:
        return self._outline

    def _outlined(self, parts: Sequence[Paper]) -> Paper:
        """The same, made of the outlines of `parts`."""
        outlines = [part.outline for part in parts]
        same = all(outline is part for outline, part in zip(outlines, parts, strict=True))
        return self if same else type(self)(outlines)

    def key(self, year: int) -> Hashable:
        length = year_start(year + 1) - year_start(year)
        return length, *(part.key(year) for part in self._parts)


class AnyOf(_Parted):
    """What any part has."""

    def _write(self, year: int) -> Sheet:
        sheet = EMPTY
        for part in self._parts:
            sheet = _sheet.union(sheet, part.sheet(year))
        return sheet


class Not(_Parted):
    """The seconds that no part has."""

    def _outlined(self, parts: Sequence[Paper]) -> Paper:
        # where a part has an outline, nothing is for sure on it
        sure = [part for part in parts if part.outline is part]
        return self if len(sure) == len(parts) else Not(sure)

    def _write(self, year: int) -> Sheet:
        days = year_start(year + 1) - year_start(year)
        sheet: Sheet = (((1 << days) - 1, ALL_TIMES),)
        for part in self._parts:
            if not sheet:
                break
            sheet = _sheet.intersection(sheet, _sheet.complement(part.sheet(year), days))
        return sheet


class Both(_Parted):
    """What all parts have."""

    def sheet(self, year: int) -> Sheet:
        # what is left by others is often nothing, and then known without the rest
        for part in reversed(self._parts):
            if part.outline is part and not part.sheet(year):
                return EMPTY
        return super().sheet(year)

    def _write(self, year: int) -> Sheet:
        first, *others = (part.sheet(year) for part in self._parts)
        for sheet in others:
            first = _sheet.intersection(first, sheet)
        return first
