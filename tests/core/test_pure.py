"""Decisions are pure by way of all that they import, and one file alone reads the clock. (That
imports point down, tests/test_layers.py holds.)"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cronkit_core

ROOT = Path(cronkit_core.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("name", ["policy", "retry", "planner", "changes", "explain"])
def test_a_decision_loads_no_event_loop(name: str) -> None:
    """Not even by way of what it imports."""
    code = (
        f"import sys, cronkit_core.{name}\n"
        "loaded = {'asyncio', 'sqlite3', 'aiosqlite', 'cronkit_core.clock'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


CLOCKS = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "monotonic"),
    ("time", "monotonic_ns"),
    ("time", "perf_counter"),
    ("time", "sleep"),
    ("asyncio", "sleep"),
    ("asyncio", "wait_for"),
    ("asyncio", "timeout"),
    ("loop", "time"),
    ("loop", "call_later"),
    ("loop", "call_at"),
}
# The virtual clock gives others their turn; a turn is no time.
MAY_SLEEP = {"clock", "testing.virtual"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_clock_reads_time(path: Path) -> None:
    if name_of(path) in MAY_SLEEP:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in CLOCKS, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                assert (node.module, alias.name) not in CLOCKS, f"line {node.lineno}"


def test_a_module_has_one_subject() -> None:
    """Five hundred lines are the ceiling."""
    long = {name_of(path): n for path in FILES if (n := len(path.read_text().splitlines())) > 500}
    assert not long
