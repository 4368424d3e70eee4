"""Reading where a call comes from: an address in its one spelling or an empty text, nothing else."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from sealwire.protocol.forwarded import FORWARDED, X_FORWARDED_FOR, Proxies, client_address
from tests.fuzz.inputs import damaged

NETWORKS = (ip_network("10.0.0.0/8"), ip_network("2001:db8:aaaa::/48"))
PEERS = ("10.0.0.1", "::ffff:10.0.0.1", "2001:db8:aaaa::1", "192.0.2.1", "fe80::1%eth0", "")
LINES = (
    b"192.0.2.43, 2001:db8:cafe::17",
    b"10.0.0.3, [2001:db8:aaaa::2]:80, ::ffff:10.0.0.2,10.0.0.4:1",
    b'for=192.0.2.43, for="[2001:db8:cafe::17]:4711";host="a,\\"b;c\\\\";by=_x',
    b'for=192.0.2.43 ; proto=https, for="10.0.0.2:_p", for=10.0.0.3',
    b"unknown, _hidden",
    b'for=unknown, for="_gazonk"',
)


@given(
    st.sampled_from((FORWARDED, X_FORWARDED_FOR)),
    st.integers(0, 10),
    st.sampled_from(PEERS) | st.text(max_size=20),
    st.lists(damaged(LINES), max_size=3),
)
def test_forwarded(header: bytes, hops: int, peer: str, lines: list[bytes]) -> None:
    """What comes out comes out of itself again, and is no proxy's that handed the call on."""
    proxies = Proxies(header, hops=hops) if hops else Proxies(header, NETWORKS)
    headers = [(header, line) for line in lines]
    found = client_address(proxies, peer, headers)
    assert found == "" or str(ip_address(found)) == found == client_address(None, found, [])
    assert "%" not in found
    if not lines and (hops or client_address(Proxies(header, NETWORKS), peer, [(header, b"")]) == ""):
        assert found == ""
