import Logging
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncSecrets

/// Switches from device to device. (docs/protocol/direct.md)
extension Daemon {
    /// Tells the others what this device can do and where it listens, whenever that is news.
    func announceItself() async {
        var announced: DeviceProfile?
        while true {
            await profileChanged.wait(until: nil)
            guard !Task.isCancelled else { return }
            let profile = DeviceProfile(
                of: environment.me, capabilities: environment.capabilities,
                addresses: await environment.links.ownAddresses())
            // Each word costs all devices a list of all devices.
            guard profile != announced else { continue }
            announced = devices.first { $0.id == environment.me.id }.map { .read($0, account) }
            guard profile != announced else { continue }
            do {
                try await profile.publish(account, client)
                announced = profile
            } catch {
                // The VMs of this device run without the server, and the events tell when it is back.
                logger.warning("\(VMSyncError(error).message)")
            }
        }
    }

    /// Where the others listen, as they tell.
    func learnAddresses() async {
        let known = devices.filter { $0.id != environment.me.id }.map { record in
            (
                record.id,
                DeviceProfile.read(record, account).addresses?.prefix(DeviceProfile.addressesMax).map(\.self) ?? []
            )
        }
        await environment.links.learn(Dictionary(known) { first, _ in first })
    }

    /// Moves the VM without the server, where it runs here or is to run here and the other device answers.
    /// - Returns: nil if it doesn't, or can't take or give the VM this way.
    func moveDirectly(
        _ host: VMHost, to target: DeviceID, _ progress: @escaping ProgressHandler
    ) async throws -> SwitchRecord? {
        let me = environment.me.id
        guard let holder = host.status.holder, holder != target, holder == me || target == me else { return nil }
        let other = holder == me ? target : holder
        guard let (peer, standing) = await environment.links.peer(other, for: host.id),
            standing.obstacle == nil || holder != me
        else { return nil }
        progress(StepProgress(step: "moving the VM directly"))
        do {
            if holder == me { return try await give(host, to: peer) }
            return try await peer.client.askForHandover(of: host.id)
        } catch let error as VMSyncError {
            // Once it is given there is no other way; before that there is.
            let mayBeGiven = holder == me ? await host.isGivenAway : !Self.leavesItThere.contains(error.code)
            if mayBeGiven || error.code == .cancelled { throw error }
            logger.notice("not directly", metadata: ["because": "\(error.message)"])
            return nil
        }
    }

    /// What says that the VM runs where it ran.
    private static let leavesItThere: Set<VMSyncError.Code> = [
        .wrongState, .fenced, .notFound, .incompatible, .unauthorized, .outOfOrder, .noSpace,
    ]

    private func give(_ host: VMHost, to peer: DirectLinks.Peer) async throws -> SwitchRecord {
        let (id, created) = (SwitchID.random(), Timestamp.now)
        let steps = try await host.give(to: peer, as: id)
        return SwitchRecord(
            direct: id, vm: host.id, from: environment.me.id, to: peer.device, created: created, steps: steps)
    }

    /// The device `asker` wants the VM that runs here.
    func handOver(_ host: VMHost, to asker: DeviceID) async throws -> SwitchRecord {
        guard let (peer, _) = await environment.links.peer(asker, for: host.id) else {
            throw VMSyncError(
                .wrongState, "\(environment.me.name) doesn't reach the device that asks", device: environment.me.name)
        }
        return try await give(host, to: peer)
    }
}
