import Foundation
import Logging
import VMSyncCore

/// Where a bench keeps its files: on a tmpfs, because a guest's memory must lie on one; gone afterwards.
enum BenchFolder {
    static func with<Result: Sendable>(_ body: (String) async throws -> Result) async throws -> Result {
        // Short, because a unix socket's path has 107 bytes at most.
        let folder = "/dev/shm/vmsync-bench-\(Identifier.random().prefix(8))"
        try AtomicFile.makeFolder(folder)
        let result: Swift.Result<Result, any Error>
        do { result = .success(try await body(folder)) } catch { result = .failure(error) }
        AtomicFile.remove(folder)
        return try result.get()
    }

    static let logger = {
        var logger = Logger(label: "vmsync.bench")
        logger.logLevel = .warning
        return logger
    }()
}
