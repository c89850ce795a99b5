"""Names of time zones: which are taken, which are refused, and what is suggested instead."""

import pytest

from cronkit_core.errors import InvalidSchedule
from cronkit_core.schedules import parse_schedule


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("localtime", "bad timezone 'localtime': it is whichever zone the machine is set to"),
        ("posixrules", "bad timezone 'posixrules': it is whichever rules the machine has"),
        ("Factory", "bad timezone 'Factory': it stands for a machine whose zone is not set yet"),
        (
            "right/Asia/Tokyo",
            "it counts leap seconds, which datetimes do not; name a zone, such as 'Asia/Tokyo'",
        ),
        ("right/", "such as 'Europe/Berlin'"),
        ("posix/UTC", "it is a copy that only some machines have; name a zone, such as 'UTC'"),
        ("utc", "unknown timezone 'utc': did you mean 'UTC'?"),
        ("EUROPE/BERLIN", "unknown timezone 'EUROPE/BERLIN': did you mean 'Europe/Berlin'?"),
        ("europe/berln", "did you mean 'Europe/Berlin'"),
        ("Berlin", "did you mean 'Europe/Berlin'?"),
        ("Local Time", "unknown timezone 'Local Time'"),
        ("America", "unknown timezone 'America'"),
        ("nowhere at all", "did you mean an IANA name such as 'Europe/Berlin'?"),
        ("x" * 10_000, "(10000 characters)"),
        ("\0", "unknown timezone"),
        ("/etc/localtime", "unknown timezone '/etc/localtime'"),
    ],
)
def test_what_is_refused(name: str, message: str) -> None:
    for spec in ("0 8 * * *", {"rrule": "FREQ=DAILY"}, {"at": "2027-01-01T09:00"}):
        with pytest.raises(InvalidSchedule) as raised:
            parse_schedule(spec, name)
        assert message in str(raised.value)
        assert raised.value.where == "timezone"
        assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "name", ["UTC", "Etc/UTC", "GMT+0", "CET", "Japan", "EST5EDT", "America/Argentina/Ushuaia"]
)
def test_what_is_taken(name: str) -> None:
    assert parse_schedule("0 8 * * *", name).timezone == name
