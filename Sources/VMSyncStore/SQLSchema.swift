import Foundation
import VMSyncCore

/// The tables, and how a database comes to have them.
enum SQLSchema {
    /// One per change, in order; one that was released is never edited.
    private static let migrations = [first]

    /// How often it is tried: of several servers that start on an empty database at once, all but one lose the first try.
    private static let attempts = 10

    /// Brings the database up to date.
    /// - Throws: `incompatible` if a newer vmsync has made it.
    static func migrate(_ engine: any SQLEngine) async throws {
        for attempt in 1... {
            do {
                return try await engine.transaction(.write) { [dialect = engine.dialect] transaction in
                    try migrate(transaction, dialect)
                }
            } catch let error as VMSyncError where error.code == .io && attempt < attempts {
                try await Task.sleep(for: .milliseconds(20 * attempt))
            }
        }
    }

    private static func migrate(_ transaction: any SQLTransaction, _ dialect: SQLDialect) throws {
        try transaction.run("CREATE TABLE IF NOT EXISTS schema_version (version \(dialect.integer) NOT NULL)")
        let version = Int(try transaction.run("SELECT version FROM schema_version").first?.integer("version") ?? 0)
        guard version <= migrations.count else {
            throw VMSyncError(
                .incompatible,
                "a newer vmsync has made this database (schema \(version), known is \(migrations.count))",
                hint: "run the newer vmsync")
        }
        guard version < migrations.count else { return }
        for migration in migrations[version...] {
            for statement in dialect.schema(migration).split(separator: ";") where !statement.allSatisfy(\.isWhitespace)
            {
                try transaction.run(String(statement))
            }
        }
        try transaction.run("DELETE FROM schema_version")
        try transaction.run("INSERT INTO schema_version (version) VALUES (?)", [.integer(Int64(migrations.count))])
    }

