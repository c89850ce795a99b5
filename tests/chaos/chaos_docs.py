"""Figures in docs/reliability.md, between markers: what a recipe measured, by which command, when,
on what, and how busy that was with other things too."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "reliability.md"


def write(name: str, command: Sequence[str], lines: Sequence[str]) -> None:
    """Put `lines`, and how they were come by, between the markers of that name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = DOCS.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"{DOCS} has no {begin} and {end}: add them where the figures are to be")
    told = " ".join(part for part in command if part != "--write")
    how = f"`{told}`, {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, "
    how += f"Python {platform.python_version()}, load average {os.getloadavg()[2]:.1f}:"
    DOCS.write_text("\n".join([before + begin, how, "", *lines, end + after]))
