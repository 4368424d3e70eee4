"""
What can be said when a call does not go through, and the one table behind all of it.

Owns: the three kinds of no (a Refusal is the caller's fault, a Fault is ours, a Misuse is the developer's) and, for
every one a caller may see, its slug, status, meaning, remedy and the exact causes that only the ledger and the log
name.
Refuses to know: HTTP, JSON, logging. `protocol/problem.py` words a Problem for the wire; `endpoints` serves the pages.
"""

from __future__ import annotations

from typing import NamedTuple

#: The order in which a signature is judged (docs/protocol.md, "Saying no"); a refusal names the one that failed.
JUDGEMENTS = ("parse", "components", "key", "algorithm", "created", "signature", "digest", "replay", "policy")


class Row(NamedTuple):
    """One line of the table: what a slug means to a caller, and the causes that share it."""

    status: int
    title: str
    meaning: str
    remedy: str
    retryable: bool = False
    causes: frozenset[str] = frozenset()


def _causes(words: str) -> frozenset[str]:
    return frozenset(words.split())


TABLE: dict[str, Row] = {
    "signature-missing": Row(
        401,
        "The call is not signed",
        "No signature with the tag this server asks for was found. A session token or cookie alone moves nothing here.",
        "Sign the request as Accept-Signature says, with a key that was enrolled.",
        causes=_causes("absent input-absent no-tag"),
    ),
    "signature-malformed": Row(
        400,
        "The signature cannot be read",
        "Signature or Signature-Input breaks RFC 9421 or the stricter profile of this server.",
        "Compare the two fields with the profile: parameters, their types and order of labels, canonical encoding.",
        causes=_causes(
            "fields too-many labels-differ label-twice not-canonical parameter-missing parameter-type "
            "parameter-unknown parameter-twice expires-order lifetime nonce-form component-unknown "
            "component-twice component-parameter number-range too-many-components possession-times"
        ),
    ),
    "components-insufficient": Row(
        401,
        "The signature does not cover enough",
        "A part of the message that must be signed is not covered, or a covered part is not in the message.",
        "Cover every component that Accept-Signature lists, and send every field that is covered.",
        causes=_causes("not-covered field-absent body-not-covered named-by-connection binding-missing"),
    ),
    "algorithm-not-allowed": Row(
        401,
        "The algorithm does not fit the key",
        "The alg parameter names another algorithm than the one the key was enrolled for.",
        "Leave alg out, or name the key's own algorithm.",
        causes=_causes("other-than-key unknown session-mac"),
    ),
    "target-not-canonical": Row(
        400,
        "The request target has more than one reading",
        "The path or query holds a form that servers read differently, so it is refused and not normalised.",
        "Send the one plain form of the path: no dot segments, no empty segments, no encoded dots or slashes.",
        causes=_causes("form characters percent-code encoded dot-segment empty-segment utf-8 other-rule fragment"),
    ),
    "key-unknown": Row(
        401,
        "The key is not known here",
        "No active key has this keyid.",
        "Enrol a key, or use the keyid that enrolment answered.",
        causes=_causes("unknown revoked frozen expired not-yet-valid wrong-form client-revoked session"),
    ),
    "clock-skew": Row(
        401,
        "The call is outside its time window",
        "The created and expires of the signature do not enclose this server's time.",
        "Set the clock, or repeat once with the nonce of Accept-Signature.",
        retryable=True,
        causes=_causes("early late expired claim-late restart server-nonce-late fresh-demanded"),
    ),
    "digest-mismatch": Row(
        401,
        "The body differs from what was signed",
        "Content-Digest does not fit the body that arrived, or names no algorithm that counts.",
        "Compute Content-Digest with sha-256 or sha-512 over the bytes sent; find what rewrites the body on the way.",
        causes=_causes("unreadable no-algorithm differs"),
    ),
    "signature-mismatch": Row(
        401,
        "The signature does not verify",
        "The signature was not made by this key over this message as it arrived.",
        "Compare base_lines with your own signature base: the one that differs was changed on the way.",
        causes=_causes("does-not-verify possession"),
    ),
    "replay-detected": Row(
        401,
        "This message was accepted before",
        "The nonce of this signature has been used with this key.",
        "Sign anew with a new nonce; keep the Idempotency-Key if the call must not happen twice.",
        causes=_causes("nonce durable-nonce"),
    ),
    "authority-unknown": Row(
        421,
        "The request was meant for another host",
        "Host is absent or is not one of the origins that this server answers for.",
        "Call the public origin; a proxy on the way must pass Host on unchanged.",
        causes=_causes("absent outside"),
    ),
    "body-too-large": Row(
        413,
        "The body is too large",
        "The body is larger than this route takes.",
        "Send less in one call.",
        causes=_causes("declared read"),
    ),
    "media-type": Row(
        415,
        "The body is of a kind this route does not take",
        "Content-Type is absent or not one that the route lists, or Content-Encoding is used.",
        "Send one of the listed media types, uncompressed.",
        causes=_causes("content-type content-encoding absent sealed"),
    ),
    "request-invalid": Row(
        422,
        "The content is not acceptable",
        "The body is not strict JSON, or a member is missing, unknown or of the wrong form.",
        "The list of errors points at each place.",
        causes=_causes("json enrolment session idempotency-key shown"),
    ),
    "idempotency-conflict": Row(
        422,
        "The idempotency key was used for another request",
        "This Idempotency-Key came with a different method, path, query or body before.",
        "Use a new key for a new request.",
        causes=_causes("fingerprint"),
    ),
    "idempotency-in-progress": Row(
        409,
        "The first request with this idempotency key has no answer yet",
        "A request with this key was let through and its end is not recorded: it may or may not have happened.",
        "Wait and repeat; if outcome is unknown, look at the account before doing it again under a new key.",
        retryable=True,
        causes=_causes("running unknown"),
    ),
    "idempotency-missing": Row(
        400,
        "An idempotency key is needed",
        "This route takes no call without an Idempotency-Key.",
        "Send a fresh Idempotency-Key, covered by the signature.",
        causes=_causes("absent"),
    ),
    "rate-limited": Row(
        429,
        "Too many calls",
        "A limit of this route is spent.",
        "Wait for Retry-After seconds.",
        retryable=True,
        causes=_causes("address rule caller live-nonces approvals busy failures-address failures-key"),
    ),
    "token-invalid": Row(
        401,
        "No key that is good here",
        "The call carries no API key that is known and good here.",
        "Send a live API key as Authorization: Bearer sw_…; a new one is made by its user, or by the operator.",
        causes=_causes("absent form unknown revoked frozen expired retired other-client"),
    ),
    "invitation-invalid": Row(
        401,
        "The invitation does not open anything",
        "The invitation is unknown, spent or past its time.",
        "Ask the operator for a new one.",
        causes=_causes("unknown spent expired"),
    ),
    "session-unknown": Row(
        401,
        "The session is not known here",
        "No session of this key has this id: it was ended, or the server started anew.",
        "Open a new session, and send the call again under it with the same Idempotency-Key.",
        retryable=True,
        causes=_causes("unknown"),
    ),
    "session-expired": Row(
        401,
        "The session is over",
        "The session ran out of its time or of its messages.",
        "Open a new session, and send the call again under it with the same Idempotency-Key.",
        retryable=True,
        causes=_causes("time spent"),
    ),
    "encryption-required": Row(
        400,
        "The call must be sealed",
        "This route takes no content in clear, and every call to it names a session.",
        "Open a session, and seal the body under it; a call without a body names it in Sealwire-Session.",
        causes=_causes("plaintext no-session"),
    ),
    "encryption-unexpected": Row(
        400,
        "The call must not be sealed",
        "This route takes its content in clear, and no session.",
        "Look at the signed rules: they say which routes are sealed.",
        causes=_causes("clear-route"),
    ),
    "envelope-malformed": Row(
        400,
        "The sealed body cannot be read",
        "The body is no compact JWE of the one form that is taken here, or the call names two sessions.",
        'Send five parts in base64url under the header {"alg":"dir","enc":"A256GCM","kid":…,"cty":…}.',
        causes=_causes("parts base64url header two-sessions cty"),
    ),
    "decrypt-failed": Row(
        400,
        "The sealed body does not open",
        "The body was not sealed under this session for this direction, or was changed on the way.",
        "Seal anew with a fresh IV under the key for requests of the session that kid names.",
        causes=_causes("decryption"),
    ),
    "query-in-clear": Row(
        400,
        "A query parameter would be seen on the way",
        "On a sealed route only the parameters that the rules list may stand in the query.",
        "Move the parameter into the sealed body.",
        causes=_causes("parameter"),
    ),
    "scope-insufficient": Row(
        403,
        "The client may not do this",
        "The client lacks a scope that the route demands.",
        "Ask the operator for the scope.",
        causes=_causes("missing"),
    ),
    "address-not-allowed": Row(
        403,
        "Not from this address",
        "The client is bound to addresses, and this is none of them.",
        "Call from a listed address, or have the list changed.",
        causes=_causes("client"),
    ),
    "approval-required": Row(
        403,
        "A person must approve this",
        "The act needs more than the key that asks for it.",
        "Where approval is given, have its person open the link, then repeat the call with Sealwire-Approval; else have"
        " the operator do it.",
        causes=_causes("another-key more-keys asked app no-user unknown another differs used spent"),
    ),
    "approval-pending": Row(
        403,
        "Nobody has decided on this yet",
        "The approval that the call names waits for its person.",
        "Wait for Retry-After seconds and repeat with the same Sealwire-Approval and Idempotency-Key.",
        retryable=True,
        causes=_causes("pending"),
    ),
    "approval-denied": Row(
        403,
        "A person said no",
        "The approval that the call names was denied.",
        "Do not ask again by yourself: the person has seen what was asked.",
        causes=_causes("denied"),
    ),
    "approval-expired": Row(
        403,
        "The approval is past its time",
        "Nobody decided in time, or the call came too late after the yes.",
        "Repeat the call without Sealwire-Approval: it asks anew.",
        causes=_causes("expired"),
    ),
    "not-found": Row(
        404,
        "Nothing is served here",
        "No rule of the policy covers this path.",
        "Check the path against the rules endpoint.",
        causes=_causes("no-rule no-key"),
    ),
    "method-not-allowed": Row(
        405,
        "This method is not served here",
        "The policy has rules for this path, but none for the method.",
        "Allow lists the methods.",
        causes=_causes("method"),
    ),
    "header-malformed": Row(
        400,
        "The head of the request cannot be accepted",
        "A field that may stand once stands twice, or holds bytes that do not belong in a field.",
        "Send each of these fields once, in plain visible characters.",
        causes=_causes("repeated characters too-large transfer-encoding content-length length-differs"),
    ),
    "store-unavailable": Row(
        503,
        "The call could not be checked",
        "A store that must be asked does not answer, so nothing was let through.",
        "Repeat later with a new signature and the same Idempotency-Key.",
        retryable=True,
        causes=_causes("nonces buckets directory clock sessions approvals"),
    ),
    "audit-unavailable": Row(
        503,
        "The decision could not be recorded",
        "Nothing happens here that is not recorded first, and the record could not be written.",
        "Repeat later with a new signature and the same Idempotency-Key.",
        retryable=True,
        causes=_causes("write timeout"),
    ),
    "custody-unavailable": Row(
        503,
        "The reply could not be signed",
        "The key home does not answer.",
        "Repeat later with a new signature and the same Idempotency-Key.",
        retryable=True,
        causes=_causes("sign wrap"),
    ),
    "internal": Row(
        500,
        "Something is wrong on this side",
        "The server failed; the request id finds it in the log.",
        "Report the request id.",
        causes=_causes("app reply misuse bug evidence reply-too-large body-taken sealing compressed address"),
    ),
}


