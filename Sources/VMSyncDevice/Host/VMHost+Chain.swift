import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncReplica
import VMSyncSecrets

/// What this device believes of the VM's history: what is signed by who may say it, and nothing that the server says.
/// (docs/protocol/trust.md, "The chain of checkpoints")
extension VMHost {
    private var chainPath: String { paths.state + "/chain.json" }

    func openChain() {
        chain =
            AtomicFile.readIfWhole(Chain.self, at: chainPath) { logger.warning("\($0.message)") } ?? Chain(vm: id)
        // The record came before it was known what this device has seen.
        headIsInDoubt = chain.memory != nil
    }

    /// What is believed, at its beginning: who follows it comes by all that this device knows.
    var beginningOfChain: Chain {
        var chain = chain
        chain.restart()
        return chain
    }

    private func saveChain() throws(VMSyncError) { try AtomicFile.write(chain, to: chainPath) }

    /// Takes over a belief that has moved on.
    func adopt(_ moved: Chain) throws(VMSyncError) {
        guard moved != chain else { return }
        chain = moved
        try saveChain()
    }

    /// Brings the chain to where the replica is: it is elsewhere after a replica began again, and after a crash between
    /// a commit and its note.
    func followStatements(to sequence: Sequence) async throws {
        guard chain.point?.sequence ?? .base != sequence else { return }
        try adopt(try await reader.following(chain, to: sequence))
    }

    /// Follows all that the server has, without the packs; part of the one task.
    func followToHead() async throws {
        try await refreshRecord()
        guard let head = record.head, chain.point?.sequence ?? .base < head.sequence else { return }
        try await followStatements(to: head.sequence)
    }

    /// - Throws: `corrupt` if this device may not run the VM, whatever the server says of the lease.
    func checkRight() async throws {
        // What the other device has signed was looked at when the VM came.
        if isHandedHere { return }
        if let replica { try await followStatements(to: replica.record.sequence) }
        guard !chain.hasReleased(record.epoch) else {
            throw VMSyncError(
                .wrongState, "this device has given \(name) back before it ran here", hint: "vmsync start \(name)")
        }
        if !mayRun { try await account.refresh() }
        guard mayRun else {
            let error = VMSyncError(
                .unauthorized, "the server gave \(name) to this device, but the one that had it last did not give it",
                hint: "if that device is lost: vmsync switch \(name) --force. What it hadn't saved stays there")
            forgery = error
            throw error
        }
        forgery = nil
    }

    var mayRun: Bool {
        chain.isAtMemory && !chain.hasReleased(record.epoch)
            && chain.mayFollow(me, under: record.epoch, isForced: isForced, after: release, account.roster)
    }

    /// Whether a person has said that this device takes the VM over, under the present epoch.
    var isForced: Bool { forcedEpoch == record.epoch || (tenure?.isForced ?? false) && tenure?.epoch == record.epoch }

    var release: Signed<Release>? { handoverWord ?? recordedRelease }

    var recordedRelease: Signed<Release>? { record.release.flatMap { try? Signed<Release>(bytes: $0) } }

    // MARK: What this device says

    /// A checkpoint as it leaves this device.
    struct Outgoing {
        let path: String
        let signed: Signed<Statement>
        let said: Statement
    }

    /// Encrypts the pack and signs what is to be said of it; the same again if nothing has changed since, because the
    /// server may have it already.
    func outgoing(_ sealed: SealedCheckpoint, then: AfterCommit) throws -> Outgoing {
        let (path, notePath) = (sealed.packPath + ".encrypted", Self.statementPath(sealed))
        let then = try said(then)
        let earlier = statement(of: sealed)
            .flatMap { signed in (try? signed.read()).map { (signed, $0) } }
            // A power loss may have left less of the pack than was said of it.
            .flatMap { PackCipher.size(of: path) == $0.1.size ? $0 : nil }
        if let (signed, said) = earlier, said.then == then, said.parent == chain.point, said.epoch == sealed.epoch {
            return Outgoing(path: path, signed: signed, said: said)
        }
        let written: PackCipher.Written
        let digest: Data
        if let said = earlier?.1 {
            written = PackCipher.Written(size: said.size, checksum: said.checksum)
            digest = said.digest
        } else {
            let key = try account.newestKey(of: .vm(id))
            written = try PackCipher.encrypt(sealed.packPath, into: path, key, .pack(id, sealed.sequence))
            digest = Data(key.digest(of: sealed.digest.description))
        }
        let isFree = chain.mayFollow(me, under: sealed.epoch, after: nil, account.roster)
        let said = Statement(
            vm: id, device: me, sequence: sealed.sequence, parent: chain.point, epoch: sealed.epoch,
            isForced: !isFree && isForced, release: isFree || isForced ? nil : release, isOff: sealed.kind == .off,
            size: written.size, checksum: written.checksum, digest: digest, then: then)
        let signed = try Signed(said, by: account.keys)
        try AtomicFile.write(bytes: Array(signed.bytes), to: notePath)
        return Outgoing(path: path, signed: signed, said: said)
    }

