"""What the commands have in common."""

from __future__ import annotations

import argparse
import json
from typing import Any

MOST = 100_000
LOCATION = "where the scheduler is, such as app:scheduler; a function that makes it will do"


def positive(text: str) -> int:
    """The argument of -n. Raises ArgumentTypeError for what is no number from 1 to MOST."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MOST:
        raise argparse.ArgumentTypeError(f"{text[:20]!r}: a number from 1 to {MOST}")
    return int(text)


def print_json(data: Any) -> None:
    print(json.dumps(data, indent=2))
