"""What creating, changing and deleting over REST does to tasks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from datasette.app import Datasette

from cronkit_core.definition import check_config
from cronkit_core.runs import Skip, SkipReason, Status
from cronkit_core.testing.virtual import VirtualClock, run_until, settle
from datasette_cron import api_tasks
from datasette_cron.masking import MASK, is_secret, masked
from datasette_cron.requirements import demands
from datasette_cron.scheduler import Scheduler

SECOND = timedelta(seconds=1)
START = datetime(2027, 1, 1, tzinfo=UTC)
ROOT = "/-/api/cron"
WISH = {"name": "t", "handler": "test:ok", "schedule": {"interval": 60}}


async def send(datasette: Datasette, method: str, path: str, body: object = None) -> Any:
    return await datasette.client.request(method, ROOT + path, json=body, actor={"id": "ada"})


async def test_create(datasette: Datasette, scheduler: Scheduler) -> None:
    wish = {
        **WISH,
        "name": "a/b",
        "schedule": "0 8 * * *",
        "timezone": "Europe/Berlin",
        "retry": {"max_retries": 2, "backoff": "linear"},
        "overlap": "queue",
        "start_at": "2027-02-01T00:00:00+00:00",
        "enabled": False,
    }
    response = await send(datasette, "POST", "/tasks", wish)
    assert response.status_code == 201
    assert response.headers["location"] == f"{ROOT}/tasks/a~2Fb"
    task = response.json()["task"]
    assert task["next_run_at"] == "2027-02-01T07:00:00.000000+00:00"
    assert (task["overlap_policy"], task["retry_max"], task["retry_backoff"]) == (
        "queue",
        2,
        "linear",
    )
    assert (task["enabled"], task["paused_by"]) == (False, "ada")
    shown = await datasette.client.get(response.headers["location"] + "?_extra=details")
    assert shown.json() == task


async def test_create_never_changes_a_task(datasette: Datasette, scheduler: Scheduler) -> None:
    assert (await send(datasette, "POST", "/tasks", WISH)).status_code == 201
    again = await send(datasette, "POST", "/tasks", {**WISH, "schedule": 5})
    assert again.status_code == 409
    assert (await scheduler.get_task("t")).record.schedule_config.endswith('"interval":60}')


async def test_update_is_one_write(datasette: Datasette, scheduler: Scheduler) -> None:
    await send(datasette, "POST", "/tasks", WISH)
    before = (await scheduler.get_task("t")).record
    changed = {"schedule": 300, "config": {"n": 1}, "enabled": False, "priority": 5}
    response = await send(datasette, "PATCH", "/tasks/t", changed)
    after = (await scheduler.get_task("t")).record
    assert after.revision == before.revision + 1
    assert after.next_slot == START + timedelta(seconds=300)
    assert response.json()["task"]["paused_by"] == "ada"
    assert (after.enabled, after.priority, json.loads(after.config)) == (False, 5, {"n": 1})
    back = await send(datasette, "POST", "/tasks/t/update", {"enabled": True, "timezone": None})
    assert back.json()["task"]["enabled"] is True


async def test_no_change_is_lost_with_if_match(
    datasette: Datasette, scheduler: Scheduler, clock: VirtualClock
) -> None:
    await scheduler.add_task("t", "test:ok", "0 8 * * *")
    path = "/-/api/cron/tasks/t"
    seen = (await datasette.client.get(path)).headers["etag"]
    clock.advance(1)

    async def patch(timeout: int, match: str) -> Any:
        return await datasette.client.patch(
            path, json={"timeout": timeout}, headers={"if-match": match}
        )

    first = await patch(1, f'"other", {seen}')
    assert first.status_code == 200
    assert first.headers["etag"] != seen
    clock.advance(1)
    late = await patch(2, seen)
    assert late.status_code == 412
    assert "was changed meanwhile" in late.json()["error"]
    assert (await scheduler.get_task("t")).policies.timeout == 1
    assert (await patch(3, first.headers["etag"])).status_code == 200
    assert (await patch(4, "*")).status_code == 200


async def test_an_update_that_changes_nothing_writes_nothing(
    datasette: Datasette, scheduler: Scheduler
) -> None:
    await send(datasette, "POST", "/tasks", WISH)
    before = (await scheduler.get_task("t")).record
    for body in ({}, {"enabled": True}, {"handler": "test:ok"}):
        assert (await send(datasette, "PATCH", "/tasks/t", body)).status_code == 200
    assert (await scheduler.get_task("t")).record == before


async def test_delete_keeps_the_history(datasette: Datasette, scheduler: Scheduler) -> None:
    await send(datasette, "POST", "/tasks", {**WISH, "handler": "test:hang"})
    scheduler.start()
    await scheduler.trigger_task("t")
    await settle(scheduler)
    assert (await send(datasette, "POST", "/tasks/t/delete", {"cancel": 1})).status_code == 400
    assert (await send(datasette, "DELETE", "/tasks/t")).status_code == 200
    assert (await send(datasette, "DELETE", "/tasks/t")).status_code == 404
    await run_until(scheduler, START + timedelta(hours=2))
    run = (await datasette.client.get(f"{ROOT}/runs/1")).json()["run"]
    assert (run["status"], run["reason"]) == ("error", "cancelled")


# --- what a handler demands


async def test_what_a_handler_demands(datasette: Datasette, scheduler: Scheduler) -> None:
    def validate(datasette: Datasette, config: dict[str, Any]) -> None:
        if "n" not in config:
            raise ValueError("n is missing")

    def requires(datasette: Datasette, actor: Any, config: dict[str, Any]) -> bool:
        return actor is not None and actor["id"] == config.get("owner", "ada")

    async def picky(datasette: Datasette, config: dict[str, Any]) -> None:
        pass

    scheduler.register_handlers(
        "test", {"picky": demands(validate=validate, requires=requires)(picky)}
    )
    wish = {**WISH, "handler": "picky"}
    foreign = {"n": 1, "owner": "bob"}
    assert (await send(datasette, "POST", "/tasks", wish)).status_code == 400
    refused = await send(datasette, "POST", "/tasks", {**wish, "config": foreign})
    assert refused.status_code == 403
    assert await scheduler.tasks() == []
    made = await send(datasette, "POST", "/tasks", {**wish, "config": {"n": 1}})
    assert made.status_code == 201
    assert (await send(datasette, "PATCH", "/tasks/t", {"config": {}})).status_code == 400
    assert (await send(datasette, "PATCH", "/tasks/t", {"config": foreign})).status_code == 403
    trigger = "/tasks/t/trigger"
    assert (await send(datasette, "POST", trigger, {"config": foreign})).status_code == 403
    assert (await send(datasette, "POST", trigger, {"config": {}})).status_code == 400
    # A task of somebody else's is not to be changed by who could not have made it.
    await scheduler.update_task("t", config=foreign)
    assert (await send(datasette, "PATCH", "/tasks/t", {"schedule": 5})).status_code == 403
    assert (await send(datasette, "PATCH", "/tasks/t", {"handler": "ok"})).status_code == 200
    assert await scheduler.runs("t") == []


async def test_what_was_approved_is_what_is_stored(
    datasette: Datasette, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one changes the config between the look and the write."""
    await send(datasette, "POST", "/tasks", WISH)
    approve = api_tasks._approve

    async def slow_approve(*args: Any, **options: Any) -> None:
        await approve(*args, **options)
        await scheduler.update_task("t", config={"theirs": 1})

    monkeypatch.setattr(api_tasks, "_approve", slow_approve)
    response = await send(datasette, "PATCH", "/tasks/t", {"schedule": 5})
    assert response.status_code == 409
    assert (await scheduler.get_task("t")).record.config == check_config({"theirs": 1})
    assert "changed meanwhile" in response.json()["error"]