class Problem(Exception):
    """
    A call that does not go through, with what its caller may know of it.

    `slug` is stable and public, `cause` is for the ledger and the log only. `detail` is one sentence for the caller
    that names no secret. `failed` is the judgement of JUDGEMENTS at which a signature failed, where one did. `members`
    are further members of the problem document; `fields` are response fields.
    """

    def __init__(
        self,
        slug: str,
        cause: str,
        detail: str = "",
        *,
        failed: str = "",
        members: dict[str, object] | None = None,
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        row = TABLE[slug]
        if cause not in row.causes:
            raise KeyError(f"{slug}/{cause} is not in the table of errors")
        super().__init__(f"{slug}/{cause}")
        self.slug = slug
        self.cause = cause
        self.detail = detail or row.meaning
        self.failed = failed
        self.members = members or {}
        self.fields = fields
        #: The key or API key of ours that the call named, where that is known: for the log, the limits and the count.
        self.claimed = ""

    @property
    def status(self) -> int:
        """The HTTP status of the slug."""
        return TABLE[self.slug].status

    @property
    def code(self) -> str:
        """The ledger's name: slug and exact cause."""
        return f"{self.slug}/{self.cause}"


class Refusal(Problem):
    """The call is turned away, and the caller can mend it."""


class Fault(Problem):
    """The call could not be served, and the caller did nothing wrong."""


class Misuse(Exception):
    """
    The developer's mistake, found at start where it can be: one line that names the setting and what would be right.

    It is one line whatever stands in the setting: what does not print is shown escaped.
    """

    def __init__(self, line: str) -> None:
        shown = (c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)
        super().__init__("".join(shown))
