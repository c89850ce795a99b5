"""datasette-alerts and datasette-libfec, as they are published, on the wheels of this project.

    uv run tests/clients/run_clients.py

Builds both wheels, installs them with the clients in a throwaway environment, starts a Datasette
whose database an alert watches, and looks on as rows arrive at the alert's destination. Needs the
package index. Says what it installed and what it saw; the exit code is 0 when all was as it should.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
CLIENTS = ("datasette-alerts", "datasette-libfec")
SHOWN = ("cronkit-core", "datasette", "datasette-cron", *CLIENTS)

NOTIFIER = '''
from datasette import hookimpl
from datasette_alerts import Notifier


class Inbox(Notifier):
    """Delivers a message as a row of the database `inbox`."""

    slug = "inbox"
    name = "Inbox"

    async def send(self, config, message):
        await self.datasette.get_database("inbox").execute_write(
            "INSERT INTO messages (box, text) VALUES (?, ?)", [config["box"], message.text]
        )


@hookimpl
def datasette_alerts_register_notifiers(datasette):
    inbox = Inbox()
    inbox.datasette = datasette
    return [inbox]
'''
CONFIG = {
    "permissions": {
        "datasette-cron-access": True,
        "datasette-alerts-access": True,
        "datasette_libfec_access": True,
        "datasette_libfec_write": True,
    }
}


class Failed(Exception):
    """Something was not as it should be."""


class Site:
    """A Datasette in `folder`, in a process of its own."""

    def __init__(self, python: str, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.command = [python, "-m", "datasette", "serve", "data.db", "inbox.db"]
        self.command += ["--internal", "internal.db", "--plugins-dir", "plugins"]
        self.command += ["--config", "datasette.json", "--port", str(self.port)]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Site:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log)
        wait_for("the server", lambda: self.answers() or None)
        return self

    def answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise Failed("the server ended")
        try:
            return self.status("/-/versions.json") == 200
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)

    def status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as response:
            return json.load(response)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def add_event(self, what: str) -> None:
        with sqlite3.connect(self.folder / "data.db") as db:
            db.execute(
                "INSERT INTO events VALUES (NULL, ?, ?)", (what, datetime.now(UTC).isoformat())
            )
        db.close()

    def messages(self) -> list[str]:
        db = sqlite3.connect(self.folder / "inbox.db")
        try:
            return [text for (text,) in db.execute("SELECT text FROM messages ORDER BY id")]
        finally:
            db.close()

    def log_has_errors(self) -> list[str]:
        lines = (self.folder / "server.log").read_text().splitlines()
        return [line for line in lines if "Traceback" in line or "Failed to register" in line]


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        python = install(folder)
        site = make_site(python, folder / "site")
        try:
            with site:
                alert_id = alerts_deliver(site)
                libfec_is_at_home(site)
            with site:
                alerts_survive_a_restart(site, alert_id)
            check("no traceback in the server's log", not site.log_has_errors())
        except (Failed, urllib.error.HTTPError) as error:
            print((site.folder / "server.log").read_text()[-8000:], file=sys.stderr)
            sys.exit(f"FAILED: {error}")
    print("all as it should be")


def install(folder: Path) -> str:
    for package in ("cronkit-core", "datasette-cron"):
        run("uv", "build", "--quiet", "--wheel", "--package", package, "--out-dir", folder / "dist")
    run("uv", "venv", "--quiet", folder / "venv")
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    wheels = sorted((folder / "dist").glob("*.whl"))
    run("uv", "pip", "install", "--quiet", "--python", python, *wheels, *CLIENTS)
    listed = run("uv", "pip", "list", "--format", "json", "--python", python)
    for package in json.loads(listed):
        if package["name"] in SHOWN:
            print(f"installed {package['name']} {package['version']}")
    return str(python)


def run(*command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def make_site(python: str, folder: Path) -> Site:
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins" / "inbox_notifier.py").write_text(NOTIFIER)
    (folder / "datasette.json").write_text(json.dumps(CONFIG))
    for name, schema in (
        ("data.db", "CREATE TABLE events (id INTEGER PRIMARY KEY, what TEXT, created_at TEXT)"),
        ("inbox.db", "CREATE TABLE messages (id INTEGER PRIMARY KEY, box TEXT, text TEXT)"),
    ):
        with sqlite3.connect(folder / name) as db:
            db.execute(schema)
        db.close()
    return Site(python, folder)


def alerts_deliver(site: Site) -> str:
    """An alert checks its cursor each second, and what it finds arrives."""
    site.add_event("before the alert")
    destination = site.post(
        "/-/data/datasette-alerts/api/destinations/new",
        {"notifier": "inbox", "label": "Inbox", "config": {"box": "mine"}},
    )["data"]["destination_id"]
    alert_id: str = site.post(
        "/-/data/datasette-alerts/api/new",
        {
            "database_name": "data",
            "table_name": "events",
            "id_columns": ["id"],
            "timestamp_column": "created_at",
            "frequency": "+1 second",
            "subscriptions": [{"destination_id": destination, "meta": {}}],
        },
    )["data"]["alert_id"]
    task = site.get(task_path(alert_id))
    check("the alert is a task with the interval 1 s", '"interval":1}' in task["schedule_config"])
    runs = wait_for(
        "three checks of the cursor", lambda: (r := successes(site, alert_id))[2:] and r
    )
    starts = sorted(datetime.fromisoformat(r["started_at"]) for r in runs)[:3]
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(starts)]
    check(f"the checks are a second apart: {gaps}", all(0.5 < gap < 1.5 for gap in gaps))
    check("nothing was delivered for the row before the alert", site.messages() == [])
    site.add_event("after it")
    messages = wait_for("the row at the destination", site.messages)
    check(f"the destination got {messages}", messages == ["1 new rows in events"])
    page = site.status(f"/-/data/datasette-alerts/alerts/{alert_id}")
    check("the alert's page answers", page == 200)
    check("our page of its task does", site.status(f"/-/cron/alerts:cursor:{alert_id}") == 200)
    return alert_id


def alerts_survive_a_restart(site: Site, alert_id: str) -> None:
    """After a restart the alert goes on, and when it is deleted its task goes."""
    before = len(successes(site, alert_id))
    check(f"the history is still there: {before} runs", before >= 3)
    site.add_event("after the restart")
    wait_for("the second row at the destination", lambda: site.messages()[1:] or None)
    site.post(f"/-/data/datasette-alerts/api/alerts/{alert_id}/delete", {})
    check("the deleted alert has no task", site.status(task_path(alert_id)) == 404)


def libfec_is_at_home(site: Site) -> None:
    """libfec's task is there, and disabled; its pages answer."""
    task = site.get("/-/api/cron/tasks/libfec:rss-sync")
    check("libfec:rss-sync is there, and disabled", task["enabled"] is False)
    for path in ("/data/-/libfec", "/data/-/libfec/rss", "/data/-/libfec/alerts"):
        check(f"{path} answers", site.status(path) == 200)
    status = site.get("/data/-/api/libfec/rss/status")
    check("libfec sees its task", status["enabled"] is False)
    site.post("/data/-/api/libfec/rss/config/update", {"interval_seconds": 120})
    check("it has not run", site.get("/-/api/cron/tasks/libfec:rss-sync/runs") == {"runs": []})


def task_path(alert_id: str) -> str:
    return "/-/api/cron/tasks/" + urllib.parse.quote(f"alerts:cursor:{alert_id}")


def successes(site: Site, alert_id: str) -> list[dict[str, Any]]:
    runs = site.get(task_path(alert_id) + "/runs")["runs"]
    return [run for run in runs if run["status"] == "success"]


def wait_for(what: str, look: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            print(f"saw {what}")
            return found
        time.sleep(0.1)
    raise Failed(f"{what} did not come in {seconds:g} s")


def check(what: str, holds: bool) -> None:
    if not holds:
        raise Failed(what)
    print(f"saw that {what}")


if __name__ == "__main__":
    main()
