"""The whole API over real HTTP: each endpoint, each status code, each permission."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from live import Answer, Server, make_token

from datasette_cron.openapi import address
from datasette_cron.permissions import ACCESS, EDIT
from datasette_cron.routes import API

ROOT = "/-/api/cron"
TOO_LARGE = {"content-length": str(2 * 1024 * 1024 + 1)}
"""What is declared counts: the answer comes before the rest is sent."""
LATER = {"handler": "ok", "schedule": 86_400}


@pytest.fixture(scope="module")
def tokens() -> dict[str, str]:
    return {
        "ada": make_token("ada"),
        "bob": make_token("bob"),
        "mallory": make_token("mallory"),
        "ada, access only": make_token("ada", ACCESS),
        "ada, edit only": make_token("ada", EDIT),
        "ada, both": make_token("ada", ACCESS, EDIT),
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tokens: dict[str, str]) -> Iterator[Server]:
    """A server with the tasks `t`, `busy`, whose run 1 goes on, and `lost`, whose handler is gone.
    Run 2 has ended."""
    with Server(tmp_path_factory.mktemp("live")) as server:
        ada = tokens["ada"]
        for name, handler in (("t", "ok"), ("busy", "hang"), ("lost", "ok"), ("failed", "fail")):
            wish = {**LATER, "name": name, "handler": handler, "config": {"api_key": "s3cret"}}
            assert server.ask("POST", f"{ROOT}/tasks", wish, token=ada).status == 201
        for name in ("busy", "failed"):
            assert server.ask("POST", f"{ROOT}/tasks/{name}/trigger", token=ada).status == 200
        while server.ask("GET", f"{ROOT}/runs/2", token=ada).json["run"]["status"] != "error":
            pass
        yield server
    said = "".join(server.said)
    assert "Traceback" not in said.replace("ValueError: out of paper", ""), said


def test_each_endpoint_works(server: Server, tokens: dict[str, str]) -> None:
    def ask(method: str, path: str, body: object = None) -> Any:
        answer = server.ask(method, ROOT + path, body, token=tokens["ada"])
        assert answer.status in (200, 201), answer.text
        assert answer.headers["content-type"].startswith("application/json")
        used.add((method, re.sub(r"/(tasks|runs)/[^/?]+", r"/\1/{}", path.partition("?")[0])))
        return answer.json

    used: set[tuple[str, str]] = set()
    made = ask("POST", "/tasks", {**LATER, "name": "new", "config": {"a": 1}, "grace": 5})
    assert made["task"]["policies"] == {"grace": 5.0}
    assert "new" in [task["name"] for task in ask("GET", "/tasks")["tasks"]]
    assert ask("GET", "/tasks/new")["config"] == {"a": 1}
    assert ask("PATCH", "/tasks/new", {"config": {"a": 2}})["task"]["config"] == {"a": 2}
    assert ask("POST", "/tasks/new/update", {"enabled": False})["task"]["paused_by"] == "ada"
    assert ask("POST", "/tasks/new/enable", {"enabled": True}) == {"ok": True, "enabled": True}
    run_id = ask("POST", "/tasks/new/trigger", {"config": {"a": 3}})["run_id"]
    assert ask("GET", f"/runs/{run_id}")["run"]["config"] == {"a": 3}
    assert ask("GET", "/runs?task=new")["runs"][0]["triggered_by"] == "manual"
    ask("GET", "/tasks/new/runs")
    span = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    [backfilled] = ask("POST", "/tasks/busy/backfill", span)["run_ids"]
    assert ask("POST", f"/runs/{backfilled}/cancel")["ok"]
    assert ask("GET", "/tasks/new/skips") == {
        "ok": True,
        "skips": [],
        "next": None,
        "next_url": None,
    }
    assert ask("GET", "/tasks/new/explain?at=2020-01-01T00:00:00Z")["fate"] == "no-slot"
    actions = [entry["action"] for entry in ask("GET", "/tasks/new/audit")["audit"]]
    assert actions == ["triggered", "enabled", "disabled", "updated", "created"]
    assert ask("POST", "/preview", {"schedule": "0 8 * * *"})["valid"]
    assert "live:ok" in [handler["name"] for handler in ask("GET", "/handlers")["handlers"]]
    assert ask("GET", "/status")["running"]
    assert ask("GET", "/openapi.json")["openapi"] == "3.1.0"
    assert ask("POST", "/tasks/new/delete")["ok"]
    ask("POST", "/tasks", {**LATER, "name": "new"})
    assert ask("DELETE", "/tasks/new")["ok"]
    known = {
        (method, re.sub(r"\{\w+\}", "{}", address(route).removeprefix(ROOT)))
        for route in API
        for method in route.views
    }
    assert used == known


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "headers", "said"),
    [
        (400, "POST", "/tasks", b"{", {}, "not JSON"),
        (400, "POST", "/tasks", {}, {}, "no name"),
        (400, "POST", "/tasks", {**LATER, "name": ""}, {}, "empty"),
        (400, "POST", "/tasks", {**LATER, "name": "x", "schedule": "nope"}, {}, "nope"),
        (400, "POST", "/tasks", {**LATER, "name": "x", "handler": "nope"}, {}, "nope"),
        (400, "POST", "/tasks", {**LATER, "name": "x", "handler": "picky"}, {}, "a shape"),
        (400, "POST", "/tasks", {**LATER, "name": "x", "over_lap": "skip"}, {}, "overlap"),
        (400, "POST", "/tasks", {**LATER, "name": "x", "timezone": 5}, {}, "timezone"),
        (400, "PATCH", "/tasks/t", {"name": "other"}, {}, "name"),
        (400, "PATCH", "/tasks/t", {"config": []}, {}, "config"),
        (400, "PATCH", "/tasks/t", {"enabled": 1}, {}, "enabled"),
        (400, "POST", "/tasks/t/backfill", {}, {}, "start"),
        (400, "POST", "/tasks/t/backfill", {"start": "2026-01-01", "end": "x"}, {}, "offset"),
        (400, "POST", "/preview", {}, {}, "schedule"),
        (400, "POST", "/preview", {"schedule": "@daily", "n": 101}, {}, "1 to 100"),
        (400, "GET", "/tasks/t/explain", None, {}, "?at="),
        (400, "GET", "/tasks/t/explain?at=2026-01-01T00:00:00", None, {}, "offset"),
        (400, "GET", "/runs?status=nope", None, {}, "pending"),
        (400, "GET", "/runs?_size=0", None, {}, "1 to 1000"),
        (400, "GET", "/runs?_size=1001", None, {}, "1 to 1000"),
        (400, "GET", "/runs?_next=x", None, {}, "page before"),
        (400, "GET", "/tasks/t/skips?_next=x", None, {}, "page before"),
        (403, "PATCH", "/tasks/t", {"handler": "picky", "config": {"shape": "forbidden"}}, {}, ""),
        (404, "GET", "/tasks/nope", None, {}, "Task not found: nope"),
        (404, "PATCH", "/tasks/nope", {}, {}, "Task not found: nope"),
        (404, "PATCH", "/tasks/nope", {"priority": 1}, {}, "Task not found: nope"),
        (404, "DELETE", "/tasks/nope", None, {}, "Task not found: nope"),
        (404, "GET", "/tasks/nope/skips", None, {}, "Task not found: nope"),
        (404, "GET", "/tasks/nope/audit", None, {}, "Task not found: nope"),
        (404, "GET", "/tasks/nope/explain?at=2026-01-01T00:00:00Z", None, {}, "Task not found"),
        (404, "GET", "/runs/999", None, {}, "Run not found: 999"),
        (404, "GET", "/runs/" + "9" * 30, None, {}, "Run not found: 999"),
        (404, "GET", "/runs/nope", None, {}, "Run not found: nope"),
        (404, "POST", "/runs/999/cancel", None, {}, "Run not found: 999"),
        (405, "PUT", "/tasks/t", {}, {}, "GET, PATCH, DELETE, HEAD"),
        (405, "GET", "/tasks/t/update", None, {}, "POST"),
        (409, "POST", "/tasks", {**LATER, "name": "t"}, {}, "already exists"),
        (409, "POST", "/tasks/busy/trigger", {}, {}, "active"),
        (409, "POST", "/runs/2/cancel", {}, {}, "ended"),
        (413, "POST", "/tasks", b"x", TOO_LARGE, "maximum size"),
        (413, "PATCH", "/tasks/t", b"x", TOO_LARGE, "maximum size"),
        (415, "POST", "/tasks", b"<x/>", {"content-type": "text/xml"}, "text/xml"),
        (415, "PATCH", "/tasks/t", b"{}", {"content-type": "text/plain"}, "application/json"),
        (415, "POST", "/preview", b"x", {"content-type": "multipart/form-data"}, "multipart"),
    ],
)
def test_each_status_of_an_error(
    server: Server,
    tokens: dict[str, str],
    status: int,
    method: str,
    path: str,
    body: object,
    headers: dict[str, str],
    said: str,
) -> None:
    answer = server.ask(method, ROOT + path, body, token=tokens["ada"], headers=headers)
    assert answer.status == status, answer.text
    assert answer.json["ok"] is False
    assert answer.json["status"] == status
    assert said in answer.json["error"]
    assert ("allow" in answer.headers) == (status == 405)


def test_a_storage_that_fails_is_told_and_comes_back(
    tmp_path: Path, tokens: dict[str, str]
) -> None:
    with (
        Server(tmp_path) as server,
        closing(sqlite3.connect(server.internal, timeout=30, isolation_level=None)) as database,
    ):

        def ask(method: str, path: str, body: object = None) -> Answer:
            return server.ask(method, ROOT + path, body, token=tokens["ada"])

        assert ask("POST", "/tasks", {**LATER, "name": "t"}).status == 201
        database.execute("ALTER TABLE datasette_cron_runs RENAME TO gone")
        answers = [ask("GET", "/runs"), ask("POST", "/tasks/t/trigger")]
        database.execute("ALTER TABLE gone RENAME TO datasette_cron_runs")
        for answer in answers:
            assert (answer.status, answer.json["ok"]) == (503, False), answer.text
            assert "datasette_cron_runs" in answer.json["error"]
        assert ask("GET", "/runs").json["runs"] == []
        assert ask("POST", "/tasks/t/trigger").status == 200


CHANGES = [
    (method, path)
    for route in API
    for method, operation in route.views.items()
    if operation.edits
    for path in [address(route).removeprefix(ROOT).replace("{name}", "t")]
]


def test_what_needs_the_right_to_edit() -> None:
    assert CHANGES == [
        ("POST", "/tasks"),
        ("PATCH", "/tasks/t"),
        ("DELETE", "/tasks/t"),
        ("POST", "/tasks/t/update"),
        ("POST", "/tasks/t/delete"),
    ]


@pytest.mark.parametrize(
    ("who", "sees", "edits"),
    [
        (None, False, False),
        ("mallory", False, False),
        ("bob", True, False),
        ("ada", True, True),
        ("ada, access only", True, False),
        ("ada, edit only", False, False),
        ("ada, both", True, True),
    ],
)
def test_each_permission(
    server: Server, tokens: dict[str, str], who: str | None, sees: bool, edits: bool
) -> None:
    token = None if who is None else tokens[who]
    for route in API:
        path = address(route).replace("{name}", "t").replace("{run_id}", "2")
        if "GET" in route.views:
            answer = server.ask("GET", path + "?at=2026-01-01T00:00:00Z", token=token)
            assert answer.status == (200 if sees else 403), path
    for method, path in CHANGES:
        # What is wrong is found only by those who may.
        answer = server.ask(method, ROOT + path, b"{", token=token)
        assert answer.status == (400 if edits else 403), (method, path)
    own = server.ask("POST", f"{ROOT}/tasks/t/trigger", {"config": 1}, token=token)
    assert own.status == (400 if edits else 403)
    if sees:
        shown = server.ask("GET", f"{ROOT}/tasks/t", token=token).json
        assert shown["config"] == {"api_key": "s3cret" if edits else "********"}


@pytest.mark.parametrize("token", [None, "ada"])
def test_cross_site_requests_change_nothing(
    server: Server, tokens: dict[str, str], token: str | None
) -> None:
    """A page elsewhere makes the browser of somebody who may send these, with the cookie."""
    headers = {
        "sec-fetch-site": "cross-site",
        "origin": "https://evil.example",
        "content-type": "application/x-www-form-urlencoded",
        "cookie": "ds_actor=whatever",
    }
    before = server.ask("GET", f"{ROOT}/tasks/t?_extra=details", token=tokens["ada"]).json
    posts = [
        (method, address(route).replace("{name}", "t").replace("{run_id}", "1"))
        for route in API
        for method in route.views
        if method != "GET"
    ]
    for method, path in posts:
        answer = server.ask(
            method, path, b"enabled=false", token=token and tokens[token], headers=headers
        )
        assert answer.status == 403, path
    after = server.ask("GET", f"{ROOT}/tasks/t?_extra=details", token=tokens["ada"]).json
    assert before == after


def test_forms(server: Server, tokens: dict[str, str]) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    form = (
        b"name=42&handler=ok&schedule=0+8+*+*+*&timezone=Europe%2FBerlin&config=%7B%22n%22%3A1%7D"
    )
    made = server.ask("POST", f"{ROOT}/tasks", form, token=tokens["ada"], headers=headers)
    assert made.status == 201, made.text
    task = made.json["task"]
    assert (task["name"], task["config"], task["timezone"]) == ("42", {"n": 1}, "Europe/Berlin")
    assert made.headers["location"] == f"{ROOT}/tasks/42"
    changed = server.ask(
        "POST",
        f"{ROOT}/tasks/42/update",
        b"schedule=300&enabled=false",
        token=tokens["ada"],
        headers=headers,
    )
    assert changed.json["task"]["schedule_type"] == "interval"
    assert changed.json["task"]["enabled"] is False
