import Foundation
import NIOCore
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStore

extension SyncService {
    // MARK: Chunks

    func missing(_ request: HashList) async throws -> HashList {
        guard request.hashes.count <= APILimits.missingHashesMax else {
            throw VMSyncError(.invalidInput, "at most \(APILimits.missingHashesMax) hashes can be asked for at once")
        }
        return HashList(hashes: try await metadata.missing(among: request.hashes))
    }

    /// Stores a chunk, unless it is there; then `bytes` is not read. First its bytes, then its name.
    func putChunk(_ hash: ContentHash, bytes: @Sendable () async throws -> ByteBuffer) async throws {
        guard try await metadata.chunk(hash) == nil else { return }
        let bytes = try await bytes()
        let chunk = StoredChunk(hash: hash, blob: .random(), size: UInt64(bytes.readableBytes))
        try await blobs.put(chunk.blob, bytes, hash: hash)
        let known = try await metadata.add(chunk)
        if known != chunk { try await blobs.remove([chunk.blob]) }
    }

    func chunk(_ hash: ContentHash) async throws -> ByteBuffer {
        guard let chunk = try await metadata.chunk(hash) else {
            throw VMSyncError(.notFound, "there is no chunk \(hash)")
        }
        return try await blobs.read(chunk.blob, at: 0, count: APILimits.chunkBytesMax)
    }

    // MARK: VMs

    func create(_ request: CreateVMRequest, by caller: Caller) async throws -> VMRecord {
        guard request.description.count <= APILimits.descriptionBytesMax else {
            throw VMSyncError(.invalidInput, "a description has at most \(APILimits.descriptionBytesMax) bytes")
        }
        guard request.chunks.count <= APILimits.vmChunksMax else {
            throw VMSyncError(.invalidInput, "a VM has at most \(APILimits.vmChunksMax) chunks")
        }
        let stored = try await metadata.create(
            NewVM(
                id: request.id, account: caller.account, description: [UInt8](request.description),
                chunks: request.chunks))
        try publish(stored)
        return record(of: stored)
    }

    func vms(for caller: Caller) async throws -> [VMRecord] {
        try await metadata.vms(of: caller.account).map(record(of:))
    }

    /// The VM, if it is of the caller's account; to others there is none.
    func stored(_ id: VMID, for caller: Caller) async throws -> StoredVM {
        guard let vm = try await metadata.vm(id), vm.account == caller.account else {
            throw VMSyncError(.notFound, "there is no VM \(id)", hint: "vmsync list")
        }
        return vm
    }

    func chunks(of vm: VMID, for caller: Caller) async throws -> HashList {
        _ = try await stored(vm, for: caller)
        return HashList(hashes: try await metadata.chunks(of: vm))
    }

    /// First the metadata, then the packs: what a crash leaves is garbage, never a checkpoint without bytes.
    func delete(_ vm: VMID, by caller: Caller) async throws {
        _ = try await stored(vm, for: caller)
        let packs = try await metadata.remove(vm) { try $0.checkDeletable() }
        try events.publish(deleted: vm)
        try await blobs.remove(packs)
    }

    func setPolicy(_ policy: ByteBuffer, of vm: VMID, by caller: Caller) async throws {
        _ = try await stored(vm, for: caller)
        try publish(
            try await metadata.setPolicy(
                policy.readableBytes == 0 ? nil : Array(policy.readableBytesView), of: vm))
    }

    func setStanding(_ report: StandingReport, of vm: VMID, by caller: Caller) async throws {
        guard report.note?.count ?? 0 <= APILimits.standingBytesMax else {
            throw VMSyncError(.invalidInput, "a standing has at most \(APILimits.standingBytesMax) bytes")
        }
        _ = try await stored(vm, for: caller)
        try publish(
            try await metadata.setStanding(
                held: report.held, note: report.note.map { [UInt8]($0) }, of: vm, by: caller.device))
    }

    // MARK: Leases and switches

    func acquireLease(_ vm: VMID, _ request: LeaseRequest, by caller: Caller) async throws -> LeaseEpoch {
        LeaseEpoch(
            epoch: try await change(vm, by: caller) { lease, _ in
                try lease.acquire(by: caller.device, force: request.force, seen: request.epoch)
            })
    }

    func noteHandover(_ vm: VMID, _ report: HandoverReport, by caller: Caller) async throws {
        try checkWord(report.word)
        try await change(vm, by: caller) { lease, _ in
            try lease.handedOver(
                from: report.from, report.seen, to: caller.device, under: report.epoch, word: report.word)
        }
    }

    private func checkWord(_ word: Data?) throws(VMSyncError) {
        guard word?.count ?? 0 <= APILimits.statementBytesMax else {
            throw VMSyncError(.invalidInput, "a word of release has at most \(APILimits.statementBytesMax) bytes")
        }
    }

    func releaseLease(_ vm: VMID, _ body: LeaseRelease, by caller: Caller) async throws {
        try checkWord(body.word)
        try await change(vm, by: caller) { lease, _ in
            try lease.release(by: caller.device, epoch: body.epoch, word: body.word)
        }
    }

    func requestSwitch(
        _ vm: VMID, to target: DeviceID, isCold: Bool, by caller: Caller
    ) async throws -> SwitchRecord {
        guard try await metadata.devices(of: caller.account).contains(where: { $0.id == target }) else {
            throw VMSyncError(.notFound, "there is no device \(target)", hint: "vmsync devices")
        }
        return try await change(vm, by: caller) { lease, context in
            try lease.requestSwitch(.random(), to: target, isCold: isCold, at: context.now)
        }
    }

    func answer(
        _ answer: SwitchAnswer, to id: SwitchID, of vm: VMID, by caller: Caller
    ) async throws -> SwitchRecord {
        try check(answer)
        return try await change(vm, by: caller) { lease, context in
            try lease.answer(answer, to: id, by: caller.device, at: context.now)
        }
    }

    private func check(_ answer: SwitchAnswer) throws(VMSyncError) {
        switch answer {
        case .ready, .done: break
        case .refuse(let reason), .fail(let reason):
            guard reason.count <= APILimits.reasonBytesMax else {
                throw VMSyncError(.invalidInput, "a reason has at most \(APILimits.reasonBytesMax) bytes")
            }
        case .report(let steps):
            for (name, milliseconds) in steps {
                guard name.utf8.count <= APILimits.stepNameLengthMax, milliseconds.isFinite, milliseconds >= 0 else {
                    throw VMSyncError(.invalidInput, "step \"\(name.prefix(80))\" can't be reported")
                }
            }
        }
    }
}
