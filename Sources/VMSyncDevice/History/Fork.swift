import Foundation
import NIOPosix
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncReplica
import VMSyncSecrets

/// A pack from the base, in a file.
struct Keyframe: Sendable {
    let path: String
    let manifest: Manifest
    var encryptedPath: String { path + ".encrypted" }
}

extension MachineDefinition {
    /// The same, with another network address, and another generation, by which its guest knows that it isn't the only one.
    var another: MachineDefinition {
        var machine = self
        machine.macAddress = Daemon.randomMAC()
        machine.generationID = UUID().uuidString.lowercased()
        return machine
    }
}

/// A copy of one state of a VM, as the first checkpoint of another one. (docs/protocol/history.md, "Restore")
struct Fork: Sendable {
    /// Of the VM that it is made of.
    let reader: HistoryReader
    let target: Sequence
    let diskOnly: Bool
    /// For the packs; removed in the end.
    let folder: String
    /// Packs on this device that follow the target, in order.
    var later: [String] = []

    /// Fetches what makes the state, and writes it as a pack from the base.
    /// - Parameters:
    ///   - chain: what is believed of the origin, at its beginning.
    ///   - manifest: of the new checkpoint; what it is of is filled in.
    func writeKeyframe(
        as manifest: Manifest, after chain: Chain, progress: ProgressHandler
    ) async throws -> Keyframe {
        let outline = try await reader.outline()
        guard let route = outline.route(to: target, from: [.base]), !route.isEmpty || target == .base else {
            throw VMSyncError(.notFound, "the server has no way to checkpoint \(target)", hint: "vmsync check")
        }
        try await NIOThreadPool.singleton.runIfActive { [folder] in try AtomicFile.makeFolder(folder) }
        let total = outline.bytes(of: route)
        var (chain, done, packs) = (chain, UInt64(0), [String]())
        for id in route {
            progress(StepProgress(step: "fetching checkpoint \(target)", done: done, total: total))
            let believed = try await reader.believe(id, after: chain)
            chain = believed.chain
            let path = "\(folder)/\(id).pack"
            let fetched = try await reader.fetch(believed, to: path + ".encrypted")
            try await LongWork.pool.runIfActive { try fetched.decrypt(into: path) }
            packs.append(path)
            done += believed.reference.size
        }
        for (index, file) in later.enumerated() {
            // A copy: what it is made of goes in the end.
            let path = "\(folder)/later-\(index).pack"
            try await LongWork.pool.runIfActive { try FileManager.default.copyItem(atPath: file, toPath: path) }
            packs.append(path)
        }
        progress(StepProgress(step: "making one pack of \(packs.count)"))
        return try await LongWork.pool.runIfActive { [folder, diskOnly, packs] in
            try Self.merge(packs, in: folder, as: manifest, diskOnly: diskOnly)
        }
    }

    /// Makes one pack of those of a route from the base, and removes these. Blocking.
    static func merge(
        _ packs: [String], in folder: String, as manifest: Manifest, diskOnly: Bool
    ) throws(VMSyncError) -> Keyframe {
        let route = RouteMerge(pages: try PageFile(in: folder))
        for path in packs {
            try MappedFile.with(path) { pack throws(VMSyncError) in try route.append(pack, followsState: true) }
            AtomicFile.remove(path)
        }
        let path = folder + "/keyframe"
        let file = try PackFile(path: path)
        let workspace = PackWorkspace()
        workspace.level = { _ in level }
        let made = try route.writeKeyframe(as: manifest, diskOnly: diskOnly, workspace, into: file.write)
        return Keyframe(path: path, manifest: made)
    }

    /// zstd's level: all of a state goes over the link at once, while a person waits.
    private static let level: Int32 = 5
}
