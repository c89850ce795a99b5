"""What people install: the wheels, in an environment that has nothing of the workspace."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from postgres_fixture import Server

ROOT = Path(__file__).parents[2]
USAGE = Path(__file__).with_name("typed_usage.py")
NAMES = ("cronkit_core", "datasette_cron")
EXTRAS = ("postgres", "testing", "croniter")
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSIDE = {"UV_PROJECT", "UV_WORKING_DIRECTORY", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in INSIDE}


def run(*command: str | Path, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and an sdist of each package."""
    folder = tmp_path_factory.mktemp("dist")
    run("uv", "build", "--all-packages", "--out-dir", folder, cwd=ROOT)
    (folder / ".gitignore").unlink(missing_ok=True)
    return folder


@dataclass(frozen=True)
class Place:
    """An environment with wheels in it, and a folder to work in."""

    python: Path
    folder: Path
    resolution: str

    def run(self, *command: str, code: int = 0) -> str:
        return run(self.python.parent / command[0], *command[1:], cwd=self.folder, code=code)

    def versions(self) -> dict[str, str]:
        return dict(json.loads(self.run("python", "-c", INSTALLED)))


INSTALLED = """
import importlib.metadata, json
print(json.dumps([(d.name.lower(), d.version) for d in importlib.metadata.distributions()]))
"""


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [path] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(path))


def declared(wheel: Path, extras: tuple[str, ...]) -> list[Requirement]:
    """What the wheel says that it needs here, but for the other of our wheels."""
    needs = map(Requirement, metadata_of(wheel).get_all("Requires-Dist", []))
    chosen = ("", *extras)
    return [
        need
        for need in needs
        if need.name != "cronkit-core"
        if need.marker is None or any(need.marker.evaluate({"extra": name}) for name in chosen)
    ]


def made(folder: Path, resolution: str, wheels: list[Path], extras: tuple[str, ...] = ()) -> Place:
    """The wheels with the newest of what they need, or with the oldest that they say will do.

    What a wheel needs is no *direct* dependency to uv, so `lowest-direct` alone would choose the
    newest: it is named beside the wheel.
    """
    environment = folder / "venv"
    run("uv", "venv", "--quiet", "--python", sys.executable, environment, cwd=folder)
    python = environment / "bin" / "python"
    asked = [f"{wheel}[{','.join(extras)}]" if extras else str(wheel) for wheel in wheels]
    for wheel in wheels:
        for need in declared(wheel, extras):
            named = f"[{','.join(sorted(need.extras))}]" if need.extras else ""
            asked.append(f"{need.name}{named}{need.specifier}")
    install = ("uv", "pip", "install", "--quiet", "--python", python, "--prerelease", "allow")
    run(*install, "--resolution", resolution, *asked, cwd=folder)
    return Place(python, folder, resolution)


@pytest.fixture(scope="module", params=["highest", "lowest-direct"])
def place(
    request: pytest.FixtureRequest, dist: Path, tmp_path_factory: pytest.TempPathFactory
) -> Place:
    """Both wheels, and nothing that is optional."""
    return made(tmp_path_factory.mktemp(request.param), request.param, sorted(dist.glob("*.whl")))


@pytest.fixture(scope="module", params=["highest", "lowest-direct"])
def kit(
    request: pytest.FixtureRequest, dist: Path, tmp_path_factory: pytest.TempPathFactory
) -> Place:
    """cronkit-core with every extra."""
    folder = tmp_path_factory.mktemp(f"extras-{request.param}")
    return made(folder, request.param, sorted(dist.glob("cronkit_core-*.whl")), EXTRAS)


def readme_samples() -> list[str]:
    return SAMPLE.findall((ROOT / "README.md").read_text())


# --- the files


def test_the_files_are_what_an_index_takes(dist: Path) -> None:
    files = sorted(dist.iterdir())
    assert len(files) == 4
    run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=dist)
    wheels = sorted(dist.glob("*.whl"))
    run(sys.executable, "-m", "check_wheel_contents", *wheels, cwd=dist)


