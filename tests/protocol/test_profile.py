"""The strict profile: which signatures are read, which are refused and as what, and that both readings agree."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Refusal
from sealwire.protocol import signature
from sealwire.protocol.message import Request
from sealwire.protocol.profile import (
    ALWAYS,
    NAMED_IN_REFUSALS,
    Claim,
    Plans,
    build_base,
    claim,
    component_value,
    find_label,
    fingerprints,
    general,
    has_tag,
    quick,
)
from tests.protocol.made import (
    AUTHORITY,
    CREATED,
    FOUR,
    KEYID,
    NONCE,
    PARAMS,
    code,
    fields_of,
    member,
    read,
    request,
    signed_lines,
    with_body,
)

CONTENT = (*FOUR, "content-type", "content-digest")
WHEN_PRESENT = (
    "authorization",
    "dpop",
    "idempotency-key",
    "sealwire-session",
    "sealwire-reply-key",
    "sealwire-approval",
)
POSSESSION = "sealwire-possession"


def refused(made: Request, tag: str = "sealwire", *, possession: str = "") -> str:
    """The code with which the request's signature is turned away."""
    with pytest.raises(Refusal) as raised:
        read(made, tag, possession=possession)
    slug = raised.value.slug
    failed = {"signature-missing": "parse", "signature-malformed": "parse"}.get(slug, "components")
    assert raised.value.failed == failed
    return code(raised)


def with_params(**params: str | None) -> Request:
    """A request whose signature has these parameters in place of the ordinary ones."""
    return request(signed_lines(params=params))


def both(lines: list[tuple[bytes, bytes]], tag: str = "sealwire") -> tuple[Claim | None, Claim | None]:
    """What the quick and the general reading say; None for a refusal of the latter."""
    (_, inputs), (_, octets) = lines
    fast = quick(inputs, octets, tag, Plans())
    try:
        return fast, general(inputs, octets, tag, request())
    except Refusal:
        return fast, None


# --- what is read ---


def test_an_ordinary_claim() -> None:
    """Label, parameters, covered list and bytes are those of the message."""
    found = read(request(signed_lines(params={"alg": '"ed25519"'}, label="any")))
    assert (found.label, found.created, found.expires) == ("any", CREATED, CREATED + 60)
    assert (found.keyid, found.nonce, found.algorithm) == (KEYID, NONCE, "ed25519")
    assert found.covered == member(params={"alg": '"ed25519"'}).encode()
    assert found.listed == b'"@method" "@authority" "@path" "@query"'
    assert found.signature == b"signature"
    assert found.plan.names == set(ALWAYS)
    assert read(with_params()).algorithm is None


@pytest.mark.parametrize("label", ["x", "sig1", "*", "a-._*9"])
def test_labels_mean_nothing(label: str) -> None:
    """Any label will do."""
    assert read(request(signed_lines(label=label))).label == label


def test_any_order() -> None:
    """Parameters and components stand in any order."""
    names = FOUR[::-1]
    text = member(names, dict.fromkeys(PARAMS)) + "".join(f";{n}={PARAMS[n]}" for n in sorted(PARAMS))
    found = read(request(fields_of({"a": text})))
    assert found.created == CREATED
    assert [name for _, name in found.plan.steps] == [name.encode() for name in names]


def test_beside_other_signatures() -> None:
    """Signatures with other tags are let be, in the same field line or in another, whatever they hold."""
    others = {"one": '("x";key=1 "@status");tag="other";created=1.5', "two": "()"}
    ours = {"sig1": member()}
    for members in (others | ours, ours | others):
        assert read(request(fields_of(members))).label == "sig1"
    lines = [*signed_lines(), *fields_of({"b": '("y");tag="x"'})]
    assert read(request(lines)).label == "sig1"


