"""
From a call to the final bytes of its signed request (docs/protocol.md, "The request signature", "Enrolment").

Owns: which fields a request goes out with, what its signature covers, and that nothing is signed which the
strict profile would not read back. Refuses to know: clocks, randomness (both are arguments), replies, repeats.
"""

from __future__ import annotations

import functools
import re
from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from sealwire.client.errors import NotSignable
from sealwire.client.exchange import Call, Signed
from sealwire.errors import Refusal
from sealwire.protocol import profile
from sealwire.protocol.digest import content_digest
from sealwire.protocol.fields import Params
from sealwire.protocol.jwk import Signer, b64url
from sealwire.protocol.message import Request, read_head, read_target
from sealwire.protocol.signature import Component, base, params_text, sign_hmac

#: Seconds from created to expires of what this client signs.
LIFETIME_SECONDS = 60
#: Methods that change nothing (RFC 9110 section 9.2.1): sent again without an idempotency key.
SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
NONCE_BYTES = 24
LABEL = "sig"
_LABEL = LABEL.encode("ascii")
_POSSESSION_LABEL = "possession"

# Said by this client alone: framing follows from the whole body, and the rest belongs to the signature.
_OURS = frozenset(
    b"host content-length transfer-encoding accept-encoding content-digest signature signature-input "
    b"accept-signature".split()
)


class Signatures(NamedTuple):
    """
    How a request is signed: by whom, under which tag, and whether a new key's possession is bound in (enrolment).

    `repr` shows no secret as long as `sign` is a plain function or a method of a key.
    """

    keyid: str
    sign: Callable[[bytes], bytes]
    tag: str = profile.TAG
    possession: Signer | None = None

    def put_on(self, request: Request, created: int, nonce: str, second_nonce: str = "") -> Signed:
        """
        The request signed at `created` (Unix seconds). `nonce` is the authorising signature's, `second_nonce` that of
        the possession signature, if there is one.

        Raises: NotSignable if the server's own reading of the result would refuse it.
        """
        try:
            if self.possession is None:
                return self._put_on_one(request, created, nonce)
            return self._put_on_both(self.possession, request, created, nonce, second_nonce)
        except Refusal as refusal:
            reason = f"{refusal.slug}: {refusal.detail}"
        raise NotSignable(reason)

    def _put_on_one(self, request: Request, created: int, nonce: str) -> Signed:
        """
        The hot path: written as one formatted text whose reading is known beforehand, so it is not read back. A test
        holds this claim and the receiver's reading of the same bytes together.
        """
        plan, listed = _covering(request.has_content(), profile.WHEN_PRESENT.intersection(request.fields))
        profile.judge_components(plan.names, request)
        keyid, tag, expires = self.keyid, self.tag, created + LIFETIME_SECONDS
        plain = _PLAIN.fullmatch(keyid) and _PLAIN.fullmatch(tag) and profile.NONCE.fullmatch(nonce)
        if not (plain and 0 <= created < expires < profile.MAX_NUMBER):
            raise NotSignable("the key's identifier, the tag, the nonce or the time is of a form that cannot be signed")
        params = f';created={created};expires={expires};keyid="{keyid}";nonce="{nonce}";tag="{tag}"'
        covered = b"(" + listed + b")" + params.encode("ascii")
        claim = profile.Claim(LABEL, listed, plan, created, expires, keyid, nonce, None, covered, b"")
        signature = self.sign(profile.build_base(claim, request))
        text = b2a_base64(signature, newline=False)
        request = _attach(request, [(_LABEL, covered, text)])
        return Signed(request, (claim._replace(signature=signature),))

    def _put_on_both(self, new: Signer, request: Request, created: int, nonce: str, second_nonce: str) -> Signed:
        """The new key signs first; the authorising signature covers that signature, so that neither can be moved."""
        by_new = Signatures(new.keyid, new.sign, profile.TAG_POSSESSION)
        usual = components(request)
        first = _member(_POSSESSION_LABEL, usual, by_new, request, created, second_nonce)
        bound = [Component(name, {"key": _POSSESSION_LABEL}) for name in ("signature", "signature-input")]
        possessed = _attach(request, [first])
        second = _member(LABEL, [*usual, *bound], self, possessed, created, nonce)
        request = _attach(request, [first, second])
        possession = profile.claim(request, profile.TAG_POSSESSION, _NO_PLANS)
        authorising = profile.claim(request, self.tag, _NO_PLANS, possession=_POSSESSION_LABEL)
        return Signed(request, (possession, authorising))


