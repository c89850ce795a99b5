"""The built-in handlers: what they do, what they refuse, and to whom."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from adapter_kit import EVERYBODY
from datasette.app import Datasette
from datasette.utils.asgi import Forbidden

from cronkit_core.errors import HandlerNotFound, InvalidTask
from cronkit_core.runs import Reason, Run
from datasette_cron.allow_list import AllowList
from datasette_cron.requirements import check_config, check_task, demands
from datasette_cron.scheduler import Scheduler

ROOT = {"id": "root"}
ANA = {"id": "ana"}


class Site:
    """A Datasette with the database `notes`, and a scheduler that runs what it is asked to."""

    def __init__(self, directory: Path, **section: Any) -> None:
        self.directory = directory
        self.path = directory / "notes.db"
        with sqlite3.connect(self.path) as conn:
            conn.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT)")
        conn.close()
        fixed = directory / "fixed.db"
        fixed.write_bytes(self.path.read_bytes())
        self.datasette = Datasette(
            [str(self.path)],
            immutables=[str(fixed)],
            memory=True,
            internal=str(directory / "internal.db"),
            config={
                **EVERYBODY,
                "plugins": {"datasette-cron": section},
                "databases": {
                    "notes": {
                        "permissions": {"execute-write-sql": {"id": ["ana", "root"]}},
                        "tables": {
                            "notes": {
                                "permissions": {
                                    "insert-row": {"id": ["ana", "root"]},
                                    "update-row": {"id": ["ana", "root"]},
                                    "delete-row": {"id": ["ana", "root"]},
                                }
                            }
                        },
                        "queries": {
                            "add": {
                                "sql": "insert into notes (text) values (:text)",
                                "write": True,
                            },
                            "stamp": {
                                "sql": "insert into notes (text) values (:_now_date_utc)",
                                "write": True,
                            },
                            "mine": {
                                "sql": "insert into notes (text) values (:_actor_id)",
                                "write": True,
                            },
                            "read": {"sql": "select * from notes"},
                        },
                    }
                },
            },
        )
        self.datasette.root_enabled = True

    @property
    def scheduler(self) -> Scheduler:
        scheduler: Scheduler = self.datasette._cron_scheduler
        return scheduler

    async def run(self, handler: str, config: dict[str, Any], **options: Any) -> Run:
        """The only run of a new task with that handler and config."""
        options.setdefault("schedule", "0 3 * * *")
        await self.scheduler.add_task(name="t", handler=handler, config=config, **options)
        run_id = await self.scheduler.trigger_task("t")
        return await self.scheduler.wait_for_run(run_id)

    async def output(self, handler: str, config: dict[str, Any]) -> Any:
        run = await self.run(handler, config)
        assert run.error_message is None, run.error_traceback
        return json.loads(run.output or "null")

    def rows(self, sql: str = "SELECT text FROM notes ORDER BY id") -> list[Any]:
        conn = sqlite3.connect(self.path)
        try:
            return [row[0] for row in conn.execute(sql)]
        finally:
            conn.close()


Make = Callable[..., Any]


@pytest.fixture
async def make(tmp_path: Path) -> Any:
    """Makes a Site whose scheduler is started; its arguments are the plugin's configuration."""
    sites: list[Site] = []

    async def make(**section: Any) -> Site:
        site = Site(tmp_path, **section)
        sites.append(site)
        await site.datasette.invoke_startup()
        site.scheduler.start()
        return site

    yield make
    for site in sites:
        await site.datasette.invoke_shutdown()


@pytest.fixture
async def site(make: Make) -> Site:
    return await make()  # type: ignore[no-any-return]


# --- cron:sql --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "params", "changed"),
    [
        ("insert into notes (text) values ('a'), ('b')", {}, 2),
        ("insert into notes (text) values (:text) returning id", {"text": "a"}, 1),
        ("with new as (select 'a' as x) insert into notes (text) select x from new", {}, 1),
        ("insert into notes (text) values ('a'); update notes set text = 'b';", {}, 2),
        ("insert into notes (text) values ('semi;colon'); -- a comment; and more", {}, 1),
        ("delete from notes", {}, 0),
        ("create table more (a)", {}, 0),
        ("select 1", {}, 0),
        ("vacuum", {}, 0),
        ("pragma wal_checkpoint(truncate)", {}, 0),
        ("insert into notes (text) values (:list)", {"list": [1, {"a": None}]}, 1),
        (
            "create trigger twice after insert on notes begin "
            "update notes set text = 'x' where id = new.id; end; "
            "insert into notes (text) values ('a')",
            {},
            1,
        ),
    ],
)
async def test_sql_reports_the_rows_changed(
    site: Site, sql: str, params: dict[str, Any], changed: int
) -> None:
    config = {"database": "notes", "sql": sql, "params": params}
    assert await site.output("cron:sql", config) == {"rows_changed": changed}


