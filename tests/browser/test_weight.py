"""What a browser transfers to show the pages of a site with very many tasks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import big_site
import pytest
from live import Server

from datasette_cron.pages.strip import RUNS
from requires import need

CHROMIUM = Path("/usr/bin/chromium")
TASKS = 10_000
SHOWN = 20
MOST = 40_000
"""Bytes of a first visit, all told: headers, the page, and what it loads, Datasette's files too.
Promised are 100,000."""
AGAIN = 15_000
"""Bytes of another visit: what has a name of its own for each content is not asked for again."""


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A server with so many tasks, of which those on the first page have a full strip."""
    need("browser", CHROMIUM.exists())
    folder = tmp_path_factory.mktemp("big")
    config = {
        "permissions": {"datasette-cron-access": True, "datasette-cron-edit": True},
        "plugins": {"datasette-cron": {"scheduler": "off"}},
    }
    server = Server(folder, config)
    asyncio.run(big_site.fill(server.internal, TASKS, TASKS * (RUNS + 1)))
    with server:
        yield server


async def visit(window) -> dict[str, int]:
    """The bytes of each address that a visit of the first page has transferred, as the browser
    counts them: headers, and bodies as they came."""
    addresses, sizes = {}, {}

    def asked(event) -> None:
        addresses[event["requestId"]] = event["request"]["url"]

    def got(event) -> None:
        sizes[addresses[event["requestId"]]] = int(event["encodedDataLength"])

    session = await window.page.context.new_cdp_session(window.page)
    session.on("Network.requestWillBeSent", asked)
    session.on("Network.loadingFinished", got)
    await session.send("Network.enable")
    await window.go("/-/cron")
    await window.page.wait_for_load_state("networkidle")
    await session.detach()
    return sizes


async def test_a_first_visit_is_light(browser, big, open_window):
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    window = await open_window(context, big)
    first, again = await visit(window), await visit(window)
    assert await window.page.get_by_role("img", name=f"last {RUNS} runs: ").count() == SHOWN
    await context.close()
    assert window.wrong == []
    print(f"first visit {sum(first.values()):,} bytes, another {sum(again.values()):,} bytes")
    for part in ("/-/cron", "/cron.css", "/cron-form.css", "/cron.js", "/-/static/app.css"):
        assert any(part in address for address in first), part
    assert sum(first.values()) < MOST, first
    assert sum(again.values()) < AGAIN, again
