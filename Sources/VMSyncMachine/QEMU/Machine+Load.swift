import NIOCore
import NIOPosix
import QMP
import VMSyncCheckpoint
import VMSyncCore

/// A connection to a waiting QEMU, over which a part of a device state has gone.
struct IncomingState {
    let channel: any Channel
    /// The screen that QEMU has.
    var screen: ScreenStream
}

/// Loading device state into a QEMU that was launched with the role `incoming`.
extension Machine {
    /// Makes such a QEMU ready to take device state.
    func listenForDeviceState() async throws {
        _ = try await qmp.execute(QMPMigrateIncoming(uri: "unix:\(paths.stateIn)"))
    }

    /// Gives QEMU the screen of `state`, an earlier one than it will run from, so that less is left for
    /// `loadDeviceState`: the screen is nearly all of a state. May be called again with later states. A QEMU that was
    /// begun with can't be left to another daemon: it ends when the connection does.
    package func preloadScreen(of state: [UInt8]) async throws {
        guard let screen = ScreenStream(state) else { return }
        try await during("loading the screen") {
            guard let begun = self.incoming.withLock({ $0 }) else {
                let channel = try await self.connectForDeviceState()
                self.incoming.withLock { $0 = IncomingState(channel: channel, screen: screen) }
                return try await channel.writeAndFlush(ByteBuffer(bytes: screen.opening))
            }
            // If not, it is noticed before the load.
            guard screen.continues(begun.screen) else { return }
            try await begun.channel.writeAndFlush(ByteBuffer(bytes: screen.changes(since: begun.screen)))
            self.incoming.withLock { $0?.screen = screen }
        }
    }

    /// Whether `state` can be loaded: false if the screen of a state has gone before that this one can't follow.
    package func canLoad(_ state: [UInt8]) -> Bool {
        guard let begun = incoming.withLock({ $0 }) else { return true }
        return ScreenStream(state)?.continues(begun.screen) ?? false
    }

    /// Gives device state to QEMU, whose RAM file is as it was when the state was saved. The guest is paused afterwards
    /// and has not run an instruction.
    package func loadDeviceState(_ state: [UInt8]) async throws {
        try await during("loading the device state") {
            let events = self.qmp.events()
            let (channel, rest) = try await self.restToLoad(of: state)
            // A QEMU that refuses the state ends in the middle of it; its own words say more than the broken pipe.
            try? await channel.writeAndFlush(ByteBuffer(bytes: rest))
            try? await channel.close()
            try await self.waitForMigration(events)
        }
    }

    private func restToLoad(of state: [UInt8]) async throws -> (any Channel, [UInt8]) {
        guard let begun = incoming.withLock({ $0.take() }) else { return (try await connectForDeviceState(), state) }
        guard let screen = ScreenStream(state), screen.continues(begun.screen) else {
            throw VMSyncError(.bug, "the device state doesn't follow the one that was begun with")
        }
        return (begun.channel, screen.changes(since: begun.screen) + screen.ending)
    }

    private func connectForDeviceState() async throws -> any Channel {
        try await ClientBootstrap(group: group).connect(unixDomainSocketPath: paths.stateIn).get()
    }

    func dropIncoming() async { try? await incoming.withLock { $0.take() }?.channel.close() }

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

}
