"""The command `cronkit`: what it prints, and how it ends."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import entry_points, version

import pytest

from cronkit_core import cli, clock


@pytest.fixture(autouse=True)
def fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noon(clock.SystemClock):
        def now(self) -> datetime:
            return datetime(2027, 3, 25, 12, 0, 0, 500_000, tzinfo=UTC)

    monkeypatch.setattr(clock, "SystemClock", Noon)


class Cronkit:
    """Runs the command, and shows what came of it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        assert cli.main(arguments) == code
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return self.out


@pytest.fixture
def cronkit(capsys: pytest.CaptureFixture[str]) -> Cronkit:
    return Cronkit(capsys)


def test_next(cronkit: Cronkit) -> None:
    out = cronkit("next", "0 8 * * 1-5", "--tz", "Europe/Berlin", "-n", "3")
    assert out == (
        "UTC                   Europe/Berlin\n"
        "2027-03-26 07:00:00   Fri 2027-03-26 08:00:00 +01:00\n"
        "  -- the clock goes forward by 1 h --\n"
        "2027-03-29 06:00:00   Mon 2027-03-29 08:00:00 +02:00\n"
        "2027-03-30 06:00:00   Tue 2027-03-30 08:00:00 +02:00\n"
    )


def test_next_over_the_hour_that_comes_twice(cronkit: Cronkit) -> None:
    after = "2027-04-04T01:15"
    out = cronkit(
        "next", "*/15 * * * *", "--tz", "Australia/Lord_Howe", "-n", "5", "--after", after
    )
    assert out == (
        "UTC                   Australia/Lord_Howe\n"
        "2027-04-03 14:30:00   Sun 2027-04-04 01:30:00 +11:00\n"
        "2027-04-03 14:45:00   Sun 2027-04-04 01:45:00 +11:00\n"
        "  -- the clock goes back by 30 min --\n"
        "2027-04-03 15:00:00   Sun 2027-04-04 01:30:00 +10:30 (again)\n"
        "2027-04-03 15:15:00   Sun 2027-04-04 01:45:00 +10:30 (again)\n"
        "2027-04-03 15:30:00   Sun 2027-04-04 02:00:00 +10:30\n"
    )


def test_next_in_utc(cronkit: Cronkit) -> None:
    assert cronkit("next", "*/5 * * * *", "-n", "2") == (
        "UTC\n2027-03-25 12:05:00\n2027-03-25 12:10:00\n"
    )
    assert cronkit("next", '{"interval": 0.4}', "-n", "2") == (
        "UTC\n2027-03-25 12:00:00.800000\n2027-03-25 12:00:01.200000\n"
    )


def test_next_as_json(cronkit: Cronkit) -> None:
    out = cronkit("next", "0 8 * * 1-5", "--tz", "Europe/Berlin", "-n", "2", "--json")
    assert json.loads(out) == {
        "schedule": {"cron": "0 8 * * 1-5", "timezone": "Europe/Berlin"},
        "timezone": "Europe/Berlin",
        "slots": [
            {
                "utc": "2027-03-26T07:00:00+00:00",
                "local": "2027-03-26T08:00:00+01:00",
                "clock_change_seconds": 0,
            },
            {
                "utc": "2027-03-29T06:00:00+00:00",
                "local": "2027-03-29T08:00:00+02:00",
                "clock_change_seconds": 3600,
            },
        ],
    }


def test_every_kind_is_accepted(cronkit: Cronkit) -> None:
    for spec in (
        "90s",
        "@daily",
        "FREQ=DAILY",
        '{"calendar": "Mon..Fri 09:00"}',
        ' {"any": ["@daily", 60], "except": null}'.replace(', "except": null', ""),
        '{"schedule": "@daily", "except": ["2027-03-26"]}',
    ):
        assert len(cronkit("next", spec, "-n", "1").splitlines()) == 2
    assert "2027-03-26 00:00:07" in cronkit(
        "next", "1d", "-n", "1", "--anchor", "2027-01-01T00:00:07"
    )
    cronkit("next", "H H * * *", "--seed", "task")


