"""
What is wrong with a deployment, one sentence each, with what mends it.

Owns: what is looked at, and what counts as wrong; all else worth knowing is a note. Looking changes nothing: no file is
made, no schema is moved. Refuses to know: terminals.
"""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography import x509

from sealwire.build import open_ports
from sealwire.config import SAFE_METHODS, RuleTable, Settings, load
from sealwire.errors import Misuse
from sealwire.keys.file import FileKeyring, is_development, read_private
from sealwire.ports.apikeys import Use
from sealwire.records import ApiKeyRecord, KeyRecord
from sealwire.stores.sqlite_file import schema_versions

_DAY = 86_400
_WARNED_DAYS = (1, 7, 30)
_KEYS = frozenset(("keys.signing", "keys.wrapping", "tls.key"))


class Finding(NamedTuple):
    """One thing found. `level` is wrong or note, `about` a setting, `mend` a command or what to write, if any."""

    level: Literal["wrong", "note"]
    about: str
    says: str
    mend: str = ""


def examine(config: Path, now: float, *, synchronised: bool | None) -> list[Finding]:
    """
    All that is found of the deployment of this policy file at `now` (Unix seconds). `synchronised` is what the kernel
    says of the clock, None where it says nothing.
    """
    try:
        settings = load(config)
    except Misuse as why:
        mend = f"edit {config}" if config.exists() else "name the file with sealwire --config FILE status"
        return [Finding("wrong", "settings", str(why), mend)]
    found = [
        *_environment(settings, synchronised=synchronised),
        *_keys(settings),
        *_certificate(settings, now),
        *_rules(settings),
    ]
    store = list(_store(settings))
    readable = not store and not any(each.level == "wrong" and each.about in _KEYS for each in found)
    return [*found, *store, *(_stored(settings, now) if readable else ())]


def _environment(settings: Settings, *, synchronised: bool | None) -> Iterator[Finding]:
    develops = settings.environment == "development"
    if develops:
        yield Finding("note", "environment", "this is a development deployment: not for production")
    if synchronised is False and not settings.clock_kept_by:
        says = "the kernel says that nothing keeps this host's clock, and calls are judged by it"
        mend = "run a time service (chrony, systemd-timesyncd), or name what keeps it in clock_kept_by"
        yield Finding("note" if develops else "wrong", "clock", says, mend)


def _keys(settings: Settings) -> Iterator[Finding]:
    named = {"keys.signing": settings.keys.signing, "keys.wrapping": settings.keys.wrapping}
    if settings.tls is not None:
        named["tls.key"] = settings.tls.key
    unread = [each for key, uri in named.items() if (each := _unread(key, settings.resolve(uri))) is not None]
    yield from unread
    for key, uri in named.items() if settings.environment == "production" else ():
        if is_development(path := settings.resolve(uri)):
            says = f"{path} is a development key, and serve will not start with it in production"
            yield Finding("wrong", key, says, f"put a key of its own at {path}")
    if unread:
        return
    try:
        FileKeyring(settings.resolve(settings.keys.signing), settings.resolve(settings.keys.wrapping), bytes)
    except Misuse as why:
        about, _, says = str(why).partition(": ")
        yield Finding("wrong", about, says, "put the right file back; invitations and answers kept are under it")


def _unread(key: str, path: Path) -> Finding | None:
    try:
        read_private(path)
    except Misuse as why:
        mend = f"chmod 600 {path}" if path.exists() else f"put the file back at {path}"
        return Finding("wrong", key, str(why).removesuffix(f": {mend}"), mend)
    return None


def _certificate(settings: Settings, now: float) -> Iterator[Finding]:
    if settings.tls is None:
        return
    path = settings.resolve(settings.tls.certificate)
    renew = f"renew {path}, then start serve again"
    try:
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as why:
        said = why.strerror if isinstance(why, OSError) else "it is no PEM certificate"
        yield Finding("wrong", "tls.certificate", f"{path} cannot be read: {said}", renew)
        return
    if (left := _left(ends.timestamp() - now)) is not None:
        yield Finding("wrong", "tls.certificate", f"the certificate {left}", renew)
    key = settings.resolve(settings.tls.key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, key, password="")
    except ssl.SSLError:
        yield Finding("wrong", "tls.key", f"{key} is not the key of {path}", "put the key back that it was issued for")
    except OSError:
        return  # said of the key files already


def _rules(settings: Settings) -> Iterator[Finding]:
    for i, rule in enumerate(settings.rules):
        about, where = f"rules[{i}]", f"{' '.join(rule.methods)} {rule.path}"
        if rule.profile in ("open", "keyed"):
            yield _unsigned(about, where, rule)
        elif rule.mode == "observe":
            mend = f'set mode = "enforce" in {settings.path}'
            yield Finding("wrong", about, f"{where} is in observe mode: no unsigned call is refused there", mend)
        elif rule.profile == "critical" and settings.notice is None and settings.environment == "production":
            says = f"{where} waits for people, and nothing tells them so: only who calls has the link"
            yield Finding("note", about, says, "add [notice]")
        elif rule.replay == "fast" and set(rule.methods) - SAFE_METHODS:
            yield Finding("note", about, f"{where} remembers nonces in the fast store only")


