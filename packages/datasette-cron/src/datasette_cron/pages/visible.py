"""Characters that cannot be seen, or that turn the text around them, made visible: what a page
shows is what is there."""

from __future__ import annotations

import re

# Control characters but for tab and line ends, marks and overrides of direction, spaces of no
# width, line ends that only Unicode knows, and halves of surrogate pairs. Joiners are left: some
# scripts and emoji are written with them.
HIDDEN = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f"
    r"\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
)
_HIDDEN = re.compile(f"[{HIDDEN}]")
# What is typed into a form must come back as it was, so fields keep their value; in attributes and
# in the title there are no elements.
_PARTS = re.compile(
    rf"<textarea\b.*?</textarea>|<option\b[^>]*>[^<]*</option>|<title>.*?</title>|<[^>]*>"
    rf"|[{HIDDEN}]",
    re.DOTALL,
)
_VALUE = re.compile(r'( value="[^"]*")')


def visible(html: str) -> str:
    """The HTML of a page, whose attributes are quoted, with hidden characters as their code: a
    right-to-left override as `\\u202e`."""
    return _PARTS.sub(_part, html) if _HIDDEN.search(html) else html


def _part(found: re.Match[str]) -> str:
    part = found[0]
    if not part.startswith("<"):
        return f'<span class="cron-code-point">{_code(part)}</span>'
    if part.startswith(("<textarea", "<option")) and part.endswith(("</textarea>", "</option>")):
        return part
    return "".join(
        piece if i % 2 else _HIDDEN.sub(lambda hidden: _code(hidden[0]), piece)
        for i, piece in enumerate(_VALUE.split(part))
    )


def _code(character: str) -> str:
    return f"\\u{ord(character):04x}"
