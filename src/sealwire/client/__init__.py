"""
The client: signs every request, proves every reply.

    import httpx2, sealwire.client
    with httpx2.Client(transport=sealwire.client.Transport(credential="alice-bot.json")) as http:
        http.post("https://localhost:8443/v1/orders", json={"pair": "BTC/EUR"})

`sealwire.client.httpx` has the same for httpx. Errors of a single slug that are not listed here are in
`sealwire.client.errors.BY_SLUG`.
"""

from sealwire.client.credential import Credential
from sealwire.client.errors import (
    ApprovalDenied,
    ApprovalExpired,
    ApprovalPending,
    ApprovalRequired,
    ClockSkew,
    CredentialError,
    ForeignOrigin,
    InvitationInvalid,
    KeyUnknown,
    NotSignable,
    OutcomeUnknown,
    RateLimited,
    Refused,
    ReplayDetected,
    ReplyUnproven,
    SealwireError,
    SignatureMismatch,
)
from sealwire.client.lifecycle import enroll, revoke, rotate
from sealwire.client.receipt import Receipt
from sealwire.client.transports import AsyncTransport, Transport

__all__ = [
    "ApprovalDenied",
    "ApprovalExpired",
    "ApprovalPending",
    "ApprovalRequired",
    "AsyncTransport",
    "ClockSkew",
    "Credential",
    "CredentialError",
    "ForeignOrigin",
    "InvitationInvalid",
    "KeyUnknown",
    "NotSignable",
    "OutcomeUnknown",
    "RateLimited",
    "Receipt",
    "Refused",
    "ReplayDetected",
    "ReplyUnproven",
    "SealwireError",
    "SignatureMismatch",
    "Transport",
    "enroll",
    "revoke",
    "rotate",
]
