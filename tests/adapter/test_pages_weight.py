"""How much there is to a first visit of the pages, and what is the same on both sides of it."""

from __future__ import annotations

import re
from pathlib import Path

import big_site

import datasette_cron
from datasette_cron.pages.strip import RUNS
from datasette_cron.pages.visible import HIDDEN

TASKS = 200
OURS = 80_000
"""Most bytes of ours, the page and its files, before they are compressed. What a browser transfers
of all is measured with one: tests/browser/test_weight.py."""

STATIC = Path(datasette_cron.__file__).parent / "static"
LOADED = re.compile(r'<(?:link rel="stylesheet" href|script src)="([^"]+)"')


async def test_a_first_visit_is_light(make_datasette, internal):
    """The list of tasks, a full page of it, each with a full strip."""
    await big_site.fill(internal, TASKS, TASKS * (RUNS + 1))
    access = {"datasette-cron-access": True, "datasette-cron-edit": True}
    datasette = await make_datasette(config={"permissions": access})
    html = (await datasette.client.get("/-/cron")).text
    assert html.count(f"last {RUNS} runs: ") == 20
    files = {"/-/cron": html.encode()}
    for address in LOADED.findall(html):
        answer = await datasette.client.get(address)
        assert answer.status_code == 200, address
        files[address] = answer.content
    ours = {a: len(body) for a, body in files.items() if "cron" in a}
    assert len(ours) == 4
    assert sum(ours.values()) < OURS, ours


def test_script_and_server_hide_the_same_characters():
    found = re.search(r"const HIDDEN =\s+/\(\[(.*)\]\)/u;", (STATIC / "cron-run.js").read_text())
    assert found is not None
    assert found[1] == HIDDEN