async def test_sql_knows_its_run(site: Site) -> None:
    sql = (
        "insert into notes (text) values (:cron_task || ' ' || :cron_slot || ' ' || :cron_attempt)"
    )
    run = await site.run("cron:sql", {"database": "notes", "sql": sql})
    assert site.rows() == [f"t {run.slot.isoformat()} 1"]


async def test_params_do_not_stand_in_for_what_a_run_is(site: Site) -> None:
    sql = "insert into notes (text) values (:cron_task), (:_now_date_utc)"
    params = {"cron_task": "another", "_now_date_utc": "1999-01-01"}
    await site.output("cron:sql", {"database": "notes", "sql": sql, "params": params})
    assert site.rows() == ["t", f"{datetime.now(UTC):%Y-%m-%d}"]


async def test_sql_that_is_cancelled_while_it_waits_is_not_executed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    entered, release = threading.Event(), threading.Event()

    def occupy(conn: Any) -> None:
        entered.set()
        release.wait(30)

    database = site.datasette.get_database("notes")
    occupied = asyncio.create_task(database.execute_write_fn(occupy))
    await asyncio.to_thread(entered.wait)
    run = await site.run("cron:sql", INSERT, timeout=0.1)
    assert run.reason == Reason.TIMEOUT
    release.set()
    await occupied
    await database.execute_write("insert into notes (text) values ('after')")
    assert site.rows() == ["after"]
    assert "the run was cancelled" in capsys.readouterr().err


async def test_sql_with_a_stored_query(site: Site) -> None:
    config = {"database": "notes", "query": "add", "params": {"text": "stored"}}
    assert await site.output("cron:sql", config) == {"rows_changed": 1}
    assert await site.output("cron:sql", {"database": "notes", "query": "stamp"})
    assert site.rows() == ["stored", f"{datetime.now(UTC):%Y-%m-%d}"]


