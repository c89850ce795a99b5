"""Bytes as text: each byte stands for a word of a language, so that a fuzzer that only knows bytes
writes cron expressions, rules and JSON, and breaks them where it matters."""

from __future__ import annotations

import random

LONG = 255
"""The byte that repeats the word before it, up to `LONGEST` characters of text."""
LONGEST = 1_000_000

PUNCTUATION = tuple(" */,-:;=.~?%#@+'\"\\{}[]()&\n\t_")
LETTERS = tuple("abcdehnostxyzTZ")
STRANGE = ("\0", "\ud800", "\u00e9", "\u0660", "\u2028", "\U0001f600", "\r", "\x1b", "\u202e", "ı")
NUMBERS = (*map(str, range(10)), "12", "23", "28", "29", "30", "31", "53", "59", "60", "99", "366")
HUGE = ("1000000000", "999999999999999999999", "1e308", "-1", "0.01", "NaN", "1e999", "2147483648")
MOMENTS = ("0001-01-01T00:00", "9999-12-31T23:59:59", "2027-03-28T02:30", "2027-10-31T02:30:00Z")
STAMPS = ("19970902T090000", "99991231T235959Z", "20270328", "00010101T000000")
ZONES = ("Europe/Berlin", "UTC", "Asia/Tokyo", "Australia/Lord_Howe", "America/St_Johns", "Nowhere")
NAMES = ("MON", "fri", "SUN", "JAN", "dec", "L", "W", "LW", "H", "5#2", "-3")
MACROS = ("@daily", "@every ", "@reboot", "@yearly", "1h30m", "PT15M", "P1Y", "90s")

CRON = (*NAMES, *MACROS, "H(0-29)", "*/5", "0 0 30 2 *", "0 0 29 2 1", "1970-2099")
RULE = (
    *("FREQ=", "YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"),
    *("INTERVAL=", "COUNT=", "UNTIL=", "WKST=", "BYSECOND=", "BYMINUTE=", "BYHOUR=", "BYDAY="),
    *("BYMONTHDAY=", "BYYEARDAY=", "BYWEEKNO=", "BYMONTH=", "BYSETPOS=", "RSCALE=", "SKIP="),
    *("GREGORIAN", "FORWARD", "OMIT", "MO", "SU", "1MO,TU", "-1FR", "DTSTART", ";TZID=", "RRULE:"),
    *("EXRULE:", "RDATE:", "EXDATE:", ";VALUE=DATE:", ";VALUE=PERIOD:", "/PT1H", "BEGIN:VEVENT"),
    *STAMPS,
)
CALENDAR = (
    *("Mon..Fri", "Sat,Sun", "*-*-*", "*-02~01", "09:00", "0/2:00:00", "quarterly", "weekly"),
    *("2027-", "70-", "*:*:*", "..", "*-02-30", "1970..9999/400-02-29", "minutely", "00:00"),
)
CRONTAB = (
    *("CRON_TZ=", "TZ=", "MAILTO=", "* * * * * ", "@reboot ", "@daily ", "root ", "echo %a\\%b"),
    *("# ", "SHELL = '/bin/sh'\n", '"A B"=', "0 0 30 2 * ", "*/5 ", "H H * * * "),
)
KEYS = (
    *("cron", "interval", "rrule", "at", "any", "schedule", "calendar", "except", "timezone"),
    *("start_at", "end_at", "anchor", "seed", "days", "gap", "overlap", "dtstart", "exdate"),
    *("rdate", "nonexistent", "dialect", "from", "to", "both", "croniter", "skip"),
)
JSON = ('{"', '":', '","', ',"', '"}', "null", "true", "false", '{"any":[', "[[[[", "\\u0000")
OPTIONS = (
    *("name", "handler", "config", "catch_up", "catch_up_limit", "grace", "retry", "timeout"),
    *("jitter", "max_runs", "pause_after_failures", "group", "priority", "keep_runs", "keep_for"),
    *("max_retries", "backoff", "base", "max_delay", "give_up_after", "on", "latest", "queue"),
    *("enabled", "exponential"),
)
SETTINGS = (
    *("tasks", "scheduler", "concurrency", "threads", "groups", "poll", "lease", "http_allow"),
    *("snapshot_directory", "https://", "on", "off"),
)
WEB = (
    *("GET ", "POST ", "PATCH ", "DELETE ", "HEAD ", "/-/api/cron/tasks", "/-/api/cron/runs"),
    *("/-/api/cron/preview", "/-/api/cron/status", "/-/cron", "/-/api/cron/handlers", "/new"),
    *("/update", "/delete", "/runs", "/trigger", "/enable", "/backfill", "/explain", "/skips"),
    *("/audit", "/cancel", "/edit", "/pause", "/resume", "/t", "/1", "?at=", "?_size=", "?_next="),
    *("&_next=", "?status=", "&since=", "?search=", "?task=", "&until=", "?_extra=details"),
    *("~2F", "~", "%2F", "%00", "%ff", "+", "max", "test:ok", "application/json", "\n"),
    *("\n&", "n", "after", "force", "cancel", "start", "end"),
)


def decode(data: bytes, words: tuple[str, ...]) -> str:
    """The text that `data` stands for."""
    parts: list[str] = []
    room = LONGEST
    for byte in data:
        if byte == LONG:
            more = parts[-1] * max(room // max(len(parts[-1]), 1), 0) if parts else ""
        else:
            more = words[byte % len(words)]
        parts.append(more[:room])
        room -= len(parts[-1])
    return "".join(parts)


def encode(text: str, words: tuple[str, ...]) -> bytes:
    """Bytes that stand for `text`, without the characters that no word has."""
    numbers = {word: number for number, word in reversed(list(enumerate(words[:LONG])))}
    longest = max(map(len, numbers))
    found = bytearray()
    at = 0
    while at < len(text):
        for size in range(min(longest, len(text) - at), 0, -1):
            if (number := numbers.get(text[at : at + size])) is not None:
                found.append(number)
                at += size
                break
        else:
            at += 1
    return bytes(found)


def mutated(data: bytes, words: int, chance: random.Random) -> bytes:
    """`data` with a word or two replaced, put in, cut out or moved, of `words` that there are."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2))):
        at = chance.randint(0, len(found))
        some = bytes([chance.randrange(words)])
        match chance.randrange(4):
            case 0:
                found[at : at + 1] = some
            case 1:
                found[at:at] = some
            case 2:
                del found[at : at + chance.choice((1, 1, 1, 5))]
            case 3:
                end = min(at + chance.randint(1, 8), len(found))
                to = chance.randint(0, len(found))
                found[to:to] = found[at:end]
    return bytes(found)


def vocabulary(*lists: tuple[str, ...]) -> tuple[str, ...]:
    """The words of those lists, each once, at most as many as bytes can name."""
    words = tuple(dict.fromkeys(word for words in lists for word in words))
    if len(words) > LONG:
        raise ValueError(f"{len(words)} words: at most {LONG}, for each is a byte")
    return words


COMMON = (*PUNCTUATION, *NUMBERS, *STRANGE, *LETTERS)
