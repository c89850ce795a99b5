"""A Datasette that is asked for anything: no answer of 500 and more, and where the answer is an
error, not a byte in the tables has changed."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

import fuzz_words as words
from datasette import handle_exception, hookimpl
from datasette.app import Datasette
from datasette.plugins import pm
from fuzz_targets import REFUSED, SPEC_WORDS, TAKEN, TASKS, Target

TABLES = ("tasks", "runs", "skips", "audit")
MOST_TASKS = 20
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OURS = re.compile(r"/-/(?:api/)?cron(?:[/?]|$)")
ASCII = "".join(map(chr, range(128)))
JSON, FORM = b"application/json", b"application/x-www-form-urlencoded"
CONFIG = {
    "permissions": {"datasette-cron-access": True, "datasette-cron-edit": True},
    # Nothing is to run: whatever changes is what a request changed.
    "plugins": {"datasette-cron": {"scheduler": False}},
}


async def ok(datasette: Datasette, config: dict[str, Any]) -> None:
    """Does nothing."""


class Handlers:
    """A plugin with a handler."""

    @hookimpl
    def cron_register_handlers(self, datasette: Datasette) -> dict[str, Any]:
        return {"test:ok": ok}


class Site:
    """The Datasette, with its internal database in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        # Where there is rich, Datasette writes half a page, with colours, for each "not found".
        handle_exception.rich = None
        self._plugin = Handlers()
        pm.register(self._plugin)
        internal = folder / "internal.db"
        self.datasette = Datasette(memory=True, internal=str(internal), config=CONFIG)
        self._loop.run_until_complete(self.datasette.invoke_startup())
        self._app = self.datasette.app()
        self._reader = sqlite3.connect(internal)
        found = self._reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = [name for (name,) in found]
        self._tables = [name for name in names if name.startswith("datasette_cron_")]
        assert {f"datasette_cron_{table}" for table in TABLES} <= set(self._tables), names
        self._seen = self._now()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.close()
        self._loop.run_until_complete(self.datasette._cron_scheduler.stop(0))
        self.datasette.close()
        self._loop.close()
        pm.unregister(self._plugin)

    def feed(self, text: str) -> str:
        """Answer a request: a line with the method and the address, then the body. A body that
        begins with & is a form."""
        return self._loop.run_until_complete(self._feed(text))

    async def _feed(self, text: str) -> str:
        line, _, body = text.partition("\n")
        method, _, address = line.partition(" ")
        if method not in METHODS or not OURS.match(address):
            return REFUSED  # others are Datasette's to answer, or the server's
        kind = FORM if body.startswith("&") else JSON
        status, page = await self._ask(method, address, body.removeprefix("&"), kind)
        told = (text[:1_000], status, page[:1_000])
        assert status < 500, told
        reads = method in ("GET", "HEAD")
        before, self._seen = self._seen, self._now()
        assert self._seen == before or not (reads or status >= 400), told
        if status >= 400:
            return REFUSED
        if not reads:
            await self._check_all(told)
        return TAKEN

    async def _check_all(self, told: object) -> None:
        """What was stored is read again, and can be shown."""
        scheduler = self.datasette._cron_scheduler
        tasks = await scheduler.tasks()
        assert not [task.name for task in tasks if task.broken], told
        for address in ("/-/cron", "/-/api/cron/tasks"):
            status, page = await self._ask("GET", address, "", JSON)
            assert status == 200, (told, status, page[:1_000])
        if len(tasks) > MOST_TASKS:
            for task in tasks:
                await scheduler.remove_task(task.name)
            self._seen = self._now()

    async def _ask(self, method: str, address: str, body: str, kind: bytes) -> tuple[int, str]:
        """The answer to a request as an ASGI server passes it on. Addresses are ASCII: servers see
        to that."""
        quoted = quote(address, safe=ASCII, errors="replace").encode()
        raw, _, query = quoted.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw.decode()),
            "raw_path": raw,
            "query_string": query,
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"content-type", kind)],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
        }
        said: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body.encode(errors="replace")}

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        await self._app(scope, receive, send)
        page = b"".join(message.get("body", b"") for message in said)
        return said[0]["status"], page.decode()

    def _now(self) -> dict[str, list[Any]]:
        """What is in the tables."""
        return {
            name: self._reader.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall()
            for name in self._tables
        }


API = "/-/api/cron"
WORDS = words.vocabulary(words.WEB, SPEC_WORDS, words.OPTIONS, ("success", "Asia/Tokyo"))


@contextmanager
def site_target(folder: Path) -> Iterator[Target]:
    """The target `rest`, for as long as the context lasts."""
    task = '{"name":"t","handler":"test:ok","schedule":60}'
    requests = (
        f"POST {API}/tasks\n{task}",
        *(
            f"POST {API}/tasks\n" + wish.replace("{", f'{{"name":"{n}","handler":"test:ok",', 1)
            for n, wish in enumerate(TASKS)
        ),
        f'PATCH {API}/tasks/t\n{{"schedule":"@daily","enabled":false}}',
        f"POST {API}/tasks/t/update\n&schedule=90s&timezone=Asia/Tokyo",
        f'POST {API}/tasks/t/trigger\n{{"config":{{}},"force":true}}',
        f'POST {API}/tasks/t/enable\n{{"enabled":true}}',
        f'POST {API}/tasks/t/backfill\n{{"start":"2027-03-28T02:30","end":"2027-10-31T02:30:00Z"}}',
        f'POST {API}/preview\n{{"schedule":{{"at":"9999-12-31T23:59:59"}},"n":3}}',
        f"GET {API}/tasks/t/explain?at=2027-10-31T02:30:00Z",
        f"GET {API}/tasks/t/runs?_size=max&_next=1",
        f"GET {API}/tasks/t?_extra=details",
        f"GET {API}/runs?status=success&since=2027-10-31T02:30:00Z&until=9999-12-31T23:59:59",
        f"POST {API}/runs/1/cancel\n{{}}",
        f"DELETE {API}/tasks/t\n{{}}",
        "POST /-/cron/new\n&name=t&handler=test:ok&schedule=60",
        "POST /-/cron/t/edit\n&handler=test:ok&schedule=60",
        "GET /-/cron/t",
        "GET /-/cron/runs?task=t&status=success",
        "POST /-/cron/t/run\n&",
    )
    with Site(folder) as site:
        yield Target(WORDS, requests, site.feed)