async def test_sql_is_one_transaction(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "insert into notes (text) values ('a'); insert into nowhere values (1)"
    run = await site.run("cron:sql", {"database": "notes", "sql": sql})
    assert (run.error_type, run.error_message) == ("OperationalError", "no such table: nowhere")
    assert site.rows() == []
    assert "no such table" in capsys.readouterr().err


ENDLESS = (
    "insert into notes (text) with recursive n(i) as (select 1 union all select i + 1 from n) "
    "select i from n"
)


async def test_sql_that_takes_too_long_is_rolled_back(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    run = await site.run("cron:sql", {"database": "notes", "sql": ENDLESS}, timeout=0.1)
    assert run.reason == Reason.TIMEOUT
    # The thread that writes is free again.
    config = {"database": "notes", "sql": "insert into notes (text) values ('next')"}
    assert await site.output("cron:sql", config) == {"rows_changed": 1}
    assert site.rows() == ["next"]
    assert "interrupted" in capsys.readouterr().err


BAD_SQL: list[tuple[dict[str, Any], str]] = [
    ({"sql": "select 1"}, "the config of cron:sql has no 'database'"),
    ({"database": 3, "sql": "select 1"}, "bad database 3: a text"),
    ({"database": "notes"}, "needs either 'sql' or 'query'"),
    ({"database": "notes", "sql": "x", "query": "y"}, "needs either 'sql' or 'query'"),
    ({"database": "notes", "sql": " "}, "bad sql ' ': a text is wanted"),
    ({"database": "notes", "sql": ["x"]}, "bad sql ['x']"),
    ({"database": "notes", "sql": ";" * 20_001}, "bad sql: 20001 characters"),
    ({"database": "notes", "sql": "x", "parms": {}}, "did you mean 'params'?"),
    ({"database": "notes", "sql": "x", "params": [1]}, "bad params [1]"),
    ({"database": "gone", "sql": "x"}, "unknown database 'gone'"),
    ({"database": "_internal", "sql": "x"}, "unknown database '_internal'"),
    ({"database": "fixed", "sql": "x"}, "database 'fixed' is immutable"),
    ({"database": "_memory", "sql": "x"}, "database '_memory' is immutable"),
    ({"database": "notes", "query": "gone"}, "no stored query 'gone'"),
    ({"database": "notes", "query": "read"}, "the stored query 'read' only reads"),
    ({"database": "notes", "query": "add"}, "parameter :text has no value"),
    ({"database": "notes", "query": "mine"}, "parameter :_actor_id stands for a part of a request"),
    (
        {"database": "notes", "query": "mine", "params": {"_actor_id": "root"}},
        "parameter :_actor_id stands for a part of a request",
    ),
    ({"database": "notes", "sql": "select :_x"}, "parameter :_x has no value"),
]


@pytest.mark.parametrize(("config", "message"), BAD_SQL)
async def test_sql_refuses(site: Site, config: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTask) as caught:
        await check_config(site.scheduler, "cron:sql", config)
    assert message in str(caught.value)
    run = await site.run("cron:sql", config)
    assert run.error_type == "InvalidTask"
    assert message in (run.error_message or "")


INSERT = {"database": "notes", "sql": "insert into notes (text) values ('a')"}


@pytest.mark.parametrize(
    ("actor", "config", "allowed"),
    [
        (ROOT, INSERT, True),
        (ANA, INSERT, True),
        ({"id": "ben"}, INSERT, False),
        (None, INSERT, False),
        (ROOT, {"database": "notes", "sql": "create table more (a)"}, True),
        (ANA, {"database": "notes", "sql": "create table more (a)"}, False),
        (ANA, {"database": "notes", "sql": f"{INSERT['sql']}; drop table notes"}, False),
        (ANA, {"database": "notes", "sql": "attach 'other.db' as other"}, False),
        (ROOT, {"database": "notes", "sql": "vacuum"}, False),
        (ANA, {"database": "notes", "sql": "update sqlite_master set sql = ''"}, False),
        # A trusted query is the operator's, for all who may see it.
        ({"id": "ben"}, {"database": "notes", "query": "stamp"}, True),
        # An actor who may not write learns nothing of what there is.
        (ANA, {"database": "gone", "sql": "x"}, False),
    ],
)
async def test_sql_requires_what_the_actor_may_do_by_hand(
    site: Site, actor: Any, config: dict[str, Any], allowed: bool
) -> None:
    if allowed:
        await check_task(site.scheduler, actor, "cron:sql", config)
    else:
        with pytest.raises(Forbidden):
            await check_task(site.scheduler, actor, "cron:sql", config)


async def test_sql_requires_the_same_for_a_stored_query_of_a_user(site: Site) -> None:
    config = {"database": "notes", "query": "wipe"}
    await site.datasette.add_query("notes", "wipe", "delete from notes", is_write=True)
    await check_task(site.scheduler, ANA, "cron:sql", config)
    with pytest.raises(Forbidden):
        await check_task(site.scheduler, {"id": "ben"}, "cron:sql", config)


# --- cron:snapshot ---------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    found = tmp_path / "snapshots"
    found.mkdir()
    return found


async def test_snapshot(make: Make, directory: Path) -> None:
    site = await make(snapshot_directory=str(directory))
    await site.output("cron:sql", INSERT)
    run = await site.run("cron:snapshot", {"database": "notes"})
    output = json.loads(run.output or "")
    [file] = directory.iterdir()
    assert output == {"file": file.name, "bytes": file.stat().st_size, "deleted": []}
    assert file.name == f"notes-{run.slot:%Y%m%dT%H%M%S.%f}Z.db"
    conn = sqlite3.connect(file)
    assert conn.execute("SELECT text FROM notes").fetchall() == [("a",)]
    conn.close()


async def test_snapshots_are_named_by_their_slots_and_the_newest_are_kept(
    make: Make, directory: Path
) -> None:
    site = await make(snapshot_directory=str(directory))
    (directory / "notes-20200101T000000Z.db").touch()
    (directory / "notes-20200102T000000Z.db").touch()
    (directory / ".notes-20200102T000000Z.db.partial").touch()
    others = ["notes-2-20200101T000000Z.db", "notes.db", "notes-20200101T000000Z.db.bak", "x"]
    for name in others:
        (directory / name).touch()
    await site.scheduler.add_task(
        name="t",
        handler="cron:snapshot",
        schedule="0 3 * * *",
        config={"database": "notes", "keep": 2},
    )
    await site.scheduler.internal_db.update_next_run("t", "2026-01-01T03:00:00")
    while not (runs := await site.scheduler.runs("t")):
        await asyncio.sleep(0.01)
    run = await site.scheduler.wait_for_run(runs[0].id)
    assert json.loads(run.output or "")["deleted"] == ["notes-20200101T000000Z.db"]
    kept = ["notes-20200102T000000Z.db", "notes-20260101T030000Z.db"]
    assert sorted(path.name for path in directory.iterdir()) == sorted([*others, *kept])


async def test_snapshot_of_an_immutable_database_and_one_in_memory(
    make: Make, directory: Path
) -> None:
    site = await make(snapshot_directory=str(directory))
    memory = site.datasette.add_memory_database("in-memory", name="a/b c")
    await memory.execute_write("create table t (a)")
    assert (await site.output("cron:snapshot", {"database": "fixed"}))["bytes"] > 0
    output = await site.output("cron:snapshot", {"database": "a/b c"})
    assert output["file"].startswith("a~2Fb+c-")
    output = await site.output("cron:snapshot", {"database": "a/b c", "name": "plain"})
    assert output["file"].startswith("plain-")
    assert len(list(directory.iterdir())) == 3


async def test_a_cancelled_snapshot_leaves_nothing(make: Make, directory: Path) -> None:
    site = await make(snapshot_directory=str(directory))
    rows = "with recursive n(i) as (select 1 union all select i + 1 from n limit 600000)"
    sql = f"insert into notes (text) {rows} select hex(randomblob(20)) from n"
    await site.output("cron:sql", {"database": "notes", "sql": sql})
    run = await site.run("cron:snapshot", {"database": "notes"}, timeout=0.05)
    assert run.reason == Reason.TIMEOUT
    async with asyncio.timeout(10):
        while list(directory.iterdir()):
            await asyncio.sleep(0.01)


async def test_a_snapshot_replaces_a_link_and_does_not_follow_it(
    make: Make, directory: Path, tmp_path: Path
) -> None:
    site = await make(snapshot_directory=str(directory))
    await site.scheduler.add_task(
        name="t", handler="cron:snapshot", schedule="0 3 * * *", config={"database": "notes"}
    )
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("notes-20260101T030000Z.db", ".notes-20260101T030000Z.db.partial"):
        (directory / name).symlink_to(victim)
    await site.scheduler.internal_db.update_next_run("t", "2026-01-01T03:00:00")
    while not (runs := await site.scheduler.runs("t")):
        await asyncio.sleep(0.01)
    assert (await site.scheduler.wait_for_run(runs[0].id)).error_message is None
    assert victim.read_text() == "precious"
    [file] = directory.iterdir()
    assert not file.is_symlink()


BAD_SNAPSHOTS: list[tuple[dict[str, Any], str]] = [
    ({}, "the config of cron:snapshot has no 'database'"),
    ({"database": "gone"}, "unknown database 'gone'"),
    ({"database": "_memory"}, "unknown database '_memory'"),
    ({"database": "notes", "keep": 0}, "bad keep 0"),
    ({"database": "notes", "name": "../notes"}, "bad name '../notes'"),
    ({"database": "notes", "name": "a/b"}, "bad name 'a/b'"),
    ({"database": "notes", "name": ".hidden"}, "bad name '.hidden'"),
    ({"database": "notes", "name": "a\0b"}, "bad name"),
    ({"database": "notes", "name": "a" * 101}, "bad name"),
    ({"database": "notes", "directory": "/tmp"}, "unknown key in the config of cron:snapshot"),
]


@pytest.mark.parametrize(("config", "message"), BAD_SNAPSHOTS)
async def test_snapshot_refuses(
    make: Make, directory: Path, config: dict[str, Any], message: str
) -> None:
    site = await make(snapshot_directory=str(directory))
    with pytest.raises(InvalidTask) as caught:
        await check_config(site.scheduler, "cron:snapshot", config)
    assert message in str(caught.value)
    assert list(directory.iterdir()) == []


async def test_snapshot_without_a_directory(site: Site) -> None:
    run = await site.run("cron:snapshot", {"database": "notes"})
    assert "set plugins.datasette-cron.snapshot_directory" in (run.error_message or "")


async def test_snapshot_requires_the_permission_to_download(make: Make, directory: Path) -> None:
    site = await make(snapshot_directory=str(directory))
    await check_task(site.scheduler, None, "cron:snapshot", {"database": "notes"})
    site.datasette.config["databases"]["notes"]["permissions"]["view-database-download"] = False
    with pytest.raises(Forbidden):
        await check_task(site.scheduler, ANA, "cron:snapshot", {"database": "notes"})


# --- cron:http -------------------------------------------------------------------------------


class Answers(BaseHTTPRequestHandler):
    """An HTTP server that answers as its paths say, and remembers what it was asked."""

    seen: list[tuple[str, str, dict[str, str], bytes]]
    elsewhere: str
    release: threading.Event

    def answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        self.seen.append((self.command, self.path, dict(self.headers), body))
        status, headers, content = 200, {}, b"hello"
        match self.path.split("/")[-1].split("?")[0]:
            case "away":
                status, headers = 302, {"location": self.elsewhere}
            case "on":
                status, headers = 302, {"location": "/hooks/hello"}
            case "up":
                status, headers = 302, {"location": "/admin"}
            case "round":
                status, headers = 302, {"location": "/hooks/round"}
            case "broken":
                status, content = 503, b"out of paper"
            case "long":
                content = b"\xc3\xa9" * 500_000
            case "slow":
                self.release.wait(10)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.wfile.write(content)
            except OSError:  # the client has seen enough
                self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *args: Any) -> None:
        pass


class Server:
    def __init__(self) -> None:
        self.answers = type("These", (Answers,), {"seen": [], "release": threading.Event()})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self.answers)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_port}"

    @property
    def seen(self) -> list[tuple[str, str, dict[str, str], bytes]]:
        return self.answers.seen  # type: ignore[attr-defined,no-any-return]

    def close(self) -> None:
        self.answers.release.set()  # type: ignore[attr-defined]
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    """Two servers; the path /hooks/away of the first redirects to the second."""
    made = Server(), Server()
    made[0].answers.elsewhere = f"http://{made[1].host}/hooks/hello"  # type: ignore[attr-defined]
    yield made
    for server in made:
        server.close()


