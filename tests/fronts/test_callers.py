"""What `sealwire call` shows of a reply."""

import pytest

from sealwire.fronts.cli.callers import for_terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{\n\t"market": "BTC/EUR", "née": "名前"}\n', '{\n\t"market": "BTC/EUR", "née": "名前"}\n'),
        ("\x1b[2J\x1b]0;x\x07", "\\x1b[2J\\x1b]0;x\\x07"),
        ("paid\rdue", "paid\\rdue"),
        ("\x9b31m \u202egnp", "\\x9b31m \\u202egnp"),
    ],
)
def test_a_reply_does_not_control_the_terminal(text: str, shown: str) -> None:
    """What another client wrote into an order's note is data: it clears no screen and turns no text around."""
    assert for_terminal(text) == shown
