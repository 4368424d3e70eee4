"""
How a client comes to have a key, changes it and gives it up (docs/protocol.md, "Enrolment, rotation, revocation").

Owns: the steps: pin the server's key, believe its key set, and only then offer one's own; the secret of an invitation
signs and never travels. Refuses to know: the network, files, and how a request is signed and repeated.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import NamedTuple, NoReturn, TypeVar

from sealwire.client.conversation import converse
from sealwire.client.credential import Credential, read_key
from sealwire.client.errors import OutcomeUnknown, ReplyUnproven
from sealwire.client.exchange import Call, Incoming, Outgoing, Proven
from sealwire.client.keyset import Unreached, fetch_pinned
from sealwire.client.origin import Origin
from sealwire.client.problems import read_problem, refusal
from sealwire.client.proving import Unproven
from sealwire.client.secretfile import Secret
from sealwire.client.signing import Signatures, by_key
from sealwire.protocol import profile, strictjson
from sealwire.protocol.jwk import Signer
from sealwire.protocol.signature import sign_hmac

PATH = "/.well-known/sealwire/keys"
_JSON = ((b"content-type", b"application/json"),)
_INVITATION = re.compile(r"sw_(?:test|live)_inv_([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})")
# It is shown in terminals and kept in a file: no escape sequence comes in with it.
_CLIENT = re.compile(r"cli_[A-Za-z0-9_-]{1,120}")

Result = TypeVar("Result")
Clock = Callable[[], float]
Entropy = Callable[[int], bytes]
Steps = Generator[Outgoing, Incoming, Result]


class Invitation(NamedTuple):
    """An invitation taken apart: its name, the secret that signs and never travels, the server key that it pins."""

    keyid: str
    secret: Secret
    pin: str

    @classmethod
    def read(cls, text: str) -> Invitation | None:
        """The parts, or None: not an error, whose traceback would hold the text."""
        found = _INVITATION.fullmatch(text.strip())
        return cls(found[1], Secret(found[2].encode("ascii")), found[3]) if found else None

    def signatures(self, new: Signer) -> Signatures:
        """The request signed with the invitation, and by the new key beneath it."""
        secret = self.secret  # hashed at each use: the key derived from it would be as good as the secret
        return Signatures(self.keyid, lambda data: _sign(secret, data), profile.TAG_INVITATION, new)


def enrolling(
    origin: str, invitation: Invitation, name: str, key: Secret, clock: Clock, entropy: Entropy
) -> Steps[Credential]:
    """The steps of an enrolment. Nothing is sent after the first if the pinned key did not sign the answer to it."""
    try:
        keys = yield from fetch_pinned(origin.partition("://")[2], invitation.pin, entropy)
    except Unreached as why:
        failure: OutcomeUnknown | ReplyUnproven = OutcomeUnknown(str(why))
    except Unproven as why:
        failure = ReplyUnproven(str(why))
    else:
        new = read_key(key)
        known = Origin(origin, keys)
        body = {"key": new.jwk, "name": name}
        signatures = invitation.signatures(new)
        client = yield from _offer(known, signatures, body, new.keyid, clock, entropy)
        return Credential(origin, client, name, key, new, known.keys)
    failure.outcome = "not done"
    raise failure


def rotating(credential: Credential, key: Secret, clock: Clock, entropy: Entropy) -> Steps[Credential]:
    """The steps of a rotation."""
    new, old, known = read_key(key), credential.signer, credential.to_origin()
    body = {"key": new.jwk, "name": credential.name, "client": credential.client, "by": old.keyid}
    signatures = Signatures(old.keyid, old.sign, possession=new)
    client = yield from _offer(known, signatures, body, new.keyid, clock, entropy)
    if client != credential.client:
        raise ReplyUnproven("the server enrolled the key for another client")
    return replace(credential, key=key, signer=new, server_keys=known.keys)


def revoking(credential: Credential, keyid: str | None, clock: Clock, entropy: Entropy) -> Steps[None]:
    """The step of a revocation."""
    call = Call("DELETE", f"{PATH}/{keyid or credential.signer.keyid}".encode("ascii"))
    proven = yield from converse(call, credential.to_origin(), by_key(credential.signer), clock, entropy)
    if proven.status != 204:
        _refuse(proven)


def _offer(
    origin: Origin, signatures: Signatures, body: Mapping[str, object], keyid: str, clock: Clock, entropy: Entropy
) -> Steps[str]:
    """The client that the new key was enrolled for. A repeat is answered alike, so there is no Idempotency-Key."""
    call = Call("POST", PATH.encode("ascii"), _JSON, json.dumps(body).encode("ascii"))
    proven = yield from converse(call, origin, signatures, clock, entropy, idempotent=False)
    if proven.status != 201:
        _refuse(proven)
    try:
        answer = strictjson.read(proven.body)
    except strictjson.NotStrict:
        answer = None
    match answer:
        case {"client": str(client), "key": {"kid": str(kid)}} if kid == keyid and _CLIENT.fullmatch(client):
            return client
    raise ReplyUnproven("the answer to the enrolment does not name this key", proven.status)


def _refuse(proven: Proven) -> NoReturn:
    document = read_problem(proven.status, proven.headers, proven.body)
    if document is None:
        raise ReplyUnproven(f"signed, but not an answer to this: status {proven.status}", proven.status)
    refused = refusal(proven.status, proven.headers, document, proven=True)
    refused.outcome = proven.outcome
    raise refused


def _sign(secret: Secret, data: bytes) -> bytes:
    return sign_hmac(hashlib.sha256(secret.reveal()).digest(), data)