def test_the_zone_of_the_schedule_is_shown(cronkit: Cronkit) -> None:
    out = cronkit("next", '{"cron": "0 8 * * *", "timezone": "Asia/Tokyo"}', "-n", "1")
    assert "Asia/Tokyo" in out
    assert "08:00:00 +09:00" in out


def test_between(cronkit: Cronkit) -> None:
    arguments = ("between", "0 8 * * *", "2027-03-27", "2027-03-28T08:00", "--tz", "Europe/Berlin")
    assert cronkit(*arguments) == (
        "UTC                   Europe/Berlin\n"
        "2027-03-27 07:00:00   Sat 2027-03-27 08:00:00 +01:00\n"
        "  -- the clock goes forward by 1 h --\n"
        "2027-03-28 06:00:00   Sun 2027-03-28 08:00:00 +02:00\n"
    )
    assert cronkit(*arguments, "--count") == "2\n"
    assert json.loads(cronkit(*arguments, "--count", "--json")) == {"count": 2}
    assert len(json.loads(cronkit(*arguments, "--json"))["slots"]) == 2
    assert len(cronkit(*arguments, "-n", "1").splitlines()) == 2
    assert cronkit.err == "cronkit: only the first 1; see -n and --count\n"
    assert cronkit("between", "* * * * *", "2027-01-01", "2028-01-01", "--count") == "525600\n"


def test_nothing_to_show(cronkit: Cronkit) -> None:
    assert cronkit("next", "0 0 30 2 *", code=1) == ""
    assert cronkit.err == "no slots\n"
    assert json.loads(cronkit("next", "0 0 30 2 *", "--json", code=1))["slots"] == []
    assert cronkit("between", "@yearly", "2027-02-01", "2027-03-01", "--count", code=1) == "0\n"


def test_explain(cronkit: Cronkit) -> None:
    assert cronkit("explain", "30 2 31 * *", "--tz", "Europe/Berlin") == (
        "at 02:30 on the 31st of the month (Europe/Berlin)\n"
        "kind:     cron\n"
        'written:  {"cron": "30 2 31 * *", "timezone": "Europe/Berlin"}\n'
        "next:     2027-03-31 00:30:00   Wed 2027-03-31 02:30:00 +02:00\n"
        "warning:  day-of-month '31': does not fire in Feb, Apr, Jun, Sep, Nov\n"
        "warning:  02:30 on 2030-03-31 does not exist in Europe/Berlin, where the clock goes "
        "forward: it runs at the first instant after the gap\n"
        "warning:  02:30 on 2027-10-31 and 2032-10-31 comes twice in Europe/Berlin, where the "
        "clock goes back: it runs the first time only\n"
    )
    data = json.loads(cronkit("explain", "0 0 30 2 *", "--json"))
    assert data["next"] is None
    assert data["kind"] == "cron"
    assert data["warnings"][0]["code"] == "never"
    assert "next:     never" in cronkit("explain", "0 0 30 2 *")


