import Foundation
import PostgreSQL
import Testing

@Suite("Transactions of a PostgreSQL pool") struct PostgreSQLPoolTests {
    /// A pool on a table of its own, `item (id bigint PRIMARY KEY, words text, raw bytea)`.
    private func withTable(threads: Int = 4, _ body: (PostgreSQLPool, String) async throws -> Void) async throws {
        let url = try #require(
            ProcessInfo.processInfo.environment["VMSYNC_TEST_POSTGRESQL"], "run it through scripts/with-servers.sh")
        let pool = PostgreSQLPool(url: url, threads: threads)
        let table = "item_\(UInt64.random(in: 0...UInt64.max))"
        _ = try await pool.transaction {
            try $0.run("CREATE TABLE \(table) (id bigint PRIMARY KEY, words text, raw bytea)")
        }
        try await body(pool, table)
        _ = try await pool.transaction { try $0.run("DROP TABLE \(table)") }
        try await pool.close()
    }

    @Test(
        "values come back as they went in",
        arguments: [
            ("", []), ("plain", [1]), ("'; DROP TABLE item; --", [0, 0]), ("\\x41", [0x5c, 0x78, 0x34, 0x31]),
            ("größer 😀", [1, 2, 0, 3, 4, 255]),
        ] as [(String, [UInt8])])
    func values(_ text: String, _ bytes: [UInt8]) async throws {
        try await withTable { pool, table in
            for number in [Int64.min, -1, 0, 9_007_199_254_740_993, .max] {
                _ = try await pool.transaction {
                    try $0.run(
                        "INSERT INTO \(table) VALUES ($1, $2, $3)", [.integer(number), .text(text), .bytes(bytes)])
                }
                let row = try await pool.transaction(readOnly: true) {
                    try $0.run("SELECT * FROM \(table) WHERE id = $1", [.integer(number)]).first
                }
                #expect(row?["id"] == .integer(number))
                #expect(row?["words"] == .text(text))
                #expect(row?["raw"] == .bytes(bytes))
                #expect(row?["nothing"] == nil)
            }
        }
    }

    @Test("NULL is NULL, and truth is a number") func nulls() async throws {
        try await withTable { pool, table in
            let row = try await pool.transaction {
                try $0.run("SELECT $1::text AS nothing, $2::bigint IS NULL AS truth, 7::int AS small", [.null, .null])
            }.first
            #expect(row?["nothing"] == .null && row?["truth"] == .integer(1) && row?["small"] == .integer(7))
        }
    }

    @Test("a text with a NUL is refused before it is cut") func nulInText() async throws {
        try await withTable { pool, table in
            let kind = await kind {
                _ = try await pool.transaction {
                    try $0.run("INSERT INTO \(table) VALUES (1, $1)", [.text("A\0B")])
                }
            }
            #expect(kind == .value)
            let count = try await pool.transaction { try $0.run("SELECT id FROM \(table)").count }
            #expect(count == 0)
        }
    }

    @Test("a transaction that throws leaves nothing, and its connection is good for the next") func rollback()
        async throws
    {
        struct Failure: Error {}
        try await withTable(threads: 1) { pool, table in
            await #expect(throws: Failure.self) {
                _ = try await pool.transaction { transaction in
                    try transaction.run("INSERT INTO \(table) VALUES (1)")
                    throw Failure()
                }
            }
            let twice = await kind {
                _ = try await pool.transaction { transaction in
                    try transaction.run("INSERT INTO \(table) VALUES (1)")
                    try transaction.run("INSERT INTO \(table) VALUES (1)")
                }
            }
            #expect(twice == .refused(state: "23505"))
            let count = try await pool.transaction { try $0.run("SELECT id FROM \(table)").count }
            #expect(count == 0)
        }
    }

    @Test("what reads only can't write") func readOnly() async throws {
        try await withTable { pool, table in
            let refused = await kind {
                _ = try await pool.transaction(readOnly: true) { try $0.run("INSERT INTO \(table) VALUES (1)") }
            }
            #expect(refused == .refused(state: "25006"))
        }
    }

    @Test("transactions that meet are run again until each has counted") func serializable() async throws {
        try await withTable(threads: 8) { pool, table in
            _ = try await pool.transaction { try $0.run("INSERT INTO \(table) VALUES (0)") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in Int64(1)...40 {
                    group.addTask {
                        // Reads all and writes one more: under weaker isolation some would be the same.
                        _ = try await pool.transaction { transaction in
                            let count = Int64(try transaction.run("SELECT id FROM \(table)").count)
                            try transaction.run(
                                "INSERT INTO \(table) VALUES ($1, $2)", [.integer(1000 + number), .text("\(count)")])
                        }
                    }
                }
                try await group.waitForAll()
            }
            let counts = try await pool.transaction {
                try $0.run("SELECT DISTINCT words FROM \(table) WHERE id > 1000").count
            }
            #expect(counts == 40)
        }
    }

    @Test("a database that doesn't answer is said to be lost") func lost() async throws {
        let pool = PostgreSQLPool(url: "postgresql://nobody@127.0.0.1:1/nothing", threads: 1)
        #expect(await kind { _ = try await pool.transaction { try $0.run("SELECT 1") } } == .lost)
        try await pool.close()
    }

    private func kind(_ body: () async throws -> Void) async -> PostgreSQLError.Kind? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? PostgreSQLError)?.kind
        }
    }
}
