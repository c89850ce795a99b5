"""Crontab files, as crontab(5) of Debian and cronie describe them."""

from datetime import UTC, datetime
from time import process_time

import pytest

from cronkit_core.errors import InvalidSchedule
from cronkit_core.schedules import CrontabEntry, parse_crontab, parse_schedule

CRONTAB = """\
# m h dom mon dow command
SHELL=/bin/bash
  MAILTO = "ops@example.org"

*/5 * * * *  run-parts  /etc/cron.often   # no comment: part of the command
CRON_TZ=Asia/Tokyo
0 8 * * mon-fri\tmail -s "100\\% done" me%Dear me,%%done is done.%
EMPTY=''
TZ = Europe/Berlin
@daily backup
CRON_TZ=
@hourly FOO=1 sync\r
@reboot start
@every 90s poll
"""


def test_a_crontab() -> None:
    env = {"SHELL": "/bin/bash", "MAILTO": "ops@example.org"}
    tokyo = {**env, "CRON_TZ": "Asia/Tokyo"}
    later = {**tokyo, "EMPTY": "", "TZ": "Europe/Berlin"}
    last = {**later, "CRON_TZ": ""}
    zone = "America/New_York"
    assert parse_crontab(CRONTAB, timezone=zone) == [
        CrontabEntry(
            5,
            "*/5 * * * *",
            parse_schedule("*/5 * * * *", zone),
            "run-parts  /etc/cron.often   # no comment: part of the command",
            None,
            env,
        ),
        CrontabEntry(
            7,
            "0 8 * * mon-fri",
            parse_schedule("0 8 * * mon-fri", "Asia/Tokyo"),
            'mail -s "100% done" me',
            "Dear me,\n\ndone is done.\n",
            tokyo,
        ),
        CrontabEntry(10, "@daily", parse_schedule("@daily", "Asia/Tokyo"), "backup", None, later),
        CrontabEntry(12, "@hourly", parse_schedule("@hourly", zone), "FOO=1 sync", None, last),
        CrontabEntry(13, "@reboot", None, "start", None, last),
        CrontabEntry(14, "@every 90s", parse_schedule(90), "poll", None, last),
    ]


def test_config() -> None:
    first, second, *_ = parse_crontab(CRONTAB)
    assert first.config == {
        "command": "run-parts  /etc/cron.often   # no comment: part of the command",
        "env": {"SHELL": "/bin/bash", "MAILTO": "ops@example.org"},
    }
    assert second.config["input"] == "Dear me,\n\ndone is done.\n"


def test_a_system_crontab() -> None:
    (entry,) = parse_crontab("25 6 * * * root  test -x /usr/sbin/anacron || true\n", system=True)
    assert entry.user == "root"
    assert entry.command == "test -x /usr/sbin/anacron || true"
    assert entry.config["user"] == "root"
    (entry,) = parse_crontab("@daily backup tar cz %in\\%put", system=True)
    assert (entry.user, entry.command, entry.input) == ("backup", "tar cz", "in%put")


def test_the_seed_of_h_is_the_command() -> None:
    one, two, again = parse_crontab("H H * * * one\nH H * * * two\nH H * * * one")
    assert one.schedule == parse_schedule("H H * * *", seed="one")
    assert two.schedule == parse_schedule("H H * * *", seed="two")
    assert one.schedule == again.schedule


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n  # comments", "A=1\nB=2"])
def test_nothing_to_run(text: str) -> None:
    assert parse_crontab(text) == []


@pytest.mark.parametrize(
    ("text", "words", "where"),
    [
        ("\n* * * 13 * x", "line 2: bad month '13'", "line 2.month"),
        ("* * * * *", "line 1: no command in '* * * * *'", "line 1"),
        ("@daily", "line 1: no command", "line 1"),
        ("@every 5m", "line 1: no command", "line 1"),
        ("@dayly x", "line 1: unknown '@dayly'", "line 1"),
        ("@every soon x", "line 1: bad duration 'soon'", "line 1.duration"),
        ("a\n", "line 1: no command in 'a'", "line 1"),
        ("CRON_TZ=Asia/Tokio", "line 1: unknown timezone 'Asia/Tokio'", "line 1.timezone"),
        ("a" * 70_000, "line 1: a line of 70000 characters", "line 1"),
        ("5 4 * * sun x\n0 0 * * 8 y", "line 2: bad day-of-week '8'", "line 2.day-of-week"),
    ],
)
def test_errors_name_the_line(text: str, words: str, where: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        parse_crontab(text)
    assert str(raised.value).startswith(words)
    assert raised.value.where == where


def test_errors_of_the_whole() -> None:
    with pytest.raises(InvalidSchedule, match="no user"):
        parse_crontab("0 8 * * *", system=True)
    with pytest.raises(InvalidSchedule, match="no command"):
        parse_crontab("0 8 * * * root", system=True)
    with pytest.raises(InvalidSchedule, match="a crontab is text"):
        parse_crontab(b"0 8 * * * x")  # type: ignore[arg-type]
    with pytest.raises(InvalidSchedule, match="unknown timezone"):
        parse_crontab("0 8 * * * x", timezone="Europe/Berln")


def test_the_zone_decides() -> None:
    (entry,) = parse_crontab("CRON_TZ=Asia/Tokyo\n0 8 * * * x")
    assert entry.schedule is not None
    at = datetime(2027, 1, 1, 12, tzinfo=UTC)
    assert entry.schedule.next_after(at) == datetime(2027, 1, 1, 23, tzinfo=UTC)


def test_a_long_line_is_read_once() -> None:
    began = process_time()
    (entry,) = parse_crontab(f"A=x{' ' * 60_000}y\n'B' = \" z \"\n@Every 90s {'x' * 10_000}")
    with pytest.raises(InvalidSchedule, match="no command"):
        parse_crontab("A" * 30_000 + " " * 30_000)
    with pytest.raises(InvalidSchedule, match="line 1: "):
        parse_crontab("'" * 60_000)
    assert process_time() - began < 1  # the square of the length takes 20 s
    assert entry.env == {"A": f"x{' ' * 60_000}y", "B": " z "}
    assert entry.schedule == parse_schedule("90s")
