"""The REST endpoints and pages: shapes, names, errors, and who may."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from datasette.app import Datasette
from datasette.permissions import Action
from datasette.tokens import TokenRestrictions
from datasette.utils import tilde_encode
from datasette.utils.asgi import Request

from cronkit_core.errors import StorageError
from cronkit_core.testing.virtual import run_until, settle
from datasette_cron.call import Call
from datasette_cron.permissions import ACCESS
from datasette_cron.routes import API, PAGES, all_routes
from datasette_cron.scheduler import Scheduler

START = datetime(2027, 1, 1, tzinfo=UTC)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NAMES = (
    "plain",
    "alerts:cursor:01hx",
    "a/b",
    "dots.and.json",
    "sp ace",
    "plus+plus",
    "til~de",
    "per%cent",
    "%2F",
    "q?u&e=ry#hash",
    "Zürich 東京",
    "<script>alert(1)</script>",
    "quo\"te's",
    "new\nline",
    "..",
    "'; DROP TABLE datasette_cron_tasks; --",
)


async def add(scheduler: Scheduler, name: str = "t", **options: Any) -> None:
    wish = {"name": name, "handler": "test:ok", "schedule": {"interval": 60}, **options}
    await scheduler.add_task(**wish)


# --- shapes


async def test_tasks(datasette: Datasette, scheduler: Scheduler) -> None:
    await add(scheduler, "b", schedule="0 8 * * 1-5", timezone="Europe/Berlin")
    await add(scheduler, "a", config={"x": [1, None]})
    await scheduler.disable_task("a")
    response = await datasette.client.get("/-/api/cron/tasks")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    assert response.json() == {
        "tasks": [
            {
                "name": "a",
                "handler": "test:ok",
                "config": {"x": [1, None]},
                "schedule_type": "interval",
                "schedule_config": '{"anchor":"2027-01-01T00:00:00+00:00","interval":60}',
                "schedule_description": "every minute, counted from 2027-01-01T00:00:00+00:00",
                "timezone": None,
                "overlap_policy": "skip",
                "retry_max": 0,
                "retry_backoff": "exponential",
                "enabled": False,
                "next_run_at": "2027-01-01T00:01:00.000000+00:00",
                "last_run_at": None,
                "last_status": None,
                "created_at": "2027-01-01T00:00:00.000000+00:00",
                "updated_at": "2027-01-01T00:00:00.000000+00:00",
            },
            {
                "name": "b",
                "handler": "test:ok",
                "config": {},
                "schedule_type": "cron",
                "schedule_config": '{"cron":"0 8 * * 1-5"}',
                "schedule_description": "at 08:00, Monday to Friday (Europe/Berlin)",
                "timezone": "Europe/Berlin",
                "overlap_policy": "skip",
                "retry_max": 0,
                "retry_backoff": "exponential",
                "enabled": True,
                "next_run_at": "2027-01-01T07:00:00.000000+00:00",
                "last_run_at": None,
                "last_status": None,
                "created_at": "2027-01-01T00:00:00.000000+00:00",
                "updated_at": "2027-01-01T00:00:00.000000+00:00",
            },
        ]
    }
    one = await datasette.client.get("/-/api/cron/tasks/b")
    assert one.json() == response.json()["tasks"][1]


async def test_runs(datasette: Datasette, scheduler: Scheduler) -> None:
    await add(scheduler, handler="test:fail", schedule={"interval": 1})
    assert (await datasette.client.get("/-/api/cron/tasks/t/runs")).json() == {"runs": []}
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=60))
    runs = (await datasette.client.get("/-/api/cron/tasks/t/runs")).json()["runs"]
    assert len(runs) == 50
    assert runs[0] == {
        "id": 60,
        "task_name": "t",
        "started_at": "2027-01-01T00:01:00.000000+00:00",
        "finished_at": "2027-01-01T00:01:00.000000+00:00",
        "status": "error",
        "error_message": "out of paper",
        "attempt": 1,
        "duration_ms": 0,
    }
    # A task that was removed leaves its history.
    await scheduler.remove_task("t")
    assert (await datasette.client.get("/-/api/cron/tasks/t")).status_code == 404
    assert (await datasette.client.get("/-/api/cron/tasks/t/runs")).json()["runs"] == runs


@pytest.mark.parametrize("body", [b"", b"{}", b"  \n", b'{"force": false}'])
async def test_trigger(datasette: Datasette, scheduler: Scheduler, body: bytes) -> None:
    await add(scheduler)
    scheduler.start()
    response = await datasette.client.post("/-/api/cron/tasks/t/trigger", content=body)
    assert response.status_code == 200
    assert response.json() == {"ok": True, "message": "Task t triggered", "run_id": 1}
    await settle(scheduler)
    [run] = (await datasette.client.get("/-/api/cron/tasks/t/runs")).json()["runs"]
    assert run["status"] == "success"


async def test_trigger_knows_its_keys(datasette: Datasette, scheduler: Scheduler) -> None:
    await add(scheduler)
    answer = await datasette.client.post("/-/api/cron/tasks/t/trigger", json={"confg": {}})
    assert_error(answer, 400, "unknown key 'confg': did you mean 'config'?")
    assert await scheduler.runs("t") == []


async def test_enable(datasette: Datasette, scheduler: Scheduler) -> None:
    await add(scheduler)
    for enabled in (False, False, True):
        response = await datasette.client.post(
            "/-/api/cron/tasks/t/enable", json={"enabled": enabled}, actor={"id": "ada"}
        )
        assert response.json() == {"ok": True, "enabled": enabled}
        task = await scheduler.get_task("t")
        assert task.enabled is enabled
        assert task.record.paused_by == (None if enabled else "ada")


async def test_a_broken_task_says_why(datasette: Datasette, scheduler: Scheduler) -> None:
    await add(scheduler)
    await datasette.get_internal_database().execute_write(
        "UPDATE datasette_cron_tasks SET schedule_config = '{}'"
    )
    task = (await datasette.client.get("/-/api/cron/tasks/t")).json()
    assert task["schedule_description"].startswith("broken: ")
    page = await datasette.client.get("/-/cron/t")
    assert "This task cannot be read" in page.text


# --- names


@pytest.mark.parametrize("name", NAMES)
async def test_names_hold_any_character(
    datasette: Datasette, scheduler: Scheduler, name: str
) -> None:
    await add(scheduler, name)
    in_url = tilde_encode(name)
    task = await datasette.client.get(f"/-/api/cron/tasks/{in_url}")
    assert task.json()["name"] == name
    enabled = await datasette.client.post(
        f"/-/api/cron/tasks/{in_url}/enable", json={"enabled": True}
    )
    assert enabled.status_code == 200
    triggered = await datasette.client.post(f"/-/api/cron/tasks/{in_url}/trigger")
    assert triggered.json()["message"] == f"Task {name} triggered"
    index = await datasette.client.get("/-/cron")
    assert f'href="/-/cron/{in_url}"' in index.text
    page = await datasette.client.get(f"/-/cron/{in_url}")
    assert page.status_code == 200
    assert "<script>alert" not in page.text + index.text
    assert len((await datasette.client.get("/-/api/cron/tasks")).json()["tasks"]) == 1


@pytest.mark.parametrize(
    ("in_url", "name"),
    [
        ("alerts:cursor:01hx", "alerts:cursor:01hx"),
        ("alerts%3Acursor%3A01hx", "alerts:cursor:01hx"),
        ("a%2Fb", "a/b"),
        ("Z%C3%BCrich", "Zürich"),
        ("sp%20ace", "sp ace"),
        ("a+b", "a b"),
    ],
)
async def test_names_as_clients_write_them(
    datasette: Datasette, scheduler: Scheduler, in_url: str, name: str
) -> None:
    await add(scheduler, name)
    task = await datasette.client.get(f"/-/api/cron/tasks/{in_url}")
    assert task.status_code == 200
    assert task.json()["name"] == name


async def test_under_a_base_url(make_datasette: Any) -> None:
    datasette = await make_datasette(settings={"base_url": "/data/"})
    await add(datasette._cron_scheduler, "a:b")
    page = await datasette.client.get("/-/cron")
    assert page.status_code == 200
    assert 'href="/data/-/cron/a~3Ab"' in page.text
    assert (await datasette.client.get("/-/cron/a:b")).status_code == 200


@pytest.mark.parametrize("prefix", ["", "/data"])
async def test_the_next_page_under_a_base_url(make_datasette: Any, prefix: str) -> None:
    """Whether the proxy has taken the prefix out of the request or not."""
    datasette = await make_datasette(settings={"base_url": "/data/"})
    for name in "abc":
        await add(datasette._cron_scheduler, name)
    request = Request.fake(f"{prefix}/-/api/cron/tasks?_size=1")
    call = Call(datasette, request)
    assert call.with_args({"_next": "a"}) == "/data/-/api/cron/tasks?_size=1&_next=a"


# --- errors


def assert_error(response: Any, status: int, said: str) -> None:
    assert response.status_code == status
    body = response.json()
    assert body.keys() == {"ok", "error", "errors", "status"}
    assert (body["ok"], body["status"]) == (False, status)
    assert said in body["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "tasks/nope", None, 404, "Task not found: nope"),
        ("GET", "tasks/nope/runs", None, 404, "Task not found: nope"),
        ("POST", "tasks/nope/trigger", None, 404, "Task not found: nope"),
        ("POST", "tasks/nope/enable", b'{"enabled": true}', 404, "Task not found: nope"),
        ("POST", "tasks/nope/enable", b'{"enabled": false}', 404, "Task not found: nope"),
        ("POST", "tasks/lost/trigger", None, 409, "Handler not found: test:gone"),
        ("POST", "tasks/busy/trigger", None, 409, "is active"),
        ("POST", "tasks/t/trigger", b"{", 400, "not JSON"),
        ("POST", "tasks/t/trigger", b"\xff", 400, "not JSON"),
        ("POST", "tasks/t/trigger", b"[" * 100_000, 400, "not JSON"),
        ("POST", "tasks/t/trigger", b"[]", 400, "send an object"),
        ("POST", "tasks/t/enable", b"", 400, '{"enabled": true}'),
        ("POST", "tasks/t/enable", b"{}", 400, '{"enabled": true}'),
        ("POST", "tasks/t/enable", b'{"enabled": "false"}', 400, '{"enabled": true}'),
        ("POST", "tasks/t/enable", b'{"enabled": 1}', 400, '{"enabled": true}'),
        ("POST", "tasks/t/enable", b'"' + b"x" * 3_000_000 + b'"', 413, "maximum size"),
        ("PUT", "tasks/t", None, 405, "Method not allowed"),
        ("GET", "tasks/t/trigger", None, 405, "Method not allowed"),
    ],
)
async def test_errors(
    datasette: Datasette,
    scheduler: Scheduler,
    method: str,
    path: str,
    body: bytes | None,
    status: int,
    said: str,
) -> None:
    await add(scheduler)
    await add(scheduler, "lost", handler="test:gone")
    await add(scheduler, "busy", handler="test:hang")
    scheduler.start()
    await scheduler.trigger_task("busy")
    await settle(scheduler)
    response = await datasette.client.request(method, f"/-/api/cron/{path}", content=body)
    assert_error(response, status, said)


async def test_a_storage_that_fails_is_no_mistake_of_the_client(
    datasette: Datasette, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(scheduler.storage, "tasks", failing)
    assert_error(await datasette.client.get("/-/api/cron/tasks"), 503, "the disk is full")


@pytest.mark.parametrize("route", [*API, *PAGES], ids=lambda route: route.pattern)
async def test_methods_that_a_route_does_not_have(
    datasette: Datasette, scheduler: Scheduler, route: Any
) -> None:
    await add(scheduler)
    address = path_of(route.pattern)
    allowed = set(route.allow.split(", "))
    assert "HEAD" in allowed or "GET" not in allowed
    for method in METHODS:
        response = await datasette.client.request(method, address)
        assert (response.status_code == 405) == (method not in allowed), method
        if response.status_code == 405:
            assert set(response.headers["allow"].split(", ")) == allowed


async def test_pages_of_unknown_tasks(datasette: Datasette) -> None:
    response = await datasette.client.get("/-/cron/nope")
    assert response.status_code == 404
    assert "Task not found: nope" in response.text


# --- who may


def path_of(pattern: str, name: str = "t") -> str:
    path = pattern.replace("(?P<name>[^/]+)", name).replace("(?P<run_id>[^/]+)", "1")
    return path.replace("\\", "").removesuffix("$")


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in all_routes()])
async def test_every_route_has_the_gate(make_datasette: Any, pattern: str) -> None:
    """Whatever `register_routes` lists: who may not gets a 403, whether or not there is a task."""
    datasette = await make_datasette(config={"permissions": {ACCESS: {"id": "root"}}})
    scheduler: Scheduler = datasette._cron_scheduler
    await add(scheduler)
    for actor in (None, {"id": "mallory"}):
        for name in ("t", "nope"):
            for method in METHODS:
                response = await datasette.client.request(
                    method, path_of(pattern, name), actor=actor
                )
                assert response.status_code == 403
                if method != "HEAD" and "/api/" in pattern:
                    assert_error(response, 403, ACCESS)
    assert await scheduler.runs("t") == []
    assert (await scheduler.get_task("t")).enabled


def test_there_is_no_other_way_in() -> None:
    """No view is registered that is not in the tables of routes."""
    assert [pattern for pattern, _ in all_routes()] == [r.pattern for r in (*API, *PAGES)]
    assert all("/-/cron" in r.pattern or "/-/api/cron" in r.pattern for r in (*API, *PAGES))


async def test_who_may(make_datasette: Any) -> None:
    datasette = await make_datasette(config={"permissions": {ACCESS: {"id": "root"}}})
    root = await datasette.client.get("/-/api/cron/tasks", actor={"id": "root"})
    assert root.status_code == 200
    assert (await datasette.client.get("/-/cron", actor={"id": "root"})).status_code == 200
    assert isinstance(datasette.actions[ACCESS], Action)


@pytest.mark.parametrize(
    ("actor", "only", "status"),
    [
        ("root", None, 200),
        ("root", ACCESS, 200),
        ("root", "view-instance", 403),
        ("mallory", None, 403),
        ("mallory", ACCESS, 403),
    ],
)
async def test_tokens_and_their_restrictions(
    make_datasette: Any, actor: str, only: str | None, status: int
) -> None:
    datasette = await make_datasette(config={"permissions": {ACCESS: {"id": "root"}}})
    restrictions = None if only is None else TokenRestrictions().allow_all(only)
    token = await datasette.create_token(actor, restrictions=restrictions)
    response = await datasette.client.get(
        "/-/api/cron/tasks", headers={"authorization": f"Bearer {token}"}
    )
    assert response.status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
    ],
)
@pytest.mark.parametrize("route", [r for r in API if "POST" in r.views], ids=lambda r: r.pattern)
async def test_cross_site_posts_change_nothing(
    datasette: Datasette, scheduler: Scheduler, route: Any, headers: dict[str, str]
) -> None:
    await add(scheduler)
    response = await datasette.client.post(
        path_of(route.pattern), content=json.dumps({"enabled": False}), headers=headers
    )
    assert response.status_code == 403
    assert (await scheduler.get_task("t")).enabled
    assert await scheduler.runs("t") == []
