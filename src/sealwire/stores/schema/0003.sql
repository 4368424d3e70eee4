-- A key that its user disowned signs nothing until the operator thaws it; sessions opened by `frozen_at` stay over.
ALTER TABLE keys ADD COLUMN frozen INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN frozen_at REAL NOT NULL DEFAULT -1;
-- What people were asked and what they said. `binding` are keyed digests, `shown` is wrapped by the key home.
CREATE TABLE approvals (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    client_name TEXT NOT NULL,
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    binding BLOB NOT NULL,
    shown BLOB NOT NULL,
    rule TEXT NOT NULL,
    factors TEXT NOT NULL,
    address TEXT NOT NULL,
    asked REAL NOT NULL,
    expires REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'used')),
    decided REAL NOT NULL,
    how TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX approvals_user ON approvals (user, asked);
CREATE INDEX approvals_open ON approvals (user, expires, state, client, key, binding);
CREATE INDEX approvals_asked ON approvals (asked);
CREATE INDEX approvals_client ON approvals (client, state);
-- Codes that were tried, right or wrong: what is counted before it is judged.
CREATE TABLE tries (number INTEGER PRIMARY KEY, user TEXT NOT NULL, approval TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX tries_user ON tries (user, at);
CREATE INDEX tries_approval ON tries (approval);
CREATE INDEX tries_at ON tries (at);
-- What users prove their presence with; `secret` is wrapped by the key home.
CREATE TABLE factors (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    secret BLOB NOT NULL,
    algorithm TEXT NOT NULL,
    digits INTEGER NOT NULL,
    position INTEGER NOT NULL,
    added REAL NOT NULL,
    used REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX factors_user ON factors (user, added);
-- Until when a user's factors approve nothing.
CREATE TABLE cooling (user TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
