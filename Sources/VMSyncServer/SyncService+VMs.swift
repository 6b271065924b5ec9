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

    func create(_ request: CreateVMRequest) async throws -> VMRecord {
        let name = try Name.checked(request.name, of: "VM")
        guard request.definition.count <= APILimits.definitionBytesMax else {
            throw VMSyncError(.invalidInput, "a definition has at most \(APILimits.definitionBytesMax) bytes")
        }
        guard request.chunks.count <= APILimits.vmChunksMax else {
            throw VMSyncError(.invalidInput, "a VM has at most \(APILimits.vmChunksMax) chunks")
        }
        let stored = try await metadata.create(
            NewVM(id: request.id, name: name, definition: [UInt8](request.definition), chunks: request.chunks))
        let record = record(of: stored)
        try events.publish(record)
        return record
    }

    func vms() async throws -> [VMRecord] { try await metadata.vms().map(record(of:)) }

    func vm(_ id: VMID) async throws -> VMRecord { record(of: try await stored(id)) }

    func stored(_ id: VMID) async throws -> StoredVM {
        guard let vm = try await metadata.vm(id) else {
            throw VMSyncError(.notFound, "there is no VM \(id)", hint: "vmsync list")
        }
        return vm
    }

    func chunks(of vm: VMID) async throws -> HashList {
        _ = try await stored(vm)
        return HashList(hashes: try await metadata.chunks(of: vm))
    }

    /// First the metadata, then the packs: what a crash leaves is garbage, never a checkpoint without bytes.
    func delete(_ vm: VMID) async throws {
        let packs = try await metadata.remove(vm) { try $0.checkDeletable() }
        try events.publish(deleted: vm)
        try await blobs.remove(packs)
    }

    // MARK: Leases and switches

    func acquireLease(_ vm: VMID, by device: DeviceID) async throws -> LeaseEpoch {
        LeaseEpoch(epoch: try await change(vm) { lease, _ in try lease.acquire(by: device) })
    }

    func releaseLease(_ vm: VMID, _ body: LeaseEpoch, by device: DeviceID) async throws {
        try await change(vm) { lease, _ in try lease.release(by: device, epoch: body.epoch) }
    }

    func requestSwitch(_ vm: VMID, to target: DeviceID) async throws -> SwitchRecord {
        guard try await metadata.devices().contains(where: { $0.id == target }) else {
            throw VMSyncError(.notFound, "there is no device \(target)", hint: "vmsync devices")
        }
        return try await change(vm) { lease, context in
            try lease.requestSwitch(.random(), to: target, at: context.now)
        }
    }

    func answer(
        _ answer: SwitchAnswer, to id: SwitchID, of vm: VMID, by device: DeviceID
    ) async throws -> SwitchRecord {
        try check(answer)
        return try await change(vm) { lease, _ in try lease.answer(answer, to: id, by: device) }
    }

    private func check(_ answer: SwitchAnswer) throws(VMSyncError) {
        switch answer {
        case .ready, .done: break
        case .refuse(let reason), .fail(let reason):
            for text in [reason.code.rawValue, reason.message, reason.hint ?? "", reason.device ?? ""] {
                guard text.utf8.count <= APILimits.reasonLengthMax else {
                    throw VMSyncError(.invalidInput, "a reason has at most \(APILimits.reasonLengthMax) bytes")
                }
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