@pytest.mark.parametrize("name", NAMES)
def test_the_metadata_is_complete(dist: Path, name: str) -> None:
    [wheel] = dist.glob(f"{name}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
    metadata = metadata_of(wheel)
    assert f"{name}/py.typed" in inside
    assert any(path.endswith("licenses/LICENSE") for path in inside)
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Summary"]
    assert len(metadata.get_payload()) > 500  # the readme
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert tuple(metadata.get_all("Provides-Extra", ())) == (
        tuple(sorted(EXTRAS)) if name == "cronkit_core" else ()
    )
    assert not re.search(r"pypi\.|pythonhosted", metadata.as_string())
    if name == "datasette_cron":
        assert any(path.startswith("datasette_cron/templates/") for path in inside)
        assert any(path.startswith("datasette_cron/static/") for path in inside)
    [sdist] = dist.glob(f"{name}-*.tar.gz")
    with tarfile.open(sdist) as source:
        assert any(path.endswith("/LICENSE") for path in source.getnames())


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_of_a_package_stands_alone(dist: Path, name: str) -> None:
    """It is shown where none of the repository's files are, so no link may lead to one."""
    [wheel] = dist.glob(f"{name}-*.whl")
    links = re.findall(r"\]\(([^)\s]+)\)", metadata_of(wheel).get_payload())
    assert [link for link in links if "://" not in link] == []


# --- installed


def test_only_what_is_declared_is_needed(place: Place) -> None:
    found = place.versions()
    assert {"cronkit-core", "datasette-cron", "datasette"} <= set(found)
    assert not {"pytest", "hypothesis", "croniter", "psycopg"} & set(found)


def test_the_oldest_that_will_do(place: Place, dist: Path) -> None:
    check_versions(place, [need for wheel in dist.glob("*.whl") for need in declared(wheel, ())])


def test_the_oldest_that_will_do_for_the_extras(kit: Place, dist: Path) -> None:
    [wheel] = dist.glob("cronkit_core-*.whl")
    check_versions(kit, declared(wheel, EXTRAS))


def check_versions(there: Place, needs: list[Requirement]) -> None:
    """The newest differ from the lower bounds; the lowest are these, but for a patch of them."""
    bounds = {need.name: Version(spec.version) for need in needs for spec in need.specifier}
    found = there.versions()
    minor = {name: Version(found[name]).release[:2] for name in bounds}
    lowest = {name: (*bound.release, 0)[:2] for name, bound in bounds.items()}
    assert len(lowest) >= 5
    assert (minor == lowest) is (there.resolution == "lowest-direct"), (minor, lowest)


def test_the_commands(place: Place) -> None:
    assert re.fullmatch(r"cronkit \d+\.\d+\.\d+\n", place.run("cronkit", "--version"))
    once = ("next", "0 8 * * 1-5", "--tz", "Europe/Berlin", "-n", "1")
    assert place.run("python", "-m", "cronkit_core", *once) == place.run("cronkit", *once)
    assert "run-due" in place.run("datasette", "cron", "--help")


def test_the_samples_of_the_readme(place: Place) -> None:
    application, plugin, mathematics = readme_samples()
    (place.folder / "plugins").mkdir(exist_ok=True)
    (place.folder / "plugins" / "feeds.py").write_text(plugin)
    # In place of `serve_forever`, the end of a run is waited for.
    application = application.replace(
        'trigger_task("refresh")\n        await scheduler.serve_forever()',
        'wait_for_run(await scheduler.trigger_task("refresh"))',
    )
    assert "wait_for_run" in application
    place.run("python", "-c", application)
    place.run("python", "-c", mathematics)
    said = place.run(
        "datasette",
        *("feeds.db", "--create", "--internal", "internal.db", "--plugins-dir", "plugins"),
        *("-s", "permissions.datasette-cron-access.id", "root"),
        *("--get", "/-/api/cron/tasks", "--actor", '{"id": "root"}'),
    )
    [task] = json.loads(said)["tasks"]
    assert (task["name"], task["handler"]) == ("check-feeds", "check-feeds")
    assert "queued" in place.run("datasette", "cron", "trigger", "internal.db", "check-feeds")
    due = ("cron", "run-due", "feeds.db", "--internal", "internal.db", "--plugins-dir", "plugins")
    [ran] = json.loads(place.run("datasette", *due, "--json"))["runs"]
    assert (ran["status"], ran["output"]) == ("success", {"checked": "feeds"})


def test_the_samples_of_the_packages_readmes(place: Place, dist: Path) -> None:
    """What is shown where the packages are found."""
    [core] = dist.glob("cronkit_core-*.whl")
    application, mathematics = SAMPLE.findall(metadata_of(core).get_payload())
    (place.folder / "jobs.py").write_text(application)
    place.run("python", "-c", mathematics)
    place.run("python", "-c", IN_TIME)
    assert "refresh" in place.run("cronkit", "tasks", "jobs:scheduler")
    [adapter] = dist.glob("datasette_cron-*.whl")
    [site] = YAML.findall(metadata_of(adapter).get_payload())
    assert [task["name"] for task in tasks_of_a_site(place, "sales", site)] == ["roll-up"]


# The scheduler of the sample, stopped after one run.
IN_TIME = """
import asyncio, jobs

async def main():
    async with jobs.scheduler as scheduler:
        run = await scheduler.wait_for_run(await scheduler.trigger_task("refresh"))
    assert run.status == "success" and run.log.startswith("attempt 1 at the slot of "), run

asyncio.run(main())
"""


def test_getting_started_with_datasette(place: Place) -> None:
    [site] = YAML.findall((ROOT / "docs" / "getting-started.md").read_text())
    [task] = tasks_of_a_site(place, "log", site)
    place.run("datasette", "cron", "trigger", "log-internal.db", task["name"])
    files = ("log.db", "--internal", "log-internal.db", "--config", "log.yaml")
    [ran] = json.loads(place.run("datasette", "cron", "run-due", *files, "--json"))["runs"]
    assert (ran["status"], ran["output"]) == ("success", {"rows_changed": 1})


def tasks_of_a_site(place: Place, database: str, configuration: str) -> list[dict[str, object]]:
    """What root sees of a new Datasette with that configuration."""
    (place.folder / f"{database}.yaml").write_text(configuration)
    said = place.run(
        *("datasette", f"{database}.db", "--create", "--internal", f"{database}-internal.db"),
        *("--config", f"{database}.yaml"),
        *("--get", "/-/api/cron/tasks", "--actor", '{"id": "root"}'),
    )
    return json.loads(said)["tasks"]


# --- the extras


def test_a_storage_of_one_s_own_is_held_to_the_contract(kit: Place) -> None:
    """The one of docs/storage.md, in a file of its own, as somebody else would have it."""
    samples = SAMPLE.findall((ROOT / "docs" / "storage.md").read_text())
    [storage] = [text for text in samples if "class PlainStorage" in text]
    [tests] = [text for text in samples if "class TestPlainStorage" in text]
    (kit.folder / "test_plain_storage.py").write_text(f"{storage}\n\n{tests}")
    (kit.folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    said = kit.run("python", "-m", "pytest", "-q", "test_plain_storage.py")
    assert int(re.search(r"(\d+) passed", said)[1]) > 80


def test_the_property_tests_of_a_user(kit: Place) -> None:
    example = ROOT / "examples" / "test_my_schedules.py"
    (kit.folder / example.name).write_text(example.read_text())
    assert "5 passed" in kit.run("python", "-m", "pytest", "-q", example.name)


def test_croniter_s_reading(kit: Place) -> None:
    assert kit.run("python", "-c", IN_CRONITER) == "11\n"


# The clock goes forward in the night of the 14th; croniter 6.0 names a twelfth slot.
IN_CRONITER = """
from datetime import UTC, datetime
from cronkit_core import parse_schedule
schedule = parse_schedule({"cron": "30 2 13 * 5", "dialect": "croniter"}, "America/New_York")
march, may = datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 5, 1, tzinfo=UTC)
print(len(list(schedule.between(march, may))))
"""


@pytest.mark.postgres
def test_a_task_in_postgresql(kit: Place, postgres: Server, postgres_schema: str) -> None:
    assert kit.run("python", "-c", IN_POSTGRESQL, postgres.dsn, postgres_schema) == "success\n"


IN_POSTGRESQL = """
import asyncio, sys
from cronkit_core import PostgresStorage, Scheduler

async def main():
    async with Scheduler(PostgresStorage(sys.argv[1], schema=sys.argv[2])) as scheduler:
        await scheduler.add_task("t", lambda run: None, "@daily")
        print((await scheduler.wait_for_run(await scheduler.trigger_task("t"))).status)

asyncio.run(main())
"""


# --- a release


def test_a_release_says_what_it_lacks() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("a release is made in a git checkout")
    recipe = (sys.executable, ROOT / ".ci" / "release.py", "99.0.0")
    done = subprocess.run(recipe, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    for told in (
        "cronkit-core: version is 0.",
        "datasette-cron: version is 0.",
        "make it cronkit-core>=99.0.0,<...",
        "no section '## [99.0.0] - <date>'",
    ):
        assert told in done.stderr


# --- types


def test_mypy_understands_them(place: Place, tmp_path: Path) -> None:
    check = ("-m", "mypy", "--strict", "--warn-unused-ignores", "--python-executable")
    run(sys.executable, *check, place.python, "--cache-dir", tmp_path, USAGE, cwd=tmp_path)


def test_pyright_understands_them(place: Place, tmp_path: Path) -> None:
    check = ("-m", "pyright", "--pythonpath", place.python, "--warnings")
    run(sys.executable, *check, "--project", tmp_path, USAGE, cwd=tmp_path)
