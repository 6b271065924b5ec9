import Foundation
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncSecrets

/// VMs that are made of a state of another. (docs/protocol/history.md, "Restore")
extension Daemon {
    /// Makes a VM of its own of one state of another.
    nonisolated func fork(
        _ host: VMHost, _ order: RestoreOrder, as name: String, progress: @escaping ProgressHandler
    ) async throws -> String {
        let fork = Fork(
            reader: host.reader, target: try await checkpoint(order.checkpoint, of: host),
            diskOnly: order.diskOnly, folder: "\(folders.forks)/\(Identifier.random())")
        return try await make(fork, of: host, as: name, progress: progress)
    }

    /// Makes a VM of its own of what was done here too late. It stays here until that VM has it.
    nonisolated func keepFork(
        _ order: ForkOrder, of host: VMHost, progress: @escaping ProgressHandler
    ) async throws -> String {
        let late = try await host.late(order.id)
        var fork = Fork(
            reader: host.reader, target: late.parent, diskOnly: false,
            folder: "\(folders.forks)/\(Identifier.random())")
        fork.later = late.packs.map { "\(host.paths.forks)/\(late.id)/\($0)" }
        let name = order.name ?? "\(host.name)-\(late.id)"
        let made = try await make(fork, of: host, as: name, progress: progress)
        try await host.dropLateWork(late.id)
        return made
    }

    private nonisolated func make(
        _ fork: Fork, of host: VMHost, as name: String, progress: @escaping ProgressHandler
    ) async throws -> String {
        let name = try await newName(name)
        defer { AtomicFile.remove(fork.folder) }
        var description = host.description
        (description.name, description.machine) = (name, description.machine.another)
        let manifest = Manifest.first(of: .random(), by: account.keys.id, description.machine)
        let keyframe = try await fork.writeKeyframe(
            as: manifest, after: await host.beginningOfChain, progress: progress)
        progress(StepProgress(step: "sending it as \(name)"))
        try await establish(description, keyframe, chunks: try await client.chunks(of: host.id))
        return name
    }

    /// Makes a VM whose first checkpoint is `keyframe`. Broken off, there is none.
    nonisolated func establish(
        _ description: VMDescription, _ keyframe: Keyframe, chunks: [ContentHash]
    ) async throws {
        let id = keyframe.manifest.vm
        try await account.makeKey(of: .vm(id))
        let key = try account.newestKey(of: .vm(id))
        let written = try await LongWork.pool.runIfActive {
            try PackCipher.encrypt(
                keyframe.path, into: keyframe.encryptedPath, key, .pack(id, keyframe.manifest.sequence))
        }
        try Fault.point("fork-merged")
        // All that takes long comes before there is a VM.
        if written.size > UInt64(APILimits.wholePackBytesMax) {
            _ = try await client.sendChunks(.file(path: keyframe.encryptedPath), size: written.size)
        }
        try await noteUnborn(id)
        do {
            _ = try await register(id, description, chunks: chunks)
            try Fault.point("fork-registered")
            try await commitFirst(keyframe, written, key)
        } catch {
            // Also for somebody who doesn't wait any more.
            await Task { await self.abandon(id) }.value
            throw error
        }
        await noteBorn(id)
        await accept(try await client.vm(id))
    }

    /// Commits the first checkpoint of a VM that was never active, and leaves it free.
    private nonisolated func commitFirst(
        _ keyframe: Keyframe, _ written: PackCipher.Written, _ key: SubjectKey
    ) async throws {
        let (manifest, id) = (keyframe.manifest, keyframe.manifest.vm)
        let epoch = try await client.acquireLease(id)
        try Fault.point("fork-leased")
        let said = Statement(
            vm: id, device: account.keys.id, sequence: manifest.sequence, parent: nil, epoch: epoch,
            isOff: manifest.kind == .off, size: written.size, checksum: written.checksum,
            digest: Data(key.digest(of: manifest.digest.combined.description)), then: .release)
        let offer = try CommitOffer(try Signed(said, by: account.keys), then: .release)
        _ = try await client.commit(offer, to: id, pack: .file(path: keyframe.encryptedPath))
    }

    /// Removes a VM that was to get a state and didn't: without it, it would be one that boots from the base image. One that
    /// got it after all stays.
    /// - Throws: `wrongState` if another device has started it meanwhile.
    nonisolated func remove(unborn id: VMID) async throws {
        do {
            let record = try await client.vm(id)
            if record.head == nil {
                if record.holder == account.keys.id { try await client.releaseLease(id, epoch: record.epoch) }
                try await client.deleteVM(id)
            }
        } catch let error as VMSyncError where error.code == .notFound {
            // It never came to be.
        }
        await noteBorn(id)
    }
}

extension Manifest {
    /// Of the first checkpoint of a fork; kind, digest and device state come from what it is a fork of.
    static func first(of vm: VMID, by device: DeviceID, _ machine: MachineDefinition) -> Manifest {
        let base = StateDigest.base(disks: machine.disks.count)
        return Manifest(
            vm: vm, sequence: Sequence.base.next, parent: .base, epoch: Epoch(rawValue: 1), device: device,
            created: Date().timeIntervalSince1970, kind: .off, definition: machine, qemu: "",
            parentDigest: base.combined, digest: base, deviceStateBytes: 0)
    }
}
