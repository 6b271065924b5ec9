import GRDB

extension SQLiteMetadataStore {
    /// The schema, one migration per change. A migration that was released is never edited.
    static let migrator: DatabaseMigrator = {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { db in
            try db.execute(sql: firstSchema)
        }
        return migrator
    }()

    /// Names compare without case, so that "Laptop" and "laptop" can't both be there.
    private static let firstSchema = """
        CREATE TABLE invitation (
            code TEXT PRIMARY KEY, expires INTEGER NOT NULL, used_by TEXT REFERENCES device(id)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE device (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE COLLATE NOCASE,
            platform TEXT NOT NULL, token TEXT NOT NULL UNIQUE, capabilities TEXT,
            joined INTEGER NOT NULL, last_seen INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE vm (
            id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, definition BLOB NOT NULL,
            created INTEGER NOT NULL, revision INTEGER NOT NULL,
            epoch INTEGER NOT NULL, holder TEXT REFERENCES device(id), head INTEGER, switch TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE vm_chunk (
            vm TEXT NOT NULL REFERENCES vm(id) ON DELETE CASCADE, hash TEXT NOT NULL, PRIMARY KEY (vm, hash)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE checkpoint (
            vm TEXT NOT NULL REFERENCES vm(id) ON DELETE CASCADE, sequence INTEGER NOT NULL,
            epoch INTEGER NOT NULL, device TEXT NOT NULL REFERENCES device(id), kind TEXT NOT NULL,
            size INTEGER NOT NULL, checksum TEXT NOT NULL, digest TEXT NOT NULL, created INTEGER NOT NULL,
            pack TEXT NOT NULL UNIQUE, PRIMARY KEY (vm, sequence)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE switch (
            id TEXT PRIMARY KEY, vm TEXT NOT NULL REFERENCES vm(id) ON DELETE CASCADE, record TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        """
}
