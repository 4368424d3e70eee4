-- Decisions: one row a call that was decided on after proof, appended only.
CREATE TABLE decisions (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    request TEXT NOT NULL,
    outcome TEXT NOT NULL,
    code TEXT NOT NULL,
    client TEXT NOT NULL,
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    address TEXT NOT NULL,
    method TEXT NOT NULL,
    rule TEXT NOT NULL,
    policy TEXT NOT NULL
);
-- Refusals before proof: one row an address, minute and slug, so that noise cannot flood the ledger.
CREATE TABLE refusals (
    seq INTEGER PRIMARY KEY,
    address TEXT NOT NULL,
    minute INTEGER NOT NULL,
    slug TEXT NOT NULL,
    calls INTEGER NOT NULL
);
-- Nonces of unsafe methods, as 16 bytes of SHA-256 over key and nonce, until the last instant they must be refused.
CREATE TABLE nonces (digest BLOB PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX nonces_until ON nonces (until);
-- Idempotency keys, keyed digests both; `reply` is wrapped by the key home and NULL while there is no recorded end.
CREATE TABLE idempotency (
    scope TEXT NOT NULL,
    key BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    reply BLOB,
    at REAL NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);
CREATE TABLE clients (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    user TEXT,
    scopes TEXT NOT NULL,
    addresses TEXT NOT NULL,
    created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE keys (
    keyid TEXT PRIMARY KEY,
    client TEXT NOT NULL REFERENCES clients (id),
    name TEXT NOT NULL,
    jwk TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'retiring', 'revoked')),
    enrolled REAL NOT NULL,
    expires REAL,
    follows TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX keys_client ON keys (client);
CREATE TABLE invitations (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    client TEXT NOT NULL,
    user TEXT,
    scopes TEXT NOT NULL,
    addresses TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    expires REAL NOT NULL,
    used_by TEXT NOT NULL DEFAULT '',
    used_at REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
-- Each set of server keys that was ever published, in order: its number is the version.
CREATE TABLE key_sets (version INTEGER PRIMARY KEY, thumbprints TEXT NOT NULL, issued INTEGER NOT NULL);
