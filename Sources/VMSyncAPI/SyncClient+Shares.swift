import Crypto
import Foundation
import NIOCore
import NIOHTTP1
import VMSyncCore
import VMSyncPolicy

extension SyncClient {
    /// Sends a pack that belongs to no VM, in chunks.
    /// - Returns: these, in order.
    package func sendChunks(_ pack: PackSource, size: UInt64) async throws -> [ContentHash] {
        try await uploadChunks(pack, size: size)
    }

    package func share(_ vm: VMID, _ request: ShareRequest) async throws -> ShareRecord {
        try await ask(.POST, "/vms/\(vm)/shares", request, as: ShareRecord.self)
    }

    package func shares() async throws -> [ShareRecord] { try await ask(.GET, "/shares", as: ShareList.self).shares }

    package func revokeShare(_ id: ShareID) async throws { try await tell(.DELETE, "/shares/\(id)") }

    /// - Throws: `notFound`, `unauthorized`, `invalidInput`, with the reason why it can't be opened.
    package func open(_ terms: ShareTerms, tag: String) async throws -> SharedState {
        try await ask(
            .POST, "/shares/\(terms.id)/open", OpenShareRequest(share: terms, tag: tag), as: SharedState.self)
    }

    /// Writes the pack of a share to the file `path`, replacing it, and checks it.
    /// - Throws: `corrupt`.
    package func fetch(
        _ state: SharedState, to path: String, progress: (_ done: UInt64) -> Void = { _ in }
    ) async throws {
        let file = try await FileWriter(path)
        var hasher = SHA256()
        var done: UInt64 = 0
        for hash in state.chunks {
            let bytes = try await chunk(hash)
            bytes.withUnsafeReadableBytes { hasher.update(bufferPointer: $0) }
            done += UInt64(bytes.readableBytes)
            guard done <= state.size else { break }
            try await file.append(bytes)
            progress(done)
        }
        guard done == state.size, ContentHash(digest: hasher.finalize()) == state.checksum else {
            throw VMSyncError(.corrupt, "what the server sent isn't what was shared")
        }
    }
}
