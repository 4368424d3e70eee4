"""A caller with a session, made by hand over a World: what it seals, what it opens."""

from __future__ import annotations

import hashlib
import json
import os
from typing import NamedTuple

import httpx2

from sealwire.call import Rule
from sealwire.protocol import envelope
from sealwire.protocol.handshake import KeyPair, Keys, Terms
from sealwire.protocol.jwk import Signer, unb64url
from sealwire.protocol.signature import sign_hmac
from tests.stories.world import Wire, World

SESSIONS = b"/.well-known/sealwire/sessions"
SEALED_RULES = (
    Rule("/v1/balances", frozenset(("GET",)), "signed"),
    Rule("/v1/notes", frozenset(("POST",)), "signed"),
    Rule("/v1/orders", frozenset(("GET", "POST")), "sealed", scopes=frozenset(("trade",))),
    Rule("/v1/quotes", frozenset(("POST",)), "sealed", session_mac=True, clear_query=frozenset(("page",))),
)


class Opened(NamedTuple):
    """A session as its client holds it."""

    id: str
    keys: Keys
    expires_at: int
    max_requests: int
    secret: bytes

    def seal(self, plaintext: bytes, content_type: str = "application/json") -> bytes:
        """A request's body, sealed."""
        return envelope.seal(self.keys.c2s, envelope.protect(self.id, content_type), os.urandom(12), plaintext)

    def read(self, reply: httpx2.Response) -> tuple[bytes, str]:
        """A reply's content and its media type, opened."""
        assert reply.headers["content-type"] == "application/jose"
        found = envelope.read(reply.content, envelope.Headers())
        assert found.header.session == self.id
        return envelope.open_sealed(found, self.keys.s2c), found.header.content_type


async def open_session(world: World, kem: str = "X25519", signer: Signer | None = None) -> Opened:
    """Opens a session over the wire, and checks what it is bound to."""
    pair, signer = KeyPair(kem), signer or world.signer
    body = json.dumps({"kem": kem, "public_key": pair.public_key}).encode()
    nonce = "n" + os.urandom(16).hex()
    reply = await world.send(Wire("POST", SESSIONS, body).sign(signer, int(world.clock.at), nonce=nonce))
    assert reply.status_code == 201, reply.text
    answer = reply.json()
    terms = Terms(
        "api.example",
        signer.keyid,
        kem,
        answer["session"],
        hashlib.sha256(body).digest(),
        nonce,
        answer["expires_at"],
        answer["max_requests"],
    )
    secret = pair.open(unb64url(answer["sealed_key"]), terms.context())
    keys = Keys(secret, terms.context())
    assert keys.fits(unb64url(answer["commitment"]))
    return Opened(answer["session"], keys, answer["expires_at"], answer["max_requests"], secret)


def sealed(session: Opened, plaintext: bytes = b'{"amount": "0.01"}', target: bytes = b"/v1/orders") -> Wire:
    """A sealed POST, not signed yet."""
    return Wire("POST", target, session.seal(plaintext)).change(b"content-type", b"application/jose")


def by_mac(wire: Wire, session: Opened, created: int) -> Wire:
    """The message under the session's own key."""
    return wire.sign(_NOBODY, created, keyid=session.id, secret=lambda base: sign_hmac(session.keys.c2s_mac, base))


_NOBODY = Signer("hmac-sha256", "", {}, lambda base: base)
