import Logging
import NIOCore
import QMP
import Synchronization
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
    /// The state that a waiting QEMU has in part.
    let incoming = Mutex<IncomingState?>(nil)

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

    /// Presses the power button.
    package func pressPowerButton() async throws {
        try await during("pressing the power button") { _ = try await self.qmp.execute(QMPSystemPowerdown()) }
    }

    /// Pulls the guest's network cable, and puts it back: the guest asks for its address anew. A guest without a card, or that
    /// ends meanwhile, is none the worse for it.
    package func pullCable(for time: Duration) async {
        guard (try? await qmp.execute(QMPSetLink(QEMUArguments.network, up: false))) != nil else { return }
        try? await Task.sleep(for: time)
        await plugCable()
    }

    /// Puts the cable back, also when nobody waits for it any more.
    package func plugCable() async {
        await Task { _ = try? await qmp.execute(QMPSetLink(QEMUArguments.network, up: true)) }.value
    }

    /// Ends QEMU: first politely, then by signal; returns when the process is gone.
    package func end() async {
        _ = try? await qmp.execute(QMPQuit(), timeout: .seconds(2))
        await qmp.close()
        await receiver.close()
        await dropIncoming()
        await process.waitGone(killAfter: .seconds(5))
    }

    /// Lets go of QEMU, which runs on.
    package func release() async {
        await qmp.close()
        await receiver.close()
        await dropIncoming()
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
