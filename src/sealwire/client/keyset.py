"""
Fetching the server's key set, and what makes one believed (docs/protocol.md, "Discovery", "Replies").

Owns: the one request that nobody signs, the nonce that makes its reply fresh, and the two ways to believe it: a key of
the set held before signed it, or the key whose thumbprint an invitation pins did.
Refuses to know: where the set is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from sealwire.client.errors import ReplyUnproven
from sealwire.client.exchange import Call, Cut, Incoming, Outgoing
from sealwire.client.origin import KeySet, read_key_set
from sealwire.client.proving import Asked, Unproven, prove
from sealwire.client.signing import NONCE_BYTES, compose, nonce_of
from sealwire.protocol import profile, strictjson

PATH = b"/.well-known/sealwire/jwks.json"

Entropy = Callable[[int], bytes]


class Unreached(Unproven):
    """Nothing came back at all."""


def fetch_trusted(
    authority: str, held: KeySet, entropy: Entropy, earliest: float, latest: float
) -> Generator[Outgoing, Incoming, KeySet]:
    """
    The key set as it is now, signed between `earliest` and `latest` by a key of `held`, and of no older version.

    Raises: Unproven for anything else, a lost connection included: what to believe does not change then.
    """
    asked, reply = yield from _fetch(authority, entropy)
    asked = asked._replace(earliest=earliest, latest=latest)
    fetched = _read(prove(reply, asked, held.find).body)
    if fetched.version < held.version:
        raise Unproven(f"the key set is of version {fetched.version}, and version {held.version} was seen before")
    return fetched


def fetch_pinned(authority: str, thumbprint: str, entropy: Entropy) -> Generator[Outgoing, Incoming, KeySet]:
    """
    The key set as it is now, signed by the key whose RFC 7638 thumbprint is pinned, which must stand in it.

    Raises: Unproven; Unreached if the connection was lost.
    """
    asked, reply = yield from _fetch(authority, entropy)
    # The set is not believed yet: only the key that has the pinned thumbprint is taken from it, to check it with.
    offered = {key.verifier.keyid: key.verifier for key in _read(reply.body).keys}
    pinned = offered.get(thumbprint)
    if pinned is None:
        raise Unproven("its key set lacks the key that is pinned: this is another server, or the invitation is old")
    return _read(prove(reply, asked, lambda keyid, _at: pinned if keyid == thumbprint else None).body)


def _fetch(authority: str, entropy: Entropy) -> Generator[Outgoing, Incoming, tuple[Asked, Incoming]]:
    """What came back, unproven, and what it has to fit: it must repeat the nonce, so it cannot be an old reply."""
    nonce = nonce_of(entropy(NONCE_BYTES))
    request = compose(Call("GET", PATH), authority)
    wanted = f'sig=();nonce="{nonce}";tag="{profile.TAG_RESPONSE}"'.encode("ascii")
    try:
        reply = yield Outgoing("GET", PATH, (*request.headers, (b"accept-signature", wanted)), b"")
    except Cut as cut:
        reason = f"the key set could not be fetched: {cut}"
    except ReplyUnproven as why:
        reason = f"the key set could not be fetched: {why.reason}"
    else:
        if reply.status == 200 and reply.stream is None:
            return Asked(request, nonce=nonce), reply
        raise Unproven(f"the key set could not be fetched: status {reply.status}")
    raise Unreached(reason)


def _read(body: bytes) -> KeySet:
    try:
        return read_key_set(strictjson.read(body))
    except ValueError as why:
        raise Unproven(f"the key set cannot be read: {why}") from None
