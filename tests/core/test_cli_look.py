"""`cronkit tasks` and `cronkit runs`, on the storage of an application."""

import asyncio
import json
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cronkit_core import Scheduler, SQLiteStorage
from cronkit_core.cli import main
from cronkit_core.testing.virtual import VirtualClock, run_until

START = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an application that has run for two minutes."""
    (tmp_path / "lookapp.py").write_text(
        "from cronkit_core import Scheduler, SQLiteStorage\n"
        "scheduler = Scheduler(SQLiteStorage('jobs.db'))\n"
        "@scheduler.task('5m')\n"
        "def declared(run): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "lookapp", raising=False)
    asyncio.run(run_for_two_minutes())
    return tmp_path


async def run_for_two_minutes() -> None:
    def fails(run: object) -> None:
        raise ValueError("no\x1b[31m disk\nmore")

    clock = VirtualClock(START)
    async with Scheduler(SQLiteStorage("jobs.db"), clock=clock) as scheduler:
        await scheduler.add_task("fails", fails, {"interval": 60})
        await scheduler.add_task("works", lambda run: None, "0 8 * * *", timezone="Europe/Berlin")
        await run_until(scheduler, datetime(2027, 1, 1, 0, 2, tzinfo=UTC))
        await scheduler.disable_task("works", note="holidays")


def test_tasks(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "lookapp:scheduler"]) == 0
    head, fails, works = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["task", "enabled", "schedule"]
    assert fails.split()[:2] == ["fails", "yes"]
    assert "2027-01-01T00:03:00Z" in fails
    assert "every minute, counted from 2027-01-01T00:00:00+00:00" in fails
    assert works.split()[:2] == ["works", "no"]
    assert works.endswith("holidays")
    assert "08:00" in works


def test_runs(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "lookapp:scheduler", "--task", "fails", "--status", "error"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "2027-01-01T00:02:00Z" in lines[1]
    assert "no\\x1b[31m disk" in lines[1]
    assert "more" not in lines[1]


def test_as_json(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "lookapp:scheduler", "-n", "1", "--json"]) == 0
    [run] = json.loads(capsys.readouterr().out)
    assert (run["task"], run["slot"], run["status"]) == (
        "fails",
        "2027-01-01T00:02:00+00:00",
        "error",
    )
    assert run["error"] == "no\x1b[31m disk\nmore"


def test_nothing_to_show(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "lookapp:scheduler", "--search", "absent"]) == 1
    assert main(["runs", "lookapp:scheduler", "--task", "absent"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "cronkit: the storage has nothing that fits\n" * 2


def test_what_is_declared_is_not_added(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect("jobs.db")) as before:
        dump = list(before.iterdump())
    assert main(["tasks", "lookapp:scheduler"]) == 0
    assert "declared" not in capsys.readouterr().out
    with closing(sqlite3.connect("jobs.db")) as after:
        assert list(after.iterdump()) == dump


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tasks", "lookapp:nobody"], "the module 'lookapp' has no 'nobody'"),
        (["runs", "lookapp:scheduler", "-n", "0"], "'0': a number from 1 to 100000"),
        (["runs", "lookapp:scheduler", "--status", "odd"], "invalid choice"),
    ],
)
def test_bad_input(
    app: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