# --- secrets


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("password", True),
        ("DB_PASSWORD", True),
        ("apiKey", True),
        ("api-key", True),
        ("x_api_key", True),
        ("clientSecret", True),
        ("Authorization", True),
        ("access_token", True),
        ("privateKey", True),
        ("dsn", True),
        ("auth", True),
        ("ssh_key", True),
        ("pw", True),
        ("jwt", True),
        ("key", False),
        ("spin", False),
        ("passenger", False),
        ("author", False),
        ("database", False),
        ("sql", False),
        ("monkey", False),
    ],
)
def test_what_looks_like_a_secret(key: str, secret: bool) -> None:
    assert is_secret(key) is secret
    assert masked({key: "x"}) == {key: MASK if secret else "x"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@h/x", "https://********@h/x"),
        ("https://u:p@w@h/x", "https://********@h/x"),
        ("https://u:p/w@h/", "https://********@h/"),
        ("https://h/x?token=abc&n=1#f", "https://h/x?token=********&n=1#f"),
        ("https://h/x?n=1&api_key=a", "https://h/x?n=1&api_key=********"),
        ("mail a@b.example, or see https://h/x", "mail a@b.example, or see https://h/x"),
    ],
)
def test_secrets_in_urls(text: str, shown: str) -> None:
    assert masked([text]) == [shown]


