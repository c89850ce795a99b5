"""What is public is what `__init__` says, and what it costs to import it."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import cronkit_core
import cronkit_core.schedules
import cronkit_core.testing
from cronkit_core import errors, events


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", [cronkit_core, cronkit_core.schedules, cronkit_core.testing])
def test_all_is_exactly_what_resolves(module) -> None:
    assert len(module.__all__) == len(set(module.__all__))
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None, name
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        module.nonsense  # noqa: B018


def test_what_is_written_thrice_is_the_same() -> None:
    """The names for type checkers, the table of homes, and __all__."""
    tree = ast.parse(Path(cronkit_core.__file__).read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname or alias.name: node.module
        for node in ast.walk(checked)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = dict(cronkit_core._HOME)
    assert set(typed) == set(homes) == set(cronkit_core.__all__)
    assert typed == homes


def test_nothing_else_becomes_public_by_the_way() -> None:
    code = """
import cronkit_core
before = {name for name in vars(cronkit_core) if not name.startswith("_")}
print(*sorted(before - {"annotations", "import_module", "TYPE_CHECKING", "Any"}))
"""
    assert run(code).split() == []


@pytest.mark.parametrize("module", [errors, events])
def test_every_error_and_every_event_is_public(module) -> None:
    for name, value in vars(module).items():
        if inspect.isclass(value) and value.__module__ == module.__name__ and name != "Events":
            assert name in cronkit_core.__all__, name


def test_every_public_thing_says_what_it_is() -> None:
    for name in cronkit_core.__all__:
        assert inspect.getdoc(getattr(cronkit_core, name)), name


def test_importing_the_package_costs_next_to_nothing() -> None:
    loaded = run("import sys, cronkit_core; print(*sorted(sys.modules))").split()
    ours = [name for name in loaded if name.startswith("cronkit_core")]
    assert ours == ["cronkit_core"]
    assert not {"asyncio", "sqlite3", "aiosqlite", "zoneinfo", "json", "hypothesis"} & set(loaded)


@pytest.mark.parametrize(
    "spec",
    ['"*/5 * * * *"', '{"interval": 60}', '{"rrule": "FREQ=DAILY"}', '{"at": "2027-01-01T00:00Z"}'],
)
def test_schedule_math_needs_neither_event_loop_nor_database(spec: str) -> None:
    code = f"""
import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo
ZoneInfo("Europe/Berlin")  # it may come out of a package, whose reader loads what it likes
theirs = set(sys.modules)
from cronkit_core import parse_schedule, lint
schedule = parse_schedule({spec}, "Europe/Berlin")
now = datetime(2026, 6, 1, tzinfo=timezone.utc)
assert schedule.next_after(now) is not None
schedule.describe()
lint(schedule, after=now)
print(*{{"asyncio", "sqlite3", "aiosqlite", "psycopg", "threading", "croniter", "dateutil"}}
      & (set(sys.modules) - theirs))
"""
    assert run(code).split() == []


def test_a_kind_of_schedule_is_loaded_when_it_is_used() -> None:
    code = """
import sys
from cronkit_core import parse_schedule
parse_schedule({"interval": 60})
print(*[m for m in sys.modules if m.startswith("cronkit_core.schedules.")])
"""
    loaded = set(run(code).split())
    assert "cronkit_core.schedules.interval" in loaded
    assert not {f"cronkit_core.schedules.{kind}" for kind in ("cron", "rrule", "calendar")} & loaded


def test_a_backend_is_loaded_when_it_is_used() -> None:
    code = """
import sys
from cronkit_core import MemoryStorage, Scheduler
Scheduler()
print(*{"sqlite3", "aiosqlite", "psycopg"} & set(sys.modules))
"""
    assert run(code).split() == []


@pytest.mark.parametrize("missing", ["psycopg", "psycopg_pool"])
def test_all_names_come_without_the_extra_of_postgresql(missing: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
from cronkit_core import *
try:
    PostgresStorage("postgresql:///jobs")
except ImportError as error:
    print(error)
"""
    assert "install cronkit-core[postgres]" in run(code)
