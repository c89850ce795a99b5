"""Real processes: servers that nobody asks, restarts, kills, and several on one database."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from processes import SHARED_INTERVAL

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SHARED_STEP = timedelta(seconds=SHARED_INTERVAL)

PLUGIN = """
import asyncio, os
from datasette import hookimpl


def say(*words):
    print(*words, flush=True)


async def tick(datasette, config):
    say("tick")


async def slow(datasette, config):
    say("slow began")
    await asyncio.sleep(0.5)


async def hang(datasette, config):
    say("hang began")
    await asyncio.Event().wait()


@hookimpl
def cron_register_handlers(datasette):
    return {"tick": tick, "slow": slow, "hang": hang}


@hookimpl
def startup(datasette):
    async def inner():
        scheduler = datasette._cron_scheduler
        for name, seconds in (("tick", 0.5), ("slow", 3600), ("hang", 3600)):
            await scheduler.add_task(name=name, handler=name, schedule={"interval": seconds})
        await scheduler.add_task(
            name="zoned",
            handler="tick",
            schedule="0 0 1 1 *",
            timezone="America/New_York",
        )

    return inner
"""


class Server:
    """A Datasette server in a process of its own, with the plugin above."""

    def __init__(self, folder: Path, command: list[str], **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, *command, "--port", str(self.port)],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._listen()

    def _listen(self, text: str | None = None, times: int = 1) -> bool:
        """Read what the process says until it has said `text` so often, or all of it."""
        assert self.process.stdout is not None
        while not self.process.stdout.closed and (line := self.process.stdout.readline()):
            self.said.append(line)
            times -= text is not None and text in line
            if times == 0:
                return True
        self.process.stdout.close()
        self.process.wait()
        return False

    def wait_for(self, text: str, times: int = 1) -> None:
        assert self._listen(text, times), f"ended without {text!r}:\n{''.join(self.said)}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as response:
            return json.load(response)

    def post(self, path: str, body: Any = None) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, json.dumps(body or {}).encode()) as response:
            return json.load(response)

    def stop(self) -> float:
        """Ask it to end; returns how many seconds that took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self._listen()
        return time.monotonic() - began