def test_extra_components() -> None:
    """Fields beyond the required ones, and derived ones beside the four, are checked as any."""
    names = (*FOUR, "accept", "x_y", "host", "@target-uri", "@scheme", "@request-target")
    made = request([*signed_lines(names), (b"accept", b"a/b")])
    made = replace(made, fields=made.fields | {b"x_y": b"1"})
    base = build_base(read(made), made)
    assert b'"accept": a/b\n"x_y": 1\n"host": ' + AUTHORITY.encode() in base
    assert (
        b'"@target-uri": https://api.example.com/v1/orders?b=1\n"@scheme": https\n"@request-target": /v1/orders?b=1'
        in base
    )
    assert quick(made.fields[b"signature-input"], made.fields[b"signature"], "sealwire", Plans()) is None  # for its x_y
    lines = signed_lines((*FOUR, "@target-uri", "@scheme", "@request-target"))
    assert both(lines)[0] == both(lines)[1] is not None


# --- no signature ---


def test_missing() -> None:
    """Neither field, both empty, either alone, or no signature with our tag: missing."""
    lines = signed_lines()
    assert refused(request()) == "signature-missing/absent"
    assert refused(request([(b"signature", b""), (b"signature-input", b" ")])) == "signature-missing/absent"
    assert refused(request(lines[:1])) == "signature-missing/input-absent"
    assert refused(request(lines[1:])) == "signature-missing/input-absent"
    assert refused(request([lines[0], (b"signature", b"")])) == "signature-missing/input-absent"
    assert refused(with_params(tag='"other"')) == "signature-missing/no-tag"
    assert refused(with_params(tag=None)) == "signature-missing/no-tag"
    assert refused(with_params(tag='"sealwire "')) == "signature-missing/no-tag"
    assert refused(with_params(tag='"Sealwire"')) == "signature-missing/no-tag"
    assert refused(with_params(), tag="sealwire-possession") == "signature-missing/no-tag"


# --- malformed ---


@pytest.mark.parametrize("name", ["created", "expires", "keyid", "nonce"])
def test_missing_parameter(name: str) -> None:
    """created, expires, keyid and nonce are required."""
    assert refused(with_params(**{name: None})) == "signature-malformed/parameter-missing"


@pytest.mark.parametrize("text", ['"1"', "1.0", "?0", ":MTIz:", "token", "@1790000000", '%"1"'])
@pytest.mark.parametrize("name", ["created", "expires"])
def test_numbers_of_another_type(name: str, text: str) -> None:
    """created and expires are integers."""
    assert refused(with_params(**{name: text})) == "signature-malformed/parameter-type"


@pytest.mark.parametrize("text", ["1", "1.0", "?0", ":MTIz:", "sealwire", '%"sealwire"'])
@pytest.mark.parametrize("name", ["keyid", "nonce", "alg", "tag"])
def test_strings_of_another_type(name: str, text: str) -> None:
    """keyid, nonce, alg and tag are strings; a tag of another type is only ours if it spells ours."""
    expected = "signature-malformed/parameter-type"
    if name == "tag" and "sealwire" not in text:
        expected = "signature-missing/no-tag"
    assert refused(with_params(**{name: text})) == expected


@pytest.mark.parametrize("name", ["x", "context", "req", "created2", "*"])
def test_unknown_parameter(name: str) -> None:
    """Other parameters are refused."""
    for text in ("1", '"x"', "?0"):
        assert refused(with_params(**{name: text})) == "signature-malformed/parameter-unknown"


@pytest.mark.parametrize(
    ("created", "expires", "cause"),
    [
        (-1, 60, "number-range"),
        (CREATED, -1, "number-range"),
        (2**40 - 1, 2**40, "number-range"),
        (2**40, 2**40 + 60, "number-range"),
        (10**14, 10**14 + 60, "number-range"),
        (CREATED, CREATED, "expires-order"),
        (CREATED, CREATED - 1, "expires-order"),
        (CREATED, CREATED + 301, "lifetime"),
        (0, 2**40 - 1, "lifetime"),
    ],
)
def test_times_that_cannot_be(created: int, expires: int, cause: str) -> None:
    """Negative and huge numbers, an expires not after created, a lifetime over 300 s."""
    assert refused(with_params(created=str(created), expires=str(expires))) == f"signature-malformed/{cause}"


