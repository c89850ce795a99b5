"""What holds for every page: anybody can use it, names are text, and it keeps to itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from browser_site import TROUBLE
from datasette.utils import tilde_encode
from playwright.async_api import expect

from datasette_cron.pages.address import encoded

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}


@pytest.fixture(scope="session")
def addresses(site):
    """One address of each kind, by what it is."""
    ids = {}
    for name in ("roll-up", "mail"):
        answer = site.ask("POST", f"/-/api/cron/tasks/{name}/trigger", {})
        ids[name] = answer.json["run_id"]
    while site.ask("GET", "/-/api/cron/runs?status=running&status=pending").json["runs"]:
        pass
    return {
        "dashboard": "/-/cron",
        "task": "/-/cron/mail",
        "runs": "/-/cron/runs",
        "no runs": "/-/cron/runs?task=nothing",
        "bad filter": "/-/cron/runs?since=yesterday",
        "success": f"/-/cron/runs/{ids['roll-up']}",
        "failure": f"/-/cron/runs/{ids['mail']}",
        "new": "/-/cron/new",
        "edit": "/-/cron/roll-up/edit",
    }


async def violations(page) -> list[dict]:
    """What axe finds on a page, with all that can be opened open."""
    await page.evaluate(
        """() => {
            document.querySelectorAll("main details").forEach((one) => (one.open = true));
            // Datasette's own element has a property `matches` that is no function, as axe expects.
            document.querySelector("navigation-search")?.remove();
        }"""
    )
    return (await Axe().run(page, options=RULES)).response["violations"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(window, addresses, scheme):
    page = window.page
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    found = []
    for what, path in addresses.items():
        await window.go(path, 400 if what == "bad filter" else 200)
        for violation in await violations(page):
            nodes = [node["html"][:160] for node in violation["nodes"]]
            found.append(f"{what}: {violation['id']}: {violation['help']}: {nodes[:3]}")
    # A form with mistakes in it.
    await window.go("/-/cron/new")
    await page.get_by_label("Schedule", exact=True).fill("no schedule")
    await page.get_by_role("button", name="Create").click()
    await page.get_by_role("alert").wait_for()
    found += [f"bad form: {v['id']}: {v['nodes'][0]['html']}" for v in await violations(page)]
    # A message of what was done.
    await window.go("/-/cron/roll-up/edit")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status").first).to_contain_text("Nothing was changed")
    found += [f"message: {v['id']}: {v['nodes'][0]['html']}" for v in await violations(page)]
    assert found == []


@pytest.mark.parametrize("name", TROUBLE)
async def test_names_are_text(window, site, run_task, name):
    """Each has its pages, under whatever letters, and is shown there as it is, but for what would
    turn the text around it."""

    def shown(name: str) -> str:
        return name.replace("\u202e", "\\u202e")

    run_id = run_task(name)
    page = window.page
    await window.go(f"/-/cron/{encoded(name)}")
    assert shown(name) in await page.locator("h1").inner_text()
    assert shown(name) in await page.title()
    await window.go(f"/-/cron/{encoded(name)}/edit")
    assert shown(name) in await page.locator("h1").inner_text()
    await page.get_by_role("button", name="Save").click()
    await page.get_by_text("Nothing was changed").wait_for()
    await window.go(f"/-/cron/runs/{run_id}")
    assert shown(name) in await page.locator("h1").inner_text()
    await page.locator("h1").get_by_role("link").click()
    assert shown(name) in await page.locator("h1").inner_text()
    await window.go(f"/-/cron/runs?task={tilde_encode('x')}")
    await page.get_by_label("Task", exact=True).fill(name)
    await page.get_by_role("button", name="Show").click()
    assert shown(name) in await page.locator("tbody tr").first.inner_text()
    await window.go("/-/cron")
    assert await page.locator("script:not([src])").count() <= 2  # Datasette's own


def test_static_files_have_no_inline_anything():
    import datasette_cron

    folder = Path(datasette_cron.__file__).parent
    for file in (folder / "templates").glob("cron_*.html"):
        text = file.read_text()
        assert "<script>" not in text, file
        assert " style=" not in text, file
        assert "|safe" not in text.replace(" ", ""), file
        assert " onclick=" not in text, file
