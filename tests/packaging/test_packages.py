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
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USAGE = Path(__file__).with_name("typed_usage.py")
NAMES = ("cronkit_core", "datasette_cron")
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
    """An environment with the wheels in it, and a folder to work in."""

    python: Path
    folder: Path

    def run(self, *command: str, code: int = 0) -> str:
        return run(self.python.parent / command[0], *command[1:], cwd=self.folder, code=code)


@pytest.fixture(scope="module", params=["highest", "lowest-direct"])
def place(request: pytest.FixtureRequest, dist: Path, tmp_path_factory: object) -> Place:
    """The wheels with the newest of what they need, and with the oldest that they say will do."""
    folder = tmp_path_factory.mktemp(request.param)  # type: ignore[attr-defined]
    environment = folder / "venv"
    run("uv", "venv", "--quiet", "--python", sys.executable, environment, cwd=folder)
    python = environment / "bin" / "python"
    resolution = ("--resolution", request.param, "--prerelease", "allow")
    install = ("uv", "pip", "install", "--quiet", "--python", python, *resolution)
    run(*install, *sorted(dist.glob("*.whl")), cwd=folder)
    return Place(python, folder)


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
        [path] = [path for path in inside if path.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(path))
    assert f"{name}/py.typed" in inside
    assert any(path.endswith("licenses/LICENSE") for path in inside)
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Summary"]
    assert len(metadata.get_payload()) > 500  # the readme
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    if name == "datasette_cron":
        assert any(path.startswith("datasette_cron/templates/") for path in inside)
        assert any(path.startswith("datasette_cron/static/") for path in inside)
    [sdist] = dist.glob(f"{name}-*.tar.gz")
    with tarfile.open(sdist) as source:
        assert any(path.endswith("/LICENSE") for path in source.getnames())


# --- installed


def test_only_what_is_declared_is_needed(place: Place) -> None:
    found = json.loads(place.run("python", "-c", INSTALLED))
    assert {"cronkit-core", "datasette-cron", "datasette"} <= set(found)
    assert not {"pytest", "hypothesis", "croniter", "psycopg"} & set(found)


INSTALLED = """
import importlib.metadata, json
print(json.dumps([found.name.lower() for found in importlib.metadata.distributions()]))
"""


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


# --- types


def test_mypy_understands_them(place: Place, tmp_path: Path) -> None:
    check = ("-m", "mypy", "--strict", "--warn-unused-ignores", "--python-executable")
    run(sys.executable, *check, place.python, "--cache-dir", tmp_path, USAGE, cwd=tmp_path)


def test_pyright_understands_them(place: Place, tmp_path: Path) -> None:
    check = ("-m", "pyright", "--pythonpath", place.python, "--warnings")
    run(sys.executable, *check, "--project", tmp_path, USAGE, cwd=tmp_path)
