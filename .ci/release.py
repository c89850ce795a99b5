"""Builds both packages into dist/, checks them, and tags the commit. It uploads nothing.

    python .ci/release.py 0.1.0

Before that: commit the version in both pyproject.toml files, and in what datasette-cron requires of
cronkit-core; uv.lock, which `just lock` brings up to date with it; and in CHANGELOG.md the section
[Unreleased] under the name and date of the version, with a new one above it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGES = ("cronkit-core", "datasette-cron")
DIST = ROOT / "dist"


def run(*command: str) -> None:
    """Let the command say what it has to, and end here if it fails."""
    print("$", *command, flush=True)
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit(f"nothing is tagged: {' '.join(command)} failed")


def answer(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description="Build, check and tag a release; upload nothing.")
    parser.add_argument("version", help="as it stands in both pyproject.toml files")
    version = parser.parse_args().version
    if mistakes := found_mistakes(version):
        sys.exit("\n".join(mistakes))
    run("uv", "run", "just", "check")
    run("uv", "run", "just", "test")
    shutil.rmtree(DIST, ignore_errors=True)
    run("uv", "build", "--all-packages", "--out-dir", str(DIST))
    files = sorted(str(path) for path in DIST.iterdir() if path.suffix in (".whl", ".gz"))
    run("uv", "run", "twine", "check", "--strict", *files)
    run("uv", "run", "check-wheel-contents", *(file for file in files if file.endswith(".whl")))
    run("git", "tag", "--annotate", f"v{version}", "--message", f"Release {version}")
    print(
        f"\nv{version} is tagged, and these are ready to be uploaded by hand:", *files, sep="\n  "
    )
    for package in PACKAGES:
        if not {"Homepage", "Repository"} & set(project(package).get("urls", {})):
            print(f"\n{package} names no Homepage or Repository under [project.urls].")


def project(package: str) -> dict[str, Any]:
    path = ROOT / "packages" / package / "pyproject.toml"
    return tomllib.loads(path.read_text())["project"]


def found_mistakes(version: str) -> list[str]:
    mistakes = []
    for package in PACKAGES:
        declared = project(package)["version"]
        if declared != version:
            mistakes.append(f"{package}: version is {declared}: make it {version}")
    # The two are tested together, and with no older ones of each other.
    [core] = [need for need in project("datasette-cron")["dependencies"] if "cronkit" in need]
    if not core.startswith(f"cronkit-core>={version},"):
        mistakes.append(f"datasette-cron: it requires {core}: make it cronkit-core>={version},<...")
    changelog = (ROOT / "CHANGELOG.md").read_text()
    if not re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE
    ):
        mistakes.append(f"CHANGELOG.md: no section '## [{version}] - <date>': rename [Unreleased]")
    if changed := answer("git", "status", "--porcelain").split("\n")[:-1]:
        mistakes.append("\n  ".join(["the tree has changes: commit them", *changed]))
    if answer("git", "tag", "--list", f"v{version}").strip():
        mistakes.append(f"v{version} is tagged already")
    return mistakes


if __name__ == "__main__":
    main()
