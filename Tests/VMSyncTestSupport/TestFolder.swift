import Foundation

/// A folder that is there while a test runs.
package enum TestFolder {
    /// A tmpfs, as guest RAM needs it.
    package static let shared = "/dev/shm"

    /// Runs `body` with a new folder, which is removed at the end.
    /// - Parameter place: where to make it; short, because unix sockets stand inside.
    package static func with<Result>(
        in place: String = "/tmp", _ body: (String) async throws -> Result
    ) async throws -> Result {
        let path = try make(in: place)
        defer { remove(path) }
        return try await body(path)
    }

    package static func with<Result>(in place: String = "/tmp", _ body: (String) throws -> Result) throws -> Result {
        let path = try make(in: place)
        defer { remove(path) }
        return try body(path)
    }

    private static func make(in place: String) throws -> String {
        let path = "\(place)/vmsync-test-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    private static func remove(_ path: String) { try? FileManager.default.removeItem(atPath: path) }
}
