"""`datasette cron ...`: what the commands print, and how they end; bad input has no traceback."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from adapter_kit import plugin
from click.testing import CliRunner
from datasette.app import Datasette
from datasette.cli import cli

from cronkit_core import Scheduler, SQLiteStorage, current_run
from cronkit_core.testing.virtual import VirtualClock, run_until, settle
from datasette_cron.cli import cron
from datasette_cron.migrations import PREFIX, bring_up_to_date

START = datetime(2027, 1, 1, tzinfo=UTC)
DOCS = Path(__file__).parents[2] / "docs" / "datasette.md"


def run(*arguments: str | Path, code: int = 0, env: dict[str, str] | None = None) -> str:
    """What `datasette cron` prints with these arguments, its exit code being `code`."""
    environment = {"DATASETTE_INTERNAL": None, **(env or {})}
    result = CliRunner().invoke(cli, ["cron", *map(str, arguments)], env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def data(*arguments: str | Path, code: int = 0) -> Any:
    """What it prints as JSON."""
    return json.loads(run(*arguments, "--json", code=code))


async def fill(path: Path) -> None:
    """Some tasks and some history, of the first minutes of 2027."""
    storage = SQLiteStorage(path, prefix=PREFIX)
    await storage.open()
    await storage.write(bring_up_to_date(str(path), START))
    scheduler = Scheduler(storage, clock=VirtualClock(START), poll=3600, prune_every=3600)

    def fail(run: Any) -> None:
        raise ValueError("out of\npaper")

    scheduler.register_handler("works", lambda run: {"rows": 3})
    scheduler.register_handler("fails", fail)
    async with scheduler:
        await scheduler.add_task("feeds: check", "works", {"interval": 60}, timezone="Asia/Tokyo")
        await scheduler.add_task("fails\x1b[31m", "fails", {"interval": 120}, config={"a": 1})
        await scheduler.add_task("paused", "works", "0 3 * * *", timezone="Europe/Berlin")
        await scheduler.disable_task("paused", note="the disk is full", by="ana")
        await scheduler.add_task("once", "works", {"at": "2027-01-01T00:01:00"})
        await scheduler.add_task("often", "works", {"cron": "0 3 31 * *"})
        await run_until(scheduler, START + timedelta(seconds=120))
        await settle(scheduler)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "internal.db"
    asyncio.run(fill(path))
    return path


@pytest.fixture
def database(filled: Path, tmp_path: Path) -> Path:
    """A copy of its own."""
    path = tmp_path / "internal.db"
    with closing(sqlite3.connect(filled)) as conn:
        conn.execute("VACUUM INTO ?", (str(path),))
    return path


# --- tasks -----------------------------------------------------------------------------------


def test_list(filled: Path) -> None:
    lines = run("list", filled).splitlines()
    assert lines[0].split("  ")[0] == "TASK"
    assert [re.split(r" {2,}", line)[:3] for line in lines[1:]] == [
        ["fails\\x1b[31m", "enabled", "2027-01-01 00:04:00"],
        ["feeds: check", "enabled", "2027-01-01 00:03:00"],
        ["often", "enabled", "2027-01-31 03:00:00"],
        ["once", "enabled", "2027-01-01 00:01:00"],
        ["paused", "disabled", "at 03:00 every day (Europe/Berlin)"],
    ]
    tasks = data("list", filled)
    assert [task["name"] for task in tasks] == [
        "fails\x1b[31m",
        "feeds: check",
        "often",
        "once",
        "paused",
    ]
    assert tasks[0]["config"] == {"a": 1}
    assert tasks[0]["last_status"] == "error"
    assert tasks[4]["schedule_description"] == "at 03:00 every day (Europe/Berlin)"


def test_an_empty_database(tmp_path: Path) -> None:
    path = tmp_path / "internal.db"

    async def make() -> None:
        async with Scheduler(SQLiteStorage(path, prefix=PREFIX)):
            pass

    asyncio.run(make())
    assert run("list", path) == "There are no tasks.\n"
    assert run("runs", path) == "There are no runs.\n"
    assert run("next", path, code=1) == "No task is to run.\n"
    assert data("list", path) == []


def test_show(filled: Path) -> None:
    said = run("show", filled, "paused")
    assert "state:       disabled" in said
    assert "paused by:   ana" in said
    assert "note:        the disk is full" in said
    assert "RUN" not in said
    said = run("show", filled, "feeds: check")
    assert "SLOT (UTC)           LOCAL (Asia/Tokyo)" in said
    assert "2027-01-01 00:03:00  Fri 2027-01-01 09:03:00 +0900" in said
    found = data("show", filled, "feeds: check")
    assert found["made_by"] is None
    assert [run["status"] for run in found["runs"]] == ["success", "success"]
    assert found["upcoming"][0]["local"] == "2027-01-01T09:03:00+09:00"


def test_runs(filled: Path) -> None:
    lines = run("runs", filled).splitlines()
    assert len(lines) == 5
    assert any("fails\\x1b[31m" in line and "out of\\npaper" in line for line in lines)
    assert len(run("runs", filled, "-n", "1").splitlines()) == 2
    [found] = data("runs", filled, "fails\x1b[31m")
    assert (found["status"], found["reason"]) == ("error", "exception")
    [_, found] = data("runs", filled, "feeds: check")
    assert found["output"] == {"rows": 3}
    assert run("runs", filled, "paused") == "There are no runs.\n"


def test_next(filled: Path) -> None:
    assert [line.split("  ") for line in run("next", filled).splitlines()[1:]] == [
        ["2027-01-01 00:03:00", "feeds: check"],
        ["2027-01-01 00:04:00", "fails\\x1b[31m"],
        ["2027-01-31 03:00:00", "often"],
    ]
    assert [task["name"] for task in data("next", filled, "-n", "1")] == ["feeds: check"]
    assert len(run("next", filled, "paused", "-n", "3").splitlines()) == 4
    assert data("next", filled, "paused", "-n", "1")[0]["local"] == "2027-01-01T03:00:00+01:00"
    assert run("next", filled, "once", code=1) == "Its schedule is over.\n"


def test_trigger(database: Path) -> None:
    said = run("trigger", database, "paused")
    assert "is queued: a running Datasette starts it within a second" in said
    [found] = data("runs", database, "paused")
    assert (found["status"], found["triggered_by"]) == ("pending", "manual")
    assert "is active" in run("trigger", database, "paused", code=2)
    answer = data("trigger", database, "paused", "--force", "--config", '{"b": 2}')
    with closing(sqlite3.connect(database)) as conn:
        [[config]] = conn.execute(
            "SELECT config FROM datasette_cron_runs WHERE id = ?", (answer["run_id"],)
        )
    assert json.loads(config) == {"b": 2}


def test_enable_and_disable(database: Path) -> None:
    assert run("enable", database, "paused") == "paused is enabled\n"
    assert "state:       enabled" in run("show", database, "paused")
    assert run("disable", database, "once", "--note", "enough") == "once is disabled\n"
    said = run("show", database, "once")
    assert "paused by:   the command line" in said
    assert "note:        enough" in said
    assert data("enable", database, "once") == {"task_name": "once", "enabled": True}


def test_the_audit_trail_names_the_command_line(database: Path) -> None:
    run("enable", database, "paused")
    run("disable", database, "paused", "--note", "enough")
    run("trigger", database, "paused")
    with closing(sqlite3.connect(database)) as conn:
        found = conn.execute(
            "SELECT action, actor FROM datasette_cron_audit WHERE task = 'paused' ORDER BY id DESC "
            "LIMIT 3"
        ).fetchall()
    assert [action for action, _ in reversed(found)] == ["enabled", "disabled", "triggered"]
    assert {actor for _, actor in found} == {"the command line"}


def test_ways_to_name_the_database(filled: Path, tmp_path: Path) -> None:
    expected = run("show", filled, "paused")
    assert run("show", "paused", "--internal", filled) == expected
    env = {"DATASETTE_INTERNAL": str(filled)}
    assert run("show", "paused", env=env) == expected
    # An argument counts more than the environment.
    assert run("show", filled, "paused", env={"DATASETTE_INTERNAL": "gone.db"}) == expected
    assert run("list", env=env) == run("list", filled)
    assert len(data("runs", "feeds: check", "--internal", filled)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list"], "which internal database?"),
        (["list", "{}", "extra"], "expected [INTERNAL], got"),
        (["list", "gone.db"], "gone.db: no such file"),
        (["list", "."], ".: no such file"),
        (["list", "text.db"], "file is not a database"),
        (["list", "other.db"], "it holds no scheduled tasks"),
        (["list", "alpha.db"], "datasette-cron 0.0.1a2 wrote it"),
        (["list", "new.db"], "upgrade cronkit"),
        (["show", "{}"], "expected [INTERNAL] TASK"),
        (["show", "{}", "gone"], "Task not found: gone"),
        (["show", "{}", "a\0b"], "Task not found"),
        (["runs", "{}", "gone"], "Task not found: gone"),
        (["runs", "{}", "-n", "0"], "Invalid value for '-n'"),
        (["next", "{}", "gone"], "Task not found: gone"),
        (["trigger", "{}", "gone"], "Task not found: gone"),
        (["trigger", "{}", "once", "--config", "{{"], "bad JSON in --config"),
        (["trigger", "{}", "once", "--config", "[]"], "config must be a dict"),
        (["enable", "{}", "gone"], "Task not found: gone"),
        (["disable", "{}", "gone"], "Task not found: gone"),
        (["disable", "{}", "once", "--note", ""], "note is empty"),
        (["preview"], "Missing argument 'SCHEDULE'"),
        (["preview", "61 * * * *"], "bad minute '61'"),
        (["preview", "{}x"], "no schedule"),
        (["preview", '{{"cron": '], "bad JSON in SCHEDULE"),
        (["preview", "@daily", "--tz", "Nowhere"], "unknown timezone 'Nowhere'"),
        (["lint"], "what is to be checked?"),
        (["lint", "-c", "gone.yaml"], "No such file"),
        (["lint", "-c", "bad.yaml"], "not valid JSON or YAML"),
        (["lint", "-c", "list.yaml"], "keys and their values are wanted"),
        (["lint", "-c", "wrong.yaml"], "plugins.datasette-cron.tasks.a: no handler"),
        (["run-due"], "which internal database?"),
        (["run-due", "gone.db", "--internal", "i.db"], "does not exist"),
        (["run-due", "--internal", "i.db", "-c", "bad.yaml"], "not valid JSON or YAML"),
        (["run-due", "--internal", "i.db", "-c", "wrong.yaml"], "tasks.a: no handler"),
        (["run-due", "--internal", "new.db"], "upgrade cronkit"),
        (["run-due", "--internal", "i.db", "--timeout", "-1"], "Invalid value for '--timeout'"),
    ],
)
def test_bad_input(
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.db").write_text("this is no database, but rather long for a text" * 100)
    (tmp_path / "bad.yaml").write_text("plugins: [")
    (tmp_path / "list.yaml").write_text("[1]")
    (tmp_path / "wrong.yaml").write_text("plugins: {datasette-cron: {tasks: {a: {schedule: 1h}}}}")
    for name, script in {
        "other.db": "CREATE TABLE t (a)",
        "alpha.db": "CREATE TABLE datasette_cron_tasks (name)",
        "new.db": "CREATE TABLE datasette_cron_schema (version); "
        "INSERT INTO datasette_cron_schema VALUES (99); CREATE TABLE datasette_cron_tasks (a)",
    }.items():
        with closing(sqlite3.connect(name)) as conn:
            conn.executescript(script)
    said = run(*(argument.format(database) for argument in arguments), code=2)
    assert message in said


# --- schedules -------------------------------------------------------------------------------


def test_preview() -> None:
    said = run("preview", "30 2 * * *", "--tz", "Europe/Berlin", "-n", "2").splitlines()
    assert said[0] == "at 02:30 every day (Europe/Berlin)"
    assert said[1].startswith("warning: ")
    assert said[-3].startswith("SLOT (UTC)")
    found = data("preview", '{"interval": 3600}')
    assert found["schedule"]["interval"] == 3600
    assert len(found["slots"]) == 5
    assert found["warnings"] == []
    assert "no slots" in run("preview", '{"at": "2020-01-01T00:00:00"}', code=1)


def test_lint(filled: Path, tmp_path: Path) -> None:
    assert "often: " in run("lint", filled, code=1)
    config = tmp_path / "datasette.yaml"
    task = "{handler: 'cron:sql', schedule: '%s'}"
    config.write_text(f"plugins: {{datasette-cron: {{tasks: {{a: {task % '0 3 * * *'}}}}}}}")
    assert run("lint", "-c", config) == "no warnings in 1 schedules\n"
    config.write_text(f"plugins: {{datasette-cron: {{tasks: {{a: {task % '0 3 31 * *'}}}}}}}")
    [warning] = data("lint", "-c", config, code=1)
    assert (warning["task_name"], warning["code"]) == ("a", "some-months")
    assert len(data("lint", filled, "-c", config, code=1)) >= 2


# --- run-due ---------------------------------------------------------------------------------


async def work(datasette: Datasette, config: dict[str, Any]) -> dict[str, bool]:
    """Notes its run; then does what `config` says."""
    run = current_run()
    await datasette.get_database("notes").execute_write(
        "insert into notes values (?, ?)", [run.task.name, run.attempt]
    )
    if config.get("fail"):
        raise ValueError("out of paper")
    if config.get("again"):
        await datasette._cron_scheduler.trigger_task(run.task.name, force=True)
    if config.get("hang"):
        await asyncio.Event().wait()
    return {"done": True}


def handlers(datasette: Datasette) -> dict[str, Any]:
    return {"work": work}


class Host:
    """A machine on which `run-due` is called now and then."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.internal = directory / "internal.db"
        self.database = directory / "notes.db"
        with closing(sqlite3.connect(self.database)) as conn:
            conn.execute("CREATE TABLE notes (task, attempt)")
        self.config = directory / "datasette.yaml"
        self.config.write_text("{}")

    def prepare(self, due: str | None = None, **tasks: dict[str, Any]) -> None:
        """Make these tasks, to run next at `due`, else a second ago."""
        due = due or (datetime.now(UTC) - timedelta(seconds=1)).isoformat()

        async def prepare() -> None:
            datasette = Datasette(memory=True, internal=str(self.internal))
            datasette._cron_options = {"clock": VirtualClock(datetime.fromisoformat(due))}
            await datasette.invoke_startup()
            scheduler = datasette._cron_scheduler
            for name, wish in tasks.items():
                wish = {"handler": "worker:work", "schedule": {"interval": 3600}, **wish}
                await scheduler.add_task(name=name, **wish)
                await scheduler.internal_db.update_next_run(name, due)
            datasette.close()

        asyncio.run(prepare())

    def run_due(self, *options: str, code: int = 0) -> str:
        arguments = (self.database, "--internal", self.internal, "-c", self.config)
        return run("run-due", *arguments, *options, code=code)

    def notes(self) -> list[tuple[str, int]]:
        with closing(sqlite3.connect(self.database)) as conn:
            return conn.execute("SELECT task, attempt FROM notes ORDER BY rowid").fetchall()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with plugin("worker", cron_register_handlers=handlers):
        yield Host(tmp_path)


