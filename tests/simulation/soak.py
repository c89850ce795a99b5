"""Simulated histories, many or one.

soak.py --seeds 50000                 look for a seed that breaks a promise
soak.py --seed 17 --trace             replay one, and tell what happens
soak.py --seed 17 --shrink            find the least of it that still fails
soak.py --backend both --seeds 1000   the same on SQLite: is it the same story, line by line?
soak.py --digest --seeds 100          a hash of each story: it is the same everywhere
soak.py --planted 200                 after how many seeds each planted bug is found
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from math import inf

from planted import PLANTED
from sim_scenario import Scenario, draw
from sim_shrink import shrink
from sim_world import Story, simulate

YEAR = 365.25 * 86400
CHUNK = 50
# So many of the seeds that failed are made small.
MOST_TOLD = 3


@dataclass
class Sum:
    """What some stories come to."""

    seeds: int = 0
    seconds: float = 0.0
    slots: int = 0
    runs: int = 0
    commits: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, str]] = field(default_factory=list)

    def add(self, story: Story) -> None:
        self.seeds += 1
        self.seconds += story.seconds
        self.slots += story.slots
        self.runs += story.runs
        self.faults += story.faults
        self.commits += story.commits
        if story.violation is not None:
            self.failed.append((story.scenario.seed, str(story.violation)))

    def join(self, other: Sum) -> None:
        for name in ("seeds", "seconds", "slots", "runs", "commits", "faults", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def __str__(self) -> str:
        return (
            f"{self.seeds:,} seeds, {self.seconds / YEAR:,.1f} simulated years, "
            f"{self.slots:,} slots, {self.runs:,} runs, {self.commits:,} transactions, "
            f"{', '.join(f'{self.faults[what]:,} {what}' for what in sorted(self.faults))}; "
            f"failed: {len(self.failed)}"
        )


def replay_command(scenario: Scenario, backend: str = "memory") -> str:
    """What to type to see that scenario again."""
    kept = ",".join(map(str, scenario.kept))
    whole = draw(scenario.seed, scale=scenario.scale)
    options = f"--seed {scenario.seed}"
    if scenario.scale != 1.0:
        options += f" --scale {scenario.scale:g}"
    if scenario.nodes != whole.nodes:
        options += f" --nodes {scenario.nodes}"
    if scenario.kept != whole.kept:
        options += f" --keep {kept}"
    if backend != "memory":
        options += f" --backend {backend}"
    return f"uv run tests/simulation/soak.py {options} --trace"


def shrunk(story: Story, backend: str = "memory", *, runs: int = 200) -> Story:
    """The smallest story that breaks the same promise."""
    assert story.violation is not None
    code = story.violation.code

    def fails(scenario: Scenario) -> bool:
        violation = simulate(scenario, backend).violation
        return violation is not None and violation.code == code

    return simulate(shrink(story.scenario, fails, runs=runs), backend, trace=True)


def told(story: Story, backend: str = "memory") -> str:
    """All that one needs to know of a story that failed."""
    tail = "\n".join(story.lines[-40:])
    return (
        f"{story.scenario}\n{tail}\n\n{story.violation}\n\n"
        f"again: {replay_command(story.scenario, backend)}"
    )


def some(seeds: Iterable[int], backend: str, scale: float) -> Sum:
    found = Sum()
    for seed in seeds:
        found.add(simulate(draw(seed, scale=scale), backend))
    return found


def soak(first: int, seeds: int, minutes: float, jobs: int, backend: str, scale: float) -> Sum:
    """Run so many seeds, in so many processes, or as many as are done in so many minutes."""
    total, began = Sum(), time.monotonic()
    last = first + seeds
    chunks = (range(i, min(i + CHUNK, last)) for i in range(first, last, CHUNK))
    with ProcessPoolExecutor(jobs) as pool:
        waiting = {pool.submit(some, c, backend, scale) for c in islice(chunks, 2 * jobs)}
        while waiting:
            done = next(iter(waiting))
            waiting.remove(done)
            result = done.result()
            if time.monotonic() < began + minutes * 60:
                waiting |= {pool.submit(some, c, backend, scale) for c in islice(chunks, 1)}
            total.join(result)
            for seed, violation in result.failed:
                print(f"seed {seed}: {violation[:600]}", flush=True)
            if total.seeds % 5_000 == 0:
                print(f"so far {total}", flush=True)
    print(f"{total}; {total.seeds / (time.monotonic() - began):.1f} seeds/s")
    return total


def find_planted(most: int) -> Iterator[tuple[str, int | None, str]]:
    """For each planted bug: how many seeds it took, and what promise was found broken."""
    for what, plant in PLANTED.items():
        for seed in range(most):
            with plant():
                violation = simulate(draw(seed)).violation
            if violation is not None:
                yield what, seed + 1, violation.code
                break
        else:
            yield what, None, ""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0, help="the first of these seeds")
    parser.add_argument("--minutes", type=float, default=inf, help="start no more after so long")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--scale", type=float, default=1.0, help="how long histories are")
    parser.add_argument("--backend", choices=("memory", "sqlite", "both"), default="memory")
    parser.add_argument("--seed", type=int, help="just this one")
    parser.add_argument("--keep", help="of its steps, those with these numbers: 0,3,5")
    parser.add_argument("--nodes", type=int, help="of its nodes, only so many")
    parser.add_argument("--trace", action="store_true", help="tell what happens")
    parser.add_argument("--shrink", action="store_true", help="leave out what does not matter")
    parser.add_argument("--digest", action="store_true", help="a hash of each seed's story")
    parser.add_argument("--planted", type=int, metavar="N", help="find each planted bug in N seeds")
    options = parser.parse_args()
    if options.planted is not None:
        print("| planted bug | seeds | found as |\n| --- | --- | --- |")
        for what, seeds, code in find_planted(options.planted):
            print(f"| {what} | {seeds or 'not found'} | {code} |", flush=True)
        return 0
    if options.digest:
        for seed in range(options.first, options.first + options.seeds):
            story = simulate(draw(seed, scale=options.scale), options.backend, trace=True)
            print(seed, story.digest, flush=True)
        return 0
    if options.seed is None:
        total = soak(
            options.first,
            options.seeds,
            options.minutes,
            options.jobs,
            options.backend,
            options.scale,
        )
        for seed, _ in sorted(total.failed)[:MOST_TOLD]:
            story = simulate(draw(seed, scale=options.scale), options.backend)
            print(f"\n{told(shrunk(story, options.backend), options.backend)}")
        return 1 if total.failed else 0
    scenario = draw(options.seed, scale=options.scale)
    if options.nodes is not None:
        scenario = scenario.with_nodes(options.nodes)
    if options.keep is not None:
        scenario = scenario.only(tuple(int(i) for i in options.keep.split(",")))
    story = simulate(scenario, options.backend, trace=options.trace)
    if options.shrink and story.violation is not None:
        story = shrunk(story, options.backend)
        print(told(story, options.backend))
    elif options.trace:
        print(story.scenario, "\n".join(story.lines), sep="\n")
    print(story.violation or "nothing is wrong")
    return 1 if story.violation else 0


if __name__ == "__main__":
    sys.exit(main())