    private func said(_ then: AfterCommit) throws(VMSyncError) -> Statement.Then {
        switch then {
        case .keep: return .keep
        case .release: return .release
        case .move(let pending):
            guard let target = record.lastSwitch, target.id == pending else {
                throw VMSyncError(.wrongState, "switch \(pending) isn't the VM's last one")
            }
            return .move(to: target.to)
        }
    }

    /// The server has a checkpoint of this device's, and the next one follows what was said of it. That may be what an
    /// earlier attempt has said, whose answer was lost.
    func noteCommitted(_ head: CheckpointRecord, _ outgoing: Outgoing) async throws {
        let signed = try Signed<Statement>(bytes: head.statement)
        let said = try signed.read()
        guard said.device == me, said.sequence == outgoing.said.sequence, said.checksum == outgoing.said.checksum else {
            throw VMSyncError(
                .corrupt, "the server has kept something else than checkpoint \(outgoing.said.sequence)",
                hint: "the server may have been tampered with; what this device holds is kept")
        }
        try chainTakes(signed)
    }

    /// Follows what this device has said itself.
    func chainTakes(_ signed: Signed<Statement>) throws(VMSyncError) {
        try chain.take(signed, account.roster)
        try saveChain()
    }

    /// Whether the server's checkpoint `sequence` is the one that this device has sealed under that number.
    func isOurs(_ sealed: SealedCheckpoint) async throws -> Bool {
        let ours = statement(of: sealed)
        // By the time that it is looked at, it may be forgotten and pruned.
        if let ours, chain.point == ChainPoint(sequence: sealed.sequence, hash: ours.hash) { return true }
        let there = try await environment.client.checkpoints(of: id, after: sealed.sequence.previous, limit: 1).first
        guard let there, there.sequence == sealed.sequence else { return false }
        if let said = try? ours?.read(), there.isThat(of: me, at: sealed.sequence, said.checksum) { return true }
        // The very state, whoever has sent it, and under whichever epoch. (docs/protocol/direct.md)
        guard let said = try? Signed<Statement>(bytes: there.statement).read() else { return false }
        return account.hasKey(of: .vm(id), withDigest: said.digest, of: sealed.digest)
    }

    /// What was said of it last, perhaps to the server.
    func statement(of sealed: SealedCheckpoint) -> Signed<Statement>? {
        FileManager.default.contents(atPath: Self.statementPath(sealed)).flatMap { try? Signed<Statement>(bytes: $0) }
    }

    private static func statementPath(_ sealed: SealedCheckpoint) -> String { sealed.packPath + ".statement" }

    /// Notes that this device does not run the VM under the present epoch, whatever becomes of saying so to the server.
    /// - Returns: what it signs of it, if others need its word.
    func noteRelease() throws -> Data? {
        try noteRelease(of: record.epoch)
        guard let point = chain.point, chain.isNamed(me) else { return nil }
        return try Signed(Release(vm: id, device: me, after: point), by: account.keys).bytes
    }

    func noteRelease(of epoch: Epoch) throws(VMSyncError) {
        chain.noteRelease(of: epoch)
        try saveChain()
    }

    // MARK: Reasons

    func encrypted(_ reason: Reason, of pending: SwitchID) throws -> Data {
        Data(try account.encrypt(try JSONEncoder().encode(reason), .reason(pending.rawValue), of: .vm(id)))
    }

    var account: Account { environment.account }
    var me: DeviceID { environment.me.id }
}
