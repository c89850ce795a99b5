"""The pages of runs, as somebody with a browser sees them."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import expect
from test_access import violations


async def test_watch_a_run_to_its_end(window, make_task, run_task, tmp_path: Path):
    name = make_task("watched", handler="shop:steps", config={"until": str(tmp_path / "go")})
    run_id = run_task(name, wait=False)
    page = await window.go(f"/-/cron/runs/{run_id}")
    main = page.locator("main")
    await expect(main.get_by_text("1 of 2 (50%)")).to_be_visible()
    await expect(main.get_by_text("<step 1>")).to_have_text(r"<step 1>\u001b")
    await expect(page.get_by_role("log")).to_contain_text(r"step 1 of <2>\u202e")
    bar = page.get_by_role("progressbar", name="Progress")
    await expect(bar).to_have_attribute("max", "2")
    # What the script puts there is what the server would have.
    shows = "() => document.querySelector('#cron-log pre').innerHTML"
    by_script = await page.evaluate(shows)
    await page.reload()
    assert await page.evaluate(shows) == by_script
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert await violations(page) == []
    (tmp_path / "go").touch()
    await expect(main.locator(".cron-badge").first).to_have_text("succeeded")
    await expect(page.get_by_role("log")).to_contain_text("step 2 of <2>")
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    await expect(page.locator("#cron-run-status")).to_have_text("The run is now: succeeded")


async def test_cancel_a_run(window, make_task, run_task, tmp_path: Path):
    name = make_task("endless", handler="shop:steps", config={"until": str(tmp_path / "never")})
    run_id = run_task(name, wait=False)
    page = await window.go(f"/-/cron/runs/{run_id}")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_text(f"Run {run_id} is to be cancelled")).to_be_visible()
    await expect(page.locator("main .cron-badge").first).to_have_text("cancelled")
    await expect(page.get_by_text("cancelled by request", exact=False)).to_have_count(1)
    await expect(page.get_by_text("It was cancelled by")).to_be_visible()


async def test_see_why_a_run_failed(window, make_task, run_task):
    run_id = run_task(make_task("failing", handler="shop:fail"))
    page = await window.go("/-/cron/runs?task=failing")
    await page.get_by_role("link", name=f"#{run_id}").click()
    main = page.locator("main")
    await expect(main.locator(".cron-badge").first).to_have_text("failed")
    await expect(main.get_by_text("ValueError: out of <b>paper</b>").first).to_be_visible()
    trace = page.get_by_role("region", name="Traceback")
    await expect(trace).to_contain_text('raise ValueError("out of <b>paper</b>")')
    await main.get_by_role("link", name="failing").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("failing")


async def test_runs_are_short_on_a_phone(window, make_task, run_task):
    name = make_task("pocket", handler="shop:fail", overlap="allow")
    for _ in range(3):
        run_task(name)
    await window.page.set_viewport_size({"width": 390, "height": 844})
    page = await window.go(f"/-/cron/runs?task={name}")
    rows = page.locator("tbody tr")
    await expect(rows).to_have_count(3)
    box = await rows.nth(1).bounding_box()
    assert box["height"] < 120, box
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


async def test_page_through_runs(window, make_task, run_task):
    name = make_task("often", overlap="allow")
    ids = [run_task(name, wait=False) for _ in range(52)]
    page = await window.go(f"/-/cron/runs?task={name}")
    rows = page.locator("tbody tr")
    await expect(rows).to_have_count(50)
    await expect(rows.first).to_contain_text(f"#{ids[-1]}")
    await page.get_by_role("link", name="Older").click()
    await expect(rows).to_have_count(2)
    await expect(rows.last).to_contain_text(f"#{ids[0]}")
    await page.get_by_role("link", name="Newest").click()
    await expect(rows).to_have_count(50)


async def test_filter_runs(window, make_task, run_task):
    failed = run_task(make_task("filtered", handler="shop:fail"))
    page = await window.go("/-/cron/runs")
    await page.get_by_label("Task", exact=True).fill("filtere")
    await page.get_by_role("button", name="Show").click()
    await page.locator("main").get_by_role("link", name="filtered").click()
    await page.get_by_label("failed or cancelled").check()
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.locator("tbody tr")).to_contain_text(f"#{failed}")
    await expect(page.get_by_label("failed or cancelled")).to_be_checked()
    await page.get_by_role("link", name="Last hour").click()
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.get_by_label("To (UTC)").fill("2020-01-01T00:00")
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_text("is before")).to_be_visible()
    await expect(page.get_by_label("Task", exact=True)).to_have_value("filtered")
