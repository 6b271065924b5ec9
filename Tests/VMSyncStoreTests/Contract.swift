import Foundation
import Synchronization
import Testing
import VMSyncCore

/// One sentence of a contract that every implementation of `Store` keeps.
struct Clause<Store: Sendable>: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let check: @Sendable (Store) async throws -> Void

    init(_ sentence: String, _ check: @escaping @Sendable (Store) async throws -> Void) {
        testDescription = sentence
        self.check = check
    }
}

/// A folder that exists while `body` runs.
func withTemporaryFolder(_ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "vmsync-\(Identifier.random())").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try await body(folder)
}

/// A clock that stands until it is moved.
final class ManualClock: Sendable {
    private let time = Mutex(Timestamp(rawValue: 1_700_000_000_000))
    var now: Timestamp { time.withLock { $0 } }
    func advance(by duration: Duration) { time.withLock { $0 = $0 + duration } }
}

/// The code of the error that `body` throws, nil if it throws none.
func code(_ body: () async throws -> Void) async -> VMSyncError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return VMSyncError(error).code
    }
}