def test_run_due_executes_what_is_due_once(host: Host) -> None:
    assert host.run_due() == "Nothing was due.\n"
    host.prepare(a={}, b={})
    host.prepare("2100-01-01T00:00:00+00:00", later={})
    found = json.loads(host.run_due("--json"))
    assert [(run["task_name"], run["output"]) for run in found["runs"]] == [
        ("a", {"done": True}),
        ("b", {"done": True}),
    ]
    assert host.run_due() == "Nothing was due.\n"
    assert host.notes() == [("a", 1), ("b", 1)]


def test_run_due_leaves_what_comes_meanwhile(host: Host) -> None:
    # There is a slot every 10 ms, and each run asks for another run.
    host.prepare(a={"schedule": {"interval": 0.01}, "config": {"again": True}})
    host.run_due()
    host.run_due()
    assert 2 <= len(host.notes()) < 50


def test_run_due_catches_up(host: Host) -> None:
    due = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    host.prepare(due, a={"catch_up": "all"})
    host.run_due()
    assert host.notes() == [("a", 1)] * 4


def test_run_due_leaves_retries_for_the_next_time(host: Host) -> None:
    retry = {"max_retries": 2, "backoff": "constant", "base": 3600}
    host.prepare(a={"config": {"fail": True}, "retry": retry}, b={})
    said = host.run_due(code=1)
    assert "out of paper" in said
    assert host.notes() == [("a", 1), ("b", 1)]
    assert [run["status"] for run in data("runs", host.internal, "a")] == ["pending", "error"]


