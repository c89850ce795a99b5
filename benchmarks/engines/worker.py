"""How a contender is asked: `python <file> <what> '<options as JSON>'`. It prints one line of JSON,
its figures, last. Needs nothing but the standard library, so it runs in every environment."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

Figures = dict[str, Any]
"""A number, or a list of samples, by the figure's name."""
Scenario = Callable[..., Coroutine[Any, Any, Figures]]


def main(*scenarios: Scenario) -> None:
    """Run the scenario that the command line names, and print what it answers."""
    by_name = {scenario.__name__: scenario for scenario in scenarios}
    figures = asyncio.run(by_name[sys.argv[1]](**json.loads(sys.argv[2])))
    print(json.dumps(figures), flush=True)


def percentile(values: list[float], percent: float) -> float:
    return sorted(values)[min(int(len(values) * percent / 100), len(values) - 1)]


def resident_mb() -> float:
    """The memory that this process has resident now, in MB."""
    gc.collect()
    with open("/proc/self/status") as status:
        found = [line for line in status if line.startswith("VmRSS")]
    return int(found[0].split()[1]) / 1024


async def cpu_share(seconds: float) -> float:
    """How much of one core this process uses while it does nothing, in percent."""
    began, used = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    return (time.process_time() - used) / (time.perf_counter() - began) * 100


class Counter:
    """A handler's tally: `done` is set when it was called `wanted` times."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.count = 0
        self.done = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        if self.count == self.wanted:
            self.done.set()
