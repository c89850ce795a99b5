"""What people do with tasks on the dashboard and on a task's page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from playwright.async_api import expect


def succeeded(site, name: str) -> list[dict]:
    """The runs of the task that have succeeded."""
    return site.ask("GET", f"/-/api/cron/runs?status=success&task={quote(name)}").json["runs"]


async def test_run_now_from_the_dashboard(window, make_task):
    name = make_task("run me")
    await window.keep_time()
    page = await window.go("/-/cron?q=run+me")
    await page.get_by_role("button", name=f"Run {name} now").click()
    await expect(page.get_by_text("is to start now")).to_be_visible()
    while not succeeded(window.site, name):
        pass  # each look is a request
    await window.look_again()
    await expect(page.locator("#cron-rows .cron-badge")).to_have_text("succeeded")
    await page.locator("tbody").get_by_role("link", name=name).click()
    await expect(page.locator("main").get_by_text("last run succeeded")).to_be_visible()


async def test_search(window, make_task):
    make_task("needle one")
    make_task("needle two")
    page = await window.go("/-/cron")
    await page.get_by_label("Name or handler").fill("NEEDLE")
    await page.get_by_label("Name or handler").press("Enter")
    await expect(page.locator("#cron-rows tr")).to_have_count(2)
    await page.get_by_label("Name or handler").fill("needle two")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("#cron-rows tr")).to_have_count(1)
    await page.get_by_role("link", name="Show all").click()
    await expect(page.locator("#cron-rows").get_by_role("link", name="mail")).to_be_visible()


async def test_pause_with_a_note_and_resume(window, make_task):
    make_task("pausing")
    page = await window.go("/-/cron/pausing")
    note = "the disk is full: <b>ask</b> Ana"
    await page.get_by_label("Why it is paused").fill(note)
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator("#cron-state")).to_contain_text(note)
    page = await window.go("/-/cron/pausing")
    await expect(page.locator("#cron-state")).to_contain_text(note)
    await page.get_by_role("button", name="Resume").click()
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()


async def test_backfill_and_explain(window, site, make_task):
    make_task("filled", schedule="0 * * * *")
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    page = await window.go("/-/cron/filled")
    at = f"{hour:%Y-%m-%dT%H:%M:%S}"
    await page.get_by_label("At that time").fill(at)
    await page.get_by_role("button", name="Explain").click()
    await expect(page.locator(".cron-answer")).to_be_visible()
    await page.get_by_label("From (UTC)").fill(at)
    await page.get_by_label("To (UTC)").fill(f"{hour + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}")
    await page.get_by_role("button", name="Backfill").click()
    await expect(page.locator("#cron-entries tbody tr")).to_have_count(3)
    assert len(site.ask("GET", "/-/api/cron/runs?task=filled").json["runs"]) == 3
    page = await window.go(f"/-/cron/filled?at={at}")
    await expect(page.locator(".cron-answer")).to_contain_text("run")


async def test_delete_asks_first(window, site, make_task):
    make_task("doomed")
    page = await window.go("/-/cron/doomed")
    await page.get_by_role("link", name="Delete").click()
    await page.get_by_role("link", name="Keep it").click()
    await page.get_by_role("link", name="Delete").click()
    await page.get_by_role("button", name="Delete").click()
    await expect(page).to_have_url(f"{site.address}/-/cron")
    assert site.ask("GET", "/-/api/cron/tasks/doomed").status == 404


async def test_a_task_is_run_by_keyboard_alone(window, site, make_task):
    name = make_task("keys")
    await window.keep_time()
    page = await window.go("/-/cron?q=keys")
    focused = page.locator(":focus")
    for _ in range(40):
        await page.keyboard.press("Tab")
        label = await focused.get_attribute("aria-label") if await focused.count() else None
        if label == f"Run {name} now":
            break
    await expect(focused).to_have_css("outline-style", "solid")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("is to start now")).to_be_visible()
    while not succeeded(site, name):
        pass  # each look is a request
    await window.look_again()
    await expect(page.locator("#cron-rows .cron-badge")).to_have_text("succeeded")
    assert len(site.ask("GET", "/-/api/cron/runs?task=keys").json["runs"]) == 1


async def test_the_jump_menu_leads_to_tasks(window):
    page = await window.go("/")
    await page.keyboard.press("/")
    await page.keyboard.type("nightly")
    await page.get_by_text("nightly copy").first.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("nightly copy")
    window.wrong.clear()  # of Datasette's own page, under a policy that it was not made for
