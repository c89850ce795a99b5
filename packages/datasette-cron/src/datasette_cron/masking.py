"""Hiding what looks like a secret in the config of a task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "********"
_SECRET = re.compile(
    r"pass(?:wor[dt]|wd|phrase)|\bpwd|secret|token|credential|authori[sz]ation|cookie|bearer"
    r"|(?:api|private|access|signing|encryption|auth|ssh|license|master)key|signature|\bdsn\b"
    r"|connectionstring|\b(?:auth|pass|pw|pin|otp|jwt|hmac|sas|sig|creds?)\b"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# A password that was not escaped may hold another @, or a slash.
_USER = re.compile(r"(?<=://)(?:[^/\s]+|[^/\s:@]+:\S+)(?=@)")
_PARAMETER = re.compile(r"(?<=[?&])([^=&#\s]+)=([^&#\s]+)")


def is_secret(key: str) -> bool:
    """Whether a key of that name looks as if its value were a secret."""
    words = re.split(r"[\W_]+", _CAMEL.sub(" ", key).lower())
    return _SECRET.search(" ".join(words)) is not None or bool(_SECRET.search("".join(words)))


def masked(value: Any) -> Any:
    """`value` with a mask in place of what stands under a key that looks like a secret, and in URLs
    of user and password and of such parameters."""
    if isinstance(value, Mapping):
        if value.keys() == {"name", "value"} and is_secret(str(value["name"])):
            return {**value, "value": MASK}
        return {
            key: MASK if is_secret(key) and item not in (None, "") else masked(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [masked(item) for item in value]
    return _PARAMETER.sub(_parameter, _USER.sub(MASK, value)) if isinstance(value, str) else value


def _parameter(found: re.Match[str]) -> str:
    return f"{found[1]}={MASK}" if is_secret(found[1]) else found[0]
