"""The plugin's configuration in datasette.yaml: what it may say, and the tasks that it makes."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from adapter_kit import EVERYBODY, plugin
from datasette.app import Datasette
from datasette.utils import StartupError

import cronkit_core
from cronkit_core.tasks import Task
from datasette_cron import config as configuration
from datasette_cron.config import read_config
from datasette_cron.scheduler import Scheduler

NOW = datetime(2027, 1, 1, tzinfo=UTC)
DOCS = Path(__file__).parents[2] / "docs" / "datasette.md"
NIGHTLY = {"handler": "test:ok", "schedule": "0 3 * * *"}


def section(text: str) -> dict[str, Any]:
    """A configuration of Datasette whose section for this plugin is that YAML."""
    return {**EVERYBODY, "plugins": {"datasette-cron": yaml.safe_load(text)}}


def read(text: str) -> configuration.Config:
    return read_config(Datasette(memory=True, config=section(text)), NOW)


# --- reading ---------------------------------------------------------------------------------


def test_without_a_section() -> None:
    assert read_config(Datasette(memory=True), NOW) == configuration.Config()


def test_every_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "snapshots").mkdir()
    monkeypatch.chdir(tmp_path)
    config = read("""
        scheduler: off
        concurrency: 20
        threads: 4
        groups: {imports: 1}
        poll: 0.5
        lease: 60
        grace: 0
        keep_runs: 500
        keep_for: 86400
        http_allow: [example.com, "https://example.org/hooks/"]
        snapshot_directory: snapshots
        compress: off
        tasks: {}
    """)
    assert config.scheduler is False
    assert config.settings == {
        "max_concurrency": 20,
        "threads": 4,
        "groups": {"imports": 1},
        "poll": 0.5,
        "lease": 60.0,
        "shutdown_grace": 0.0,
        "keep_runs": 500,
        "keep_for": 86400.0,
    }
    assert config.http_allow.entries == ("example.com", "https://example.org/hooks/")
    assert config.snapshot_directory == tmp_path / "snapshots"
    assert config.compress is False
    assert config.tasks == {}


def test_the_settings_reach_the_scheduler(tmp_path: Path) -> None:
    async def settings() -> Scheduler:
        datasette = Datasette(
            memory=True,
            internal=str(tmp_path / "internal.db"),
            config=section("{concurrency: 20, grace: 1, keep_runs: null, groups: {imports: 1}}"),
        )
        await datasette.invoke_startup()
        scheduler: Scheduler = datasette._cron_scheduler
        return scheduler

    scheduler = asyncio.run(settings())
    assert scheduler.settings.max_concurrency == 20
    assert scheduler.settings.keep_runs is None
    assert scheduler.settings.groups == {"imports": 1}
    assert scheduler.shutdown_grace == 1


@pytest.mark.parametrize("spelling", ["off", "'off'", "false", "no"])
def test_spellings_of_off(spelling: str) -> None:
    assert read(f"scheduler: {spelling}").scheduler is False


MISTAKES = [
    ("[]", "plugins.datasette-cron: bad []"),
    ("shedule: 1", "plugins.datasette-cron.shedule: unknown key 'shedule': did you mean 'schedule"),
    ("1: 1", "plugins.datasette-cron.1: unknown key 1"),
    ("scheduler: maybe", "plugins.datasette-cron.scheduler: bad scheduler 'maybe': on or off"),
    ("scheduler: 1", "scheduler: bad scheduler 1: on or off"),
    ("concurrency: 0", "concurrency: bad concurrency 0: a whole number from 1"),
    ("concurrency: 1.5", "concurrency: bad concurrency 1.5"),
    ("concurrency: true", "concurrency: bad concurrency True"),
    ("threads: many", "threads: bad threads 'many'"),
    ("poll: 0", "poll: bad poll 0: a number of seconds from 0.01"),
    ("poll: .nan", "poll: bad poll nan"),
    ("poll: .inf", "poll: bad poll inf"),
    ("lease: 0.5", "lease: bad lease 0.5"),
    ("grace: -1", "grace: bad grace -1"),
    ("keep_runs: 0", "keep_runs: bad keep_runs 0"),
    ("keep_for: 1 day", "keep_for: bad keep_for '1 day': a number of seconds"),
    ("groups: [a]", "groups: bad groups ['a']"),
    ("groups: {a: 0}", "groups: bad groups.a 0: a whole number from 1"),
    ("groups: {1: 1}", "groups: bad groups {1: 1}"),
    ("http_allow: example.com", "http_allow: bad http_allow 'example.com': a list"),
    ("http_allow: ['ftp://example.com/']", "http_allow: bad URL: one that begins with http://"),
    ("http_allow: ['example.com/hooks']", "http_allow: bad entry 'example.com/hooks'"),
    ("http_allow: ['https://example.com/?a=b']", "http_allow: bad entry"),
    ("http_allow: ['https://me:pw@example.com/']", "http_allow: bad URL: it holds a user name"),
    ("http_allow: [1]", "http_allow: bad http_allow[0] 1"),
    ("snapshot_directory: gone", "bad snapshot_directory 'gone': there is no such directory"),
    ("snapshot_directory: 3", "snapshot_directory: bad snapshot_directory 3"),
    ("tasks: [nightly]", "tasks: bad tasks ['nightly']"),
    ("tasks: {nightly: null}", "tasks.nightly: bad task None: its handler and its schedule"),
    ("tasks: {nightly: {schedule: 1h}}", "tasks.nightly: no handler: every task needs one"),
    ("tasks: {nightly: {handler: x}}", "tasks.nightly: no schedule: every task needs one"),
    ("tasks: {'': {handler: x, schedule: 1h}}", 'tasks[""]: task name is empty'),
    (
        "tasks: {'my task': {handler: x, schedule: 1h, retires: 3}}",
        "tasks[\"my task\"].retires: unknown key 'retires': did you mean 'retry'",
    ),
]
MISTAKES_OF_TASKS = [
    ("handler: 3", "handler: handler must be a string, not 3"),
    ("schedule: '61 * * * *'", "schedule: bad minute '61'"),
    ("schedule: 3h later", "schedule: "),
    ("schedule: null", "schedule: None is no schedule"),
    ("schedule: {cron: '0 3 * * *', timezone: Nowhere/At}", "schedule: unknown timezone"),
    ("schedule: '0 0 30 2 *'", "schedule: names no day: 30 February"),
    ("timezone: Europe/Berlim", "timezone: unknown timezone 'Europe/Berlim': did you mean"),
    ("timezone: 3", "timezone: bad timezone 3: an IANA name"),
    ("config: [1]", "config: config must be a dict"),
    ("config: {at: 2027-01-01}", "config: config cannot be written as JSON"),
    ("overlap: maybe", "overlap: bad overlap 'maybe': one of skip, queue, cancel, allow"),
    ("retry: {max_retries: -5}", "retry: bad retry['max_retries'] -5"),
    ("timeout: 0", "timeout: bad timeout 0"),
    ("start_at: soon", "start_at: bad start_at 'soon'"),
    ("start_at: 2027-01-01T00:00:00", "start_at: start_at 2027-01-01 00:00:00 has no time zone"),
    ("enabled: maybe", "enabled: bad enabled 'maybe': on or off"),
    ("{start_at: 2028-01-01T00:00:00Z, end_at: 2027-01-01T00:00:00Z}", ": end_at 2027"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(StartupError) as caught:
        read(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("plugins.datasette-cron")


@pytest.mark.parametrize(("text", "message"), MISTAKES_OF_TASKS)
def test_mistakes_of_tasks(text: str, message: str) -> None:
    task = {**NIGHTLY, **yaml.safe_load(text)}
    with pytest.raises(StartupError) as caught:
        read(yaml.safe_dump({"tasks": {"nightly": task}}))
    [line] = str(caught.value).splitlines()
    assert line.startswith("plugins.datasette-cron.tasks.nightly")
    assert message in line


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(StartupError) as caught:
        read("{poll: 0, tasks: {a: {schedule: x}, b: {handler: h, schedule: 1h, grace: -1}}}")
    assert [line.partition(": ")[0] for line in str(caught.value).splitlines()] == [
        "plugins.datasette-cron.poll",
        "plugins.datasette-cron.tasks.a.schedule",
        "plugins.datasette-cron.tasks.a",
        "plugins.datasette-cron.tasks.b.grace",
    ]


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRON_TOKEN", "s3cret")
    config = read("""
        tasks:
          nightly: {handler: h, schedule: 1h, config: {token: {$env: CRON_TOKEN}}}
    """)
    assert config.tasks is not None
    assert config.tasks["nightly"].wish["config"] == {"token": "s3cret"}
    with pytest.raises(StartupError, match=r"^plugins\.datasette-cron: .*no-such-file"):
        read("tasks: {nightly: {handler: h, schedule: 1h, config: {a: {$file: no-such-file}}}}")


def test_every_key_is_documented() -> None:
    documented = DOCS.read_text()
    keys = {*configuration.CHECKS, *configuration.TASK_KEYS}
    assert [key for key in sorted(keys) if f"`{key}`" not in documented] == []


def test_the_samples_in_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "backups").mkdir()
    monkeypatch.setenv("HOOK_TOKEN", "Bearer s3cret")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    samples = [yaml.safe_load(block) for block in blocks]
    configs = [read_config(Datasette(memory=True, config=sample), NOW) for sample in samples]
    assert any(config.tasks for config in configs)


# --- reconciling -----------------------------------------------------------------------------


class Instance:
    """Starts Datasettes one after the other on one internal database."""

    def __init__(self, internal: Path) -> None:
        self.internal = str(internal)
        self.datasette: Datasette | None = None

    async def start(self, config: dict[str, Any]) -> Scheduler:
        self.close()
        self.datasette = Datasette(memory=True, internal=self.internal, config=config)
        await self.datasette.invoke_startup()
        scheduler: Scheduler = self.datasette._cron_scheduler
        return scheduler

    async def start_with(self, **tasks: dict[str, Any]) -> Scheduler:
        return await self.start({"plugins": {"datasette-cron": {"tasks": tasks}}})

    def close(self) -> None:
        if self.datasette is not None:
            self.datasette.close()


def handle(datasette: Datasette, config: dict[str, Any]) -> None:
    pass


def handlers(datasette: Datasette) -> dict[str, Any]:
    return {"ok": handle}


@pytest.fixture
def instance(internal: Path) -> Iterator[Instance]:
    """An Instance, for whose configurations there is the handler "test:ok"."""
    made = Instance(internal)
    with plugin("test", cron_register_handlers=handlers):
        yield made
    made.close()


async def names(scheduler: Scheduler) -> list[str]:
    return [task.name for task in await scheduler.tasks()]


async def test_tasks_are_added_changed_and_removed(instance: Instance) -> None:
    scheduler = await instance.start_with(a=NIGHTLY, b=NIGHTLY)
    await scheduler.add_task("elsewhere", "test:ok", "0 4 * * *")
    assert await names(scheduler) == ["a", "b", "elsewhere"]
    scheduler = await instance.start_with(
        a={**NIGHTLY, "schedule": "0 5 * * *", "config": {"x": 1}}, c=NIGHTLY
    )
    assert await names(scheduler) == ["a", "c", "elsewhere"]
    task = await scheduler.get_task("a")
    assert (task.record.schedule_config, task.config) == ('{"cron":"0 5 * * *"}', {"x": 1})
    scheduler = await instance.start_with()
    assert await names(scheduler) == ["elsewhere"]


async def test_what_stays_the_same_is_not_written(instance: Instance) -> None:
    first: Task = await (await instance.start_with(a=NIGHTLY)).get_task("a")
    scheduler = await instance.start_with(a=NIGHTLY)
    assert (await scheduler.get_task("a")).record == first.record


async def test_a_default_that_is_no_longer_overridden_comes_back(instance: Instance) -> None:
    await instance.start_with(a={**NIGHTLY, "overlap": "allow", "timezone": "Europe/Berlin"})
    task = await (await instance.start_with(a=NIGHTLY)).get_task("a")
    assert (task.policies.overlap, task.timezone) == ("skip", None)


async def test_what_people_changed_is_as_configured_again(instance: Instance) -> None:
    scheduler = await instance.start_with(a=NIGHTLY)
    await scheduler.update_task("a", config={"x": 1})
    await scheduler.disable_task("a", by="ana")
    task = await (await instance.start_with(a=NIGHTLY)).get_task("a")
    assert task.config == {}
    assert task.enabled is False
    assert task.record.paused_by == "ana"


async def test_the_audit_trail_names_the_configuration(instance: Instance) -> None:
    await instance.start_with(a=NIGHTLY)
    await instance.start_with(a={**NIGHTLY, "schedule": "0 5 * * *"})
    await instance.start_with(a={**NIGHTLY, "schedule": "0 5 * * *", "enabled": False})
    storage = (await instance.start_with()).internal_storage
    entries = await storage.read(storage.programs.entries("a", None, 10))
    assert [(entry.action, entry.actor) for entry in reversed(entries)] == [
        ("created", "datasette.yaml"),
        ("updated", "datasette.yaml"),
        ("disabled", "datasette.yaml"),
        ("deleted", "datasette.yaml"),
    ]


async def test_enabled(instance: Instance) -> None:
    scheduler = await instance.start_with(a={**NIGHTLY, "enabled": False}, b=NIGHTLY)
    task = await scheduler.get_task("a")
    assert (task.enabled, task.record.paused_by) == (False, "datasette.yaml")
    assert (await scheduler.get_task("b")).enabled is True
    scheduler = await instance.start_with(a={**NIGHTLY, "enabled": "on"})
    task = await scheduler.get_task("a")
    assert (task.enabled, task.record.paused_by) == (True, None)


async def test_a_task_made_elsewhere_is_not_taken_over(instance: Instance) -> None:
    scheduler = await instance.start_with(b=NIGHTLY)
    await scheduler.add_task("a", "test:ok", "0 4 * * *", config={"mine": True})
    with pytest.raises(StartupError, match=r"tasks\.a: there is a task of that name"):
        await instance.start_with(a=NIGHTLY, c=NIGHTLY)
    scheduler = await instance.start({})
    assert await names(scheduler) == ["a", "b"]
    assert (await scheduler.get_task("a")).config == {"mine": True}


async def test_a_task_made_anew_by_hand_is_not_the_configuration_s(instance: Instance) -> None:
    scheduler = await instance.start_with(a=NIGHTLY)
    await scheduler.remove_task("a")
    await scheduler.add_task("a", "test:ok", "0 4 * * *")
    assert await names(await instance.start_with()) == ["a"]


async def test_without_a_section_nothing_is_removed(
    instance: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    await instance.start_with(a=NIGHTLY)
    scheduler = await instance.start({})
    assert await names(scheduler) == ["a"]
    assert "1 tasks of an earlier configuration go on" in caplog.text
    assert await names(await instance.start({"plugins": {"datasette-cron": {"poll": 2}}})) == []


async def test_unknown_handlers_and_bad_configs(instance: Instance) -> None:
    with pytest.raises(StartupError) as caught:
        await instance.start_with(
            a={"handler": "test:okay", "schedule": "1h"},
            b={"handler": "cron:sql", "schedule": "1h", "config": {"database": "x", "sql": "y"}},
            c=NIGHTLY,
        )
    first, second = str(caught.value).splitlines()
    assert first.startswith("plugins.datasette-cron.tasks.a.handler: Handler not found: test:okay")
    assert second.startswith("plugins.datasette-cron.tasks.b.config: unknown database 'x'")
    assert await names(await instance.start({})) == []


async def test_a_handler_of_another_plugin_s_startup_hook_is_in_time(instance: Instance) -> None:
    def startup(datasette: Datasette) -> Any:
        async def register() -> None:
            datasette._cron_scheduler.register_handlers("late", {"work": handle})

        return register

    with plugin("late", startup=startup):
        scheduler = await instance.start_with(a={"handler": "late:work", "schedule": "1h"})
    assert await names(scheduler) == ["a"]


async def test_events_tell_of_it(instance: Instance, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "datasette_cron")
    await instance.start_with(a=NIGHTLY, b={**NIGHTLY, "enabled": False})
    await instance.start_with(a={**NIGHTLY, "schedule": "1h"})
    told = [r.getMessage() for r in caplog.records if r.getMessage().startswith("configuration:")]
    assert told == [
        "configuration: TaskAdded: a",
        "configuration: TaskAdded: b",
        "configuration: TaskDisabled: b",
        "configuration: TaskUpdated: a",
        "configuration: TaskRemoved: b",
    ]


async def test_several_instances_at_once(internal: Path) -> None:
    config = section("""
        http_allow: [example.com]
        tasks:
          a: {handler: "cron:http", schedule: 1h, config: {url: "https://example.com/"}}
    """)
    made = [Datasette(memory=True, internal=str(internal), config=config) for _ in range(4)]
    # Each has threads and connections of its own, as if it were a process.
    await asyncio.gather(*(datasette.invoke_startup() for datasette in made))
    for datasette in made:
        assert await names(datasette._cron_scheduler) == ["a"]
        assert (await datasette._cron_scheduler.get_task("a")).record.revision == 1


# --- scheduler: off --------------------------------------------------------------------------


async def test_an_instance_whose_scheduler_is_off(
    instance: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    await instance.start_with(a=NIGHTLY)
    config = {"scheduler": "off", "tasks": {"b": NIGHTLY}}
    scheduler = await instance.start({**EVERYBODY, "plugins": {"datasette-cron": config}})
    assert "the scheduler is off here (plugins.datasette-cron.scheduler)" in caplog.text
    datasette = instance.datasette
    assert datasette is not None
    # It changes nothing by itself, and serves pages and API.
    response = await datasette.client.get("/-/api/cron/tasks")
    assert [task["name"] for task in response.json()["tasks"]] == ["a"]
    assert (await datasette.client.get("/-/cron")).status_code == 200
    await datasette.start_background_tasks()
    assert (await scheduler.status()).running is False
    assert datasette._background_tasks.tasks() == []
    # What it is asked for waits for a process that runs tasks.
    response = await datasette.client.post("/-/api/cron/tasks/a/trigger")
    run = await scheduler.get_run(response.json()["run_id"])
    assert run.status == "pending"
    other = Datasette(memory=True, internal=instance.internal)
    await other.invoke_startup()
    async with other._cron_scheduler:
        ended = await other._cron_scheduler.wait_for_run(run.id)
    assert ended.status == cronkit_core.Status.SUCCESS


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"http_allow": ["https://\ud800"]}, "http_allow: bad URL"),
        ({"http_allow": ["https://example.com/\ud800"]}, "http_allow: bad URL"),
        ({"tasks": {"a": {"b" * 5_000: 1}}}, "unknown key"),
        ({"tasks": {"a" * 900: "h"}}, "bad task 'h'"),
    ],
)
def test_errors_are_short_whatever_they_are_about(config: dict[str, Any], message: str) -> None:
    with pytest.raises(StartupError, match=message) as raised:
        read_config(Datasette(memory=True, config={"plugins": {configuration.PLUGIN: config}}), NOW)
    assert max(map(len, str(raised.value).split("\n"))) < 600
