"""What a person is shown: a sentence and the text of its members, whole, or a Refusal; codes as they are typed."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Refusal
from sealwire.pages.text import groups, pieces
from sealwire.protocol.approval import Sentence, Shown
from sealwire.protocol.otp import Seed, plain
from tests.fuzz.inputs import damaged
from tests.protocol.made import only

TEMPLATES = [b"Send {amount} {asset} to {address}", b"{a}{a}", b"{_x1}: {n}", "Überweise {betrag}".encode()]
BODIES = [
    b'{"amount": "0.25", "asset": "BTC", "address": "bc1q"}',
    b'{"a": "{b}", "b": 1, "_x1": -0, "n": 9007199254740992}',
    b'{"betrag": "5 \\u202e\\ud83d\\ude00"}',
]
SEED = Seed(b"12345678901234567890", "SHA256", 8)
CODES = [SEED.code(counter).encode() for counter in range(4)]


@given(damaged(TEMPLATES), damaged(BODIES))
def test_sentence(template: bytes, body: bytes) -> None:
    """A template is one or is not; what it shows of a body is that body's own text, and comes back from keeping."""
    try:
        sentence = Sentence.read(template.decode("utf-8", "replace"))
    except ValueError:
        return
    try:
        shown = sentence.show(body)
    except Refusal as refusal:
        only(refusal, "request-invalid")
        return
    members = json.loads(body)
    assert dict(shown.values) == {name: str(members[name]) for name in sentence.names}
    assert Shown.unpack(shown.pack()) == shown


@given(st.text(max_size=200) | damaged(BODIES).map(lambda data: data.decode("utf-8", "replace")))
def test_nothing_is_left_out_of_what_is_shown(text: str) -> None:
    """Every character stands in a piece, in its order, and what is no plain one has its code point."""
    assert "".join(piece.text for piece in pieces(text)) == text
    assert "".join(piece.text for group in groups(text) for piece in group) == text
    for piece in pieces(text):
        assert piece.kind == "plain" or piece.codes == " ".join(f"U+{ord(character):04X}" for character in piece.text)


@given(damaged(CODES).map(lambda data: data.decode("utf-8", "replace")) | st.text(max_size=20))
def test_code(typed: str) -> None:
    """A code is found at its counter and nowhere else, however it is typed; anything else at none."""
    found = SEED.find(typed, 0, 3)
    assert found == (CODES.index(plain(typed).encode()) if plain(typed).encode() in CODES else None)
