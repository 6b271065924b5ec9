/// Runs `body`, and cancels it when it takes longer than `limit`.
/// - Throws: what `body` throws; `timeout` naming `action` if it was cancelled for its time.
package func withDeadline<Result: Sendable>(
    _ limit: Duration, _ action: String, _ body: @Sendable @escaping () async throws -> Result
) async throws -> Result {
    try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        guard let result = try await group.next() ?? nil else {
            throw VMSyncError(.timeout, "\(action) took longer than \(limit)")
        }
        return result
    }
}
