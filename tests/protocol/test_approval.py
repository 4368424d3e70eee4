"""What a person is shown, and what a yes is bound to."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Refusal
from sealwire.protocol.approval import ID, MAX_SHOWN, PARTS, PREFIX, STATES, Sentence, Shown, bound
from sealwire.protocol.identifier import RANDOM_BYTES, identifier
from sealwire.protocol.message import Request
from tests.stages.made import head

TEMPLATE = "Send {amount} {asset} to {address}"
BODY = {"asset": "BTC", "amount": "0.25", "address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7k2f"}
SENTENCE = "Send 0.25 BTC to bc1qw508d6qejxtdg4y5r3zarvary0c5xw7k2f"

_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
_LITERALS = st.text(st.characters(codec="utf-8", exclude_characters="{}").filter(str.isprintable), max_size=6)
# What is made of templates: names in braces, group references, percent codes.
_TEXTS = st.text() | st.sampled_from(["{amount}", "\\g<0>", "\\1", "%(a)s", "{0}", "\u202e", "a\nb", "{" * 3, ""])
_INTEGERS = st.integers(-(1 << 53), 1 << 53)
_OTHERS = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    _TEXTS | _INTEGERS | _OTHERS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


def shown(body: Any, template: str = TEMPLATE) -> Shown:
    """The sentence of a body."""
    return Sentence.read(template).show(body if isinstance(body, bytes) else json.dumps(body).encode())


def refused_at(body: Any, template: str = TEMPLATE) -> str:
    """Where the refusal of a body points."""
    with pytest.raises(Refusal, match="request-invalid/shown") as raised:
        shown(body, template)
    assert raised.value.failed == "policy"
    errors = raised.value.members["errors"]
    assert isinstance(errors, list)
    (error,) = errors
    assert set(error) == {"pointer", "detail"}
    assert error["detail"].endswith(".")
    return str(error["pointer"])


# --- the sentence ----------------------------------------------------------------------------------------------------


def test_the_sentence() -> None:
    """The members stand in their places, and again by name in the order in which the template has them."""
    found = shown(BODY)
    assert found.sentence == SENTENCE
    assert found.values == (("amount", "0.25"), ("asset", "BTC"), ("address", BODY["address"]))
    assert Sentence.read(TEMPLATE) == Sentence(TEMPLATE, ("amount", "asset", "address"))


def test_a_member_twice_and_others_never() -> None:
    """A name may stand twice; a member that is not named is not shown; an integer is shown as it was written."""
    body = {"n": 9007199254740992, "_x1": "x", "other": "y"}
    assert shown(body, "{n}{_x1}{n}") == Shown(
        "9007199254740992x9007199254740992", (("n", "9007199254740992"), ("_x1", "x"))
    )
    assert shown(b'{"n": -5}', "n: {n}").sentence == "n: -5"
    assert shown(b'{"n": "\\u202e05\\n<b>"}', "{n}").sentence == "\u202e05\n<b>"


@given(st.lists(st.tuples(_LITERALS, _NAMES), min_size=1, max_size=4), _LITERALS, st.data())
def test_it_shows_the_members_text_and_nothing_else(
    parts: list[tuple[str, str]], end: str, data: st.DataObject
) -> None:
    """
    Whatever object it is: the literals with the very text of each member between them, or a refusal that points at a
    member that is neither a string nor an integer. No text is taken for a template, a pattern or a format.
    """
    names = list(dict.fromkeys(name for _, name in parts))
    body = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, _VALUES)))
    body |= data.draw(st.dictionaries(st.text(max_size=4), _VALUES, max_size=3).map(lambda more: {**more, **body}))
    template = "".join(f"{literal}{{{name}}}" for literal, name in parts) + end
    content = json.dumps(body, ensure_ascii=data.draw(st.booleans())).encode()
    unfit = [name for name in names if type(body.get(name)) not in (str, int)]
    if unfit:
        assert refused_at(content, template) == f"/{unfit[0]}"
        return
    found = shown(content, template)
    assert found.sentence == "".join(f"{literal}{body[name]}" for literal, name in parts) + end
    assert found.values == tuple((name, str(body[name])) for name in names)
    assert Shown.unpack(found.pack()) == found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'"x"',
        b"1",
        b"null",
        b"{",
        b"\xff",
        b'{"a": "1", "a": "2"}',
        b'{"a": NaN}',
        b'\xef\xbb\xbf{"a": "1"}',
    ],
)
def test_no_object(content: bytes) -> None:
    """Nothing that can be shown, or that can be read in two ways: refused as a whole."""
    assert refused_at(content, "{a}") == ""


@pytest.mark.parametrize("value", [None, True, False, 1.0, 0.25, 1e3, [], ["0.25"], {}, {"amount": "0.25"}])
def test_members_that_no_sentence_shows(value: object) -> None:
    """Absent, null, a truth value, a fraction (read as a double), a list, an object: the refusal names the member."""
    assert refused_at({**BODY, "amount": value}) == "/amount"
    assert refused_at({name: text for name, text in BODY.items() if name != "asset"}) == "/asset"


def test_nobody_reads_more_than_so_much() -> None:
    """The longest member that is shown, and one more character."""
    longest = "x" * MAX_SHOWN
    assert shown({"a": longest}, "{a}").sentence == longest
    assert refused_at(json.dumps({"a": longest + "x"}).encode(), "{a}") == "/a"


def test_a_refusal_repeats_nothing_of_the_body() -> None:
    """What could not be shown is not told either."""
    with pytest.raises(Refusal) as raised:
        shown({**BODY, "amount": ["MARKER"]})
    assert "MARKER" not in f"{raised.value} {raised.value.detail} {raised.value.members}"


@pytest.mark.parametrize(
    "template",
    [
        "",
        "Send it all",
        "Send {amount",
        "Send amount} {asset}",
        "Send {{amount}}",
        "Send {amount!r}",
        "Send {amount:>3}",
        "Send {order.amount}",
        "Send {0}",
        "Send { amount }",
        "Send {bétrag}",
        "Send {a} {}",
        "Send {a}\n",
        "Send\t{a}",
        "Send {a}\u202e",
        "Send {a}\u200b",
        "Send {a}\u2028",
    ],
)
def test_no_template(template: str) -> None:
    """No slot, a stray brace, more than a name in one, more than a line, marks that turn or hide text."""
    with pytest.raises(ValueError, match="one line that names members"):
        Sentence.read(template)


# --- what is kept of it ----------------------------------------------------------------------------------------------


@given(st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=3))
def test_packed_and_back(sentence: str, values: list[tuple[str, str]]) -> None:
    """As it was; and `repr` has only how many values there are."""
    found = Shown(sentence, tuple(values))
    assert Shown.unpack(found.pack()) == found
    assert repr(found) == f"Shown({len(values)} values)"


def test_what_differs() -> None:
    """The first value that the other has otherwise, or has not, as it was asked for; empty where all are alike."""
    asked = shown(BODY)
    assert asked.differing(asked) == ""
    assert asked.differing(shown({**BODY, "amount": "99"})) == "amount 0.25"
    assert asked.differing(shown({**BODY, "asset": "ETH", "address": "x"})) == "asset BTC"
    assert asked.differing(Shown("Send it")) == "amount 0.25"
    assert Shown("Send it").differing(asked) == ""


# --- what a yes is bound to ------------------------------------------------------------------------------------------


def request(method: str = "POST", target: bytes = b"/v1/w?a=1", authority: str = "api.example") -> Request:
    """A call's head."""
    return replace(head(method, target), authority=authority)