@pytest.mark.parametrize(
    ("created", "expires"),
    [(0, 1), (0, 300), (CREATED, CREATED + 300), (2**40 - 2, 2**40 - 1), (2**40 - 301, 2**40 - 1)],
)
def test_times_at_their_bounds(created: int, expires: int) -> None:
    """From 0 to 2^40 - 1, and 1 to 300 s apart."""
    made = with_params(created=str(created), expires=str(expires))
    found = read(made)
    assert quick(made.fields[b"signature-input"], made.fields[b"signature"], "sealwire", Plans()) == found
    assert (found.created, found.expires) == (created, expires)


@pytest.mark.parametrize(
    "nonce", ["", "a" * 21, "a" * 65, "a" * 21 + "=", "a" * 21 + "+", "a" * 21 + " ", "a" * 21 + ".", "a" * 500]
)
def test_nonces_of_another_form(nonce: str) -> None:
    """A nonce is 22 to 64 characters of base64url."""
    assert refused(with_params(nonce=f'"{nonce}"')) == "signature-malformed/nonce-form"


@pytest.mark.parametrize("nonce", ["a" * 22, "a" * 64, "-_" + "Zz09" * 5])
def test_nonces_at_their_bounds(nonce: str) -> None:
    """22 and 64 characters are the bounds."""
    assert read(with_params(nonce=f'"{nonce}"')).nonce == nonce


@pytest.mark.parametrize(
    "keyid", ["", "../../etc/passwd", "' OR 1=1 --", "a" * 10_000, "A;B", "(a) , b", "\\\\", '\\"']
)
def test_any_keyid_is_only_text(keyid: str) -> None:
    """A keyid is read as the string it is; whether a key has it is asked later."""
    assert read(with_params(keyid=f'"{keyid}"')).keyid == keyid.replace("\\\\", "\\").replace('\\"', '"')


@pytest.mark.parametrize("keyid", ["a\x00", "а" * 43, "a\x7f"])
def test_a_keyid_of_other_characters(keyid: str) -> None:
    """NUL and look-alike letters do not stand in a string."""
    (_, inputs), (_, octets) = signed_lines(params={"keyid": f'"{keyid}"'})
    with pytest.raises(Refusal, match="signature-malformed/fields"):
        general(inputs, octets, "sealwire", request())


NOT_CANONICAL = {
    "two spaces": member().replace('" "', '"  "', 1),
    "space before )": member().replace(")", " )", 1),
    "space after (": member().replace("(", "( ", 1),
    "space before a parameter": member().replace(";created", "; created"),
    "zero before a number": member().replace("=17", "=017"),
    "a number twice": member() + f";created={CREATED}",
    "another number first": member().replace(";created", ";created=5;created"),
    "a tag twice": member() + ';tag="sealwire"',
}


@pytest.mark.parametrize("name", NOT_CANONICAL)
def test_not_canonical(name: str) -> None:
    """Our member is spelled in the one way that RFC 9651 would write it, and no parameter stands twice."""
    assert refused(request(fields_of({"a": NOT_CANONICAL[name]}))) == "signature-malformed/not-canonical"


@pytest.mark.parametrize("value", [":YQ:", ":YR==:", ":YQ==:;p", ":YQ=:"])
def test_signatures_that_are_not_canonical(value: str) -> None:
    """The signature is canonical base64 without parameters."""
    assert refused(request(fields_of({"a": member()}, {"a": value}))) == "signature-malformed/not-canonical"


