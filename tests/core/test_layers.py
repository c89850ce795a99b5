"""Imports point down only, decisions are pure, and one file reads the clock."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cronkit_core

ROOT = Path(cronkit_core.__file__).parent

# From the bottom up: a module imports what stands above it in this list, and nothing else. The
# modules of a package may import each other.
LAYERS = """
    errors
    clock
    schedules
    retry
    tasks
    runs
    definition
    policy
    storage.base
    changes
    explain
    preview
    outcome
    planner
    storage
    events
    context
    threads
    executor
    handlers
    executions
    telemetry
    announcer
    recorder
    pruner
    engine
    task_operations
    run_operations
    scheduler
    testing
    cli_run
    cli
    __main__
""".split()
PACKAGES = {"schedules", "storage", "testing"}
PURE = [
    "retry",
    "tasks",
    "runs",
    "definition",
    "policy",
    "changes",
    "explain",
    "preview",
    "outcome",
]

FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def layer_of(name: str) -> str:
    if name in LAYERS:
        return name
    package = name.partition(".")[0]
    return package if package in PACKAGES else name


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it: "asyncio", ".runs" for one of ours."""
    package = [*path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level == 0:
                yield module
                continue
            base = package[: len(package) - (node.level - 1)]
            inside = ".".join([*base, *filter(None, [module])])
            if (ROOT / f"{inside.replace('.', '/')}.py").exists():
                yield f".{inside}"
                continue
            for alias in node.names:  # from . import policy
                found = ".".join(filter(None, [inside, alias.name]))
                is_module = (ROOT / f"{found.replace('.', '/')}.py").exists()
                yield f".{found}" if is_module else f".{inside}"


def test_every_module_has_its_layer() -> None:
    found = {layer_of(name_of(path)) for path in FILES}
    assert found == set(LAYERS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    mine = layer_of(name_of(path))
    below = set(LAYERS[: LAYERS.index(mine)])
    for module in imports(path):
        if not module.startswith("."):
            assert not module.startswith("cronkit_core"), "import by dots: the layer shows in them"
            continue
        layer = layer_of(module[1:])
        same = layer.partition(".")[0] == mine.partition(".")[0] and layer.split(".")[0] in PACKAGES
        assert layer in below or same, f"{mine} imports {module}, which is above it"


def test_the_bottom_of_a_package_does_not_import_its_top() -> None:
    for module in imports(ROOT / "storage/base.py"):
        assert not module.startswith(".storage")


IMPURE = {"asyncio", "threading", "time", "logging", "os", "sqlite3", "random", "socket", "pathlib"}
SCHEDULES = [path for path in FILES if name_of(path).startswith("schedules")]


@pytest.mark.parametrize("path", [*SCHEDULES, *(ROOT / f"{name}.py" for name in PURE)], ids=name_of)
def test_what_is_pure_imports_nothing_that_is_not(path: Path) -> None:
    found = {module.partition(".")[0] for module in imports(path) if not module.startswith(".")}
    assert not found & IMPURE
    assert ".clock" not in set(imports(path))


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
