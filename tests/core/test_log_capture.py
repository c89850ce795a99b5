"""Capturing what handlers log leaves the application's logging as it is."""

import subprocess
import sys

WARNS = """
import logging
from cronkit_core.context import captured_logging
{set_up}
with captured_logging():
    logging.getLogger("somebody").warning("look here")
    logging.getLogger("somebody").info("not here")
"""


def stderr_of(set_up: str) -> str:
    code = WARNS.format(set_up=set_up)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stderr


def test_warnings_reach_stderr_where_logging_is_not_set_up():
    assert stderr_of("") == "look here\n"


def test_they_come_once_where_it_is():
    assert stderr_of("logging.basicConfig(format='app: %(message)s')") == "app: look here\n"


def test_a_logger_with_a_handler_of_its_own_is_left_alone():
    assert stderr_of("logging.getLogger('somebody').addHandler(logging.NullHandler())") == ""