@pytest.mark.parametrize(
    ("inputs", "values"),
    [
        ({"a": member()}, {"a": '"YQ=="'}),
        ({"a": member()}, {"a": "(:YQ==:)"}),
        ({"a": member()}, {"a": ":Y-==:"}),
        ({"a": member()}, {"a": ":YQ=="}),
        ({"a": "1"}, {"a": ":YQ==:"}),
        ({"a": member()[:-1]}, {"a": ":YQ==:"}),
        ({"a": member(), "b": "1"}, {"a": ":YQ==:", "b": ":YQ==:"}),
        ({"a": member(), "b": '(1);tag="x"'}, {"a": ":YQ==:", "b": ":YQ==:"}),
        ({"a": member(), "b": "()"}, {"a": ":YQ==:", "b": "1"}),
        ({"A": member()}, {"A": ":YQ==:"}),
        ({"a": member().replace('"@path"', "@path")}, {"a": ":YQ==:"}),
        ({"a": member().replace('"@path"', "path")}, {"a": ":YQ==:"}),
    ],
)
def test_fields_that_do_not_parse(inputs: dict[str, str], values: dict[str, str]) -> None:
    """Both fields parse whole, other signatures' members included."""
    assert refused(request(fields_of(inputs, values))) == "signature-malformed/fields"


def test_labels() -> None:
    """No label stands twice or in one field only, ours or another's."""
    a, b, other = f"a={member()}", f"b={member()}", 'b=();tag="x"'
    cases = [
        (f"{a}, {a}", "a=:YQ==:", "label-twice"),
        (a, "a=:YQ==:, a=:Yg==:", "label-twice"),
        (f"{a}, {a}", "a=:YQ==:, a=:YQ==:", "label-twice"),
        (f"{a}, {other}, {other}", "a=:YQ==:, b=:YQ==:", "label-twice"),
        (f"{a}, {other}", "a=:YQ==:", "labels-differ"),
        (a, "a=:YQ==:, b=:YQ==:", "labels-differ"),
        (a, "b=:YQ==:", "labels-differ"),
        (f"{a}, {b}", "a=:YQ==:, b=:YQ==:", "too-many"),
    ]
    for inputs, octets, cause in cases:
        made = request([(b"signature-input", inputs.encode()), (b"signature", octets.encode())])
        assert refused(made) == f"signature-malformed/{cause}"


def test_sixteen_labels() -> None:
    """16 labels are read, 17 in either field are not."""
    others = {f"x{i}": '();tag="x"' for i in range(16)}
    fifteen = dict(list(others.items())[:15])
    assert read(request(fields_of({"a": member()} | fifteen))).label == "a"
    assert refused(request(fields_of({"a": member()} | others))) == "signature-malformed/too-many"
    values = dict.fromkeys(("a", *others), ":YQ==:")
    assert refused(request(fields_of({"a": member()}, values))) == "signature-malformed/too-many"


def test_thirty_two_components() -> None:
    """32 components are read, 33 are not."""
    names = (*FOUR, *(f"x{i}" for i in range(28)))
    assert len(read(request(signed_lines(names))).plan.steps) == 32
    assert refused(request(signed_lines((*names, "y")))) == "signature-malformed/too-many-components"


@pytest.mark.parametrize("name", [*FOUR, "accept", "content-digest", "@scheme"])
def test_component_twice(name: str) -> None:
    """A component stands once."""
    assert refused(request(signed_lines((*FOUR, name, name)))) == "signature-malformed/component-twice"


@pytest.mark.parametrize(
    "name",
    ["@status", "@query-param", "@METHOD", "@signature-params", "@", "Content-Digest", "a b", "", "a:", "é", "a\\\\"],
)
def test_unknown_component(name: str) -> None:
    """Other derived components, names in another case and what is no field name are refused."""
    expected = "fields" if name == "é" else "component-unknown"
    assert refused(request(signed_lines((*FOUR, name)))) == f"signature-malformed/{expected}"


