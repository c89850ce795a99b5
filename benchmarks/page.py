"""docs/benchmarks.md and its plots, from the results: whatever stands between two markers of the
page is replaced, the prose around them stays."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from measures import GROUPS, Bar, Group, Size, growth
from plots import chart, spell

Results = dict[str, Any]
MARKED = re.compile(r"(<!-- (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def write_page(results: Results, size: Size, folder: Path, page: Path) -> Path:
    """Fill in the page, and write the plots to `folder`. A quick run leaves the page in the docs
    alone, and writes its own beside the plots."""
    parts = {
        "machine": _machine(results),
        "bars": _bars(results),
        "schedules": _schedules(results),
        "sizing": _sizing(results),
        **{group.key: _table(results, group) for group in GROUPS},
        **{f"growth-{plot.key}": _plot(results, plot, folder) for plot in growth(size)},
    }

    def filled(found: re.Match[str]) -> str:
        return f"{found[1]}{parts[found[2]]}\n{found[3]}"

    text = MARKED.sub(filled, page.read_text())
    target = page if size == "full" else folder / page.name
    target.write_text(text)
    return target


def _table(results: Results, group: Group) -> str:
    found = results.get("groups", {}).get(group.key)
    if found is None:
        return "(not measured)"
    first = next(iter(group.columns))
    heads = ["", *group.columns.values()]
    if group.against is not None:
        heads.append(f"{group.against}: how many times as fast")
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for contender in group.contenders:
        result = found.get(contender.name, {"figures": {}, "error": "not measured"})
        cells = [_spread(result["figures"].get(figure, [])) for figure in group.columns]
        if group.against is not None:
            samples = [_samples(found, name, first) for name in (group.against, contender.name)]
            cells.append("1" if contender.name == group.against else _ratios(*samples))
        if result["error"]:
            cells[-1] = _cell(result["error"])
        lines.append(f"| {contender.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines + (["", group.note] if group.note else []))


def _cell(text: str) -> str:
    """What went wrong, as the cell of a table, without the paths of the machine."""
    return re.sub(r" ?\(?/[\w./-]+\)?", "", text).replace("|", "/").replace("://", ":")


def _samples(found: Results, contender: str, figure: str) -> list[float]:
    result = found.get(contender)
    return [] if result is None else result["figures"].get(figure, [])


def _spread(samples: list[float]) -> str:
    """The median, and from where to where the samples go."""
    if not samples:
        return "—"
    middle = spell(_round(statistics.median(samples)))
    if len(samples) == 1:
        return middle
    return f"{middle} ({spell(_round(min(samples)))}–{spell(_round(max(samples)))})"


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def ratios_of(ours: list[float], theirs: list[float]) -> list[float]:
    """Round by round where both took turns; of the medians where they did not."""
    if len(ours) == len(theirs):
        return [a / b for a, b in zip(ours, theirs, strict=True) if b]
    if not ours or not theirs:
        return []
    return [statistics.median(ours) / statistics.median(theirs)]


def _ratios(ours: list[float], theirs: list[float]) -> str:
    found = ratios_of(ours, theirs)
    return _spread(found) + " ×" if found else "—"


# --- bars


def _bars(results: Results) -> str:
    lines = ["| | bar | measured | |", "| --- | --- | ---: | --- |"]
    for group in GROUPS:
        found = results.get("groups", {}).get(group.key, {})
        for bar in group.bars:
            measured, met = judge(bar, found)
            lines.append(f"| {group.title} | {bar.text} | {measured} | {met} |")
    schedules = results.get("schedules", {}).get("all", {}).get("figures") or {}
    for asked in schedules.get("bars", []):
        measured = spell(_round(asked["found"])) + f" {asked['unit'].strip()}"
        bound = f"{asked['sign']} {spell(_round(asked['bar']))} {asked['unit'].strip()}"
        met = "met" if asked["met"] else "**missed**"
        lines.append(f"| Schedules | {asked['what']}: {bound} | {measured} | {met} |")
    return "\n".join(lines)


def judge(bar: Bar, found: Results) -> tuple[str, str]:
    """What was measured of a bar, and whether that is "met" or "**missed**"."""
    samples = _samples(found, bar.ours, bar.figure)
    if bar.theirs is not None:
        samples = ratios_of(samples, _samples(found, bar.theirs, bar.figure))
    if not samples:
        error = found.get(bar.theirs or bar.ours, {}).get("error")
        return "—", f"not measured: {_cell(error)}" if error else "not measured"
    value = statistics.median(samples)
    met = value <= bar.bound if bar.at_most else value >= bar.bound
    unit = " ×" if bar.theirs is not None else ""
    return _spread(samples) + unit, "met" if met else "**missed**"


# --- the rest


def _machine(results: Results) -> str:
    about = results.get("about", {}).get("machine", {})
    listed = "; ".join(
        f"{name}: " + ", ".join(f"{package} {number}" for package, number in found.items())
        for name, found in results.get("versions", {}).items()
        if "error" not in found
    )
    return (
        f"{about.get('cpu')}, {about.get('memory_gb')} GB, {about.get('system')}, "
        f"Python {about.get('python')}, SQLite {about.get('sqlite')}; {about.get('when')}, "
        f"a {about.get('size')} run.\n\nWhat was installed: {listed}."
    )


def _schedules(results: Results) -> str:
    found = results.get("schedules", {}).get("all")
    if found is None:
        return "(not measured)"
    if found["error"]:
        return f"(not measured: {_cell(found['error'])})"
    tables: str = found["tables"]
    return tables.partition("\n### What is asked")[0].strip()  # that stands with the other bars


def _plot(results: Results, plot: Any, folder: Path) -> str:
    found = results.get("plots", {}).get(plot.key)
    if found is None:
        return "(not measured)"
    lines = {
        curve: {float(x): statistics.median(samples) for x, samples in result["points"].items()}
        for curve, result in found.items()
    }
    file = folder / f"{plot.key}.svg"
    file.write_text(chart(plot.title, plot.x, plot.y, lines))
    failed = [
        f"{name}: {_cell(result['error'])}" for name, result in found.items() if result["error"]
    ]
    return "\n".join(
        [f"![{plot.title}](benchmarks/{file.name})", *([""] if failed else []), *failed]
    )


HOUR, DAY = 3_600, 86_400
INTERVALS = {"every minute": 60, "every hour": HOUR, "every day": DAY}
NUMBERS = (10_000, 100_000, 1_000_000, 10_000_000)
# What is left for handlers, for catching up, and for a machine that does something else, too.
HEADROOM = 0.5


def _sizing(results: Results) -> str:
    """Which storage carries so many tasks, with half of the measured rate to spare."""
    groups = results.get("groups", {})
    rates = {
        "SQLite": _rate(groups, "burst-sqlite", "cronkit, FULL (the default)"),
        "PostgreSQL, one process": _rate(groups, "burst-postgres", "cronkit, one process"),
        "PostgreSQL, two": _rate(groups, "burst-postgres", "cronkit, two processes"),
    }
    task = _median(_samples(groups.get("idle", {}), "SQLite, 1,000,000", "bytes_per_task"))
    history = results.get("plots", {}).get("history", {}).get("SQLite", {}).get("more", {})
    run = _median([v[-1] for k, v in history.items() if k.startswith("bytes_per_run")])
    lines = [
        "| tasks | " + " | ".join(INTERVALS) + " | their rows |",
        "| ---: |" + " --- |" * len(INTERVALS) + " ---: |",
    ]
    for number in NUMBERS:
        cells = []
        for seconds in INTERVALS.values():
            needed = number / seconds
            able = [name for name, rate in rates.items() if rate * HEADROOM >= needed]
            cells.append(f"{spell(_round(needed))} runs/s: {able[0] if able else 'more machines'}")
        size = f"{task * number / 1e9:.2g} GB" if task else "—"
        lines.append(f"| {number:,} | " + " | ".join(cells) + f" | {size} |")
    measured = ", ".join(f"{name} {spell(_round(rate))}" for name, rate in rates.items() if rate)
    said = f"Half of the measured runs a second is counted on: {measured or 'none was measured'}."
    if run:
        said += f" A run in the history takes {run:,.0f} bytes of SQLite, its indexes included."
    return "\n".join([*lines, "", said])


def _rate(groups: Results, group: str, contender: str) -> float:
    return _median(_samples(groups.get(group, {}), contender, "per_second"))


def _median(samples: Iterable[float]) -> float:
    found = list(samples)
    return statistics.median(found) if found else 0.0
