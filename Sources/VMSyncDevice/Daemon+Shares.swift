import Foundation
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncSecrets

/// States that are given away for a while. (docs/protocol/links.md)
extension Daemon {
    /// Sends a state for whoever has the link.
    nonisolated func share(
        _ host: VMHost, _ order: ShareOrder, progress: @escaping ProgressHandler
    ) async throws -> Shared {
        let now = try await client.checkHealth()
        guard order.lifetime <= ShareRecord.lifetimeMax.seconds, order.start ?? 0 <= ShareRecord.lifetimeMax.seconds
        else {
            throw VMSyncError(.invalidInput, "a share begins within 30 days, and lasts 30 days at most")
        }
        let start = order.start.map { now + .milliseconds(Int64($0 * 1000)) } ?? now
        let terms = ShareTerms(
            id: .random(), start: start.wholeSeconds,
            expires: (start + .milliseconds(Int64(order.lifetime * 1000))).wholeSeconds, uses: order.uses,
            allow: order.diskOnly ? .disk : .run)
        // What can't be is known before anything is sent.
        try ShareRecord(share: terms, vm: host.id, device: account.keys.id, created: now).validate()
        let fork = Fork(
            reader: host.reader, target: try await checkpoint(order.checkpoint, of: host),
            diskOnly: order.diskOnly, folder: "\(folders.forks)/\(terms.id)")
        defer { AtomicFile.remove(fork.folder) }
        // Of no VM that there is: who gets it learns nothing of this one.
        let keyframe = try await fork.writeKeyframe(
            as: .first(of: .random(), by: account.keys.id, host.description.machine),
            after: await host.beginningOfChain, progress: progress)
        let link = ShareLink(
            server: try ServerAddress("\(client.url)/#\(environment.me.serverID)"), terms: terms, key: .random())
        let written = try await LongWork.pool.runIfActive {
            try PackCipher.encrypt(
                keyframe.path, into: keyframe.encryptedPath, link.key.subjectKey, .sharedPack(terms.id.rawValue))
        }
        progress(StepProgress(step: "sending \(ByteCount(written.size))"))
        let chunks = try await client.sendChunks(.file(path: keyframe.encryptedPath), size: written.size)
        let description = try Array(JSONEncoder().encode(host.description)).withRawBytes {
            bytes throws(VMSyncError) in
            try StreamEncryptor.encrypt(
                bytes, with: link.key.subjectKey, .sharedDescription(terms.id.rawValue),
                salt: StreamEncryptor.randomSalt())
        }
        let request = ShareRequest(
            share: terms, tag: link.tag, description: Data(description), size: written.size,
            checksum: written.checksum, chunks: chunks, images: try await client.chunks(of: host.id))
        let record = try await client.share(host.id, request)
        return Shared(url: link.url, checkpoint: fork.target, bytes: written.size, share: record)
    }

    /// What the account has shared, with the names that its VMs have now.
    func shares() async throws -> [ShareStatus] {
        let names = hosts.mapValues(\.name)
        return try await client.shares().map { ShareStatus(name: names[$0.vm] ?? "\($0.vm)", share: $0) }
    }

    /// Makes a VM of what somebody has shared.
    /// - Returns: its name.
    nonisolated func open(_ order: OpenOrder, progress: @escaping ProgressHandler) async throws -> String {
        let link = try ShareLink(order.url)
        guard link.server.id == environment.me.serverID else {
            throw VMSyncError(
                .unauthorized, "the link is of another server than this device has joined: \(link.server.url)",
                hint: "open it on a device that has joined that one")
        }
        let state = try await client.open(link.terms, tag: link.tag)
        let id = link.terms.id.rawValue
        let json = try Array(state.description).withRawBytes { bytes throws(VMSyncError) in
            try StreamDecryptor.open(bytes, with: link.key.subjectKey, .sharedDescription(id))
        }
        var description = try VMDescription(Data(json))
        if let obstacle = environment.capabilities.reasonAgainst(description.machine, savedBy: nil) { throw obstacle }
        description.name = try await freeName(order.name, like: description.name)
        description.machine = description.machine.another
        let folder = "\(folders.forks)/\(Identifier.random())"
        defer { AtomicFile.remove(folder) }
        try await LongWork.pool.runIfActive { try AtomicFile.makeFolder(folder) }
        try await client.fetch(state, to: folder + "/encrypted") { done in
            progress(StepProgress(step: "fetching \(description.name)", done: done, total: state.size))
        }
        let manifest = Manifest.first(of: .random(), by: account.keys.id, description.machine)
        let keyframe = try await LongWork.pool.runIfActive {
            try PackCipher.decrypt(
                folder + "/encrypted", into: folder + "/shared", link.key.subjectKey, .sharedPack(id))
            return try Fork.merge([folder + "/shared"], in: folder, as: manifest, diskOnly: false)
        }
        progress(StepProgress(step: "making \(description.name)"))
        try await establish(description, keyframe, chunks: state.images)
        return description.name
    }

    /// - Parameter wanted: what the person calls it; otherwise the first name that is free.
    private nonisolated func freeName(_ wanted: String?, like name: String) async throws -> String {
        if let wanted { return try await newName(wanted) }
        var (candidate, number) = (name, 1)
        while await isTaken(candidate) {
            number += 1
            candidate = "\(name)-\(number)"
        }
        return try Name.checked(candidate, of: "VM")
    }
}

extension Timestamp {
    fileprivate var wholeSeconds: Timestamp { Timestamp(rawValue: rawValue / 1000 * 1000) }
}