@pytest.mark.parametrize("param", ["sf", "bs", "tr", "req", 'key="a"', 'name="b"', "x=1", "sf=?0"])
@pytest.mark.parametrize("name", ["accept", "@path", "signature"])
def test_component_parameters(name: str, param: str) -> None:
    """Components take no parameters."""
    text = member().replace('"@query")', f'"@query" "{name}";{param})')
    assert refused(request(fields_of({"a": text}))) == "signature-malformed/component-parameter"


# --- what must be covered ---


def test_nothing_covered() -> None:
    """A signature over nothing is refused, though it may verify."""
    assert refused(request(signed_lines(()))) == "components-insufficient/not-covered"


@pytest.mark.parametrize("name", CONTENT)
def test_each_required_component(name: str) -> None:
    """Each of the four, and with content its type and digest, is needed, and the one that lacks is named."""
    made = with_body(signed_lines([other for other in CONTENT if other != name]))
    with pytest.raises(Refusal, match="components-insufficient/not-covered") as raised:
        read(made)
    assert raised.value.detail == f'Not covered: "{name}".'


def test_content() -> None:
    """A length above 0 or Transfer-Encoding announces content, with any method; else type and digest are not needed."""
    chunked = [(b"transfer-encoding", b"chunked")]
    for method in ("GET", "DELETE", "POST"):
        assert refused(request([*signed_lines(), *chunked], method=method)) == "components-insufficient/not-covered"
        assert refused(request([*signed_lines(), (b"content-length", b"1")], method=method)).endswith("not-covered")
        read(request([*signed_lines(CONTENT), *chunked], method=method))
        read(request([*signed_lines(), (b"content-length", b"0")], method=method))
        read(request([*signed_lines(), (b"content-digest", b"sha-256=::")], method=method))


def test_covered_and_not_sent() -> None:
    """A covered field that is not in the message is refused when the base is built, and named."""
    for names in (CONTENT, (*CONTENT, "accept")):
        made = request([*signed_lines(names), (b"content-length", b"1")])
        with pytest.raises(Refusal, match="components-insufficient/field-absent") as raised:
            build_base(read(made), made)
        assert raised.value.failed == "components"
        assert '"content-type"' in raised.value.detail


@pytest.mark.parametrize("name", WHEN_PRESENT)
def test_when_present(name: str) -> None:
    """These fields are covered wherever they are sent, an empty one too."""
    for content in (b"x", b""):
        assert refused(request([*signed_lines(), (name.encode(), content)])) == "components-insufficient/not-covered"
        read(request([*signed_lines((*FOUR, name)), (name.encode(), content)]))
    read(request(signed_lines()))


@pytest.mark.parametrize(
    "name", ["date", "via", "forwarded", "x-forwarded-for", "traceparent", "cookie", "sealwire-other"]
)
def test_never_needed(name: str) -> None:
    """What proxies add or change need not be covered."""
    read(request([*signed_lines(), (name.encode(), b"x")]))


@pytest.mark.parametrize("coding", [b"gzip", b"identity", b""])
def test_content_encoding(coding: bytes) -> None:
    """Content-Encoding is refused, covered or not."""
    for names in (CONTENT, (*CONTENT, "content-encoding")):
        with pytest.raises(Refusal, match="media-type/content-encoding") as raised:
            read(with_body([*signed_lines(names), (b"content-encoding", coding)]))
        assert (raised.value.status, raised.value.failed) == (415, "components")


@pytest.mark.parametrize("name", [*CONTENT[4:], *WHEN_PRESENT])
def test_named_by_connection(name: str) -> None:
    """What Connection names does not count as covered, in any case and place of its list."""
    lines = [*signed_lines((*CONTENT, *WHEN_PRESENT)), *((other.encode(), b"x") for other in WHEN_PRESENT)]
    read(with_body([*lines, (b"connection", b"close, signature, x-forwarded-for")]))
    for hop in (name.encode(), b"close ,\t" + name.upper().encode() + b" , keep-alive"):
        assert refused(with_body([*lines, (b"connection", hop)])) == "components-insufficient/named-by-connection"


