"""
Where a call comes from when proxies stand before us: `Forwarded` (RFC 7239) and `X-Forwarded-For`.

Owns: which element of the list is believed, and how an address is spelled. The list is read from its end, where the
proxies write: what stands before the element that counts is never looked at, so whoever sent it changes nothing.
Refuses to know: what an address is used for.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

FORWARDED, X_FORWARDED_FOR = b"forwarded", b"x-forwarded-for"
#: Elements that are read, from the end. No honest chain is that long.
MAX_ELEMENTS = 50

# token and quoted-string of RFC 9110 section 5.6, and the pairs of RFC 7239 section 4. Proxies put spaces behind a
# semicolon, as the RFC's own section 7.5 does. Nothing that matched is tried again shorter: time stays linear.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_PAIR = re.compile(rb"[ \t]*+(?:(" + _TOKEN + rb")=(" + _TOKEN + rb"|" + _QUOTED + rb"))?+[ \t]*+(;|\Z)")
_ESCAPED = re.compile(rb"\\(.)")
# RFC 7239 section 6; no zone of an IPv6 address gets through, which means something on one host only (RFC 4007).
_IPV6 = rb"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{1,41}"
_NODE = re.compile(rb"(?:([0-9.]{7,15})|\[(" + _IPV6 + rb")\])(?::(?:([0-9]{1,5})|_[0-9A-Za-z._-]+))?")
_BARE_IPV6 = re.compile(_IPV6)
# In a line that is read backwards: what may end an element, and the quote that opens a string. A quote with an odd
# number of backslashes before it is a character of the string.
_MARK = re.compile(rb'[,"]')
_OPENING = re.compile(rb'"(?:\\\\)*(?!\\)')

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network


#: Peers whose spelling is held ready.
MAX_PEERS = 4096


class Proxies(NamedTuple):
    """
    The proxies that are believed: those in `networks`, or else the last `hops` ones, whoever connects to us. `header`
    is the one field that they write, FORWARDED or X_FORWARDED_FOR.
    """

    header: bytes
    networks: tuple[_Network, ...] = ()
    hops: int = 0


def client_address(proxies: Proxies | None, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """
    The address of who called, in its one spelling; empty where it is not known. Never that of a proxy that only handed
    the call on: all its callers would be one.
    """
    if proxies is None:
        return _peer(peer)
    connected = _read(peer)
    if proxies.networks and not _within(connected, proxies.networks):
        return _spelled(connected)
    found = itertools.islice(_from_the_end(proxies.header, headers), MAX_ELEMENTS + 1)
    if proxies.hops:
        return _spelled(next(itertools.islice(found, proxies.hops - 1, None), None))
    return _spelled(_outside(found, proxies.networks))


def _outside(found: Iterable[_Address | None], networks: tuple[_Network, ...]) -> _Address | None:
    """The first that is no proxy; where all are, the one that began it."""
    last = None
    for count, address in enumerate(found, 1):
        if count > MAX_ELEMENTS:
            return None
        if not _within(address, networks):
            return address
        last = address
    return last


def _within(address: _Address | None, networks: tuple[_Network, ...]) -> bool:
    return address is not None and any(address in network for network in networks)


def _from_the_end(header: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[_Address | None]:
    """
    The addresses of the list, the last first; None for an element that is none. Several lines are one list (RFC 9110
    section 5.3), but no string reaches from one into the next: another may have written that.
    """
    for line in reversed([value for name, value in headers if name.lower() == header]):
        if header == FORWARDED:
            yield from map(_forwarded_for, _elements(line))
        else:
            listed = line.rsplit(b",", MAX_ELEMENTS)
            yield from (_node(element.strip(b" \t"), bare=True) for element in reversed(listed))


def _elements(line: bytes) -> Iterator[bytes]:
    """The elements of one line of Forwarded, the last first. A comma in a quoted string is part of it."""
    backwards = line[::-1]
    start = at = 0
    while (mark := _MARK.search(backwards, at)) is not None:
        if mark[0] == b",":
            yield backwards[start : mark.start()][::-1]
            start = at = mark.end()
        else:
            opening = _OPENING.search(backwards, mark.end())
            at = len(backwards) if opening is None else opening.end()
    yield backwards[start:][::-1]


def _forwarded_for(element: bytes) -> _Address | None:
    """The `for` of an element, which has one; None where the element or its node is none."""
    at, nodes, more = 0, [], True
    while more:
        pair = _PAIR.match(element, at)
        if pair is None:
            return None
        if pair[1] is not None and pair[1].lower() == b"for":
            nodes.append(pair[2])
        at, more = pair.end(), pair[3] == b";"
    return _node(_unquoted(nodes[0]), bare=False) if len(nodes) == 1 else None


def _unquoted(value: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", value[1:-1]) if value.startswith(b'"') else value


def _node(text: bytes, *, bare: bool) -> _Address | None:
    """The address of a node; its port has to be one and tells nobody apart. `bare`: IPv6 may come without brackets."""
    node = _NODE.fullmatch(text)
    if node is not None and int(node[3] or 0) <= 65535:
        return _read((node[1] or node[2]).decode("ascii"))
    return _read(text.decode("ascii")) if bare and _BARE_IPV6.fullmatch(text) else None


def _read(text: str) -> _Address | None:
    """The address of a text, None where it is none."""
    try:
        # Of a peer the system may name the link it is on: that is no part of who it is.
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 callers as IPv6 ones (RFC 4291 section 2.5.5.2): they are not.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


@functools.lru_cache(maxsize=MAX_PEERS)
def _peer(text: str) -> str:
    """Of one connection it is the same at each call."""
    return _spelled(_read(text))


def _spelled(address: _Address | None) -> str:
    return "" if address is None else str(address)
