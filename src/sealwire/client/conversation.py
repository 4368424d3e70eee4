"""
One call from the first byte to a proven answer, whatever carries it.

Owns: when a request is sent again, and that nothing a stranger says makes it be sent otherwise. The whole rule:

- A send that got no word of the guard (the connection was lost, or an unsigned 502, 503, 504), and an unsigned
  `replay-detected`, are followed by one more: new nonce, same Idempotency-Key.
- An unsigned `clock-skew` that offers a server nonce is followed by one more with that nonce. If the answer is proven,
  the clock's offset is learnt from it, and from nothing else.
- So a call is sent twice at most; three times only if the first send got no word and the second was `clock-skew`: that
  is a server that restarted in between. A request for the key set is not counted; there is one a call at most.

Refuses to know: sockets, threads, clocks, randomness: the clock and the entropy are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from sealwire.client.errors import OutcomeUnknown, ReplyUnproven
from sealwire.client.exchange import Call, Cut, Incoming, Outgoing, Proven, Signed
from sealwire.client.keyset import fetch_trusted
from sealwire.client.origin import Origin
from sealwire.client.problems import explain, offered_nonce, outcome_of, read_problem, refusal
from sealwire.client.proving import SANE_SECONDS, Asked, UnknownKey, Unproven, is_signed, lower, prove
from sealwire.client.signing import NONCE_BYTES, Signatures, compose, nonce_of
from sealwire.protocol.handshake import Keys
from sealwire.protocol.jwk import Verifier
from sealwire.protocol.message import combine

Conversation = Generator[Outgoing, Incoming, Proven]
_NO_WORD = frozenset((502, 503, 504))


class Talk:
    """
    The state of one call: what was sent, what may still be repeated.

    `clock` gives Unix seconds, `entropy` random bytes. `idempotent` False leaves an unsafe method without an
    Idempotency-Key, where the endpoint itself answers a repeat alike. `mac` is the session whose key signs, and its
    keys: a reply is then proven by theirs, or by the server's own. `resumed` says that an earlier
    conversation of the same call, under the same Idempotency-Key, may have had it carried out: then no failure of this
    one shows that nothing was done.
    """

    def __init__(
        self,
        call: Call,
        origin: Origin,
        signatures: Signatures,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
        *,
        idempotent: bool = True,
        mac: tuple[str, Keys] | None = None,
        resumed: bool = False,
    ) -> None:
        self._call = call
        self._origin = origin
        self._signatures = signatures
        self._mac = mac
        self._before = int(resumed)
        self._clock = clock
        self._entropy = entropy
        self._head = compose(call, origin.authority, nonce_of(entropy(NONCE_BYTES)) if idempotent else "")
        key = self._head.fields.get(b"idempotency-key")
        self._idempotency_key = key.decode("latin-1") if key is not None else None
        self._may_repeat = True
        self._server_nonce = ""
        self._sends = 0
        #: That of the request sent last, which its answer is bound to.
        self.nonce = ""

    def run(self) -> Conversation:
        """
        Yields each request to send, is sent what came back (or has `Cut` thrown in, or ReplyUnproven for a reply too
        large to be held), returns the proven answer.

        Raises: ReplyUnproven, OutcomeUnknown, Refused, NotSignable; the carrier's own error if nothing was ever sent.
        """
        while True:
            sent_at = self._clock()
            signed = self._sign(sent_at)
            self._sends += 1
            try:
                reply = yield Outgoing(self._call.method, self._call.target, signed.request.headers, self._call.body)
            except Cut as cut:
                self._after_cut(cut)
                continue
            except ReplyUnproven as why:
                # The carrier gave up on it; what the call went out with is known here alone.
                raise self._unproven(why.reason, why.status) from None
            headers = lower(reply.headers)
            if is_signed(headers):
                return (yield from self._prove(reply, signed, sent_at))
            self._after_unsigned(reply, signed)

    def _sign(self, now: float) -> Signed:
        own, second = (nonce_of(self._entropy(NONCE_BYTES)) for _ in range(2))
        created = int(now + self._origin.offset_seconds)
        self.nonce = self._server_nonce or own
        return self._signatures.put_on(self._head, created, self.nonce, second)

    def _find(self, keyid: str, at: int) -> Verifier | bytes | None:
        if self._mac is not None and keyid == self._mac[0]:
            return self._mac[1].s2c_mac
        return self._origin.keys.find(keyid, at)

    def _after_cut(self, cut: Cut) -> None:
        """Returns if the call may be sent again."""
        if cut.unsent and self._before + self._sends == 1:
            raise cut.cause from None
        if not self._may_repeat:
            raise OutcomeUnknown(str(cut) or type(cut.cause).__name__, self._idempotency_key) from cut.cause
        self._may_repeat = False

    def _after_unsigned(self, reply: Incoming, signed: Signed) -> None:
        """Returns if the call may be sent again; nothing of the reply but a nonce is kept, and that only once."""
        headers = lower(reply.headers)
        document = read_problem(reply.status, headers, reply.body)
        code = document["code"] if document else ""
        if code == "clock-skew" and reply.status == 401 and not self._server_nonce:
            self._server_nonce = offered_nonce(combine(headers).get(b"accept-signature", b""), self._signatures.tag)
            if self._server_nonce:
                self._may_repeat = False
                return
        if (reply.status in _NO_WORD or code == "replay-detected") and self._may_repeat:
            self._may_repeat = False
            return
        if document is None:
            raise self._unproven("it carries no signature", reply.status)
        refused = refusal(reply.status, headers, document, proven=False)
        refused.idempotency_key = self._idempotency_key
        explain(refused, signed)
        raise refused

    def _prove(self, reply: Incoming, signed: Signed, sent_at: float) -> Conversation:
        now = self._clock()
        asked = Asked(signed.request, signed.claims)
        if not self._server_nonce:
            # The server took our created for its own time, so its created cannot be far from ours.
            created = signed.claims[-1].created
            latest = created + max(0, now - sent_at) + SANE_SECONDS
            asked = asked._replace(earliest=created - SANE_SECONDS, latest=latest)
        try:
            proven = yield from self._prove_or_ask_for_keys(reply, asked)
            self._judge_stream(reply)
        except Unproven as why:
            reason = str(why)
        else:
            if self._server_nonce:
                # The server's clock was read between the two, in the second that created names; no nearer is known, and
                # who holds request or reply back only makes that vaguer: so the offset moves no further than it must.
                least, most = proven.created - now, proven.created + 1 - sent_at
                self._origin.offset_seconds = min(max(self._origin.offset_seconds, least), most)
            alone = self._before + self._sends == 1
            return proven._replace(sends=self._sends, outcome=outcome_of(proven, self._origin.name, alone=alone))
        raise self._unproven(reason, reply.status)

    def _prove_or_ask_for_keys(self, reply: Incoming, asked: Asked) -> Conversation:
        held = self._origin.keys
        try:
            return prove(reply, asked, self._find)
        except UnknownKey:
            pass
        if held is self._origin.keys:  # no other call has fetched it since
            fetched = yield from fetch_trusted(
                self._origin.authority, held, self._entropy, asked.earliest, asked.latest
            )
            self._origin.adopt(fetched)
        return prove(reply, asked, self._find)

    def _judge_stream(self, reply: Incoming) -> None:
        if reply.stream is not None and not self._call.stream:
            raise Unproven("its content is a stream, which is handed out unverified and only to who asks for it")

    def _unproven(self, reason: str, status: int) -> ReplyUnproven:
        return ReplyUnproven(reason, status, self._idempotency_key)


def converse(
    call: Call,
    origin: Origin,
    signatures: Signatures,
    clock: Callable[[], float],
    entropy: Callable[[int], bytes],
    *,
    idempotent: bool = True,
    mac: tuple[str, Keys] | None = None,
    resumed: bool = False,
) -> Conversation:
    """The conversation of one call; see `Talk` and its `run`."""
    return Talk(call, origin, signatures, clock, entropy, idempotent=idempotent, mac=mac, resumed=resumed).run()
