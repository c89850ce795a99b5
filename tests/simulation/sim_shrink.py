"""Makes a scenario that fails smaller, as long as it fails in the same way."""

from __future__ import annotations

from collections.abc import Callable

from sim_scenario import Scenario

Fails = Callable[[Scenario], bool]


def shrink(scenario: Scenario, fails: Fails, *, runs: int = 200) -> Scenario:
    """The smallest scenario that was found with at most so many runs: with fewer nodes, and fewer
    steps. A task of which no step is left is gone with them."""
    budget = [runs]

    def still_fails(smaller: Scenario) -> bool:
        budget[0] -= 1
        return budget[0] >= 0 and fails(smaller)

    for nodes in range(1, scenario.nodes):
        if still_fails(fewer := scenario.with_nodes(nodes)):
            scenario = fewer
            break
    return scenario.only(_ddmin(scenario.kept, lambda kept: still_fails(scenario.only(kept))))


def _ddmin(items: tuple[int, ...], fails: Callable[[tuple[int, ...]], bool]) -> tuple[int, ...]:
    """Delta debugging (Zeller): leave out ever smaller parts, until no single one can be."""
    parts = 2
    while len(items) >= 2:
        size = max(len(items) // parts, 1)
        for i in range(0, len(items), size):
            rest = items[:i] + items[i + size :]
            if fails(rest):
                items, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(items))
    return items
