"""
A session at its client: opened by a signed call, proven before anything of it is used, held until it ends
(docs/protocol.md, "The session").

Owns: what a session's answer must fit, that its keys exist only if the commitment held, and that the key pair is gone
once the answer is opened. Refuses to know: which calls are sealed.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Generator
from typing import NoReturn

from sealwire.client.conversation import Talk
from sealwire.client.errors import ReplyUnproven
from sealwire.client.exchange import Call, Incoming, Outgoing, Proven
from sealwire.client.origin import Origin
from sealwire.client.problems import read_problem
from sealwire.client.signing import Signatures
from sealwire.protocol import strictjson
from sealwire.protocol.handshake import KeyPair, Keys, Terms
from sealwire.protocol.jwk import unb64url

PATH = b"/.well-known/sealwire/sessions"
#: A session this near its end is not used for a new call, in seconds: the call would not arrive in time.
SPARE_SECONDS = 10
#: What a session may last and carry at most, whatever its server allows: random IVs bear so much and far more.
LONGEST_SECONDS = 3600
MOST_REQUESTS = 1 << 20
_ID = re.compile(r"ses_[0-9A-Za-z]{20,40}")
_MEMBERS = {"session", "kem", "sealed_key", "commitment", "expires_at", "max_requests"}
_JSON = ((b"content-type", b"application/json"),)


def is_session(keyid: str) -> bool:
    """Whether a signature's `keyid` names a session, whose two ends alone can check it, and not a public key."""
    return _ID.fullmatch(keyid) is not None


class Session:
    """
    One session. `expires_at` is Unix seconds of the server's clock; `repr` shows its id and nothing of its keys. There
    is no copy of one, which would count on its own.
    """

    __slots__ = ("_used", "expires_at", "id", "kem", "keys", "max_requests")

    def __init__(self, session_id: str, kem: str, keys: Keys, expires_at: int, max_requests: int) -> None:
        self.id = session_id
        self.kem = kem
        self.keys = keys
        self.expires_at = expires_at
        self.max_requests = max_requests
        self._used = 0

    def take(self, now: float) -> bool:
        """One more message; False once it may carry no more, or is about to end."""
        if self._used >= self.max_requests or now >= self.expires_at - SPARE_SECONDS:
            return False
        self._used += 1
        return True

    def limit(self, latest: int, most: int) -> None:
        """Ends it earlier, or after fewer messages, than its server would."""
        self.expires_at = min(self.expires_at, latest)
        self.max_requests = min(self.max_requests, most)

    def __repr__(self) -> str:
        return f"Session({self.id}, {self.kem})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session is not pickled or copied")


class Sessions:
    """The session that one process holds for its origin. Safe for threads and tasks; a fork begins with none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Session | None = None

    def take(self, now: float, kems: tuple[str, ...]) -> Session | None:
        """The session, for one message, if it was opened with one of `kems`; None if a new one has to be opened."""
        with self._lock:
            held = self._held
            if held is None or held.kem not in kems:
                return None
            if not held.take(now):
                held = self._held = None
            return held

    def hold(self, session: Session) -> None:
        """Takes a new session in place of the one before, which goes on for the calls that have it."""
        with self._lock:
            self._held = session

    def drop(self, session: Session) -> None:
        """The server says that it is over."""
        with self._lock:
            if self._held is session:
                self._held = None

    def leave(self) -> Session | None:
        """The session, held no longer."""
        with self._lock:
            held, self._held = self._held, None
            return held


def opening(
    kem: str,
    origin: Origin,
    signatures: Signatures,
    clock: Callable[[], float],
    entropy: Callable[[int], bytes],
    *,
    resumed: bool = False,
) -> Generator[Outgoing, Incoming, Session | Proven]:
    """
    The conversation that opens a session; a proven refusal of the guard is returned as it came. `resumed` as in `Talk`.

    The key pair lives for as long as this generator runs. Nothing of the answer is used before the server's own key
    vouched for it, and no key of it before the commitment held.

    Raises: as a call; ReplyUnproven for an answer that does not fit the request.
    """
    pair = KeyPair(kem)
    body = json.dumps({"kem": kem, "public_key": pair.public_key}).encode("ascii")
    call = Call("POST", PATH, _JSON, body)
    talk = Talk(call, origin, signatures, clock, entropy, idempotent=False, resumed=resumed)
    answer = yield from talk.run()
    if read_problem(answer.status, answer.headers, answer.body) is not None:
        return answer
    digest, latest = hashlib.sha256(body).digest(), int(clock() + origin.offset_seconds) + LONGEST_SECONDS
    try:
        if answer.status != 201:
            raise ValueError(f"status {answer.status} opens none")
        session = _read(answer.body, pair, Terms(origin.authority, signatures.keyid, kem, "", digest, talk.nonce, 0, 0))
        session.limit(latest, MOST_REQUESTS)
        return session
    except ValueError as why:
        reason = str(why)
    raise ReplyUnproven(f"it opens no session that is of use: {reason}", answer.status)


def _read(body: bytes, pair: KeyPair, asked: Terms) -> Session:
    """Raises: ValueError if the answer has another form, names another kem, or its keys do not fit its commitment."""
    members = strictjson.read(body)
    if not isinstance(members, dict) or members.keys() != _MEMBERS:
        raise ValueError("it has other members than it should")
    session_id, expires_at, most = members["session"], members["expires_at"], members["max_requests"]
    texts = [members[name] for name in ("session", "kem", "sealed_key", "commitment")]
    if not all(isinstance(text, str) for text in texts) or not _ID.fullmatch(str(session_id)):
        raise ValueError("its members have other types than they should")
    if type(expires_at) is not int or type(most) is not int or expires_at < 0 or most < 1:
        raise ValueError("its end is none")
    if members["kem"] != pair.kem:
        raise ValueError("it is for another kem than the one that was asked for")
    terms = asked._replace(session=str(session_id), expires_at=expires_at, max_requests=most)
    context = terms.context()
    keys = Keys(pair.open(unb64url(str(members["sealed_key"])), context), context)
    if not keys.fits(unb64url(str(members["commitment"]))):
        raise ValueError("its commitment does not fit: the two ends would not have the same keys")
    return Session(terms.session, pair.kem, keys, expires_at, most)