def test_secrets_of_named_values() -> None:
    header = {"name": "Authorization", "value": "Bearer abc"}
    assert masked({"headers": [header]}) == {"headers": [{**header, "value": "********"}]}


def test_secrets_are_masked_at_any_depth() -> None:
    config = {
        "url": "https://ada:pw@example.com/x?y=1",
        "headers": [{"Cookie": "x", "Accept": "y"}],
        "token": {"a": 1},
        "password": None,
        "n": 1,
    }
    assert masked(config) == {
        "url": f"https://{MASK}@example.com/x?y=1",
        "headers": [{"Cookie": MASK, "Accept": "y"}],
        "token": MASK,
        "password": None,
        "n": 1,
    }


async def test_secrets_are_for_those_who_may_edit(make_datasette: Any) -> None:
    permissions = {"datasette-cron-access": True, "datasette-cron-edit": {"id": "ada"}}
    datasette: Datasette = await make_datasette(config={"permissions": permissions})
    scheduler: Scheduler = datasette._cron_scheduler
    scheduler.register_handlers("test", {"ok": lambda datasette, config: None})
    await scheduler.add_task(**{**WISH, "config": {"token": "s3cret"}})
    await scheduler.trigger_task("t", config={"token": "s3cret"})
    for actor, shown in ((None, False), ({"id": "bob"}, False), ({"id": "ada"}, True)):
        for path in (
            f"{ROOT}/tasks",
            f"{ROOT}/tasks/t",
            f"{ROOT}/tasks/t?_extra=details",
            f"{ROOT}/runs/1",
            "/-/cron/t",
        ):
            text = (await datasette.client.get(path, actor=actor)).text
            assert ("s3cret" in text) is shown, path
            assert (MASK in text) is not shown, path
    audit = await datasette.client.get(f"{ROOT}/tasks/t/audit", actor={"id": "ada"})
    assert "s3cret" not in audit.text


# --- lists


async def walk(datasette: Datasette, path: str, key: str) -> list[list[Any]]:
    """The pages of a list, each asked for as the one before says."""
    pages = []
    url: str | None = path
    while url is not None:
        page = (await datasette.client.get(url.removeprefix("http://localhost"))).json()
        pages.append(page[key])
        assert (page["next"] is None) == (page["next_url"] is None)
        url = page["next_url"]
    return pages


async def test_pages(datasette: Datasette, scheduler: Scheduler) -> None:
    names = ["a", "b,c", "d e", "ü", "z~", "z+"]
    for name in names:
        await scheduler.add_task(**{**WISH, "name": name, "overlap": "allow"})
        await scheduler.trigger_task(name)
    pages = await walk(datasette, f"{ROOT}/tasks?_size=2", "tasks")
    assert [[task["name"] for task in page] for page in pages] == [
        ["a", "b,c"],
        ["d e", "z+"],
        ["z~", "ü"],
    ]
    assert len((await datasette.client.get(f"{ROOT}/tasks")).json()["tasks"]) == 6
    scheduler.start()
    await settle(scheduler)
    runs = await walk(datasette, f"{ROOT}/runs?_size=4&status=success", "runs")
    assert [[run["id"] for run in page] for page in runs] == [[6, 5, 4, 3], [2, 1]]
    for _ in range(3):
        await scheduler.trigger_task("a")
        await settle(scheduler)
    ended = await walk(datasette, f"{ROOT}/tasks/a/runs?_size=3", "runs")
    assert [[run["id"] for run in page] for page in ended] == [[9, 8, 7], [1]]
    audit = await walk(datasette, f"{ROOT}/tasks/a/audit?_size=1", "audit")
    assert [entry["action"] for [entry] in audit] == ["created"]


