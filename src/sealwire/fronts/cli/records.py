"""
Clients, invitations, keys, approvals and factors as `--json` shows them: a promise. Members may be added; none goes or
changes its meaning.
"""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING

import typer

from sealwire.protocol.ratelimit import written

if TYPE_CHECKING:
    from sealwire.admin import ClientRecord
    from sealwire.call import Approval
    from sealwire.ports import Invitation
    from sealwire.ports.apikeys import Use
    from sealwire.ports.people import Factor
    from sealwire.protocol.approval import Shown
    from sealwire.records import ApiKeyRecord, KeyRecord


def key_members(key: KeyRecord) -> dict[str, object]:
    """One key. Times are Unix seconds, `expires_at` is null for a key without an end."""
    return {
        "keyid": key.keyid,
        "client": key.client,
        "name": key.name,
        "algorithm": key.verifier.algorithm,
        "state": key.state,
        "enrolled_at": int(key.enrolled_at),
        "expires_at": None if key.expires_at is None else int(key.expires_at),
        "follows": key.follows or None,
    }


def client_members(client: ClientRecord) -> dict[str, object]:
    """One client with its keys, oldest first."""
    return {
        "client": client.id,
        "name": client.name,
        "user": client.user,
        "scopes": sorted(client.scopes),
        "addresses": list(client.stored.bounds.addresses),
        "limits": [written(limit) for limit in client.stored.bounds.limits],
        "keys": [key_members(key) for key in client.keys],
        "apikeys": [apikey.id for apikey in client.apikeys],
    }


def invitation_members(invitation: Invitation) -> dict[str, object]:
    """
    One invitation that waits, without its secret. Times are Unix seconds; `client` is null unless it adds a key to a
    client there is.
    """
    return {
        "invitation": invitation.id,
        "client": invitation.client or None,
        "name": invitation.name,
        "user": invitation.user,
        "scopes": sorted(invitation.scopes),
        "addresses": list(invitation.addresses),
        "limits": [written(limit) for limit in invitation.limits],
        "expires_at": int(invitation.expires_at),
    }


def apikey_members(apikey: ApiKeyRecord, last: Use | None, now: float) -> dict[str, object]:
    """
    One API key, without its secret. Times are Unix seconds; `old_secret_until` is null unless a secret that was
    replaced is still good, `used_at` for one that was never used.
    """
    retires = apikey.retires_at
    return {
        "apikey": apikey.id,
        "client": apikey.client,
        "name": apikey.name,
        "user": apikey.user,
        "scopes": sorted(apikey.scopes),
        "addresses": [list(bounds.addresses) for bounds in apikey.bounds if bounds.addresses],
        "limits": [written(limit) for bounds in apikey.bounds for limit in bounds.limits],
        "state": apikey.state_at(now),
        "made_at": int(apikey.made_at),
        "expires_at": int(apikey.expires_at),
        "old_secret_until": int(retires) if retires is not None and retires > now else None,
        "used_at": None if last is None else int(last.at),
        "used_from": None if last is None else last.address,
    }


def approval_members(approval: Approval, shown: Shown) -> dict[str, object]:
    """One approval. Times are Unix seconds, `decided_at` is null while it waits."""
    return {
        "approval": approval.id,
        "state": approval.state,
        "user": approval.user,
        "client": approval.client,
        "client_name": approval.client_name,
        "key": approval.key,
        "sentence": shown.sentence,
        "values": dict(shown.values),
        "rule": approval.template,
        "factors": list(approval.factors),
        "address": approval.address,
        "asked_at": int(approval.asked_at),
        "expires_at": int(approval.expires_at),
        "decided_at": int(approval.decided_at) or None,
        "how": approval.how or None,
    }


def factor_members(factor: Factor) -> dict[str, object]:
    """One factor, without its secret. Times are Unix seconds, `used_at` is null for one that was never used."""
    return {
        "factor": factor.id,
        "user": factor.user,
        "kind": factor.kind,
        "name": factor.name,
        "added_at": int(factor.added_at),
        "used_at": int(factor.used_at) or None,
    }


def minute(at: float) -> str:
    """Unix seconds as people read them."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def print_json(members: object) -> None:
    """To stdout, for people and programs."""
    typer.echo(json.dumps(members, indent=2, ensure_ascii=False))
