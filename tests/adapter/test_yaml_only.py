"""examples/yaml-only: a Datasette with no plugin but this one, started for real."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CONFIG = Path(__file__).parents[2] / "examples" / "yaml-only" / "datasette.yaml"
PATIENCE = 60.0


class Site:
    """A Datasette process, started as the comment in its configuration says."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / "server.log"
        command = [sys.executable, "-m", "datasette", "log.db", "--create"]
        command += ["--internal", "internal.db", "--config", str(CONFIG), "--port", str(port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            return json.loads(answer.read())

    def until(self, path: str, there: Any) -> Any:
        """What is at `path` once that is `there`."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                found = self.get(path)
            except OSError:  # not yet
                found = None
            if found is not None and there(found):
                return found
            time.sleep(0.05)
        raise AssertionError(f"nothing came at {path}:\n{self.log.read_text()}")

    def command(self, *words: str) -> str:
        """What `datasette cron` says of the internal database that this process uses."""
        command = [sys.executable, "-m", "datasette", "cron", *words, "--internal", "internal.db"]
        return subprocess.run(
            command, cwd=self.log.parent, capture_output=True, text=True, check=True
        ).stdout

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.stop()


@pytest.mark.slow
def test_scheduled_sql_runs(site: Site) -> None:
    path = "/-/api/cron/tasks/note-the-time/runs"
    runs = site.until(path, lambda found: len(found["runs"]) >= 2)["runs"]
    assert {run["error_message"] for run in runs} == {None}
    rows = site.get("/log/moments.json?_shape=array")
    assert len(rows) >= 2
    slots = sorted(row["at"] for row in rows)
    assert all(slot.endswith("+00:00") for slot in slots)
    tasks = {task["name"]: task for task in site.get("/-/api/cron/tasks")["tasks"]}
    assert set(tasks) == {"note-the-time", "count-minutes", "forget"}
    assert tasks["forget"]["retry_max"] == 3
    request = urllib.request.Request(f"{site.url}/-/api/cron/tasks/count-minutes/trigger", b"{}")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert json.loads(answer.read())["ok"] is True
    assert "a running Datasette starts it" in site.command("trigger", "forget")
    for name, table in (("count-minutes", "minutes"), ("forget", "moments")):
        ended = site.until(
            f"/-/api/cron/tasks/{name}/runs",
            lambda found: found["runs"] and found["runs"][0]["status"] != "running",
        )
        assert ended["runs"][0]["error_message"] is None
        assert site.get(f"/log/{table}.json?_shape=array")
    site.stop()
    assert "Traceback" not in site.log.read_text()
