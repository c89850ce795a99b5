"""Where contenders run: an environment for each, made for one run of the benchmarks and thrown away
with it, and a PostgreSQL server that all of them share, with its safety on."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENGINES = Path(__file__).resolve().parent / "engines"
CORE = f"{ROOT / 'packages' / 'cronkit-core'}[postgres]"
ADAPTER = str(ROOT / "packages" / "datasette-cron")

# Telemetry is on where its API is installed, as it is with Datasette, so the core runs without it.
PACKAGES = {
    "core": [CORE],
    "adapter": [CORE, ADAPTER],
    "datasette-cron 0.0.1a2": ["datasette-cron==0.0.1a2"],
    "APScheduler 3": ["apscheduler>=3.11,<4", "sqlalchemy"],
    # 4.0.0a6 uses sniffio without asking for it
    "APScheduler 4": [
        "apscheduler==4.0.0a6",
        "sqlalchemy[asyncio]",
        "aiosqlite",
        "asyncpg",
        "sniffio",
    ],
    "procrastinate": ["procrastinate"],
    "PgQueuer": ["pgqueuer[asyncpg]"],
}
SHOWN = ("cronkit-core", "datasette-cron", "datasette", "apscheduler", "procrastinate", "pgqueuer")
SHOWN += ("sqlalchemy", "aiosqlite", "asyncpg", "psycopg")


class Unavailable(Exception):
    """An environment, a server or a contender that does not work, and why."""


class Environments:
    """Makes each environment when it is first asked for, in `folder`; what was made there stays."""

    def __init__(self, folder: Path) -> None:
        self.used: set[str] = set()
        """Those that were asked for."""
        self._folder = folder
        self._failed: dict[str, str] = {}

    def python(self, name: str) -> Path:
        """The interpreter of the environment. Raises Unavailable."""
        self.used.add(name)
        if name in self._failed:
            raise Unavailable(self._failed[name])
        folder = self._folder / "".join(c if c.isalnum() else "-" for c in name)
        python = folder / "bin" / "python"
        ready = folder / "ready"
        if not ready.exists():
            print(f"making the environment of {name}", file=sys.stderr, flush=True)
            try:
                base = getattr(sys, "_base_executable", sys.executable)
                _run("uv", "venv", "--quiet", "--clear", "--python", base, str(folder))
                # Ours anew, whatever the cache has: their versions do not change with their files.
                fresh = ["--reinstall-package=cronkit-core", "--reinstall-package=datasette-cron"]
                _run(
                    *("uv", "pip", "install", "--quiet", "--python", str(python)),
                    *(fresh if name in ("core", "adapter") else ()),
                    *PACKAGES[name],
                )
            except (OSError, subprocess.SubprocessError) as error:
                self._failed[name] = f"cannot be installed: {last_line(error)}"
                raise Unavailable(self._failed[name]) from error
            ready.touch()
        return python

    def versions(self, name: str) -> dict[str, str]:
        """The versions of what matters in an environment."""
        code = "import importlib.metadata as m, json\nprint(json.dumps("
        code += "{d.name.lower(): d.version for d in m.distributions()}))"
        done = subprocess.run(
            [self.python(name), "-c", code], capture_output=True, text=True, check=True
        )
        found: dict[str, str] = json.loads(done.stdout)
        return {package: found[package] for package in SHOWN if package in found}


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)


def last_line(error: BaseException) -> str:
    """The end of what a failed command said."""
    said = getattr(error, "stderr", None) or str(error)
    said = said.decode(errors="replace") if isinstance(said, bytes) else said
    lines = [line for line in said.strip().splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else type(error).__name__


@contextmanager
def postgres() -> Iterator[Callable[[], dict[str, Any]]]:
    """Gives what starts a server when it is first called, and then says where it is; each call
    names another schema, and drops the one before. Raises Unavailable."""
    sys.path.insert(0, str(ROOT / "tests"))
    servers: list[Any] = []
    number = 0

    def where() -> dict[str, Any]:
        nonlocal number
        if not servers:
            try:
                servers.append(_start())
            except Exception as error:
                raise Unavailable(f"PostgreSQL does not start: {last_line(error)}") from error
        servers[0].execute(f"DROP SCHEMA IF EXISTS bench_{number} CASCADE")
        number += 1
        return {"dsn": servers[0].dsn, "schema": f"bench_{number}"}

    try:
        yield where
    finally:
        for server in servers:
            server.stop("immediate")
            server.remove()


def _start() -> Any:
    import postgres_fixture

    # The tests' server may lose everything in a crash; this one may not.
    postgres_fixture.OPTIONS.update(
        {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "256MB"}
    )
    server = postgres_fixture.Server(postgres_fixture.new_folder(f"bench-{os.getpid()}"))
    server.create()
    server.start()
    return server


def machine() -> dict[str, Any]:
    """What machine this is."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [ln.split(":")[1] for ln in info.read_text().splitlines() if "model name" in ln]
        cpu = f"{len(models)} x {models[0].strip()}" if models else cpu
    memory = Path("/proc/meminfo").read_text().split()[1] if info.exists() else "0"
    return {
        "cpu": cpu,
        "memory_gb": round(int(memory) / 1024 / 1024),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()}",
    }


@contextmanager
def kept_or_thrown_away(folder: Path | None) -> Iterator[Path]:
    """`folder`, which stays, or one that is deleted in the end."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="cronkit-bench-") as made:
            yield Path(made)
