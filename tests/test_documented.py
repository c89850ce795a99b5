"""Every public name, option, status, event, hook and command stands in the documentation."""

import re
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest

import cronkit_core
from cronkit_core import (
    ActiveRun,
    Fate,
    Policies,
    Reason,
    RetryPolicy,
    Run,
    Scheduler,
    Settings,
    SkipReason,
    Status,
    Trigger,
    cli,
    testing,
)
from cronkit_core.schedules import linting
from datasette_cron import hookspecs

ROOT = Path(__file__).parent.parent
PAGES = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}
REFERENCE = PAGES["reference.md"]


def missing(names, text: str) -> list[str]:
    return sorted({name for name in names if not re.search(rf"(?<!\w){re.escape(name)}\b", text)})


def public(kind: type) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_")]


def test_names() -> None:
    assert missing(cronkit_core.__all__, REFERENCE) == []


def test_names_for_tests() -> None:
    assert missing(testing.__all__, PAGES["testing.md"]) == []


@pytest.mark.parametrize("kind", [Policies, RetryPolicy])
def test_policies(kind: type) -> None:
    assert missing([field.name for field in fields(kind)], PAGES["policies.md"]) == []


def test_settings() -> None:
    assert missing([field.name for field in fields(Settings)], REFERENCE) == []


@pytest.mark.parametrize("kind", [Status, Reason, SkipReason, Fate, Trigger])
def test_values(kind: type) -> None:
    assert [value.value for value in kind if f"`{value.value}`" not in REFERENCE] == []


def test_operations() -> None:
    assert missing(public(Scheduler), REFERENCE) == []


async def test_what_a_handler_sees() -> None:
    scheduler = Scheduler()
    seen: list[ActiveRun] = []
    async with scheduler:
        await scheduler.add_task("t", seen.append, {"at": datetime(2100, 1, 1, tzinfo=UTC)})
        run: Run = await scheduler.wait_for_run(await scheduler.trigger_task("t"))
    assert run.status == "success"
    names = {*public(ActiveRun), *(name for name in vars(seen[0]) if not name.startswith("_"))}
    for_the_engine = {"cancel", "log_text", "report", "reported"}
    assert missing(names - for_the_engine, REFERENCE) == []


def test_warnings() -> None:
    codes = re.findall(r'"([a-z-]+)"', linting.Warning.__doc__ or "")
    assert len(codes) > 10
    assert missing(codes, PAGES["schedules.md"]) == []


def test_hooks() -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("cron_")]
    assert hooks
    assert missing(hooks, PAGES["datasette.md"]) == []


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--help"])
    commands = re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE)
    assert "between" in commands
    assert missing([f"cronkit {command}" for command in commands], REFERENCE) == []


def test_every_page_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in sorted(PAGES) if f"docs/{name}" not in readme] == []


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            if "://" in target:
                continue
            there = page if not path else (page.parent / path)
            assert there.exists(), f"{page.name}: {target}"
            if anchor and there.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
                anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
                assert anchor in anchors, f"{page.name}: {target}"
