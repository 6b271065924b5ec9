import QMP
import Testing

@Suite("Migration between two real QEMUs", .timeLimit(.minutes(1)))
struct QMPMigrationTests {
    @Test func capabilitiesAndParametersAreSet() async throws {
        try await QEMU.with { qemu in
            let client = try await qemu.connect()
            _ = try await client.execute(QMPMigrateSetCapabilities(["events": true, "xbzrle": true]))
            _ = try await client.execute(QMPMigrateSetCapabilities(["xbzrle": false]))
            let capabilities = try await client.execute(QMPQueryMigrateCapabilities())
            #expect(capabilities.filter(\.isOn).map(\.name) == ["events"])
            _ = try await client.execute(QMPMigrateSetParameters(maxBandwidth: 123 << 20, downtimeLimit: 77))
            _ = try await client.execute(QMPMigrateSetParameters(downtimeLimit: 78))
            let parameters = try await client.execute(QMPHumanMonitorCommand("info migrate_parameters"))
            #expect(parameters.contains("max-bandwidth: \(123 << 20) bytes/second"))
            #expect(parameters.contains("downtime-limit: 78 ms"))
            _ = try await client.execute(
                QMPMigrateSetParameters(xbzrleCacheSize: 32 << 20, multifdCompression: "zstd"))
            let compressing = try await client.execute(QMPHumanMonitorCommand("info migrate_parameters"))
            #expect(compressing.contains("xbzrle-cache-size: \(32 << 20) bytes"))
            #expect(compressing.contains("multifd-compression: zstd"))
        }
    }

    @Test func aGuestMovesAndEventsTellSo() async throws {
        try await QEMU.with { qemu in
            try await QEMU.with(QEMU.smallPC + ["-incoming", "defer"]) { target in
                let (source, destination) = (try await qemu.connect(), try await target.connect())
                let uri = "unix:\(target.directory)/state"
                for client in [source, destination] {
                    _ = try await client.execute(QMPMigrateSetCapabilities(["events": true]))
                }
                #expect(try await source.execute(QMPQueryMigrate()).status == nil)
                _ = try await source.execute(QMPContinue())
                _ = try await source.execute(QMPStop())
                let (left, arrived) = (source.events(), destination.events())
                _ = try await destination.execute(QMPMigrateIncoming(uri: uri))
                _ = try await source.execute(QMPMigrate(uri: uri))
                #expect(await left.migrationStatuses() == [.setup, .active, .completed])
                #expect(await arrived.migrationStatuses().last == .completed)
                let sent = try await source.execute(QMPQueryMigrate())
                #expect(sent.status == .completed && sent.errorDescription == nil)
                #expect(try #require(sent.ram).total > 32 << 20)
                #expect(try #require(sent.ram).transferred > 0)
                #expect(try #require(sent.ram).passes > 0)
                #expect(try #require(sent.totalTime) >= #require(sent.downtime))
                #expect(try await source.execute(QMPQueryStatus()).status == .postMigrate)
                _ = try await destination.execute(QMPContinue())
                #expect(try await destination.execute(QMPQueryStatus()).status == .running)
            }
        }
    }

    @Test func aMigrationToNowhereFailsWithAReason() async throws {
        try await QEMU.with { qemu in
            let client = try await qemu.connect()
            _ = try await client.execute(QMPMigrateSetCapabilities(["events": true]))
            let events = client.events()
            _ = try? await client.execute(QMPMigrate(uri: "unix:\(qemu.directory)/nobody"))
            #expect(await events.migrationStatuses().last == .failed)
            let outcome = try await client.execute(QMPQueryMigrate())
            #expect(outcome.status == .failed)
            #expect(try #require(outcome.errorDescription).contains("nobody"))
        }
    }
}

extension AsyncStream<QMPEvent> {
    /// The statuses that a migration goes through, up to its end.
    fileprivate func migrationStatuses() async -> [QMPMigrationStatus] {
        var statuses: [QMPMigrationStatus] = []
        for await event in self {
            guard case .migration(let status) = event.kind else { continue }
            statuses.append(status)
            if status.isFinal { break }
        }
        return statuses
    }
}
