"""Where a call comes from: what the proxies say counts, and nothing that anybody could have put before it."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.protocol.forwarded import FORWARDED, MAX_ELEMENTS, X_FORWARDED_FOR, Proxies, client_address
from tests.protocol.vectors import load

EXAMPLES: dict[str, Any] = load("rfc7239/rfc7239_examples.json")
NETWORKS = (ip_network("10.0.0.0/8"), ip_network("2001:db8:aaaa::/48"))
PEER, STRANGER = "10.0.0.1", "192.0.2.1"
HEADERS = (FORWARDED, X_FORWARDED_FOR)


def told(header: bytes, *lines: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a call, in which others stand before and behind."""
    return [(b"host", b"api.example"), *((header, line) for line in lines), (b"accept", b"*/*")]


def by_network(header: bytes, *lines: bytes, peer: str = PEER) -> str:
    return client_address(Proxies(header, NETWORKS), peer, told(header, *lines))


def by_hops(hops: int, header: bytes, *lines: bytes, peer: str = PEER) -> str:
    return client_address(Proxies(header, hops=hops), peer, told(header, *lines))


def of_forwarded(element: bytes) -> str:
    """What one element of Forwarded names."""
    return by_hops(1, FORWARDED, element)


def of_x(element: bytes) -> str:
    """What one element of X-Forwarded-For names."""
    return by_hops(1, X_FORWARDED_FOR, element)


def test_the_examples_of_rfc_7239() -> None:
    """Each element of each field, counted from the end, and nothing before the first one."""
    assert len(EXAMPLES["fields"]) == 10
    for example in EXAMPLES["fields"]:
        lines, expected = [line.encode() for line in example["lines"]], example["from_the_end"]
        found = [by_hops(hops, FORWARDED, *lines) for hops in range(1, len(expected) + 2)]
        assert found == [*expected, ""], example
        if "x-forwarded-for" in example:
            line = example["x-forwarded-for"].encode()
            assert [by_hops(hops, X_FORWARDED_FOR, line) for hops in (1, 2, 3)] == [*expected, ""]


def test_the_nodes_of_rfc_7239() -> None:
    """Section 6: a node with a port is quoted."""
    assert len(EXAMPLES["nodes"]) == 2
    for example in EXAMPLES["nodes"]:
        assert of_forwarded(b"for=" + example["node"].encode()) == example["address"]


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", ""),
        ("a-socket", ""),
    ],
)
def test_without_proxies_the_peer_counts(peer: str, address: str) -> None:
    """No field is believed, whatever it says."""
    headers = told(FORWARDED, b"for=6.6.6.6") + told(X_FORWARDED_FOR, b"6.6.6.6")
    assert client_address(None, peer, headers) == address


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(
    ("peer", "address"), [(STRANGER, STRANGER), ("2001:db8:aaab::1", "2001:db8:aaab::1"), ("", "")]
)
def test_a_peer_that_is_no_proxy_is_itself(header: bytes, peer: str, address: str) -> None:
    """Whatever it sends."""
    for line in (b"for=6.6.6.6", b"6.6.6.6", b"unknown", b""):
        assert by_network(header, line, peer=peer) == address


@pytest.mark.parametrize("peer", [PEER, "::ffff:10.0.0.1", "2001:db8:aaaa::9"])
def test_the_first_from_the_end_that_is_no_proxy(peer: str) -> None:
    """Over several lines, which are one list; what stands before it is not looked at."""
    for spoofed in (b"6.6.6.6", b"", b"unknown", b"\xff", b'"', b"10.0.0.9"):
        lines = (spoofed, spoofed + b", 198.51.100.17,10.0.0.2", b" 2001:db8:aaaa::1\t,[2001:db8:aaaa::2]:80")
        assert by_network(X_FORWARDED_FOR, *lines, peer=peer) == "198.51.100.17"
    lines = (b"for=6.6.6.6", b'for="6.6.6.6, for=198.51.100.17;by=_x, for=10.0.0.2', b'for="[2001:db8:aaaa::1]"')
    assert by_network(FORWARDED, *lines, peer=peer) == "198.51.100.17"


