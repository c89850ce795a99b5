"""What later zone data says otherwise than release 2025b, with which the corpora were made."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

HOUR = timedelta(hours=1)
CHANGED = {
    # The zone: an instant from which 2026 releases differ, and its offset by 2025b.
    "Africa/Casablanca": (datetime(2026, 9, 22, tzinfo=UTC), 1 * HOUR),
    "Africa/El_Aaiun": (datetime(2026, 9, 22, tzinfo=UTC), 1 * HOUR),
    "America/Havana": (datetime(2026, 11, 3, tzinfo=UTC), -5 * HOUR),
}


def skip_if_changed(zone: str, last: datetime) -> None:
    """Skip the test when this host's zone data is a later one, and changes `zone` before `last`."""
    since, offset = CHANGED.get(zone, (datetime.max.replace(tzinfo=UTC), None))
    if last >= since and since.astimezone(ZoneInfo(zone)).utcoffset() != offset:
        pytest.skip(f"the zone data of this host has other rules for {zone} since {since:%Y-%m-%d}")