@pytest.fixture
async def web(make: Make, servers: tuple[Server, Server]) -> tuple[Site, str, Server]:
    """A Site that may request what is under /hooks/ of the first server, that URL, and the
    server."""
    url = f"http://{servers[0].host}/hooks"
    return await make(http_allow=[f"{url}/"]), url, servers[0]


async def test_http_get(web: tuple[Site, str, Server]) -> None:
    site, url, server = web
    output = await site.output("cron:http", {"url": f"{url}/hello?a=1"})
    assert output == {"status": 200, "body": "hello"}
    [(method, path, _, body)] = server.seen
    assert (method, path, body) == ("GET", "/hooks/hello?a=1", b"")


async def test_http_with_everything(web: tuple[Site, str, Server]) -> None:
    site, url, server = web
    headers = {"Authorization": "Bearer s3cret"}
    config = {"url": url, "method": "post", "headers": headers, "json": {"a": [1]}, "timeout": 5}
    await site.output("cron:http", config)
    await site.output("cron:http", {"url": url, "method": "PUT", "body": "é"})
    (first, _, sent, body), (second, _, _, text) = server.seen
    assert (first, sent["Authorization"], json.loads(body)) == (
        "POST",
        "Bearer s3cret",
        {"a": [1]},
    )
    assert (second, text.decode()) == ("PUT", "é")