def test_where_all_are_proxies() -> None:
    """One of them asked by itself: the leftmost."""
    assert by_network(X_FORWARDED_FOR, b"10.0.0.3, 10.0.0.2") == "10.0.0.3"
    assert by_network(FORWARDED, b"for=10.0.0.3", b'for="10.0.0.2:80"') == "10.0.0.3"
    # To networks an IPv4 address is one however it is written.
    assert by_network(X_FORWARDED_FOR, b"198.51.100.17, ::ffff:10.0.0.2") == "198.51.100.17"


@pytest.mark.parametrize("header", HEADERS)
def test_a_proxy_that_says_nothing(header: bytes) -> None:
    """It is not taken for the caller; nor is the other field read, nor one whose name is only like it."""
    assert by_network(header) == ""
    assert by_hops(1, header) == ""
    (other,) = set(HEADERS) - {header}
    for name in (other, b"x-real-ip", b"x_forwarded_for", b"x-forwarded", b"forwarded-for"):
        headers = told(name, b"198.51.100.17" if other == X_FORWARDED_FOR else b"for=198.51.100.17")
        assert client_address(Proxies(header, NETWORKS), PEER, headers) == ""
        assert client_address(Proxies(header, hops=1), PEER, headers) == ""


def test_the_one_field_counts_beside_the_other() -> None:
    """In whatever order they stand, and in whatever case a server leaves their names."""
    both = [(b"X-Forwarded-For", b"198.51.100.1"), (b"Forwarded", b"for=198.51.100.2")]
    for headers in (both, both[::-1]):
        assert client_address(Proxies(X_FORWARDED_FOR, NETWORKS), PEER, headers) == "198.51.100.1"
        assert client_address(Proxies(FORWARDED, hops=1), PEER, headers) == "198.51.100.2"


def test_by_hops() -> None:
    """The n-th from the end, over several lines; fewer than that is not known. The peer does not matter."""
    lines = (b"6.6.6.6, 198.51.100.3", b"198.51.100.2, 198.51.100.1")
    expected = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "6.6.6.6", "", ""]
    for peer in (PEER, STRANGER, "", "a-socket"):
        assert [by_hops(hops, X_FORWARDED_FOR, *lines, peer=peer) for hops in range(1, 7)] == expected


@pytest.mark.parametrize("header", HEADERS)
def test_no_more_elements_than_are_read(header: bytes) -> None:
    """A list that is longer than any honest one, and none of it outside: not known, rather than what stands there."""
    prefix = b"for=" if header == FORWARDED else b""
    most = b",".join([prefix + b"10.0.0.2"] * (MAX_ELEMENTS - 1))
    assert by_network(header, prefix + b"198.51.100.17", most) == "198.51.100.17"
    assert by_network(header, prefix + b"198.51.100.17, " + most) == "198.51.100.17"
    assert by_network(header, prefix + b"10.0.0.3, " + most) == "10.0.0.3"
    for line in (prefix + b"198.51.100.17, " + prefix + b"10.0.0.3," + most, prefix + b"10.0.0.3," * 2 + most):
        assert by_network(header, line) == ""


