-- The latest `until` of any nonce that was taken out: a message that ended by then may have been seen, whatever the
-- clock says now.
CREATE TABLE forgotten (only INTEGER PRIMARY KEY CHECK (only = 1), until REAL NOT NULL);
INSERT INTO forgotten VALUES (1, 0);
