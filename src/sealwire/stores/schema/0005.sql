-- Counts what changes a key or its client, whoever changes it, so that records of keys can be held until then.
CREATE TABLE directory_version (version INTEGER NOT NULL);
INSERT INTO directory_version VALUES (0);
CREATE TRIGGER keys_inserted AFTER INSERT ON keys BEGIN UPDATE directory_version SET version = version + 1; END;
CREATE TRIGGER keys_updated AFTER UPDATE ON keys BEGIN UPDATE directory_version SET version = version + 1; END;
CREATE TRIGGER keys_deleted AFTER DELETE ON keys BEGIN UPDATE directory_version SET version = version + 1; END;
-- One that takes another's place (REPLACE) is neither updated nor, to a trigger, deleted.
CREATE TRIGGER clients_inserted AFTER INSERT ON clients BEGIN UPDATE directory_version SET version = version + 1; END;
CREATE TRIGGER clients_updated AFTER UPDATE ON clients BEGIN UPDATE directory_version SET version = version + 1; END;
CREATE TRIGGER clients_deleted AFTER DELETE ON clients BEGIN UPDATE directory_version SET version = version + 1; END;
