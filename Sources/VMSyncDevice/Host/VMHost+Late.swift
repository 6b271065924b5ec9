import Foundation
import Logging
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncReplica

/// Coming back after the VM went on elsewhere: the guest stops, and what it did since is kept.
/// (docs/protocol/lost-devices.md, "It comes back")
extension VMHost {
    /// Another device is active though the VM runs here. Its late work must not be lost and must not go on.
    func stepDown() async throws {
        // Noted first: whoever finds the guest after a crash must not let it go on.
        try saveTenure(tenure?.diverged)
        try await machine?.pause()
        isDiverged = true
        logger.error("fenced: the VM is active elsewhere")
        try Fault.point("late-paused")
    }

    /// The damage of a replica whose late work is a fork; what is left to do is to tidy up.
    private static let wentOn = "the VM went on elsewhere without its last checkpoints"

    /// Makes a fork of what was done here too late, and lets this device follow again.
    ///
    /// Order: the last checkpoint is sealed → the fork has its note → the replica is marked → the outbox, QEMU and tenure go.
    /// Were the outbox emptied before the mark, a replica could pass for the server's checkpoint of the same number.
    func keepLateWork() async throws {
        guard let replica else { return }
        if replica.record.damage != Self.wentOn {
            while let oldest = waitingCheckpoints.first, try await isKnown(oldest) {
                replica.acknowledge(oldest.sequence)
            }
            let picture = drawScreen()
            let missing = await sealLast(replica)
            try Fault.point("late-sealed")
            if let late = try noteLateWork(missing: missing, await Self.bytes(of: picture)) {
                logger.error(
                    "what was done here since checkpoint \(late.parent) is kept as a fork",
                    metadata: ["fork": "\(late.id)"])
                await pin(late.parent)
            }
            try Fault.point("late-noted")
            try replica.markDamaged(Self.wentOn)
        }
        try Fault.point("late-marked")
        for checkpoint in waitingCheckpoints { replica.acknowledge(checkpoint.sequence) }
        await discardMachine()
        isDiverged = false
        noteForks()
        try saveTenure(nil)
    }

    private func isKnown(_ sealed: SealedCheckpoint) async throws -> Bool {
        sealed.sequence <= record.head?.sequence ?? .base ? try await isOurs(sealed) : false
    }

    /// Seals what the paused guest has done since its last checkpoint.
    /// - Returns: why it couldn't, if so.
    private func sealLast(_ replica: Replica) async -> String? {
        // Only waiting checkpoints are left of it, or nothing.
        guard let tenure else { return nil }
        guard replica.record.damage == nil else { return "QEMU had ended" }
        // Sealed before, and the guest has stood still since: by a departure, or by a daemon that was killed here.
        if tenure.departure?.sequence == replica.record.sequence { return nil }
        let isOff = guestShutDown || machineState == .shutDown
        do {
            let header = try header(isOff ? .off : .live)
            var noted = tenure
            noted.departure = Tenure.Departure(
                sequence: replica.record.sequence.next, then: .release, isOff: isOff)
            try saveTenure(noted)
            if isOff {
                _ = try replica.seal(try replica.captureDisks(), deviceState: [], header: header)
            } else if let machine {
                var live = try await replica.captureLive(
                    of: machine, tracker: tracker, trackerIsCurrent: trackerIsCurrent, thenResume: false,
                    mayRunAgain: false)
                _ = try await replica.sealLive(&live, of: machine, header: header, thenResume: false)
            } else {
                return "QEMU had ended"
            }
            return nil
        } catch {
            let known = VMSyncError(error)
            logger.error("the guest's last moments can't be kept: \(known.message)")
            return known.message
        }
    }

    /// The packs go into a folder of their own, whose note is what makes it a fork.
    /// - Returns: nil if there is nothing to keep.
    private func noteLateWork(missing: String?, _ picture: [UInt8]?) throws -> LateWork? {
        let waiting = waitingCheckpoints
        guard let first = waiting.first, let last = waiting.last else { return nil }
        let id = "\(first.epoch)-\(first.parent)"
        let folder = "\(paths.forks)/\(id)"
        try AtomicFile.makeFolder(folder)
        var packs: [String] = []
        for checkpoint in waiting {
            let name = "\(checkpoint.sequence).pack"
            // Linked, not moved: killed here, the next daemon begins again, and finds them where they were.
            AtomicFile.remove("\(folder)/\(name)")
            guard link(checkpoint.packPath, "\(folder)/\(name)") == 0 else {
                throw VMSyncError.system("link", path: "\(folder)/\(name)")
            }
            try AtomicFile.sync("\(folder)/\(name)")
            packs.append(name)
        }
        if let picture { try AtomicFile.write(bytes: picture, to: "\(folder)/\(LateWork.pictureName)", durable: true) }
        let late = LateWork(id: id, parent: first.parent, packs: packs, until: last.created, missing: missing)
        try AtomicFile.write(late, to: "\(folder)/\(LateWork.noteName)", durable: true)
        return late
    }

    /// The state that a fork begins at is not forgotten while the fork is kept.
    private func pin(_ parent: Sequence) async {
        guard parent > .base else { return }
        let tag = "late-work-of-\(environment.me.name)"
        do {
            // A name that a person gave it does as well.
            guard try await reader.outline().checkpoint(parent)?.tag == nil else { return }
            let encrypted = Data(try account.encrypt(Array(tag.utf8), .tag(id, parent), of: .vm(id)))
            try await environment.client.setTag(encrypted, of: parent, of: id)
        } catch {
            logger.warning("checkpoint \(parent), at which a fork begins, has no tag: \(VMSyncError(error).message)")
        }
    }

    private static func bytes(of picture: Task<Picture, any Error>?) async -> [UInt8]? {
        guard let drawn = try? await picture?.value else { return nil }
        return try? Thumbnail.encode(drawn)
    }

    // MARK: What a person sees

    /// Counts what is kept.
    func noteForks() { forks = LateWork.all(in: paths.forks).count }

    /// What is kept here, the oldest first.
    package var lateWork: [KeptFork] {
        LateWork.all(in: paths.forks).map { late in
            let picture = FileManager.default.contents(atPath: "\(paths.forks)/\(late.id)/\(LateWork.pictureName)")
                .flatMap { try? Thumbnail.decode(Array($0)) }
            return KeptFork(
                id: late.id, parent: late.parent, until: late.until, bytes: bytes(of: late), missing: late.missing,
                picture: picture.map { PictureMessage(of: late.parent, $0) })
        }
    }

    private func bytes(of late: LateWork) -> UInt64 {
        late.packs.reduce(0) { sum, name in
            let attributes = try? FileManager.default.attributesOfItem(atPath: "\(paths.forks)/\(late.id)/\(name)")
            return sum + (attributes?[.size] as? UInt64 ?? 0)
        }
    }

    /// - Throws: `notFound`.
    func late(_ id: String) throws(VMSyncError) -> LateWork {
        guard let late = LateWork.all(in: paths.forks).first(where: { $0.id == id }) else {
            throw VMSyncError(.notFound, "\(name) has no fork \"\(id)\" here", hint: "vmsync forks \(name)")
        }
        return late
    }

    package func dropLateWork(_ id: String) throws {
        AtomicFile.remove("\(paths.forks)/\(try late(id).id)")
        noteForks()
        publish()
    }
}
