import Foundation
import GRDB
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStudy

extension EndToEnd {
    /// A server that lies: its database and blobs are changed while it is down, in ways that it would never do itself.
    @Suite(.timeLimit(.minutes(10))) struct HostileServerTests {
        @Test func anOldHeadIsFoundOutByAllDevices() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                let (folder, old) = (trial.serverFolder, trial.folder + "/old")
                await trial.endServer()
                try FileManager.default.copyItem(atPath: folder, toPath: old)
                try await trial.startServer()
                try await Self.grow(trial, by: 3)
                await trial.endServer()
                try FileManager.default.moveItem(atPath: folder, toPath: trial.folder + "/new")
                try FileManager.default.moveItem(atPath: old, toPath: folder)
                try await trial.startServer()
                for device in ["A", "B"] {
                    let problem = try await Self.problem(of: device, trial)
                    #expect(
                        problem.code == .corrupt && problem.message.contains("shows checkpoint"),
                        "\(device): \(problem)")
                }
                // The guest runs on meanwhile, and all is well when the server is what it was.
                try await stage.waitForGuest(counts: 3)
                await trial.endServer()
                try FileManager.default.removeItem(atPath: folder)
                try FileManager.default.moveItem(atPath: trial.folder + "/new", toPath: folder)
                try await trial.startServer()
                try await Self.grow(trial, by: 2)
                #expect(try await stage.losses() == [])
            }
        }

        /// What is done to the history while B is away, and what B then says.
        static let lies: [(lie: String, sql: [String])] = [
            (
                "a pack is left out",
                ["DELETE FROM checkpoint WHERE sequence = (SELECT max(sequence) - 2 FROM checkpoint)"]
            ),
            (
                "two packs are swapped, with their sums",
                [
                    """
                    CREATE TEMP TABLE swap AS SELECT last, size, checksum, blob FROM pack
                    WHERE last >= (SELECT max(last) - 3 FROM pack) AND last < (SELECT max(last) - 1 FROM pack)
                    """,
                    "UPDATE pack SET blob = NULL WHERE last IN (SELECT last FROM swap)",
                    """
                    UPDATE pack SET (size, checksum, blob) = (
                        SELECT size, checksum, blob FROM swap WHERE swap.last != pack.last)
                    WHERE last IN (SELECT last FROM swap)
                    """,
                    """
                    UPDATE checkpoint SET (size, checksum) = (
                        SELECT size, checksum FROM pack WHERE pack.last = checkpoint.sequence)
                    WHERE sequence IN (SELECT last FROM swap)
                    """,
                ]
            ),
            (
                "a statement stands at two places",
                [
                    """
                    UPDATE checkpoint SET statement = (
                        SELECT statement FROM checkpoint WHERE sequence = (SELECT max(sequence) - 3 FROM checkpoint))
                    WHERE sequence = (SELECT max(sequence) - 2 FROM checkpoint)
                    """
                ]
            ),
            (
                "a statement is changed",
                [
                    """
                    UPDATE checkpoint SET statement = CAST(
                        substr(statement, 1, 90)
                        || CASE substr(statement, 91, 1) WHEN x'30' THEN x'31' ELSE x'30' END
                        || substr(statement, 92) AS BLOB)
                    WHERE sequence = (SELECT max(sequence) - 2 FROM checkpoint)
                    """
                ]
            ),
            ("a checkpoint has no statement", ["UPDATE checkpoint SET statement = x''"]),
        ]

        @Test(arguments: lies.map(\.lie)) func aHistoryThatWasChangedIsNotFollowed(_ lie: String) async throws {
            let sql = try #require(Self.lies.first { $0.lie == lie }).sql
            try await World.withGuest { stage in
                let trial = stage.trial
                await trial.endDaemon("B", SIGTERM)
                try await Self.grow(trial, by: 5)
                await trial.endDaemon("A", SIGTERM)
                try await Self.change(trial, sql)
                try await trial.startDaemon("B", interval: 0.5)
                let problem = try await Self.problem(of: "B", trial)
                #expect(problem.code == .corrupt, "\(problem)")
                let after = try #require(try await trial.vm("B"))
                #expect(after.machine?.state != "running")
                #expect(after.sequence < after.head)
            }
        }

        @Test func aBlobThatWasChangedIsFoundOut() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                await trial.endDaemon("B", SIGTERM)
                try await Self.grow(trial, by: 4)
                await trial.endDaemon("A", SIGTERM)
                await trial.endServer()
                let blob = try await Self.read(trial) { database in
                    try String.fetchAll(
                        database,
                        sql: "SELECT blob FROM pack WHERE blob IS NOT NULL ORDER BY last DESC LIMIT 3"
                    )[1]
                }
                let path = "\(trial.serverFolder)/blobs/\(blob.prefix(2))/\(blob)"
                var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
                bytes[bytes.count / 2] ^= 1
                try bytes.write(to: URL(fileURLWithPath: path))
                try await trial.startServer()
                try await trial.startDaemon("B", interval: 0.5)
                #expect(try await Self.problem(of: "B", trial).code == .corrupt)
            }
        }

        /// Ways to give B the VM that A has.
        static let forgeries: [(forgery: String, sql: [String])] = [
            ("only the lease", []),
            (
                "as a switch leaves it",
                [
                    """
                    INSERT INTO switch (id, vm, record) SELECT '00000000000000000000', vm.id, json_object(
                        'id', '00000000000000000000', 'vm', vm.id, 'to', vm.holder, 'state', 'moved', 'steps', json_object(),
                        'from', (SELECT id FROM device WHERE id != vm.holder LIMIT 1),
                        'cold', json('false'), 'created', (SELECT max(created) FROM checkpoint),
                        'touched', (SELECT max(created) FROM checkpoint)) FROM vm
                    """, "UPDATE vm SET switch = '00000000000000000000'",
                ]
            ),
        ]

        @Test(arguments: forgeries.map(\.forgery)) func aForgedLeaseStartsNothing(_ forgery: String) async throws {
            let sql = try #require(Self.forgeries.first { $0.forgery == forgery }).sql
            try await World.withGuest { stage in
                let trial = stage.trial
                try await Self.change(
                    trial,
                    [
                        "UPDATE vm SET epoch = epoch + 1, revision = revision + 1, "
                            + "holder = (SELECT id FROM device WHERE id != holder LIMIT 1)"
                    ] + sql)
                // A is told that it is active elsewhere; it stops, and says so. Nowhere does it run twice.
                let stopped = try await waitFor("A to say so") { () -> VMStatus? in
                    let vm = try await trial.vm("A")
                    return vm?.state == .diverged ? vm : nil
                }
                #expect(stopped.problem?.code == .fenced)
                // B doesn't start it by itself, and not for a person who doesn't know what has happened.
                let refused = await failure { try await trial.tell("B", "start", StartRequest(force: false)) }
                #expect(refused?.code == .unauthorized && refused?.hint?.contains("--force") == true)
                let problem = try await Self.problem(of: "B", trial)
                #expect(problem.code == .unauthorized && problem.message.contains("did not give"), "\(problem)")
                #expect(try #require(try await trial.vm("B")).machine?.state != "running")
            }
        }

        // MARK: Parts of the above

        /// Waits until the server has `count` more checkpoints.
        private static func grow(_ trial: Trial, by count: UInt64) async throws {
            let head = try #require(try await trial.vm("A")).head
            _ = try await waitFor("\(count) more checkpoints") {
                let now = try await trial.vm("A")
                return now?.head.rawValue ?? 0 >= head.rawValue + count ? true : nil
            }
        }

        private static func problem(of device: String, _ trial: Trial) async throws -> VMSyncError {
            try await waitFor("\(device) to say what is wrong") {
                guard let problem = try await trial.vm(device)?.problem, problem.code != .unavailable else {
                    return nil
                }
                return problem.error
            }
        }

        /// Changes the database of the server, which is stopped meanwhile.
        private static func change(_ trial: Trial, _ statements: [String]) async throws {
            await trial.endServer()
            try await DatabaseQueue(path: trial.serverFolder + "/server.sqlite").write { database in
                for sql in statements { try database.execute(sql: sql) }
            }
            try await trial.startServer()
        }

        private static func read<Answer: Sendable>(
            _ trial: Trial, _ body: @escaping @Sendable (Database) throws -> Answer
        ) async throws -> Answer {
            try await DatabaseQueue(path: trial.serverFolder + "/server.sqlite").read(body)
        }
    }
}
