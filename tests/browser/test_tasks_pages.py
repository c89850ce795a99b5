"""The list of tasks and the page of a task, as somebody with a browser sees and uses them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import expect
from test_access import violations

LOOK = "document.dispatchEvent(new Event('visibilitychange'))"
"""What happens when somebody comes back to a page: it looks for news at once."""


def rows(page):
    return page.locator("#cron-rows tr")


def heading(page):
    return page.get_by_role("heading", level=1)


async def test_find_a_task_and_run_it(window, make_task, run_task):
    for i in range(3):
        make_task(f"findable {i}", schedule="0 0 1 1 *")
    run_task("findable 1")
    page = await window.go("/-/cron")
    await page.get_by_label("Name or handler").fill("FINDABLE")
    await page.get_by_role("button", name="Show").click()
    await expect(rows(page)).to_have_count(3)
    await page.get_by_role("columnheader", name="Last run").get_by_role("link").click()
    await expect(rows(page).first).to_contain_text("findable 1")
    await expect(page.get_by_role("columnheader", name="Last run")).to_have_attribute(
        "aria-sort", "descending"
    )
    strip = rows(page).first.get_by_role("img")
    await expect(strip).to_have_accessible_name("last 1 run: 1 succeeded; the newest succeeded")
    await page.get_by_role("button", name="Run findable 2 now").click()
    await expect(
        page.get_by_text(re.compile(r"Run \d+ of findable 2 is to start now"))
    ).to_be_visible()
    # Still in the list, still searched and sorted.
    await expect(page.get_by_label("Name or handler")).to_have_value("FINDABLE")
    await expect(page).to_have_url(re.compile("sort=-last"))
    await page.get_by_role("button", name="Pause findable 0").click()
    await expect(page.get_by_role("button", name="Resume findable 0")).to_be_visible()
    await page.get_by_label("Status").select_option("paused")
    await page.get_by_role("button", name="Show").click()
    await expect(rows(page)).to_have_count(1)


async def test_the_list_keeps_up(window, make_task, run_task, tmp_path: Path):
    """What changes on the server changes on the page, and focus and selection stay."""
    name = make_task("kept up", handler="shop:steps", config={"until": str(tmp_path / "go")})
    await window.keep_time()
    page = await window.go("/-/cron?q=kept")
    button = page.get_by_role("button", name=f"Run {name} now")
    await button.focus()
    await expect(rows(page)).to_contain_text("not yet")
    run_id = run_task(name, wait=False)
    while window.state(run_id) != "running":
        pass  # each look is a request
    await page.evaluate(LOOK)
    await expect(rows(page)).to_contain_text("running")
    await expect(page.locator("#cron-now")).to_contain_text(name)
    await expect(page.locator("#cron-said")).to_contain_text("Running")
    await expect(button).to_be_focused()
    (tmp_path / "go").touch()
    while window.state(run_id) != "success":
        pass  # each look is a request
    await window.look_again()
    await expect(rows(page)).to_contain_text("succeeded")
    await expect(button).to_be_focused()


async def test_pause_with_a_note_and_go_on(window, make_task):
    name = make_task("pausable")
    page = await window.go(f"/-/cron/{name}")
    note = page.get_by_label("Why it is paused")
    await note.fill("until <b>Monday</b>")
    await page.evaluate(LOOK)
    await page.wait_for_load_state("networkidle")
    await expect(note).to_have_value("until <b>Monday</b>")
    await note.press("Enter")
    await expect(page.get_by_text(f"{name} is paused")).to_be_visible()
    await expect(page.locator("#cron-state")).to_contain_text(": until <b>Monday</b>")
    await page.get_by_role("button", name="Resume").click()
    await expect(page.locator("#cron-state .cron-badge").first).to_have_text("scheduled")
    await expect(page.locator("#cron-audit")).to_contain_text("resumed")


async def test_see_failures_and_ask_why(window, make_task, run_task):
    name = make_task("fails", handler="shop:fail", timezone="Europe/Berlin")
    run_id = run_task(name)
    page = await window.go(f"/-/cron/{name}")
    history = page.get_by_role("region", name="History")
    await expect(history).to_contain_text("out of <b>paper</b>")
    await expect(history.get_by_role("img").first).to_have_accessible_name(re.compile("1 failed"))
    await page.get_by_label("At that time (Europe/Berlin)").fill("2027-03-28T02:30")
    await page.get_by_role("button", name="Explain").click()
    why = page.get_by_role("region", name="Why didn’t it run?")
    await expect(why).to_contain_text("never showed 2027-03-28 02:30")
    await page.get_by_label("At that time (Europe/Berlin)").fill("2027-01-01T12:00")
    await page.get_by_role("button", name="Explain").click()
    await expect(why).to_contain_text("no slot")
    await page.get_by_role("link", name=f"#{run_id}").click()
    await expect(page.get_by_text("ValueError: out of <b>paper</b>").first).to_be_visible()


async def test_backfill(window, make_task):
    name = make_task("fillable", schedule="0 * * * *")
    page = await window.go(f"/-/cron/{name}")
    await page.get_by_label("From (UTC)").fill("2026-01-01T00:30")
    await page.get_by_label("To (UTC)").fill("2026-01-01T03:00")
    await page.get_by_role("button", name="Backfill").click()
    await expect(page.get_by_text("3 slots of fillable are to run")).to_be_visible()
    await page.get_by_label("From (UTC)").fill("1990-01-01T00:30")
    await page.get_by_label("To (UTC)").fill("2026-01-01T03:00")
    await page.get_by_role("button", name="Backfill").click()
    await expect(page.get_by_text("more than 10000 slots")).to_be_visible()
    await expect(page.get_by_label("From (UTC)")).to_have_value(re.compile("^1990-01-01T00:30"))


async def test_run_once_with_another_config(window, make_task):
    name = make_task("configurable", handler="shop:picky", config={"shape": "round"})
    page = await window.go(f"/-/cron/{name}")
    config = page.get_by_label("Config of this run (JSON)")
    await config.fill('{"shape": }')
    await page.get_by_role("button", name="Run with this").click()
    await expect(page.get_by_text("this is not JSON")).to_be_visible()
    await expect(config).to_have_value('{"shape": }')
    await config.fill("{}")
    await page.get_by_role("button", name="Run with this").click()
    await expect(page.get_by_text("a shape is needed")).to_be_visible()
    await config.fill('{"shape": "square"}')
    await page.get_by_role("button", name="Run with this").click()
    await expect(page.get_by_text("is to start now")).to_be_visible()


async def test_delete_asks_first_and_works_by_keyboard(window, make_task):
    name = make_task("deletable")
    page = await window.go(f"/-/cron/{name}")
    await page.get_by_role("link", name="Delete").focus()
    await page.keyboard.press("Enter")
    await expect(heading(page)).to_have_text(f"Delete {name}?")
    await page.get_by_role("link", name="Keep it").click()
    await expect(heading(page)).to_have_text(name)
    await page.get_by_role("link", name="Delete").click()
    await page.get_by_role("button", name="Delete").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text(f"{name} is deleted")).to_be_visible()
    await expect(heading(page)).to_have_text("Scheduled tasks")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_on_what_happened(window, make_task, run_task, scheme):
    """On pages with pictures, answers, problems and banners in them."""
    name = make_task(f"accessible {scheme}", handler="shop:fail", schedule="*/5 * * * *")
    run_task(name)
    window.site.ask(
        "POST", f"/-/api/cron/tasks/{name}/enable".replace(" ", "%20"), {"enabled": False}
    )
    page = window.page
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    found = []
    for path, status in (
        (f"/-/cron?q={name}&status=paused", 200),
        ("/-/cron?q=nobody", 200),
        (f"/-/cron/{name}?at=2026-01-01T10:00", 200),
        (f"/-/cron/{name}/delete", 200),
    ):
        await window.go(path.replace(" ", "+"), status)
        for violation in await violations(page):
            nodes = [node["html"][:160] for node in violation["nodes"]]
            found.append(f"{path}: {violation['id']}: {violation['help']}: {nodes[:3]}")
    assert found == []


WIDTHS = (320, 390, 767, 768, 820, 1024, 1280)
"""Pixels: phones, and tablets on both sides of where rows of tables become cards."""


async def test_nothing_needs_sideways_scrolling(window, make_task, run_task):
    """Whatever is in it."""
    long = "n" * 300
    make_task(long, handler="shop:talk", config={"k" * 200: "v" * 2_000}, timezone="Europe/Berlin")
    many = [f"{i} {i % 24} * * *" for i in range(40)]
    make_task("wordy " * 50, handler="shop:talk", schedule={"any": many})
    run_id = run_task(long)
    page, wide = window.page, []
    for path in (
        "/-/cron",
        "/-/cron?q=nnnn",
        "/-/cron?q=wordy",
        f"/-/cron/{long}",
        f"/-/cron/{long}/delete",
        f"/-/cron/{long}/edit",
        "/-/cron/mail",
        "/-/cron/new",
        "/-/cron/runs",
        f"/-/cron/runs/{run_id}",
    ):
        await window.go(path)
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 800})
            found = await page.evaluate("document.documentElement.scrollWidth")
            if found > width:
                wide.append((path[:30], width, found))
    assert wide == []


async def test_a_long_schedule_takes_a_few_lines(window, make_task):
    many = [f"{i} {i % 24} * * *" for i in range(40)]
    make_task("lengthy", schedule={"any": many})
    page = await window.go("/-/cron?q=lengthy")
    await expect(rows(page)).to_contain_text("…")
    box = await rows(page).first.bounding_box()
    assert box["height"] < 250, box
    await page.get_by_role("link", name="lengthy").first.click()
    await expect(page.locator("main")).to_contain_text("39 15 * * *")


async def test_many_runs_that_wait_are_counted(window, make_task):
    name = make_task("laden", handler="shop:steps", schedule="0 * * * *", config={"until": "/no"})
    body = {"start": "2026-01-01T00:00+00:00", "end": "2026-02-15T00:00+00:00"}
    answer = window.site.ask("POST", f"/-/api/cron/tasks/{name}/backfill", body)
    assert answer.status == 200, answer.text
    page = await window.go(f"/-/cron/{name}")
    state = page.locator("#cron-state")
    await expect(state).to_contain_text("waiting")
    await expect(state).to_contain_text("and over 995 more")
    answer = window.site.ask("DELETE", f"/-/api/cron/tasks/{name}?cancel=true")
    assert answer.status == 200, answer.text


async def test_everything_works_without_scripts(browser, site, make_task):
    name = make_task("scriptless")
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{site.address}/-/cron?q={name}")
    await page.get_by_role("button", name=f"Run {name} now").click()
    await expect(page.get_by_text(f"of {name} is to start now")).to_be_visible()
    await page.goto(f"{site.address}/-/cron/{name}")
    await page.get_by_label("Why it is paused").fill("no scripts")
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator("#cron-state")).to_contain_text(": no scripts")
    await context.close()
