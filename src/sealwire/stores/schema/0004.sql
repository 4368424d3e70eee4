-- What holds a client closer than the rules do: limits of its own, as they are written, with spaces between.
ALTER TABLE clients ADD COLUMN limits TEXT NOT NULL DEFAULT '';
ALTER TABLE invitations ADD COLUMN limits TEXT NOT NULL DEFAULT '';
CREATE INDEX clients_user ON clients (user);
-- API keys; of their secrets keyed digests alone. `until` is when one ends that another has taken the place of.
CREATE TABLE apikeys (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL REFERENCES clients (id),
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    addresses TEXT NOT NULL,
    limits TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'revoked')),
    frozen INTEGER NOT NULL DEFAULT 0,
    made REAL NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX apikeys_client ON apikeys (client, made);
CREATE TABLE apikey_secrets (
    digest BLOB PRIMARY KEY,
    apikey TEXT NOT NULL REFERENCES apikeys (id),
    until REAL
) WITHOUT ROWID;
CREATE INDEX apikey_secrets_apikey ON apikey_secrets (apikey);
-- How often credentials were used and refused, by day and reason, and when and from where last.
CREATE TABLE uses (
    client TEXT NOT NULL,
    credential TEXT NOT NULL,
    reason TEXT NOT NULL,
    day INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    at REAL NOT NULL,
    address TEXT NOT NULL,
    PRIMARY KEY (client, credential, reason, day)
) WITHOUT ROWID;
CREATE INDEX uses_day ON uses (day);