    /// As SQLite has it.
    private static let first = """
        CREATE TABLE identity (number INTEGER PRIMARY KEY, keys BLOB NOT NULL) STRICT;
        CREATE TABLE server (id TEXT PRIMARY KEY, url TEXT NOT NULL, seen INTEGER NOT NULL) STRICT;
        CREATE TABLE account (id TEXT PRIMARY KEY, recovery TEXT NOT NULL UNIQUE, created INTEGER NOT NULL) STRICT;
        CREATE TABLE device (
            id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, account TEXT NOT NULL REFERENCES account(id),
            member INTEGER NOT NULL, profile BLOB, joined INTEGER NOT NULL, last_seen INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX device_account ON device (account);
        CREATE TABLE roster (
            account TEXT NOT NULL REFERENCES account(id), number INTEGER NOT NULL, entry BLOB NOT NULL,
            PRIMARY KEY (account, number)
        ) STRICT;
        CREATE TABLE key_grant (
            account TEXT NOT NULL REFERENCES account(id), subject TEXT NOT NULL, generation INTEGER NOT NULL,
            recipient TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (account, recipient, subject, generation)
        ) STRICT;
        CREATE TABLE application (
            device TEXT PRIMARY KEY, identity BLOB NOT NULL, ticket TEXT, proof BLOB, expires INTEGER NOT NULL,
            account TEXT REFERENCES account(id), welcome BLOB
        ) STRICT;
        CREATE TABLE presence (
            device TEXT NOT NULL REFERENCES device(id), server TEXT NOT NULL, seen INTEGER NOT NULL,
            PRIMARY KEY (device, server)
        ) STRICT;
        CREATE TABLE invitation (
            code TEXT PRIMARY KEY, account TEXT REFERENCES account(id), expires INTEGER NOT NULL, used_by TEXT
        ) STRICT;
        CREATE TABLE chunk (
            hash TEXT PRIMARY KEY, blob TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, created INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE vm (
            id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account(id), description BLOB NOT NULL,
            created INTEGER NOT NULL, revision INTEGER NOT NULL, epoch INTEGER NOT NULL,
            holder TEXT REFERENCES device(id), head INTEGER, switch TEXT, release BLOB, policy BLOB
        ) STRICT;
        CREATE INDEX vm_account ON vm (account);
        CREATE TABLE standing (
            vm TEXT NOT NULL REFERENCES vm(id) ON DELETE CASCADE, device TEXT NOT NULL REFERENCES device(id),
            held INTEGER NOT NULL, note BLOB, told INTEGER NOT NULL, PRIMARY KEY (vm, device)
        ) STRICT;
        CREATE TABLE vm_chunk (
            vm TEXT NOT NULL REFERENCES vm(id) ON DELETE CASCADE, hash TEXT NOT NULL REFERENCES chunk(hash),
            PRIMARY KEY (vm, hash)
        ) STRICT;
        CREATE INDEX vm_chunk_hash ON vm_chunk (hash);
        CREATE TABLE checkpoint (
            vm TEXT NOT NULL REFERENCES vm(id) ON DELETE CASCADE, sequence INTEGER NOT NULL,
            epoch INTEGER NOT NULL, device TEXT NOT NULL REFERENCES device(id), kind TEXT NOT NULL,
            parent INTEGER NOT NULL, basis INTEGER NOT NULL, size INTEGER NOT NULL, checksum TEXT NOT NULL,
            statement BLOB NOT NULL, created INTEGER NOT NULL, forgotten INTEGER NOT NULL, tag BLOB,
            thumbnail BLOB, PRIMARY KEY (vm, sequence)
        ) STRICT;
        CREATE TABLE pack (
            vm TEXT NOT NULL REFERENCES vm(id) ON DELETE CASCADE, first INTEGER NOT NULL, last INTEGER NOT NULL,
            size INTEGER NOT NULL, checksum TEXT NOT NULL, created INTEGER NOT NULL, link BLOB, blob TEXT UNIQUE,
            PRIMARY KEY (vm, last, first)
        ) STRICT;
        CREATE TABLE pack_chunk (
            vm TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, position INTEGER NOT NULL,
            hash TEXT NOT NULL REFERENCES chunk(hash), PRIMARY KEY (vm, last, first, position),
            FOREIGN KEY (vm, last, first) REFERENCES pack(vm, last, first) ON DELETE CASCADE
        ) STRICT;
        CREATE INDEX pack_chunk_hash ON pack_chunk (hash);
        CREATE TABLE share (
            id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account(id), vm TEXT NOT NULL, device TEXT NOT NULL,
            created INTEGER NOT NULL, start INTEGER NOT NULL, expires INTEGER NOT NULL, uses INTEGER, allow TEXT NOT NULL,
            tag TEXT NOT NULL, description BLOB NOT NULL, size INTEGER NOT NULL, checksum TEXT NOT NULL,
            used INTEGER NOT NULL, revoked INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX share_account ON share (account);
        CREATE TABLE share_chunk (
            share TEXT NOT NULL REFERENCES share(id) ON DELETE CASCADE, position INTEGER NOT NULL,
            hash TEXT NOT NULL REFERENCES chunk(hash), PRIMARY KEY (share, position)
        ) STRICT;
        CREATE INDEX share_chunk_hash ON share_chunk (hash);
        CREATE TABLE share_use (
            share TEXT NOT NULL REFERENCES share(id) ON DELETE CASCADE, device TEXT NOT NULL, opened INTEGER NOT NULL,
            PRIMARY KEY (share, device)
        ) STRICT;
        CREATE TABLE switch (
            id TEXT PRIMARY KEY, vm TEXT NOT NULL REFERENCES vm(id) ON DELETE CASCADE, record TEXT NOT NULL
        ) STRICT;
        CREATE TABLE garbage (
            blob TEXT PRIMARY KEY, marked INTEGER NOT NULL, doomed INTEGER NOT NULL
        ) STRICT
        """
}

extension SQLDialect {
    fileprivate var integer: String { self == .sqlite ? "INTEGER" : "BIGINT" }

    /// `text`, written for SQLite, in this dialect.
    fileprivate func schema(_ text: String) -> String {
        switch self {
        case .sqlite: text
        case .postgreSQL:
            text.replacingOccurrences(of: "INTEGER", with: integer).replacingOccurrences(of: "BLOB", with: "BYTEA")
                .replacingOccurrences(of: " STRICT", with: "")
        }
    }
}
