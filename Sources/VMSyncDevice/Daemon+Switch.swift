import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

/// Asking for a switch and watching it to its end.
extension Daemon {
    /// How often the record is looked at when no event tells: a lost event must not hang a person's command.
    private static let look = Duration.milliseconds(20)
    private static let refresh = Duration.seconds(5)
    /// Longer than a switch may stay open on the server.
    private static let limit = Duration.seconds(90)

    /// Moves the VM to `target` and returns when its guest runs there.
    /// - Throws: `leaseHeld` if another switch runs; what source or target gave as reason.
    nonisolated func move(
        _ host: VMHost, to target: DeviceStatus, progress: @escaping ProgressHandler
    ) async throws -> SwitchRecord {
        let requested = try await client.requestSwitch(host.id, to: target.id)
        progress(StepProgress(step: "\(target.name) is getting ready"))
        let deadline = ContinuousClock.now + Self.limit
        var nextRefresh = ContinuousClock.now + Self.refresh
        while ContinuousClock.now < deadline {
            if ContinuousClock.now > nextRefresh {
                // That a switch has expired is noticed by the server only when somebody looks.
                nextRefresh += Self.refresh
                await host.deliver(try await client.vm(host.id))
            }
            if let current = host.status.lastSwitch, current.id == requested.id {
                switch current.state {
                case .requested: break
                case .ready: progress(StepProgress(step: "moving the VM"))
                case .moved: progress(StepProgress(step: "starting it on \(target.name)"))
                case .done: return current
                case .refused, .failed, .expired:
                    throw host.status.switchReason?.error
                        ?? VMSyncError(.timeout, "the switch to \(target.name) is \(current.state.rawValue)")
                }
            }
            try await Task.sleep(for: Self.look)
        }
        throw VMSyncError(
            .timeout, "the switch to \(target.name) has not ended after \(Self.limit)", hint: "vmsync status",
            device: target.name)
    }
}
