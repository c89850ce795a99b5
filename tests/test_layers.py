"""Imports point down only, and what is pure stays pure."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "packages/cronkit-core/src/cronkit_core"

# From the bottom up. What stands in one line may import from its own line and from those above it.
LAYERS = (
    ("errors", "clock", "values"),
    ("schedules",),
    ("retry", "runs"),
    ("tasks", "outcome"),
    ("definition", "policy"),
    ("explain", "preview"),
    ("storage",),
    ("changes",),
    ("threads", "context"),
    ("executor", "events"),
    ("planner", "handlers"),
    ("executions", "recorder", "pruner"),
    ("telemetry",),
    ("announcer",),
    ("engine",),
    ("task_operations",),
    ("run_operations",),
    ("scheduler",),
    ("cli_common",),
    ("cli_run",),
    ("cli_look",),
    ("cli",),
    ("__main__", "__init__", "testing"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

PURE = ("schedules", "retry", "runs", "tasks", "definition", "policy", "explain", "changes")
IMPURE = {"asyncio", "time", "threading", "sqlite3", "socket", "random", "aiosqlite", "psycopg"}


def modules() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """The modules that `path` imports when it runs, as parts of their full names."""
    package = path.relative_to(CORE.parent).with_suffix("").parts[:-1]
    for node in _running(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module or "").split(".")) if node.module else base
            for alias in node.names:
                yield (*module, alias.name)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _running(child)


def room(parts: tuple[str, ...]) -> str | None:
    """The first name below the package: a module of it, or a folder."""
    if parts[0] != "cronkit_core" or len(parts) < 2:
        return None
    return parts[1].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(CORE)))
def test_imports_point_down(path):
    own = room(("cronkit_core", *path.relative_to(CORE).parts))
    assert own in LEVEL, f"{own} has no place among the layers"
    for imported in imports(path):
        other = room(imported)
        if other in LEVEL and other != own:
            assert LEVEL[other] <= LEVEL[own], f"{path.name} imports {'.'.join(imported)}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(CORE)))
def test_what_is_pure_imports_nothing_that_is_not(path):
    own = room(("cronkit_core", *path.relative_to(CORE).parts))
    if own in PURE:
        assert not IMPURE & {imported[0] for imported in imports(path)}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(CORE)))
def test_only_the_clock_reads_the_clock(path):
    if path.name == "clock.py":
        return
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    assert not calls & {"datetime.now", "datetime.utcnow", "time.time", "time.monotonic"}


def test_the_core_knows_nothing_of_datasette():
    for path in modules():
        assert not [i for i in imports(path) if i[0].startswith("datasette")], path


@pytest.mark.parametrize(
    "code",
    [
        "import cronkit_core",
        "from cronkit_core import parse_schedule; parse_schedule('0 8 * * *', 'Europe/Berlin')",
    ],
)
def test_schedule_math_loads_no_scheduler(code):
    heavy = "{'asyncio', 'sqlite3', 'logging', 'cronkit_core.schedules.rrule'}"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(sorted({heavy} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"


def test_every_public_name_resolves():
    import cronkit_core

    assert sorted(cronkit_core.__all__) == cronkit_core.__all__
    for name in cronkit_core.__all__:
        assert getattr(cronkit_core, name) is not None
    assert set(cronkit_core.__all__) <= set(dir(cronkit_core))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = cronkit_core.nothing
