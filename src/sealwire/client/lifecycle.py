"""
Enrol, rotate, revoke, as one function each, over httpx2.

Owns: that a lost answer strands nobody. With `path` the new key lies in `<path>.pending` until the answer is proven,
and the same call, made again, finishes with that key.
Refuses to know: what is sent; those are the steps of `enrolment`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx2

from sealwire.client.credential import Credential
from sealwire.client.enrolment import Invitation, Result, Steps, enrolling, revoking, rotating
from sealwire.client.errors import CredentialError
from sealwire.client.keypair import new_key
from sealwire.client.library import default_extensions
from sealwire.client.origin import read_origin
from sealwire.client.secretfile import Secret, read_secret, write_secret
from sealwire.client.sending import drive, send
from sealwire.client.shared import Verify, tls_context

Clock = Callable[[], float]
Entropy = Callable[[int], bytes]


def enroll(
    origin: str,
    invitation: str,
    *,
    name: str,
    algorithm: str = "ed25519",
    path: str | os.PathLike[str] | None = None,
    ca: str | os.PathLike[str] | None = None,
    verify: Verify = None,
    inner: httpx2.BaseTransport | None = None,
    clock: Clock = time.time,
    entropy: Entropy = os.urandom,
) -> Credential:
    """
    Makes a key, enrols it at `origin` with an invitation, and returns the credential, saved at `path` if one is given.

    `name` (1 to 100 characters) is what the server's operator sees. `ca` is kept in the credential.

    Raises: CredentialError for an invitation or origin of the wrong form, or a `path` that is taken; ReplyUnproven if
    the server is not the one that the invitation pins (then only its key set was asked for); Refused; OutcomeUnknown:
    call again with the same arguments, and a `path` finishes with the same key.
    """
    invited = Invitation.read(invitation)
    del invitation  # a traceback that shows values shall not show this one
    if invited is None:
        raise CredentialError("this is not an invitation: one looks like sw_live_inv_<id>.<secret>.<server key>")
    if path is not None and Path(path).exists():
        raise CredentialError(f"{path}: exists already, and a credential is not written over")
    known = _read_origin(origin)
    authority_file = Path(ca) if ca is not None else None
    key = _pending(path, algorithm)
    steps = enrolling(known, invited, name, key, clock, entropy)
    credential = replace(_run(steps, known, verify, authority_file, inner), ca=authority_file)
    return _finish(credential, path, overwrite=False)


def rotate(
    credential: Credential,
    *,
    algorithm: str = "ed25519",
    path: str | os.PathLike[str] | None = None,
    verify: Verify = None,
    inner: httpx2.BaseTransport | None = None,
    clock: Clock = time.time,
    entropy: Entropy = os.urandom,
) -> Credential:
    """
    Makes a new key for the same client, allowed by its present one; the old key goes on for as long as the server says.

    `path` is written over, once the new key is proven to be enrolled. Raises: as `enroll`.
    """
    steps = rotating(credential, _pending(path, algorithm), clock, entropy)
    return _finish(_run(steps, credential.origin, verify, credential.ca, inner), path, overwrite=True)


def revoke(
    credential: Credential,
    keyid: str | None = None,
    *,
    verify: Verify = None,
    inner: httpx2.BaseTransport | None = None,
    clock: Clock = time.time,
    entropy: Entropy = os.urandom,
) -> None:
    """
    Ends a key of this client at once: the credential's own, or `keyid` (which the server may want a person to allow).

    Raises: Refused, OutcomeUnknown, ReplyUnproven.
    """
    _run(revoking(credential, keyid, clock, entropy), credential.origin, verify, credential.ca, inner)


def _run(
    steps: Steps[Result], origin: str, verify: Verify, ca: Path | None, inner: httpx2.BaseTransport | None
) -> Result:
    extensions = default_extensions()
    if inner is not None:
        return drive(steps, lambda outgoing: send(inner, origin, outgoing, extensions))
    with httpx2.HTTPTransport(verify=tls_context(verify, ca)) as own:
        return drive(steps, lambda outgoing: send(own, origin, outgoing, extensions))


def _pending(path: str | os.PathLike[str] | None, algorithm: str) -> Secret:
    """The new key; with a path, that of a try that did not end, else one that is on the disk before it is used."""
    if path is None:
        return new_key(algorithm)
    pending = _pending_path(path)
    if pending.exists():
        return read_secret(pending)
    key = new_key(algorithm)
    write_secret(pending, key)
    return key


def _finish(credential: Credential, path: str | os.PathLike[str] | None, *, overwrite: bool) -> Credential:
    if path is not None:
        credential.save(path, overwrite=overwrite)
        _pending_path(path).unlink(missing_ok=True)
    return credential


def _pending_path(path: str | os.PathLike[str]) -> Path:
    return Path(f"{os.fspath(path)}.pending")


def _read_origin(text: str) -> str:
    try:
        return read_origin(text)
    except ValueError as why:
        reason = f"{text}: {why}"
    raise CredentialError(reason)
