"""Hidden characters show as their code, wherever they stand on a page."""

import pytest

from datasette_cron.pages.visible import visible

RLO = "\u202e"
SHOWN = '<span class="cron-code-point">\\u202e</span>'


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (f"<p>a{RLO}b</p>", f"<p>a{SHOWN}b</p>"),
        (f'<p title="{RLO}">x</p>', '<p title="\\u202e">x</p>'),
        (f'<input value="{RLO}">', f'<input value="{RLO}">'),
        (f"<textarea>{RLO}</textarea>{RLO}", f"<textarea>{RLO}</textarea>{SHOWN}"),
        (f"<option>{RLO}</option>{RLO}", f"<option>{RLO}</option>{SHOWN}"),
        # An option need not be closed, as in a list of time zones.
        (
            f'<option value="UTC"><p>{RLO}</p><option>a</option>',
            f'<option value="UTC"><p>{SHOWN}</p><option>a</option>',
        ),
    ],
)
def test_hidden_characters_show(html: str, expected: str) -> None:
    assert visible(html) == expected