async def test_http_keeps_the_beginning_of_a_long_answer(web: tuple[Site, str, Server]) -> None:
    site, url, _ = web
    assert (await site.output("cron:http", {"url": f"{url}/long"}))["body"] == "é" * 1_000


async def test_http_follows_redirects_on_the_list(web: tuple[Site, str, Server]) -> None:
    site, url, server = web
    assert (await site.output("cron:http", {"url": f"{url}/on"}))["status"] == 200
    assert [path for _, path, _, _ in server.seen] == ["/hooks/on", "/hooks/hello"]


@pytest.mark.parametrize("path", ["away", "up"])
async def test_http_redirects_do_not_leave_the_list(
    web: tuple[Site, str, Server], servers: tuple[Server, Server], path: str
) -> None:
    site, url, server = web
    run = await site.run("cron:http", {"url": f"{url}/{path}"})
    assert run.error_type == "InvalidTask"
    assert "is not on the list plugins.datasette-cron.http_allow" in (run.error_message or "")
    assert [path for _, path, _, _ in server.seen] == [f"/hooks/{path}"]
    assert servers[1].seen == []


@pytest.mark.parametrize(
    ("path", "config", "message"),
    [
        ("broken", {}, ": the answer was 503: out of paper"),
        ("slow", {"timeout": 0.2}, ": no answer within 0.2 s"),
        ("round", {}, ": TooManyRedirects"),
    ],
)
async def test_http_errors_hold_no_secrets(
    web: tuple[Site, str, Server], path: str, config: dict[str, Any], message: str
) -> None:
    site, url, server = web
    run = await site.run("cron:http", {"url": f"{url}/{path}?token=s3cret", **config})
    assert run.error_type == "HttpError"
    assert run.error_message == f"GET http://{server.host}{message}"
    assert "s3cret" not in (run.error_traceback or "")