def _unsigned(about: str, where: str, rule: RuleTable) -> Finding:
    takes = "is open to whoever calls"
    if rule.profile == "keyed":
        takes = "takes API keys, which whoever reads one can send (ASVS 5.0: 7.2.2 and 13.2.1 are not met there)"
    if rule.because.strip():
        return Finding("note", about, f"{where} {takes}, because: {rule.because.strip()}")
    if set(rule.methods) - SAFE_METHODS:
        says = f"{where} {takes} and may write, and nothing says why"
        return Finding("wrong", about, says, 'give the rule a because = "…", or profile = "signed"')
    return Finding("note", about, f"{where} {takes}")


def _store(settings: Settings) -> Iterator[Finding]:
    path = settings.resolve(settings.store.durable)
    if not path.exists():
        yield Finding("note", "store.durable", f"{path} does not exist yet; serve makes it")
        return
    try:
        found, known = schema_versions(path)
    except Misuse as why:
        yield Finding("wrong", "store.durable", str(why).partition(": ")[2], "see that it is there and not in use")
        return
    if found > known:
        says = f"the database has schema {found}, this version knows {known}"
        yield Finding("wrong", "store.durable", says, "install the newer version of Sealwire")
    elif found < known:
        yield Finding("note", "store.durable", f"the database has schema {found}; the next start moves it to {known}")


def _stored(settings: Settings, now: float) -> Iterator[Finding]:
    """What the durable store knows of callers."""
    ports = open_ports(settings)
    try:
        keys = asyncio.run(ports.directory.keys())
        apikeys = asyncio.run(ports.apikeys.apikeys())
        uses = asyncio.run(ports.uses.uses())
    finally:
        ports.close()
    yield from _keys_of_clients(keys, now)
    yield from _apikeys(apikeys, uses, now)
    yield from _near(settings, keys, apikeys, uses, now)


def _keys_of_clients(keys: list[KeyRecord], now: float) -> Iterator[Finding]:
    followed = {key.follows for key in keys if key.state != "revoked"}
    for key in keys:
        if key.state != "revoked" and key.keyid not in followed and (left := _key_left(key, now)) is not None:
            says = f"the last key of {key.client_name} ({key.client}) {left}"
            yield Finding("wrong", "clients", says, "have its owner run: sealwire key rotate")
    for client, name, user in dict.fromkeys((k.client, k.client_name, k.user) for k in keys if k.state == "frozen"):
        says = f"{name} ({client}) signs nothing: {user} said that what it asked for was not theirs"
        yield Finding("wrong", "clients", says, f"talk to them; then: sealwire client thaw {client}")


def _apikeys(apikeys: list[ApiKeyRecord], uses: list[Use], now: float) -> Iterator[Finding]:
    sent = {use.credential: use.at for use in uses if use.reason == "token-invalid"}
    for one in apikeys:
        named, rotate = f"the API key {one.name} ({one.id})", f"sealwire apikey rotate {one.id}"
        if one.state_at(now) == "active":
            # A key that was made for days only is not late from its first one on.
            old = one.expires_at - now < (one.expires_at - one.made_at) / 3
            if old and (left := _left(one.expires_at - now)) is not None:
                yield Finding("wrong", "apikeys", f"{named} {left}", f"{rotate}, and give its user the new one")
            if one.retires_at is not None and one.retires_at - now > 0 and (left := _left(one.retires_at - now)):
                yield Finding("note", "apikeys", f"the secret of {one.name} ({one.id}) before its last rotation {left}")
        elif one.state != "revoked" and now - sent.get(one.id, 0) < _DAY:
            says = f"{named} has expired, and is still sent"
            yield Finding("wrong", "apikeys", says, "sealwire apikey create, and give its user the new one")


def _near(
    settings: Settings, keys: list[KeyRecord], apikeys: list[ApiKeyRecord], uses: list[Use], now: float
) -> Iterator[Finding]:
    """Limits that somebody nearly spent within the last day."""
    names = {key.keyid: f"{key.client_name} ({key.client})" for key in keys}
    names |= {one.id: f"{one.name} ({one.id})" for one in apikeys}
    refused = {(use.credential, use.day): use.calls for use in uses if use.reason == "rate-limited"}
    latest = {(use.credential, use.reason): use for use in uses if use.reason.startswith("near ")}
    for use in latest.values():
        if use.credential not in names or now - use.at > _DAY:
            continue
        _, limit, template = use.reason.split(" ", 2)
        calls = refused.get((use.credential, use.day), 0)
        past = f"; {calls} calls were refused that day" if calls else ""
        says = f"{names[use.credential]} had less than a tenth left of {limit} at {template}{past}"
        mend = f"raise it in {settings.path}, or have its owner call less"
        if limit.startswith("client-own-"):
            mend = f"sealwire client bind {use.client} --limits=…, or have its owner call less"
        elif limit.startswith("key-own-"):
            mend = f"sealwire apikey create --client={use.client} --limits=… in its place, or have its owner call less"
        yield Finding("note", "limits", says, mend)


def _key_left(key: KeyRecord, now: float) -> str | None:
    return None if key.expires_at is None else _left(key.expires_at - now)


def _left(seconds: float) -> str | None:
    """Words for an end that is near, by the bounds of 1, 7 and 30 days; None for one that is far."""
    if seconds <= 0:
        return "has expired"
    within = next((days for days in _WARNED_DAYS if seconds < days * _DAY), None)
    if within is None:
        return None
    return f"expires within {within} day{'s' if within > 1 else ''}, {_in(seconds)}"


def _in(seconds: float) -> str:
    span = datetime.timedelta(seconds=seconds)
    return f"in {span.days} d" if span.days else f"in {span.seconds // 3600} h"