SERVE = ["-m", "datasette", "serve", "--memory", "--plugins-dir", "plugins"]
SERVE += ["-s", "permissions.datasette-cron-access", "true"]
SERVE += ["-s", "plugins.datasette-cron.grace", "1.5"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder, but for the plugin."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "live.py").write_text(PLUGIN)
    return tmp_path


def rows(internal: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(internal)) as db:
        return db.execute(sql).fetchall()


def outcomes(internal: Path) -> dict[str, Counter[str]]:
    """How the runs of each task ended, or did not."""
    found: dict[str, Counter[str]] = {}
    for name, status, reason in rows(
        internal, "SELECT task_name, status, reason FROM datasette_cron_runs"
    ):
        found.setdefault(name, Counter())[f"{status} {reason or ''}".strip()] += 1
    return found


@pytest.mark.slow
def test_a_server_from_start_to_restart(folder: Path) -> None:
    internal = folder / "internal.db"
    serve = [*SERVE, "--internal", "internal.db"]
    # Nobody asks for a page, and the host's zone is far from UTC.
    with Server(folder, serve, TZ="Asia/Tokyo") as server:
        server.wait_for("tick", times=3)
        # Now somebody does.
        task = server.get("/-/api/cron/tasks/zoned")
        assert task["next_run_at"].endswith("-01-01T05:00:00.000000+00:00")
        assert task["last_run_at"] is None
        assert server.get("/-/api/cron/tasks/tick/runs")["runs"][-1]["status"] == "success"
        for name in ("slow", "hang"):
            server.post(f"/-/api/cron/tasks/{name}/trigger")
            server.wait_for(f"{name} began")
        server.post("/-/api/cron/tasks/tick/enable", {"enabled": False})
        assert server.stop() < 10
    assert "Traceback" not in "".join(server.said)
    # What could end did, what could not was recorded, and nothing was left running.
    after = outcomes(internal)
    assert after.pop("slow") == {"success": 1}
    assert after.pop("hang") == {"error interrupted": 1}
    assert after.pop("tick").keys() == {"success"}
    assert not after

    tables = ("SELECT * FROM datasette_cron_tasks", "SELECT * FROM datasette_cron_runs")
    before = [rows(internal, table) for table in tables]
    # One request by hand runs nothing.
    got = subprocess.run(
        [sys.executable, *serve, "--get", "/-/api/cron/tasks"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(got.stdout)["tasks"]) == 4
    assert [rows(internal, table) for table in tables] == before

    with Server(folder, serve) as server:
        server.wait_for("Uvicorn running")
        assert [rows(internal, table) for table in tables] == before
        server.post("/-/api/cron/tasks/tick/enable", {"enabled": True})
        server.wait_for("tick")
        server.stop()


def test_without_internal_there_is_a_warning(folder: Path) -> None:
    got = subprocess.run(
        [sys.executable, *SERVE, "--get", "/-/api/cron/tasks"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "will not survive a restart" in got.stderr
    assert "--internal" in got.stderr


@pytest.mark.slow
def test_the_demo(tmp_path: Path) -> None:
    (tmp_path / "ballast").write_bytes(bytes(2_000_000))  # an empty disk would measure 0.000 GB
    with Server(tmp_path, [str(ROOT / "examples" / "demo" / "serve.py")]) as server:
        server.wait_for("/-/cron")
        server.wait_for("Uvicorn running")
        taken = subprocess.run(
            [sys.executable, str(ROOT / "examples/demo/serve.py"), "--port", str(server.port)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert taken.returncode == 1
        assert f"port {server.port} cannot be used" in taken.stderr
        assert "--port" in taken.stderr
        names = {task["name"] for task in server.get("/-/api/cron/tasks")["tasks"]}
        assert names == {"demo:measure", "demo:roll-up", "demo:delete-old", "demo:flaky"}
        server.post("/-/api/cron/tasks/demo:roll-up/trigger")
        server.post("/-/api/cron/tasks/demo:delete-old/trigger")
        measure = "/-/api/cron/tasks/demo:measure/runs"
        while len(server.get(measure)["runs"]) < 2:
            time.sleep(0.05)
        server.stop()
    measured = rows(tmp_path / "demo.db", "SELECT * FROM measurements")
    assert len(measured) >= 2
    assert all(disk > 0 for *_, disk in measured)
    assert {
        status
        for (status,) in rows(
            tmp_path / "demo-internal.db",
            "SELECT status FROM datasette_cron_runs WHERE task_name <> 'demo:flaky'",
        )
    } == {"success"}


def scene(*arguments: object) -> None:
    """Play a scene of processes.py; its exit code says how many of its processes failed."""
    done = subprocess.run(
        [sys.executable, str(HERE / "processes.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("before", ["nothing", "alpha.db", "alpha_odd.db"])
def test_eight_processes_start_at_once(internal: Path, before: str) -> None:
    tasks = runs = last = 0
    if before != "nothing":
        shutil.copy(HERE / "fixtures" / before, internal)
        [(tasks,)] = rows(internal, "SELECT count(*) FROM datasette_cron_tasks")
        [(runs, last)] = rows(internal, "SELECT count(*), max(id) FROM datasette_cron_runs")
    scene("start", internal, 8)
    assert rows(internal, "SELECT count(*) FROM datasette_cron_tasks") == [(tasks + 1,)]
    kept = f"SELECT count(*) FROM datasette_cron_runs WHERE id <= {last}"
    assert rows(internal, kept) == [(runs,)]
    assert rows(internal, "PRAGMA integrity_check") == [("ok",)]
    assert rows(internal, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.slow
def test_two_processes_share_the_slots(internal: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    scene("share", internal, log)
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len({process for *_, process in lines}) == 2
    ran = Counter((name, slot) for name, slot, *_ in lines)
    assert max(ran.values()) == 1, "a slot ran twice"
    # Each slot has one fate: it ran, or it is in a range that was skipped, for a reason.
    skips = rows(internal, "SELECT task_name, first_slot, last_slot FROM datasette_cron_skips")
    for name in {name for name, _ in ran}:
        slots = sorted(datetime.fromisoformat(slot) for task, slot in ran if task == name)
        skipped = {
            first + n * SHARED_STEP
            for task, *span in skips
            if task == name
            for first, last in [map(datetime.fromisoformat, span)]
            for n in range(round((last - first) / SHARED_STEP) + 1)
        }
        assert not skipped & set(slots)
        together = sorted({*slots, *(slot for slot in skipped if slots[0] < slot < slots[-1])})
        assert together == [slots[0] + n * SHARED_STEP for n in range(len(together))]
        assert together[-1] == slots[-1]


def test_what_a_killed_process_ran_is_retried(internal: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    scene("kill", internal, log)
    (first_slot, first), (second_slot, second) = [
        (slot, attempt)
        for _, slot, attempt, _ in (line.split() for line in log.read_text().splitlines())
    ]
    assert (first, second) == ("1", "2")
    assert first_slot == second_slot
    assert outcomes(internal) == {"t": {"error lost": 1, "success": 1}}