@pytest.mark.parametrize(
    ("element", "address"),
    [
        (b"192.0.2.43", "192.0.2.43"),
        (b" \t192.0.2.43\t ", "192.0.2.43"),
        (b"192.0.2.43:47011", "192.0.2.43"),  # as Azure's gateways write it
        (b"192.0.2.43:0", "192.0.2.43"),
        (b"192.0.2.43:65535", "192.0.2.43"),
        (b"192.0.2.43:_hidden", "192.0.2.43"),
        (b"2001:DB8:CAFE:0:0:0:0:17", "2001:db8:cafe::17"),
        (b"[2001:DB8:CAFE::17]", "2001:db8:cafe::17"),
        (b"[2001:db8:cafe::17]:47011", "2001:db8:cafe::17"),
        (b"::1", "::1"),
        (b"::", "::"),
        (b"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        (b"1111:2222:3333:4444:5555:6666:255.255.255.255", "1111:2222:3333:4444:5555:6666:ffff:ffff"),
        (b"::ffff:192.0.2.43", "192.0.2.43"),
        (b"[::FFFF:c000:22b]:80", "192.0.2.43"),
    ],
)
def test_addresses(element: bytes, address: str) -> None:
    """In one spelling, however they are written; in Forwarded as a quoted string, and IPv6 in brackets there."""
    assert of_x(element) == address
    quoted = b'for="' + element.strip() + b'"'
    bare = element.count(b":") > 1 and not element.startswith(b"[")
    assert of_forwarded(quoted) == ("" if bare else address)


NO_ADDRESS = [
    b"", b" ", b"unknown", b"_hidden", b"unknown:80", b"localhost", b"192.0.2", b"192.0.2.043", b"192.0.2.256",
    b"192.0.2.43.1", b"3221226027", b"0xc000022b", b"192.0.2.43:", b"192.0.2.43:65536", b"192.0.2.43:655350",
    b"192.0.2.43:-1", b"192.0.2.43:8o", b"192.0.2.43:_", b"192.0.2.43/32", b"192.0.2.43 192.0.2.44",
    b"[192.0.2.43]", b"[2001:db8::1", b"2001:db8::1]", b"[2001:db8::1]80", b"[2001:db8::1]:",
    b"[2001:db8::1]:65536", b"[]", b"[::1]:80:80", b"fe80::1%eth0", b"[fe80::1%25eth0]", b"fe80::1%",
    b"2001:db8::1::2", b"1:2:3:4:5:6:7:8:9", b"12345::1", b":", b":::", b"::ffff:192.0.2.256", b"\xd9\xa1.0.2.43",
    b"192.0.2.43\x00", b"192.0.2.43\n", b"\xff", b"for=192.0.2.43",
]  # fmt: skip


@pytest.mark.parametrize("element", NO_ADDRESS)
def test_what_is_no_address(element: bytes) -> None:
    """The caller is not known: by hops, and by network as soon as it is reached, which is never passed over."""
    assert of_x(element) == ""
    assert of_forwarded(b"for=" + element) == ""
    assert of_forwarded(b'for="' + element + b'"') == ""
    assert by_network(X_FORWARDED_FOR, b"198.51.100.17, " + element) == ""
    assert by_network(X_FORWARDED_FOR, b"198.51.100.17", element + b", 10.0.0.2") == ""
    assert by_network(FORWARDED, b'for=198.51.100.17, for="' + element + b'", for=10.0.0.2') == ""


@pytest.mark.parametrize(
    "element",
    [
        b"FOR=192.0.2.43",
        b"for=192.0.2.43;by=_x",
        b"by=_x;for=192.0.2.43",
        b'host="a,b;for=6.6.6.6";for=192.0.2.43',
        b'for=192.0.2.43;host="a,b;for=6.6.6.6"',
        b'for=192.0.2.43;host="a\\",for=6.6.6.6;\\\\"',
        b'for=192.0.2.43;host="\\\\"',
        b'for="192.0.2.43"',
        b'for="\\1\\92.0.2.43\\:80"',
        b";;for=192.0.2.43; ;",
        b" for=192.0.2.43 ; proto=https ",
        b"secret=_s;for=192.0.2.43;ext=1",
        b'for=192.0.2.43;host="\xc3\xbc\t"',
    ],
)
def test_elements_of_forwarded(element: bytes) -> None:
    """Any case, any order, and commas and semicolons in quoted strings (RFC 7239 section 4)."""
    assert of_forwarded(element) == "192.0.2.43"
    assert by_hops(2, FORWARDED, b"for=198.51.100.17," + element) == "198.51.100.17"
    assert by_network(FORWARDED, b"for=198.51.100.17," + element) == "192.0.2.43"


@pytest.mark.parametrize(
    "element",
    [
        b"",
        b";",
        b"by=192.0.2.43",
        b"192.0.2.43",
        b"for=192.0.2.43;for=192.0.2.43",
        b"for=192.0.2.43;For=_x",
        b"for=",
        b"for",
        b"for =192.0.2.43",
        b"for= 192.0.2.43",
        b"for=192.0.2.43 by=_x",
        b"for=192.0.2.43:80",  # a token has no colon
        b"for=[2001:db8::1]",
        b'for="2001:db8::1"',
        b'for="192.0.2.43',
        b'for=192.0.2.43"',
        b'for=192.0.2.43;host="a',
        b'for=192.0.2.43;host="a\\"',
        b'for=192.0.2.43;host="a"b',
        b'for=192.0.2.43;host=a:"b"',
        b"for='192.0.2.43'",
        b'for=""',
        b"for=192.0.2.43;=1",
        b'for=192.0.2.43;host="\x00"',
        b'"for"=192.0.2.43',
        b"xfor=192.0.2.43",
    ],
)
def test_elements_that_are_none(element: bytes) -> None:
    """A proxy that writes so is not understood: the caller is not known."""
    assert of_forwarded(element) == ""
    assert by_network(FORWARDED, b"for=198.51.100.17", element) == ""


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str).filter(lambda text: "%" not in text)
OUTSIDE = ADDRESSES.filter(lambda text: bool(of_x(text.encode())) and by_network(X_FORWARDED_FOR, peer=text) == text)
INSIDE = st.sampled_from(NETWORKS).flatmap(lambda network: st.ip_addresses(network=str(network))).map(str)
#: What a client can send in a field: anything but the end of a line.
SENT = st.one_of(
    st.binary(max_size=60).map(lambda sent: sent.replace(b"\n", b"").replace(b"\r", b"")),
    st.lists(st.sampled_from(b' , ; " \\ \\" for= for="1.1.1.1 10.0.0.2 ::1 [ ] x="'.split(b" ")), max_size=20).map(
        b"".join
    ),
)


