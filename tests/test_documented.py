"""Every public name, option, status, event, hook and command stands in the documentation."""

import argparse
import re
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest

import cronkit_core
import datasette_cron.telemetry
from cronkit_core import (
    ActiveRun,
    Event,
    Explanation,
    Fate,
    Policies,
    Reason,
    RetryPolicy,
    Run,
    RunQuery,
    Scheduler,
    SchedulerStatus,
    Settings,
    Skip,
    SkipQuery,
    SkipReason,
    Status,
    Task,
    TaskQuery,
    Trigger,
    UpcomingSlot,
    cli,
    testing,
)
from cronkit_core.schedules import linting
from datasette_cron import hookspecs, permissions
from datasette_cron.routes import PAGES as SITE_PAGES

ROOT = Path(__file__).parent.parent
PAGES = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}
REFERENCE = PAGES["reference.md"]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
JUSTFILE = (ROOT / "justfile").read_text()


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


@pytest.mark.parametrize(
    "kind",
    [TaskQuery, RunQuery, SkipQuery, Task, Run, Skip, Explanation, UpcomingSlot, SchedulerStatus],
)
def test_what_is_asked_and_answered(kind: type) -> None:
    """In the rows of the tables that begin with the name of the kind."""
    rows = re.findall(rf"^\| `{kind.__name__}` \|.*\n(?:\| \|.*\n)*", REFERENCE, re.MULTILINE)
    assert [name for name in public(kind) if f"`{name}`" not in "".join(rows)] == []


def test_what_events_tell() -> None:
    for kind in Event.__subclasses__():
        [row] = re.findall(rf"^\| .*`{kind.__name__}`.*$", REFERENCE, re.MULTILINE)
        assert [field.name for field in fields(kind) if f"`{field.name}`" not in row] == []


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


def test_options_of_commands() -> None:
    commands = REFERENCE.partition("## Commands")[2]
    options = {option for parser in parsers(cli._parser()) for option in options_of(parser)}
    assert {"--after", "--search", "-n"} <= options
    assert [name for name in sorted(options - {"-h", "--help"}) if name not in commands] == []


def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parser, and those of its commands."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [inner for one in action.choices.values() for inner in parsers(one)]
    return found


def options_of(parser: argparse.ArgumentParser) -> list[str]:
    return [option for action in parser._actions for option in action.option_strings]


@pytest.mark.parametrize("page", ["reference.md", "datasette.md"])
def test_spans_and_metrics(page: str) -> None:
    told = [*datasette_cron.telemetry.SPANS, *datasette_cron.telemetry.METRICS]
    names = [str(getattr(one, "name", one)) for one in told]
    assert "cronkit.lateness" in names
    assert [name for name in names if f"`{name}`" not in PAGES[page]] == []


def test_permissions() -> None:
    names = [action.name for action in permissions.ACTIONS]
    assert [name for name in names if f"| `{name}` |" not in PAGES["datasette.md"]] == []


def test_pages_of_the_site() -> None:
    """Each address that a browser is led to, as it is or with a name or number in it. That of the
    question before a task is deleted is not for people to know."""
    told = set(re.findall(r"`(/-/cron[^`?]*)", PAGES["datasette.md"]))
    shown = [route.pattern for route in SITE_PAGES if "GET" in route.views]
    asked = r"/-/cron/(?P<name>[^/]+)/delete$"
    assert asked in shown
    assert [p for p in shown if p != asked if not any(re.match(p, at) for at in told)] == []


def test_every_recipe_is_named() -> None:
    recipes = re.findall(r"(?<!\[private\]\n)^([a-z-]+)[^\n:=]*:(?!=)", JUSTFILE, re.MULTILINE)
    assert {"test", "release"} <= set(recipes)
    assert [name for name in recipes if not re.search(rf"`{name}\b", CONTRIBUTING)] == []


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
