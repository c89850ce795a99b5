"""A Datasette server in a process of its own, for real HTTP requests."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from datasette.app import Datasette
from datasette.tokens import TokenRestrictions

SECRET = "not-a-secret"
CONFIG: dict[str, Any] = {
    "permissions": {
        "datasette-cron-access": {"id": ["ada", "bob"]},
        "datasette-cron-edit": {"id": "ada"},
    },
    "plugins": {"datasette-cron": {"grace": 0}},
}
PLUGIN = '''
import asyncio
import datasette.handle_exception
from datasette import Forbidden, hookimpl
from datasette_cron.requirements import demands

# No tracebacks with all locals for error pages: they take up to a second.
datasette.handle_exception.rich = None


async def ok(datasette, config):
    """Does nothing."""


async def fail(datasette, config):
    raise ValueError("out of paper")


async def hang(datasette, config):
    await asyncio.Event().wait()


def validate(datasette, config):
    if "shape" not in config:
        raise ValueError("a shape is needed")


def requires(datasette, actor, config):
    if config.get("shape") == "forbidden":
        raise Forbidden("not that shape")


@demands(validate=validate, requires=requires)
async def picky(datasette, config):
    pass


@hookimpl
def cron_register_handlers(datasette):
    return {"ok": ok, "fail": fail, "hang": hang, "picky": picky}
'''


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Server:
    """A server on the internal database in `folder`, for as long as the context lasts."""

    def __init__(self, folder: Path, config: dict[str, Any] = CONFIG) -> None:
        (folder / "plugins").mkdir(exist_ok=True)
        (folder / "plugins" / "live.py").write_text(PLUGIN)
        (folder / "datasette.json").write_text(json.dumps(config))
        self._folder = folder
        self.internal = folder / "internal.db"

    def __enter__(self) -> Self:
        folder = self._folder
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "datasette", "--internal", str(self.internal)),
                *("--plugins-dir", str(folder / "plugins"), "--config", "datasette.json"),
                *("--secret", SECRET, "--port", "0"),
            ],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.said: list[str] = []
        self._address: str | None = None
        self._ready = threading.Event()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        self._ready.wait()
        if self._address is None:
            self.process.wait()
            raise AssertionError(f"the server did not start: {''.join(self.said)}")
        self.address = self._address
        return self

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.said.append(line)
                if found := re.search(r"running on (http://[\w.:]+)", line):
                    self._address = found[1]
                    self._ready.set()
        self._ready.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        self._listener.join()

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """What is answered; `body` is sent as JSON, or as it is where it is bytes."""
        sent = {"content-type": "application/json", **(headers or {})}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.address + path, data, {k: v for k, v in sent.items() if v}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response.status, _lower(response.headers), response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), error.read().decode())


def make_token(actor: str, *only: str) -> str:
    """A token of `actor` for the server, which may do nothing but `only` where that is given."""
    restrictions = None
    for action in only:
        restrictions = (restrictions or TokenRestrictions()).allow_all(action)
    datasette = Datasette(secret=SECRET)
    return asyncio.run(_make_token(datasette, actor, restrictions))


async def _make_token(datasette: Datasette, actor: str, restrictions: Any) -> str:
    await datasette.invoke_startup()
    token: str = await datasette.create_token(actor, restrictions=restrictions)
    await datasette.invoke_shutdown()
    return token


def _lower(headers: Any) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items()}
