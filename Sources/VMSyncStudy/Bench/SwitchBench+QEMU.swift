import Foundation
import QMP
import VMSyncCore

/// QEMU's half: the same guest and film under QEMU alone, a source near and a target far.
extension SwitchBench {
    /// Where targets listen; nobody else is in their namespace.
    private static let port = 4444
    /// How often QEMU is asked how far it is. Its own times are exact.
    private static let look = Duration.milliseconds(50)

    func moveByQEMU(over link: ShapedLink) async throws -> [SwitchBenchReport.Migration] {
        guard !migrations.isEmpty else { return [] }
        // Short, because a unix socket's path has 107 bytes at most.
        let place = "\(folder)/vmsync-live-\(Identifier.random().prefix(8))".replacing("//", with: "/")
        try AtomicFile.makeFolder(place)
        let result: Result<[SwitchBenchReport.Migration], any Error>
        do {
            try await link.slowDown(toMegabits: megabits)
            result = .success(try await moveAll(try PlainGuest(guest.guest, folder: place), over: link))
        } catch {
            result = .failure(error)
        }
        AtomicFile.remove(place)
        return try result.get()
    }

    /// A source whose guest has stayed serves the next form too.
    private func moveAll(_ guest: PlainGuest, over link: ShapedLink) async throws -> [SwitchBenchReport.Migration] {
        var source: PlainQEMU?
        let result: Result<[SwitchBenchReport.Migration], any Error>
        do {
            var all: [SwitchBenchReport.Migration] = []
            for form in migrations {
                let current: PlainQEMU
                if let source { current = source } else { current = try await startSource(guest) }
                source = current
                let migration = try await move(current, guest, by: form, over: link)
                say("QEMU, \(form.rawValue): \(migration.text)")
                all.append(migration)
                if !migration.source_runs_on {
                    await current.end()
                    source = nil
                }
            }
            result = .success(all)
        } catch {
            result = .failure(error)
        }
        await source?.end()
        return try result.get()
    }

    private func startSource(_ guest: PlainGuest) async throws -> PlainQEMU {
        say("QEMU: booting the desktop")
        let source = try await PlainQEMU.start(guest, .boot)
        do {
            _ = try await source.qmp.execute(QMPContinue())
            try await Film.start(on: source.paths)
        } catch {
            await source.end()
            throw error
        }
        return source
    }

    private func move(
        _ source: PlainQEMU, _ guest: PlainGuest, by form: LiveMigration, over link: ShapedLink
    ) async throws -> SwitchBenchReport.Migration {
        guard try await Film.isPlaying(on: source.paths) else {
            throw VMSyncError(.machine, "the film stands still before QEMU's migration (\(form.rawValue))")
        }
        say("QEMU, \(form.rawValue): moving")
        let target = try await PlainQEMU.start(guest, .incoming, farSideOf: link)
        let result: Result<SwitchBenchReport.Migration, any Error>
        do { result = .success(try await move(source, to: target, by: form, over: link)) } catch {
            result = .failure(error)
        }
        await target.end()
        return try result.get()
    }

    private func move(
        _ source: PlainQEMU, to target: PlainQEMU, by form: LiveMigration, over link: ShapedLink
    ) async throws -> SwitchBenchReport.Migration {
        for side in [source, target] {
            _ = try await side.qmp.execute(form.capabilities)
            _ = try await side.qmp.execute(form.parameters)
        }
        let address = "tcp:\(link.farAddress):\(Self.port)"
        _ = try await target.qmp.execute(QMPMigrateIncoming(uri: address))
        // It runs as soon as it can.
        _ = try await target.qmp.execute(QMPContinue())
        let (before, start) = (try link.bytes(), ContinuousClock.now)
        _ = try await source.qmp.execute(QMPMigrate(uri: address))
        let end = try await watch(source, form, until: start + .seconds(migrationLimit))
        var migration = SwitchBenchReport.Migration(
            form: form, end: end.status == .completed ? .completed : .gaveUp,
            seconds: (ContinuousClock.now - start).seconds, link_bytes: try link.bytes() - before)
        guard end.status == .completed else {
            migration.source_runs_on = try await giveUp(source, end)
            return migration
        }
        if let total = end.totalTime { migration.seconds = Double(total) / 1000 }
        migration.downtime_ms = end.downtime.map { Double($0) }
        migration.stood_still_ms = try await stoodStill(source, target)
        migration.film_plays = try await Film.isPlaying(on: target.paths)
        return migration
    }

    /// Returns when the migration has ended or time is up.
    /// - Throws: `machine` if it failed.
    private func watch(
        _ source: PlainQEMU, _ form: LiveMigration, until deadline: ContinuousClock.Instant
    ) async throws -> QMPQueryMigrate.Response {
        var isPostcopy = form != .postcopy
        while true {
            let answer = try await source.qmp.execute(QMPQueryMigrate())
            guard answer.status != .failed else {
                throw VMSyncError(
                    .machine, "QEMU's migration (\(form.rawValue)) failed: \(answer.errorDescription ?? "no reason")")
            }
            // QEMU 7.2 says that it has ended a moment before it has counted how long it took.
            let isCounted = answer.status == .completed && answer.totalTime ?? 0 > 0
            if isCounted || ContinuousClock.now > deadline { return answer }
            if !isPostcopy, let passes = answer.ram?.passes, passes > 1 {
                _ = try await source.qmp.execute(QMPMigrateStartPostcopy())
                isPostcopy = true
            }
            try await Task.sleep(for: Self.look)
        }
    }

    /// Cancels it.
    /// - Returns: whether the guest runs on where it was: one that is half here and half there can't.
    private func giveUp(_ source: PlainQEMU, _ last: QMPQueryMigrate.Response) async throws -> Bool {
        guard last.status == .active else { return false }
        _ = try await source.qmp.execute(QMPMigrateCancel())
        _ = try await waitFor("QEMU to cancel the migration") {
            try await source.qmp.execute(QMPQueryMigrate()).status?.isFinal == true ? true : nil
        }
        return try await source.qmp.execute(QMPQueryStatus()).running
    }

    /// Between the guest's last instruction on the source and its first on the target, by the clock that both share.
    private func stoodStill(_ source: PlainQEMU, _ target: PlainQEMU) async throws -> Double {
        let resumed = try await waitFor("the guest to run on the target") { target.moments.resumed }
        guard let stopped = source.moments.stopped else {
            throw VMSyncError(.bug, "QEMU moved a guest without stopping it")
        }
        return resumed - stopped
    }
}
