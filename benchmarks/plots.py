"""Line charts as SVG, with both axes logarithmic: how a cost grows is the slope of a line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 80, 130, 48, 56
COLOURS = ("#1f6feb", "#d1570c", "#2f8f46", "#8250df", "#b3261e")
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}"
    ".title{font-size:15px;font-weight:600}.grid{stroke:#ddd}.axis{stroke:#888}"
)

Line = Mapping[float, float]


def chart(title: str, x_name: str, y_name: str, lines: Mapping[str, Line]) -> str:
    """An SVG of `lines`: by their names, the value at each x. All must be above 0."""
    drawn = {name: dict(sorted(line.items())) for name, line in lines.items() if line}
    xs = [x for line in drawn.values() for x in line] or [1]
    ys = [y for line in drawn.values() for y in line.values()] or [1]
    x_of = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    # Whole decades, and never less than one: a flat line is to look flat.
    low = 10 ** math.floor(math.log10(min(ys)))
    high = max(10 ** math.ceil(math.log10(max(ys))), low * 10)
    y_of = _scale(low, high, HEIGHT - BOTTOM, TOP)

    parts = [
        f'<svg xmlns="{_NAMESPACE}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 24, title, "start", "title"),
    ]
    for y in _decades(low, high):
        parts.append(_line(LEFT, y_of(y), WIDTH - RIGHT, y_of(y), "grid"))
        parts.append(_text(LEFT - 8, y_of(y) + 4, spell(y), "end"))
    for x in sorted(set(xs)):
        parts.append(_line(x_of(x), HEIGHT - BOTTOM, x_of(x), HEIGHT - BOTTOM + 5, "axis"))
        parts.append(_text(x_of(x), HEIGHT - BOTTOM + 20, spell(x), "middle"))
    parts.append(_line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_name, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text x="20" y="{middle:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 20 {middle:.0f})">{escape(y_name)}</text>'
    )
    taken: list[float] = []
    for number, (name, line) in enumerate(drawn.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line.items())
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts += [
            f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" fill="{colour}">'
            f"<title>{escape(name)}: {spell(y)} at {spell(x)}</title></circle>"
            for x, y in line.items()
        ]
        x, y = list(line.items())[-1]
        at = y_of(y) + 4
        while any(abs(at - other) < 15 for other in taken):
            at += 15  # names of lines that end close together
        taken.append(at)
        parts.append(
            f'<text x="{x_of(x) + 8:.1f}" y="{at:.1f}" style="fill:{colour}">{escape(name)}</text>'
        )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


# What the format is named after; nothing is fetched from there.
_NAMESPACE = "http:" + "//www.w3.org/2000/svg"


def spell(value: float) -> str:
    """A number as people read it: 1,000,000 or 0.35."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _scale(low: float, high: float, first: float, last: float):  # type: ignore[no-untyped-def]
    span = math.log10(high / low) or 1.0
    return lambda value: first + (last - first) * math.log10(value / low) / span


def _decades(low: float, high: float) -> list[float]:
    return [10.0**n for n in range(round(math.log10(low)), round(math.log10(high)) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>'