def written(header: bytes, address: str, more: bytes) -> bytes:
    """As a proxy writes where it was called from, and in Forwarded something of the call's own in quotes beside it."""
    if header == X_FORWARDED_FOR:
        return address.encode()
    node = b'"[%s]:1"' % address.encode() if ":" in address else address.encode()
    quoted = more.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    readable = bytes(byte for byte in quoted if byte >= 0x20 and byte != 0x7F)
    return b'host="%s";for=%s' % (readable, node)


@given(
    st.sampled_from(HEADERS),
    st.lists(SENT, max_size=4),
    OUTSIDE,
    st.lists(INSIDE, max_size=5),
    st.lists(st.booleans(), min_size=6, max_size=6),
    SENT,
)
def test_whatever_a_client_puts_before_it(
    header: bytes, sent: list[bytes], client: str, through: list[str], joined: list[bool], host: bytes
) -> None:
    """Each proxy adds to the last line, or one of its own: the client's address is found, by network and by hops."""
    lines = list(sent)
    for address, join in zip([client, *through], joined, strict=False):
        own = written(header, address, host)
        if join and lines:
            lines[-1] += b", " + own
        else:
            lines.append(own)
    expected = str(ip_address(client).ipv4_mapped or client) if ":" in client else client  # type: ignore[union-attr]
    assert by_network(header, *lines) == expected
    assert by_hops(len(through) + 1, header, *lines, peer=STRANGER) == expected


@given(st.sampled_from(HEADERS), st.lists(SENT, max_size=4), OUTSIDE)
def test_whatever_a_stranger_sends(header: bytes, sent: list[bytes], peer: str) -> None:
    """It comes from where it connects from."""
    assert by_network(header, *sent, peer=peer) == client_address(None, peer, [])