def test_bound_to_each_part() -> None:
    """In the order of PARTS, each under its name; every part that is changed changes its own and no other."""
    first = bound(request(), b"application/json", b"{}", "Send 1")
    assert len(first) == len(PARTS) == 7
    assert first == (
        b"approval authority\0api.example",
        b"approval method\0POST",
        b"approval path\0/v1/w",
        b"approval query\0a=1",
        b"approval content type\0application/json",
        b"approval body\0{}",
        b"approval sentence\0Send 1",
    )
    others = (
        bound(request(authority="b.example"), b"application/json", b"{}", "Send 1"),
        bound(request("PUT"), b"application/json", b"{}", "Send 1"),
        bound(request(target=b"/v1/v?a=1"), b"application/json", b"{}", "Send 1"),
        bound(request(target=b"/v1/w?a=2"), b"application/json", b"{}", "Send 1"),
        bound(request(), b"application/xml", b"{}", "Send 1"),
        bound(request(), b"application/json", b"{ }", "Send 1"),
        bound(request(), b"application/json", b"{}", "Send ١"),
    )
    for changed, other in zip(PARTS, others, strict=True):
        assert [name for name, one, two in zip(PARTS, first, other, strict=True) if one != two] == [changed]


def test_no_part_stands_for_another() -> None:
    """The same bytes as another part are other bytes: a digest of one is never the digest of the other."""
    parts = bound(request("X", b"/X?X", "X"), b"X", b"X", "X")
    assert len(set(parts)) == len(PARTS)


# --- ids -------------------------------------------------------------------------------------------------------------


def test_ids_and_states() -> None:
    """What is made is what is read; nothing around it, and no other letters."""
    made = identifier(PREFIX, 1_790_000_000_000, bytes(RANDOM_BYTES)).encode()
    assert ID.fullmatch(made)
    for other in (
        made[:-1],
        made + b"0",
        made.lower(),
        made + b"\n",
        b"req" + made[3:],
        b"apr_" + "é".encode() * 13,
        b"",
    ):
        assert not ID.fullmatch(other)
    assert STATES == ("pending", "approved", "denied", "expired", "used")
