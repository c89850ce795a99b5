"""Builds both packages into dist/, checks them, and tags the commit. It uploads nothing.

    python .ci/release.py 0.1.0

Before that: commit the version in both pyproject.toml files, and a section of that version in
CHANGELOG.md.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("cronkit-core", "datasette-cron")
DIST = ROOT / "dist"


def run(*command: str) -> str:
    print("$", *command, flush=True)
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description="Build, check and tag a release; upload nothing.")
    parser.add_argument("version", help="as it stands in both pyproject.toml files")
    version = parser.parse_args().version
    if mistakes := found_mistakes(version):
        sys.exit("\n".join(mistakes))
    run("uv", "run", "just", "check")
    print(run("uv", "run", "just", "test"))
    shutil.rmtree(DIST, ignore_errors=True)
    run("uv", "build", "--all-packages", "--out-dir", str(DIST))
    files = sorted(str(path) for path in DIST.iterdir() if path.suffix in (".whl", ".gz"))
    run("uv", "run", "twine", "check", "--strict", *files)
    run("uv", "run", "check-wheel-contents", *(file for file in files if file.endswith(".whl")))
    run("git", "tag", "--annotate", f"v{version}", "--message", f"Release {version}")
    print(
        f"\nv{version} is tagged, and these are ready to be uploaded by hand:", *files, sep="\n  "
    )


def found_mistakes(version: str) -> list[str]:
    mistakes = []
    for package in PACKAGES:
        path = ROOT / "packages" / package / "pyproject.toml"
        declared = tomllib.loads(path.read_text())["project"]["version"]
        if declared != version:
            mistakes.append(f"{path}: version is {declared}: make it {version}")
    if f"\n## [{version}]" not in (ROOT / "CHANGELOG.md").read_text():
        mistakes.append(f"CHANGELOG.md: no section ## [{version}]: rename [Unreleased]")
    if run("git", "status", "--porcelain").strip():
        mistakes.append("the tree has changes: commit them")
    if run("git", "tag", "--list", f"v{version}").strip():
        mistakes.append(f"v{version} is tagged already")
    return mistakes


if __name__ == "__main__":
    main()
