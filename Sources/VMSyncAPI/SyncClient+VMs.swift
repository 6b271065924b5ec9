import AsyncHTTPClient
import Crypto
import Foundation
import NIOCore
import NIOHTTP1
import VMSyncCore

extension SyncClient {
    /// - Parameter policy: encrypted; nil removes it.
    package func setPolicy(_ policy: Data?, of vm: VMID) async throws {
        try await put(policy ?? Data(), at: "/vms/\(vm)/policy")
    }

    package func setStanding(_ report: StandingReport, of vm: VMID) async throws {
        try await tell(.PUT, "/vms/\(vm)/standing", report)
    }

    /// Those of `hashes` that the server lacks; any number, asked in portions.
    package func missingChunks(_ hashes: [ContentHash]) async throws -> [ContentHash] {
        var missing: [ContentHash] = []
        var rest = hashes[...]
        while !rest.isEmpty {
            let portion = HashList(hashes: Array(rest.prefix(APILimits.missingHashesMax)))
            rest = rest.dropFirst(APILimits.missingHashesMax)
            missing += try await ask(.POST, "/chunks/missing", portion, as: HashList.self).hashes
        }
        return missing
    }

    /// Sends a chunk of at most 4 MiB; its name is the SHA-256 of `bytes`.
    package func putChunk(_ bytes: ByteBuffer) async throws -> ContentHash {
        let hash = Self.hash(of: bytes)
        let response = try await send(
            .PUT, "/chunks/\(hash)", body: .paced(bytes), timeout: Self.transferTimeout)
        _ = try await collect(response, bytesMax: APILimits.answerBytesMax)
        return hash
    }

    /// The bytes of a chunk, checked.
    /// - Throws: `corrupt` if they aren't those that the name stands for.
    package func chunk(_ hash: ContentHash) async throws -> ByteBuffer {
        let response = try await send(.GET, "/chunks/\(hash)", timeout: Self.transferTimeout)
        let bytes = try await collect(response, bytesMax: APILimits.chunkBytesMax)
        guard Self.hash(of: bytes) == hash else {
            throw VMSyncError(.corrupt, "\(url) sent other bytes than those of chunk \(hash)")
        }
        return bytes
    }

    static func hash(of bytes: ByteBuffer) -> ContentHash {
        ContentHash(digest: bytes.withUnsafeReadableBytes { SHA256.hash(data: $0) })
    }

    /// Makes a VM whose chunks are all on the server.
    package func createVM(
        _ id: VMID, description: Data, chunks: [ContentHash]
    ) async throws -> VMRecord {
        try await ask(
            .POST, "/vms", CreateVMRequest(id: id, description: description, chunks: chunks))
    }

    package func vms() async throws -> [VMRecord] { try await ask(.GET, "/vms", as: VMList.self).vms }

    package func vm(_ id: VMID) async throws -> VMRecord { try await ask(.GET, "/vms/\(id)") }

    /// The chunks that a VM's base needs, sorted.
    package func chunks(of vm: VMID) async throws -> [ContentHash] {
        try await ask(.GET, "/vms/\(vm)/chunks", as: HashList.self).hashes
    }

    /// Removes a VM that runs nowhere, with its whole history.
    package func deleteVM(_ id: VMID) async throws { try await tell(.DELETE, "/vms/\(id)") }

    /// Tells the server that the VM was handed over to this device directly. May be repeated.
    /// - Throws: `fenced` if the server has given the lease to another since.
    package func report(_ handover: HandoverReport, of vm: VMID) async throws {
        try await tell(.POST, "/vms/\(vm)/lease/handover", handover)
    }

    /// Makes this device active, if nobody is; an active one gets its epoch again.
    /// - Parameter force: takes the VM from whoever is active.
    package func acquireLease(_ vm: VMID, force: Bool = false, seen: Epoch? = nil) async throws -> Epoch {
        try await ask(.POST, "/vms/\(vm)/lease", LeaseRequest(force: force, epoch: seen), as: LeaseEpoch.self).epoch
    }

    /// Gives up being active without a checkpoint.
    /// - Parameter word: what the device has signed of it, if the lease was moved to it.
    package func releaseLease(_ vm: VMID, epoch: Epoch, word: Data? = nil) async throws {
        try await tell(.DELETE, "/vms/\(vm)/lease", LeaseRelease(epoch: epoch, word: word))
    }
}
