"""All benchmarks in one run: cronkit beside its peers and the limits of the machine.

    uv run benchmarks/run.py                  # all, about 20 minutes; writes docs/benchmarks.md
    uv run benchmarks/run.py --quick          # small, two rounds; writes to a folder under /tmp
    uv run benchmarks/run.py --only lateness  # one part again; the others' results are kept
    uv run benchmarks/run.py --pages          # the page and the plots anew, nothing measured

In each round every contender takes its turn, in a fresh process, so that a busy machine slows all
of them alike. Whoever cannot be installed, or fails, is reported with the reason, and the others
go on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from environments import (
    ENGINES,
    PACKAGES,
    ROOT,
    Environments,
    Unavailable,
    kept_or_thrown_away,
    last_line,
    machine,
    postgres,
)
from measures import COUNT_OF_ROUNDS, GROUPS, Contender, Curve, Group, Size, growth
from page import write_page

DOCS = ROOT / "docs" / "benchmarks"
TIMEOUT = 900
Results = dict[str, Any]


class Runner:
    """Asks contenders, and keeps what they answer."""

    def __init__(
        self, environments: Environments, where: Callable[[], dict[str, Any]], size: Size
    ) -> None:
        self._environments = environments
        self._where = where
        self._size = size

    def ask(self, contender: Contender) -> dict[str, list[float]]:
        """One turn: the samples of each figure. Raises Unavailable."""
        options = contender.options_of(self._size)
        if contender.postgres:
            options |= self._where()
        command = [
            str(self._environments.python(contender.environment)),
            str(ENGINES / f"{contender.engine}.py"),
            contender.scenario,
            json.dumps(options),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT, check=True
            )
            figures = json.loads(done.stdout.splitlines()[-1])
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"did not end within {TIMEOUT} seconds") from error
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"failed: {last_line(error)}") from error
        except (ValueError, IndexError) as error:
            raise Unavailable(f"answered nonsense: {error}") from error
        return {k: v if isinstance(v, list) else [v] for k, v in figures.items()}

    def measure(self, group: Group) -> Results:
        """All rounds of a group."""
        results: Results = {c.name: {"figures": {}, "error": None} for c in group.contenders}
        rounds = group.rounds or COUNT_OF_ROUNDS[self._size]
        for number in range(1, rounds + 1):
            for contender in group.contenders:
                result = results[contender.name]
                if result["error"] is not None:
                    continue
                began = time.perf_counter()
                try:
                    for figure, samples in self.ask(contender).items():
                        result["figures"].setdefault(figure, []).extend(samples)
                    said = ", ".join(
                        f"{result['figures'][f][-1]:,.4g} {unit}"
                        for f, unit in group.columns.items()
                        if f in result["figures"]
                    )
                except Unavailable as error:
                    result["error"] = said = str(error)
                took = time.perf_counter() - began
                say(f"  {number}/{rounds} {contender.name}: {said} [{took:.0f} s]")
        return results

    def follow(self, curve: Curve) -> Results:
        """The samples of a curve, by the number on the x axis."""
        points: dict[str, list[float]] = {}
        more: dict[str, list[float]] = {}
        error = None
        try:
            if curve.sweep is not None:
                for name, samples in self.ask(curve.sweep).items():
                    figure, _, x = name.partition(" ")
                    if figure == curve.figure:
                        points[x] = samples
                        say(f"  {curve.name} {int(x):,}: {samples[-1]:,.4g}")
                    else:
                        more[name] = samples
            for x, contender in curve.points.items():
                points[str(x)] = self.ask(contender)[curve.figure]
                say(f"  {curve.name} {x:,}: {points[str(x)][-1]:,.4g}")
        except Unavailable as reason:
            error = str(reason)
            say(f"  {curve.name}: {error}")
        return {"points": points, "more": more, "error": error}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def schedules(size: Size) -> Results:
    """What benchmarks/schedules.py says: its tables as they are, and its figures."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "schedules.json")
        command = [sys.executable, str(Path(__file__).with_name("schedules.py"))]
        command += ["--json", str(file)]
        if size == "quick":
            command += ["--only", "next"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=2 * TIMEOUT, check=True
            )
            figures = json.loads(file.read_text())
        except subprocess.SubprocessError as error:
            return {"tables": None, "figures": None, "error": last_line(error)}
        except (OSError, ValueError) as error:
            return {"tables": None, "figures": None, "error": f"no figures: {error}"}
    return {"tables": done.stdout, "figures": figures, "error": None}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    keys = [group.key for group in GROUPS]
    plots = [plot.key for plot in growth("full")]
    parser.add_argument("--quick", action="store_true", help="small sizes, two rounds")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*keys, *(f"growth-{key}" for key in plots), "schedules"],
        help="only these parts",
    )
    parser.add_argument("--json", type=Path, help="where the results are kept")
    parser.add_argument("--environments", type=Path, help="keep the environments here")
    parser.add_argument("--pages", action="store_true", help="measure nothing")
    options = parser.parse_args()

    size: Size = "quick" if options.quick else "full"
    folder = Path(tempfile.gettempdir(), "cronkit-benchmarks") if options.quick else DOCS
    folder.mkdir(parents=True, exist_ok=True)
    file: Path = options.json or folder / "results.json"
    results: Results = json.loads(file.read_text()) if file.exists() else {}

    def wanted(key: str) -> bool:
        return not options.pages and (options.only is None or key in options.only)

    def keep(part: str, key: str, found: Results) -> None:
        # After each part, so that nothing is lost when a later one ends the run.
        results.setdefault(part, {})[key] = found
        file.write_text(json.dumps(results, indent=1) + "\n")

    began = time.perf_counter()
    with kept_or_thrown_away(options.environments) as made, postgres() as where:
        environments = Environments(made)
        runner = Runner(environments, where, size)
        if not options.pages:
            about = {**machine(), "size": size, "when": datetime.now(UTC).date().isoformat()}
            keep("about", "machine", about)
        for group in GROUPS:
            if wanted(group.key):
                say(f"{group.title} [{elapsed(began)}]")
                keep("groups", group.key, runner.measure(group))
        for plot in growth(size):
            if wanted(f"growth-{plot.key}"):
                say(f"{plot.title} [{elapsed(began)}]")
                keep("plots", plot.key, {c.name: runner.follow(c) for c in plot.curves})
        if wanted("schedules"):
            say(f"schedules [{elapsed(began)}]")
            keep("schedules", "all", schedules(size))
        if not options.pages:
            for name in [name for name in PACKAGES if name in environments.used]:
                try:
                    keep("versions", name, environments.versions(name))
                except (Unavailable, subprocess.SubprocessError) as error:
                    keep("versions", name, {"error": str(error)})

    page = write_page(results, size, folder, DOCS.with_suffix(".md"))
    say(f"{page} is written [{elapsed(began)}]")
    return 0


def elapsed(began: float) -> str:
    minutes, seconds = divmod(time.perf_counter() - began, 60)
    return f"{minutes:.0f}:{seconds:02.0f}"


if __name__ == "__main__":
    sys.exit(main())
