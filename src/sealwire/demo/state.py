"""
All that the demo makes, in one folder: throw-away keys, a local CA, the policy file, the users and the database.

Owns: the layout of that folder. Refuses to know: how anything is served.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealwire.demo.exchange import open_account
from sealwire.keys.file import make_signing_key, make_wrapping_key, write_private

_POLICY = """\
# DEVELOPMENT: throw-away keys, not for production
environment = "development"
public_origins = ["https://localhost:{port}"]
app = "sealwire.demo.exchange:app_from_environment"
app_factory = true

[listen]
host = "127.0.0.1"
port = {port}

[tls]
certificate = "tls/cert.pem"
key = "file:tls/key.pem"

[keys]
signing = "file:keys/signing.pem"
wrapping = "file:keys/wrapping.key"

[store]
durable = "sqlite:sealwire.db"
fast = "memory:"

[[rules]]
path = "/v1/login"
methods = ["POST"]
profile = "open"
because = "sign-in form"
limits = ["60/min per address"]

[[rules]]
path = "/v1/markets"
methods = ["GET"]
profile = "open"
limits = ["6000/min per address"]

[[rules]]
path = "/v1/ticker"
methods = ["GET"]
profile = "keyed"
scopes = ["read"]
limits = ["6000/min per key", "300/min per address"]

[[rules]]
path = "/v1/time"
methods = ["GET"]
profile = "open"
limits = ["6000/min per address"]

[[rules]]
path = "/v1/balances"
methods = ["GET"]
profile = "signed"
limits = ["6000/min per key", "6000/min per address"]

[[rules]]
path = "/v1/quotes"
methods = ["POST"]
profile = "sealed"
session_mac = true
limits = ["6000/min per key", "6000/min per address"]

[[rules]]
path = "/v1/orders"
methods = ["POST"]
profile = "sealed"
scopes = ["trade"]
limits = ["6000/min per key", "6000/min per address"]

[[rules]]
path = "/v1/orders/{{id}}"
methods = ["GET", "DELETE"]
profile = "sealed"
scopes = ["trade"]
limits = ["6000/min per key", "6000/min per address"]

[[rules]]
path = "/v1/withdrawals"
methods = ["POST"]
profile = "critical"
scopes = ["withdraw"]
limits = ["6000/min per key", "6000/min per address"]
approve = {{ show = "Send {{amount}} {{asset}} to {{address}}", with = ["totp", "hotp"], within = "10m" }}

[pages]
origin = "https://localhost:{pages}"
port = {pages}
sign_in = "sealwire.demo.exchange:sign_in"
factor_cooldown = 0  # the tour has a new phone at each start; a real deployment waits a day
"""


class DemoState:
    """The demo's folder: made whole at the first start, used again at the next."""

    def __init__(self, folder: Path, port: int, pages_port: int = 0) -> None:
        """`pages_port`: the one after `port` where none is given."""
        self.folder = folder
        self.port = port
        self.pages_port = pages_port or port + 1
        self.pages = f"https://localhost:{self.pages_port}"
        self.origin = f"https://localhost:{port}"
        self.config = folder / "sealwire.toml"
        self.ca = folder / "ca.pem"
        self.database = folder / "exchange.db"
        self.users = folder / "users.json"

    def make(self) -> None:
        """Makes what is not there yet; the policy file is written anew, since the port may be another."""
        for part in (self.folder, self.folder / "keys", self.folder / "tls"):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        signing, wrapping = self.folder / "keys" / "signing.pem", self.folder / "keys" / "wrapping.key"
        if not signing.exists():
            make_signing_key(signing, development=True)
        if not wrapping.exists():
            make_wrapping_key(wrapping, secrets.token_bytes, development=True)
        if not self._certificate_holds():
            self._make_certificates()
        self.config.write_text(_POLICY.format(port=self.port, pages=self.pages_port), encoding="utf-8")

    def add_user(self, name: str) -> str:
        """A user with test money and a random password, which is answered; one who is there keeps theirs."""
        users = json.loads(self.users.read_text("utf-8")) if self.users.exists() else {}
        if name not in users:
            users[name] = {"password": secrets.token_urlsafe(12)}
            fresh = self.users.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            write_private(fresh, json.dumps(users).encode("utf-8"))
            fresh.replace(self.users)
        open_account(self.database, name)
        return str(users[name]["password"])

    def _certificate_holds(self) -> bool:
        if not self.ca.exists():
            return False
        ends = x509.load_pem_x509_certificate(self.ca.read_bytes()).not_valid_after_utc
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1) < ends

    def _make_certificates(self) -> None:
        ca_key, key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
        ca = _certificate("Sealwire demo CA", ca_key, "Sealwire demo CA", ca_key, ca=True)
        leaf = _certificate("localhost", key, "Sealwire demo CA", ca_key, ca=False)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "tls" / "key.pem").unlink(missing_ok=True)  # of certificates that ended, or never came to be
        write_private(self.folder / "tls" / "key.pem", pem, development=True)
        (self.folder / "tls" / "cert.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
        # Written last: its presence says that the others are there. The CA's own key is never written.
        self.ca.write_bytes(ca.public_bytes(Encoding.PEM))


def _certificate(
    subject: str, key: EllipticCurvePrivateKey, issuer: str, issuer_key: EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=90))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(_usage(ca=ca), critical=True)
    )
    if not ca:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(usage, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
