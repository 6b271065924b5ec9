import Logging
import NIOCore
import NIOPosix
import QMP
import VMSyncCheckpoint
import VMSyncCore

/// One live QEMU. It is a process of its own that outlives this object and the daemon: `launch` starts one, `adopt`
/// finds one that an earlier daemon started.
package final class Machine: Sendable {
    /// Longer than any answer of a healthy QEMU; a busy host may take seconds where it ought to take milliseconds.
    static let answerLimit = Duration.seconds(30)

    package let process: QEMUProcess
    package let paths: MachinePaths
    package let qmp: QMPClient
    let receiver: DeviceStateReceiver
    let group: any EventLoopGroup

    init(
        process: QEMUProcess, paths: MachinePaths, qmp: QMPClient, receiver: DeviceStateReceiver,
        group: any EventLoopGroup
    ) {
        self.process = process
        self.paths = paths
        self.qmp = qmp
        self.receiver = receiver
        self.group = group
    }

    /// "7.2.22"
    package var version: String { qmp.version.description }

    package func runState() async throws -> QMPRunState {
        try await during("asking for the state") { try await self.qmp.execute(QMPQueryStatus()).status }
    }

    /// Pauses the guest. When it returns, no instruction runs and every disk request has been answered.
    package func pause() async throws {
        try await during("pausing the guest") { _ = try await self.qmp.execute(QMPStop(), timeout: Self.answerLimit) }
    }

    /// Makes a QEMU that was launched with the role `incoming` ready to take device state.
    func listenForDeviceState() async throws {
        _ = try await qmp.execute(QMPMigrateIncoming(uri: "unix:\(paths.stateIn)"))
    }

    /// Gives device state to a QEMU that was launched with the role `incoming`, whose RAM file is as it was when the
    /// state was saved. The guest is paused afterwards and has not run an instruction.
    package func loadDeviceState(_ state: [UInt8]) async throws {
        try await during("loading the device state") {
            let events = self.qmp.events()
            let channel = try await ClientBootstrap(group: self.group)
                .connect(unixDomainSocketPath: self.paths.stateIn).get()
            // A QEMU that refuses the state ends in the middle of it; its own words say more than the broken pipe.
            try? await channel.writeAndFlush(ByteBuffer(bytes: state))
            try? await channel.close()
            try await self.waitForMigration(events)
        }
    }

    /// Presses the power button.
    package func pressPowerButton() async throws {
        try await during("pressing the power button") { _ = try await self.qmp.execute(QMPSystemPowerdown()) }
    }

    /// Ends QEMU: first politely, then by signal; returns when the process is gone.
    package func end() async {
        _ = try? await qmp.execute(QMPQuit(), timeout: .seconds(2))
        await qmp.close()
        await receiver.close()
        await process.waitGone(killAfter: .seconds(5))
    }

    /// Lets go of QEMU, which runs on.
    package func release() async {
        await qmp.close()
        await receiver.close()
    }

    private func waitForMigration(_ events: AsyncStream<QMPEvent>) async throws {
        for await event in events {
            guard case .migration(let status) = event.kind, status.isFinal else { continue }
            guard status == .completed else {
                throw await migrationFailure()
            }
            return
        }
        try Task.checkCancellation()
        throw VMSyncError(.machine, "QEMU ended; its last words: \(QEMUProcess.lastWords(paths))")
    }

    /// Why the migration failed, by QEMU's answer or, if it ended over it, by its last words.
    func migrationFailure() async -> VMSyncError {
        if let answer = try? await qmp.execute(QMPQueryMigrate()) {
            return VMSyncError(.machine, "QEMU failed: \(answer.errorDescription ?? "no reason given")")
        }
        await process.waitGone(killAfter: .seconds(2))
        return VMSyncError(.machine, "QEMU ended; its last words: \(QEMUProcess.lastWords(paths))")
    }

    func during<Result: Sendable>(
        _ action: String, _ body: @Sendable @escaping () async throws -> Result
    ) async throws -> Result {
        do {
            return try await withDeadline(Self.answerLimit, action, body)
        } catch {
            throw translated(error, during: action)
        }
    }

    func translated(_ error: any Error, during action: String) -> VMSyncError {
        guard let error = error as? QMPError else { return VMSyncError(error, during: action) }
        let words = process.isAlive ? "\(error)" : "QEMU ended; its last words: \(QEMUProcess.lastWords(paths))"
        return VMSyncError(.machine, "\(action): \(words)", hint: "see \(paths.qemuLog)")
    }
}