def test_run_due_does_at_once_what_is_to_be_retried_at_once(host: Host) -> None:
    retry = {"max_retries": 2, "backoff": "constant", "base": 0}
    host.prepare(a={"config": {"fail": True}, "retry": retry})
    host.run_due(code=1)
    assert host.notes() == [("a", 1), ("a", 2), ("a", 3)]


def test_run_due_within_a_limit_of_time(host: Host) -> None:
    host.prepare(a={"config": {"hang": True}})
    said = host.run_due("--timeout", "0.3", code=1)
    assert "interrupted: the scheduler was stopped" in said
    assert said.endswith("not all of it ended within 0.3 s\n")


def test_run_due_with_the_tasks_of_the_configuration(host: Host) -> None:
    host.config.write_text("""
        plugins:
          datasette-cron:
            scheduler: on
            tasks:
              count:
                handler: cron:sql
                schedule: {interval: 3600}
                config: {database: notes, sql: "insert into notes values ('sql', 0)"}
    """)
    assert host.run_due() == "Nothing was due.\n"
    assert data("show", host.internal, "count")["made_by"] == "datasette.yaml"
    assert "made by:     datasette.yaml" in run("show", host.internal, "count")
    run("trigger", host.internal, "count")
    [found] = json.loads(host.run_due("--json"))["runs"]
    assert found["output"] == {"rows_changed": 1}
    assert host.notes() == [("sql", 0)]


