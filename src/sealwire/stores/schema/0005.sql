-- Another number after each change of a key or its client, whoever makes it, so that records of keys can be held until
-- then. Drawn and not counted: one that a backup brings back stands for what it stood for.
CREATE TABLE directory_version (version INTEGER NOT NULL);
INSERT INTO directory_version VALUES (0);
CREATE TRIGGER keys_inserted AFTER INSERT ON keys BEGIN UPDATE directory_version SET version = random(); END;
CREATE TRIGGER keys_updated AFTER UPDATE ON keys BEGIN UPDATE directory_version SET version = random(); END;
CREATE TRIGGER keys_deleted AFTER DELETE ON keys BEGIN UPDATE directory_version SET version = random(); END;
-- One that takes another's place (REPLACE) is neither updated nor, to a trigger, deleted.
CREATE TRIGGER clients_inserted AFTER INSERT ON clients BEGIN UPDATE directory_version SET version = random(); END;
CREATE TRIGGER clients_updated AFTER UPDATE ON clients BEGIN UPDATE directory_version SET version = random(); END;
CREATE TRIGGER clients_deleted AFTER DELETE ON clients BEGIN UPDATE directory_version SET version = random(); END;
