"""A real browser, against a Datasette in a process of its own with real tasks: one of each for all
tests that a worker runs. Every test has a window of its own, and ends with a look at what its pages
asked for, said on the console, and broke of the rules for their content."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from browser_site import PLUGIN, TASKS, TROUBLE
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from requires import need

sys.path.insert(0, str(Path(__file__).parents[1] / "adapter"))

from live import Server

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE = 15_000
"""Milliseconds that something may take to appear."""

LOOK_EVERY = 5_000
"""Milliseconds after which a page looks for what has changed."""

expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        is_ours = Path(item.path).parent == Path(__file__).parent
        if is_ours and inspect.iscoroutinefunction(getattr(item, "function", None)):
            # The browser lives in the event loop that it was started in.
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that everybody may use, with some tasks."""
    need("browser", CHROMIUM.exists())
    folder = tmp_path_factory.mktemp("site")
    config = {
        "permissions": {"datasette-cron-access": True, "datasette-cron-edit": True},
        "plugins": {"datasette-cron": {"grace": 0}},
    }
    server = Server(folder, config)
    (folder / "plugins" / "shop.py").write_text(PLUGIN)
    with server:
        for task in (*TASKS, *({**TASKS[0], "name": name} for name in TROUBLE)):
            answer = server.ask("POST", "/-/api/cron/tasks", task)
            assert answer.status == 201, answer.text
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    need("browser", CHROMIUM.exists())
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=list(ARGUMENTS)
        )
        yield chromium
        await chromium.close()


@dataclass
class Window:
    """A window of the browser on the site, and what went wrong in it."""

    page: Page
    site: Server
    wrong: list[str] = field(default_factory=list)

    async def go(self, path: str, status: int = 200) -> Page:
        answer = await self.page.goto(self.site.address + path)
        assert answer is not None
        assert answer.status == status, path
        return self.page

    def state(self, run_id: int) -> str:
        return state(self.site, run_id)

    async def keep_time(self) -> None:
        """From the next page on, `look_again` need not wait for the clock."""
        await self.page.clock.install()

    async def look_again(self) -> None:
        """So much time passes on the page that it looks for news, by itself."""
        await self.page.clock.fast_forward(LOOK_EVERY)


async def new_window(context: BrowserContext, site: Server) -> Window:
    """A window that keeps note of errors, of requests to other hosts, and of what the policy for
    content refused."""
    context.set_default_timeout(PATIENCE)
    page = await context.new_page()
    window = Window(page, site)
    host = urlsplit(site.address).netloc

    def of_console(message: object) -> None:
        # A form that is shown again, with what is wrong in it, has the status of a bad request.
        refused = "status of 400" in message.text and message.location["url"] == page.url
        if message.type in ("error", "warning") and not refused:
            window.wrong.append(f"console: {message.text} ({message.location})")

    def of_request(request: object) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "about") and parts.netloc != host:
            window.wrong.append(f"asked another host: {request.url}")

    page.on("console", of_console)
    page.on("pageerror", lambda error: window.wrong.append(f"error: {error}"))
    page.on("request", of_request)
    page.on("dialog", lambda dialog: window.wrong.append(f"dialog: {dialog.message}"))
    return window


@pytest_asyncio.fixture(loop_scope="session")
async def window(browser: Browser, site: Server) -> AsyncIterator[Window]:
    """A window of 1280 by 800, in which nothing may go wrong."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    window = await new_window(context, site)
    yield window
    await context.close()
    assert window.wrong == []


@pytest.fixture
def open_window():
    """Opens a window of a context of the test's own, on a site of its own."""
    return new_window


@pytest.fixture
def make_task(site: Server):
    """Makes a task on the site."""

    def make(name: str, **wish: object) -> str:
        task = {"name": name, "handler": "shop:ok", "schedule": "0 0 1 1 *", **wish}
        answer = site.ask("POST", "/-/api/cron/tasks", task)
        assert answer.status == 201, answer.text
        return name

    return make


@pytest.fixture
def run_task(site: Server):
    """Runs a task now; returns the id of the run, once that has ended where `wait` says so."""

    def run(name: str, *, wait: bool = True) -> int:
        from datasette.utils import tilde_encode

        path = f"/-/api/cron/tasks/{tilde_encode(name)}/trigger"
        answer = site.ask("POST", path, {})
        assert answer.status == 200, answer.text
        run_id = answer.json["run_id"]
        while wait and state(site, run_id) in ("pending", "running"):
            pass  # each look is a request
        return run_id

    return run


def state(site: Server, run_id: int) -> str:
    return json.loads(site.ask("GET", f"/-/api/cron/runs/{run_id}").text)["run"]["status"]
