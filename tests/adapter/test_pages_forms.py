"""The form for tasks, as the server reads and shows it."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest

from datasette_cron.pages import form_fields
from datasette_cron.pages.address import encoded
from datasette_cron.requirements import demands

NEW = {"name": "made", "handler": "ok", "schedule": "0 9 * * *", "config": "{}", "enabled": "1"}


def shown(html):
    """The fields of the form and what stands in them."""
    found = {}
    for tag in re.findall(r"<input[^>]*>", html):
        name = re.search(r' name="([^"]*)"', tag)
        value = re.search(r' value="([^"]*)"', tag)
        if 'type="checkbox"' in tag and not re.search(r" checked[ >]", tag):
            continue
        found[name[1]] = unescape(value[1])
    for name, text in re.findall(r'<textarea[^>]* name="([^"]*)"[^>]*>([^<]*)</textarea>', html):
        found[name] = unescape(text)
    for name, options in re.findall(
        r'<select[^>]* name="([^"]*)"[^>]*>(.*?)</select>', html, re.DOTALL
    ):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        found[name] = unescape(chosen[1]) if chosen else ""
    return found


def problems(html):
    """What is said beside the fields, by the names of these."""
    found = re.findall(r'<p class="cron-problem" id="f-([\w-]+)-problem">([^<]*)</p>', html)
    return {name: unescape(text) for name, text in found}


async def post(datasette, fields, path="/-/cron/new", **options):
    return await datasette.client.post(path, data=fields, **options)


async def edited(datasette, name, **changed):
    """The answer to the form of that task with some fields changed."""
    path = f"/-/cron/{encoded(name)}/edit"
    html = (await datasette.client.get(path)).text
    return await post(datasette, {**shown(html), **changed}, path)


async def test_a_task_is_made_of_the_form(datasette, scheduler):
    fields = {
        **NEW,
        "schedule": '{"rrule": "FREQ=DAILY;BYHOUR=9"}',
        "timezone": "Europe/Berlin",
        "config": '{"a": [1, null]}',
        "overlap": "queue",
        "catch_up": "all",
        "retry.max_retries": "3",
        "retry.backoff": "linear",
        "retry.on": "OSError, httpx.ConnectError",
        "timeout": "2.5",
        "start_at": "2027-01-01T09:00:00+01:00",
        "priority": "-5",
        "group": "g",
    }
    answer = await post(datasette, fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/-/cron/made")
    task = await scheduler.get_task("made")
    assert (task.schedule.kind, task.timezone, task.config) == (
        "rrule",
        "Europe/Berlin",
        {"a": [1, None]},
    )
    policies = task.policies
    assert (policies.overlap, policies.catch_up, policies.timeout) == ("queue", "all", 2.5)
    assert (policies.retry.max_retries, policies.retry.backoff) == (3, "linear")
    assert policies.retry.on == ("OSError", "httpx.ConnectError")
    assert policies.start_at.isoformat() == "2027-01-01T08:00:00+00:00"
    assert (policies.priority, policies.group, task.enabled) == (-5, "g", True)


async def test_a_task_can_be_made_paused(datasette, scheduler):
    await post(datasette, {key: NEW[key] for key in NEW if key != "enabled"})
    assert not (await scheduler.get_task("made")).enabled


@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"name": ""}, "name", "task name is empty"),
        ({"name": "x" * 1001}, "name", "at most 1000"),
        ({"handler": ""}, "handler", "no handler: choose one"),
        ({"handler": "gone"}, "handler", "Handler not found: gone"),
        ({"schedule": ""}, "schedule", "no schedule"),
        ({"schedule": "61 * * * *"}, "schedule", "bad minute '61'"),
        ({"schedule": '{"cron": '}, "schedule", "bad JSON"),
        ({"schedule": "0 0 30 2 *"}, "schedule", "never run"),
        ({"timezone": "Mars/Olympus"}, "timezone", "unknown timezone"),
        ({"config": "{"}, "config", "bad JSON in line 1, column 2"),
        ({"config": "[]"}, "config", "not a JSON object"),
        ({"config": '{"a": 1, "a": 2}'}, "config", "the key 'a' comes twice"),
        ({"config": '{"a": NaN}'}, "config", "JSON"),
        ({"config": "[" * 100_000}, "config", "bad JSON"),
        ({"timeout": "soon"}, "timeout", "bad timeout 'soon'"),
        ({"timeout": "nan"}, "timeout", "bad timeout nan"),
        ({"overlap": "maybe"}, "overlap", "bad overlap 'maybe'"),
        ({"retry.base": "-1"}, "retry-base", "bad retry['base'] -1"),
        ({"retry.backoff": "slow"}, "retry-backoff", "slow"),
        ({"max_runs": "1.5"}, "max_runs", "bad max_runs 1.5"),
        ({"start_at": "2027-01-01T09:00:00"}, "start_at", "no offset"),
        ({"start_at": "soon"}, "start_at", "bad start_at 'soon'"),
        (
            {"start_at": "2027-01-02T00:00:00Z", "end_at": "2027-01-01T00:00:00Z"},
            "end_at",
            "is before start_at",
        ),
        ({"keep_runs": "-1"}, "keep_runs", "bad keep_runs -1"),
    ],
)
async def test_what_is_wrong_is_told_beside_the_field(datasette, scheduler, changed, field, said):
    answer = await post(datasette, {**NEW, **changed})
    assert answer.status_code == 400
    found = problems(answer.text)
    assert list(found) == [field]
    assert said in found[field]
    assert re.search(rf'id="f-{field}"[^>]*aria-describedby="f-{field}-problem', answer.text)
    assert re.search(rf'id="f-{field}"[^>]*aria-invalid="true"', answer.text)
    assert await scheduler.tasks() == []


async def test_all_that_is_wrong_is_told_at_once_and_all_that_was_typed_is_kept(datasette):
    typed = {
        **dict.fromkeys((field.name for field in form_fields.FIELDS), "<\"&'> "),
        "name": "",
        "handler": "</option><b>",
        "schedule": "</textarea><script>alert(1)</script>",
        "timezone": '"><img>',
        "config": "  </textarea> {'",
        "retry.on": " , ",
        "group": "</p>",
        "updated_at": "",
    }
    answer = await post(datasette, typed)
    assert shown(answer.text) == typed
    right = {"handler", "retry.on", "group"}
    wrong = {
        field.name.replace(".", "-") for field in form_fields.FIELDS if field.name not in right
    }
    assert set(problems(answer.text)) == wrong | {"name", "schedule", "timezone", "config"}


async def test_a_name_that_is_taken(datasette, scheduler):
    await scheduler.add_task("made", "ok", "@daily")
    answer = await post(datasette, NEW)
    assert "Task already exists: made" in problems(answer.text)["name"]


async def test_an_edit_that_changes_nothing_writes_nothing(datasette, scheduler):
    await scheduler.add_task(
        "all",
        "ok",
        {"interval": 90, "anchor": "2026-01-01T00:00:00+00:00"},
        config={"ünï": "</textarea>"},
        timezone="Europe/Berlin",
        overlap="cancel",
        catch_up="all",
        catch_up_limit=7,
        grace=1.5,
        retry={"max_retries": 2, "base": 0.5, "on": ["OSError"], "give_up_after": 60},
        timeout=1e-3,
        jitter=3,
        start_at="2026-01-01T00:00:00+00:00",
        end_at="2999-01-01T00:00:00+00:00",
        max_runs=10**9,
        pause_after_failures=3,
        group="g",
        priority=1,
        keep_runs=0,
        keep_for=86400 / 7,
    )
    before = await scheduler.get_task("all")
    answer = await edited(datasette, "all")
    assert answer.status_code == 303, problems(answer.text)
    assert (await scheduler.get_task("all")).record == before.record


@pytest.mark.parametrize(
    ("changed", "read", "wanted"),
    [
        ({"schedule": "@hourly"}, lambda t: t.schedule.describe(), "every hour (Europe/Berlin)"),
        ({"timezone": "Asia/Tokyo"}, lambda t: t.timezone, "Asia/Tokyo"),
        ({"timezone": ""}, lambda t: t.timezone, None),
        ({"config": '{"b": 1}'}, lambda t: t.config, {"b": 1}),
        ({"handler": "fail"}, lambda t: t.handler, "fail"),
        ({"timeout": ""}, lambda t: t.policies.timeout, None),
        ({"overlap": "allow"}, lambda t: t.policies.overlap, "allow"),
        ({"retry.max_retries": "0"}, lambda t: t.policies.retry.max_retries, 0),
    ],
)
async def test_an_edit_changes_what_was_changed_alone(datasette, scheduler, changed, read, wanted):
    await scheduler.add_task(
        "old",
        "ok",
        "0 9 * * *",
        timezone="Europe/Berlin",
        config={"a": 1},
        timeout=5,
        retry={"max_retries": 3},
    )
    before = await scheduler.get_task("old")
    answer = await edited(datasette, "old", **changed)
    assert answer.status_code == 303, problems(answer.text)
    after = await scheduler.get_task("old")
    assert read(after) == wanted
    html = (await datasette.client.get("/-/cron/old/edit")).text
    now = {key: value for key, value in shown(html).items() if key != "updated_at"}
    was = {**form_fields.filled(before), **changed}
    for key, value in now.items():
        if key == "config":
            assert json.loads(value) == json.loads(was[key])
        elif key != "enabled":
            assert value == was[key], key


async def test_a_change_by_somebody_else_is_not_overwritten_unseen(datasette, scheduler, clock):
    await scheduler.add_task("old", "ok", "@daily")
    path = "/-/cron/old/edit"
    typed = shown((await datasette.client.get(path)).text)
    clock.advance(1)
    await scheduler.update_task("old", timeout=5)
    answer = await post(datasette, {**typed, "schedule": "@hourly"}, path)
    assert answer.status_code == 400
    assert "changed by somebody else meanwhile" in answer.text
    typed = shown(answer.text)
    assert typed["schedule"] == "@hourly"
    assert (await post(datasette, typed, path)).status_code == 303
    task = await scheduler.get_task("old")
    assert "hour" in task.schedule.describe()


async def test_a_broken_task_can_be_mended(datasette, scheduler):
    await scheduler.add_task("old", "ok", "@daily", config={"a": 1})
    await datasette.get_internal_database().execute_write(
        "UPDATE datasette_cron_tasks SET schedule_config = ?, timezone = 'Mars/Olympus'",
        ['{"cron": "61 * * * *"}'],
    )
    html = (await datasette.client.get("/-/cron/old/edit")).text
    assert "The task is broken" in html
    assert shown(html)["schedule"] == "61 * * * *"
    answer = await edited(datasette, "old", schedule="@hourly", timezone="")
    assert answer.status_code == 303, problems(answer.text)
    task = await scheduler.get_task("old")
    assert (task.broken, task.timezone, task.config) == (None, None, {"a": 1})


async def test_preview_without_scripts_keeps_and_saves_nothing(datasette, scheduler):
    fields = {**NEW, "name": "", "config": "{", "preview": "1"}
    answer = await post(datasette, fields)
    assert answer.status_code == 200
    assert "at 09:00 every day" in answer.text
    assert problems(answer.text) == {}
    assert {key: shown(answer.text)[key] for key in NEW} == {**NEW, "name": "", "config": "{"}
    assert await scheduler.tasks() == []


async def test_an_address_that_fills_in_the_form_shows_what_it_means(datasette, scheduler):
    html = (await datasette.client.get("/-/cron/new?handler=ok&schedule=@daily")).text
    assert "at 00:00 every day" in html
    assert "Type a schedule" not in html
    assert problems(html) == {}
    assert 'role="alert"' not in html
    html = (await datasette.client.get("/-/cron/new?schedule=61+*+*+*+*")).text
    assert "bad minute" in html
    assert "Type a schedule" in (await datasette.client.get("/-/cron/new")).text


async def test_a_form_with_mistakes_says_what_the_schedule_means(datasette, scheduler):
    html = (await post(datasette, {**NEW, "config": "["})).text
    assert "at 09:00 every day" in html
    html = (await post(datasette, {**NEW, "timezone": "Berln"})).text
    preview = html.partition('id="cron-preview"')[2].partition("</div>")[0]
    assert "unknown timezone" in preview


async def test_handlers_say_what_they_do(make_datasette):
    datasette = await make_datasette()
    html = (await datasette.client.get("/-/cron/new")).text
    said = dict(re.findall(r"<dt><code>(cron:\w+)</code></dt><dd>(\w+ [^.]*)\.", html))
    assert said == {
        "cron:http": "Makes an HTTP request",
        "cron:snapshot": "Copies a database to a dated file",
        "cron:sql": "Writes to a database",
    }


async def test_what_handlers_demand(datasette, scheduler):
    def shaped(datasette, config):
        if "shape" not in config:
            raise ValueError("a shape is needed")

    @demands(validate=shaped, requires=lambda datasette, actor, config: actor is not None)
    async def picky(datasette, config):
        """Picks
        what it likes.

        And more."""

    scheduler.register_handlers("test", {"picky": picky})
    html = (await datasette.client.get("/-/cron/new")).text
    assert "test:picky (needs a permission that you do not have)" in html
    assert "Picks what it likes." in html
    assert "And more." not in html
    fields = {**NEW, "handler": "test:picky"}
    answer = await post(datasette, fields)
    assert "refuses this actor" in problems(answer.text)["handler"]
    answer = await post(datasette, fields, actor={"id": "ada"})
    assert "a shape is needed" in problems(answer.text)["config"]
    answer = await post(datasette, {**fields, "config": '{"shape": 1}'}, actor={"id": "ada"})
    assert answer.status_code == 303


@pytest.mark.parametrize("path", ["/-/cron/new", "/-/cron/old/edit"])
async def test_only_for_those_who_may_edit(make_datasette, clock, path):
    config = {"permissions": {"datasette-cron-access": True, "datasette-cron-edit": {"id": "ada"}}}
    datasette = await make_datasette(clock, config=config)
    await datasette._cron_scheduler.add_task("old", "ok", "@daily")
    for actor, status in ((None, 403), ({"id": "bob"}, 403), ({"id": "ada"}, 200)):
        assert (await datasette.client.get(path, actor=actor)).status_code == status
    before = await datasette._cron_scheduler.tasks()
    assert (await post(datasette, NEW, path, actor={"id": "bob"})).status_code == 403
    assert await datasette._cron_scheduler.tasks() == before


async def test_other_sites_cannot_post(datasette, scheduler):
    headers = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
    assert (await post(datasette, NEW, headers=headers)).status_code == 403
    assert await scheduler.tasks() == []


@pytest.mark.parametrize("body", [b"\xff", b"a=%ff&b", b"&" * 200 + b"a=1", b"{}"])
async def test_a_body_that_is_no_form(datasette, scheduler, body):
    answer = await datasette.client.post("/-/cron/new", content=body)
    assert answer.status_code == 400
    assert await scheduler.tasks() == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("name=%ED%B2%80&handler=test:ok&schedule=@daily", "not a form in UTF-8"),
        ("name=t&handler=test:ok&schedule=@daily&timout=5", "did you mean &#39;timeout&#39;?"),
    ],
)
async def test_what_the_form_never_sends(datasette, scheduler, body, said):
    answer = await datasette.client.post(
        "/-/cron/new",
        content=body,
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 400
    assert said in answer.text
    assert await scheduler.tasks() == []


async def test_no_such_task(datasette):
    assert (await datasette.client.get("/-/cron/none/edit")).status_code == 404
    assert (await post(datasette, NEW, "/-/cron/none/edit")).status_code == 404


# --- links from the rest of Datasette


async def test_jump_menu(datasette, scheduler):
    for name in ("roll-up <b>", "runs", "50%_off"):
        await scheduler.add_task(name, "ok", "@daily")

    async def jump(q):
        answer = await datasette.client.get("/-/jump.json", params={"q": q})
        return {m["name"]: m["url"] for m in answer.json()["matches"]}

    assert (await jump("roll"))["roll-up <b>"] == f"/-/cron/{encoded('roll-up <b>')}"
    assert (await jump("runs"))["runs"] == f"/-/cron/{encoded('runs')}"
    assert (await jump("scheduled"))["Scheduled tasks"] == "/-/cron"
    assert "New scheduled task" in await jump("new")
    assert await jump("no such thing") == {}


async def test_links_for_those_who_have_access_alone(make_datasette, clock):
    config = {"permissions": {"datasette-cron-access": {"id": "ada"}}}
    datasette = await make_datasette(clock, config=config)
    for path in ("/", "/-/jump.json?q=scheduled"):
        assert "cron" not in (await datasette.client.get(path)).text
        assert "/-/cron" in (await datasette.client.get(path, actor={"id": "ada"})).text


async def test_databases_and_tables_name_the_tasks_that_write_to_them(datasette, scheduler):
    sales = datasette.add_memory_database("links-sales", name="sales")
    await sales.execute_write_script(
        "CREATE TABLE orders (id); CREATE TABLE [order lines] (id); CREATE TABLE days (day);"
        "CREATE TABLE other (id)"
    )
    await datasette.refresh_schemas()
    await datasette.add_query("sales", "fill", "insert into days select 1", is_write=True)
    configs = {
        "by sql <b>": {"database": "sales", "sql": "delete from [order lines]; delete from orders"},
        "by query": {"database": "sales", "query": "fill"},
        "elsewhere": {"database": "shop", "sql": "delete from orders"},
        "comment": {"database": "sales", "sql": "delete from days /* not orders */"},
    }
    for name, config in configs.items():
        await scheduler.add_task(name, "cron:sql", "@daily", config=config)
    await scheduler.add_task("no sql", "ok", "@daily", config={"database": "sales"})
    await datasette.get_internal_database().execute_write(
        "INSERT INTO datasette_cron_tasks (name, handler, config, schedule_type, schedule_config, "
        "created_at, updated_at) SELECT 'no json', handler, '{', schedule_type, schedule_config, "
        "created_at, updated_at FROM datasette_cron_tasks LIMIT 1"
    )

    async def named(path):
        html = (await datasette.client.get(path)).text
        return [unescape(found) for found in re.findall(r"Scheduled task: ([^\n]*)", html)]

    assert await named("/sales") == ["by query", "by sql <b>", "comment"]
    assert await named("/sales/orders") == ["by sql <b>"]
    assert await named("/sales/order~20lines") == ["by sql <b>"]
    assert await named("/sales/days") == ["by query", "comment"]
    assert await named("/sales/other") == []
    assert await named("/_memory") == []
