"""Hiding what looks like a secret in the config of a task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "********"
_SECRET = re.compile(
    r"pass(?:wor[dt]|wd|phrase)|\bpwd|secret|token|credential|authori[sz]ation|cookie|bearer"
    r"|(?:api|private|access|signing|encryption|auth)key|signature|\bdsn\b|connectionstring"
    r"|\bauth\b"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def is_secret(key: str) -> bool:
    """Whether a key of that name looks as if its value were a secret."""
    words = re.split(r"[\W_]+", _CAMEL.sub(" ", key).lower())
    return _SECRET.search(" ".join(words)) is not None or bool(_SECRET.search("".join(words)))


def masked(value: Any) -> Any:
    """`value` with a mask in place of what stands under a key that looks like a secret, and of
    user and password in URLs."""
    if isinstance(value, Mapping):
        return {
            key: MASK if is_secret(key) and item not in (None, "") else masked(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [masked(item) for item in value]
    return _IN_URL.sub(MASK, value) if isinstance(value, str) else value
