"""The example does what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "postgres_three_processes.py"


@pytest.mark.postgres
def test_three_processes_share_one_postgres(postgres):
    done = subprocess.run(
        [sys.executable, EXAMPLE, postgres.dsn, "--seconds", "2"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[-2:] == ["every slot ran", "no slot ran twice"], done.stderr
    assert done.returncode == 0
    assert "anna is killed" in lines