# Nothing is ever kept in it: messages of enrolment are read back in full each time.
_NO_PLANS = profile.Plans()
# What stands in a string of RFC 9651 without an escape.
_PLAIN = re.compile(r"[ !#-\[\]-~]+")


def by_key(signer: Signer) -> Signatures:
    """An ordinary call, signed by an enrolled key."""
    return Signatures(signer.keyid, signer.sign)


def by_session(session_id: str, mac: bytes) -> Signatures:
    """A call that the session's key signs, in place of the client's."""
    # Not a partial of it, whose repr would show the key.
    return Signatures(session_id, lambda data: sign_hmac(mac, data))


def compose(call: Call, authority: str, idempotency_key: str = "") -> Request:
    """
    The head that is going to be signed: the caller's fields, with framing, Accept-Encoding and Content-Digest set here.

    `idempotency_key` is added to an unsafe method that has none (empty: to none).

    Raises: NotSignable for a target or field that has no single reading (docs/protocol.md, "The request target").
    """
    headers = [(b"host", authority.encode("ascii"))]
    headers += [(name.lower(), value) for name, value in call.headers if name.lower() not in _OURS]
    present = {name for name, _ in headers}
    headers.append((b"accept-encoding", b"identity"))
    if call.body:
        if b"content-type" not in present:
            # RFC 9110 section 8.3: what a receiver may assume of content without a type; here it must be said.
            headers.append((b"content-type", b"application/octet-stream"))
        headers.append((b"content-digest", content_digest(call.body)))
    if call.body or call.method in ("POST", "PUT", "PATCH"):
        headers.append((b"content-length", b"%d" % len(call.body)))
    if idempotency_key and call.method not in SAFE and b"idempotency-key" not in present:
        headers.append((b"idempotency-key", idempotency_key.encode("ascii")))
    try:
        target = read_target(call.target)
        received, fields = read_head(headers)
        if len(received) != len(headers):
            raise NotSignable("the server drops fields with _ in their names")
        method, path, query = call.method, target.path, target.query
        return Request(method, call.target, authority, path, query, target.decoded, received, fields)
    except Refusal as refusal:
        reason = f"{refusal.slug}: {refusal.detail}"
    raise NotSignable(reason)


@functools.lru_cache(maxsize=128)
def _covering(content: bool, present: frozenset[bytes]) -> tuple[profile.Plan, bytes]:
    """What a signature covers, as a plan and as the list that is sent: all that must be covered, and nothing else."""
    names = [*profile.ALWAYS, *(profile.WITH_CONTENT if content else ()), *sorted(present)]
    listed = b" ".join(b'"' + name + b'"' for name in names)
    plan = profile.read_list(listed)
    if plan is None:
        raise NotSignable("a list of components that the profile does not read")
    return plan, listed


def components(request: Request) -> list[Component]:
    """The components that a request's signature covers."""
    _, listed = _covering(request.has_content(), profile.WHEN_PRESENT.intersection(request.fields))
    return [Component(name.strip('"'), {}) for name in listed.decode("ascii").split(" ")]


def base_of(signed: Signed) -> bytes:
    """The signature base of the authorising signature, as its receiver builds it."""
    return profile.build_base(signed.claims[-1], signed.request)


def nonce_of(entropy: bytes) -> str:
    """A nonce from at least 128 random bits."""
    return b64url(entropy)


def _member(
    label: str, covered: list[Component], by: Signatures, request: Request, created: int, nonce: str
) -> tuple[bytes, bytes, bytes]:
    expires = created + LIFETIME_SECONDS
    params: Params = {"created": created, "expires": expires, "keyid": by.keyid, "nonce": nonce, "tag": by.tag}
    text = params_text(covered, params)
    octets = b2a_base64(by.sign(base(covered, text, request)), newline=False)
    return label.encode("ascii"), text, octets


def _attach(request: Request, members: list[tuple[bytes, bytes, bytes]]) -> Request:
    signature_input = b", ".join([label + b"=" + text for label, text, _ in members])
    signature = b", ".join([label + b"=:" + octets + b":" for label, _, octets in members])
    headers = (*request.headers, (b"signature-input", signature_input), (b"signature", signature))
    fields = {**request.fields, b"signature-input": signature_input, b"signature": signature}
    return replace(request, headers=headers, fields=fields)
