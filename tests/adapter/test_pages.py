"""The list of tasks and the page of a task, as the server makes them."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime, timedelta
from html import escape, unescape
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
import yaml
from datasette.app import Datasette
from datasette.plugins import pm
from datasette.utils import tilde_encode
from test_http import NAMES

from cronkit_core.errors import StorageError
from cronkit_core.testing import run_until, settle
from datasette_cron.pages.address import encoded
from datasette_cron.testing import Cron

SAME_SITE = {"sec-fetch-site": "same-origin"}
HOUR = timedelta(hours=1)
EDITORS = {"permissions": {"datasette-cron-access": True, "datasette-cron-edit": {"id": "ada"}}}


class Text(HTMLParser):
    """What somebody reads of a page, without the spaces between."""

    def __init__(self):
        super().__init__()
        self.parts = []

    def handle_data(self, data):
        self.parts.append(data)


def text(html):
    reader = Text()
    reader.feed(html[html.index("<main") : html.index("</main>")])
    return " ".join(" ".join(reader.parts).split())


def names(html):
    """The tasks in the list, as they stand there."""
    found = re.findall(r'<th scope="row"><a href="[^"]*">(.*?)</a>', html, re.DOTALL)
    return [unescape(name) for name in found]


async def get(datasette, path, status=200, **options):
    response = await datasette.client.get(path, **options)
    assert response.status_code == status, response.text
    return response.text


async def post(datasette, path, data=None, **options):
    return await datasette.client.post(path, data=data or {}, headers=SAME_SITE, **options)


async def said(datasette, response):
    """What the page that a form led to says on top."""
    assert response.status_code == 303, response.text
    page = await datasette.client.get(
        response.headers["location"], cookies={"ds_messages": response.cookies["ds_messages"]}
    )
    found = re.search(r'<p class="message-(\w+)">(.*?)</p>', page.text, re.DOTALL)
    return found[1], unescape(found[2])


@pytest.fixture
async def tasks(scheduler):
    """One of each state but running."""
    await scheduler.add_tasks(
        {"name": name, "handler": handler, "schedule": schedule}
        for name, handler, schedule in (
            ("paused", "test:ok", {"interval": 60}),
            ("scheduled", "test:ok", "0 8 * * 1-5"),
            ("failing", "test:fail", {"interval": 600}),
            ("over", "test:ok", {"at": "2027-01-01T00:30:00+00:00"}),
        )
    )
    await scheduler.disable_task("paused", note="too <loud>", by="ada")
    scheduler.start()
    await run_until(scheduler, scheduler.clock.now() + HOUR)


# --- the list


async def test_what_cannot_be_seen_is_shown_by_its_code(datasette, scheduler):
    name = "pay\u202eroll\x1b<b>"
    await scheduler.add_task(name, "test:ok", "0 8 * * *", config={"mark": "\u2066"})
    for path in ("/-/cron", f"/-/cron/{encoded(name)}"):
        page = await get(datasette, path)
        typed = re.sub("<textarea.*?</textarea>", "", page, flags=re.DOTALL)
        assert not re.search("[\u202e\u2066\x1b]", typed)
        assert '<span class="cron-code-point">\\u202e</span>roll' in page
        assert "\\u001b</span>&lt;b&gt;" in page
    # What is typed into a form comes back as it was.
    assert f'name="q" value="{escape(name)}"' in await get(datasette, f"/-/cron?q={quote(name)}")


async def test_without_tasks_it_teaches(datasette, scheduler):
    shown = text(await get(datasette, "/-/cron"))
    for words in ("cron_register_handlers", "datasette.yaml", "test:ok", "Create a task"):
        assert words in shown


async def test_what_it_teaches_works(datasette, scheduler, tmp_path):
    """Copied into files as it stands there."""
    html = await get(datasette, "/-/cron")
    plugin, config = [
        unescape(re.search(rf'aria-label="{label}">(.*?)</pre>', html, re.DOTALL)[1])
        for label in ("A plugin with a handler", "A task in datasette.yaml")
    ]
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "anything.py").write_text(plugin)
    with sqlite3.connect(tmp_path / "data.db") as data:
        data.execute("create table visits (at text)")
        data.execute("insert into visits values ('2001-01-01')")
    data.close()
    learner = Datasette(
        [str(tmp_path / "data.db")],
        internal=str(tmp_path / "learners.db"),
        config=yaml.safe_load(config),
        plugins_dir=str(tmp_path / "plugins"),
    )
    try:
        async with Cron(learner) as cron:
            await cron.run("tidy-up")
            await cron.assert_succeeded("tidy-up")
        found = await learner.get_database("data").execute("select count(*) from visits")
        assert found.single_value() == 0
    finally:
        learner.close()
        for loaded in list(pm.get_plugins()):
            if str(getattr(loaded, "__file__", "")).startswith(str(tmp_path)):
                pm.unregister(loaded)


async def test_who_may_not_edit_is_not_told_to(make_datasette):
    datasette = await make_datasette(config=EDITORS)
    assert "Create a task" not in await get(datasette, "/-/cron")
    assert "New task" not in await get(datasette, "/-/cron")
    assert "New task" in await get(datasette, "/-/cron", actor={"id": "ada"})


async def test_a_row_says_what_a_task_does(datasette, scheduler, clock):
    await scheduler.add_task("report", "ok", "30 8 * * 1-5", timezone="America/New_York")
    shown = await get(datasette, "/-/cron")
    row = re.search(r'<tbody id="cron-rows".*?</tbody>', shown, re.DOTALL)[0]
    for words in ("08:30", "30 8 * * 1-5", "America/New_York", "not yet", ">ok<"):
        assert words in row
    # 2027-01-01 is a Friday, and it is midnight in UTC.
    assert ">in 13 h<" in row
    assert 'title="Fri 2027-01-01 08:30:00 EST · Fri 2027-01-01 13:30:00 UTC"' in row


async def test_what_runs_failed_and_is_next(datasette, scheduler, tasks, clock):
    await scheduler.add_task("long", "hang", {"interval": 60})
    await run_until(scheduler, clock.now() + timedelta(minutes=1))
    shown = text(await get(datasette, "/-/cron"))
    assert "Running 1 long for 0 ms" in shown
    assert re.search(r"Failing 1 failing 1 min ago , 6 times in a row out of paper", shown)
    [failed] = await scheduler.runs("failing", limit=1)
    assert f'<a href="/-/cron/runs/{failed.id}">out of paper</a>' in await get(datasette, "/-/cron")
    assert re.search(r"Next long in 1 min failing in 9 min scheduled in \d+ h", shown)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ["failing", "over", "paused", "scheduled"]),
        ("sort=-name", ["scheduled", "paused", "over", "failing"]),
        ("sort=next", ["failing", "scheduled", "over", "paused"]),
        ("sort=-last", ["failing", "over", "paused", "scheduled"]),
        ("sort=-failures", ["failing", "over", "paused", "scheduled"]),
        ("q=PAUS", ["paused"]),
        ("q=fail", ["failing"]),
        ("q=nothing", []),
        ("q=%00", []),
        ("handler=test:fail", ["failing"]),
        ("handler=fail", []),
        ("status=paused", ["paused"]),
        ("status=scheduled", ["failing", "scheduled"]),
        ("status=failing", ["failing"]),
        ("status=over", ["over"]),
        ("status=running", []),
        ("status=broken", []),
        ("status=scheduled&q=sched&handler=test:ok&sort=next", ["scheduled"]),
        ("status=&handler=&q=&sort=", ["failing", "over", "paused", "scheduled"]),
    ],
)
async def test_search_filters_and_order(datasette, tasks, query, shown):
    assert names(await get(datasette, f"/-/cron?{query}")) == shown


@pytest.mark.parametrize("query", ["sort=up", "status=odd", "page=0", "page=²"])
async def test_what_no_form_asks_is_refused(datasette, scheduler, query):
    assert "bad " in await get(datasette, f"/-/cron?{query}", 400)


async def test_pages_hold_every_task_once(datasette, scheduler):
    await scheduler.add_tasks(
        {"name": f"t{i:02d}", "handler": "ok", "schedule": "0 0 * * *"} for i in range(45)
    )
    path, found = "/-/cron?q=t&sort=-name", []
    while path:
        page = await get(datasette, path)
        found += names(page)
        link = re.search(r'rel="next" href="([^"]*)"', page)
        path = link and unescape(link[1])
    assert found == [f"t{i:02d}" for i in reversed(range(45))]
    beyond = await datasette.client.get("/-/cron?q=t&page=9")
    assert beyond.status_code == 302
    assert beyond.headers["location"].endswith("page=3")


# --- banners


async def test_banners(datasette, scheduler, tasks, clock):
    assert 'class="cron-banner"' not in await get(datasette, "/-/cron")
    await scheduler.stop(0)
    clock.jump(clock.now() + 10 * HOUR)
    await datasette.get_internal_database().execute_write(
        "UPDATE datasette_cron_tasks SET schedule_config = '[]' WHERE name = 'over'"
    )
    await scheduler.add_task("t", "ok", "0 0 * * *")
    shown = text(await get(datasette, "/-/cron"))
    assert "is not running, so it runs no tasks" in shown
    assert "2 tasks should have started more than a minute ago" in shown
    late = names(await get(datasette, "/-/cron?status=late"))
    assert late == ["failing", "scheduled"]


async def test_a_banner_where_nothing_would_survive_a_restart(make_datasette):
    datasette = await make_datasette(internal=None)
    assert "will not survive a restart" in await get(datasette, "/-/cron")


async def test_a_banner_while_the_internal_database_cannot_be_written(datasette, scheduler, tasks):
    database = datasette.get_internal_database()

    async def query_only(value):
        await database.execute_write_fn(
            lambda conn: conn.execute(f"PRAGMA query_only = {value}"), transaction=False
        )

    await query_only(1)
    with pytest.raises(StorageError, match="readonly"):
        await scheduler.add_task(name="t", handler="test:ok", schedule="@daily")
    shown = text(await get(datasette, "/-/cron"))
    assert "could not be written when that was last tried: attempt to write a readonly" in shown
    await query_only(0)
    await scheduler.add_task(name="t", handler="test:ok", schedule="@daily")
    assert "could not be written" not in text(await get(datasette, "/-/cron"))


async def test_a_banner_where_the_scheduler_is_off(make_datasette):
    config = {
        "permissions": {"datasette-cron-access": True},
        "plugins": {"datasette-cron": {"scheduler": False}},
    }
    datasette = await make_datasette(config=config)
    assert "The scheduler is off in this process" in await get(datasette, "/-/cron")


async def test_banners_of_runs_and_tasks_that_nobody_looks_after(datasette, scheduler, clock):
    await scheduler.add_task("long", "hang", {"interval": 60})
    await scheduler.add_task("odd", "ok", {"interval": 60})
    scheduler.start()
    await run_until(scheduler, clock.now() + timedelta(minutes=1))
    database = datasette.get_internal_database()
    await database.execute_write(
        "UPDATE datasette_cron_runs SET lease_until = '2026-12-31T00:00:00.000000+00:00' "
        "WHERE status = 'running'"
    )
    await database.execute_write("UPDATE datasette_cron_tasks SET broken = '<x>' WHERE id = 2")
    html = await get(datasette, "/-/cron")
    assert "1 run lost touch with the process" in text(html)
    assert "1 task cannot be read" in text(html)
    assert "long for 0 ms, out of touch" in text(html)
    clock.jump(clock.now() + HOUR)
    assert "The scheduler is stuck: it last looked for due tasks 1 h ago" in text(
        await get(datasette, "/-/cron")
    )


# --- one task


async def test_a_task_and_all_about_it(datasette, scheduler, clock):
    await scheduler.add_task(
        "report",
        "ok",
        "30 2 * * *",
        timezone="Europe/Berlin",
        config={"to": ["<ada>"]},
        overlap="queue",
        timeout=90,
        retry={"max_retries": 3, "backoff": "linear"},
        start_at=datetime(2027, 3, 26, tzinfo=UTC),
    )
    html = await get(datasette, "/-/cron/report")
    shown = text(html)
    # The clock goes forward on 28 March: 02:30 is skipped, and 03:00 stands for it.
    assert "Fri 2027-03-26 02:30:00 CET" in shown
    assert "Sun 2027-03-28 03:00:00 CEST the clock went forward by 1 h" in shown
    assert html.count("data-cron-time") >= 10
    for words in (
        "Europe/Berlin",
        "queue one slot waits",
        "1 min 30 s how long one attempt may take",
        "3, linear",
        '{ "to": [ "<ada>" ] }',
        "It has not run yet.",
        "created",
    ):
        assert words in shown, words
    assert "02:30" in text(html).partition("Next")[0]
    # The linter knows of that night, too.
    assert "cron-banner" in html


async def test_why_it_is_paused(datasette, scheduler, tasks):
    shown = text(await get(datasette, "/-/cron/paused"))
    assert "Paused by ada, 1 h ago : too <loud>" in shown
    assert "If it were not paused:" in shown


async def test_a_task_that_cannot_run_says_so(datasette, scheduler):
    await scheduler.add_task("t", "ok", "0 0 * * *")
    await datasette.get_internal_database().execute_write(
        "UPDATE datasette_cron_tasks SET handler = 'gone:<b>'"
    )
    shown = text(await get(datasette, "/-/cron/t"))
    assert "No plugin here registers the handler gone:<b>" in shown


async def test_attempts_of_a_slot_stand_together(datasette, scheduler, clock):
    retry = {"max_retries": 2, "backoff": "constant", "base": 5, "jitter": 0}
    await scheduler.add_task("t", "fail", {"interval": 3600}, retry=retry)
    scheduler.start()
    await run_until(scheduler, clock.now() + 2 * HOUR + timedelta(minutes=1))
    html = await get(datasette, "/-/cron/t")
    table = html[html.index('id="cron-entries"') :]
    kinds = re.findall(r'<th scope="row"|attempt before|>#(\d+)<', table)
    assert kinds == ["", "6", "", "5", "", "4", "", "3", "", "2", "", "1"]
    assert table.count('<th scope="row"') == 2
    assert "attempt 3" in table
    assert "6 failed, the longest took" in text(html)


async def test_what_did_not_run_stands_between_the_runs(datasette, scheduler, clock):
    await scheduler.add_task("t", "ok", {"interval": 60})
    scheduler.start()
    await run_until(scheduler, clock.now() + timedelta(minutes=2))
    await scheduler.disable_task("t", note="for <repairs>", by="ada")
    await run_until(scheduler, clock.now() + timedelta(minutes=5, seconds=1))
    await scheduler.enable_task("t")
    await run_until(scheduler, clock.now() + timedelta(minutes=2))
    html = await get(datasette, "/-/cron/t")
    table = text(html).partition("Slot Outcome")[2]
    order = re.findall(r"succeeded|skipped", table)
    assert order == ["succeeded", "succeeded", "skipped", "succeeded", "succeeded"]
    assert "5 slots: the task was paused (by ada: for <repairs>)" in table
    assert '<rect class="k"' in html


async def test_pages_of_the_history_hold_everything_once(datasette, scheduler, clock):
    await scheduler.add_task("t", "ok", {"interval": 60})
    scheduler.start()
    for _ in range(12):
        await run_until(scheduler, clock.now() + timedelta(minutes=5))
        await scheduler.disable_task("t")
        await run_until(scheduler, clock.now() + timedelta(minutes=3))
        await scheduler.enable_task("t")
    expected = {str(run.id) for run in await scheduler.runs("t", limit=1000)}
    runs, skips, path = [], [], "/-/cron/t"
    while path:
        html = await get(datasette, path)
        table = html[html.index('id="cron-entries"') : html.index("Pages of the history")]
        runs += re.findall(r">#(\d+)<", table)
        skips += re.findall(r'class="cron-gap">\s*<th[^>]*><time datetime="([^"]*)"', table)
        link = re.search(r'rel="next" href="([^"#]*)', html)
        path = link and unescape(link[1])
    assert len(runs) > 50
    assert sorted(runs) == sorted(expected)
    assert len(skips) == len(set(skips)) == 12


async def test_the_audit_trail(datasette, scheduler):
    await scheduler.add_task("t", "ok", "0 8 * * *")
    await datasette.client.post(
        "/-/api/cron/tasks/t/update",
        json={"schedule": "0 9 * * *", "group": "<g>"},
        actor={"id": "<ada>"},
    )
    for _ in range(6):
        await scheduler.disable_task("t")
        await scheduler.enable_task("t")
    html = await get(datasette, "/-/cron/t")
    assert "created" not in text(html).partition("Who changed it")[2]
    more = re.search(r'href="([^"]*audit=all[^"#]*)', html)[1]
    shown = text(await get(datasette, unescape(more))).partition("Who changed it")[2]
    assert "updated by <ada>" in shown
    assert "schedule: " in shown
    assert "0 9 * * *" in shown
    assert "group: <g>" in shown
    assert shown.count("paused") == shown.count("resumed") == 6
    assert shown.rstrip().endswith("created now")


async def test_the_audit_trail_leads_to_the_runs(datasette, scheduler, clock):
    await scheduler.add_task("t", "hang", "0 * * * *", overlap="allow")
    clock.jump(clock.now() + timedelta(hours=8))

    async def do(path, body):
        path = f"/-/api/cron/{path}"
        answer = await datasette.client.post(path, json=body, actor={"id": "ada"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    by_hand = (await do("tasks/t/trigger", {"config": {"a": 1}}))["run_id"]
    span = {"start": "2027-01-01T00:00+00:00", "end": "2027-01-01T07:00+00:00"}
    filled = sorted((await do("tasks/t/backfill", span))["run_ids"])
    await do(f"runs/{by_hand}/cancel", {})
    html = (await get(datasette, "/-/cron/t")).partition("Who changed it")[2]
    shown = re.sub(r"<[^>]*>", "", html).split("</main>")[0]
    lines = [" ".join(line.split()) for line in shown.splitlines() if line.strip()]
    assert lines[:4] == [
        f"cancelled run {by_hand} by ada now",
        f"backfilled run {', '.join(map(str, filled[:5]))} and {len(filled) - 5} more by ada now",
        f"triggered run {by_hand} by ada now",
        "config: {&#34;a&#34;:1}",
    ]
    assert f'<a href="/-/cron/runs/{filled[4]}">{filled[4]}</a>' in html


async def test_no_such_task(datasette, scheduler):
    assert "Task not found: nobody" in await get(datasette, "/-/cron/nobody", 404)
    assert (await post(datasette, "/-/cron/nobody/run")).status_code == 404


# --- what forms do


async def test_run_now(datasette, scheduler):
    await scheduler.add_task("t", "hang", "0 0 * * *")
    response = await post(datasette, "/-/cron/t/run", actor={"id": "ada"})
    assert response.headers["location"] == "/-/cron/t"
    assert await said(datasette, response) == ("info", "Run 1 of t is to start now")
    again = await post(datasette, "/-/cron/t/run")
    assert await said(datasette, again) == ("error", "t was not started: run 1 of it is under way")
    assert len(await scheduler.runs("t")) == 1
    forced = await post(datasette, "/-/cron/t/run", {"force": "1"})
    assert await said(datasette, forced) == ("info", "Run 2 of t is to start now")


async def test_run_now_with_a_config_of_its_own(datasette, scheduler):
    await scheduler.add_task("t", "ok", "0 0 * * *", config={"a": 1})
    await post(datasette, "/-/cron/t/run", {"config": '{"a": 2}'})
    assert [run.config for run in await scheduler.runs("t")] == ['{"a": 2}']
    assert dict((await scheduler.get_task("t")).config) == {"a": 1}


@pytest.mark.parametrize(
    ("config", "problem"),
    [("{'a': <1>}", "this is not JSON"), ("[1]", "config"), ('{"a": NaN}', "config")],
)
async def test_a_bad_config_is_kept_to_be_mended(datasette, scheduler, config, problem):
    await scheduler.add_task("t", "ok", "0 0 * * *")
    response = await post(datasette, "/-/cron/t/run", {"config": config, "force": "1"})
    assert response.status_code == 400
    found = re.search(r'id="cron-config-problem">(.*?)</p>', response.text)[1]
    assert problem in found
    typed = re.search(r"<textarea[^>]*>(.*?)</textarea>", response.text, re.DOTALL)[1]
    assert unescape(typed) == config
    assert 'name="force" value="1" checked' in response.text
    assert await scheduler.runs("t") == []


async def test_who_may_not_edit_cannot_choose_a_config_or_delete(make_datasette):
    datasette = await make_datasette(config=EDITORS)
    scheduler = datasette._cron_scheduler
    scheduler.register_handlers("test", {"ok": lambda datasette, config: None})
    await scheduler.add_task("t", "ok", "0 0 * * *", config={"token": "s3cret"})
    html = await get(datasette, "/-/cron/t")
    for words in ("s3cret", "Run with this", ">Edit<", ">Delete<"):
        assert words not in html
    assert (await post(datasette, "/-/cron/t/run", {"config": "{}"})).status_code == 403
    assert (await post(datasette, "/-/cron/t/delete")).status_code == 403
    assert (await datasette.client.get("/-/cron/t/delete")).status_code == 403
    assert await scheduler.runs("t") == []
    assert (await post(datasette, "/-/cron/t/run")).status_code == 303
    assert (await post(datasette, "/-/cron/t/pause")).status_code == 303
    ada = {"id": "ada"}
    assert "s3cret" in await get(datasette, "/-/cron/t", actor=ada)
    assert (await post(datasette, "/-/cron/t/delete", actor=ada)).status_code == 303


async def test_pause_and_resume(datasette, scheduler):
    await scheduler.add_task("t", "ok", "0 0 * * *")
    data = {"note": " for <tests> ", "back": "/-/cron?q=t"}
    response = await post(datasette, "/-/cron/t/pause", data, actor={"id": "ada"})
    assert response.headers["location"] == "/-/cron?q=t"
    assert await said(datasette, response) == ("info", "t is paused")
    record = (await scheduler.get_task("t")).record
    assert (record.enabled, record.paused_by, record.paused_note) == (False, "ada", "for <tests>")
    response = await post(datasette, "/-/cron/t/resume")
    assert await said(datasette, response) == ("info", "t goes on")
    assert (await scheduler.get_task("t")).enabled


@pytest.mark.parametrize(
    "back",
    ["https://elsewhere.example/", "//elsewhere.example", "/-/cronies", "/-/cron\\@x", "x", "/"],
)
async def test_a_form_leads_nowhere_else(datasette, scheduler, back):
    await scheduler.add_task("t", "ok", "0 0 * * *")
    response = await post(datasette, "/-/cron/t/pause", {"back": back})
    assert response.headers["location"] == "/-/cron/t"


@pytest.mark.parametrize("back", ["/-/cron?\r\nx: y", "/-/cron?\u4efb", "/-/cron?" + "a" * 20_000])
async def test_an_address_that_no_header_can_hold(datasette, scheduler, back):
    await scheduler.add_task("t", "ok", "0 0 * * *")
    response = await post(datasette, "/-/cron/t/pause", {"back": back})
    assert response.headers["location"] == "/-/cron/t"


async def test_a_config_of_null_is_a_mistake(datasette, scheduler):
    await scheduler.add_task("t", "ok", "0 0 * * *")
    response = await datasette.client.post("/-/cron/t/run", data={"config": "null"})
    assert response.status_code == 400
    assert "config must be an object" in unescape(response.text)
    assert await scheduler.runs("t") == []


async def test_forms_of_other_sites_do_nothing(datasette, scheduler):
    await scheduler.add_task("t", "ok", "0 0 * * *")
    for verb in ("run", "pause", "delete", "backfill"):
        response = await datasette.client.post(
            f"/-/cron/t/{verb}", data={"x": "y"}, headers={"sec-fetch-site": "cross-site"}
        )
        assert response.status_code == 403, verb
    assert (await scheduler.get_task("t")).enabled
    assert await scheduler.runs("t") == []


async def test_delete_asks_first(datasette, scheduler):
    await scheduler.add_task("t<b>", "ok", "0 0 * * *")
    path = f"/-/cron/{tilde_encode('t<b>')}/delete"
    assert "Delete t<b>?" in text(await get(datasette, path))
    assert await scheduler.get_task("t<b>")
    response = await post(datasette, path)
    assert response.headers["location"] == "/-/cron"
    assert await said(datasette, response) == ("info", "t<b> is deleted")
    assert await scheduler.tasks() == []


async def test_backfill_is_in_the_zone_of_the_task(datasette, scheduler, clock):
    bounds = {"end_at": clock.now() + 5 * HOUR, "catch_up": "skip"}
    await scheduler.add_task("t", "ok", "0 * * * *", timezone="America/New_York", **bounds)
    clock.jump(clock.now() + 24 * HOUR)
    scheduler.start()
    await settle(scheduler)  # until the schedule has passed them, slots are its own to run
    data = {"start": "2026-12-31T20:00", "end": "2026-12-31T22:00:00", "overlap": "queue"}
    response = await post(datasette, "/-/cron/t/backfill", data)
    assert await said(datasette, response) == ("info", "3 slots of t are to run")
    runs = [run for run in await scheduler.runs("t") if run.triggered_by == "backfill"]
    slots = [run.slot for run in reversed(runs)]
    assert slots == [datetime(2027, 1, 1, hour, tzinfo=UTC) for hour in (1, 2, 3)]
    again = await post(datasette, "/-/cron/t/backfill", data)
    assert (await said(datasette, again))[1].startswith("No slot of t is to run")


@pytest.mark.parametrize(
    ("start", "end", "key", "problem"),
    [
        ("<soon>", "2026-12-31T22:00", "start", "bad time"),
        ("2026-12-31T22:00", "", "end", "bad time"),
        ("2026-03-08T02:30", "2026-12-31T22:00", "start", "never showed 2026-03-08 02:30"),
        ("0001-01-01T00:00", "2026-12-31T22:00", "start", "in the years"),
        ("2000-01-01T00:00", "2026-12-31T22:00", "end", "more than 10000 slots"),
    ],
)
async def test_a_bad_span_is_kept_to_be_mended(datasette, scheduler, start, end, key, problem):
    await scheduler.add_task("t", "ok", "* * * * *", timezone="America/New_York")
    data = {"start": start, "end": end, "overlap": "allow"}
    response = await post(datasette, "/-/cron/t/backfill", data)
    assert response.status_code == 400
    found = re.search(rf'id="cron-{key}-problem">(.*?)</p>', response.text, re.DOTALL)[1]
    assert problem in unescape(found)
    for name, value in (("start", start), ("end", end)):
        typed = re.search(rf'name="{name}"[^>]* value="([^"]*)"', response.text)[1]
        assert unescape(typed) == value
    assert '<option value="allow" selected>' in response.text
    assert await scheduler.runs("t") == []


# Of New York: on 2026-11-01 the clock went back from 02:00 to 01:00.
@pytest.mark.parametrize(
    ("at", "answers"),
    [
        ("2026-12-31T19:30", ["no slot"]),
        ("2027-01-01T00:00", ["to come"]),
        ("2026-11-01T01:00", ["before its time", "before its time"]),
        ("2026-12-31T20:00", ["ran"]),
        ("2026-12-31T20:00:00", ["ran"]),
        ("2027-01-01T01:00:00+00:00", ["ran"]),
        ("2026-12-31T21:00", ["skipped"]),
        ("2026-03-08T02:30", ["bad time", "before its time"]),
        ("2027-03-14T02:00", ["bad time", "to come"]),
        ("<then>", ["bad time"]),
    ],
)
async def test_why_did_it_not_run(datasette, scheduler, clock, at, answers):
    await scheduler.add_task("t", "ok", "0 * * * *", timezone="America/New_York")
    scheduler.start()
    await run_until(scheduler, clock.now() + HOUR)
    await scheduler.disable_task("t", note="a <note>")
    await run_until(scheduler, clock.now() + HOUR)
    html = await get(datasette, f"/-/cron/t?at={at.replace('+', '%2B')}")
    found = re.findall(r'class="cron-answer"><p>.*?cron-badge"[^>]*>(.*?)</span>', html, re.DOTALL)
    assert found == answers
    assert f'value="{at.replace("<", "&lt;").replace(">", "&gt;")}"' in html


# --- names, and what is data


@pytest.mark.parametrize("name", [*NAMES, "runs", "new", "-", "~72uns", "edit"])
async def test_every_name_has_its_page(datasette, scheduler, name):
    await scheduler.add_task(name, "fail", {"interval": 60}, config={"x": name})
    await scheduler.disable_task(name, note=name, by=name)
    index = await get(datasette, "/-/cron")
    assert names(index) == [name]
    link = unescape(re.search(r'<th scope="row"><a href="([^"]*)"', index)[1])
    assert link == f"/-/cron/{encoded(name)}"
    page = await get(datasette, link)
    assert unescape(re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)[1]) == name
    for html in (index, page, await get(datasette, f"{link}/delete")):
        assert "<script>alert" not in html
    run = unescape(re.search(r'formaction="([^"]*/run)"', index)[1])
    response = await post(datasette, run)
    assert (await said(datasette, response))[1] == f"Run 1 of {name} is to start now"
    assert response.headers["location"] == link
    assert (await post(datasette, f"{link}/delete")).status_code == 303
    assert await scheduler.tasks() == []


@pytest.mark.parametrize("name", ["runs", "new"])
async def test_who_meant_a_task_by_the_name_of_a_page_finds_it(datasette, scheduler, name):
    link = f'href="/-/cron/{encoded(name)}"'
    assert link not in await get(datasette, f"/-/cron/{name}")
    await scheduler.add_task(name, "ok", "0 0 * * *")
    assert link in await get(datasette, f"/-/cron/{name}")
    assert "There is a task named" not in await get(datasette, f"/-/cron/{encoded(name)}")


async def test_errors_are_text(datasette, scheduler, clock):
    def raises(datasette, config):
        raise ValueError("</td><script>alert(1)</script>" + "x" * 5_000)

    scheduler.register_handlers("odd", {"raises": raises})
    await scheduler.add_task("t", "raises", {"interval": 60})
    scheduler.start()
    await run_until(scheduler, clock.now() + timedelta(minutes=1))
    html = await get(datasette, "/-/cron/t")
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert" not in html
    assert "x" * 1_000 not in html


async def test_nothing_of_ours_needs_more_than_the_strictest_policy(datasette, tasks):
    """No script and no style in the page itself, and nothing from elsewhere."""
    for path in ("/-/cron", "/-/cron/failing", "/-/cron/paused", "/-/cron/over/delete"):
        html = await get(datasette, path)
        ours = html[html.index('<nav class="cron-nav"') : html.index("</main>")]
        for forbidden in ("<script", "<style", " style=", " on", "javascript:", "http:", "https:"):
            found = re.findall(rf"<[^>]*{re.escape(forbidden)}[^>]*", ours)
            if forbidden == " on":
                found = re.findall(r"<[^>]*\son\w+=", ours)
            assert found == [], path
