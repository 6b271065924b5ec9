import Logging
import VMSyncCore
import VMSyncStore

/// Removes blobs that nothing names: what broken uploads, deleted VMs and forgotten checkpoints have left.
///
/// A blob is marked when it is found without a name, given up when it still has none long after, and only then removed.
/// Between the two an upload that is under way gives it its name, or never will: it is refused then. So nothing that a
/// checkpoint needs is removed, whatever else happens meanwhile, and nobody waits for it. Several servers may do it at once.
struct GarbageCollector: Sendable {
    /// Longer than the longest upload: a client gives up a transfer after 48 hours.
    static let age = Duration.seconds(72 * 60 * 60)
    private static let interval = Duration.seconds(24 * 60 * 60)
    /// After the start, when everybody connects again.
    private static let firstPause = Duration.seconds(10 * 60)
    private static let removedAtOnce = 500

    let metadata: any MetadataStore
    let blobs: any BlobStore
    let logger: Logger

    /// Collects once a day, until the task is cancelled.
    func run() async throws {
        try await Task.sleep(for: Self.firstPause)
        while true {
            do {
                try await blobs.remove(try await metadata.endShares())
                _ = try await metadata.dropChunks(unusedFor: Self.age)
                try await collect(olderThan: Self.age)
            } catch let error as VMSyncError where error.code != .cancelled {
                logger.error("garbage could not be collected", metadata: ["error": "\(error)"])
            }
            try await Task.sleep(for: Self.interval)
        }
    }

    /// - Parameter age: since a blob was first found without a name. Zero only while nobody uploads.
    func collect(olderThan age: Duration) async throws {
        for try await found in blobs.list() where !found.isEmpty { try await metadata.mark(found) }
        var count = 0
        while true {
            let doomed = try await metadata.doom(markedFor: age, limit: Self.removedAtOnce)
            guard !doomed.isEmpty else { break }
            try await blobs.remove(doomed)
            try await metadata.removed(doomed)
            count += doomed.count
        }
        if count > 0 { logger.info("removed blobs that nothing names", metadata: ["count": "\(count)"]) }
    }
}
