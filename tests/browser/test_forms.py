"""Making and changing tasks, as somebody with a browser does it."""

from __future__ import annotations

from playwright.async_api import expect


async def test_create_and_edit_a_task(window, site):
    page = await window.go("/-/cron")
    await page.get_by_role("link", name="New task").click()
    await page.get_by_label("Name", exact=True).fill("made here")
    await page.get_by_label("Handler", exact=True).select_option("shop:ok")
    await expect(page.get_by_text("Does nothing, and says so.").first).to_be_visible()
    await page.get_by_label("Schedule", exact=True).fill("30 2 * * *")
    preview = page.get_by_role("region", name="What it means")
    await expect(preview).to_contain_text("at 02:30 every day (UTC)")
    await page.get_by_label("Time zone").fill("Europe/Berlin")
    await expect(preview).to_contain_text("Next, in Europe/Berlin:")
    await expect(preview.get_by_role("listitem")).to_have_count(5)
    await expect(preview).to_contain_text("02:30:00 +0")
    await page.get_by_text("When a run fails").click()
    await page.get_by_label("Retries").fill("3")
    await page.get_by_label("Config", exact=True).fill('{"a": [1]}')
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_text("Task made here is made")).to_be_visible()
    task = site.ask("GET", "/-/api/cron/tasks/made~20here?_extra=details").json
    assert (task["handler"], task["timezone"], task["config"], task["retry_max"]) == (
        "shop:ok",
        "Europe/Berlin",
        {"a": [1]},
        3,
    )
    page = await window.go("/-/cron/made~20here/edit")
    await expect(page.get_by_label("Schedule", exact=True)).to_have_value("30 2 * * *")
    await page.get_by_label("Schedule", exact=True).fill("90 minutes")
    await expect(preview).to_contain_text("every 1 hour 30 minutes")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Task made here is changed")).to_be_visible()
    task = site.ask("GET", "/-/api/cron/tasks/made~20here").json
    assert task["schedule_description"].startswith("every 1 hour 30 minutes")
    assert task["retry_max"] == 3


async def test_warnings_and_errors_while_typing(window):
    page = await window.go("/-/cron/new")
    preview = page.get_by_role("region", name="What it means")
    schedule = page.get_by_label("Schedule", exact=True)
    await schedule.fill("61 * * * *")
    await expect(preview).to_contain_text("bad minute '61'")
    await expect(schedule).to_have_attribute("aria-invalid", "true")
    await schedule.fill("0 0 31 2 *")
    await expect(preview.locator(".cron-banner")).to_be_visible()
    await schedule.fill('{"rrule": ')
    await expect(preview).to_contain_text("bad JSON")
    await schedule.fill('{"rrule": "FREQ=MONTHLY;BYDAY=1MO;BYHOUR=9"}')
    await expect(preview).to_contain_text("1st Monday")
    await page.get_by_label("Time zone").fill("Europe/Berlim")
    await expect(preview).to_contain_text("Europe/Berlin")
    config = page.get_by_label("Config", exact=True)
    await config.fill("[1")
    await expect(page.locator("#cron-config-live")).to_contain_text("bad JSON")
    await config.fill("{}")
    await expect(page.locator("#cron-config-live")).to_be_hidden()


async def test_nothing_typed_is_lost(window):
    page = await window.go("/-/cron/new")
    typed = {
        "Name": "<b>kept</b>",
        "Schedule": "0 25 * * *",
        "Time zone": "Mars/Olympus",
        "Config": '{"a": <"}',
    }
    for label, text in typed.items():
        await page.get_by_label(label, exact=True).fill(text)
    await page.get_by_label("Handler", exact=True).select_option("shop:picky")
    await page.get_by_text("When a run fails").click()
    await page.get_by_label("Timeout").fill("soon")
    await page.get_by_label("Runs from now on").uncheck()
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_role("alert")).to_be_focused()
    for label, text in typed.items():
        await expect(page.get_by_label(label, exact=True)).to_have_value(text)
    await expect(page.get_by_label("Handler", exact=True)).to_have_value("shop:picky")
    await expect(page.get_by_label("Timeout")).to_have_value("soon")
    await expect(page.get_by_label("Runs from now on")).not_to_be_checked()
    for label, said in {
        "Schedule": "bad hour '25'",
        "Time zone": "unknown timezone 'Mars/Olympus'",
        "Config": "bad JSON in line 1",
        "Timeout": "bad timeout 'soon'",
    }.items():
        field = page.get_by_label(label, exact=True)
        await expect(field).to_have_attribute("aria-invalid", "true")
        described = (await field.get_attribute("aria-describedby")).split()
        await expect(page.locator(f"#{described[0]}")).to_contain_text(said)
    await page.get_by_role("alert").get_by_role("link", name="Timeout").click()
    await expect(page.get_by_label("Timeout")).to_be_focused()


async def test_what_a_handler_demands_is_told_beside_it(window):
    page = await window.go("/-/cron/new")
    closed = page.get_by_label("Handler", exact=True).locator("option", has_text="shop:closed")
    await expect(closed).to_contain_text("needs a permission that you do not have")
    await page.get_by_label("Name", exact=True).fill("demanding")
    await page.get_by_label("Schedule", exact=True).fill("@daily")
    await page.get_by_label("Handler", exact=True).select_option("shop:closed")
    await page.get_by_role("button", name="Create").click()
    await expect(page.locator("#f-handler-problem")).to_contain_text("not for you")
    await page.get_by_label("Handler", exact=True).select_option("shop:picky")
    await page.get_by_role("button", name="Create").click()
    await expect(page.locator("#f-config-problem")).to_contain_text("a shape is needed")


async def test_a_task_made_by_keyboard_alone(window):
    page = await window.go("/-/cron/new")
    await page.get_by_label("Name", exact=True).focus()
    await page.keyboard.type("by keyboard")
    await page.keyboard.press("Tab")
    await page.keyboard.type("shop:ok")
    await page.keyboard.press("Tab")  # what handlers do
    await page.keyboard.press("Tab")
    await page.keyboard.type("@hourly")
    await page.keyboard.press("Tab")  # examples
    await page.keyboard.press("Tab")
    await page.keyboard.type("Asia/Tokyo")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Task by keyboard is made")).to_be_visible()


async def test_forms_work_without_javascript(browser, site):
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{site.address}/-/cron/new")
    await page.get_by_label("Name", exact=True).fill("without scripts")
    await page.get_by_label("Handler", exact=True).select_option("shop:ok")
    await page.get_by_label("Schedule", exact=True).fill("15 3 * * *")
    await page.get_by_role("button", name="Preview").click()
    await expect(page.get_by_text("at 03:15 every day (UTC)")).to_be_visible()
    await expect(page.get_by_label("Name", exact=True)).to_have_value("without scripts")
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_text("Task without scripts is made")).to_be_visible()
    await context.close()
