import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

/// Asking for a switch and watching it to its end.
extension Daemon {
    /// How often the record is looked at when no event tells: a lost event must not hang a person's command.
    private static let look = Duration.milliseconds(20)
    private static let refresh = Duration.seconds(5)
    /// Longer than a switch of which nothing is heard may stay open on the server.
    private static let silenceMax = Duration.seconds(90)

    /// Moves the VM to `target` and returns when its guest runs there. If the task is cancelled before the VM has moved, it
    /// stays where it is.
    /// - Throws: `leaseHeld` if another switch runs; what source or target gave as reason.
    nonisolated func move(
        _ host: VMHost, to target: DeviceStatus, isCold: Bool = false, progress: @escaping ProgressHandler
    ) async throws -> SwitchRecord {
        if !isCold, let moved = try await moveDirectly(host, to: target.id, progress) { return moved }
        let requested = try await client.requestSwitch(host.id, to: target.id, isCold: isCold)
        do {
            return try await watch(requested, of: host, to: target, progress)
        } catch is CancellationError {
            let isOver = await cancel(requested, of: host)
            throw VMSyncError(
                .cancelled,
                isOver
                    ? "the switch to \(target.name) was interrupted; the VM stays where it is"
                    : "the switch to \(target.name) goes on by itself", hint: "vmsync status")
        }
    }

    /// Only source and target have a say in it, one of which mostly is the device that has asked for it, and only before
    /// the VM has moved: the server refuses it afterwards.
    /// - Returns: whether it came to nothing.
    private nonisolated func cancel(_ requested: SwitchRecord, of host: VMHost) async -> Bool {
        let me = environment.me
        guard requested.from == me.id || requested.to == me.id else { return false }
        // In a task of its own, because this one is cancelled.
        return await Task {
            let error = VMSyncError(.cancelled, "interrupted by the one who had asked for it", device: me.name)
            guard let reason = try? await host.encrypted(Reason(error), of: requested.id) else { return false }
            let answer: SwitchAnswer = requested.to == me.id ? .refuse(reason) : .fail(reason)
            return (try? await client.answer(answer, to: requested.id, of: host.id)) != nil
        }.value
    }

    private nonisolated func watch(
        _ requested: SwitchRecord, of host: VMHost, to target: DeviceStatus, _ progress: @escaping ProgressHandler
    ) async throws -> SwitchRecord {
        progress(StepProgress(step: "\(target.name) is getting ready"))
        var known = requested
        var deadline = ContinuousClock.now + Self.silenceMax
        var nextRefresh = ContinuousClock.now + Self.refresh
        while ContinuousClock.now < deadline {
            if ContinuousClock.now > nextRefresh {
                // That a switch has expired is noticed by the server only when somebody looks.
                nextRefresh += Self.refresh
                await host.deliver(try await client.vm(host.id))
            }
            if let current = host.status.lastSwitch, current.id == requested.id {
                if current != known {
                    known = current
                    deadline = .now + Self.silenceMax
                }
                switch current.state {
                case .requested: break
                case .ready:
                    progress(StepProgress(step: known.isCold ? "waiting for the guest to shut down" : "moving the VM"))
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
            .timeout, "nothing was heard of the switch to \(target.name) for \(Self.silenceMax)", hint: "vmsync status",
            device: target.name)
    }
}