def test_lint(cronkit: Cronkit) -> None:
    assert cronkit("lint", "0 8 * * *") == "no warnings\n"
    assert json.loads(cronkit("lint", "0 8 * * *", "--json")) == []
    out = cronkit("lint", "0 0 13 * 5", code=1)
    assert out.startswith("both-days: day-of-month '13' and day-of-week '5'")
    (warning,) = json.loads(cronkit("lint", "0 0 13 * 5", "--json", code=1))
    assert set(warning) == {"code", "message", "suggestion"}
    assert "past" in cronkit("lint", '{"at": "2020-01-01T00:00"}', code=1)
    cronkit("lint", '{"at": "2020-01-01T00:00"}', "--after", "2019-01-01")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["next", "0 8 32 * *"], "bad day-of-month '32' in '0 8 32 * *'"),
        (["next", "0 8 * * *", "--tz", "Europe/Berln"], "did you mean 'Europe/Berlin'"),
        (["next", "0 8 * * *", "--after", "soon"], "bad --after 'soon'"),
        (["next", "0 8 * * *", "--after", "0001-01-01", "--tz", "Asia/Tokyo"], None),
        (["next", "H 8 * * *"], "seed"),
        (["next", "@daily", "--anchor", "soon"], "bad anchor 'soon'"),
        (["next", "{"], "bad JSON '{'"),
        (["next", '{"interval": NaN}'], "bad interval nan"),
        (["next", '{"interval": ' + "9" * 5000 + "}"], "bad JSON"),
        (["next", '{"any":' * 100_000], "bad JSON"),
        (["next", '{"interval": 5, "x": 1}'], "unknown key 'x'"),
        (["next", "\udcff\x00"], "is no schedule"),
        (["between", "@daily", "x", "2027-01-01"], "bad START 'x'"),
        (["between", "@daily", "2027-01-01", "x"], "bad END 'x'"),
        (["lint", "x"], "'x' is no schedule"),
        (["explain", ""], "'' is no schedule"),
        (["next", "@daily", "-n", "0"], "-n: '0': a number from 1 to 100000"),
        (["next", "@daily", "-n", "many"], "-n: 'many'"),
        (["next", "@daily", "-n", "٣"], "-n: '٣'"),
        (["next"], "schedule"),
        (["next", "0", "8", "*", "*", "*"], "unrecognized arguments"),
        (["nxt", "@daily"], "invalid choice"),
        ([], "command"),
    ],
)
def test_bad_input(cronkit: Cronkit, arguments: list[str], error: str | None) -> None:
    if error is None:
        cronkit(*arguments)
        return
    assert cronkit(*arguments, code=2) == ""
    assert error in cronkit.err
    assert len(cronkit.err) < 1500


def test_version_and_help(cronkit: Cronkit) -> None:
    assert cronkit("--version") == f"cronkit {version('cronkit-core')}\n"
    for command in ("next", "between", "explain", "lint"):
        assert command in cronkit("--help")
        assert "--tz" in cronkit(command, "--help")


def test_the_ends_of_time(cronkit: Cronkit) -> None:
    out = cronkit("next", "@daily", "--after", "9999-12-30", "--tz", "Pacific/Kiritimati")
    assert "9999-12-30" in out
    cronkit("next", "@daily", "--after", "9999-12-31T23:59:59", code=1)
    cronkit("next", "@hourly", "--after", "0001-01-01", "--tz", "America/New_York")


def test_interrupted(cronkit: Cronkit, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "parse_schedule", interrupt)
    cronkit("next", "@daily", code=130)


def test_as_a_module_and_as_a_command() -> None:
    command = [sys.executable, "-m", "cronkit_core"]
    run = subprocess.run(
        [*command, "next", "@daily", "-n", "1"], check=True, capture_output=True, text=True
    )
    assert run.stdout.startswith("UTC\n20")
    assert run.stderr == ""
    (script,) = entry_points(group="console_scripts", name="cronkit")
    assert script.load() is cli.main


def test_a_reader_that_leaves_early() -> None:
    program = f"{sys.executable} -m cronkit_core between '* * * * *' 2027-01-01 2028-01-01 -n 90000"
    run = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {program} | head -1"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout == "UTC\n"
    assert "Traceback" not in run.stderr
    assert "BrokenPipe" not in run.stderr


def test_the_zone_of_the_host_has_no_say() -> None:
    outputs = {
        subprocess.run(
            [
                sys.executable,
                "-m",
                "cronkit_core",
                "next",
                "30 2 * * *",
                "--after",
                "2027-03-27",
                "--tz",
                "Europe/Berlin",
                "--json",
            ],
            check=True,
            capture_output=True,
            env={"TZ": zone},
        ).stdout
        for zone in ("UTC", "Asia/Tokyo", "America/New_York")
    }
    assert len(outputs) == 1