async def test_http_to_nobody(make: Make, servers: tuple[Server, Server]) -> None:
    site = await make(http_allow=["127.0.0.1:1"])
    run = await site.run("cron:http", {"url": "http://127.0.0.1:1/"})
    assert (run.error_message or "").startswith("GET http://127.0.0.1:1: no connection: ")


async def test_http_without_a_list(site: Site) -> None:
    run = await site.run("cron:http", {"url": "http://localhost/"})
    assert "no URL may be requested" in (run.error_message or "")


BAD_HTTP: list[tuple[dict[str, Any], str]] = [
    ({}, "the config of cron:http has no 'url'"),
    ({"url": 3}, "bad url 3"),
    ({"url": "/hooks"}, "bad URL: one that begins with http:// or https://"),
    ({"url": "file:///etc/passwd"}, "bad URL: one that begins with"),
    ({"url": "http://[::1"}, "bad URL: "),
    ({"url": "http://a:b@example.com/"}, "bad URL: it holds a user name"),
    ({"url": "http://elsewhere.com/"}, "a URL of http://elsewhere.com is not on the list"),
    ({"url": "http://example.com/", "method": "TRACE"}, "bad method 'TRACE'"),
    ({"url": "http://example.com/", "headers": {"a": 1}}, "bad headers['a']"),
    ({"url": "http://example.com/", "headers": {"a": "b\r\nc: d"}}, "line breaks have no place"),
    ({"url": "http://example.com/", "headers": {"": "b"}}, "bad headers['']"),
    ({"url": "http://example.com/", "json": 1, "body": "x"}, "both 'json' and 'body'"),
    ({"url": "http://example.com/", "timeout": 0}, "bad timeout 0"),
    ({"url": "http://example.com/", "verify": False}, "unknown key in the config of cron:http"),
]


@pytest.mark.parametrize(("config", "message"), BAD_HTTP)
async def test_http_refuses(make: Make, config: dict[str, Any], message: str) -> None:
    site = await make(http_allow=["example.com"])
    with pytest.raises(InvalidTask) as caught:
        await check_config(site.scheduler, "cron:http", config)
    assert message in str(caught.value)


HOST = "example.com"
HOOKS = "https://example.com/hooks/"


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        (HOST, "https://example.com", True),
        (HOST, "http://example.com/any/path?x=y", True),
        (HOST, "https://EXAMPLE.com:443/", True),
        (HOST, "https://example.com:8443/", False),
        (HOST, "https://www.example.com/", False),
        (HOST, "https://example.com.evil.org/", False),
        (HOST, "https://evil.org/example.com", False),
        (HOST, "https://evil.org?example.com", False),
        (HOST, "https://evil.org#@example.com", False),
        (HOST, "https://evil.org\\@example.com/", False),
        (HOST, "https://notexample.com/", False),
        ("localhost:8001", "http://localhost:8001/-/api", True),
        ("localhost:8001", "http://localhost/", False),
        ("[::1]:8001", "http://[::1]:8001/", True),
        ("müller.de", "https://xn--mller-kva.de/", True),
        (HOOKS, "https://example.com/hooks/a", True),
        (HOOKS, "https://example.com/hooks", True),
        (HOOKS, "https://example.com/hooks?x=y", True),
        (HOOKS, "http://example.com/hooks/a", False),
        (HOOKS, "https://example.com/hooksmith", False),
        (HOOKS, "https://example.com/", False),
        (HOOKS, "https://example.com/hooks/../admin", False),
        (HOOKS, "https://example.com/hooks/%2e%2e/admin", False),
        (HOOKS, "https://example.com/hooks/%252e%252e/admin", False),
        (HOOKS, "https://example.com/hooks/..%2fadmin", False),
        (HOOKS, "https://example.com/hooks/..\\admin", False),
        (HOOKS, "https://example.com/hooks/..%5cadmin", False),
        (HOOKS, "https://example.com//hooks/a", False),
        ("https://example.com/hooks", "https://example.com/hooks/a", True),
        ("https://example.com/hooks", "https://example.com/hooks2", False),
        ("https://example.com", "https://example.com/a", True),
    ],
)
def test_the_list_of_urls(entry: str, url: str, allowed: bool) -> None:
    if allowed:
        AllowList((entry,)).check(url)
    else:
        with pytest.raises(InvalidTask):
            AllowList((entry,)).check(url)