def test_run_due_where_the_scheduler_is_off(host: Host) -> None:
    host.prepare(a={})
    host.config.write_text("plugins: {datasette-cron: {scheduler: off}}")
    host.run_due()
    assert host.notes() == [("a", 1)]


def test_run_due_with_plugins_and_new_files(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "once.py").write_text("""
from datasette import hookimpl


def work(datasette, config):
    return {"database": sorted(datasette.databases)}


@hookimpl
def cron_register_handlers(datasette):
    return {"work": work}


@hookimpl
def startup(datasette):
    async def add():
        scheduler = datasette._cron_scheduler
        await scheduler.add_task("t", "once:work", "@daily")
        await scheduler.trigger_task("t", force=True)

    return add
""")
    command = [sys.executable, "-m", "datasette", "cron", "run-due", "new.db", "--create"]
    command += ["--internal", "internal.db", "--plugins-dir", "plugins", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    [found] = json.loads(done.stdout)["runs"]
    assert found["output"] == {"database": ["new"]}


def test_every_command_is_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasette.yaml").touch()
    samples = re.findall(r"^\$ datasette cron (\S+) ?(.*)$", DOCS.read_text(), re.MULTILINE)
    assert {name for name, _ in samples} == set(cron.commands)
    for name, rest in samples:
        with cron.commands[name].make_context(name, shlex.split(rest)):
            pass  # an option that there is not would have raised
    for name in cron.commands:
        assert "--json" in run(name, "--help")
