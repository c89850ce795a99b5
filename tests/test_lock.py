"""The lock file is committed as pins: names and versions, no addresses."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def committed(path: str) -> str:
    shown = subprocess.run(
        ["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if shown.returncode:
        pytest.skip(f"not a git checkout with {path}: {shown.stderr.strip()}")
    return shown.stdout


def test_the_committed_lock_holds_no_address():
    lock = committed("uv.lock")
    assert "://" not in lock
    assert "wheels = " not in lock
    assert 'name = "cronkit-core"' in lock


def test_the_filter_leaves_pins_alone():
    lock = committed("uv.lock")
    filtered = subprocess.run(
        ["python3", ".ci/pins.py"], cwd=ROOT, input=lock, capture_output=True, text=True, check=True
    )
    assert filtered.stdout == lock