# --- requirements ----------------------------------------------------------------------------


async def test_what_a_handler_demands(site: Site) -> None:
    asked: list[tuple[Any, ...]] = []

    def validate(datasette: Datasette, config: dict[str, Any]) -> None:
        if "feed" not in config:
            raise ValueError("no feed")
        config.clear()  # it is a copy

    async def requires(datasette: Datasette, actor: Any, config: dict[str, Any]) -> bool | None:
        asked.append((datasette, actor, dict(config)))
        return None if actor else False

    @demands(validate=validate, requires=requires)
    def check(datasette: Datasette, config: dict[str, Any]) -> None: ...

    def plain(datasette: Datasette, config: dict[str, Any]) -> None: ...

    site.scheduler.register_handlers("feeds", {"check": check, "plain": plain})
    config = {"feed": 1}
    for name in ("feeds:check", "check"):
        await check_task(site.scheduler, ANA, name, config)
        assert asked.pop() == (site.datasette, ANA, {"feed": 1})
        with pytest.raises(Forbidden, match=f"the handler {name} refuses"):
            await check_task(site.scheduler, None, name, config)
        with pytest.raises(InvalidTask, match=r"bad config for the handler '.*check': no feed"):
            await check_task(site.scheduler, ANA, name, {})
    with pytest.raises(Forbidden):
        await check_task(site.scheduler, None, "check", {})
    await check_task(site.scheduler, None, "plain", {})
    with pytest.raises(HandlerNotFound):
        await check_task(site.scheduler, ROOT, "feeds:gone", {})


async def test_requirements_may_rely_on_a_config_that_has_a_meaning(site: Site) -> None:
    def validate(datasette: Datasette, config: dict[str, Any]) -> None:
        if "feed" not in config:
            raise ValueError("no feed")

    def requires(datasette: Datasette, actor: Any, config: dict[str, Any]) -> bool:
        return bool(config["feed"] == actor["id"])

    @demands(validate=validate, requires=requires)
    def check(datasette: Datasette, config: dict[str, Any]) -> None: ...

    site.scheduler.register_handlers("feeds", {"check": check})
    with pytest.raises(InvalidTask, match="no feed"):
        await check_task(site.scheduler, ANA, "check", {})
    with pytest.raises(TypeError):  # a mistake of the plugin's own
        await check_task(site.scheduler, None, "check", {"feed": 1})


async def test_built_in_handlers_leave_bare_names_to_plugins(site: Site) -> None:
    assert site.scheduler.get_handler("sql") is None
    assert {"cron:sql", "cron:snapshot", "cron:http"} <= set(site.scheduler.handlers)


async def test_a_slot_is_snapshot_once_however_often_it_is_tried(
    make: Make, directory: Path
) -> None:
    site = await make(snapshot_directory=str(directory))
    start = datetime(2026, 1, 1, 3, tzinfo=UTC)
    await site.scheduler.add_task(
        name="t", handler="cron:snapshot", schedule="0 3 * * *", config={"database": "notes"}
    )
    ids = await site.scheduler.backfill("t", start, start + timedelta(days=1))
    for run_id in ids:
        assert (await site.scheduler.wait_for_run(run_id)).error_message is None
    assert sorted(path.name for path in directory.iterdir()) == [
        "notes-20260101T030000Z.db",
        "notes-20260102T030000Z.db",
    ]
