"""
Sealed calls on joserfc, pyhpke and http-message-signatures, as a stranger writes them from docs/protocol.md.

Nothing of ours is imported here; a test says so. pyhpke has no hybrid kem, which is left to the caller in Node.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import httpx2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from http_message_signatures import algorithms
from joserfc import jwe
from joserfc.jwk import OctKey
from pyhpke import AEADId, CipherSuite, KDFId, KEMId

from tests.interop.signed import COVERED, ENDPOINTS, WITH_BODY, Key, b64, built, fresh_nonce, now, sign, unb64, verified

KEMS = ("X25519", "P-256", "RSA-OAEP-256")
JOSE = ("dir", "A256GCM")
#: What each reply of the guard covers at least, and what it also covers if it has content.
ANSWERED = {'"@status"', '"signature";req;key="sig"', '"signature-input";req;key="sig"'}
ANSWERED |= {f'"{name}";req' for name in COVERED}
CONTENT = {'"content-type"', '"content-digest"'}
_HPKE = {"X25519": (KEMId.DHKEM_X25519_HKDF_SHA256, 32), "P-256": (KEMId.DHKEM_P256_HKDF_SHA256, 65)}

Opener = Callable[[bytes, bytes], bytes]


class Opened(NamedTuple):
    """A session as its client holds it, from wire terms alone."""

    id: str
    max_requests: int
    c2s: bytes
    s2c: bytes
    c2s_mac: bytes
    s2c_mac: bytes


class Answer(NamedTuple):
    """A reply whose signature held: its status, whether it came sealed, its media type and its JSON."""

    status: int
    sealed: bool
    type: str
    json: Any


def pair(kem: str) -> tuple[bytes, Opener]:
    """A fresh public key, and what opens `enc ‖ ct` under a context."""
    if kem == "RSA-OAEP-256":
        private = rsa.generate_private_key(65537, 3072)
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return spki, lambda sealed, _: private.decrypt(sealed, oaep)
    kem_id, size = _HPKE[kem]
    suite = CipherSuite.new(kem_id, KDFId.HKDF_SHA256, AEADId.AES256_GCM)
    keys = suite.kem.derive_key_pair(os.urandom(32))

    def opens(sealed: bytes, context: bytes) -> bytes:
        return suite.create_recipient_context(sealed[:size], keys.private_key, context).open(sealed[size:])

    return keys.public_key.to_public_bytes(), opens


def _covered(request: httpx2.Request) -> tuple[str, ...]:
    covered = WITH_BODY if request.content else COVERED
    return (*covered, "sealwire-session") if "sealwire-session" in request.headers else covered


def sign_by_mac(request: httpx2.Request, session: Opened) -> None:
    """hmac-sha256 by the session's key for this direction."""
    covered, algorithm = _covered(request), algorithms.HMAC_SHA256
    sign(request, session.id, session.c2s_mac, covered=covered, created=now(), algorithm=algorithm)


class Caller:
    """A client with its enrolled key, at one server whose key it has pinned."""

    def __init__(self, http: httpx2.Client, origin: str, key: Key, server: Mapping[str, bytes]) -> None:
        self.http, self.origin, self.key, self.server = http, origin, key, server

    def send(self, request: httpx2.Request, session: Opened | None = None, nonce: str = "") -> Answer:
        """Signed by the client's key; the reply is verified under the server's, and opened if it is sealed."""
        covered = _covered(request)
        sign(request, self.key.keyid, self.key.pem(), covered=covered, created=now(), nonce=nonce)
        return self._judged(request, session, self.server, algorithms.ED25519)

    def send_by_mac(self, request: httpx2.Request, session: Opened) -> Answer:
        """Signed by the session's key for this direction; the reply is verified under the one for the other."""
        sign_by_mac(request, session)
        return self._judged(request, session, {session.id: session.s2c_mac}, algorithms.HMAC_SHA256)

    def _judged(
        self, request: httpx2.Request, session: Opened | None, trusted: Mapping[str, bytes], algorithm: Any
    ) -> Answer:
        reply = self.http.send(request)
        proven = verified(reply, request, trusted, algorithm)
        due = ANSWERED | {f'"{name}";req' for name in _covered(request)}
        assert proven >= due | (CONTENT if reply.content else set())
        return self._read(reply, session)

    def _read(self, reply: httpx2.Response, session: Opened | None) -> Answer:
        content, content_type = reply.content, reply.headers.get("content-type", "")
        sealed = content_type == "application/jose"
        if sealed:
            assert session is not None
            found = jwe.decrypt_compact(content, OctKey.import_key(session.s2c), algorithms=JOSE)
            assert {name: found.protected[name] for name in ("alg", "enc", "kid")} == {
                "alg": "dir",
                "enc": "A256GCM",
                "kid": session.id,
            }
            content, content_type = found.plaintext or b"", str(found.protected["cty"])
        return Answer(reply.status_code, sealed, content_type, json.loads(content) if content else None)

    def open_session(self, kem: str) -> Opened:
        """A session over one kem; its keys are derived as the page says, and the commitment compared."""
        public, opens = pair(kem)
        body, nonce = json.dumps({"kem": kem, "public_key": b64(public)}).encode(), fresh_nonce()
        answer = self.send(built(self.origin, "POST", f"{ENDPOINTS}/sessions", body), None, nonce)
        assert (answer.status, answer.sealed, answer.json["kem"]) == (201, False, kem)
        said = answer.json
        terms = (
            "sealwire session 1",
            self.origin.removeprefix("https://"),
            self.key.keyid,
            kem,
            said["session"],
            b64(hashlib.sha256(body).digest()),
            nonce,
            str(said["expires_at"]),
            str(said["max_requests"]),
        )
        context = "\n".join(terms).encode()
        secret, salt = opens(unb64(said["sealed_key"]), context), hashlib.sha256(context).digest()

        def derived(label: str) -> bytes:
            return HKDF(hashes.SHA256(), 32, salt, f"sealwire {label}".encode()).derive(secret)

        assert hmac.compare_digest(derived("commitment"), unb64(said["commitment"]))
        keys = (derived(f"{label}") for label in ("c2s key", "s2c key", "c2s mac", "s2c mac"))
        return Opened(said["session"], said["max_requests"], *keys)

    def sealed(self, session: Opened, path: str, content: bytes, cty: str = "application/json") -> httpx2.Request:
        """A sealed POST, not signed yet."""
        protected = {"alg": "dir", "enc": "A256GCM", "kid": session.id, "cty": cty}
        body = jwe.encrypt_compact(protected, content, OctKey.import_key(session.c2s), algorithms=JOSE)
        return built(self.origin, "POST", path, body.encode(), "application/jose")

    def empty(self, session: Opened, method: str, path: str) -> httpx2.Request:
        """A call without a body, which names its session in a field."""
        request = built(self.origin, method, path)
        request.headers["sealwire-session"] = session.id
        return request