# --- possession ---


def bound(*extra: str, names: tuple[str, ...] = FOUR) -> dict[str, str]:
    """A possession signature `p`, and one with our tag that covers these components beside the names."""
    text = member(names)
    return {
        "p": member(params={"tag": f'"{POSSESSION}"'}),
        "a": text.replace(")", "".join(f" {component}" for component in extra) + ")", 1),
    }


BINDING = ('"signature";key="p"', '"signature-input";key="p"')


def test_possession_bound() -> None:
    """The authorising signature's base holds the possession signature and what it covers, whole."""
    made = request(fields_of(bound(*BINDING)))
    found = read(made, possession=find_label(made, POSSESSION))
    base = build_base(found, made)
    assert b'\n"signature";key="p": :c2lnbmF0dXJl:\n' in base
    assert b'\n"signature-input";key="p": ' + member(params={"tag": f'"{POSSESSION}"'}).encode() + b"\n" in base
    assert found.plan.names == set(ALWAYS)
    assert found.listed == b""
    signed = signature.parse(made.fields[b"signature-input"], made.fields[b"signature"])[1]
    assert base == signature.base(signed.components, signed.covered, made)
    plans = Plans()
    plans.keep(found)
    assert plans.find(b"") is None


def test_possession_not_bound() -> None:
    """Both bindings are needed, each once, with the possession signature's label and no other parameter."""
    insufficient = "components-insufficient/binding-missing"
    malformed = "signature-malformed/component-parameter"
    cases: list[tuple[tuple[str, ...], str]] = [
        ((), insufficient),
        (BINDING[:1], insufficient),
        (BINDING[1:], insufficient),
        (('"signature"', '"signature-input"'), insufficient),
        ((*BINDING, BINDING[0]), malformed),
        (('"signature";key="a"', BINDING[1]), malformed),
        (('"signature";key="q"', BINDING[1]), malformed),
        (('"signature";key="p";sf', BINDING[1]), malformed),
        (('"signature";sf', BINDING[1]), malformed),
        ((*BINDING, '"content-type";key="p"'), malformed),
    ]
    for extra, expected in cases:
        assert refused(request(fields_of(bound(*extra))), possession="p") == expected
    assert refused(request(fields_of(bound(*BINDING)))) == malformed


def test_tags() -> None:
    """Whether a tag is there, and under which label."""
    made = request(fields_of(bound()))
    assert has_tag(made, "sealwire")
    assert has_tag(made, POSSESSION)
    assert not has_tag(made, "sealwire-invitation")
    assert not has_tag(request(), "sealwire")
    assert find_label(made, POSSESSION) == "p"
    with pytest.raises(Refusal, match="signature-missing/absent"):
        find_label(request(), "sealwire")
    with pytest.raises(Refusal, match="signature-missing/no-tag"):
        find_label(made, "other")
    twice = request(fields_of({"a": member(), "b": member()}))
    for ask in (has_tag, find_label):
        with pytest.raises(Refusal, match="signature-malformed/too-many"):
            ask(twice, "sealwire")


# --- the two readings ---

NAMES = st.lists(st.sampled_from([*CONTENT, "accept", "x-1", "@scheme"]), min_size=1, max_size=8, unique=True)
TEXTS: Mapping[str, st.SearchStrategy[str]] = {
    "created": st.integers(0, 2**40 + 5).map(str) | st.just(PARAMS["created"]),
    "keyid": st.from_regex(r'"[ !#-:<-\[\]-~]{0,50}"', fullmatch=True) | st.just(PARAMS["keyid"]),
    "nonce": st.from_regex(r'"[A-Za-z0-9_-]{20,66}"', fullmatch=True),
    "tag": st.just(PARAMS["tag"]),
}


