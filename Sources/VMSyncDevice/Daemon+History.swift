import Foundation
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
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

    /// The picture of the screen that goes with a checkpoint; `latest` is the newest that has one.
    func thumbnail(of host: VMHost, _ reference: String) async throws -> PictureMessage {
        let pictured = try await history(of: host).filter(\.hasThumbnail)
        guard let sequence = Self.find(reference, in: pictured) else {
            throw VMSyncError(
                .notFound, "\(host.name) has no checkpoint \"\(reference)\" with a picture",
                hint: "vmsync history \(host.name)")
        }
        let encrypted = try await client.thumbnail(of: sequence, of: host.id)
        let bytes = try account.decrypt(encrypted, .thumbnail(host.id, sequence), of: .vm(host.id))
        return PictureMessage(of: sequence, try Thumbnail.decode(bytes))
    }

    /// The checkpoint that a person means.
    func checkpoint(_ reference: String, of host: VMHost) async throws -> Sequence {
        guard let found = Self.find(reference, in: try await history(of: host)) else {
            throw VMSyncError(
                .notFound, "\(host.name) has no checkpoint \"\(reference)\"", hint: "vmsync history \(host.name)")
        }
        return found
    }

    /// By its tag, by number, or `latest`.
    private static func find(_ reference: String, in entries: [HistoryEntry]) -> Sequence? {
        if reference == "latest" { return entries.last?.sequence }
        let found = entries.last { $0.tag == reference } ?? entries.last { "\($0.sequence)" == reference }
        return found?.sequence
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
}
