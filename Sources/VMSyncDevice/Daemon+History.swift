import Foundation
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncSecrets

/// A VM's history, as a person asks for it.
extension Daemon {
    // MARK: Looking

    /// The checkpoints that the VM can go back to, in order.
    func history(of host: VMHost) async throws -> [HistoryEntry] {
        let outline = try await host.reader.outline()
        let devices = deviceList
        return outline.listed.map { checkpoint in
            HistoryEntry(
                sequence: checkpoint.sequence, created: checkpoint.created,
                device: devices.first { $0.id == checkpoint.device }?.name ?? "\(checkpoint.device)",
                kind: checkpoint.kind, bytes: outline.pack(PackID(checkpoint.basis, checkpoint.sequence))?.size,
                hasThumbnail: checkpoint.hasThumbnail,
                tag: checkpoint.tag.flatMap { readTag($0, checkpoint.sequence, host.id) },
                cameFrom: checkpoint.basis == checkpoint.parent ? nil : checkpoint.basis,
                isHead: checkpoint == outline.head)
        }
    }

    private nonisolated func readTag(_ tag: Data, _ sequence: Sequence, _ vm: VMID) -> String? {
        guard let bytes = try? account.decrypt(tag, .tag(vm, sequence), of: .vm(vm)) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The picture of the screen that goes with a checkpoint.
    nonisolated func thumbnail(of host: VMHost, _ sequence: Sequence) async throws -> PictureMessage {
        let encrypted = try await client.thumbnail(of: sequence, of: host.id)
        let bytes = try account.decrypt(encrypted, .thumbnail(host.id, sequence), of: .vm(host.id))
        return PictureMessage(try Thumbnail.decode(bytes))
    }

    /// The checkpoint that a person means: by number, by its tag, or `latest`.
    func checkpoint(_ reference: String, of host: VMHost) async throws -> Sequence {
        let entries = try await history(of: host)
        let found =
            reference == "latest"
            ? entries.last : entries.last { $0.tag == reference } ?? entries.last { "\($0.sequence)" == reference }
        guard let found else {
            throw VMSyncError(
                .notFound, "\(host.name) has no checkpoint \"\(reference)\"", hint: "vmsync history \(host.name)")
        }
        return found.sequence
    }

    // MARK: Tags

    /// - Parameter tag: nil takes it off.
    func tag(_ reference: String, of host: VMHost, as tag: String?) async throws -> Sequence {
        let sequence = try await checkpoint(reference, of: host)
        let checked = try tag.map { tag throws(VMSyncError) in
            guard tag != "latest", !tag.allSatisfy(\.isNumber) else {
                throw VMSyncError(
                    .invalidInput, "\"\(tag)\" would be taken for another checkpoint",
                    hint: "a tag is no number, and not \"latest\"")
            }
            return try Name.checked(tag, of: "checkpoint")
        }
        let encrypted = try checked.map { tag throws(VMSyncError) in
            Data(try account.encrypt(Array(tag.utf8), .tag(host.id, sequence), of: .vm(host.id)))
        }
        try await client.setTag(encrypted, of: sequence, of: host.id)
        return sequence
    }

    // MARK: Forgetting

    func forget(_ order: ForgetOrder, of host: VMHost) async throws -> PruneReport {
        try order.rules.validate()
        let outline = try await host.reader.outline()
        // All times are the server's, whatever this device's clock says.
        let now = try await client.checkHealth()
        return try await client.forget(
            outline.forgotten(by: order.rules, at: now, .current), of: host.id, isTrial: order.isTrial)
    }

    // MARK: Forks

    /// Makes a VM of its own of one state of another.
    nonisolated func fork(
        _ host: VMHost, _ order: RestoreOrder, as name: String, progress: @escaping ProgressHandler
    ) async throws -> String {
        let name = try await newName(name)
        let fork = Fork(
            reader: host.reader, target: try await checkpoint(order.checkpoint, of: host),
            diskOnly: order.diskOnly, folder: "\(folders.forks)/\(Identifier.random())")
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
        // All that takes long comes before there is a VM.
        if written.size > UInt64(APILimits.wholePackBytesMax) {
            _ = try await client.sendChunks(.file(path: keyframe.encryptedPath), size: written.size)
        }
        _ = try await register(id, description, chunks: chunks)
        do {
            try await commitFirst(keyframe, written, key)
        } catch {
            // Without its state it would be a VM that boots from the base image.
            try? await client.deleteVM(id)
            throw error
        }
        await accept(try await client.vm(id))
    }

    /// Commits the first checkpoint of a VM that was never active, and leaves it free.
    private nonisolated func commitFirst(
        _ keyframe: Keyframe, _ written: PackCipher.Written, _ key: SubjectKey
    ) async throws {
        let (manifest, id) = (keyframe.manifest, keyframe.manifest.vm)
        let epoch = try await client.acquireLease(id)
        let said = Statement(
            vm: id, device: account.keys.id, sequence: manifest.sequence, parent: nil, epoch: epoch,
            isOff: manifest.kind == .off, size: written.size, checksum: written.checksum,
            digest: Data(key.digest(of: manifest.digest.combined.description)), then: .release)
        let offer = try CommitOffer(try Signed(said, by: account.keys), then: .release)
        do {
            _ = try await client.commit(offer, to: id, pack: .file(path: keyframe.encryptedPath))
        } catch {
            try? await client.releaseLease(id, epoch: epoch)
            throw error
        }
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