@st.composite
def ordinary(draw: st.DrawFn) -> list[tuple[bytes, bytes]]:
    """Fields as an ordinary signer writes them, some of them past a bound."""
    params = {name: draw(texts) for name, texts in TEXTS.items()}
    params["expires"] = str(int(params["created"]) + draw(st.integers(-1, 302)))
    if draw(st.booleans()):
        params["alg"] = draw(st.sampled_from(['"ed25519"', '""']))
    order = draw(st.permutations(list(params)))
    names = draw(NAMES)
    text = "(" + " ".join(f'"{name}"' for name in names) + ")" + "".join(f";{name}={params[name]}" for name in order)
    octets = draw(st.sampled_from([":YQ==:", ":YWI=:", ":YWJj:", "::", ":YR==:"]))
    return fields_of({draw(st.sampled_from(["a", "sig1", "*x"])): text}, {draw(st.sampled_from(["a", "sig1"])): octets})


SCRAPS = st.sampled_from(
    [bytes((byte,)) for byte in b';"\\ ,=():01-.\t\n\x00\xffA']
    + [
        b"?1",
        b";created=1",
        b';tag="sealwire"',
        b';nonce="x"',
        b"sealwire",
        b";x",
        b'"@path"',
        b' "accept"',
        b"a=",
        b", b=()",
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> list[tuple[bytes, bytes]]:
    """Ordinary fields with a few bytes cut out and others put in."""
    lines = []
    for name, content in draw(ordinary()):
        for _ in range(draw(st.integers(0, 2))):
            start = draw(st.integers(0, len(content)))
            end = draw(st.integers(start, min(len(content), start + 3)))
            content = content[:start] + draw(SCRAPS | st.just(b"")) + content[end:]
        lines.append((name, content))
    return lines


@given(ordinary())
def test_ordinary_forms_are_read_alike(lines: list[tuple[bytes, bytes]]) -> None:
    """Of an ordinary form the quick reading says exactly what the general one says, or nothing."""
    fast, slow = both(lines)
    assert fast is None or fast == slow
    if slow is not None and slow.signature and slow.keyid and slow.algorithm != "":
        assert fast == slow, "an ordinary form took the slow way"


@given(mutated())
def test_any_form_is_read_alike(lines: list[tuple[bytes, bytes]]) -> None:
    """Of any bytes the quick reading says nothing, or exactly what the general one says."""
    fast, slow = both(lines)
    assert fast is None or fast == slow


@given(mutated(), st.integers(0, 3))
def test_both_readings_build_one_base(lines: list[tuple[bytes, bytes]], extra: int) -> None:
    """The base from a claim's plan is the one that the engine builds from the received text."""
    made = with_body([(b"accept", b"a"), (b"x-1", b"b" * extra)])
    _, slow = both(lines)
    if slow is not None:
        (_, inputs), (_, octets) = lines
        (signed,) = (one for one in signature.parse(inputs, octets) if one.label == slow.label)
        try:
            expected: bytes | None = signature.base(signed.components, signed.covered, made)
        except Refusal:
            expected = None
        if expected is None:
            with pytest.raises(Refusal, match="components-insufficient/field-absent"):
                build_base(slow, made)
        else:
            assert build_base(slow, made) == expected


@pytest.mark.parametrize(
    ("inputs", "octets"),
    [
        (member(params={"keyid": '""'}), ":YQ==:"),
        (member(params={"alg": '""'}), ":YQ==:"),
        (member(params={"x": "1"}), ":YQ==:"),
        (member(params={"created": "01"}), ":YQ==:"),
        (member(params={"created": '"1"'}), ":YQ==:"),
        (member(params={"keyid": "1"}), ":YQ==:"),
        (member(params={"alg": "1"}), ":YQ==:"),
        (member(params={"nonce": None}), ":YQ==:"),
        (member(params={"nonce": '"short"'}), ":YQ==:"),
        (member(params={"tag": '"other"'}), ":YQ==:"),
        (member(params={"created": "0", "expires": "1099511627776"}), ":YQ==:"),
        (member(params={"created": "1099511627775", "expires": "1099511627776"}), ":YQ==:"),
        (member(params={"expires": PARAMS["created"]}), ":YQ==:"),
        (member(params={"expires": str(CREATED + 301)}), ":YQ==:"),
        (member((*FOUR, "@status")), ":YQ==:"),
        (member((*FOUR, "accept", "accept")), ":YQ==:"),
        (member([*FOUR, *(f"x{i}" for i in range(29))]), ":YQ==:"),
        (member(()), ":YQ==:"),
        (member() + ";created=1", ":YQ==:"),
        (member(), ":YR==:"),
        (member(), ":YQ:"),
        (member(), ":YQ==:;p"),
        (member(), '"YQ=="'),
    ],
)
def test_the_quick_reading_never_guesses(inputs: str, octets: str) -> None:
    """Whatever is not the ordinary form, or is past a bound, it leaves to the general reading."""
    assert quick(b"a=" + inputs.encode(), b"a=" + octets.encode(), "sealwire", Plans()) is None


def test_the_quick_reading_wants_one_label() -> None:
    """Two labels, or other ones in the two fields, are left to the general reading."""
    text = member().encode()
    assert quick(b"a=" + text, b"b=:YQ==:", "sealwire", Plans()) is None
    assert quick(b"a=" + text + b", b=()", b"a=:YQ==:, b=:YQ==:", "sealwire", Plans()) is None
    assert quick(b"a=" + text, b"a=:YQ==:", "sealwire", Plans()) is not None


def test_plans() -> None:
    """A list is kept once its signature held, is found by its very bytes, and no more than 256 are kept."""
    plans = Plans()
    made = request(signed_lines())
    found = claim(made, "sealwire", plans)
    assert plans.find(found.listed) is None
    plans.keep(found)
    plans.keep(found)
    assert plans.find(found.listed) is found.plan
    assert claim(made, "sealwire", plans).plan is found.plan
    for i in range(300):
        plans.keep(found._replace(listed=b"%d" % i))
    assert plans.find(b"254") is found.plan
    assert plans.find(b"255") is None


# --- the lines of a base ---


def test_component_value() -> None:
    """The four from the target and the head, a field as it was received, nothing for a line that is whole."""
    made = request([(b"accept", b"a/b")])
    values = {
        b"@method": b"GET",
        b"@authority": AUTHORITY.encode(),
        b"@path": b"/v1/orders",
        b"@query": b"?b=1",
        b"": b"",
    }
    for name, content in (values | {b"accept": b"a/b"}).items():
        assert component_value(name, made) == content
    assert component_value(b"@query", request(target=b"/a")) == b"?"
    with pytest.raises(Refusal, match="components-insufficient/field-absent"):
        component_value(b"x-y", made)


def test_fingerprints() -> None:
    """Of each line that may be named: its component, and the start of SHA-256 over signature and line."""
    names = (*FOUR, "content-type", "content-digest", "x-origin-verify", "idempotency-key")
    made = with_body([*signed_lines(names), (b"x-origin-verify", b"secret"), (b"idempotency-key", b"k: 1")])
    found = read(made)
    shown = fingerprints(found, build_base(found, made))
    assert [line["component"] for line in shown] == [
        '"@method"',
        '"@authority"',
        '"@path"',
        '"@query"',
        '"content-type"',
        '"content-digest"',
        '"idempotency-key"',
        '"@signature-params"',
    ]
    assert shown[2]["sha256"] == hashlib.sha256(b'signature"@path": /v1/orders').hexdigest()[:8]
    assert shown[6]["sha256"] == hashlib.sha256(b'signature"idempotency-key": k: 1').hexdigest()[:8]


def test_what_may_be_named() -> None:
    """The required components, those to cover when present, and the parameters."""
    names = {name.encode() for name in (*CONTENT, *WHEN_PRESENT, "@signature-params")}
    assert names == NAMED_IN_REFUSALS
