"""Each fault, for a moment, on the cheapest storage that has it. `just chaos` does it for longer,
and on all of them."""

import shutil

import pytest
from run_chaos import KINDS, Lacking, own_postgres, play

from requires import need

# A process that cannot be scheduled at once, on a busy machine, is no failure.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def check(storage, fault, folder, server=None, seconds=2.0):
    if fault == "clock step":
        need("faketime", shutil.which("faketime"))
    try:
        report = play(
            storage, fault, processes=2, seconds=seconds, lease=1.0, folder=folder, server=server
        )
    except Lacking as lacking:
        need(str(lacking), found=False)
    assert report.fine, report
    assert report.verdict.due > 30
    assert report.times == len(report.recovery) > 0


@pytest.mark.parametrize("fault", ["kill", "freeze", "full disk", "read-only file", "clock step"])
def test_on_one_file(fault, tmp_path):
    check("sqlite", fault, tmp_path)


def test_on_one_internal_database(tmp_path):
    check("datasette", "kill", tmp_path)


@pytest.mark.postgres
def test_on_one_server(tmp_path):
    """On a server of its own: others must not notice."""
    with own_postgres() as server:
        for fault in ("server stop", "connections cut"):
            folder = tmp_path / fault
            folder.mkdir()
            check("postgres", fault, folder, server, seconds=2.5)


def test_a_process_that_dies_by_itself_is_noticed(tmp_path):
    with KINDS["sqlite"](tmp_path, 1, lease=1.0) as cluster:
        cluster.workers[0].process.kill()
        cluster.workers[0].process.wait()
        cluster.watch()
        assert len(cluster.deaths) == 1
        cluster.wait_ready()
        cluster.stop()
    assert len(cluster.deaths) == 1
