import Foundation
import NIOPosix
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncSecrets

/// Reads a VM's history from the server, and believes of it what is signed by who may say it.
/// (docs/protocol/trust.md, "The chain of checkpoints")
///
/// What was read is kept: of a checkpoint nothing ever changes but whether it is on the list. An actor, because the VM's host
/// and what works beside it read the same.
actor HistoryReader {
    private let vm: VMID
    private let client: SyncClient
    private let account: Account
    private var records: [Sequence: CheckpointRecord] = [:]
    private var spans: [PackID: SpanRecord] = [:]

    /// Checkpoints that are asked for at once when one is wanted: the next ones soon will be.
    private static let pageLength = SpanLadder.width
    /// Above so many statements the outline, in which there are links, is shorter than they are.
    private static let statementsMax = 3 * SpanLadder.width
    /// Checkpoints that are kept: some 2 MB.
    private static let kept = 2000

    init(vm: VMID, client: SyncClient, account: Account) {
        self.vm = vm
        self.client = client
        self.account = account
    }

    // MARK: What the server says

    /// - Throws: `notFound`.
    func record(_ sequence: Sequence) async throws -> CheckpointRecord {
        if let known = records[sequence] { return known }
        let page = try await records(after: sequence.previous)
        guard let found = page.first, found.sequence == sequence else {
            throw VMSyncError(.notFound, "the server has no checkpoint \(sequence) of this VM")
        }
        return found
    }

    /// What the server has told of a checkpoint by itself needn't be asked for.
    func learn(_ record: CheckpointRecord) { records[record.sequence] = record }

    /// Up to a hundred checkpoints after `sequence`, in order.
    func records(after sequence: Sequence) async throws -> [CheckpointRecord] {
        let page = try await client.checkpoints(of: vm, after: sequence, limit: Int(Self.pageLength))
        if records.count > Self.kept { records = [:] }
        for record in page { records[record.sequence] = record }
        return page
    }

    /// - Throws: `corrupt` if it contradicts itself.
    func outline() async throws -> HistoryOutline {
        let outline = try await client.history(of: vm)
        guard outline.isConsistent else {
            throw VMSyncError(
                .corrupt, "the server's history of this VM contradicts itself",
                hint: "the server may have been tampered with; what this device holds is kept")
        }
        return outline
    }

    private func span(_ id: PackID) async throws -> SpanRecord {
        if let known = spans[id] { return known }
        for span in try await client.spans(of: vm, after: id.last.previous) { spans[span.id] = span }
        guard let found = spans[id] else { throw VMSyncError(.notFound, "the server has no span \(id) of this VM") }
        return found
    }

    /// A span, with the link of a device that is a member now: whoever revokes one vouches for its spans instead.
    private func vouchedSpan(_ id: PackID) async throws -> SpanRecord {
        let known = try await span(id)
        if try account.roster.members[Signed<SpanLink>(bytes: known.link).read().device] != nil { return known }
        spans[id] = nil
        return try await span(id)
    }

    // MARK: What is believed of it

    /// A pack that may be fetched: what must come, and what it must make.
    struct BelievedPack: Sendable {
        let reference: PackReference
        let isSpan: Bool
        /// Of the checkpoint that it makes.
        let said: Statement
        /// The belief that stands at that checkpoint.
        let chain: Chain
    }

    /// Moves a belief on to the end of `pack`.
    /// - Parameter chain: at its beginning, or anywhere.
    /// - Throws: `corrupt` if something can't be believed, or the server says something else than the devices do.
    func believe(_ pack: PackID, after chain: Chain) async throws -> BelievedPack {
        let record = try await record(pack.last)
        let signed = try Signed<Statement>(bytes: record.statement)
        let said = try signed.read()
        let isSpan = record.basis != pack.first
        // After a restore the pack leads elsewhere than the chain does.
        let isStraight = isSpan ? chain.point?.sequence ?? .base == pack.first : said.parent == chain.point
        let moved =
            if isStraight {
                try await stepping(chain, isSpan ? .link(pack) : .statement(pack.last))
            } else {
                try await following(chain, to: pack.last)
            }
        guard moved.point == ChainPoint(sequence: pack.last, hash: signed.hash), said.sequence == record.sequence,
            said.basis ?? said.parent?.sequence ?? .base == record.basis, said.isOff == (record.kind == .off)
        else { throw Self.otherThanSaid(pack.last) }
        guard isSpan else {
            guard said.size == record.size, said.checksum == record.checksum else {
                throw Self.otherThanSaid(pack.last)
            }
            return BelievedPack(reference: record.pack, isSpan: false, said: said, chain: moved)
        }
        let (span, link) = try await linkedSpan(pack)
        guard link.last == moved.point else { throw Self.otherThanSaid(pack.last) }
        return BelievedPack(reference: span.pack, isSpan: true, said: said, chain: moved)
    }

    /// What a pack must be, by what a device has signed of it, wherever in the chain that stands.
    /// - Throws: `corrupt`.
    func reference(_ pack: PackID) async throws -> PackReference {
        let record = try await record(pack.last)
        guard record.basis == pack.first else { return try await linkedSpan(pack).span.pack }
        let signed = try Signed<Statement>(bytes: record.statement)
        let said = try signed.read()
        let roster = account.roster
        guard let signer = roster.members[said.device] ?? roster.revoked[said.device]?.identity,
            signed.isSigned(by: signer), said.vm == vm, said.sequence == pack.last, said.size == record.size,
            said.checksum == record.checksum
        else {
            throw Self.otherThanSaid(pack.last)
        }
        return record.pack
    }

    /// A span, and what a device of the account says of just these bytes.
    /// - Throws: `corrupt`.
    private func linkedSpan(_ id: PackID) async throws -> (span: SpanRecord, link: SpanLink) {
        let span = try await vouchedSpan(id)
        let signed = try Signed<SpanLink>(bytes: span.link)
        let said = try signed.read()
        guard let signer = account.roster.members[said.device], signed.isSigned(by: signer), said.vm == vm,
            said.first?.sequence ?? .base == id.first, said.last.sequence == id.last, said.size == span.size,
            said.checksum == span.checksum
        else { throw Self.otherThanSaid(id.last) }
        return (span, said)
    }

    private static func otherThanSaid(_ sequence: Sequence) -> VMSyncError {
        VMSyncError(
            .corrupt, "the server says of checkpoint \(sequence) what its device didn't",
            hint: "the server may have been tampered with; what this device holds is kept")
    }

    /// The belief at checkpoint `target`; from the beginning if no way leads there from `chain`.
    /// - Throws: `corrupt`.
    func following(_ chain: Chain, to target: Sequence) async throws -> Chain {
        var chain = chain
        if chain.point?.sequence ?? .base > target { chain.restart() }
        while chain.point?.sequence ?? .base < target {
            let here = chain.point?.sequence ?? .base
            // Few, and mostly all of them are there: no outline is needed.
            guard target.rawValue - here.rawValue <= Self.statementsMax,
                let next = try await nextStatement(after: here, upTo: target)
            else { return try await followingOutline(chain, to: target) }
            guard try next.read().parent == chain.point else { return try await followingOutline(chain, to: target) }
            chain = try await taking(chain) { chain, roster throws(VMSyncError) in try chain.take(next, roster) }
        }
        return chain
    }

    private func nextStatement(after here: Sequence, upTo target: Sequence) async throws -> Signed<Statement>? {
        var next = records[here.next]
        if next == nil { next = try await records(after: here).first }
        guard let next, next.sequence <= target else { return nil }
        return try Signed<Statement>(bytes: next.statement)
    }

    private func followingOutline(_ chain: Chain, to target: Sequence) async throws -> Chain {
        let outline = try await outline()
        var chain = chain
        var steps = outline.chainSteps(from: chain.point?.sequence ?? .base, to: target)
        if steps == nil {
            chain.restart()
            steps = outline.chainSteps(from: .base, to: target)
        }
        guard let steps else {
            throw VMSyncError(
                .corrupt, "the server's history doesn't contain checkpoint \(target), which this device holds",
                hint: "the server may have been tampered with; what this device holds is kept")
        }
        for step in steps { chain = try await stepping(chain, step) }
        return chain
    }

    private func stepping(_ chain: Chain, _ step: HistoryOutline.ChainStep) async throws -> Chain {
        let signed = try Signed<Statement>(bytes: try await record(step.last).statement)
        switch step {
        case .statement:
            return try await taking(chain) { chain, roster throws(VMSyncError) in try chain.take(signed, roster) }
        case .link(let id):
            let link = try Signed<SpanLink>(bytes: try await vouchedSpan(id).link)
            return try await taking(chain) { chain, roster throws(VMSyncError) in
                try chain.take(signed, by: link, roster)
            }
        }
    }

    /// Once more with a newer list of devices, if something can't be believed by the one that is known.
    private func taking(
        _ chain: Chain, _ take: (inout Chain, Roster) throws(VMSyncError) -> Void
    ) async throws -> Chain {
        var moved = chain
        do {
            try take(&moved, account.roster)
        } catch {
            moved = chain
            try await account.refresh()
            try take(&moved, account.roster)
        }
        return moved
    }

    /// Vouches for the spans that `device` has made, which is about to be revoked: its own word counts no more then.
    func vouch(forSpansOf device: DeviceID) async throws {
        for span in try await client.spans(of: vm) {
            let link = try Signed<SpanLink>(bytes: span.link)
            var said = try link.read()
            guard said.device == device, let member = account.roster.members[device] else { continue }
            guard link.isSigned(by: member), said.vm == vm, said.last.sequence == span.id.last,
                said.first?.sequence ?? .base == span.id.first
            else { throw Self.otherThanSaid(span.id.last) }
            said.device = account.keys.id
            try await client.setLink(try Signed(said, by: account.keys).bytes, of: span.id, of: vm)
        }
        spans = [:]
    }

    // MARK: Packs

    /// An encrypted pack in a file, and what opens it.
    struct FetchedPack: Sendable {
        let path: String
        let key: SubjectKey
        let purpose: StreamPurpose

        /// Decrypts it into the file `target`, and removes it. Blocking.
        func decrypt(into target: String) throws(VMSyncError) {
            defer { AtomicFile.remove(path) }
            try PackCipher.decrypt(path, into: target, key, purpose)
        }
    }

    /// Fetches a pack into the file `path`.
    /// - Throws: `unauthorized` if this device doesn't have the key.
    func fetch(_ pack: BelievedPack, to path: String) async throws -> FetchedPack {
        try await fetch(pack.reference, isSpan: pack.isSpan, to: path)
    }

    private func fetch(_ pack: PackReference, isSpan: Bool, to path: String) async throws -> FetchedPack {
        try await client.fetch(pack, of: vm, to: path)
        let subject = KeySubject.vm(vm)
        let id = pack.id
        let generation = try await NIOThreadPool.singleton.runIfActive { try PackCipher.generation(of: path) }
        if !account.hasKey(of: subject, generation) { try await account.refresh() }
        return FetchedPack(
            path: path, key: try account.key(of: subject, generation),
            purpose: isSpan ? .span(vm, id.first, id.last) : .pack(vm, id.last))
    }

    /// Fetches a pack as a check does: everything about it is looked at, and nothing stays.
    /// - Throws: `corrupt`, `notFound` if it is damaged, or gone.
    func tryOut(_ pack: OutlinePack, in folder: String) async throws {
        let path = "\(folder)/\(pack.id)"
        defer { AtomicFile.remove(path) }
        let fetched = try await fetch(try await reference(pack.id), isSpan: pack.isSpan, to: path + ".encrypted")
        try await LongWork.pool.runIfActive {
            try fetched.decrypt(into: path)
            try MappedFile.with(path) { bytes throws(VMSyncError) in _ = try PackReader(bytes) }
        }
    }
}
