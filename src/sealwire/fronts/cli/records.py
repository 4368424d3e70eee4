"""Clients and keys as `--json` shows them: a promise. Members may be added; none goes or changes its meaning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sealwire.admin import ClientRecord
    from sealwire.call import KeyRecord


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
        "keys": [key_members(key) for key in client.keys],
    }


def print_json(members: object) -> None:
    """To stdout, for people and programs."""
    typer.echo(json.dumps(members, indent=2, ensure_ascii=False))