async def test_pages_of_skips(datasette: Datasette, scheduler: Scheduler) -> None:
    await scheduler.add_task(**WISH)
    storage = scheduler.internal_storage
    skips = [
        Skip(
            "t", START, START + timedelta(seconds=n // 2), 1, SkipReason.MISSED, START, note=str(n)
        )
        for n in range(5)
    ]
    await storage.write(storage.programs._add_skips(skips))
    pages = await walk(datasette, f"{ROOT}/tasks/t/skips?_size=2", "skips")
    assert [[skip["note"] for skip in page] for page in pages] == [["4", "3"], ["2", "1"], ["0"]]
    assert pages[0][0]["last_slot"] == "2027-01-01T00:00:02.000000+00:00"


async def test_filters(datasette: Datasette, scheduler: Scheduler, clock: VirtualClock) -> None:
    await scheduler.add_task(**WISH)
    await scheduler.add_task(**{**WISH, "name": "bad", "handler": "test:fail"})
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=180))

    async def found(query: str) -> list[tuple[str, str]]:
        runs = (await datasette.client.get(f"{ROOT}/runs?{query}")).json()["runs"]
        return [(run["task_name"], run["slot"][14:19]) for run in runs]

    assert len(await found("")) == 6
    assert await found("status=error&until=2027-01-01T00:01:00Z") == [("bad", "01:00")]
    assert await found("task=t&since=2027-01-01T00:02:00%2B00:00") == [
        ("t", "03:00"),
        ("t", "02:00"),
    ]
    assert len(await found("status=error&status=success")) == 6
    assert await found("task=nope") == []
    assert await found("task=%00") == []
    listed = await datasette.client.get(f"{ROOT}/tasks?handler=test:fail&last_status=error")
    assert [task["name"] for task in listed.json()["tasks"]] == ["bad"]
    listed = await datasette.client.get(f"{ROOT}/tasks?enabled=0")
    assert listed.json()["tasks"] == []


async def test_run_details(datasette: Datasette, scheduler: Scheduler) -> None:
    await scheduler.add_task(**{**WISH, "handler": "test:fail"})
    scheduler.start()
    await scheduler.trigger_task("t")
    await settle(scheduler)
    run = (await datasette.client.get(f"{ROOT}/runs/1")).json()["run"]
    assert (run["error_type"], run["error_message"]) == ("ValueError", "out of paper")
    assert run["error_traceback"].rstrip().endswith("ValueError: out of paper")
    assert run["status"] == Status.ERROR


async def test_explain_and_preview(datasette: Datasette, scheduler: Scheduler) -> None:
    await scheduler.add_task(**WISH)
    # The + of the offset as careless clients send it.
    at = "2027-01-01T00:01:00+00:00"
    explained = (await datasette.client.get(f"{ROOT}/tasks/t/explain?at={at}")).json()
    assert (explained["fate"], explained["at"]) == ("future", "2027-01-01T00:01:00.000000+00:00")
    body = {"schedule": "30 2 * * *", "timezone": "Europe/Berlin", "n": 2}
    shown = (await send(datasette, "POST", "/preview", body)).json()
    assert shown["description"] == "at 02:30 every day (Europe/Berlin)"
    assert [slot["local"] for slot in shown["slots"]] == [
        "2027-01-01T02:30:00+01:00",
        "2027-01-02T02:30:00+01:00",
    ]
    assert {warning["code"] for warning in shown["warnings"]} == {"dst-gap", "dst-overlap"}
    wrong = (await send(datasette, "POST", "/preview", {"schedule": "0 0 32 * *"})).json()
    assert (wrong["ok"], wrong["valid"]) == (True, False)
    assert "day-of-month" in wrong["error"]


async def test_times_at_the_ends_of_time(datasette: Datasette, scheduler: Scheduler) -> None:
    new_york = "America/New_York"
    await scheduler.add_task(**{**WISH, "schedule": "* * * * *", "timezone": new_york})
    for at in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0002-01-01T00:00:00Z"):
        known = at.startswith("0002")
        explained = await datasette.client.get(f"{ROOT}/tasks/t/explain?at={at}")
        assert explained.status_code == (200 if known else 400)
        body = {"schedule": "@daily", "timezone": new_york, "after": at}
        assert (await send(datasette, "POST", "/preview", body)).status_code == (
            200 if known else 400
        )
        assert (await datasette.client.get(f"{ROOT}/runs?since={at}")).status_code == (
            200 if known else 400
        )
    wish = {**WISH, "name": "late", "schedule": {"at": "9999-12-31T23:59:59Z"}, "jitter": 1000}
    assert (await send(datasette, "POST", "/tasks", wish)).status_code == 201


async def test_a_backfill_of_too_many_slots(datasette: Datasette, scheduler: Scheduler) -> None:
    """Of a schedule that counts them one by one, so that to count all would take minutes."""
    await scheduler.add_task(**{**WISH, "schedule": {"any": ["* * * * *", "@hourly"]}})
    span = {"start": "0002-01-01T00:00:00Z", "end": "9998-01-01T00:00:00Z"}
    response = await send(datasette, "POST", "/tasks/t/backfill", span)
    assert response.status_code == 400
    assert "more than 10000 slots" in response.json()["error"]
    assert await scheduler.runs() == []
    missing = await send(datasette, "POST", "/tasks/nope/backfill", span)
    assert missing.status_code == 404
